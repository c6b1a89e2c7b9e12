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

// ---- non-finite values of V in masked tiles
// -------------------------------------------------------

__device__ __forceinline__ bool has_nonfinite(uint32_t two)
{
    constexpr uint32_t EXPONENT = FASC_BF16 ? 0x7f80u : 0x7c00u;
    return (two & EXPONENT) == EXPONENT || (two >> 16 & EXPONENT) == EXPONENT;
}

// Zeroes the NaN and infinities of the V tile. True, in every thread, if there were any. Each
// thread looks at the pieces that it loaded itself; the barrier inside also publishes the tile.
__device__ __forceinline__ bool take_out_nonfinite(uint32_t v_tile)
{
    constexpr uint32_t EXPONENT = FASC_BF16 ? 0x7f80u : 0x7c00u;
    bool found = false;
    const int row0 = threadIdx.x / LANES, chunk = threadIdx.x % LANES;
    for (int row = row0; row < BLOCK_N && chunk < CHUNKS; row += STEP) {
        uint32_t at = v_tile + tile_offset(BLOCK_N, row, chunk);
        uint32_t x[4];
        load_shared_16(x, at);
        if (has_nonfinite(x[0]) || has_nonfinite(x[1]) || has_nonfinite(x[2]) ||
            has_nonfinite(x[3])) {
            found = true;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                x[i] &= (x[i] & EXPONENT) == EXPONENT ? 0xffff0000u : 0xffffffffu;
                x[i] &= (x[i] >> 16 & EXPONENT) == EXPONENT ? 0x0000ffffu : 0xffffffffu;
            }
            store_shared_16(at, x);
        }
    }
    return __syncthreads_or(found);
}
