// sm90_stores.cuh - how scores leave a block of flash_sm90: through panels in shared memory, by TMA
// or by plain copies.
//
// A warp's 16 rows go in batches of two panels (one where BLOCK_N holds no even number). In a box
// of two they lie row by row in shared memory, so that TMA sends off 256 bytes of each row
// together. An H200 takes rows in such pieces at 4.3 TB/s, but in pieces of 128 bytes, the width of
// one swizzled panel, at 3.7; see FASC_SM90_BOX. The tensor map of the scores has the panels'
// columns as two dimensions: 64, then Nk / 64. Columns behind the last whole panel are copied by
// element.
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

// ---- a batch of scores ------------------------------------------------------

template <bool WIDE> struct ScoreElement {
    typedef uint16_t type;
};
template <> struct ScoreElement<true> {
    typedef uint32_t type;
};
typedef ScoreElement<SCORES_F32>::type score_t;

__device__ __forceinline__ score_t *score_at(const fasc_flash_params &f, const Tile &t, int row,
                                             int column)
{
    return (score_t *)f.scores + t.batch * f.scores_stride[0] + t.head * f.scores_stride[1] +
           row * f.scores_stride[2] + column * f.scores_stride[3];
}

// The box of a batch's panel: its panels lie row by row, boxes one after the other.
__device__ __forceinline__ uint32_t box_of(uint32_t batch, int panel)
{
    return batch + panel / BOX * BOX * PANEL_BYTES;
}

__device__ __forceinline__ uint32_t score_chunk(uint32_t batch, int panel, int row, int chunk)
{
    return batch_chunk<BOX>(box_of(batch, panel), panel % BOX, row, chunk);
}

// Columns [begin, end) of a batch to memory, lanes running along a row; `column` is the batch's
// first, (row, column) its place in the tile's head.
__device__ __forceinline__ void copy_batch(const fasc_flash_params &f, const Tile &t,
                                           uint32_t batch, int row, int column, int begin, int end,
                                           int lane)
{
    const int rows = min(PANEL_ROWS, f.seqlen_q - row);
    lane = computed_here(lane);
#pragma unroll 1
    for (int r = 0; r < rows; r++) {
#pragma unroll 1
        for (int c = begin + lane; c < end; c += 32) {
            const uint32_t from =
                score_chunk(batch, c / SCORE_COLUMNS, r, c % SCORE_COLUMNS * sizeof(score_t) / 16) +
                c * sizeof(score_t) % 16;
            *score_at(f, t, row + r, column + c) =
                SCORES_F32 ? (score_t)load_shared_4(from) : (score_t)load_shared_2(from);
        }
    }
}

// ---- rows of one class ------------------------------------------------------

// A batch of 16-bit scores to rows whose column `column`, and every eighth from there on, lies at a
// multiple of 16 bytes: the chunks that the rows have whole at once, the others by element. `first`
// is the warp's first row of the tile.
__device__ __forceinline__ void copy_chunks(const fasc_flash_sm90_params &p, const Tile &t,
                                            uint32_t batch, int first, int column, int lane)
{
    constexpr int CHUNKS = BATCH * 8, STEP = 32 / CHUNKS;
    const fasc_flash_params &f = p.flash;
    lane = computed_here(lane);
    const int chunk = lane % CHUNKS, at = column + chunk * 8;
    const int begin = max(0, -at), end = min(8, f.seqlen_k - at);
    int r = lane / CHUNKS;
    score_t *to = score_at(f, t, row_at(p, t, first + r), at);
#pragma unroll 1
    for (; r < min(PANEL_ROWS, rows_from(p, t, first)); r += STEP) {
        const uint32_t from = score_chunk(batch, chunk / 8, r, chunk % 8);
        if (end - begin == 8) {
            uint32_t x[4];
            load_shared_16(x, from);
            store_global_16(to, x);
        } else {
#pragma unroll 1
            for (int c = begin; c < end; c++) {
                to[c] = (score_t)load_shared_2(from + c * 2);
            }
        }
        to += (int64_t)f.scores_stride[2] * STEP << row_shift(p);
    }
}

// ---- rows at any address ----------------------------------------------------

// Eight 16-bit numbers from the `shift`th of two chunks.
__device__ __forceinline__ void shifted_chunk(uint32_t (&x)[4], const uint32_t (&low)[4],
                                              const uint32_t (&high)[4], int shift)
{
    uint32_t w[8];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        w[i] = low[i];
        w[i + 4] = high[i];
    }
#pragma unroll
    for (int i = 0; i < 6; i++) {
        w[i] = shift & 4 ? w[i + 2] : w[i];
    }
#pragma unroll
    for (int i = 0; i < 5; i++) {
        w[i] = shift & 2 ? w[i + 1] : w[i];
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        x[i] = __funnelshift_r(w[i], w[i + 1], (shift & 1) * 16);
    }
}

// ---- a consumer warp's tiles of scores --------------------------------------

struct ScoreStore {
    const fasc_flash_sm90_params &p;
    uint32_t batch; // where the next one goes, in shared memory
    uint32_t slot;  // its place among SLOTS
    int row0, lane; // first row of the warp within the block's tile
    int carried;    // columns of the tile before that wait behind the batch; see copy_shifted

    // Before a tile's first scores.
    __device__ __forceinline__ void start()
    {
        carried = 0;
    }

    // A batch of 16-bit scores whose rows start anywhere, in pieces of 16 bytes: memory takes parts
    // of its 32-byte sectors slowly. A row's pieces start at the first sector that starts in the
    // batch; what lies before it, up to 15 columns, is left to the next batch, which is the one to
    // the left, and waits in two chunks a row behind the batch.
    __device__ __forceinline__ void copy_shifted(const Tile &t, int row, int column, int end)
    {
        constexpr int COLUMNS = BATCH * SCORE_COLUMNS, LANES = 8 * BATCH, CARRY = 16;
        const uint32_t carry = batch + BATCH * PANEL_BYTES;
        const int lane = computed_here(this->lane), piece = lane % LANES;
        const bool leftmost = column == first_key_tile(t) * BLOCK_N;
        if (carried) {
            end = COLUMNS + carried;
        }
        auto chunk_at = [&](int r, int chunk) {
            return chunk < LANES ? score_chunk(batch, chunk / 8, r, chunk % 8)
                                 : carry + r * 32 + (chunk - LANES) * 16;
        };
        int r = lane / LANES;
        uint16_t *to = (uint16_t *)score_at(p.flash, t, row + r, column);
#pragma unroll 1
        for (; r < PANEL_ROWS; r += 32 / LANES, to += 32 / LANES * p.flash.scores_stride[2]) {
            const int skip = (int)(-((uint64_t)to >> 1)) & (CARRY - 1), at = skip + 8 * piece;
            uint32_t x[4], low[4], high[4];
            load_shared_16(low, chunk_at(r, at / 8));
            load_shared_16(high, chunk_at(r, min(at / 8 + 1, LANES + 1)));
            shifted_chunk(x, low, high, at & 7);
            if (row + r >= p.flash.seqlen_q) {
                continue;
            }
            if (at + 8 <= end) {
                store_global_16(to + at, x);
            } else {
                for (int c = at; c < end; c++) {
                    to[c] = load_shared_2(chunk_at(r, c / 8) + c % 8 * 2);
                }
            }
            for (int c = piece; leftmost && c < min(skip, end); c += LANES) {
                to[c] = load_shared_2(chunk_at(r, c / 8) + c % 8 * 2);
            }
        }
        __syncwarp();
        uint32_t x[4];
        load_shared_16(x, score_chunk(batch, 0, lane / 2, lane % 2));
        store_shared_16(carry + lane * 16, x);
        carried = min(CARRY, carried ? COLUMNS : end);
    }

    // The tile, with what waits in shared memory.
    __device__ __forceinline__ TilePlaces places() const
    {
        return {shared_start() + PLACES_AT + 2 * row0};
    }

    __device__ __forceinline__ Tile placed(const Tile &t) const
    {
        return places().with(t);
    }

    // The batch may be written: what it held has left.
    __device__ __forceinline__ void begin() const
    {
        if (STORES_BY_TMA && lane == 0) {
            tma_wait_read<SLOTS - 1>();
        }
        __syncwarp();
    }

    // Sends a batch of rows of one class off; `at` is its first column, counted from where the
    // class's key tiles start.
    __device__ __forceinline__ void send_class(const Tile &t, int row, int at) const
    {
        const fasc_sm90_classes &x = classes_of(p);
        const int head = computed_here(t.head);
        const int number = t.batch * x.batch_rows + head * x.head_rows + row;
#pragma unroll
        for (int n = 0; n < BATCH; n += BOX) {
            tma_store(&x.scores_map[number & ((1 << x.shift) - 1)], box_of(batch, n), 0,
                      at / SCORE_COLUMNS + n, number >> x.shift, head * x.heads_apart,
                      t.batch * x.heads_apart, L2_EVICT_FIRST);
        }
    }

    // Sends the batch off; `column` is its first.
    __device__ __forceinline__ void end(const Tile &t, int column)
    {
        constexpr int COLUMNS = BATCH * SCORE_COLUMNS;
        const int row = row_at(p, t, CLASSES ? computed_here(row0) : row0),
                  left = p.flash.seqlen_k - column;
        if (STORES_BY_TMA) {
            fence_proxy_async();
            __syncwarp();
            if (CLASSES) {
                const bool whole = column >= 0 && left >= COLUMNS &&
                                   row_at(p, t, row0 + PANEL_ROWS - 1) < p.flash.seqlen_q;
                if (whole && lane == 0) {
                    send_class(t, row, column + t.phase);
                } else if (!whole) {
                    copy_chunks(p, t, batch, row0, column, lane);
                }
            } else if (lane == 0 && row < p.flash.seqlen_q) {
#pragma unroll
                for (int n = 0; n < BATCH; n += BOX) {
                    if (left >= (n + 1) * SCORE_COLUMNS) {
                        tma_store(&p.scores_map, box_of(batch, n), 0, column / SCORE_COLUMNS + n,
                                  row, t.head, t.batch, L2_EVICT_FIRST);
                    }
                }
            }
            if (lane == 0) {
                tma_commit(); // empty or not: begin counts groups
            }
            if (!CLASSES && left < COLUMNS) {
                copy_batch(p.flash, t, batch, row, column, max(left, 0) & -SCORE_COLUMNS, left,
                           lane);
            }
            const uint32_t first = batch - slot * BATCH * PANEL_BYTES;
            slot = slot + 1 == SLOTS ? 0 : slot + 1;
            batch = first + slot * BATCH * PANEL_BYTES;
        } else {
            __syncwarp();
            copy_shifted(t, row, column, min(left, COLUMNS));
        }
    }

    // Stores factor * s as the scores of key tile j.
    __device__ __forceinline__ void store(const Tile &t, int j, const float (&s)[S_REGISTERS],
                                          float factor)
    {
#pragma unroll
        for (int first = 0; first < SCORE_PANELS; first += BATCH) {
            begin();
#pragma unroll
            for (int n = 0; n < BATCH; n++) {
                const int from = (first + n) * SCORE_COLUMNS / 2;
                if (SCORES_F32) {
                    float x[16];
#pragma unroll
                    for (int i = 0; i < 16; i++) {
                        x[i] = s[from + i] * factor;
                    }
                    store_panel<BOX>(box_of(batch, n), n % BOX, x, lane);
                } else {
                    uint32_t pairs[16];
#pragma unroll
                    for (int i = 0; i < 16; i++) {
                        pairs[i] = pack_16(s[from + 2 * i] * factor, s[from + 2 * i + 1] * factor);
                    }
                    store_panel<BOX>(box_of(batch, n), n % BOX, pairs, lane);
                }
            }
            const Tile here = placed(t);
            end(here, first_key(here, j) + first * SCORE_COLUMNS);
        }
    }

    // Stores 16-bit scores that are packed already.
    __device__ __forceinline__ void store_packed(const Tile &t, int j,
                                                 const uint32_t (&pairs)[S_REGISTERS / 2])
    {
#pragma unroll
        for (int first = 0; first < SCORE_PANELS; first += BATCH) {
            begin();
#pragma unroll
            for (int n = 0; n < BATCH; n++) {
                store_panel<BOX>(box_of(batch, n), n % BOX, pairs + (first + n) * 16, lane);
            }
            const Tile here = placed(t);
            end(here, first_key(here, j) + first * SCORE_COLUMNS);
        }
    }

    // The batch may be used for something else: all have left.
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

// The constant into columns [begin, end) of the rows that are this warp's among FILL_WARPS.
__device__ __forceinline__ void fill_columns(const fasc_flash_sm90_params &p, const Tile &t,
                                             int begin, int end, int warp, int lane)
{
    constexpr int WIDTH = 16 / sizeof(score_t);
    const fasc_flash_params &f = p.flash;
    const uint32_t words[4] = {FILL_WORD, FILL_WORD, FILL_WORD, FILL_WORD};
    const bool pieces = f.scores_store == FASC_STORE_VECTOR;
    for (int row = t.row0 + warp; row < t.row1; row += FILL_WARPS) {
        int column = begin + lane * WIDTH; // begin is a multiple of WIDTH
        for (; pieces && column + WIDTH <= end; column += 32 * WIDTH) {
            store_global_16(score_at(f, t, row, column), words);
        }
        column = (pieces ? max(begin, end / WIDTH * WIDTH) : begin) + lane;
        for (; column < end; column += 32) {
            *score_at(f, t, row, column) = (score_t)FILL_WORD;
        }
    }
}

// The same for rows of one class, in which pieces of 16 bytes start at keys 8 n - phase.
__device__ __forceinline__ void fill_class(const fasc_flash_sm90_params &p, const Tile &t,
                                           int begin, int end, int warp, int lane)
{
    const uint32_t words[4] = {FILL_WORD, FILL_WORD, FILL_WORD, FILL_WORD};
    const int whole_begin = (begin + t.phase + 7) / 8 * 8 - t.phase;
    const int whole_end = (end + t.phase) / 8 * 8 - t.phase;
#pragma unroll 1
    for (int row = row_at(p, t, warp); row < t.row1; row += FILL_WARPS << row_shift(p)) {
        score_t *to = score_at(p.flash, t, row, 0);
#pragma unroll 1
        for (int column = whole_begin + lane * 8; column < whole_end; column += 256) {
            store_global_16(to + column, words);
        }
        if (begin + lane < min(whole_begin, end)) {
            to[begin + lane] = (score_t)FILL_WORD;
        }
        if (max(begin, whole_end) + lane < end) {
            to[max(begin, whole_end) + lane] = (score_t)FILL_WORD;
        }
    }
}

// Warp `warp` of FILL_WARPS: stores the constant to key tiles that no row of a block's tile sees.
__device__ __forceinline__ void fill(const fasc_flash_sm90_params &p, uint32_t smem,
                                     Barriers barriers, int warp, int lane)
{
    const int keys = p.flash.seqlen_k;
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
        const int before = min(max(first_key(t, t.begin), 0), keys);
        const int behind = min(max(first_key(t, t.end), 0), keys);
        if (CLASSES) {
            fill_class(p, t, 0, before, warp, lane);
            fill_class(p, t, behind, keys, warp, lane);
        } else {
            fill_columns(p, t, 0, before, warp, lane);
            fill_columns(p, t, behind, keys, warp, lane);
        }
    }
}
