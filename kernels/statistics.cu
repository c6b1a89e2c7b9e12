// statistics.cu - every statistic of the scores, from rows of S that lie in memory: what the
// kernels `naive` and `blas` give beside out and LSE. Plain, and exact in order: results are the
// same bits each time.
//
//   statistics_rows       a row a block: LSE and maximum (for those below), entropy, mean_distance,
//                         row_sum, row_argmax, top-k
//   statistics_columns    a key a thread, down the chunk's rows
//   statistics_diagonals  a diagonal a thread, down the chunk's rows
//   statistics_tiles      a pooled tile a warp
//   statistics_heads      a query head a block: max_logit
//
// A chunk is some rows of some heads. What runs over all rows is added up in the output itself,
// chunk after chunk; the first chunk that touches a place begins it.

#include "mask.cuh"
#include "scores.cuh"
#include "statistics_params.h"

constexpr int THREADS = 256;

// What a row of the chunk sees.
struct SeenRow {
    RowOf at;
    KeyRange keys;
    int64_t mask;
    const float *s;
};

__device__ __forceinline__ SeenRow seen_row(const fasc_attention_params &p, int64_t n, int64_t r)
{
    SeenRow row;
    row.at = row_of(p, n, r);
    row.keys = visible_keys(p.lo, p.hi, p.seqlen_k, row.at.i);
    row.mask = row_start(p.mask, row.at);
    row.s = p.s + (n * p.chunk.rows + r) * p.s_pitch;
    return row;
}

// S with what the mask adds, -inf where the row does not see the key.
__device__ __forceinline__ float score_at(const fasc_attention_params &p, const SeenRow &row,
                                          int64_t j)
{
    return masked_score(p.mask, row.keys, row.mask, j, row.s[j]);
}

__device__ __forceinline__ float weight_of(float score, float lse)
{
    return score == -INFINITY_F32 ? 0.0f : exp2_subnormal((score - lse) * LOG2_E);
}

__device__ __forceinline__ void put(const fasc_matrix_params &m, int64_t b, int64_t h, int64_t i,
                                    int64_t j, float x)
{
    if (m.data) {
        ((float *)m.data)[b * m.stride[0] + h * m.stride[1] + i * m.stride[2] + j * m.stride[3]] =
            x;
    }
}

// Begins with x, or adds it.
__device__ __forceinline__ void add(const fasc_matrix_params &m, int64_t b, int64_t h, int64_t i,
                                    int64_t j, float x, bool first)
{
    if (m.data) {
        float *at =
            (float *)m.data + b * m.stride[0] + h * m.stride[1] + i * m.stride[2] + j * m.stride[3];
        *at = first ? x : *at + x;
    }
}

__device__ __forceinline__ void raise(const fasc_matrix_params &m, int64_t b, int64_t h, int64_t i,
                                      int64_t j, float x, bool first)
{
    if (m.data) {
        float *at =
            (float *)m.data + b * m.stride[0] + h * m.stride[1] + i * m.stride[2] + j * m.stride[3];
        *at = first ? x : fmaxf_nan(*at, x);
    }
}

// ---- rows -------------------------------------------------------------------

struct Best {
    float x;
    int j;
};

constexpr int NOWHERE = 0x7fffffff;

// The order of top-k: a larger score first, then a lower key.
__device__ __forceinline__ bool beats(Best a, Best b)
{
    return a.x > b.x || (a.x == b.x && a.j < b.j);
}

__device__ __forceinline__ Best block_best(Best mine, Best *room)
{
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) {
        Best other = {__shfl_xor_sync(FULL_MASK, mine.x, lane),
                      __shfl_xor_sync(FULL_MASK, mine.j, lane)};
        mine = beats(other, mine) ? other : mine;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        room[threadIdx.x / 32] = mine;
    }
    __syncthreads();
    for (int warp = 0; warp < THREADS / 32; warp++) {
        mine = beats(room[warp], mine) ? room[warp] : mine;
    }
    return mine;
}

// The best that `before` beats; -inf and NOWHERE when there is none.
__device__ __forceinline__ Best next_best(const fasc_attention_params &p, const SeenRow &row,
                                          Best before, Best *room)
{
    Best mine = {-INFINITY_F32, NOWHERE};
    for (int64_t j = threadIdx.x; j < p.seqlen_k; j += THREADS) {
        Best here = {score_at(p, row, j), (int)j};
        bool counts = here.x > -INFINITY_F32 && beats(before, here);
        mine = counts && beats(here, mine) ? here : mine;
    }
    return block_best(mine, room);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    statistics_rows(const __grid_constant__ fasc_statistics_params p)
{
    __shared__ float room[32];
    __shared__ Best bests[THREADS / 32];
    const SeenRow row = seen_row(p.a, blockIdx.x / p.a.chunk.rows, blockIdx.x % p.a.chunk.rows);
    const RowOf at = row.at;

    float largest = -INFINITY_F32;
    for (int64_t j = threadIdx.x; j < p.a.seqlen_k; j += THREADS) {
        largest = fmaxf_nan(largest, score_at(p.a, row, j));
    }
    largest = block_max<THREADS>(largest, room);
    float sum = 0.0f;
    for (int64_t j = threadIdx.x; j < p.a.seqlen_k; j += THREADS) {
        float x = score_at(p.a, row, j);
        sum += x == -INFINITY_F32 ? 0.0f : exp2_approx((x - largest) * LOG2_E);
    }
    sum = block_sum<THREADS>(sum, room);
    const float lse = largest == -INFINITY_F32 ? largest : largest + LN_2 * log2_approx(sum);

    float entropy = 0.0f, distance = 0.0f, total = 0.0f;
    for (int64_t j = threadIdx.x; j < p.a.seqlen_k; j += THREADS) {
        float x = score_at(p.a, row, j), w = weight_of(x, lse);
        if (x == -INFINITY_F32) {
            continue;
        }
        entropy += w * (lse - x);
        distance += w * (float)(at.i + p.a.seqlen_k - p.a.seqlen_q - j);
        total += j >= p.k0 && j < p.k1 ? x : 0.0f;
    }
    entropy = block_sum<THREADS>(entropy, room);
    distance = block_sum<THREADS>(distance, room);
    total = block_sum<THREADS>(total, room);
    if (threadIdx.x == 0) {
        p.lse[blockIdx.x] = lse;
        p.row_max[blockIdx.x] = largest;
        put(p.entropy, at.b, at.h, at.i, 0, entropy);
        put(p.mean_distance, at.b, at.h, at.i, 0, distance);
        put(p.row_sum, at.b, at.h, at.i, 0, total);
    }
    const int wanted = p.k > 0 ? p.k : p.row_argmax.data ? 1 : 0;
    Best best = {INFINITY_F32, -1};
    for (int n = 0; n < wanted; n++) {
        best = next_best(p.a, row, best, bests);
        if (threadIdx.x != 0) {
            continue;
        }
        const int key = best.j == NOWHERE ? -1 : best.j;
        if (n < p.k) {
            put(p.topk_values, at.b, at.h, at.i, n, best.x);
            put(p.topk_indices, at.b, at.h, at.i, n, bits_float((uint32_t)key));
        }
        if (n == 0) {
            put(p.row_argmax, at.b, at.h, at.i, 0, bits_float((uint32_t)key));
        }
    }
}

// ---- what runs over rows ----------------------------------------------------

// The chunk's rows that are in the query range: [begin, end).
struct Rows {
    int64_t begin, end;
};

__device__ __forceinline__ Rows rows_in_range(const fasc_statistics_params &p)
{
    return {max(p.q0 - p.a.chunk.row, (int64_t)0), min(p.q1 - p.a.chunk.row, p.a.chunk.rows)};
}

constexpr int SHORT = 64; // sums of so many first: short ones round less than one long one

struct Sums {
    float probs, logits, part_probs, part_logits, largest;
    int count;
};

__device__ __forceinline__ void take(Sums &s, float score, float lse)
{
    if (score == -INFINITY_F32) {
        return;
    }
    const float w = weight_of(score, lse);
    s.part_probs += w;
    s.part_logits += score;
    s.largest = fmaxf_nan(s.largest, w);
    if (++s.count == SHORT) {
        s.probs += s.part_probs;
        s.logits += s.part_logits;
        s.part_probs = s.part_logits = 0.0f;
        s.count = 0;
    }
}

__device__ __forceinline__ void close(Sums &s)
{
    s.probs += s.part_probs;
    s.logits += s.part_logits;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    statistics_columns(const __grid_constant__ fasc_statistics_params p)
{
    const int64_t group = p.a.heads_q / p.column_heads, keys = p.k1 - p.k0;
    const int64_t pieces = (keys + THREADS - 1) / THREADS;
    const int64_t head = p.a.chunk.head / group + blockIdx.x / pieces; // of the result, over all
    const int64_t j = p.k0 + blockIdx.x % pieces * THREADS + threadIdx.x;
    if (j >= p.k1) {
        return;
    }
    const int64_t first = max(head * group, p.a.chunk.head);
    const int64_t end = min((head + 1) * group, p.a.chunk.head + p.a.chunk.heads);
    const Rows rows = rows_in_range(p);
    Sums sums = {};
    for (int64_t h = first; h < end; h++) {
        const int64_t n = h - p.a.chunk.head;
        for (int64_t r = rows.begin; r < rows.end; r++) {
            take(sums, score_at(p.a, seen_row(p.a, n, r), j), p.lse[n * p.a.chunk.rows + r]);
        }
    }
    close(sums);
    const bool begins = first == head * group && p.a.chunk.row == 0;
    const int64_t b = head / p.column_heads, h = head % p.column_heads;
    add(p.col_sum_probs, b, h, j - p.k0, 0, sums.probs, begins);
    add(p.col_sum_logits, b, h, j - p.k0, 0, sums.logits, begins);
    raise(p.col_max_probs, b, h, j - p.k0, 0, sums.largest, begins);
}

// Entry e holds the pairs with i + Nk - 1 - j = e.
extern "C" __global__ void __launch_bounds__(THREADS)
    statistics_diagonals(const __grid_constant__ fasc_statistics_params p)
{
    const int64_t entries = p.a.seqlen_q + p.a.seqlen_k - 1;
    const int64_t pieces = (entries + THREADS - 1) / THREADS;
    const int64_t n = blockIdx.x / pieces, e = blockIdx.x % pieces * THREADS + threadIdx.x;
    if (e >= entries) {
        return;
    }
    const int64_t shift = p.a.seqlen_k - 1 - e + p.a.chunk.row; // j = r + shift
    Rows rows = rows_in_range(p);
    rows.begin = max(rows.begin, p.k0 - shift);
    rows.end = min(rows.end, p.k1 - shift);
    Sums sums = {};
    for (int64_t r = rows.begin; r < rows.end; r++) {
        take(sums, score_at(p.a, seen_row(p.a, n, r), r + shift), p.lse[n * p.a.chunk.rows + r]);
    }
    close(sums);
    const RowOf at = row_of(p.a, n, 0);
    const bool begins = p.a.chunk.row == 0;
    add(p.diag_sum_probs, at.b, at.h, e, 0, sums.probs, begins);
    add(p.diag_sum_logits, at.b, at.h, e, 0, sums.logits, begins);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    statistics_tiles(const __grid_constant__ fasc_statistics_params p)
{
    const int64_t t = p.tile, across = (p.a.seqlen_k + t - 1) / t;
    const int64_t row0 = p.a.chunk.row, row1 = row0 + p.a.chunk.rows;
    const int64_t top = row0 / t, down = (row1 - 1) / t - top + 1;
    const int64_t number = (blockIdx.x * (int64_t)THREADS + threadIdx.x) / 32;
    const int lane = threadIdx.x % 32;
    const int64_t n = number / (across * down);
    if (n >= p.a.chunk.heads) {
        return;
    }
    const int64_t a = top + number / across % down, b = number % across;
    const int64_t begin = max(a * t, row0), end = min((a + 1) * t, row1);
    const int64_t width = min(t, p.a.seqlen_k - b * t);
    Sums sums = {};
    for (int64_t at = lane; at < (end - begin) * width; at += 32) {
        const int64_t r = begin - row0 + at / width, j = b * t + at % width;
        take(sums, score_at(p.a, seen_row(p.a, n, r), j), p.lse[n * p.a.chunk.rows + r]);
    }
    close(sums);
    const float mass = warp_sum(sums.probs), largest = warp_max(sums.largest);
    if (lane != 0) {
        return;
    }
    const RowOf of = row_of(p.a, n, 0);
    const bool begins = a * t >= row0;
    const int64_t queries = min(t, p.a.seqlen_q - a * t);
    add(p.pooled_mass, of.b, of.h, a, b, mass / (float)queries, begins);
    raise(p.pooled_max, of.b, of.h, a, b, largest, begins);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    statistics_heads(const __grid_constant__ fasc_statistics_params p)
{
    __shared__ float room[32];
    float largest = -INFINITY_F32;
    for (int64_t n = 0; n < p.a.chunk.heads; n++) {
        if ((p.a.chunk.head + n) % p.a.heads_q != blockIdx.x) {
            continue;
        }
        for (int64_t r = threadIdx.x; r < p.a.chunk.rows; r += THREADS) {
            largest = fmaxf_nan(largest, p.row_max[n * p.a.chunk.rows + r]);
        }
    }
    largest = block_max<THREADS>(largest, room);
    if (threadIdx.x == 0) {
        raise(p.max_logit, blockIdx.x, 0, 0, 0, largest, p.a.chunk.head == 0 && p.a.chunk.row == 0);
    }
}
