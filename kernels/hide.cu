// hide.cu - `masked` scores from logits that the first product wrote in place: -inf where the band
// hides a pair. Only hidden elements are touched. A row a block, of 128 threads.

#include "mask.cuh"
#include "scores.cuh"

constexpr int THREADS = 128;

extern "C" __global__ void __launch_bounds__(THREADS)
    hide_rows(const __grid_constant__ fasc_attention_params p)
{
    Group hidden;
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
        hidden.x[i] = -INFINITY_F32;
    }
    for (int64_t n = blockIdx.x; n < p.chunk.heads * p.chunk.rows; n += gridDim.x) {
        RowOf row = row_of(p, n / p.chunk.rows, n % p.chunk.rows);
        KeyRange keys = visible_keys(p.lo, p.hi, p.seqlen_k, row.i);
        RowStore to = row_store(p.masked, row);
        for (int64_t j = threadIdx.x * GROUP; j < p.seqlen_k; j += THREADS * GROUP) {
            if (j + GROUP <= keys.begin || j >= keys.end) {
                store_group<true>(p.masked, to, j, p.seqlen_k, hidden);
                continue;
            }
            if (j >= keys.begin && j + GROUP <= keys.end) {
                continue;
            }
#pragma unroll 1
            for (int64_t i = j; i < min(j + GROUP, p.seqlen_k); i++) {
                if (i < keys.begin || i >= keys.end) {
                    store_element(p.masked, to.start + i * p.masked.stride[3], -INFINITY_F32);
                }
            }
        }
    }
}
