/* tile_thin_statistics.h - tile_statistics.h for groups of a single query: vectors run along the
 * keys. */
#ifndef FASC_CPU_TILE_THIN_STATISTICS_H
#define FASC_CPU_TILE_THIN_STATISTICS_H

#include "cpu/simd.h"
#include "cpu/tile_statistics.h"
#include "cpu/tile_thin.h"

static void thin_softmax_more(const float *s, float *p, int64_t keys, int width, const float *max,
                              const fasc_tile_softmax *x)
{
    (void)width;
    const vec largest = finite_max(vec_set(*max)), log2e = vec_set(VEC_LOG2E);
    const vec old = vec_set(*x->m), rescale = vec_exp2((old - largest) * log2e);
    vec sum = vec_set(0.0f), t = sum, d = sum, away = vec_set(x->place) - vec_lane_floats();
    for (int64_t j = 0; j < keys; j += LANES) {
        int64_t left = keys - j < LANES ? keys - j : LANES;
        vec below = (left < LANES ? row_tail(s + j, left) : vec_load(s + j)) - largest;
        vec e = vec_exp2_gradual(below * log2e);
        memcpy(p + j, &e, (size_t)left * sizeof *p);
        sum += e;
        t += moment(below, e);
        d += e * away;
        away -= vec_set((float)LANES);
    }
    *x->alpha = rescale[0];
    if (x->t) {
        vec moved = (moment(old - largest, vec_set(*x->sum)) + vec_set(*x->t)) * rescale;
        *x->t = (*x->alpha == 0 ? 0.0f : moved[0]) + vec_sum(t);
    }
    if (x->d) {
        *x->d = *x->d * *x->alpha + vec_sum(d);
    }
    *x->sum = *x->sum * *x->alpha + vec_sum(sum);
    *x->m = *max;
}

static void thin_add_scores(const float *s, int64_t keys, int width, float *sum)
{
    (void)width;
    vec total = vec_set(0.0f);
    for (int64_t j = 0; j < keys; j += LANES) {
        int64_t left = keys - j < LANES ? keys - j : LANES;
        total += seen(left < LANES ? row_tail(s + j, left) : vec_load(s + j));
    }
    *sum += vec_sum(total);
}

static void thin_argmax(const float *s, int64_t keys, int width, int32_t key, float *best,
                        int32_t *at)
{
    (void)width;
    float largest = row_max(s, keys);
    for (int64_t j = 0; largest > *best && j < keys; j++) {
        if (s[j] == largest) {
            *best = largest;
            *at = key + (int32_t)j;
        }
    }
}

static void thin_topk(const float *s, int64_t keys, int width, int32_t key, int64_t k,
                      float *values, int32_t *at)
{
    (void)width;
    for (int64_t j = 0; j < keys; j += LANES) {
        int64_t left = keys - j < LANES ? keys - j : LANES;
        vec scores = left < LANES ? row_tail(s + j, left) : vec_load(s + j);
        if (!vec_any_above(scores, vec_set(values[k - 1]))) {
            continue;
        }
        for (int64_t x = 0; x < left; x++) {
            if (s[j + x] > values[k - 1]) {
                place_score(s[j + x], key + (int32_t)(j + x), k, values, at);
            }
        }
    }
}

static void thin_blank(float *s, int64_t keys, int width, int64_t count)
{
    (void)width; /* a group of one has its query */
    (void)count;
    (void)s;
    (void)keys;
}

static void thin_add_columns(const float *s, int64_t keys, int width, float *sum)
{
    (void)width;
    for (int64_t j = 0; j < keys; j++) {
        sum[j] += s[j] == -INFINITY ? 0.0f : s[j];
    }
}

static void thin_raise_columns(const float *p, int64_t keys, int width, float *max)
{
    (void)width;
    for (int64_t j = 0; j < keys; j++) {
        max[j] = p[j] > max[j] || isnan(p[j]) ? p[j] : max[j];
    }
}

static void thin_add_scaled(const float *p, int64_t keys, int width, const float *factor,
                            float *sum)
{
    (void)width;
    for (int64_t j = 0; j < keys; j++) {
        sum[j] += p[j] == 0 ? 0.0f : p[j] * *factor;
    }
}

static void thin_raise_scaled(const float *p, int64_t keys, int width, const float *factor,
                              float *max)
{
    (void)width;
    for (int64_t j = 0; j < keys; j++) {
        float x = p[j] == 0 ? 0.0f : p[j] * *factor;
        max[j] = x > max[j] || isnan(x) ? x : max[j];
    }
}

static void thin_join_sums(const float *sum, int64_t keys, float *out)
{
    memcpy(out, sum, (size_t)keys * sizeof *out);
}

static void thin_join_maxima(const float *max, int64_t keys, float *out)
{
    memcpy(out, max, (size_t)keys * sizeof *out);
}

static void thin_add_diagonals(const float *s, int64_t keys, int width, float *diagonal)
{
    (void)width;
    for (int64_t j = 0; j < keys; j++) {
        diagonal[-j] += s[j] == -INFINITY ? 0.0f : s[j];
    }
}

/* The compiler vectorises over pairs of keys. */
static void thin_drop(float *p, int64_t keys, int width, const fasc_tile_drop *drop)
{
    (void)width;
    enum { PAIRS = 64 };
    const unsigned i = drop->query, at = 2u * (i >> 3 & 1u);
    const int64_t lead = drop->key & 1;
    for (int64_t j = -lead; j < keys; j += 2 * PAIRS) {
        float kept[2 * PAIRS];
        const unsigned first = (unsigned)((drop->key + j) >> 1);
        for (unsigned n = 0; n < PAIRS; n++) {
            unsigned word[4];
            fasc_philox(drop->seed, first + n, (i >> 4) * 8u + (i & 7u), drop->bh, drop->offset,
                        word);
            kept[2 * n] = word[at] >= drop->threshold ? 1.0f : 0.0f;
            kept[2 * n + 1] = word[at + 1] >= drop->threshold ? 1.0f : 0.0f;
        }
        for (int64_t n = j < 0 ? -j : 0; n < 2 * PAIRS && j + n < keys; n++) {
            p[j + n] = kept[n] == 0 ? 0.0f : p[j + n];
        }
    }
}

#endif
