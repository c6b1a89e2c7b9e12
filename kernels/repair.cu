// repair.cu - rows of O that a matrix product spoilt. A product over all keys multiplies hidden
// pairs too, with weight 0, and 0 * NaN or 0 * inf in V is NaN: rows that do not see that key must
// not see its NaN. Rows whose output is finite are right; the others are summed again over the keys
// that they see.
//
// A warp looks at ROWS rows, lanes along head_dim; blocks of 4 warps. Reads `weights` and `out` of
// the chunk.
//
// Macros: ELEMENT (f16, bf16, f32): the dtype of v and of the weights.

#include "mask.cuh"
#include "scores.cuh"

__device__ __forceinline__ float load_out(const fasc_matrix_params &m, int64_t at)
{
    return m.dtype == FASC_DTYPE_F32    ? ((const f32 *)m.data)[at]
           : m.dtype == FASC_DTYPE_BF16 ? to_float(((const bf16 *)m.data)[at])
                                        : to_float(((const f16 *)m.data)[at]);
}

constexpr int ROWS = 8;

// Sums row r of the chunk's head `head` again.
__device__ __forceinline__ void repair_row(const fasc_attention_params &p, int64_t head, int64_t r)
{
    RowOf row = row_of(p, head, r);
    KeyRange keys = visible_keys(p.lo, p.hi, p.seqlen_k, row.i);
    int64_t out = row_start(p.out, row), mask = row_start(p.mask, row);
    const ELEMENT *weight =
        (const ELEMENT *)p.weights.data + head * p.weights.stride[1] + r * p.weights.stride[2];
    const ELEMENT *v =
        (const ELEMENT *)p.v.data + row.b * p.v.stride[0] + row.h / p.group * p.v.stride[1];
    for (int64_t d = threadIdx.x % 32; d < p.head_dim; d += 32) {
        float sum = 0.0f;
        for (int64_t j = keys.begin; j < keys.end; j++) {
            if (is_visible(p.mask, keys, mask, j)) {
                float x = to_float(v[j * p.v.stride[2] + d * p.v.stride[3]]);
                sum = fma_f32(to_float(weight[j]), x, sum);
            }
        }
        store_element(p.out, out + d * p.out.stride[3], sum);
    }
}

extern "C" __global__ void __launch_bounds__(128)
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
        repair_row(p, n / p.chunk.rows, n % p.chunk.rows);
    }
}
