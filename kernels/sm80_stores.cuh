// sm80_stores.cuh - scores and output from registers, through shared memory, to whole 16-byte
// pieces of rows.
#pragma once

#include "sm80_block.cuh"
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

// The warp's rows of the tile at key0, by element.
template <class Value>
__device__ __forceinline__ void store_scores_scalar(const fasc_flash_params &p, const Block &b,
                                                    int key0, Value x)
{
    const int64_t base = b.batch * p.scores_stride[0] + b.head * p.scores_stride[1];
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
#pragma unroll
        for (int i = 0; i < 4 * NT; i++) {
            int row = fragment_row(b, mt, i >> 1 & 1), col = key0 + fragment_col(b, i >> 2, i);
            if (row < p.seqlen_q && col < p.seqlen_k) {
                store_score(p, base + row * p.scores_stride[2] + col * p.scores_stride[3],
                            x(mt, i));
            }
        }
    }
}

// The same in 16-byte pieces of rows, for elements of SIZE bytes: a row tile goes into the warp's
// stage, then each lane takes one piece of every ROWS-th row, all of them before the first is
// stored.
template <int SIZE, class Value>
__device__ __forceinline__ void store_scores_vector(const fasc_flash_params &p, const Block &b,
                                                    int key0, Value x)
{
    constexpr int PER_PIECE = 16 / SIZE, PIECES = BLOCK_N / PER_PIECE, ROWS = 32 / PIECES,
                  PITCH = BLOCK_N * SIZE + 16;
    static_assert(32 % PIECES == 0, "a warp takes whole rows");
    const int row = b.lane / PIECES, piece = b.lane % PIECES;
    const int left = p.seqlen_k - key0 - piece * PER_PIECE; // keys from this lane's piece on
    const int64_t step = ROWS * p.scores_stride[2] * SIZE;
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
        __syncwarp();
#pragma unroll
        for (int i = 0; i < 4 * NT; i += 2) {
            uint32_t at = b.stage + ((b.lane >> 2) + 8 * (i >> 1 & 1)) * PITCH +
                          fragment_col(b, i >> 2, 0) * SIZE;
            if (SIZE == 4) {
                store_shared_8(at, x(mt, i), x(mt, i + 1));
            } else {
                store_shared_4(at, pack_16(x(mt, i), x(mt, i + 1)));
            }
        }
        __syncwarp();
        const int first = b.row0 + (b.warp * MT + mt) * 16 + row;
        char *to = (char *)p.scores + (b.batch * p.scores_stride[0] + b.head * p.scores_stride[1] +
                                       first * p.scores_stride[2] + key0 + piece * PER_PIECE) *
                                          SIZE;
        uint32_t v[16 / ROWS][4];
#pragma unroll
        for (int n = 0; n < 16 / ROWS; n++) {
            load_shared_16(v[n], b.stage + (row + n * ROWS) * PITCH + piece * 16);
        }
#pragma unroll
        for (int n = 0; n < 16 / ROWS; n++) {
            if (left >= PER_PIECE && first + n * ROWS < p.seqlen_q) {
                store_global_16(to + n * step, v[n]);
            }
        }
        if (left > 0 &&
            left < PER_PIECE) { // the row ends inside this piece, and what follows it is not ours
#pragma unroll 1
            for (int n = 0; n < 16 / ROWS && first + n * ROWS < p.seqlen_q; n++) {
                for (int byte = 0; byte < left * SIZE; byte += 2) {
                    *(uint16_t *)(to + n * step + byte) =
                        load_shared_2(b.stage + (row + n * ROWS) * PITCH + piece * 16 + byte);
                }
            }
        }
    }
}

// Stores the warp's rows of the tile at key0; x(mt, i) is the value of a row tile's register i.
template <class Value>
__device__ __forceinline__ void store_scores(const fasc_flash_params &p, const Block &block,
                                             int key0, Value x)
{
    const Block b = renewed(block);
    if (p.scores_store == FASC_STORE_SCALAR) {
        store_scores_scalar(p, b, key0, x);
    } else if (SCORES_F32) {
        store_scores_vector<4>(p, b, key0, x);
    } else {
        store_scores_vector<2>(p, b, key0, x);
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
                    int row = fragment_row(b, mt, e >> 1), col = fragment_col(b, dt, e);
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
