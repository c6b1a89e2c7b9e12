// repair.cu - rows of O that a matrix product spoilt. A product over all keys multiplies hidden
// pairs too, with weight 0, and 0 * NaN or 0 * inf in V is NaN: rows that do not see that key must
// not see its NaN. Rows whose output is finite are right; the others are summed again over the keys
// that they see.
//
// A warp a row, lanes along head_dim; blocks of 4 warps. Reads `weights` and `out` of the chunk.
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

extern "C" __global__ void __launch_bounds__(128)
    repair_rows(const __grid_constant__ fasc_attention_params p)
{
    int lane = threadIdx.x % 32;
    int64_t n = (int64_t)blockIdx.x * 4 + threadIdx.x / 32;
    if (n >= p.chunk.heads * p.chunk.rows) {
        return;
    }
    int64_t head = n / p.chunk.rows, r = n % p.chunk.rows;
    RowOf row = row_of(p, head, r);
    int64_t out = row_start(p.out, row);
    bool spoilt = false;
    for (int64_t d = lane; d < p.head_dim; d += 32) {
        spoilt = spoilt || !(fabs_f32(load_out(p.out, out + d * p.out.stride[3])) < INFINITY_F32);
    }
    if (!__any_sync(FULL_MASK, spoilt)) {
        return;
    }
    KeyRange keys = visible_keys(p.lo, p.hi, p.seqlen_k, row.i);
    int64_t mask = row_start(p.mask, row);
    const ELEMENT *weight =
        (const ELEMENT *)p.weights.data + head * p.weights.stride[1] + r * p.weights.stride[2];
    const ELEMENT *v =
        (const ELEMENT *)p.v.data + row.b * p.v.stride[0] + row.h / p.group * p.v.stride[1];
    for (int64_t d = lane; d < p.head_dim; d += 32) {
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
