// diagonals_join.cu - adds the two parts of each diagonal that walks along stripes leave: see
// diagonals.cu and diagonals_sm90.cu.
//
// A stripe's walk gives the diagonals from its first key on, `width` of them, their part 0, and the
// TILE - 1 before, their part 1.

#include "common.cuh"
#include "diagonals_params.h"

extern "C" __global__ void __launch_bounds__(256)
    diagonals_join(const __grid_constant__ fasc_diagonals_params p)
{
    const int64_t heads = (int64_t)p.batch * p.heads;
    for (int64_t at = blockIdx.x * (int64_t)256 + threadIdx.x; at < heads * p.entries;
         at += (int64_t)gridDim.x * 256) {
        const int64_t head = at / p.entries, entry = at - head * p.entries;
        const int64_t ahead = p.seqlen_k - 1 - entry; // key - query
        const bool two = (ahead & (p.width - 1)) > p.width - FASC_DIAGONALS_TILE;
        float sum = 0.0f;
        if (ahead >= p.least && ahead <= p.most) {
            sum = p.parts[at] + (two ? p.parts[heads * p.entries + at] : 0.0f);
        }
        p.sum[head / p.heads * p.sum_stride[0] + head % p.heads * p.sum_stride[1] +
              entry * p.sum_stride[2]] = sum;
    }
}
