// sm80_stores.cuh - scores and output from registers to whole 16-byte pieces of rows.
#pragma once

#include "sm80_block.cuh"
#include "sm80_loads.cuh"
#include "sm80_mma.cuh"

// ---- scores -----------------------------------------------------------------

__device__ __forceinline__ void store_score(const fasc_flash_params &p, int64_t at, float x)
{
    if (SCORES_F32) {
        ((float *)p.scores)[at] = x;
    } else {
        ((uint16_t *)p.scores)[at] = float_to_element(x);
    }
}

// One score where `there`, without a branch; then `at` goes on by `step`. In one piece, so that the
// compiler cannot prepare the addresses of many scores at once: it has no registers for them.
__device__ __forceinline__ void store_score_step(bool there, char *&at, int64_t step, float x)
{
    if (SCORES_F32) {
        asm volatile("{ .reg .pred p;\n setp.ne.s32 p, %1, 0;\n @p st.global.f32 [%0], %2;\n"
                     "add.s64 %0, %0, %3; }\n"
                     : "+l"(at)
                     : "r"((int)there), "f"(x), "l"(step)
                     : "memory");
    } else {
        asm volatile("{ .reg .pred p;\n setp.ne.s32 p, %1, 0;\n @p st.global.b16 [%0], %2;\n"
                     "add.s64 %0, %0, %3; }\n"
                     : "+l"(at)
                     : "r"((int)there), "h"(float_to_element(x)), "l"(step)
                     : "memory");
    }
}

// A lane's place in its first row of scores, for key 0.
__device__ __forceinline__ char *scores_start(const fasc_flash_params &p, const Block &b)
{
    return (char *)p.scores +
           (b.batch * p.scores_stride[0] + b.head * p.scores_stride[1] +
            fragment_row(b, 0, 0) * p.scores_stride[2] + lane_key(b) * p.scores_stride[3]) *
               (SCORES_F32 ? 4 : 2);
}

// The warp's rows of the tile at key0 by element: where rows are not made of 16-byte pieces, and
// at their ends. x(mt, i) is the value of a row tile's register i.
template <class Value>
__device__ __forceinline__ void store_scores_scalar(const fasc_flash_params &p, const Block &b,
                                                    int key0, Value x)
{
    constexpr int SIZE = SCORES_F32 ? 4 : 2;
    const int first = fragment_row(b, 0, 0), keys = p.seqlen_k - key0 - lane_key(b);
    int64_t column = p.scores_stride[3] * SIZE, row = 8 * p.scores_stride[2] * SIZE;
    const int64_t group = column * (GROUP_KEYS - LANE_KEYS + 1);
    char *to = (char *)kept(b, KEPT_SCORES) + key0 * column;
#pragma unroll
    for (int part = 0; part < 2 * MT; part++) { // rows 8 part further
        const int left = first + 8 * part < p.seqlen_q ? keys : 0;
        char *at = to;
#pragma unroll
        for (int n = 0; n < 2 * NT; n++) {
            const int i = 4 * (n / 2) + 2 * (part & 1) + n % 2;
            const bool last = n % LANE_KEYS == LANE_KEYS - 1; // of the lane's keys in a group
            store_score_step(key_of(i) < left, at, last ? group : column, x(part / 2, i));
        }
        to += row;
    }
}

// The same in 16-byte pieces: a lane's registers of a group of keys are one piece of each of its
// rows, and the four lanes of a row store 64 bytes.
template <class Value>
__device__ __forceinline__ void store_scores_vector(const fasc_flash_params &p, const Block &b,
                                                    int key0, Value x)
{
    constexpr int SIZE = SCORES_F32 ? 4 : 2;
    const int first = fragment_row(b, 0, 0);
    char *to = (char *)kept(b, KEPT_SCORES) + (int64_t)key0 * SIZE;
    const int64_t step = 8 * p.scores_stride[2] * SIZE;
#pragma unroll
    for (int part = 0; part < 2 * MT; part++) { // rows 8 part further
        const int mt = part / 2, half = part % 2;
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            uint32_t v[4];
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const int i = 4 * (g * GROUP_TILES + (SCORES_F32 ? n / 2 : n)) + 2 * half;
                v[n] = SCORES_F32 ? __float_as_uint(x(mt, i + n % 2))
                                  : pack_16(x(mt, i), x(mt, i + 1));
            }
            if (first + 8 * part < p.seqlen_q) {
                store_global_16(to + g * GROUP_KEYS * SIZE, v);
            }
        }
        to += step;
    }
}

// 16 bytes from `back` bytes (2, 4 .. 16) before `next` on, where it follows `before`.
__device__ __forceinline__ void join_pieces(uint32_t (&x)[4], const uint32_t (&before)[4],
                                            const uint32_t (&next)[4], uint32_t back)
{
    uint32_t w[8];
#pragma unroll
    for (int n = 0; n < 4; n++) {
        w[n] = before[n];
        w[n + 4] = next[n];
    }
    const uint32_t words = (16 - back) >> 2; // 0 to 3
#pragma unroll
    for (int n = 0; n < 6; n++) {
        w[n] = words & 2 ? w[n + 2] : w[n];
    }
#pragma unroll
    for (int n = 0; n < 5; n++) {
        w[n] = words & 1 ? w[n + 1] : w[n];
    }
    const uint32_t bytes = back & 2 ? 0x5432 : 0x3210;
#pragma unroll
    for (int n = 0; n < 4; n++) {
        x[n] = __byte_perm(w[n], w[n + 1], bytes);
    }
}

// Where `there`, without a branch: between branches no work of two pieces can overlap.
__device__ __forceinline__ void store_piece(bool there, char *to, const uint32_t (&x)[4])
{
    asm volatile("{ .reg .pred p;\n setp.ne.s32 p, %0, 0;\n"
                 "@p st.global.cs.v4.b32 [%1], {%2, %3, %4, %5}; }\n" ::"r"((int)there),
                 "l"(to), "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3])
                 : "memory");
}

// The same for what a lane has kept; 0 elsewhere.
__device__ __forceinline__ void load_piece(bool there, uint32_t (&x)[4], uint32_t from)
{
    x[0] = x[1] = x[2] = x[3] = 0;
    asm volatile("{ .reg .pred p;\n setp.ne.s32 p, %4, 0;\n"
                 "@p ld.shared.v4.b32 {%0, %1, %2, %3}, [%5]; }\n"
                 : "+r"(x[0]), "+r"(x[1]), "+r"(x[2]), "+r"(x[3])
                 : "r"((int)there), "r"(from)
                 : "memory");
}

constexpr int SCORE_BYTES = SCORES_F32 ? 4 : 2;

// How far a piece of a lane at `at` begins before the lane's own keys: to the last 16 bytes of
// memory that begin there.
__device__ __forceinline__ uint32_t way_back(const char *at)
{
    return (((uint32_t)(uint64_t)at - SCORE_BYTES) & 15) + SCORE_BYTES;
}

// Where the warp keeps the last 16 bytes of its rows of a tile; `part` as below.
__device__ __forceinline__ uint32_t kept_end(const Block &b, int part)
{
    return b.kept + KEPT_ENDS + ((b.warp * 2 * MT + part) * 8 + (b.lane >> 2)) * 16;
}

// Elements [first, last) of a piece that is to lie at `to`.
__device__ __forceinline__ void store_elements(char *to, const uint32_t (&x)[4], int first,
                                               int last)
{
#pragma unroll
    for (int n = 0; n < 16 / SCORE_BYTES; n++) {
        if (n >= first && n < last) {
            if (SCORES_F32) {
                ((uint32_t *)to)[n] = x[n % 4];
            } else {
                ((uint16_t *)to)[n] = (uint16_t)(x[n / 2] >> 16 * (n % 2));
            }
        }
    }
}

// The same in 16-byte pieces where rows begin anywhere: each piece that lies on 16 bytes of memory
// is put together from two lanes' keys. A tile's first piece begins with the end of the tile
// before, which is kept; the very first begins where the row does. What is kept of the last tile
// is for store_ends. AT_EDGE: the tile may be the first, or cut; all others go without branches.
template <bool AT_EDGE, class Value>
__device__ __forceinline__ void store_scores_shifted(const fasc_flash_params &p, const Block &b,
                                                     int key0, bool is_first, Value x)
{
    constexpr bool HELD = STAGES > 1 && HEAD_DIM <= 64; // there are registers to hold `before` in
    const int first = fragment_row(b, 0, 0), quarter = b.lane & 3;
    const int from = (b.lane & 28) | ((b.lane + 3) & 3); // the lane before, in the row
    const int left = p.seqlen_k - key0 - lane_key(b);    // keys from the lane's first on
    char *to = (char *)kept(b, KEPT_SCORES) + (int64_t)key0 * SCORE_BYTES;
    const int64_t step = 8 * p.scores_stride[2] * SCORE_BYTES;
#pragma unroll
    for (int part = 0; part < 2 * MT; part++) { // rows 8 part further
        const int mt = part / 2, half = part % 2;
        const uint32_t back = way_back(to);
        const bool is_row = first + 8 * part < p.seqlen_q;
        uint32_t before[4];
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            uint32_t next[4], sent[4], piece[4];
            if (g == 0 || !HELD) {
                load_piece(quarter == 3, before, kept_end(b, part));
            }
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const int i = 4 * (g * GROUP_TILES + (SCORES_F32 ? n / 2 : n)) + 2 * half;
                next[n] = SCORES_F32 ? __float_as_uint(x(mt, i + n % 2))
                                     : pack_16(x(mt, i), x(mt, i + 1));
                sent[n] = __shfl_sync(FULL_MASK, quarter == 3 ? before[n] : next[n], from);
                before[n] = next[n];
            }
            if (quarter == 3 && (g == GROUPS - 1 || !HELD)) {
                store_shared_16(kept_end(b, part), next);
            }
            join_pieces(piece, sent, next, back);
            char *at = to + g * GROUP_KEYS * SCORE_BYTES - back;
            const int keys_back = back / SCORE_BYTES;
            const bool begins = AT_EDGE && is_first && g == 0 && quarter == 0;
            const int there = left - g * GROUP_KEYS + keys_back; // keys from the piece's first on
            const bool is_whole = !begins && (!AT_EDGE || there >= LANE_KEYS);
            store_piece(is_row && is_whole, at, piece);
            if (AT_EDGE && is_row && !is_whole) {
                store_elements(at, piece, begins ? keys_back : 0, there);
            }
        }
        to += step;
    }
}

// What store_scores_shifted has kept of the keys before key_end.
__device__ __forceinline__ void store_ends(const fasc_flash_params &p, const Block &b, int key_end)
{
    const int first = fragment_row(b, 0, 0), quarter = b.lane & 3;
    char *end =
        (char *)kept(b, KEPT_SCORES) + ((int64_t)key_end - quarter * LANE_KEYS) * SCORE_BYTES;
    const int there = p.seqlen_k - key_end + LANE_KEYS; // of the last LANE_KEYS keys
    __syncwarp();
#pragma unroll 1
    for (int part = 0; part < 2 * MT; part++) {
        uint32_t x[4];
        load_shared_16(x, kept_end(b, part));
        if (first + 8 * part < p.seqlen_q && quarter == 0) {
            store_elements(end - 16, x, LANE_KEYS - (int)way_back(end) / SCORE_BYTES, there);
        }
        end += 8 * p.scores_stride[2] * SCORE_BYTES;
    }
}

// Stores the warp's rows of the tile at key0; x(mt, i) is the value of a row tile's register i.
// Tiles come in order, from the one at first_key on.
template <class Value>
__device__ __forceinline__ void store_scores(const fasc_flash_params &p, const Block &block,
                                             int key0, int first_key, Value x)
{
    Block b = renewed(block);
    b.row0 = STAGES == 1 || SHIFTED ? kept_row0(b) : b.row0; // as registers have come out best
    const bool is_first = key0 == first_key, is_cut = key0 + BLOCK_N > p.seqlen_k;
    if (SHIFTED && p.scores_store == FASC_STORE_SHIFTED) {
        if (is_first || is_cut) {
            store_scores_shifted<true>(p, b, key0, is_first, x);
        } else {
            store_scores_shifted<false>(p, b, key0, false, x);
        }
    } else if (p.scores_store != FASC_STORE_VECTOR || is_cut) {
        store_scores_scalar(p, b, key0, x);
    } else {
        store_scores_vector(p, b, key0, x);
    }
}

// After the last tile, which ends at key_end.
__device__ __forceinline__ void finish_scores(const fasc_flash_params &p, const Block &block,
                                              int key_end)
{
    if (SHIFTED && p.scores_store == FASC_STORE_SHIFTED) {
        Block b = renewed(block);
        b.row0 = kept_row0(b);
        store_ends(p, b, key_end);
    }
}

// Fills keys [key_begin, key_end) of the block's rows with one value.
__device__ void fill_scores(const fasc_flash_params &p, const Block &b, int key_begin, int key_end,
                            float value)
{
    key_end = min(key_end, p.seqlen_k);
    if (key_begin >= key_end) {
        return;
    }
    int64_t base = b.batch * p.scores_stride[0] + b.head * p.scores_stride[1];
    int rows = min(BLOCK_M, p.seqlen_q - b.row0);
    if (p.scores_store != FASC_STORE_VECTOR) {
        for (int row = b.warp; row < rows; row += WARPS) {
            for (int col = key_begin + b.lane; col < key_end; col += 32) {
                store_score(p,
                            base + (b.row0 + row) * p.scores_stride[2] + col * p.scores_stride[3],
                            value);
            }
        }
        return;
    }
    const int size = SCORES_F32 ? 4 : 2, per_piece = 16 / size;
    const uint32_t word = SCORES_F32 ? __float_as_uint(value) : pack_16(value, value);
    const uint32_t v[4] = {word, word, word, word};
    for (int row = b.warp; row < rows; row += WARPS) {
        char *to = (char *)p.scores + (base + (b.row0 + row) * p.scores_stride[2]) * size;
        for (int col = key_begin + b.lane * per_piece; col < key_end; col += 32 * per_piece) {
            if (key_end - col >= per_piece) {
                store_global_16(to + (int64_t)col * size, v);
            } else {
                for (int byte = 0; byte < (key_end - col) * size; byte += 2) {
                    *(uint16_t *)(to + (int64_t)col * size + byte) =
                        (uint16_t)(word >> (byte & 2) * 8);
                }
            }
        }
    }
}

// ---- output -----------------------------------------------------------------

// O times `factor` of its row. 16-bit rows go through the warp's own rows of the Q tile.
__device__ __forceinline__ void store_out(const fasc_flash_params &p, const Block &b,
                                          const float (&o)[MT][4 * OUT_TILES],
                                          const float (&factor)[MT][2])
{
    const int64_t base = b.batch * p.out_stride[0] + b.head * p.out_stride[1];
    if (p.out_f32 || p.out_store == FASC_STORE_SCALAR) {
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
#pragma unroll
            for (int dt = 0; dt < DT; dt++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int row = fragment_row(b, mt, e >> 1), col = out_col(b, 4 * dt + e);
                    if (row < p.seqlen_q && col < p.head_dim) {
                        int64_t at = base + row * p.out_stride[2] + col * p.out_stride[3];
                        float x = o[mt][4 * dt + e] * factor[mt][e >> 1];
                        if (p.out_f32) {
                            ((float *)p.out)[at] = x;
                        } else {
                            ((uint16_t *)p.out)[at] = float_to_element(x);
                        }
                    }
                }
            }
        }
        return;
    }
    cp_async_wait<0>(); // Q may still be on its way when no key was seen
    __syncthreads();
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
        const int tile_row = (b.warp * MT + mt) * 16;
#pragma unroll
        for (int dt = 0; dt < DT; dt++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                uint32_t at =
                    b.q_tile + tile_offset(BLOCK_M, tile_row + (b.lane >> 2) + 8 * half, dt);
                store_shared_4(at + (b.lane & 3) * 4,
                               pack_16(o[mt][4 * dt + 2 * half] * factor[mt][half],
                                       o[mt][4 * dt + 2 * half + 1] * factor[mt][half]));
            }
        }
        __syncwarp();
        for (int n = b.lane; n < 16 * DT; n += 32) {
            int row = n / DT, chunk = n % DT;
            if (b.row0 + tile_row + row < p.seqlen_q && chunk * 8 < p.head_dim) {
                uint32_t x[4];
                load_shared_16(x, b.q_tile + tile_offset(BLOCK_M, tile_row + row, chunk));
                store_global_16((uint16_t *)p.out + base +
                                    (b.row0 + tile_row + row) * p.out_stride[2] + chunk * 8,
                                x);
            }
        }
    }
}
