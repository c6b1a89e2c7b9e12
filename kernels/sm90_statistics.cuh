// sm90_statistics.cuh - what a row's scores say, summed while they pass by: entropy, mean distance,
// sum, place of the maximum. And dropout, which changes the weights on their way to P V alone.
//
// With x = s c - max c, the exponent of a score under the running maximum, entropy needs
// t = sum 2^x x beside the softmax's l = sum 2^x: H = ln 2 (log2 l - t / l). When the maximum rises
// exponents fall by e < 0, so that t becomes 2^e (t + e l).
#pragma once

#include "philox.h"
#include "sm90_tiles.cuh"
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

// What STATISTICS asks for: sums of a row alone, entropy and row_sum, or all four.
constexpr bool PLACES = STATISTICS == FASC_STATISTICS_ALL;

__device__ __forceinline__ void statistics_start(RowStatistics &x)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        x.entropy[half] = x.distance[half] = x.sum[half] = 0.0f;
        x.best[half] = -INFINITY_F32;
        x.at[half] = NO_KEY;
    }
}

// Adds the scores, not masked yet, of the columns that `counted` names. ALL: it names them all.
template <bool ALL, int N>
__device__ __forceinline__ void statistics_sum(RowStatistics &x, const float (&s)[N],
                                               const Visible &counted)
{
    float part[4] = {0.0f, 0.0f, 0.0f, 0.0f}; // short sums round less than one long one
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int column = 8 * (i >> 2) + (i & 1), half = (i >> 1) & 1;
        const bool counts = column >= counted.first[half] && column <= counted.last[half];
        part[i & 3] += ALL || counts ? s[i] : 0.0f;
    }
    x.sum[0] += part[0] + part[1];
    x.sum[1] += part[2] + part[3];
}

// After the maximum took the tile's scores, before sums are scaled: `was` is the maximum before,
// `factor` what sums are worth under the new one. `column` is the lane's first; tiles come from the
// right, so that a later one has the lower key.
template <int N>
__device__ __forceinline__ void statistics_rise(RowStatistics &x, const float (&s)[N],
                                                const RowState &r, const float (&was)[2],
                                                const float (&factor)[2], int column, float c)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float e = __fmul_rn(was[half], c) - softmax_offset(r.max[half], c);
        x.entropy[half] =
            factor[half] == 0.0f ? 0.0f : factor[half] * fma_f32(e, r.sum[half], x.entropy[half]);
        if (!PLACES) {
            continue;
        }
        x.distance[half] *= factor[half];
        int at = NO_KEY;
#pragma unroll
        for (int i = N - 4 + 2 * half; i >= 0; i -= 4) {
            at = s[i + 1] == r.max[half] ? column + 8 * (i >> 2) + 1 : at;
            at = s[i] == r.max[half] ? column + 8 * (i >> 2) : at;
        }
        if (at != NO_KEY && r.max[half] > -INFINITY_F32) {
            x.best[half] = r.max[half];
            x.at[half] = at;
        }
    }
}

// softmax_exponentials, and what weights add. distance[half] is i' - j of the lane's first column.
template <int N>
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
        x.entropy[half] = fma_f32(s[i], max(e, -1000.0f), x.entropy[half]); // not 0 * -inf
        if (PLACES) {
            x.distance[half] =
                fma_f32(s[i], distance[half] - (float)(8 * (i >> 2) + (i & 1)), x.distance[half]);
        }
    }
}

// Completes over the quad and stores; after softmax_finish. `scale` is that of the logits in s.
__device__ __forceinline__ void store_row_statistics(const fasc_row_statistics_params &p,
                                                     const Tile &t, int row, int seqlen_q,
                                                     const RowState &r, RowStatistics &x,
                                                     float scale, int lane)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float inverse = r.max[half] == -INFINITY_F32 ? 0.0f : 1.0f / r.sum[half];
        const float entropy = quad_sum(x.entropy[half]), distance = quad_sum(x.distance[half]);
        const float sum = quad_sum(x.sum[half]);
        int at = x.best[half] == r.max[half] ? x.at[half] : NO_KEY;
        at = min(at, __shfl_xor_sync(FULL_MASK, at, 1));
        at = min(at, __shfl_xor_sync(FULL_MASK, at, 2));
        const int of = row + (lane >> 2) + 8 * half;
        if ((lane & 3) != 0 || of >= seqlen_q) {
            continue;
        }
        const bool empty = r.max[half] == -INFINITY_F32;
        const auto place = [&](int which) {
            const int64_t *stride = p.stride[which];
            return t.batch * stride[0] + t.head * stride[1] + of * stride[2];
        };
        if (p.entropy) {
            p.entropy[place(0)] =
                empty ? 0.0f : LN_2 * (log2_approx(r.sum[half]) - entropy * inverse);
        }
        if (p.mean_distance) {
            p.mean_distance[place(1)] = distance * inverse;
        }
        if (p.row_sum) {
            p.row_sum[place(2)] = sum * scale;
        }
        if (p.row_argmax) {
            p.row_argmax[place(3)] = at == NO_KEY ? -1 : at;
        }
    }
}

// Drops weights of the warp's 16 rows from `row` on; a call of Philox serves four: two rows, two
// columns. `column` is the lane's first.
template <int N>
__device__ __forceinline__ void drop_weights(const fasc_dropout_params &p, float (&s)[N], int head,
                                             int row, int column, int lane)
{
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        unsigned int word[4];
        fasc_philox(p.seed, (uint32_t)(column / 2 + 4 * (i >> 2)),
                    (uint32_t)(row / 16 * 8 + (lane >> 2)), (uint32_t)head, p.offset, word);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            s[i + n] = word[n] >= p.threshold ? s[i + n] : 0.0f;
        }
    }
}
