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
// Macros: THREADS (multiple of 32), ROWS (more than 1 for THREADS = 32 alone), ITEMS, MASK (1:
// there is a mask tensor).

#include "mask.cuh"
#include "scores.cuh"

// What the threads of a row know of it.
struct Row {
    RowOf at;
    KeyRange keys;
    int64_t mask, logits, masked, probs, weights; // where the row begins in each
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
__device__ __forceinline__ void load_group(const fasc_attention_params &p, const Row &row,
                                           int64_t j, Group &g)
{
    if (j + GROUP <= p.seqlen_k) {
        load_four(row.s + j, g.x);
        load_four(row.s + j + 4, g.x + 4);
    } else {
#pragma unroll
        for (int i = 0; i < GROUP; i++) {
            g.x[i] = j + i < p.seqlen_k ? *(const volatile float *)(row.s + j + i) : -INFINITY_F32;
        }
    }
}

// Makes scores of logits: -inf where a key is not visible, more or less by a mask tensor. `store`:
// this is the first time, so logits and masked scores leave from here.
__device__ __forceinline__ void mask_group(const fasc_attention_params &p, const Row &row,
                                           int64_t j, Group &g, bool store)
{
    if (store && p.logits.data) {
        store_group<true>(p.logits, row.logits, j, p.seqlen_k, g);
    }
    if (MASK || j < row.keys.begin || j + GROUP > row.keys.end) {
#pragma unroll
        for (int i = 0; i < GROUP; i++) {
#if MASK
            g.x[i] = masked_score(p.mask, row.keys, row.mask, j + i, g.x[i]);
#else
            g.x[i] = j + i < row.keys.begin || j + i >= row.keys.end ? -INFINITY_F32 : g.x[i];
#endif
        }
    }
    if (store && p.masked.data) {
        store_group<true>(p.masked, row.masked, j, p.seqlen_k, g);
    }
}

__device__ __forceinline__ void store_weights(const fasc_attention_params &p, const Row &row,
                                              int64_t j, Group g, float lse)
{
    float lse_log2 = lse * LOG2_E;
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
        g.x[i] =
            g.x[i] == -INFINITY_F32 ? 0.0f : exp2_subnormal(fma_f32(g.x[i], LOG2_E, -lse_log2));
    }
    if (p.probs.data) {
        store_group<true>(p.probs, row.probs, j, p.seqlen_k, g);
    }
    if (p.weights.data) {
        store_group<false>(p.weights, row.weights, j, p.seqlen_k, g);
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

// Sum of e^(x - largest); 0 where nothing is visible.
__device__ __forceinline__ float group_sum(const Group &g, float largest)
{
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
        sum += g.x[i] == -INFINITY_F32 ? 0.0f : exp2_approx((g.x[i] - largest) * LOG2_E);
    }
    return sum;
}

__device__ __forceinline__ float lse_of(float largest, float sum)
{
    return largest == -INFINITY_F32 ? largest : largest + LN_2 * log2_approx(sum);
}

// Where a thread's group `i` begins.
__device__ __forceinline__ int64_t place_of(int thread, int i)
{
    return (int64_t)(i * THREADS + thread) * GROUP;
}

extern "C" __global__ void __launch_bounds__(THREADS *ROWS, 1)
    softmax_rows(const __grid_constant__ fasc_attention_params p)
{
    __shared__ float room[32];
    const int thread = threadIdx.x % THREADS; // of the row
    const int64_t n = (int64_t)blockIdx.x * ROWS + threadIdx.x / THREADS;
    if (ROWS > 1 && n >= p.chunk.heads * p.chunk.rows) {
        return;
    }
    int64_t head = n / p.chunk.rows, r = n % p.chunk.rows;
    Row row;
    row.at = row_of(p, head, r);
    row.keys = visible_keys(p.lo, p.hi, p.seqlen_k, row.at.i);
    row.mask = row_start(p.mask, row.at);
    row.logits = row_start(p.logits, row.at);
    row.masked = row_start(p.masked, row.at);
    row.probs = row_start(p.probs, row.at);
    row.s = p.s + n * p.s_pitch;
    row.weights = head * p.weights.stride[1] + r * p.weights.stride[2];
    bool weights = p.weights.data || p.probs.data;
    float largest = -INFINITY_F32, sum = 0.0f;

#if ITEMS
    Group g[ITEMS];
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        load_group(p, row, place_of(thread, i), g[i]);
    }
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        int64_t j = place_of(thread, i);
        if (j < p.seqlen_k) {
            mask_group(p, row, j, g[i], true);
            largest = group_max(g[i], largest);
        }
    }
    largest = block_max<THREADS>(largest, room);
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        sum += place_of(thread, i) < p.seqlen_k ? group_sum(g[i], largest) : 0.0f;
    }
    sum = block_sum<THREADS>(sum, room);
    float lse = lse_of(largest, sum);
    if (weights) {
#pragma unroll
        for (int i = 0; i < ITEMS; i++) {
            int64_t j = place_of(thread, i);
            if (j < p.seqlen_k) {
                store_weights(p, row, j, g[i], lse);
            }
        }
    }
#else
    constexpr int AHEAD = 4; // groups on the way at a time
#pragma unroll 1
    for (int64_t start = 0; start < p.seqlen_k; start += AHEAD * THREADS * GROUP) {
        Group g[AHEAD];
        float next = largest, more = 0.0f;
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            load_group(p, row, start + place_of(thread, i), g[i]);
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            int64_t j = start + place_of(thread, i);
            if (j < p.seqlen_k) {
                mask_group(p, row, j, g[i], true);
                next = group_max(g[i], next);
            }
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            more += start + place_of(thread, i) < p.seqlen_k ? group_sum(g[i], next) : 0.0f;
        }
        float carried =
            largest == -INFINITY_F32 ? 0.0f : sum * exp2_approx((largest - next) * LOG2_E);
        sum = carried + more;
        largest = next;
    }
    float mine = largest;
    largest = block_max<THREADS>(largest, room);
    sum = mine == -INFINITY_F32 ? 0.0f : sum * exp2_approx((mine - largest) * LOG2_E);
    sum = block_sum<THREADS>(sum, room);
    float lse = lse_of(largest, sum);
    if (weights) {
#pragma unroll 1
        for (int64_t start = 0; start < p.seqlen_k; start += AHEAD * THREADS * GROUP) {
            Group g[AHEAD];
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                load_group(p, row, start + place_of(thread, i), g[i]);
            }
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                int64_t j = start + place_of(thread, i);
                if (j < p.seqlen_k) {
                    mask_group(p, row, j, g[i], false);
                    store_weights(p, row, j, g[i], lse);
                }
            }
        }
    }
#endif
    if (thread == 0) {
        store_row(p.lse, row.at, lse);
        store_row(p.row_max, row.at, largest);
    }
}
