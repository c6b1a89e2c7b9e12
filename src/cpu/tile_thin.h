/* tile_thin.h - tile.h for groups of a single query, as while decoding: a tile is one row of
 * scores, and vectors run along head_dim in the products and along the keys elsewhere. Lanes full
 * of queries would be almost empty. */
#ifndef FASC_CPU_TILE_THIN_H
#define FASC_CPU_TILE_THIN_H

#include "cpu/simd.h"
#include "cpu/tile_rows.h"

/* The last n < LANES floats of a row as a vector, 0 beyond. */
static inline vec padded_tail(const float *p, int64_t n)
{
    float tail[LANES] = {0};
    memcpy(tail, p, (size_t)n * sizeof *p);
    return vec_load(tail);
}

/* LANES keys at a time: their sums over head_dim end in one vector by a transposition. */
static void thin_scores(const float *k, int64_t k_ld, int64_t keys, int64_t dims, const float *q_t,
                        int width, float *s, float *max)
{
    (void)width;
    for (int64_t j = 0; j < keys; j += LANES) {
        int64_t n = keys - j < LANES ? keys - j : LANES;
        vec sum[LANES];
        for (int r = 0; r < LANES; r++) {
            const float *key = k + (j + (r < n ? r : 0)) * k_ld; /* spare lanes repeat a key */
            vec even = vec_set(0.0f), odd = vec_set(0.0f);
            int64_t d = 0;
            for (; d + 2 * LANES <= dims; d += 2 * LANES) {
                even += vec_load(key + d) * vec_load(q_t + d);
                odd += vec_load(key + d + LANES) * vec_load(q_t + d + LANES);
            }
            for (; d < dims; d += LANES) {
                int64_t left = dims - d;
                even += left < LANES ? padded_tail(key + d, left) * padded_tail(q_t + d, left)
                                     : vec_load(key + d) * vec_load(q_t + d);
            }
            sum[r] = even + odd;
        }
        vec_transpose(sum);
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int r = 0; r < half; r++) {
                sum[r] += sum[r + half];
            }
        }
        memcpy(s + j, &sum[0], (size_t)n * sizeof *s);
    }
    float largest = row_max(s, keys);
    *max = largest > *max ? largest : *max;
}

/* o[0 .. LANES * columns) over all keys, in registers. */
INLINE void thin_columns(const int columns, const float *v, int64_t v_ld, int64_t keys,
                         const float *p, float alpha, float *o)
{
    vec sum[4];
    for (int c = 0; c < columns; c++) {
        sum[c] = vec_set(0.0f);
    }
    for (int64_t j = 0; j < keys; j++) {
        for (int c = 0; c < columns; c++) {
            sum[c] += vec_set(p[j]) * vec_load(v + j * v_ld + c * LANES);
        }
    }
    for (int c = 0; c < columns; c++) {
        vec_store(o + c * LANES, vec_load(o + c * LANES) * vec_set(alpha) + sum[c]);
    }
}

static void thin_values(const float *v, int64_t v_ld, int64_t keys, int64_t dims, const float *p,
                        int width, const float *alpha, float *o)
{
    (void)width;
    int64_t d = 0;
    for (; d + 4 * LANES <= dims; d += 4 * LANES) {
        thin_columns(4, v + d, v_ld, keys, p, *alpha, o + d);
    }
    for (; d + LANES <= dims; d += LANES) {
        thin_columns(1, v + d, v_ld, keys, p, *alpha, o + d);
    }
    for (; d < dims; d++) {
        float sum = 0;
        for (int64_t j = 0; j < keys; j++) {
            sum += p[j] * v[j * v_ld + d];
        }
        o[d] = o[d] * *alpha + sum;
    }
}

static void thin_hide(float *s, int64_t keys, int width, int32_t first, int32_t last)
{
    (void)width; /* query 0 sees key j if first + j <= 0 <= last + j */
    int64_t begin = -(int64_t)last, end = 1 - (int64_t)first;
    begin = begin < 0 ? 0 : begin < keys ? begin : keys;
    end = end < begin ? begin : end < keys ? end : keys;
    fill(s, begin, -INFINITY, false);
    fill(s + end, keys - end, -INFINITY, false);
}

static void thin_add_mask(float *s, const float *mask, int64_t keys, int width)
{
    (void)width;
    for (int64_t j = 0; j < keys; j++) {
        s[j] = mask[j] == -INFINITY ? -INFINITY : s[j] + mask[j];
    }
}

static void thin_raise_max(const float *s, int64_t keys, int width, float *max)
{
    (void)width;
    float largest = row_max(s, keys);
    *max = largest > *max ? largest : *max;
}

static void thin_softmax(const float *s, float *p, int64_t keys, int width, const float *max,
                         float *m, float *sum, float *alpha)
{
    (void)width;
    vec rescale = vec_exp2((vec_set(*m) - finite_max(vec_set(*max))) * vec_set(VEC_LOG2E));
    *alpha = rescale[0];
    *sum = *sum * *alpha + exp_and_sum(s, p, keys, *max);
    *m = *max;
}

static void thin_normalise(float *o, int64_t dims, int width, const float *sum)
{
    (void)width;
    for (int64_t d = 0; d < dims; d++) {
        o[d] = *sum == 0 ? 0.0f : o[d] / *sum;
    }
}

static void thin_probs(float *s, int64_t keys, int width, const float *m, const float *log2_sum)
{
    (void)width;
    row_probs(s, keys, *m, *log2_sum);
}

/* A row to a column or back: either way it lies in memory as it did. */
static void thin_transpose(const float *src, int64_t src_ld, int64_t rows, int64_t columns,
                           float *dst, int64_t dst_ld, bool stream)
{
    (void)src_ld;
    (void)dst_ld;
    (void)stream;
    memcpy(dst, src, (size_t)(rows * columns) * sizeof *dst);
}

#endif
