// sm90_stores.cuh - how scores leave a block of flash_sm90: through panels in shared memory, by TMA
// or by plain copies.
//
// TMA writes whole 16-byte chunks, also where a row ends inside one, and what lies behind a row may
// be the caller's. So the tensor map of the scores holds rows of whole chunks only (their length
// rounded down), and the chunk in which a row ends is copied by elements.
#pragma once

#include "sm90_mbarrier.cuh"
#include "sm90_tiles.cuh"
#include "sm90_tma.cuh"

// ---- plain copies of panels -------------------------------------------------

__device__ __forceinline__ void copy_element(uint16_t *to, uint32_t panel, int row, int column)
{
    *to = load_shared_2(panel_chunk(panel, row, column >> 3) + (column & 7) * 2);
}

__device__ __forceinline__ void copy_element(uint32_t *to, uint32_t panel, int row, int column)
{
    *to = load_shared_4(panel_chunk(panel, row, column >> 2) + (column & 3) * 4);
}

// A panel to memory with any strides, cut to `rows` and `columns`; lanes run along a row.
template <class T>
__device__ __forceinline__ void copy_panel(T *to, int64_t row_stride, int64_t column_stride,
                                           int rows, int columns, uint32_t panel, int lane)
{
    constexpr int WIDTH = 128 / sizeof(T);
#pragma unroll 4
    for (int row = 0; row < min(rows, PANEL_ROWS); row++) {
#pragma unroll
        for (int column = lane; column < WIDTH; column += 32) {
            if (column < columns) {
                copy_element(to + row * row_stride + column * column_stride, panel, row, column);
            }
        }
    }
}

// Columns [first, end) of a panel, few of them; lanes run down the rows.
template <class T>
__device__ __forceinline__ void copy_columns(T *to, int64_t row_stride, int rows, int first,
                                             int end, uint32_t panel, int lane)
{
    const int row = lane & (PANEL_ROWS - 1);
    for (int column = first + lane / PANEL_ROWS; column < end && row < rows; column += 2) {
        copy_element(to + row * row_stride + column, panel, row, column);
    }
}

// ---- a panel of scores ------------------------------------------------------

// The columns that the tensor map of the scores holds.
__device__ __forceinline__ int mapped_columns(const fasc_flash_params &f)
{
    return f.seqlen_k & ~(SCORES_F32 ? 3 : 7);
}

__device__ __forceinline__ int64_t score_at(const fasc_flash_params &f, const Tile &t, int row,
                                            int column)
{
    return t.batch * f.scores_stride[0] + t.head * f.scores_stride[1] + row * f.scores_stride[2] +
           column * f.scores_stride[3];
}

// A panel whose first element is (row, column) of the tile's head, by the whole warp.
__device__ __forceinline__ void copy_scores(const fasc_flash_params &f, const Tile &t,
                                            uint32_t panel, int row, int column, int lane)
{
    const int64_t at = score_at(f, t, row, column);
    if (SCORES_F32) {
        copy_panel((uint32_t *)f.scores + at, f.scores_stride[2], f.scores_stride[3],
                   f.seqlen_q - row, f.seqlen_k - column, panel, lane);
    } else {
        copy_panel((uint16_t *)f.scores + at, f.scores_stride[2], f.scores_stride[3],
                   f.seqlen_q - row, f.seqlen_k - column, panel, lane);
    }
}

// The same of `count` panels side by side, but only what the tensor map does not hold of them.
__device__ __forceinline__ void copy_row_ends(const fasc_flash_params &f, const Tile &t,
                                              uint32_t panels, int count, int row, int column,
                                              int lane)
{
    const int first = mapped_columns(f) - column, panel = first / SCORE_COLUMNS;
    if (first < 0 || panel >= count || mapped_columns(f) == f.seqlen_k) {
        return;
    }
    const int64_t at = score_at(f, t, row, column + panel * SCORE_COLUMNS);
    const int from = first - panel * SCORE_COLUMNS, end = from + f.seqlen_k - mapped_columns(f);
    if (SCORES_F32) {
        copy_columns((uint32_t *)f.scores + at, f.scores_stride[2], f.seqlen_q - row, from, end,
                     panels + panel * PANEL_BYTES, lane);
    } else {
        copy_columns((uint16_t *)f.scores + at, f.scores_stride[2], f.seqlen_q - row, from, end,
                     panels + panel * PANEL_BYTES, lane);
    }
}

// ---- a consumer warp's tiles of scores --------------------------------------

// The warp's panels: two slots of BATCH. TMA reads one while the warp fills the other.
struct ScoreStore {
    const fasc_flash_sm90_params &p;
    uint32_t panels; // in shared memory
    uint32_t slot;   // the one to be used next
    int row0, lane;  // first row of the warp within the block's tile

    __device__ __forceinline__ uint32_t begin() const
    {
        if (STORES_BY_TMA && lane == 0) {
            tma_wait_read<1>(); // the batch before the last has left this slot
        }
        __syncwarp();
        return panels + slot * BATCH * PANEL_BYTES;
    }

    // Sends the slot's panels off; `column` is that of the first.
    __device__ __forceinline__ void end(const Tile &t, int column)
    {
        const uint32_t panel = panels + slot * BATCH * PANEL_BYTES;
        const int row = t.row0 + row0;
        if (STORES_BY_TMA) {
            fence_proxy_async();
            __syncwarp();
            if (lane == 0 && row < p.flash.seqlen_q) {
                const int columns = mapped_columns(p.flash);
#pragma unroll
                for (int n = 0; n < BATCH; n++) {
                    if (column + n * SCORE_COLUMNS < columns) {
                        tma_store(&p.scores_map, panel + n * PANEL_BYTES,
                                  column + n * SCORE_COLUMNS, row, t.head, t.batch, L2_EVICT_FIRST);
                    }
                }
            }
            if (lane == 0) {
                tma_commit();
            }
            if (column + BATCH * SCORE_COLUMNS > p.flash.seqlen_k) {
                copy_row_ends(p.flash, t, panel, BATCH, row, column, lane);
            }
        } else {
            __syncwarp();
#pragma unroll
            for (int n = 0; n < BATCH; n++) {
                copy_scores(p.flash, t, panel + n * PANEL_BYTES, row, column + n * SCORE_COLUMNS,
                            lane);
            }
        }
        slot ^= 1;
    }

    // Stores factor * s as the scores of key tile j.
    __device__ __forceinline__ void store(const Tile &t, int j, const float (&s)[S_REGISTERS],
                                          float factor)
    {
#pragma unroll
        for (int batch = 0; batch < SCORE_PANELS / BATCH; batch++) {
            const uint32_t panel = begin();
#pragma unroll
            for (int n = 0; n < BATCH; n++) {
                const int from = (batch * BATCH + n) * SCORE_COLUMNS / 2;
                if (SCORES_F32) {
                    float x[16];
#pragma unroll
                    for (int i = 0; i < 16; i++) {
                        x[i] = s[from + i] * factor;
                    }
                    store_panel(panel + n * PANEL_BYTES, x, lane);
                } else {
                    uint32_t pairs[16];
#pragma unroll
                    for (int i = 0; i < 16; i++) {
                        pairs[i] = pack_16(s[from + 2 * i] * factor, s[from + 2 * i + 1] * factor);
                    }
                    store_panel(panel + n * PANEL_BYTES, pairs, lane);
                }
            }
            end(t, j * BLOCK_N + batch * BATCH * SCORE_COLUMNS);
        }
    }

    // Stores 16-bit scores that are packed already.
    __device__ __forceinline__ void store_packed(const Tile &t, int j,
                                                 const uint32_t (&pairs)[S_REGISTERS / 2])
    {
#pragma unroll
        for (int batch = 0; batch < SCORE_PANELS / BATCH; batch++) {
            const uint32_t panel = begin();
#pragma unroll
            for (int n = 0; n < BATCH; n++) {
                store_panel(panel + n * PANEL_BYTES, pairs + (batch * BATCH + n) * 16, lane);
            }
            end(t, j * BLOCK_N + batch * BATCH * SCORE_COLUMNS);
        }
    }

    // The panels may be used for something else.
    __device__ __forceinline__ void drain() const
    {
        if (STORES_BY_TMA && lane == 0) {
            tma_wait_read<0>();
        }
        __syncwarp();
    }
};

// ---- constant tiles of `masked` and `probs` ---------------------------------

constexpr uint32_t FILL_WORD = SCORES == FASC_SCORES_PROBS ? 0u
                               : SCORES_F32                ? 0xff800000u
                               : FASC_BF16                 ? 0xff80ff80u
                                                           : 0xfc00fc00u;

// One warp makes the panel that `fill` stores; a block barrier must follow.
__device__ __forceinline__ void make_fill_panel(uint32_t smem, int lane)
{
    for (int i = lane; i < PANEL_BYTES / 4; i += 32) {
        store_shared_4(smem + FILL_AT + 4 * i, FILL_WORD);
    }
    fence_proxy_async();
}

// Warp `warp` of FILL_WARPS: stores the constant to key tiles that no row of a block's tile sees.
__device__ __forceinline__ void fill(const fasc_flash_sm90_params &p, uint32_t smem,
                                     Barriers barriers, int warp, int lane)
{
    const fasc_flash_params &f = p.flash;
    const uint32_t panel = smem + FILL_AT;
    uint32_t q_parity = 0;
    while (true) {
        mbarrier_wait(barriers.q_full(), q_parity, FASC_BARRIER_Q_FULL, p.watchdog);
        q_parity ^= 1;
        int index = (int)load_shared_4(smem + TILE_AT);
        __syncwarp();
        if (index < 0) {
            break;
        }
        if (lane == 0) {
            mbarrier_arrive(barriers.q_empty());
        }
        Tile t = tile_at(p, index);
        const int key_tiles = (f.seqlen_k + BLOCK_N - 1) / BLOCK_N;
        for (int j = 0; j < key_tiles; j++) {
            if (j >= t.begin && j < t.end) {
                j = t.end - 1;
                continue;
            }
            for (int row = t.row0 + warp * PANEL_ROWS; row < min(t.row0 + BLOCK_M, f.seqlen_q);
                 row += FILL_WARPS * PANEL_ROWS) {
                for (int column = j * BLOCK_N; column < min((j + 1) * BLOCK_N, f.seqlen_k);
                     column += SCORE_COLUMNS) {
                    if (!STORES_BY_TMA) {
                        copy_scores(f, t, panel, row, column, lane);
                        continue;
                    }
                    if (lane == 0 && column < mapped_columns(f)) {
                        tma_store(&p.scores_map, panel, column, row, t.head, t.batch,
                                  L2_EVICT_FIRST);
                        tma_commit();
                        tma_wait_read<4>(); // leave the engine room for the producer's loads
                    }
                    copy_row_ends(f, t, panel, 1, row, column, lane);
                }
            }
        }
    }
    if (STORES_BY_TMA && lane == 0) {
        tma_wait_all();
    }
}
