// sm80_loads.cuh - Q, K and V tiles from global to shared memory, and a V tile without its NaN and
// infinities.
#pragma once

#include "sm80_block.cuh"
#include "sm80_mma.cuh"

// Copies ROWS rows of 16-bit elements, from row `first` on, into the tile at smem. A thread copies
// one 16-byte chunk of every STEP-th row, so that its addresses advance by one constant.
template <int ROWS>
__device__ __forceinline__ void load_tile(uint32_t smem, const uint16_t *base, int64_t stride,
                                          int first, int seqlen, int head_dim)
{
    int thread = threadIdx.x;
    asm volatile("" : "+r"(thread));
    const int row0 = thread / LANES, chunk = thread % LANES;
    const uint16_t *from = base + (int64_t)(first + row0) * stride + chunk * 8;
    const int rows = chunk * 8 < head_dim ? seqlen - first - row0
                                          : 0; // rows from this thread's first to the end
#pragma unroll
    for (int n = 0; n < ROWS / STEP; n++) {
        bool inside = n * STEP < rows;
        if (LANES == CHUNKS || chunk < CHUNKS) {
            cp_async_16(smem + tile_offset(ROWS, row0 + n * STEP, chunk), from, inside ? 16 : 0);
        }
        from += STEP * stride;
    }
}
