// sm80_loads.cuh - Q, K and V tiles from global to shared memory.
//
// All threads copy a tile, LANES neighbours one row: a thread copies one 16-byte chunk of every
// STEP-th row. Where in memory and in the tile it begins is kept in shared memory, not in
// registers: the products need those.
#pragma once

#include "sm80_block.cuh"
#include "sm80_mma.cuh"
#include "sm80_params.h"

// ---- what a thread keeps ------------------------------------------------------

__device__ __forceinline__ uint32_t kept_place(const Block &b, int which)
{
    return b.kept + (which * THREADS + b.warp * 32 + b.lane) * 8;
}

__device__ __forceinline__ void keep(const Block &b, int which, uint64_t x)
{
    asm volatile("st.shared.b64 [%0], %1;\n" ::"r"(kept_place(b, which)), "l"(x) : "memory");
}

__device__ __forceinline__ uint64_t kept(const Block &b, int which)
{
    uint64_t x;
    asm volatile("ld.shared.b64 %0, [%1];\n" : "=l"(x) : "r"(kept_place(b, which)) : "memory");
    return x;
}

constexpr int KEPT_K = 0, KEPT_V = 1, KEPT_TILE = 2, KEPT_SCORES = 3, KEPT = 4;
constexpr int KEPT_RANGE = KEPT * THREADS * 8; // behind what the threads keep
constexpr int KEPT_ROW0 = KEPT_RANGE + 16, KEPT_HEAD = KEPT_ROW0 + 4;
constexpr int KEPT_ENDS = KEPT_RANGE + 32; // 16 bytes a row, see store_scores_shifted
constexpr int SMEM_BYTES = Q_BYTES + KV_BUFFERS * KV_BYTES + KEPT_ENDS + 16 * BLOCK_M;

static_assert(SMEM_BYTES ==
                  FASC_SM80_SMEM_BYTES(HEAD_DIM, BLOCK_M, BLOCK_N, STAGES, WARPS, WANT_OUT),
              "the host's formula");

// The block's range of tiles, its first row and its number among all query heads.
__device__ __forceinline__ void keep_range(const fasc_flash_params &p, const Block &b,
                                           const TileRange &r)
{
    if (threadIdx.x == 0) {
        store_shared_4(b.kept + KEPT_ROW0, b.row0);
        store_shared_4(b.kept + KEPT_HEAD, b.batch * p.heads_q + b.head);
        asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};\n" ::"r"(b.kept + KEPT_RANGE),
                     "r"(r.begin), "r"(r.end), "r"(r.full_begin), "r"(r.full_end)
                     : "memory");
    }
}

__device__ __forceinline__ TileRange kept_range(const Block &b)
{
    TileRange r;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(r.begin), "=r"(r.end), "=r"(r.full_begin), "=r"(r.full_end)
                 : "r"(b.kept + KEPT_RANGE)
                 : "memory");
    return r;
}

__device__ __forceinline__ int kept_of_block(uint32_t at)
{
    int x;
    asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(x) : "r"(at) : "memory");
    return x;
}

__device__ __forceinline__ int kept_row0(const Block &b)
{
    return kept_of_block(b.kept + KEPT_ROW0);
}

__device__ __forceinline__ int kept_head(const Block &b)
{
    return kept_of_block(b.kept + KEPT_HEAD);
}

// ---- tiles --------------------------------------------------------------------

// A thread's place in row 0 of a tensor.
__device__ __forceinline__ const uint16_t *thread_start(const void *base, const int64_t *stride,
                                                        int batch, int head)
{
    return (const uint16_t *)base + batch * stride[0] + head * stride[1] +
           (int)(threadIdx.x / LANES) * stride[2] + (int)(threadIdx.x % LANES) * 8;
}

// Its place in a tile of ROWS rows.
template <int ROWS, bool KEYS> __device__ __forceinline__ uint32_t thread_place()
{
    const uint32_t row = threadIdx.x / LANES, chunk = threadIdx.x % LANES;
    const uint32_t place = (chunk & 7) ^ (KEYS ? key_swizzle<LANE_KEYS>(row) : row & 7);
    return (chunk >> 3) * ROWS * 128 + row * 128 + place * 16;
}

// Its first row, past all rows if its chunk is beyond head_dim.
__device__ __forceinline__ int thread_row(int head_dim)
{
    return (int)(threadIdx.x % LANES) * 8 < head_dim ? threadIdx.x / LANES : 1 << 30;
}

// Copies ROWS rows of 16-bit elements, `rows` of them from memory: the rest is zero. `to` and
// `from` are the thread's places in the tile and in its first row.
template <int ROWS, bool KEYS>
__device__ __forceinline__ void load_tile(uint32_t to, const uint16_t *from, int row,
                                          int64_t stride, int rows)
{
    static_assert((STEP & (STEP - 1)) == 0 && ROWS % STEP == 0, "a tile is whole steps");
    if (LANES != CHUNKS && threadIdx.x % LANES >= CHUNKS) {
        return;
    }
#pragma unroll
    for (int n = 0; n < ROWS / STEP; n++) {
        // a swizzle is made of bits of the row, so that of a sum without carries is one of parts
        const int swizzle = KEYS ? key_swizzle<LANE_KEYS>(n * STEP) : n * STEP & 7;
        cp_async_16((to ^ swizzle << 4) + n * STEP * 128, from, row < rows - n * STEP ? 16 : 0);
        from += STEP * stride;
    }
}

// Turns the sign of what load_tile of ROWS rows brought; for the thread's own part.
template <int ROWS> __device__ __forceinline__ void negate_tile(uint32_t to)
{
    if (LANES != CHUNKS && threadIdx.x % LANES >= CHUNKS) {
        return;
    }
#pragma unroll 1
    for (int n = 0; n < ROWS / STEP; n++) {
        const uint32_t at = (to ^ (n * STEP & 7) << 4) + n * STEP * 128;
        uint32_t x[4];
        load_shared_16(x, at);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            x[i] ^= 0x80008000u;
        }
        store_shared_16(at, x);
    }
}
