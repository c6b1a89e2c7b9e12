/* tile_rows.h - softmax along rows as they lie in memory: vectors run along the keys of one query.
 */
#ifndef FASC_CPU_TILE_ROWS_H
#define FASC_CPU_TILE_ROWS_H

#include "cpu/simd.h"
#include "cpu/tile_softmax.h"

/* ---- rows --------------------------------------------------------------------------------- */

static float row_max(const float *s, int64_t n)
{
    vec a = vec_set(-INFINITY), b = a, c = a, d = a;
    int64_t j = 0;
    for (; j + 4 * LANES <= n; j += 4 * LANES) {
        a = vec_max(vec_load(s + j), a);
        b = vec_max(vec_load(s + j + LANES), b);
        c = vec_max(vec_load(s + j + 2 * LANES), c);
        d = vec_max(vec_load(s + j + 3 * LANES), d);
    }
    float largest = vec_max_lane(vec_max(vec_max(a, b), vec_max(c, d)));
    for (; j < n; j++) {
        largest = s[j] > largest ? s[j] : largest;
    }
    return largest;
}

/* The last n < LANES floats of a row as a vector, -inf beyond. */
static inline vec row_tail(const float *s, int64_t n)
{
    float tail[LANES];
    vec_store(tail, vec_set(-INFINITY));
    memcpy(tail, s, (size_t)n * sizeof *s);
    return vec_load(tail);
}

INLINE float exp_and_sum(const float *s, float *p, int64_t n, float max)
{
    enum { CHUNK = 512 * LANES }; /* short sums keep their digits */
    const vec largest = finite_max(vec_set(max)), log2e = vec_set(VEC_LOG2E);
    double total = 0;
    int64_t j = 0;
    while (j + 2 * LANES <= n) {
        int64_t stop = j + CHUNK < n ? j + CHUNK : n;
        vec even = vec_set(0.0f), odd = vec_set(0.0f);
        for (; j + 2 * LANES <= stop; j += 2 * LANES) {
            vec a = vec_exp2((vec_load(s + j) - largest) * log2e);
            vec b = vec_exp2((vec_load(s + j + LANES) - largest) * log2e);
            if (p) {
                vec_store(p + j, a);
                vec_store(p + j + LANES, b);
            }
            even += a;
            odd += b;
        }
        total += (double)vec_sum(even + odd);
    }
    for (; j < n; j += LANES) {
        int64_t left = n - j < LANES ? n - j : LANES;
        vec a = vec_exp2((row_tail(s + j, left) - largest) * log2e);
        if (p) {
            memcpy(p + j, &a, (size_t)left * sizeof *p);
        }
        total += (double)vec_sum(a);
    }
    return (float)total;
}

static float row_sum(const float *s, int64_t n, float max)
{
    return exp_and_sum(s, NULL, n, max);
}

static float row_exp(float *s, int64_t n, float max)
{
    return exp_and_sum(s, s, n, max);
}

static void row_probs(float *s, int64_t n, float max, float log2_sum)
{
    const vec largest = finite_max(vec_set(max)), shift = vec_set(log2_sum);
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        vec_store(s + j, normalised(vec_load(s + j), largest, shift));
    }
    if (j < n) {
        vec a = normalised(row_tail(s + j, n - j), largest, shift);
        memcpy(s + j, &a, (size_t)(n - j) * sizeof *s);
    }
}

#endif
