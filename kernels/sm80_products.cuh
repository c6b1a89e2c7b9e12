// sm80_products.cuh - S = Q K^T and O += P V of a warp's rows, from shared memory through ldmatrix
// to mma. Which key a column of S is: LANE_KEYS in sm80_block.cuh.
#pragma once

#include "sm80_block.cuh"
#include "sm80_mma.cuh"

__device__ __forceinline__ void product_qk(float (&s)[MT][4 * NT], const Block &block,
                                           uint32_t k_tile)
{
    const Block b = renewed(block);
    // The lane's row of K for tile 0 of a group, and the chunk it reads there: lanes 8..15 and
    // 24..31 bring the second half of 16 columns, lanes from 16 on the tile after.
    const uint32_t lane = b.lane, key = (lane >> 1 & 3) * LANE_KEYS + (lane & 1) + (lane >> 4) * 2;
    const uint32_t k_row = k_tile + key * 128;
    const uint32_t k_place = key_swizzle<LANE_KEYS>(key) ^ (lane >> 3 & 1);
    const uint32_t row = b.warp * MT * 16 + (lane & 15);
    const uint32_t q_row = b.q_tile + row * 128;
    const uint32_t q_place = (row & 7) ^ (lane >> 4);
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
#pragma unroll
        for (int i = 0; i < 4 * NT; i++) {
            s[mt][i] = 0.0f;
        }
    }
#pragma unroll
    for (int kk = 0; kk < HEAD_DIM / 16; kk++) {
        const uint32_t q_at = q_row + ((q_place ^ (2 * kk & 7)) << 4) + kk / 4 * BLOCK_M * 128;
        const uint32_t k_at = k_row + ((k_place ^ (2 * kk & 7)) << 4) + kk / 4 * BLOCK_N * 128;
        uint32_t a[MT][4];
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            ldmatrix_x4(a[mt], q_at + mt * 16 * 128);
        }
#pragma unroll
        for (int np = 0; np < NT / 2; np++) {
            uint32_t bk[4];
            ldmatrix_x4(bk, k_at + key_of(8 * np) * 128);
#pragma unroll
            for (int mt = 0; mt < MT; mt++) {
                mma_16816(&s[mt][8 * np], a[mt], bk[0], bk[1]);
                mma_16816(&s[mt][8 * np + 4], a[mt], bk[2], bk[3]);
            }
        }
    }
}

// O += P V for the 16 keys of tiles 2 kk and 2 kk + 1 of S, P packed in `a`.
__device__ __forceinline__ void product_pv(float (&o)[MT][4 * OUT_TILES],
                                           const uint32_t (&a)[MT][4], const Block &b,
                                           uint32_t v_tile, int kk)
{
    const uint32_t lane = b.lane,
                   key = (lane >> 1 & 3) * LANE_KEYS + (lane & 1) + (lane >> 3 & 1) * 2;
    const uint32_t v_row = v_tile + key * 128;
    const uint32_t v_place = key_swizzle<LANE_KEYS>(key) ^ (lane >> 4);
#pragma unroll
    for (int dp = 0; dp < DT / 2; dp++) {
        uint32_t bv[4];
        ldmatrix_x4_trans(bv, v_row + ((v_place ^ (2 * dp & 7)) << 4) + dp / 4 * BLOCK_N * 128 +
                                  key_of(8 * kk) * 128);
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            mma_16816(&o[mt][8 * dp], a[mt], bv[0], bv[1]);
            mma_16816(&o[mt][8 * dp + 4], a[mt], bv[2], bv[3]);
        }
    }
}
