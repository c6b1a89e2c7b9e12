// reducer_offsets.cu - what is made of a number per query, before and beside the reducers.
//
//   reducer_offsets   LSE as reducers add it to exponents: -LSE log2(e), in rows that hold whole
//                     tiles, -inf where there is none and for a query that sees nothing (its
//                     weights then are 0)
//   reducer_max       row_max to the largest logit of a head, over the batch; a block a head

#include "common.cuh"
#include "reducer_params.h"

extern "C" __global__ void __launch_bounds__(256)
    reducer_offsets(const __grid_constant__ fasc_offsets_params p)
{
    for (int64_t n = blockIdx.x * (int64_t)256 + threadIdx.x; n < p.count;
         n += (int64_t)gridDim.x * 256) {
        const int64_t head = n / p.pitch, i = n - head * p.pitch - p.first;
        float offset = -INFINITY_F32;
        if (i >= 0 && i < p.seqlen) {
            float lse = p.lse[head / p.heads * p.stride[0] + head % p.heads * p.stride[1] +
                              i * p.stride[2]];
            offset = lse == -INFINITY_F32 ? lse : -lse * LOG2_E;
        }
        p.offset[n] = offset;
    }
}

extern "C" __global__ void __launch_bounds__(256)
    reducer_max(const __grid_constant__ fasc_max_params p)
{
    __shared__ float room[32];
    float largest = -INFINITY_F32;
    for (int64_t b = 0; b < p.batch; b++) {
        const float *row = p.row_max + b * p.stride[0] + blockIdx.x * p.stride[1];
        for (int64_t i = threadIdx.x; i < p.seqlen; i += 256) {
            largest = fmaxf_nan(largest, row[i * p.stride[2]]);
        }
    }
    largest = block_max<256>(largest, room);
    if (threadIdx.x == 0) {
        p.max_logit[blockIdx.x * p.head_stride] = largest;
    }
}
