// row_statistics.cuh - what a row's scores say, summed while they pass by: entropy, mean distance,
// sum, place of the maximum.
//
// With x = s c - max c, the exponent of a score under the running maximum, entropy needs
// t = sum 2^x x beside the softmax's l = sum 2^x: H = ln 2 (log2 l - t / l). When the maximum rises
// exponents fall by e < 0, so that t becomes 2^e (t + e l).
//
// A kernel names its columns by a type: see FragmentColumns.
#pragma once

#include "flash_params.h"
#include "softmax.cuh"

// Of a lane's columns in the two rows that it shares with its quad.
struct RowStatistics {
    float entropy[2];  // sum 2^x x
    float distance[2]; // sum 2^x (i' - j)
    float sum[2];      // of s over the key range
    float best[2];     // the row's maximum when `at` was found
    int at[2];         // the lowest key with it among the lane's columns
};

constexpr int NO_KEY = 0x7fffffff;

__device__ __forceinline__ void statistics_start(RowStatistics &x)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        x.entropy[half] = x.distance[half] = x.sum[half] = 0.0f;
        x.best[half] = -INFINITY_F32;
        x.at[half] = NO_KEY;
    }
}

// Adds the scores of the columns that `counted` names.
template <class Columns, int N>
__device__ __forceinline__ void statistics_sum(RowStatistics &x, const float (&s)[N],
                                               const Visible &counted)
{
    float tile[2] = {0.0f, 0.0f}; // short sums round less than one long one
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int column = Columns::of(i), half = (i >> 1) & 1;
        tile[half] += column >= counted.first[half] && column <= counted.last[half] ? s[i] : 0.0f;
    }
    x.sum[0] += tile[0];
    x.sum[1] += tile[1];
}

// After the maximum took the tile's scores, before sums are scaled: `was` is the maximum before,
// `factor` what sums are worth under the new one. `column` is the lane's first. DOWN: tiles come
// from the right, so that a later one has the lower key.
template <class Columns, bool DOWN, int N>
__device__ __forceinline__ void statistics_rise(RowStatistics &x, const float (&s)[N],
                                                const RowState &r, const float (&was)[2],
                                                const float (&factor)[2], int column, float c)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float e = __fmul_rn(was[half], c) - softmax_offset(r.max[half], c);
        x.entropy[half] =
            factor[half] == 0.0f ? 0.0f : factor[half] * fma_f32(e, r.sum[half], x.entropy[half]);
        x.distance[half] *= factor[half];
        int at = NO_KEY;
#pragma unroll
        for (int i = N - 4 + 2 * half; i >= 0; i -= 4) {
            at = s[i + 1] == r.max[half] ? column + Columns::of(i + 1) : at;
            at = s[i] == r.max[half] ? column + Columns::of(i) : at;
        }
        if (at != NO_KEY && r.max[half] > (DOWN ? -INFINITY_F32 : was[half])) {
            x.best[half] = r.max[half];
            x.at[half] = at;
        }
    }
}

// What a weight 2^e adds; it lies `distance` before its query.
__device__ __forceinline__ void statistics_add(RowStatistics &x, int half, float e, float weight,
                                               float distance)
{
    x.entropy[half] = fma_f32(weight, max(e, -1000.0f), x.entropy[half]); // not 0 * -inf
    x.distance[half] = fma_f32(weight, distance, x.distance[half]);
}

// softmax_exponentials, and what weights add. distance[half] is i' - j of the lane's first column.
template <class Columns, int N>
__device__ __forceinline__ void statistics_exponentials(RowStatistics &x, float (&s)[N],
                                                        RowState &r, const float (&factor)[2],
                                                        const float (&distance)[2], float c)
{
    float offset[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        offset[half] = softmax_offset(r.max[half], c);
        r.sum[half] *= factor[half];
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int half = (i >> 1) & 1;
        const float e = fma_f32(s[i], c, -offset[half]);
        s[i] = exp2_approx(e);
        r.sum[half] += s[i];
        statistics_add(x, half, e, s[i], distance[half] - (float)Columns::of(i));
    }
}

// ---- a row's totals -------------------------------------------------------------

// Row `half` over the quad's columns; `max` and `sum` are its softmax's, complete over the quad.
__device__ __forceinline__ fasc_row_totals quad_totals(const RowStatistics &x, int half, float max,
                                                       float sum)
{
    int at = x.best[half] == max ? x.at[half] : NO_KEY;
    at = min(at, __shfl_xor_sync(FULL_MASK, at, 1));
    at = min(at, __shfl_xor_sync(FULL_MASK, at, 2));
    return {max, sum, quad_sum(x.entropy[half]), quad_sum(x.distance[half]), quad_sum(x.sum[half]),
            at};
}

// What sums under the maximum `own` are worth under `most`.
__device__ __forceinline__ float weight_under(float own, float most, float c)
{
    return own == -INFINITY_F32 ? 0.0f
                                : exp2_approx(softmax_offset(own, c) - softmax_offset(most, c));
}

// Takes a part of the row into its totals, whose maximum is that of all parts.
__device__ __forceinline__ void totals_join(fasc_row_totals &all, const fasc_row_totals &part,
                                            float c)
{
    const float factor = weight_under(part.max, all.max, c);
    all.row_sum += part.row_sum;
    if (part.max == -INFINITY_F32) {
        return;
    }
    const float e = softmax_offset(part.max, c) - softmax_offset(all.max, c);
    all.sum = fma_f32(factor, part.sum, all.sum);
    all.entropy = factor == 0.0f ? all.entropy
                                 : fma_f32(factor, fma_f32(e, part.sum, part.entropy), all.entropy);
    all.distance = fma_f32(factor, part.distance, all.distance);
    all.argmax = part.max == all.max ? min(all.argmax, part.argmax) : all.argmax;
}

// Stores what is wanted of a row; `unit` is S of one in its scores.
__device__ __forceinline__ void store_totals(const fasc_row_statistics_params &p, int batch,
                                             int head, int row, const fasc_row_totals &totals,
                                             float unit)
{
    const bool empty = totals.max == -INFINITY_F32;
    const float inverse = empty ? 0.0f : 1.0f / totals.sum;
    const auto place = [&](int which) {
        const int64_t *stride = p.stride[which];
        return batch * stride[0] + head * stride[1] + row * stride[2];
    };
    if (p.entropy) {
        p.entropy[place(0)] =
            empty ? 0.0f : LN_2 * (log2_approx(totals.sum) - totals.entropy * inverse);
    }
    if (p.mean_distance) {
        p.mean_distance[place(1)] = totals.distance * inverse;
    }
    if (p.row_sum) {
        p.row_sum[place(2)] = totals.row_sum * unit;
    }
    if (p.row_argmax) {
        p.row_argmax[place(3)] = totals.argmax == NO_KEY ? -1 : totals.argmax;
    }
}
