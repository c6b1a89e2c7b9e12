// flash_repair.cuh - rows of O that a matrix product spoilt. In tiles that the band cuts, P V
// multiplies hidden pairs too, with weight 0, and 0 * NaN or 0 * inf in V is NaN: a row that does
// not see a key must not see its NaN. A finite row is right; one that is not is summed again,
// plainly, over the keys that it sees.
#pragma once

#include "flash_common.cuh"
#include "flash_params.h"
#include "mask.cuh"
#include "philox.h"

#ifndef DROPOUT
#define DROPOUT 0
#endif

// One warp sums row `row` of (batch, head) again and stores it. lse2: the row's LSE in powers of
// two.
__device__ __forceinline__ void repair_row(const fasc_flash_params &p, int batch, int head, int row,
                                           float lse2)
{
    constexpr int PER_LANE = 256 / 32;
    const int lane = threadIdx.x & 31, head_k = head / p.group;
    const uint16_t *q =
        (const uint16_t *)p.q + batch * p.q_stride[0] + head * p.q_stride[1] + row * p.q_stride[2];
    const uint16_t *k = (const uint16_t *)p.k + batch * p.k_stride[0] + head_k * p.k_stride[1];
    const uint16_t *v = (const uint16_t *)p.v + batch * p.v_stride[0] + head_k * p.v_stride[1];
    float x[PER_LANE], sum[PER_LANE];
#pragma unroll
    for (int n = 0; n < PER_LANE; n++) {
        int d = lane + 32 * n;
        x[n] = d < p.head_dim ? element_to_float(q[d]) : 0.0f;
        sum[n] = 0.0f;
    }
    const int64_t mask =
        batch * p.mask.stride[0] + head * p.mask.stride[1] + row * p.mask.stride[2];
    int first, last;
    visible_keys(p, row, &first, &last);
#pragma unroll 1
    for (int64_t j = first; j <= last; j++) {
        float dot = 0.0f;
#pragma unroll
        for (int n = 0; n < PER_LANE; n++) {
            int d = lane + 32 * n;
            dot = d < p.head_dim ? fma_f32(x[n], element_to_float(k[j * p.k_stride[2] + d]), dot)
                                 : dot;
        }
        float score = warp_sum(dot) * p.scale;
        if (p.mask.data) {
            float added = mask_value(p.mask, mask, j);
            if (added == -INFINITY_F32) {
                continue;
            }
            score += added;
        }
        float weight = exp2_subnormal(fma_f32(score, LOG2_E, -lse2));
        if (DROPOUT) { // a pair that is dropped gives nothing, not even its NaN
            uint32_t word = fasc_dropout_word(p.dropout.seed, p.dropout.offset,
                                              batch * p.heads_q + head, row, (uint32_t)j);
            if (word < p.dropout.threshold) {
                continue;
            }
            weight *= p.dropout.keep_scale;
        }
#pragma unroll
        for (int n = 0; n < PER_LANE; n++) {
            int d = lane + 32 * n;
            if (d < p.head_dim) {
                sum[n] = fma_f32(weight, element_to_float(v[j * p.v_stride[2] + d]), sum[n]);
            }
        }
    }
    const int64_t at = batch * p.out_stride[0] + head * p.out_stride[1] + row * p.out_stride[2];
#pragma unroll
    for (int n = 0; n < PER_LANE; n++) {
        int d = lane + 32 * n;
        if (d < p.head_dim && p.out_f32) {
            ((float *)p.out)[at + d * p.out_stride[3]] = sum[n];
        } else if (d < p.head_dim) {
            ((uint16_t *)p.out)[at + d * p.out_stride[3]] = float_to_element(sum[n]);
        }
    }
}

// Which rows of a warp's 16-row tile are spoilt, bit r for row r, by its accumulator (layout:
// softmax.cuh) and LSE. Rows without a finite LSE are what they should be.
template <int N>
__device__ __forceinline__ uint32_t spoilt_rows(const float (&o)[N], const float (&lse2)[2])
{
    uint32_t rows = 0;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float zero = 0.0f; // NaN in the end if some x is not finite: 0 x is NaN then
#pragma unroll
        for (int i = 2 * half; i < N; i += 4) {
            zero = fma_f32(o[i], 0.0f, zero);
            zero = fma_f32(o[i + 1], 0.0f, zero);
        }
        uint32_t lanes =
            __ballot_sync(FULL_MASK, zero != 0.0f && fabs_f32(lse2[half]) < INFINITY_F32);
#pragma unroll
        for (int r = 0; r < 8; r++) { // four lanes a row
            rows |= (lanes >> 4 * r & 15) != 0 ? 1u << (r + 8 * half) : 0;
        }
    }
    return rows;
}

// Sums those rows of the tile at row0, rows `step` apart, again; after the warp's own store of
// them.
__device__ __forceinline__ void repair_tile(const fasc_flash_params &p, int batch, int head,
                                            int row0, uint32_t rows, const float (&lse2)[2],
                                            int step = 1)
{
    if (rows == 0) {
        return;
    }
    __syncwarp();
#pragma unroll 1
    for (int r = 0; r < 16; r++) {
        // lane 4 (r mod 8) holds the row's LSE
        float of_row = __shfl_sync(FULL_MASK, r < 8 ? lse2[0] : lse2[1], 4 * (r & 7));
        if ((rows >> r & 1) != 0 && row0 + r * step < p.seqlen_q) {
            repair_row(p, batch, head, row0 + r * step, of_row);
        }
    }
}
