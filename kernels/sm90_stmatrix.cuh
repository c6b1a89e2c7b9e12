// sm90_stmatrix.cuh - from a warp's accumulator registers to a panel in shared memory that the copy
// engine (128-byte swizzle) or plain loads can read.
//
// A panel is 16 rows of 128 bytes: 64 columns of 16-bit or 32 of 32-bit numbers. The 16-byte chunk
// c of the 128 bytes at line l of shared memory lies at place c ^ (l & 7) among them, so that eight
// rows of one chunk fall in eight different groups of banks, or in four where two panels lie row by
// row. Accumulators lie as
// softmax.cuh says.
#pragma once

#include "flash_common.cuh"

constexpr int PANEL_ROWS = 16;
constexpr int PANEL_BYTES = PANEL_ROWS * 128;

// Chunk `chunk` of row `row` of panel `panel`, of COUNT that lie row by row, at a multiple of 1024:
// the engine's swizzle goes by the address.
template <int COUNT>
__device__ __forceinline__ uint32_t batch_chunk(uint32_t batch, int panel, int row, int chunk)
{
    const int line = row * COUNT + panel;
    return batch + line * 128 + ((chunk ^ (line & 7)) << 4);
}

__device__ __forceinline__ uint32_t panel_chunk(uint32_t panel, int row, int chunk)
{
    return batch_chunk<1>(panel, 0, row, chunk);
}

// 16 rows x 16 columns of 16-bit numbers: the packed pairs (row, c..), (row + 8, c..), (row, c
// + 8..), (row + 8, c + 8..). Lane l brings the address of row l & 15, chunk l >> 4 of the two.
__device__ __forceinline__ void stmatrix_x4(uint32_t at, uint32_t r0, uint32_t r1, uint32_t r2,
                                            uint32_t r3)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};\n" ::"r"(at),
                 "r"(r0), "r"(r1), "r"(r2), "r"(r3)
                 : "memory");
}

// 64 columns of packed 16-bit pairs, as panel `panel` of COUNT.
template <int COUNT>
__device__ __forceinline__ void store_panel(uint32_t batch, int panel, const uint32_t *pairs,
                                            int lane)
{
    uint32_t at = batch_chunk<COUNT>(batch, panel, lane & 15, lane >> 4);
#pragma unroll
    for (int n = 0; n < 4; n++) {
        stmatrix_x4(at ^ (n << 5), pairs[4 * n], pairs[4 * n + 1], pairs[4 * n + 2],
                    pairs[4 * n + 3]);
    }
}

// 32 columns of 32-bit numbers, 16 registers.
template <int COUNT>
__device__ __forceinline__ void store_panel(uint32_t batch, int panel, const float *x, int lane)
{
    int row = lane >> 2, quad = lane & 3;
    uint32_t at = batch_chunk<COUNT>(batch, panel, row, quad >> 1) + (quad & 1) * 8;
#pragma unroll
    for (int n = 0; n < 4; n++) { // 8 columns = 2 chunks; row + 8 has the same swizzle
        store_shared_8(at ^ (n << 5), x[4 * n], x[4 * n + 1]);
        store_shared_8((at ^ (n << 5)) + 8 * COUNT * 128, x[4 * n + 2], x[4 * n + 3]);
    }
}

// x, but the compiler cannot compute what follows from it ahead of a loop, where rarely taken paths
// would cost registers.
__device__ __forceinline__ int computed_here(int x)
{
    asm volatile("" : "+r"(x));
    return x;
}

__device__ __forceinline__ uint32_t load_shared_4(uint32_t at)
{
    uint32_t x;
    asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(x) : "r"(at) : "memory");
    return x;
}
