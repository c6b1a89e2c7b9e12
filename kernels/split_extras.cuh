// split_extras.cuh - what flash_split does with a warp's scores beside the softmax, where it is
// asked for: mask tensors, scores to memory, statistics of rows, dropout.
#pragma once

#include "mask.cuh"
#include "philox.h"
#include "row_statistics.cuh"
#include "split_rows.cuh"

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

// The warp's raw scores of 16 keys, `key` the lane's first, `place` of its first row: stores them
// as they are wanted, hides what is not seen, adds what a mask tensor adds, and sums. False where
// no row of the warp sees any key.
__device__ __forceinline__ bool extras_scores(RowStatistics &x, const fasc_split_params &sp,
                                              const RowPlace *place, int key, float (&s)[8])
{
    const fasc_flash_params &p = sp.flash;
    bool any = false;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const RowPlace row = place[8 * half];
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const int i = 4 * (n >> 1) + 2 * half + (n & 1), j = key + FragmentColumns::of(i);
            const bool inside = row.head >= 0 && j < p.seqlen_k;
            bool seen = j >= row.first && j <= row.last;
            s[i] = p.scale == 0.0f ? s[i] * 0.0f : s[i]; // no maximum among what is all the same
            if (sp.logits.data && inside) {
                store_score(sp.logits, row.logits + j * sp.logits.stride[3],
                            s[i] * fabs_f32(p.scale));
            }
            if (p.mask.data && seen) {
                const float added = mask_value(p.mask, row.mask, j);
                seen = added != -INFINITY_F32;
                s[i] = fma_f32(s[i], fabs_f32(p.scale), added < -2e38f ? -2e38f : added);
            }
            s[i] = seen ? s[i] : -INFINITY_F32;
            any = any || seen;
            const bool counted = j >= p.statistics.key_begin && j < p.statistics.key_end;
            x.sum[half] += seen && counted ? s[i] : 0.0f;
            if (sp.masked.data && inside) {
                store_score(sp.masked, row.masked + j * sp.masked.stride[3],
                            s[i] == -INFINITY_F32 ? s[i] : s[i] * p.unit);
            }
            if (sp.scores && inside) {
                sp.scores[row.scores + j] = s[i];
            }
        }
    }
    return __any_sync(FULL_MASK, any);
}

// The online softmax with the statistics of rows.
__device__ __forceinline__ void extras_softmax(RowStatistics &x, const fasc_flash_params &p,
                                               const RowPlace *place, RowState &r,
                                               float (&factor)[2], float (&s)[8], int key)
{
    const float was[2] = {r.max[0], r.max[1]};
    float distance[2];
    softmax_update_max(r, factor, s, p.unit_log2);
    statistics_rise<FragmentColumns, false>(x, s, r, was, factor, key, p.unit_log2);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        distance[half] = (float)(place[8 * half].query + p.seqlen_k - p.seqlen_q - key);
    }
    statistics_exponentials<FragmentColumns>(x, s, r, factor, distance, p.unit_log2);
}

// Drops weights: a call of the generator serves two keys of a row (rows of a tile are not as it
// pairs them).
__device__ __forceinline__ void extras_drop(const fasc_dropout_params &p, const RowPlace *place,
                                            int key, float (&s)[8])
{
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
        const int half = i >> 1 & 1, row = place[8 * half].query;
        uint32_t word[4];
        fasc_philox(p.seed, (uint32_t)(key + FragmentColumns::of(i)) >> 1,
                    (uint32_t)((row >> 4) * 8 + (row & 7)), (uint32_t)place[8 * half].head,
                    p.offset, word);
        const bool upper = row >> 3 & 1;
        s[i] = (upper ? word[2] : word[0]) >= p.threshold ? s[i] : 0.0f;
        s[i + 1] = (upper ? word[3] : word[1]) >= p.threshold ? s[i + 1] : 0.0f;
    }
}
