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

// Stores the warp's rows of the tile at key0; x(mt, i) is the value of a row tile's register i.
template <class Value>
__device__ __forceinline__ void store_scores(const fasc_flash_params &p, const Block &block,
                                             int key0, Value x)
{
    Block b = renewed(block);
    b.row0 = STAGES == 1 ? kept_row0(b) : b.row0; // as registers have come out best
    if (p.scores_store != FASC_STORE_VECTOR || key0 + BLOCK_N > p.seqlen_k) {
        store_scores_scalar(p, b, key0, x);
    } else {
        store_scores_vector(p, b, key0, x);
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
    if (p.scores_store == FASC_STORE_SCALAR) {
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
