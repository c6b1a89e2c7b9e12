// sm90_tiles.cuh - how the work of flash_sm90 is cut into tiles, in which order they are taken, and
// the barriers of a block.
#pragma once

#include "sm90_config.cuh"

struct Barriers {
    uint32_t at; // q_full, q_empty, then k_full, k_empty, v_full, v_empty of each stage

    __device__ __forceinline__ uint32_t q_full() const
    {
        return at;
    }
    __device__ __forceinline__ uint32_t q_empty() const
    {
        return at + 8;
    }
    __device__ __forceinline__ uint32_t k_full(uint32_t stage) const
    {
        return at + 16 + 32 * stage;
    }
    __device__ __forceinline__ uint32_t k_empty(uint32_t stage) const
    {
        return at + 24 + 32 * stage;
    }
    __device__ __forceinline__ uint32_t v_full(uint32_t stage) const
    {
        return at + 32 + 32 * stage;
    }
    __device__ __forceinline__ uint32_t v_empty(uint32_t stage) const
    {
        return at + 40 + 32 * stage;
    }
};

struct Tile {
    int batch, head, row0, row1;  // query rows [row0, row1); none where a part is empty
    int begin, end;               // key tiles [begin, end) that some row sees
    int stored_begin, stored_end; // key tiles whose logits are stored
    int full_first, full_last;    // keys that every row sees
};

// The band's edges as ints: no sequence is longer than 2^30.
__device__ __forceinline__ int band_edge(int64_t edge)
{
    const int64_t far = 1 << 30;
    return (int)max(-far, min(edge, far));
}

// Logits alone: nothing but Q K^T and its store, of any part of a row's keys.
constexpr bool ONLY_LOGITS = SCORES == FASC_SCORES_LOGITS && !WANT_OUT && !WANT_STATS;

__device__ __forceinline__ int all_key_tiles(const fasc_flash_params &f)
{
    return (f.seqlen_k + BLOCK_N - 1) / BLOCK_N;
}

// Tile number `index`. Heads go in sections whose K and V share the L2 cache; within a section, the
// rows that see most keys (the last ones) come first, over all its heads. Tiles from whole_tiles on
// are cut into parts.
__device__ __forceinline__ Tile tile_at(const fasc_flash_sm90_params &p, int index)
{
    const fasc_flash_params &f = p.flash;
    const int piece = ONLY_LOGITS ? index % p.pieces : 0;
    index = ONLY_LOGITS ? index / p.pieces : index;
    int rows = BLOCK_M, part = 0;
    if (PARTS && index >= p.whole_tiles) {
        rows = 64;
        part = (index - p.whole_tiles) % CONSUMERS;
        index = p.whole_tiles + (index - p.whole_tiles) / CONSUMERS;
    }
    int section = index / (f.section * p.tiles_m);
    int rest = index - section * f.section * p.tiles_m;
    int heads = min(f.section, f.batch * f.heads_q - section * f.section);
    int row_tile = rest / heads;
    int head = section * f.section + rest - row_tile * heads;
    Tile t;
    t.batch = head / f.heads_q;
    t.head = head - t.batch * f.heads_q;
    t.row0 = (p.tiles_m - 1 - row_tile) * BLOCK_M + 64 * part;
    t.row1 = min(t.row0 + rows, f.seqlen_q);

    int row1 = t.row1 - 1;
    int first = 0, last = f.seqlen_k - 1;
    t.full_first = first;
    t.full_last = last;
    if (MASK == FASC_MASK_BAND) {
        int lo = band_edge(f.lo), hi = band_edge(f.hi);
        last = min(last, row1 + hi);
        t.full_last = min(t.full_last, t.row0 + hi);
        first = max(first, t.row0 + lo);
        t.full_first = max(t.full_first, row1 + lo);
    }
    t.begin = last < first ? 0 : first / BLOCK_N;
    t.end = last < first ? 0 : last / BLOCK_N + 1;
    t.stored_begin = 0;
    t.stored_end = all_key_tiles(f);
    if (t.row0 >= f.seqlen_q) {
        t.begin = t.end = t.stored_end = 0;
    }
    if (ONLY_LOGITS) {
        t.stored_begin = piece * all_key_tiles(f) / p.pieces;
        t.stored_end = (piece + 1) * all_key_tiles(f) / p.pieces;
        t.begin = t.end = t.stored_begin; // nobody asks what rows see
    }
    return t;
}

// The key tiles that have work: `logits` is stored where no row looks, too.
__device__ __forceinline__ int first_key_tile(const Tile &t)
{
    return SCORES == FASC_SCORES_LOGITS ? t.stored_begin : t.begin;
}

__device__ __forceinline__ int end_key_tile(const Tile &t)
{
    return SCORES == FASC_SCORES_LOGITS ? t.stored_end : t.end;
}
