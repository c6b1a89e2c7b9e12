// softmax.cu - what stands between the two products of the `blas` kernel, fused: one pass over the
// scores gives the weights P for the second product, and on the way any of logits, masked, probs,
// LSE and row_max.
//
//   softmax_rows   a row a block. The scores stay in registers, ITEMS groups of 8 a thread, so
//                  that S is read once; with ITEMS = 0, for rows of any length, it is read twice
//                  (the second time from L2, mostly) and maximum and sum are found online.
//
// S is float32, its rows padded to whole groups; P has any of f16, bf16, f32. Weights are
// exp2(S log2 e - LSE log2 e) rather than a quotient: one rounding, also where they are subnormal.
//
// Macros: THREADS (multiple of 32), ITEMS, MASK (1: there is a mask tensor).

#include "mask.cuh"
#include "scores.cuh"

// What a block knows of its row.
struct Row {
    RowOf at;
    KeyRange keys;
    int64_t mask, logits, masked, probs, weights; // where the row begins in each
    const float *s;
};

// The scores of a group, -inf beyond the row's end and where a key is not visible. `store`: this is
// the first time, so logits and masked scores leave from here.
__device__ __forceinline__ Group load_scores(const fasc_attention_params &p, const Row &row,
                                             int64_t j, bool store)
{
    Group g;
    if (j + GROUP <= p.seqlen_k) {
        float4 low = *(const float4 *)(row.s + j), high = *(const float4 *)(row.s + j + 4);
        g.x[0] = low.x, g.x[1] = low.y, g.x[2] = low.z, g.x[3] = low.w;
        g.x[4] = high.x, g.x[5] = high.y, g.x[6] = high.z, g.x[7] = high.w;
    } else {
#pragma unroll
        for (int i = 0; i < GROUP; i++) {
            g.x[i] = j + i < p.seqlen_k ? row.s[j + i] : -INFINITY_F32;
        }
    }
    if (store && p.logits.data) {
        store_group(p.logits, row.logits, j, p.seqlen_k, g);
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
        store_group(p.masked, row.masked, j, p.seqlen_k, g);
    }
    return g;
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
        store_group(p.probs, row.probs, j, p.seqlen_k, g);
    }
    if (p.weights.data) {
        store_group(p.weights, row.weights, j, p.seqlen_k, g);
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

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    softmax_rows(const __grid_constant__ fasc_attention_params p)
{
    __shared__ float room[32];
    int64_t head = blockIdx.x / p.chunk.rows, r = blockIdx.x % p.chunk.rows;
    Row row;
    row.at = row_of(p, head, r);
    row.keys = visible_keys(p.lo, p.hi, p.seqlen_k, row.at.i);
    row.mask = row_start(p.mask, row.at);
    row.logits = row_start(p.logits, row.at);
    row.masked = row_start(p.masked, row.at);
    row.probs = row_start(p.probs, row.at);
    row.s = p.s + (int64_t)blockIdx.x * p.s_pitch;
    row.weights = head * p.weights.stride[1] + r * p.weights.stride[2];
    bool weights = p.weights.data || p.probs.data;
    float largest = -INFINITY_F32, sum = 0.0f;

#if ITEMS
    Group g[ITEMS];
#pragma unroll
    for (int n = 0; n < ITEMS; n++) {
        int64_t j = (int64_t)(n * THREADS + threadIdx.x) * GROUP;
        if (j < p.seqlen_k) {
            g[n] = load_scores(p, row, j, true);
            largest = group_max(g[n], largest);
        }
    }
    largest = block_max<THREADS>(largest, room);
#pragma unroll
    for (int n = 0; n < ITEMS; n++) {
        int64_t j = (int64_t)(n * THREADS + threadIdx.x) * GROUP;
        sum += j < p.seqlen_k ? group_sum(g[n], largest) : 0.0f;
    }
    sum = block_sum<THREADS>(sum, room);
    float lse = lse_of(largest, sum);
    if (weights) {
#pragma unroll
        for (int n = 0; n < ITEMS; n++) {
            int64_t j = (int64_t)(n * THREADS + threadIdx.x) * GROUP;
            if (j < p.seqlen_k) {
                store_weights(p, row, j, g[n], lse);
            }
        }
    }
#else
#pragma unroll 1
    for (int64_t j = threadIdx.x * GROUP; j < p.seqlen_k; j += THREADS * GROUP) {
        Group g = load_scores(p, row, j, true);
        float next = group_max(g, largest);
        float carried =
            largest == -INFINITY_F32 ? 0.0f : sum * exp2_approx((largest - next) * LOG2_E);
        sum = carried + group_sum(g, next);
        largest = next;
    }
    float mine = largest;
    largest = block_max<THREADS>(largest, room);
    sum = mine == -INFINITY_F32 ? 0.0f : sum * exp2_approx((mine - largest) * LOG2_E);
    sum = block_sum<THREADS>(sum, room);
    float lse = lse_of(largest, sum);
    if (weights) {
#pragma unroll 1
        for (int64_t j = threadIdx.x * GROUP; j < p.seqlen_k; j += THREADS * GROUP) {
            store_weights(p, row, j, load_scores(p, row, j, false), lse);
        }
    }
#endif
    if (threadIdx.x == 0) {
        store_row(p.lse, row.at, lse);
        store_row(p.row_max, row.at, largest);
    }
}
