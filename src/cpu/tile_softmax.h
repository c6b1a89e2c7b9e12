/* tile_softmax.h - what happens to a tile of scores between the two products: hiding, masking,
 * maximum, exponential, normalisation. Each column is one query's. */
#ifndef FASC_CPU_TILE_SOFTMAX_H
#define FASC_CPU_TILE_SOFTMAX_H

#include "cpu/simd.h"

/* ---- hiding and masking ---------------------------------------------------------------- */

static void tile_hide(float *s, int64_t keys, int width, int32_t first, int32_t last)
{
    const vec hidden = vec_set(-INFINITY);
    const ivec number = vec_lane_numbers();
    for (int64_t j = 0; j < keys; j++) {
        for (int c = 0; c < width; c += LANES, s += LANES) {
            ivec x = number + c - (int32_t)j;
            *(vec *)s = vec_select((x >= first) & (x <= last), *(vec *)s, hidden);
        }
    }
}

static void tile_add_mask(float *s, const float *mask, int64_t keys, int width)
{
    const vec hidden = vec_set(-INFINITY);
    for (int64_t n = 0; n < keys * width; n += LANES) {
        vec added = *(const vec *)(mask + n);
        *(vec *)(s + n) = vec_select(added == hidden, hidden, *(vec *)(s + n) + added);
    }
}

static void tile_raise_max(const float *s, int64_t keys, int width, float *max)
{
    for (int c = 0; c < width; c += LANES) {
        vec largest = vec_load(max + c);
        for (int64_t j = 0; j < keys; j++) {
            largest = vec_max(*(const vec *)(s + j * width + c), largest);
        }
        vec_store(max + c, largest);
    }
}

/* ---- softmax ------------------------------------------------------------------------------ */

/* What is subtracted from scores: a column whose keys are all hidden has no maximum. */
static inline vec finite_max(vec max)
{
    return vec_select(max == vec_set(-INFINITY), vec_set(0.0f), max);
}

static void tile_softmax(const float *s, float *p, int64_t keys, int width, const float *max,
                         float *m, float *sum, float *alpha)
{
    for (int c = 0; c < width; c += LANES) {
        const vec log2e = vec_set(VEC_LOG2E);
        vec largest = finite_max(vec_load(max + c));
        vec rescale = vec_exp2((vec_load(m + c) - largest) * log2e);
        vec even = vec_set(0.0f), odd = vec_set(0.0f);
        int64_t j = 0;
        for (; j + 2 <= keys; j += 2) {
            vec a = vec_exp2((*(const vec *)(s + j * width + c) - largest) * log2e);
            vec b = vec_exp2((*(const vec *)(s + (j + 1) * width + c) - largest) * log2e);
            *(vec *)(p + j * width + c) = a;
            *(vec *)(p + (j + 1) * width + c) = b;
            even += a;
            odd += b;
        }
        if (j < keys) {
            vec a = vec_exp2((*(const vec *)(s + j * width + c) - largest) * log2e);
            *(vec *)(p + j * width + c) = a;
            even += a;
        }
        vec_store(sum + c, vec_load(sum + c) * rescale + (even + odd));
        vec_store(alpha + c, rescale);
        vec_store(m + c, vec_load(max + c));
    }
}

static void tile_normalise(float *o, int64_t dims, int width, const float *sum)
{
    for (int c = 0; c < width; c += LANES) {
        const vec zero = vec_set(0.0f), total = vec_load(sum + c);
        const vec inverse = vec_set(1.0f) / total;
        for (int64_t d = 0; d < dims; d++) {
            vec *at = (vec *)(o + d * width + c);
            *at = vec_select(total == zero, zero, *at * inverse);
        }
    }
}

static inline vec normalised(vec s, vec largest, vec log2_sum)
{
    vec p = vec_exp2_gradual((s - largest) * vec_set(VEC_LOG2E) - log2_sum);
    return vec_select(s == vec_set(-INFINITY), vec_set(0.0f), p);
}

static void tile_probs(float *s, int64_t keys, int width, const float *m, const float *log2_sum)
{
    for (int c = 0; c < width; c += LANES) {
        vec largest = finite_max(vec_load(m + c)), shift = vec_load(log2_sum + c);
        for (int64_t j = 0; j < keys; j++) {
            vec *at = (vec *)(s + j * width + c);
            *at = normalised(*at, largest, shift);
        }
    }
}

#endif
