/* tile_statistics.h - what is read off a tile of scores or of probabilities besides the softmax:
 * along keys for each query (a column of the tile), along queries for each key, along diagonals. */
#ifndef FASC_CPU_TILE_STATISTICS_H
#define FASC_CPU_TILE_STATISTICS_H

#include <stdbool.h>

#include "cpu/simd.h"
#include "cpu/tile.h"
#include "cpu/tile_softmax.h"
#include "philox.h"

/* 0 where a score is hidden. */
static inline vec seen(vec s)
{
    return vec_select(s == vec_set(-INFINITY), vec_set(0.0f), s);
}

static inline vec vec_lane_floats(void)
{
    return __builtin_convertvector(vec_lane_numbers(), vec);
}

/* ---- the softmax with moments --------------------------------------------------------------- */

/* x e for e = exp(x), 0 where x is -inf. */
static inline vec moment(vec x, vec e)
{
    return vec_max(x, vec_set(-3e38f)) * e;
}

INLINE void softmax_columns(const bool entropy, const bool distance, const float *s, float *p,
                            int64_t keys, int width, const float *max, const fasc_tile_softmax *x)
{
    const vec log2e = vec_set(VEC_LOG2E), zero = vec_set(0.0f), one = vec_set(1.0f);
    for (int c = 0; c < width; c += LANES) {
        vec old = vec_load(x->m + c), largest = finite_max(vec_load(max + c));
        vec rescale = vec_exp2((old - largest) * log2e);
        vec sum[2] = {zero, zero}, t[2] = {zero, zero}, d[2] = {zero, zero};
        vec away = vec_lane_floats() + vec_set(x->place + (float)c);
        int64_t j = 0;
        for (; j < keys; j += 2) {
            for (int odd = 0; odd < 2 && j + odd < keys; odd++) {
                vec below = *(const vec *)(s + (j + odd) * width + c) - largest;
                vec e = vec_exp2_gradual(below * log2e);
                *(vec *)(p + (j + odd) * width + c) = e;
                sum[odd] += e;
                if (entropy) {
                    t[odd] += moment(below, e);
                }
                if (distance) {
                    d[odd] += e * away;
                    away -= one;
                }
            }
        }
        vec total = vec_load(x->sum + c);
        if (entropy) { /* what was summed below the old maximum moves below the new one */
            vec moved = moment(old - largest, total) + vec_load(x->t + c);
            moved = vec_select(rescale == zero, zero, moved * rescale);
            vec_store(x->t + c, moved + (t[0] + t[1]));
        }
        if (distance) {
            vec_store(x->d + c, vec_load(x->d + c) * rescale + (d[0] + d[1]));
        }
        vec_store(x->sum + c, total * rescale + (sum[0] + sum[1]));
        vec_store(x->alpha + c, rescale);
        vec_store(x->m + c, vec_load(max + c));
    }
}

static void tile_softmax_more(const float *s, float *p, int64_t keys, int width, const float *max,
                              const fasc_tile_softmax *x)
{
    if (x->t && x->d) {
        softmax_columns(true, true, s, p, keys, width, max, x);
    } else if (x->t) {
        softmax_columns(true, false, s, p, keys, width, max, x);
    } else if (x->d) {
        softmax_columns(false, true, s, p, keys, width, max, x);
    } else {
        softmax_columns(false, false, s, p, keys, width, max, x);
    }
}

/* ---- along keys -------------------------------------------------------------------------------
 */

static void tile_add_scores(const float *s, int64_t keys, int width, float *sum)
{
    for (int c = 0; c < width; c += LANES) {
        vec even = vec_set(0.0f), odd = vec_set(0.0f);
        int64_t j = 0;
        for (; j + 2 <= keys; j += 2) {
            even += seen(*(const vec *)(s + j * width + c));
            odd += seen(*(const vec *)(s + (j + 1) * width + c));
        }
        if (j < keys) {
            even += seen(*(const vec *)(s + j * width + c));
        }
        vec_store(sum + c, vec_load(sum + c) + (even + odd));
    }
}

static void tile_argmax(const float *s, int64_t keys, int width, int32_t key, float *best,
                        int32_t *at)
{
    for (int c = 0; c < width; c += LANES) {
        vec largest = vec_load(best + c);
        ivec where;
        memcpy(&where, at + c, sizeof where);
        for (int64_t j = 0; j < keys; j++) {
            vec score = *(const vec *)(s + j * width + c);
            ivec above = score > largest;
            largest = vec_select(above, score, largest);
            where = (ivec)vec_select(above, (vec)((ivec){0} + (key + (int32_t)j)), (vec)where);
        }
        vec_store(best + c, largest);
        memcpy(at + c, &where, sizeof where);
    }
}

/* Puts a score above the last of k, in descending order, in its place: behind its equals. */
static inline void place_score(float score, int32_t key, int64_t k, float *values, int32_t *at)
{
    int64_t n = k - 1;
    for (; n > 0 && score > values[n - 1]; n--) {
        values[n] = values[n - 1];
        at[n] = at[n - 1];
    }
    values[n] = score;
    at[n] = key;
}

static inline bool vec_any_above(vec a, vec b)
{
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)) != 0;
#else
    ivec above = a > b;
    int32_t any = 0;
    for (int i = 0; i < LANES; i++) {
        any |= above[i];
    }
    return any != 0;
#endif
}

static void tile_topk(const float *s, int64_t keys, int width, int32_t key, int64_t k,
                      float *values, int32_t *at)
{
    for (int c = 0; c < width; c += LANES) {
        float least[LANES];
        for (int x = 0; x < LANES; x++) {
            least[x] = values[(c + x) * k + k - 1];
        }
        for (int64_t j = 0; j < keys; j++) {
            const float *row = s + j * width + c;
            if (!vec_any_above(*(const vec *)row, vec_load(least))) {
                continue;
            }
            for (int x = 0; x < LANES; x++) {
                if (row[x] > least[x]) {
                    int64_t first = (c + x) * k;
                    place_score(row[x], key + (int32_t)j, k, values + first, at + first);
                    least[x] = values[first + k - 1];
                }
            }
        }
    }
}

/* ---- along queries -----------------------------------------------------------------------------
 */

static void tile_blank(float *s, int64_t keys, int width, int64_t count)
{
    const ivec number = vec_lane_numbers();
    for (int64_t j = 0; j < keys; j++) {
        for (int c = 0; c < width; c += LANES, s += LANES) {
            *(vec *)s = vec_select(number + c < (int32_t)count, *(vec *)s, vec_set(-INFINITY));
        }
    }
}

static void tile_add_columns(const float *s, int64_t keys, int width, float *sum)
{
    for (int64_t j = 0; j < keys; j++, sum += LANES) {
        vec total = vec_load(sum);
        for (int c = 0; c < width; c += LANES, s += LANES) {
            total += seen(*(const vec *)s);
        }
        vec_store(sum, total);
    }
}

static void tile_raise_columns(const float *p, int64_t keys, int width, float *max)
{
    for (int64_t j = 0; j < keys; j++, max += LANES) {
        vec largest = vec_load(max);
        for (int c = 0; c < width; c += LANES, p += LANES) {
            vec x = *(const vec *)p;
            largest = vec_select((x > largest) | (x != x), x, largest); /* a NaN stays */
        }
        vec_store(max, largest);
    }
}

/* A probability from its exponential; 0 stays 0, for a hidden pair's factor may be NaN (unless all
 * of a group's are known to be finite). */
INLINE vec scaled(const bool finite, vec p, vec factor)
{
    vec product = p * factor;
    if (finite) {
        return product;
    }
    return vec_select(p == vec_set(0.0f), vec_set(0.0f), product);
}

static bool all_finite(const float *factor, int width)
{
    float sum = 0;
    for (int x = 0; x < width; x++) {
        sum += factor[x] * 0.0f; /* NaN for a NaN or an infinity */
    }
    return sum == 0;
}

INLINE void add_scaled(const bool finite, const float *p, int64_t keys, int width,
                       const float *factor, float *sum)
{
    for (int64_t j = 0; j < keys; j++, sum += LANES) {
        vec total = vec_load(sum);
        for (int c = 0; c < width; c += LANES, p += LANES) {
            total += scaled(finite, *(const vec *)p, vec_load(factor + c));
        }
        vec_store(sum, total);
    }
}

static void tile_add_scaled(const float *p, int64_t keys, int width, const float *factor,
                            float *sum)
{
    if (all_finite(factor, width)) {
        add_scaled(true, p, keys, width, factor, sum);
    } else {
        add_scaled(false, p, keys, width, factor, sum);
    }
}

INLINE void raise_scaled(const bool finite, const float *p, int64_t keys, int width,
                         const float *factor, float *max)
{
    for (int64_t j = 0; j < keys; j++, max += LANES) {
        vec largest = vec_load(max);
        for (int c = 0; c < width; c += LANES, p += LANES) {
            vec x = scaled(finite, *(const vec *)p, vec_load(factor + c));
            largest =
                finite ? vec_max(largest, x) : vec_select((x > largest) | (x != x), x, largest);
        }
        vec_store(max, largest);
    }
}

static void tile_raise_scaled(const float *p, int64_t keys, int width, const float *factor,
                              float *max)
{
    if (all_finite(factor, width)) {
        raise_scaled(true, p, keys, width, factor, max);
    } else {
        raise_scaled(false, p, keys, width, factor, max);
    }
}

/* LANES rows at a time become columns, and those one vector. */
static void tile_join_sums(const float *sum, int64_t keys, float *out)
{
    for (int64_t j = 0; j < keys; j += LANES) {
        vec row[LANES];
        for (int r = 0; r < LANES; r++) {
            row[r] = vec_load(sum + (j + r) * LANES);
        }
        vec_transpose(row);
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int r = 0; r < half; r++) {
                row[r] += row[r + half];
            }
        }
        vec_store(out + j, row[0]);
    }
}

static void tile_join_maxima(const float *max, int64_t keys, float *out)
{
    for (int64_t j = 0; j < keys; j += LANES) {
        vec row[LANES];
        for (int r = 0; r < LANES; r++) {
            row[r] = vec_load(max + (j + r) * LANES);
        }
        vec_transpose(row);
        vec largest = row[0];
        for (int r = 1; r < LANES; r++) {
            largest = vec_select((row[r] > largest) | (row[r] != row[r]), row[r], largest);
        }
        vec_store(out + j, largest);
    }
}

static void tile_add_diagonals(const float *s, int64_t keys, int width, float *diagonal)
{
    for (int64_t j = 0; j < keys; j++, diagonal--) {
        for (int c = 0; c < width; c += LANES, s += LANES) {
            vec_store(diagonal + c, vec_load(diagonal + c) + seen(*(const vec *)s));
        }
    }
}

/* ---- dropout ------------------------------------------------------------------------------------
 */

/* 16 queries from a multiple of 16 on, where one counter serves a query and the one 8 further: the
 * words of PAIRS pairs of keys are made side by side, so that the compiler vectorises over them. */
static void drop_block(float *p, int64_t keys, int width, unsigned query,
                       const fasc_tile_drop *drop)
{
    enum { PAIRS = LANES > 8 ? LANES / 8 : 1 };
    const unsigned threshold = drop->threshold, first = query / 16 * 8;
    const int64_t lead = drop->key & 1;
    for (int64_t j = -lead; j < keys; j += 2 * PAIRS) {
        uint32_t kept[4][8 * PAIRS];
        const unsigned pair = (unsigned)((drop->key + j) >> 1);
        for (unsigned n = 0; n < 8 * PAIRS; n++) {
            unsigned word[4];
            fasc_philox(drop->seed, pair + n / 8, first + n % 8, drop->bh, drop->offset, word);
            kept[0][n] = word[0] >= threshold ? ~0u : 0u;
            kept[1][n] = word[1] >= threshold ? ~0u : 0u;
            kept[2][n] = word[2] >= threshold ? ~0u : 0u;
            kept[3][n] = word[3] >= threshold ? ~0u : 0u;
        }
        for (int64_t n = 0; n < 2 * PAIRS; n++) {
            uint32_t row[16];
            if (j + n < 0 || j + n >= keys) {
                continue;
            }
            memcpy(row, kept[n % 2] + n / 2 * 8, 8 * sizeof *row);
            memcpy(row + 8, kept[2 + n % 2] + n / 2 * 8, 8 * sizeof *row);
            for (int x = 0; x < 16; x++) {
                uint32_t bits;
                memcpy(&bits, p + (j + n) * width + x, sizeof bits);
                bits &= row[x];
                memcpy(p + (j + n) * width + x, &bits, sizeof bits);
            }
        }
    }
}

/* Pairs that are not kept become 0: queries from number `query` on across, keys from `key` on down.
 * Where a tile does not begin with 16 whole queries each asks for itself. */
static void tile_drop(float *p, int64_t keys, int width, const fasc_tile_drop *drop)
{
    const unsigned threshold = drop->threshold, bh = drop->bh, offset = drop->offset;
    const unsigned long long seed = drop->seed;
    if (drop->query % 16 == 0 && width % 16 == 0) {
        for (int c = 0; c < width; c += 16) {
            drop_block(p + c, keys, width, drop->query + (unsigned)c, drop);
        }
        return;
    }
    for (int64_t j = -(int64_t)(drop->key & 1); j < keys; j += 2) {
        const unsigned pair = (unsigned)((drop->key + j) >> 1);
        for (int c = 0; c < width; c += LANES) {
            uint32_t even[LANES], odd[LANES];
            for (int x = 0; x < LANES; x++) {
                unsigned word[4], i = drop->query + (unsigned)(c + x);
                fasc_philox(seed, pair, (i >> 4) * 8u + (i & 7u), bh, offset, word);
                even[x] = (i & 8u ? word[2] : word[0]) >= threshold ? ~0u : 0u;
                odd[x] = (i & 8u ? word[3] : word[1]) >= threshold ? ~0u : 0u;
            }
            ivec kept;
            if (j >= 0) {
                memcpy(&kept, even, sizeof kept);
                *(vec *)(p + j * width + c) =
                    vec_select(kept, *(vec *)(p + j * width + c), vec_set(0.0f));
            }
            if (j + 1 < keys) {
                memcpy(&kept, odd, sizeof kept);
                *(vec *)(p + (j + 1) * width + c) =
                    vec_select(kept, *(vec *)(p + (j + 1) * width + c), vec_set(0.0f));
            }
        }
    }
}

#endif
