// sm80_products.cuh - S = Q K^T and O += P V of a warp's rows, from shared memory through ldmatrix
// to mma.
#pragma once

#include "sm80_block.cuh"
#include "sm80_mma.cuh"

__device__ __forceinline__ void product_qk(float (&s)[MT][4 * NT], const Block &block,
                                           uint32_t k_tile)
{
    const Block b = renewed(block);
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
#pragma unroll
        for (int i = 0; i < 4 * NT; i++) {
            s[mt][i] = 0.0f;
        }
    }
#pragma unroll
    for (int kk = 0; kk < HEAD_DIM / 16; kk++) {
        uint32_t a[MT][4];
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            int row = (b.warp * MT + mt) * 16 + (b.lane & 15);
            ldmatrix_x4(a[mt], b.q_tile + tile_offset(BLOCK_M, row, 2 * kk + (b.lane >> 4)));
        }
#pragma unroll
        for (int np = 0; np < NT / 2; np++) {
            uint32_t bk[4];
            int key = np * 16 + (b.lane & 7) + ((b.lane >> 4) << 3);
            ldmatrix_x4(bk, k_tile + tile_offset(BLOCK_N, key, 2 * kk + ((b.lane >> 3) & 1)));
#pragma unroll
            for (int mt = 0; mt < MT; mt++) {
                mma_16816(&s[mt][8 * np], a[mt], bk[0], bk[1]);
                mma_16816(&s[mt][8 * np + 4], a[mt], bk[2], bk[3]);
            }
        }
    }
}

__device__ __forceinline__ void product_pv(float (&o)[MT][4 * OUT_TILES],
                                           const uint32_t (&p)[MT][NT][2], const Block &block,
                                           uint32_t v_tile)
{
    const Block b = renewed(block);
#pragma unroll
    for (int kk = 0; kk < BLOCK_N / 16; kk++) {
#pragma unroll
        for (int dp = 0; dp < DT / 2; dp++) {
            uint32_t bv[4];
            int key = kk * 16 + (b.lane & 15);
            ldmatrix_x4_trans(bv, v_tile + tile_offset(BLOCK_N, key, 2 * dp + (b.lane >> 4)));
#pragma unroll
            for (int mt = 0; mt < MT; mt++) {
                const uint32_t a[4] = {p[mt][2 * kk][0], p[mt][2 * kk][1], p[mt][2 * kk + 1][0],
                                       p[mt][2 * kk + 1][1]};
                mma_16816(&o[mt][8 * dp], a, bv[0], bv[1]);
                mma_16816(&o[mt][8 * dp + 4], a, bv[2], bv[3]);
            }
        }
    }
}
