// softmax.cu - what stands between the two products of the `blas` kernel, fused: one pass over the
// scores gives the weights P for the second product, and on the way any of logits, masked, probs,
// LSE and row_max.
//
//   softmax_rows   THREADS threads a row, ROWS rows a block. The scores stay in registers, ITEMS
//                  groups of 8 a thread, so that S is read once, and P may take its place; with
//                  ITEMS = 0, for rows of any length, S is read twice (the second time from L2,
//                  mostly) and maximum and sum are found online: P lies elsewhere then.
//
// S is float32, its rows padded to whole groups; P has any of f16, bf16, f32. Weights are
// exp2(S log2 e - LSE log2 e) rather than a quotient: one rounding, also where they are subnormal.
//
// Dropout leaves weights out of P for the second product, not out of probs; keep_scale is that
// product's factor.
//
// Macros: THREADS (multiple of 32), ROWS (more than 1 for THREADS = 32 alone), ITEMS, EXTRAS (1:
// there is a mask tensor, or dropout).

#include "mask.cuh"
#include "philox.h"
#include "scores.cuh"

// Numbers of keys: rows that fit in registers are short.
#if ITEMS
typedef int Key;
#else
typedef int64_t Key;
#endif

// What the threads of a row know of it.
struct Row {
    RowOf at;
    Key seqlen, begin, end; // keys; visible ones, as far as the band goes
    KeyRange keys;
    int64_t mask; // where the row begins in the mask tensor
    RowStore logits, masked, probs, weights;
    const float *s;
};

// Volatile: a load must not be made again after P has been written over S.
__device__ __forceinline__ void load_four(const float *from, float *x)
{
    asm volatile("ld.global.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3])
                 : "l"(from)
                 : "memory");
}

// The logits of a group, -inf beyond the row's end. Loads come apart from what is done with the
// numbers, all of them first: a load behind a store waits for what is stored.
__device__ __forceinline__ void load_group(const Row &row, Key j, Group &g)
{
    if (j + GROUP <= row.seqlen) {
        load_four(row.s + j, g.x);
        load_four(row.s + j + 4, g.x + 4);
    } else {
#pragma unroll
        for (int i = 0; i < GROUP; i++) {
            g.x[i] = j + i < row.seqlen ? *(const volatile float *)(row.s + j + i) : -INFINITY_F32;
        }
    }
}

// Makes scores of logits: -inf where a key is not visible, more or less by a mask tensor. `store`:
// this is the first time, so logits and masked scores leave from here.
__device__ __forceinline__ void mask_group(const fasc_attention_params &p, const Row &row, Key j,
                                           Group &g, bool store)
{
    if (store && p.logits.data) {
        store_group<true>(p.logits, row.logits, j, row.seqlen, g);
    }
    if (EXTRAS || j < row.begin || j + GROUP > row.end) {
#pragma unroll
        for (int i = 0; i < GROUP; i++) {
#if EXTRAS
            g.x[i] = masked_score(p.mask, row.keys, row.mask, j + i, g.x[i]);
#else
            g.x[i] = j + i < row.begin || j + i >= row.end ? -INFINITY_F32 : g.x[i];
#endif
        }
    }
    if (store && p.masked.data) {
        store_group<true>(p.masked, row.masked, j, row.seqlen, g);
    }
}

// Leaves out what dropout drops of a group; a call of the generator gives two keys of this row.
__device__ __forceinline__ void drop_group(const fasc_attention_params &p, const Row &row, Key j,
                                           Group &g)
{
    const uint32_t i = (uint32_t)row.at.i, head = (uint32_t)(row.at.b * p.heads_q + row.at.h);
#pragma unroll
    for (int n = 0; n < GROUP; n += 2) {
        uint32_t word[4];
        fasc_philox(p.seed, (uint32_t)((j + n) / 2), (i >> 4) * 8 + (i & 7), head, p.dropout_offset,
                    word);
        const bool upper = i >> 3 & 1;
        g.x[n] = (upper ? word[2] : word[0]) >= p.dropout_threshold ? g.x[n] : 0.0f;
        g.x[n + 1] = (upper ? word[3] : word[1]) >= p.dropout_threshold ? g.x[n + 1] : 0.0f;
    }
}

// Wanted, and in a dtype that holds numbers below 2^-126.
__device__ __forceinline__ bool is_finer_than_f16(const fasc_matrix_params &m)
{
    return m.data && m.dtype != FASC_DTYPE_F16;
}

// lse2: the row's LSE in powers of two. ODD: it is no finite number, and what is hidden must be
// told apart. TINY: weights below 2^-126 count, since they are not stored in f16 alone.
template <bool ODD, bool TINY>
__device__ __forceinline__ void store_weights(const fasc_attention_params &p, const Row &row, Key j,
                                              Group g, float lse2)
{
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
        bool hidden = ODD && g.x[i] == -INFINITY_F32;
        float x = fma_f32(g.x[i], LOG2_E, -lse2);
        g.x[i] = hidden ? 0.0f : TINY ? exp2_subnormal(x) : exp2_approx(x);
    }
    if (p.probs.data) {
        store_group<true>(p.probs, row.probs, j, row.seqlen, g);
    }
    if (p.weights.data) {
        if (EXTRAS && p.dropout) {
            drop_group(p, row, j, g);
        }
        store_group<false>(p.weights, row.weights, j, row.seqlen, g);
    }
}

__device__ __forceinline__ float group_max(const Group &g, float largest)
{
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
        largest = fmaxf_nan(largest, g.x[i]);
    }
    return largest;
}

// What exponents are taken against: the maximum in powers of two, rounded once; 0 where nothing is
// visible, so that -inf stays what it is.
__device__ __forceinline__ float offset_of(float largest)
{
    return largest == -INFINITY_F32 ? 0.0f : __fmul_rn(largest, LOG2_E);
}

// Sum of 2^(x log2 e - offset).
__device__ __forceinline__ float group_sum(const Group &g, float offset)
{
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
        sum += exp2_approx(fma_f32(g.x[i], LOG2_E, -offset));
    }
    return sum;
}

// A sum against the maximum `largest`, against another offset.
__device__ __forceinline__ float rescaled(float sum, float largest, float offset)
{
    return largest == -INFINITY_F32 ? 0.0f : sum * exp2_approx(offset_of(largest) - offset);
}

// LSE in powers of two.
__device__ __forceinline__ float lse2_of(float largest, float sum)
{
    return largest == -INFINITY_F32 ? largest : offset_of(largest) + log2_approx(sum);
}

// Where a thread's group `i` begins.
__device__ __forceinline__ Key place_of(int thread, int i)
{
    return (Key)(i * THREADS + thread) * GROUP;
}

// Half of the warps that a multiprocessor holds; where a thread has more in its registers, fewer.
constexpr int BLOCKS = (ITEMS == 1 || ITEMS == 2) && !EXTRAS ? 1024 / (THREADS * ROWS) : 1;

extern "C" __global__ void __launch_bounds__(THREADS *ROWS, BLOCKS)
    softmax_rows(const __grid_constant__ fasc_attention_params p)
{
    __shared__ float room[32];
    const int thread = threadIdx.x % THREADS; // of the row
    // The last rows first: what the first product has just written is still in L2, and the second
    // begins with the rows that leave here last.
    const int64_t n =
        p.chunk.heads * p.chunk.rows - 1 - ((int64_t)blockIdx.x * ROWS + threadIdx.x / THREADS);
    if (ROWS > 1 && n < 0) {
        return;
    }
    int64_t head = n / p.chunk.rows, r = n % p.chunk.rows;
    Row row;
    row.at = row_of(p, head, r);
    row.seqlen = (Key)p.seqlen_k;
    row.keys = visible_keys(p.lo, p.hi, p.seqlen_k, row.at.i);
    row.begin = (Key)min(row.keys.begin, p.seqlen_k);
    row.end = (Key)max(row.keys.end, (int64_t)0);
    row.mask = row_start(p.mask, row.at);
    row.logits = row_store(p.logits, row.at);
    row.masked = row_store(p.masked, row.at);
    row.probs = row_store(p.probs, row.at);
    row.weights = row_store(p.weights, {0, head, r});
    row.s = p.s + n * p.s_pitch;
    bool weights = p.weights.data || p.probs.data;
    float largest = -INFINITY_F32, sum = 0.0f;

#if ITEMS
    Group g[ITEMS];
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        load_group(row, place_of(thread, i), g[i]);
    }
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        Key j = place_of(thread, i);
        if (j < row.seqlen) {
            mask_group(p, row, j, g[i], true);
            largest = group_max(g[i], largest);
        }
    }
    largest = block_max<THREADS>(largest, room);
    float offset = offset_of(largest);
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        sum += place_of(thread, i) < row.seqlen ? group_sum(g[i], offset) : 0.0f;
    }
    float lse2 = lse2_of(largest, block_sum<THREADS>(sum, room));
    if (weights) {
        bool odd = !(fabs_f32(lse2) < INFINITY_F32);
        bool tiny = is_finer_than_f16(p.weights) || is_finer_than_f16(p.probs);
#pragma unroll
        for (int i = 0; i < ITEMS; i++) {
            Key j = place_of(thread, i);
            if (j < row.seqlen && odd) {
                store_weights<true, true>(p, row, j, g[i], lse2);
            } else if (j < row.seqlen && tiny) {
                store_weights<false, true>(p, row, j, g[i], lse2);
            } else if (j < row.seqlen) {
                store_weights<false, false>(p, row, j, g[i], lse2);
            }
        }
    }
#else
    constexpr int AHEAD = 4; // groups on the way at a time
#pragma unroll 1
    for (Key start = 0; start < row.seqlen; start += AHEAD * THREADS * GROUP) {
        Group g[AHEAD];
        float next = largest, more = 0.0f;
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            load_group(row, start + place_of(thread, i), g[i]);
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            Key j = start + place_of(thread, i);
            if (j < row.seqlen) {
                mask_group(p, row, j, g[i], true);
                next = group_max(g[i], next);
            }
        }
        float offset = offset_of(next);
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            more += start + place_of(thread, i) < row.seqlen ? group_sum(g[i], offset) : 0.0f;
        }
        sum = rescaled(sum, largest, offset) + more;
        largest = next;
    }
    float mine = largest;
    largest = block_max<THREADS>(largest, room);
    sum = rescaled(sum, mine, offset_of(largest));
    float lse2 = lse2_of(largest, block_sum<THREADS>(sum, room));
    if (weights) {
#pragma unroll 1
        for (Key start = 0; start < row.seqlen; start += AHEAD * THREADS * GROUP) {
            Group g[AHEAD];
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                load_group(row, start + place_of(thread, i), g[i]);
            }
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                Key j = start + place_of(thread, i);
                if (j < row.seqlen) {
                    mask_group(p, row, j, g[i], false);
                    store_weights<true, true>(p, row, j, g[i], lse2);
                }
            }
        }
    }
#endif
    if (thread == 0) {
        store_row(p.lse, row.at, lse2 * LN_2);
        store_row(p.row_max, row.at, largest);
    }
}
