// sm90_tiles.cuh - how the work of flash_sm90 is cut into tiles, in which order they are taken, and
// the barriers of a block.
#pragma once

#include "sm90_classes.cuh"

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
    int batch, head;
    int row0, row1;               // query rows [row0, row1), see row_at; none in an empty part
    int phase;                    // key tile j starts at key j BLOCK_N - phase: sm90_classes.cuh
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

// Row `i` of the tile.
__device__ __forceinline__ int row_at(const fasc_flash_sm90_params &p, const Tile &t, int i)
{
    return t.row0 + (i << row_shift(p));
}

// Rows that the tile's head has from its row `i` on, were the tile as long.
__device__ __forceinline__ int rows_from(const fasc_flash_sm90_params &p, const Tile &t, int i)
{
    const int left = p.flash.seqlen_q - row_at(p, t, i);
    return CLASSES ? (left + (1 << row_shift(p)) - 1) >> row_shift(p) : left;
}

__device__ __forceinline__ int first_key(const Tile &t, int j)
{
    return j * BLOCK_N - t.phase;
}

// What rows from row0 to row1 see: some of them, and all.
__device__ __forceinline__ void see(const fasc_flash_sm90_params &p, Tile &t, int row0, int row1)
{
    const fasc_flash_params &f = p.flash;
    int first = 0, last = f.seqlen_k - 1;
    t.full_first = first;
    t.full_last = last;
    if (MASK == FASC_MASK_BAND) {
        int lo = band_edge(f.lo), hi = band_edge(f.hi);
        last = min(last, row1 + hi);
        t.full_last = min(t.full_last, row0 + hi);
        first = max(first, row0 + lo);
        t.full_first = max(t.full_first, row1 + lo);
    }
    t.begin = last < first ? 0 : (first + t.phase) / BLOCK_N;
    t.end = last < first ? 0 : (last + t.phase) / BLOCK_N + 1;
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
    t.row0 = first_row(p, row_tile) + (64 * part << row_shift(p));
    t.row1 = min(row_at(p, t, rows), f.seqlen_q);
    t.phase = phase_of(p, t.batch, t.head, t.row0);

    see(p, t, t.row0, row_at(p, t, (t.row1 - 1 - t.row0) >> row_shift(p)));
    const int all = (f.seqlen_k + t.phase + BLOCK_N - 1) / BLOCK_N;
    t.stored_begin = 0;
    t.stored_end = all;
    if (t.row0 >= f.seqlen_q) {
        t.begin = t.end = t.stored_end = 0;
    }
    if (CLASSES && MASK == FASC_MASK_NONE) { // known when compiled: fewer registers
        t.begin = 0;
        t.end = t.stored_end;
    }
    if (ONLY_LOGITS) {
        t.stored_begin = piece * all / p.pieces;
        t.stored_end = (piece + 1) * all / p.pieces;
        t.begin = t.end = t.stored_begin; // nobody asks what rows see
    }
    return t;
}

__device__ __forceinline__ uint32_t shared_start()
{
    extern __shared__ __align__(1024) uint8_t shared_memory[];
    return shared_address(shared_memory);
}

// Where a consumer warp's tile lies waits in shared memory with CLASSES: registers are scarce.
struct TilePlaces {
    uint32_t at; // the warp's

    __device__ __forceinline__ void keep(const Tile &t, int lane) const
    {
        if (CLASSES) {
            const uint32_t x[4] = {(uint32_t)t.batch, (uint32_t)t.head, (uint32_t)t.row0,
                                   (uint32_t)t.phase};
            const uint32_t y[4] = {(uint32_t)t.full_first, (uint32_t)t.full_last, (uint32_t)t.begin,
                                   (uint32_t)t.end};
            __syncwarp();
            if (lane == 0) {
                store_shared_16(at, x);
                store_shared_16(at + 16, y);
            }
            __syncwarp();
        }
    }

    __device__ __forceinline__ Tile with(const Tile &t) const
    {
        Tile found = t;
        if (CLASSES) {
            uint32_t x[4];
            load_shared_16(x, at);
            found.batch = (int)x[0];
            found.head = (int)x[1];
            found.row0 = (int)x[2];
            found.phase = (int)x[3];
        }
        return found;
    }

    // The same with what every row sees, and some row.
    __device__ __forceinline__ Tile with_full(const Tile &t) const
    {
        Tile found = with(t);
        if (CLASSES && MASK == FASC_MASK_BAND) {
            uint32_t y[4];
            load_shared_16(y, at + 16);
            found.full_first = (int)y[0];
            found.full_last = (int)y[1];
            found.begin = (int)y[2];
            found.end = (int)y[3];
        }
        return found;
    }
};

// The last key tiles, which top-k looks at first and passes again at the end: see RecordTopK.
__device__ __forceinline__ int looks_of(const Tile &t)
{
    return TOPK ? FASC_TOPK_LOOKS(FASC_TOPK_FEW, t.end - t.begin) : 0;
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
