// split_extras.cuh - what flash_split does with a warp's scores beside the softmax, where it is
// asked for: mask tensors, scores to memory, statistics of rows, dropout.
#pragma once

#include "mask.cuh"
#include "philox.h"
#include "row_statistics.cuh"
#include "split_rows.cuh"

constexpr int LANE_KEYS = 4; // that are neighbours in a lane's part of 16 keys

struct LaneColumns {
    __device__ static constexpr int of(int i)
    {
        return 16 * (i >> 3) + 2 * (i >> 2 & 1) + (i & 1);
    }
};

// What is known of a row; it lies in shared memory, where it takes no registers over the walk.
struct RowPlace {
    int64_t mask, logits, masked, scores; // where the row begins
    int head, query;                      // head: counted over the batch; -1: no such row
    int first, last;                      // keys that it sees
};

static_assert(sizeof(RowPlace) == FASC_SPLIT_ROW_BYTES, "the host's formula");

// Row n of the block.
__device__ __forceinline__ RowPlace row_place(const fasc_split_params &sp, const Rows &rows, int n)
{
    const fasc_flash_params &p = sp.flash;
    RowPlace x = {0, 0, 0, 0, -1, 0, 0, -1};
    if (n < rows.count) {
        x.mask = start_of(p, p.mask, rows, n);
        x.logits = start_of(p, sp.logits, rows, n);
        x.masked = start_of(p, sp.masked, rows, n);
        x.scores = number_of(p, rows, n) * sp.scores_pitch;
        x.head = rows.batch * p.heads_q + head_of(p, rows, n);
        x.query = query_of(p, rows, n);
        visible_keys(p, x.query, &x.first, &x.last);
    }
    return x;
}

__device__ __forceinline__ bool has_statistics(const fasc_flash_params &p)
{
    return p.statistics.entropy || p.statistics.mean_distance || p.statistics.row_argmax;
}

// LANE_KEYS scores as one piece of 8 or 16 bytes.
__device__ __forceinline__ void store_lane(void *to, const float (&x)[LANE_KEYS], int size)
{
    if (size == 4) {
        *(float4 *)to = make_float4(x[0], x[1], x[2], x[3]);
    } else {
        *(uint2 *)to = make_uint2(pack_16(x[0], x[1]), pack_16(x[2], x[3]));
    }
}

// Stores a lane's scores of keys from `key` on, `unit` times; hidden ones stay -inf. START: which
// number of a row's place says where it begins. LANE_KEYS at a time where they make a whole piece.
template <int64_t RowPlace::*START, int N>
__device__ __forceinline__ void store_scores(const fasc_matrix_params &m, const RowPlace *place,
                                             int key, int seqlen_k, const float (&s)[N], float unit)
{
    const int size = m.dtype == FASC_DTYPE_F32 ? 4 : 2;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int64_t start = place[8 * half].*START;
        const int keys = place[8 * half].head >= 0 ? seqlen_k : 0;
        const uint64_t row = (uint64_t)m.data + start * size;
        const bool whole = m.stride[3] == 1 && row % (LANE_KEYS * size) == 0;
#pragma unroll
        for (int group = 0; group < N / 8; group++) {
            float x[LANE_KEYS];
#pragma unroll
            for (int n = 0; n < LANE_KEYS; n++) {
                const float y = s[8 * group + 2 * half + 4 * (n >> 1) + (n & 1)];
                x[n] = y == -INFINITY_F32 ? y : y * unit;
            }
            const int j = key + 16 * group;
            if (whole && j + LANE_KEYS <= keys) {
                store_lane((char *)row + (int64_t)j * size, x, size);
            } else {
#pragma unroll
                for (int n = 0; n < LANE_KEYS; n++) {
                    if (j + n < keys) {
                        store_score(m, start + (j + n) * m.stride[3], x[n]);
                    }
                }
            }
        }
    }
}

// Adds what the mask tensor adds, and sums what it does not hide of keys `counted`.
template <int N>
__device__ __forceinline__ void add_mask(RowStatistics &x, const fasc_flash_params &p,
                                         const RowPlace *place, int key, const Visible &visible,
                                         const Visible &counted, float (&s)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int half = i >> 1 & 1, column = LaneColumns::of(i);
        if (column >= visible.first[half] && column <= visible.last[half]) {
            const float added = mask_value(p.mask, place[8 * half].mask, key + column);
            const bool seen = added != -INFINITY_F32;
            s[i] = seen ? fma_f32(s[i], fabs_f32(p.scale), added < -2e38f ? -2e38f : added)
                        : -INFINITY_F32;
            const bool counts = column >= counted.first[half] && column <= counted.last[half];
            x.sum[half] += seen && counts ? s[i] : 0.0f;
        }
    }
}

// The warp's raw scores, `key` the lane's first, `place` of its first row: stores them as they are
// wanted, hides what is not seen, adds what a mask tensor adds, and sums.
template <int N>
__device__ __forceinline__ void extras_scores(RowStatistics &x, const fasc_split_params &sp,
                                              const RowPlace *place, int key, float (&s)[N])
{
    const fasc_flash_params &p = sp.flash;
    Visible visible, counted;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int first = place[8 * half].first, last = place[8 * half].last;
        visible.first[half] = first - key;
        visible.last[half] = last - key;
        counted.first[half] = max(first, p.statistics.key_begin) - key;
        counted.last[half] = min(last, p.statistics.key_end - 1) - key;
    }
    if (p.scale == 0.0f) { // no maximum among what is all the same
        softmax_zero(s);
    }
    if (sp.logits.data) {
        store_scores<&RowPlace::logits>(sp.logits, place, key, p.seqlen_k, s, fabs_f32(p.scale));
    }
    if (p.mask.data) {
        add_mask(x, p, place, key, visible, counted, s);
    } else if (p.statistics.row_sum) {
        statistics_sum<LaneColumns>(x, s, counted);
    }
    softmax_mask<LaneColumns>(s, visible);
    if (sp.masked.data) {
        store_scores<&RowPlace::masked>(sp.masked, place, key, p.seqlen_k, s, p.unit);
    }
    if (sp.scores) {
        const fasc_matrix_params all = {sp.scores, {0, 0, 0, 1}, FASC_DTYPE_F32};
        store_scores<&RowPlace::scores>(all, place, key, p.seqlen_k, s, 1.0f);
    }
}

// The online softmax with the statistics of rows.
template <int N>
__device__ __forceinline__ void extras_softmax(RowStatistics &x, const fasc_flash_params &p,
                                               const RowPlace *place, RowState &r,
                                               float (&factor)[2], float (&s)[N], int key)
{
    const float was[2] = {r.max[0], r.max[1]};
    float distance[2];
    softmax_update_max(r, factor, s, p.unit_log2);
    statistics_rise<LaneColumns, false>(x, s, r, was, factor, key, p.unit_log2);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        distance[half] = (float)(place[8 * half].query + p.seqlen_k - p.seqlen_q - key);
    }
    statistics_exponentials<LaneColumns>(x, s, r, factor, distance, p.unit_log2);
}

// Drops weights: a call of the generator serves two keys of a row (rows of a tile are not as it
// pairs them).
template <int N>
__device__ __forceinline__ void extras_drop(const fasc_dropout_params &p, const RowPlace *place,
                                            int key, float (&s)[N])
{
#pragma unroll
    for (int i = 0; i < N; i += 2) {
        const int half = i >> 1 & 1, row = place[8 * half].query;
        uint32_t word[4];
        fasc_philox(p.seed, (uint32_t)(key + LaneColumns::of(i)) >> 1,
                    (uint32_t)((row >> 4) * 8 + (row & 7)), (uint32_t)place[8 * half].head,
                    p.offset, word);
        const bool upper = row >> 3 & 1;
        s[i] = (upper ? word[2] : word[0]) >= p.threshold ? s[i] : 0.0f;
        s[i + 1] = (upper ? word[3] : word[1]) >= p.threshold ? s[i + 1] : 0.0f;
    }
}
