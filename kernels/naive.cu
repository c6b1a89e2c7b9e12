// naive.cu - attention in the three steps of its definition, each a plain kernel; float32
// throughout.
//
//   naive_scores    S = scale Q K^T         a block: 32 x 32 of S, 32 columns of Q and K a step
//   naive_softmax   P = softmax(S + mask)   a block: a row, in place; LSE and row_max on the way
//   naive_output    O = P V                 a block: 32 x 32 of O, 32 keys a step
//
// S and P live in a workspace of one chunk: some rows of some heads. Any strides, head_dim, mask.
// A pair that is not visible, or that dropout leaves out, has weight -0: its product is left out,
// since 0 * NaN would reach rows that do not see the NaN.
//
// Blocks of 256 threads. Macros: ELEMENT (f16, bf16, f32): the dtype of q, k and v.

#include "mask.cuh"
#include "philox.h"
#include "scores.cuh"

constexpr int TILE = 32, THREADS = 256, STEP = THREADS / TILE, PER_THREAD = TILE / STEP;
constexpr uint32_t HIDDEN = 0x80000000u; // the bits of -0

// Which tile of the chunk a block has: `across` tiles a row of tiles, `down` of them a head.
struct Tile {
    int64_t head, row0, column0;
};

__device__ __forceinline__ Tile tile_of(int64_t block, int64_t rows, int64_t columns)
{
    int64_t across = (columns + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
    return {block / (across * down), block / across % down * TILE, block % across * TILE};
}

// A 32 x 32 piece of a matrix as float32, 0 beyond its ends.
__device__ __forceinline__ void load_tile(float (&tile)[TILE][TILE + 1],
                                          const fasc_matrix_params &m, int64_t start, int64_t row0,
                                          int64_t rows, int64_t column0, int64_t columns)
{
    int x = threadIdx.x % TILE, y = threadIdx.x / TILE;
    for (int i = y; i < TILE; i += STEP) {
        bool inside = row0 + i < rows && column0 + x < columns;
        int64_t at = start + (row0 + i) * m.stride[2] + (column0 + x) * m.stride[3];
        tile[i][x] = inside ? to_float(((const ELEMENT *)m.data)[at]) : 0.0f;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    naive_scores(const __grid_constant__ fasc_attention_params p)
{
    __shared__ float q[TILE][TILE + 1], k[TILE][TILE + 1];
    Tile tile = tile_of(blockIdx.x, p.chunk.rows, p.seqlen_k);
    RowOf first = row_of(p, tile.head, 0);
    int64_t q_start = row_start(p.q, first);
    int64_t k_start = first.b * p.k.stride[0] + first.h / p.group * p.k.stride[1];
    int x = threadIdx.x % TILE, y = threadIdx.x / TILE;
    float sum[PER_THREAD] = {};
    for (int64_t d = 0; d < p.head_dim; d += TILE) {
        load_tile(q, p.q, q_start, tile.row0, p.chunk.rows, d, p.head_dim);
        load_tile(k, p.k, k_start, tile.column0, p.seqlen_k, d, p.head_dim);
        __syncthreads();
        for (int c = 0; c < TILE; c++) {
#pragma unroll
            for (int n = 0; n < PER_THREAD; n++) {
                sum[n] = fma_f32(q[y + n * STEP][c], k[x][c], sum[n]);
            }
        }
        __syncthreads();
    }
    int64_t j = tile.column0 + x;
#pragma unroll
    for (int n = 0; n < PER_THREAD; n++) {
        int64_t r = tile.row0 + y + n * STEP;
        if (r < p.chunk.rows && j < p.seqlen_k) {
            float score = p.scale * sum[n];
            p.s[(tile.head * p.chunk.rows + r) * p.s_pitch + j] = score;
            if (p.logits.data) {
                int64_t at = row_start(p.logits, row_of(p, tile.head, r)) + j * p.logits.stride[3];
                store_element(p.logits, at, score);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    naive_softmax(const __grid_constant__ fasc_attention_params p)
{
    __shared__ float room[32];
    int64_t head = blockIdx.x / p.chunk.rows, r = blockIdx.x % p.chunk.rows;
    RowOf row = row_of(p, head, r);
    KeyRange keys = visible_keys(p.lo, p.hi, p.seqlen_k, row.i);
    int64_t mask_row = row_start(p.mask, row);
    int64_t masked = row_start(p.masked, row), probs = row_start(p.probs, row);
    float *s = p.s + (int64_t)blockIdx.x * p.s_pitch;

    float largest = -INFINITY_F32;
    for (int64_t j = threadIdx.x; j < p.seqlen_k; j += THREADS) {
        float score = masked_score(p.mask, keys, mask_row, j, s[j]);
        if (p.masked.data) {
            store_element(p.masked, masked + j * p.masked.stride[3], score);
        }
        s[j] = score;
        largest = fmaxf_nan(largest, score);
    }
    largest = block_max<THREADS>(largest, room);

    float sum = 0.0f;
    for (int64_t j = threadIdx.x; j < p.seqlen_k; j += THREADS) {
        sum += s[j] == -INFINITY_F32 ? 0.0f : exp2_approx((s[j] - largest) * LOG2_E);
    }
    sum = block_sum<THREADS>(sum, room);
    float lse = largest == -INFINITY_F32 ? largest : largest + LN_2 * log2_approx(sum);

    for (int64_t j = threadIdx.x; j < p.seqlen_k; j += THREADS) {
        float weight = s[j] == -INFINITY_F32 ? 0.0f : exp2_subnormal((s[j] - lse) * LOG2_E);
        if (p.probs.data) {
            store_element(p.probs, probs + j * p.probs.stride[3], weight);
        }
        bool zero = s[j] == -INFINITY_F32;
        bool hidden = zero && (largest == s[j] || !is_visible(p.mask, keys, mask_row, j));
        if (p.dropout) {
            uint32_t bh = (uint32_t)(row.b * p.heads_q + row.h);
            hidden = hidden || fasc_dropout_word(p.seed, p.dropout_offset, bh, (uint32_t)row.i,
                                                 (uint32_t)j) < p.dropout_threshold;
            weight *= p.keep_scale;
        }
        s[j] = hidden ? bits_float(HIDDEN) : weight;
    }
    if (threadIdx.x == 0) {
        store_row(p.lse, row, lse);
        store_row(p.row_max, row, largest);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    naive_output(const __grid_constant__ fasc_attention_params p)
{
    __shared__ float weight[TILE][TILE + 1], v[TILE][TILE + 1];
    Tile tile = tile_of(blockIdx.x, p.chunk.rows, p.head_dim);
    RowOf first = row_of(p, tile.head, 0);
    int64_t v_start = first.b * p.v.stride[0] + first.h / p.group * p.v.stride[1];
    const float *s = p.s + tile.head * p.chunk.rows * p.s_pitch;
    int x = threadIdx.x % TILE, y = threadIdx.x / TILE;
    float total[PER_THREAD] = {};
    for (int64_t j = 0; j < p.seqlen_k; j += TILE) {
        for (int i = y; i < TILE; i += STEP) {
            bool inside = tile.row0 + i < p.chunk.rows && j + x < p.seqlen_k;
            weight[i][x] = inside ? s[(tile.row0 + i) * p.s_pitch + j + x] : bits_float(HIDDEN);
        }
        load_tile(v, p.v, v_start, j, p.seqlen_k, tile.column0, p.head_dim);
        __syncthreads();
        float sum[PER_THREAD] = {}; // of 32 keys: short sums round less than one long one
        for (int c = 0; c < TILE; c++) {
#pragma unroll
            for (int n = 0; n < PER_THREAD; n++) {
                float w = weight[y + n * STEP][c];
                sum[n] = float_bits(w) == HIDDEN ? sum[n] : fma_f32(w, v[c][x], sum[n]);
            }
        }
#pragma unroll
        for (int n = 0; n < PER_THREAD; n++) {
            total[n] += sum[n];
        }
        __syncthreads();
    }
    int64_t d = tile.column0 + x;
#pragma unroll
    for (int n = 0; n < PER_THREAD; n++) {
        int64_t r = tile.row0 + y + n * STEP;
        if (r < p.chunk.rows && d < p.head_dim) {
            int64_t at = row_start(p.out, row_of(p, tile.head, r)) + d * p.out.stride[3];
            store_element(p.out, at, total[n]);
        }
    }
}
