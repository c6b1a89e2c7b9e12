// reducer_mma.cuh - tiles of the portable reducers: global to shared memory by cp.async, and
// S = X Y^T of a warp's rows by mma.sync. Both tiles lie in panels as sm80_mma.cuh says.
//
// Macros: HEAD_DIM (multiple of 64), BLOCK_M rows and BLOCK_N columns of a tile (multiples of 16
// WARPS and of 16), WARPS.
#pragma once

#include "flash_common.cuh"
#include "reducer_fragment.cuh"

constexpr int THREADS = WARPS * 32;
constexpr int MT = BLOCK_M / (16 * WARPS); // 16-row tiles of a warp
constexpr int NT = BLOCK_N / 8;            // 8-column tiles
constexpr int CHUNKS = HEAD_DIM / 8;       // 16-byte chunks of a row
constexpr int ROW_BYTES = HEAD_DIM * 2 * BLOCK_M;
constexpr int COLUMN_BYTES = HEAD_DIM * 2 * BLOCK_N;

// Wide rows in parts: unrolled whole, the addresses of all loads would lie in registers.
constexpr int LOADS_AT_ONCE = HEAD_DIM > 128 ? 4 : 64;
constexpr int STEPS_AT_ONCE = HEAD_DIM > 128 ? 4 : 8;

static_assert(HEAD_DIM % 64 == 0 && BLOCK_M % (16 * WARPS) == 0 && BLOCK_N % 16 == 0, "tile shape");

// Queues the copy of ROWS rows from row `first` on, 0 past `end` and past head_dim.
template <int ROWS>
__device__ __forceinline__ void load_tile(uint32_t to, const uint16_t *from, int64_t stride,
                                          int first, int end, int head_dim)
{
    constexpr int STEP = THREADS / CHUNKS; // rows that all threads load at once
    static_assert(THREADS % CHUNKS == 0 && ROWS % STEP == 0, "whole rows");
    const int row0 = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
    from += (int64_t)(first + row0) * stride + chunk * 8;
#pragma unroll LOADS_AT_ONCE
    for (int n = 0; n < ROWS / STEP; n++) {
        const int row = row0 + n * STEP;
        const bool inside = first + row < end && chunk * 8 < head_dim;
        cp_async_16(to + tile_offset(ROWS, row, chunk), from, inside ? 16 : 0);
        from += STEP * stride;
    }
}

// S of the warp's rows with the column tile at `columns`; both in shared memory.
__device__ __forceinline__ void product(float (&s)[MT][4 * NT], uint32_t rows, uint32_t columns,
                                        int warp, int lane)
{
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
#pragma unroll
        for (int i = 0; i < 4 * NT; i++) {
            s[mt][i] = 0.0f;
        }
    }
#pragma unroll STEPS_AT_ONCE
    for (int step = 0; step < HEAD_DIM / 16; step++) {
        uint32_t a[MT][4];
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            const int row = (warp * MT + mt) * 16 + (lane & 15);
            load_fragment(a[mt], rows + tile_offset(BLOCK_M, row, 2 * step + (lane >> 4)));
        }
#pragma unroll
        for (int n = 0; n < NT / 2; n++) {
            uint32_t b[4];
            const int column = n * 16 + (lane & 7) + ((lane >> 4) << 3);
            load_fragment(b, columns + tile_offset(BLOCK_N, column, 2 * step + ((lane >> 3) & 1)));
#pragma unroll
            for (int mt = 0; mt < MT; mt++) {
                mma_16816(&s[mt][8 * n], a[mt], b[0], b[1]);
                mma_16816(&s[mt][8 * n + 4], a[mt], b[2], b[3]);
            }
        }
    }
}
