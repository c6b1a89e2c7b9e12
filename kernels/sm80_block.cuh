// sm80_block.cuh - the shape of a block of flash_sm80: its constants, its place in the problem, and
// which elements a lane holds. Macros: see flash_sm80.cu.
#pragma once

#include "flash_common.cuh"
#include "flash_params.h"

constexpr int THREADS = WARPS * 32;
constexpr int MT = BLOCK_M / (16 * WARPS); // 16-row tiles of a warp
constexpr int NT = BLOCK_N / 8;            // 8-key tiles of S
constexpr int DT = HEAD_DIM / 8;           // 8-column tiles of O
constexpr int PANELS = (HEAD_DIM + 63) / 64;
constexpr int Q_BYTES = PANELS * BLOCK_M * 128;
constexpr int KV_BYTES = PANELS * BLOCK_N * 128;
constexpr int CHUNKS = HEAD_DIM / 8; // 16-byte chunks of a row
constexpr int LANES = CHUNKS <= 4    ? 4
                      : CHUNKS <= 8  ? 8
                      : CHUNKS <= 16 ? 16
                                     : 32; // threads for one row's chunks
constexpr int STEP = THREADS / LANES;      // rows that all threads load at once
constexpr int OUT_TILES = WANT_OUT ? DT : 1;
constexpr int KV_BUFFERS = (WANT_OUT ? 2 : 1) * STAGES;

// Which key each column of S is. The order in which a product takes the keys is free, as long as
// Q K^T and P V agree: here each lane gets neighbouring keys, 16 bytes of a row of scores, so that
// scores need no exchange on their way to memory. In a group of GROUP_KEYS keys, which are
// GROUP_TILES 8-column tiles, column 2q + e of tile t is key q LANE_KEYS + 2t + e.
constexpr int LANE_KEYS = SCORES_F32 ? 4 : 8;
constexpr int GROUP_TILES = LANE_KEYS / 2;
constexpr int GROUP_KEYS = 4 * LANE_KEYS;
constexpr int GROUPS = BLOCK_N / GROUP_KEYS;

static_assert(BLOCK_M % (16 * WARPS) == 0 && BLOCK_N % GROUP_KEYS == 0 && HEAD_DIM % 16 == 0,
              "tile shape");

struct Block {
    int batch, head, head_k; // q's head and the K/V head it reads
    int row0;                // first query row
    int warp, lane;
    uint32_t q_tile, k_tile, v_tile, kept; // shared-memory addresses
};

// The same block with the lane read again: what is made from it is computed where it is used. Kept
// over the walk, lane and addresses would take the registers that S and O need.
__device__ __forceinline__ Block renewed(Block b)
{
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(b.lane));
    return b;
}

// One value for the whole warp, so that it can lie in a uniform register.
__device__ __forceinline__ int uniform(int x)
{
    return __shfl_sync(FULL_MASK, x, 0);
}

// Block number -> (row tile, head, batch): sections of heads, within one the rows with the most
// keys first.
__device__ __forceinline__ Block this_block(const fasc_flash_params &p)
{
    int tiles = (p.seqlen_q + BLOCK_M - 1) / BLOCK_M;
    int heads = p.batch * p.heads_q;
    uint32_t number;
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(number));
    int section = (int)(number / ((int64_t)p.section * tiles));
    int in_section = (int)(number - (int64_t)section * p.section * tiles);
    int width = min(p.section, heads - section * p.section);
    int flat = section * p.section + in_section % width;
    Block b;
    b.row0 = uniform((tiles - 1 - in_section / width) * BLOCK_M);
    b.batch = flat / p.heads_q;
    b.head = flat % p.heads_q;
    b.head_k = b.head / p.group;
    b.warp = uniform(threadIdx.x >> 5);
    b.lane = threadIdx.x & 31;
    return b;
}

// ---- what a lane holds ------------------------------------------------------

// Row of register pair `half` (0: l/4, 1: l/4 + 8) of row tile mt.
__device__ __forceinline__ int fragment_row(const Block &b, int mt, int half)
{
    return b.row0 + (b.warp * MT + mt) * 16 + (b.lane >> 2) + 8 * half;
}

// The first key of a lane, and how far from it the key of register i of S is.
__device__ __forceinline__ int lane_key(const Block &b)
{
    return (b.lane & 3) * LANE_KEYS;
}

__device__ constexpr int key_of(int i)
{
    return (i >> 2) / GROUP_TILES * GROUP_KEYS + (i >> 2) % GROUP_TILES * 2 + (i & 1);
}

// Column of register i of O.
__device__ __forceinline__ int out_col(const Block &b, int i)
{
    return (i >> 2) * 8 + 2 * (b.lane & 3) + (i & 1);
}

// The key tiles [begin, end) that some row of the block sees, and those [full_begin, full_end) that
// every row sees whole.
struct TileRange {
    int begin, end, full_begin, full_end;
};

__device__ __forceinline__ TileRange tile_range(const fasc_flash_params &p, int row0)
{
    int row1 = min(row0 + BLOCK_M, p.seqlen_q) - 1;
    int first0, last0, first1, last1;
    visible_keys(p, row0, &first0, &last0);
    visible_keys(p, row1, &first1, &last1);
    TileRange t;
    t.begin = first0 / BLOCK_N;
    t.end = last1 >= first0 ? last1 / BLOCK_N + 1 : t.begin;
    t.full_begin = (first1 + BLOCK_N - 1) / BLOCK_N;
    t.full_end = (last0 + 1) / BLOCK_N;
    return t;
}
