// repair.cu - rows of O that a matrix product spoilt. A product over all keys multiplies hidden
// pairs too, with weight 0, and 0 * NaN or 0 * inf in V is NaN: rows that do not see that key must
// not see its NaN. Rows whose output is finite are right; the others are worked out again, plainly,
// over the keys that they see. Pairs that dropout drops give nothing either, not even their NaN.
//
// A warp looks at ROWS rows of the whole problem, lanes along head_dim; blocks of 4 warps. Reads
// `out` and `lse`.
//
// Macros: ELEMENT (f16, bf16, f32): the dtype of q, k and v.

#include "mask.cuh"
#include "philox.h"
#include "scores.cuh"

constexpr int ROWS = 8, COLUMNS = 8; // columns of O a lane at a time

__device__ __forceinline__ float load_out(const fasc_matrix_params &m, int64_t at)
{
    return m.dtype == FASC_DTYPE_F32    ? ((const f32 *)m.data)[at]
           : m.dtype == FASC_DTYPE_BF16 ? to_float(((const bf16 *)m.data)[at])
                                        : to_float(((const f16 *)m.data)[at]);
}

__device__ __forceinline__ const ELEMENT *head_of(const fasc_matrix_params &m, int64_t b, int64_t h)
{
    return (const ELEMENT *)m.data + b * m.stride[0] + h * m.stride[1];
}

// scale q . k, the same in every lane.
__device__ __forceinline__ float logit(const fasc_attention_params &p, const ELEMENT *q,
                                       const ELEMENT *k)
{
    float dot = 0.0f;
    for (int64_t d = threadIdx.x % 32; d < p.head_dim; d += 32) {
        dot = fma_f32(to_float(q[d * p.q.stride[3]]), to_float(k[d * p.k.stride[3]]), dot);
    }
    return p.scale * warp_sum(dot);
}

// Works out O of a row again.
__device__ __noinline__ void repair_row(const fasc_attention_params &p, RowOf row)
{
    KeyRange keys = visible_keys(p.lo, p.hi, p.seqlen_k, row.i);
    int64_t out = row_start(p.out, row), mask = row_start(p.mask, row);
    float lse =
        p.lse.data[row.b * p.lse.stride[0] + row.h * p.lse.stride[1] + row.i * p.lse.stride[2]];
    float lse2 = lse * LOG2_E;
    const ELEMENT *q = head_of(p.q, row.b, row.h) + row.i * p.q.stride[2];
    const ELEMENT *k = head_of(p.k, row.b, row.h / p.group);
    const ELEMENT *v = head_of(p.v, row.b, row.h / p.group);
    for (int64_t first = threadIdx.x % 32; first - threadIdx.x % 32 < p.head_dim;
         first += 32 * COLUMNS) {
        float sum[COLUMNS] = {};
#pragma unroll 1
        for (int64_t j = keys.begin; j < keys.end; j++) {
            if (!is_visible(p.mask, keys, mask, j)) {
                continue;
            }
            float score = masked_score(p.mask, keys, mask, j, logit(p, q, k + j * p.k.stride[2]));
            float weight =
                lse == -INFINITY_F32 ? 0.0f : exp2_subnormal(fma_f32(score, LOG2_E, -lse2));
            if (p.dropout) {
                if (fasc_dropout_word(p.seed, p.dropout_offset,
                                      (uint32_t)(row.b * p.heads_q + row.h), (uint32_t)row.i,
                                      (uint32_t)j) < p.dropout_threshold) {
                    continue;
                }
                weight *= p.keep_scale;
            }
#pragma unroll
            for (int i = 0; i < COLUMNS; i++) {
                int64_t d = first + 32 * i;
                if (d < p.head_dim) {
                    float x = to_float(v[j * p.v.stride[2] + d * p.v.stride[3]]);
                    sum[i] = fma_f32(weight, x, sum[i]);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < COLUMNS; i++) {
            int64_t d = first + 32 * i;
            if (d < p.head_dim) {
                store_element(p.out, out + d * p.out.stride[3], sum[i]);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
    repair_rows(const __grid_constant__ fasc_attention_params p)
{
    const int64_t total = p.chunk.heads * p.chunk.rows;
    const int64_t first = ((int64_t)blockIdx.x * 4 + threadIdx.x / 32) * ROWS;
    int64_t out[ROWS];
    bool spoilt[ROWS];
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        int64_t n = min(first + i, total - 1);
        out[i] = row_start(p.out, row_of(p, n / p.chunk.rows, n % p.chunk.rows));
        spoilt[i] = false;
    }
    for (int64_t d = threadIdx.x % 32; d < p.head_dim; d += 32) {
        float x[ROWS]; // all on their way before any is looked at
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            x[i] = load_out(p.out, out[i] + d * p.out.stride[3]);
        }
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            spoilt[i] = spoilt[i] || !(fabs_f32(x[i]) < INFINITY_F32);
        }
    }
    uint32_t rows = 0; // bit i: row first + i
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        rows |= __any_sync(FULL_MASK, spoilt[i]) && first + i < total ? 1u << i : 0u;
    }
    while (rows) {
        int64_t n = first + __ffs(rows) - 1;
        rows &= rows - 1;
        repair_row(p, row_of(p, n / p.chunk.rows, n % p.chunk.rows));
    }
}
