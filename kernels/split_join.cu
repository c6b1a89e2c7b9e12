// split_join.cu - the parts that flash_split.cu leaves of a row, joined.
//
//   split_join    a block a row: out, lse, row_max and the statistics of the row. Warps take parts
//                 in turn; what they sum is joined in a fixed order, so that results are the same
//                 in every run.
//   split_scores  P from the stored S and the row's LSE, and what of `masked` lies in tiles that no
//                 query sees; KEYS keys of a row a block.
//
// Macros: FASC_BF16 (0, 1), EXTRAS (0, 1): as of the parts.

#define DROPOUT EXTRAS

#include "flash_common.cuh"
#include "flash_repair.cuh"
#include "row_statistics.cuh"
#include "softmax.cuh"
#include "split_params.h"
#include "split_rows.cuh"

constexpr int WARPS = 4;
constexpr int THREADS = 32 * WARPS;
constexpr int COLUMNS = 256 / 32; // of a lane: two pieces of four

// A row by its number.
struct Place {
    int batch, head, query;
};

__device__ __forceinline__ Place place_of(const fasc_flash_params &p, int64_t number)
{
    return {(int)(number / p.seqlen_q / p.heads_q), (int)(number / p.seqlen_q % p.heads_q),
            (int)(number % p.seqlen_q)};
}

// The largest score of all parts; the same in every thread.
__device__ __forceinline__ float join_max(const fasc_row_totals *totals, int splits, float *room)
{
    float most = -INFINITY_F32;
    for (int s = threadIdx.x; s < splits; s += THREADS) {
        most = fmaxf_nan(most, totals[s].max);
    }
    return block_max<THREADS>(most, room);
}

// Stores what `totals` says of the row, of which lse2 is the LSE in powers of two.
__device__ __forceinline__ void store_row(const fasc_split_params &sp, const Place &at,
                                          const fasc_row_totals &totals, float lse2, int64_t number)
{
    const fasc_flash_params &p = sp.flash;
    if (p.lse) {
        p.lse[at.batch * p.lse_stride[0] + at.head * p.lse_stride[1] + at.query * p.lse_stride[2]] =
            lse2 * LN_2;
    }
    if (p.row_max) {
        p.row_max[at.batch * p.row_max_stride[0] + at.head * p.row_max_stride[1] +
                  at.query * p.row_max_stride[2]] =
            totals.max == -INFINITY_F32 ? -INFINITY_F32 : totals.max * p.unit;
    }
    if (EXTRAS) {
        store_totals(p.statistics, at.batch, at.head, at.query, totals, p.unit);
        if (sp.lse2) {
            sp.lse2[number] = lse2;
        }
    }
}

// Columns [4 lane, 4 lane + 4) and 128 further of the weighted sum of V, over this warp's parts.
__device__ __forceinline__ void join_out(const fasc_split_params &sp, int64_t number, float most,
                                         float (&x)[COLUMNS])
{
    const fasc_flash_params &p = sp.flash;
    const int lane = threadIdx.x % 32;
    const fasc_row_totals *totals = sp.totals + number * sp.splits;
    const float *parts = sp.parts + number * sp.splits * p.head_dim + 4 * lane;
#pragma unroll
    for (int n = 0; n < COLUMNS; n++) {
        x[n] = 0.0f;
    }
#pragma unroll 4
    for (int s = threadIdx.x / 32; s < sp.splits; s += WARPS) {
        const float factor = weight_under(totals[s].max, most, p.unit_log2);
#pragma unroll
        for (int piece = 0; piece < COLUMNS / 4; piece++) {
            if (4 * lane + 128 * piece < p.head_dim) {
                const float4 v = *(const float4 *)(parts + s * p.head_dim + 128 * piece);
                x[4 * piece] = fma_f32(factor, v.x, x[4 * piece]);
                x[4 * piece + 1] = fma_f32(factor, v.y, x[4 * piece + 1]);
                x[4 * piece + 2] = fma_f32(factor, v.z, x[4 * piece + 2]);
                x[4 * piece + 3] = fma_f32(factor, v.w, x[4 * piece + 3]);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    split_join(const __grid_constant__ fasc_split_params sp)
{
    __shared__ float room[32], columns[WARPS][32 * COLUMNS];
    const fasc_flash_params &p = sp.flash;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int64_t number = blockIdx.x;
    const Place at = place_of(p, number);
    const fasc_row_totals *parts = sp.totals + number * sp.splits;
    fasc_row_totals totals = {join_max(parts, sp.splits, room), 0.0f, 0.0f, 0.0f, 0.0f, NO_KEY};
    if (p.out) {
        float x[COLUMNS];
        join_out(sp, number, totals.max, x);
#pragma unroll
        for (int n = 0; n < COLUMNS; n++) {
            columns[warp][128 * (n / 4) + 4 * lane + n % 4] = x[n];
        }
    }
    // A part whose numbers lie in registers is worth more than one that all warps fetch: lanes take
    // parts, then the warp joins.
    fasc_row_totals mine = totals;
    for (int s = lane; s < sp.splits; s += 32) {
        totals_join(mine, parts[s], p.unit_log2);
    }
    totals.sum = warp_sum(mine.sum);
    if (EXTRAS) {
        totals.entropy = warp_sum(mine.entropy);
        totals.distance = warp_sum(mine.distance);
        totals.row_sum = warp_sum(mine.row_sum);
        totals.argmax = (int)__reduce_min_sync(FULL_MASK, (unsigned int)mine.argmax);
    }
    const bool empty = totals.max == -INFINITY_F32;
    const float lse2 =
        empty ? -INFINITY_F32 : softmax_offset(totals.max, p.unit_log2) + log2_approx(totals.sum);
    if (threadIdx.x == 0) {
        store_row(sp, at, totals, lse2, number);
    }
    if (!p.out) {
        return;
    }
    __syncthreads();
    const int64_t to =
        at.batch * p.out_stride[0] + at.head * p.out_stride[1] + at.query * p.out_stride[2];
    bool finite = true;
    for (int col = threadIdx.x; col < p.head_dim; col += THREADS) {
        float sum = 0.0f;
#pragma unroll
        for (int other = 0; other < WARPS; other++) {
            sum += columns[other][col];
        }
        const float value = empty ? 0.0f : sum / totals.sum * p.dropout.keep_scale;
        finite = finite && fabs_f32(value) < INFINITY_F32;
        if (p.out_f32) {
            ((float *)p.out)[to + col * p.out_stride[3]] = value;
        } else {
            ((uint16_t *)p.out)[to + col * p.out_stride[3]] = float_to_element(value);
        }
    }
    // a NaN in V of a key that is hidden or dropped met weight 0 (see flash_repair.cuh)
    if ((p.banded || EXTRAS) && !__syncthreads_and(finite) && warp == 0 &&
        fabs_f32(lse2) < INFINITY_F32) {
        repair_row(p, at.batch, at.head, at.query, lse2);
    }
}

#if EXTRAS
constexpr int KEYS = 1024;

extern "C" __global__ void __launch_bounds__(THREADS)
    split_scores(const __grid_constant__ fasc_split_params sp)
{
    const fasc_flash_params &p = sp.flash;
    const int pieces = (p.seqlen_k + KEYS - 1) / KEYS;
    const int64_t number = blockIdx.x / pieces;
    const Place at = place_of(p, number);
    const int begin = sp.begin * sp.block_n, end = sp.end * sp.block_n;
    const float lse2 = sp.lse2 ? sp.lse2[number] : 0.0f;
    const int64_t probs = at.batch * sp.probs.stride[0] + at.head * sp.probs.stride[1] +
                          at.query * sp.probs.stride[2];
    const int64_t masked = at.batch * sp.masked.stride[0] + at.head * sp.masked.stride[1] +
                           at.query * sp.masked.stride[2];
#pragma unroll
    for (int n = 0; n < KEYS / THREADS; n++) {
        const int j = blockIdx.x % pieces * KEYS + n * THREADS + threadIdx.x;
        const bool walked = j >= begin && j < end;
        if (j >= p.seqlen_k) {
            return;
        }
        if (sp.probs.data) {
            const float s = walked ? sp.scores[number * sp.scores_pitch + j] : -INFINITY_F32;
            const float weight = exp2_subnormal(fma_f32(s, p.unit_log2, -lse2));
            store_score(sp.probs, probs + j * sp.probs.stride[3],
                        s == -INFINITY_F32 ? 0.0f : weight);
        }
        if (sp.masked.data && !walked) {
            store_score(sp.masked, masked + j * sp.masked.stride[3], -INFINITY_F32);
        }
    }
}
#endif
