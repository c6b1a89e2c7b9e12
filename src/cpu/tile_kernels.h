/* tile_kernels.h - the functions of tile.h on the vectors of simd.h: the including file says which
 * instruction set by its name, and gives OPS, the name of its table.
 *
 * The two products hold ROWS keys (or head dimensions) by COLUMNS vectors of queries in registers:
 * per step COLUMNS loads and ROWS broadcasts feed ROWS * COLUMNS multiply-adds. */
#ifndef FASC_CPU_TILE_KERNELS_H
#define FASC_CPU_TILE_KERNELS_H

#include "cpu/simd.h"
#include "cpu/tile.h"

#if defined(__AVX512F__)
enum { ROWS = 8, COLUMNS = 2 }; /* 16 of 32 registers accumulate */
#else
enum { ROWS = 6, COLUMNS = 2 }; /* 12 of 16 */
#endif

#define INLINE static inline __attribute__((always_inline))

/* ---- scores: s = K Q^T ------------------------------------------------------------- */

INLINE void score_rows(const int rows, const int columns, const float *k, int64_t k_ld,
                       int64_t dims, const float *q_t, float *s, vec *max)
{
    vec sum[ROWS][COLUMNS];
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
            sum[r][c] = vec_set(0.0f);
        }
    }
    for (int64_t d = 0; d < dims; d++) {
        vec q[COLUMNS];
        for (int c = 0; c < columns; c++) {
            q[c] = *(const vec *)(q_t + (d * columns + c) * LANES);
        }
        for (int r = 0; r < rows; r++) {
            vec key = vec_set(k[r * k_ld + d]);
            for (int c = 0; c < columns; c++) {
                sum[r][c] += key * q[c];
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
            *(vec *)(s + (r * columns + c) * LANES) = sum[r][c];
            max[c] = vec_max(sum[r][c], max[c]);
        }
    }
}

INLINE void score_tile(const int columns, const float *k, int64_t k_ld, int64_t keys, int64_t dims,
                       const float *q_t, float *s, float *max)
{
    const int width = columns * LANES;
    vec largest[COLUMNS];
    for (int c = 0; c < columns; c++) {
        largest[c] = vec_load(max + c * LANES);
    }
    int64_t j = 0;
    for (; j + ROWS <= keys; j += ROWS) {
        score_rows(ROWS, columns, k + j * k_ld, k_ld, dims, q_t, s + j * width, largest);
    }
    for (; j + 2 <= keys; j += 2) {
        score_rows(2, columns, k + j * k_ld, k_ld, dims, q_t, s + j * width, largest);
    }
    if (j < keys) {
        score_rows(1, columns, k + j * k_ld, k_ld, dims, q_t, s + j * width, largest);
    }
    for (int c = 0; c < columns; c++) {
        vec_store(max + c * LANES, largest[c]);
    }
}

static void tile_scores(const float *k, int64_t k_ld, int64_t keys, int64_t dims, const float *q_t,
                        int width, float *s, float *max)
{
    switch (width / LANES) {
    case 1:
        score_tile(1, k, k_ld, keys, dims, q_t, s, max);
        break;
    case 2:
        score_tile(2, k, k_ld, keys, dims, q_t, s, max);
        break;
    default:
        score_tile(COLUMNS, k, k_ld, keys, dims, q_t, s, max);
    }
}

/* ---- values: o = o alpha + V^T p ------------------------------------------------------ */

INLINE void value_rows(const int rows, const int columns, const float *v, int64_t v_ld,
                       int64_t keys, const float *p, const vec *alpha, float *o)
{
    vec sum[ROWS][COLUMNS];
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
            sum[r][c] = vec_set(0.0f);
        }
    }
    for (int64_t j = 0; j < keys; j++) {
        vec weight[COLUMNS];
        for (int c = 0; c < columns; c++) {
            weight[c] = *(const vec *)(p + (j * columns + c) * LANES);
        }
        for (int r = 0; r < rows; r++) {
            vec value = vec_set(v[j * v_ld + r]);
            for (int c = 0; c < columns; c++) {
                sum[r][c] += value * weight[c];
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
            vec *at = (vec *)(o + (r * columns + c) * LANES);
            *at = *at * alpha[c] + sum[r][c];
        }
    }
}

INLINE void value_tile(const int columns, const float *v, int64_t v_ld, int64_t keys, int64_t dims,
                       const float *p, const float *alpha, float *o)
{
    const int width = columns * LANES;
    vec scale[COLUMNS];
    for (int c = 0; c < columns; c++) {
        scale[c] = vec_load(alpha + c * LANES);
    }
    int64_t d = 0;
    for (; d + ROWS <= dims; d += ROWS) {
        value_rows(ROWS, columns, v + d, v_ld, keys, p, scale, o + d * width);
    }
    for (; d + 4 <= dims; d += 4) {
        value_rows(4, columns, v + d, v_ld, keys, p, scale, o + d * width);
    }
    for (; d + 2 <= dims; d += 2) {
        value_rows(2, columns, v + d, v_ld, keys, p, scale, o + d * width);
    }
    if (d < dims) {
        value_rows(1, columns, v + d, v_ld, keys, p, scale, o + d * width);
    }
}

static void tile_values(const float *v, int64_t v_ld, int64_t keys, int64_t dims, const float *p,
                        int width, const float *alpha, float *o)
{
    switch (width / LANES) {
    case 1:
        value_tile(1, v, v_ld, keys, dims, p, alpha, o);
        break;
    case 2:
        value_tile(2, v, v_ld, keys, dims, p, alpha, o);
        break;
    default:
        value_tile(COLUMNS, v, v_ld, keys, dims, p, alpha, o);
    }
}

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

/* ---- filling ------------------------------------------------------------------------------ */

static void fill(float *dst, int64_t n, float value, bool stream)
{
    int64_t i = 0;
    if (stream) {
        for (; i < n && (uintptr_t)(dst + i) % sizeof(vec) != 0; i++) {
            dst[i] = value;
        }
        for (; i + LANES <= n; i += LANES) {
            vec_stream(dst + i, vec_set(value));
        }
    }
    for (; i + LANES <= n; i += LANES) {
        vec_store(dst + i, vec_set(value));
    }
    for (; i < n; i++) {
        dst[i] = value;
    }
}

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

/* ---- transposition ------------------------------------------------------------------------- */

/* At most LANES by LANES. */
static void transpose_block(const float *src, int64_t src_ld, int64_t rows, int64_t columns,
                            float *dst, int64_t dst_ld, bool stream)
{
    vec r[LANES];
    for (int i = 0; i < LANES; i++) {
        r[i] = i < rows ? vec_load(src + i * src_ld) : vec_set(0.0f);
    }
    vec_transpose(r);
    if (rows < LANES) {
        for (int c = 0; c < columns; c++) {
            memcpy(dst + c * dst_ld, &r[c], (size_t)rows * sizeof *dst);
        }
    } else if (stream) {
        for (int c = 0; c < columns; c++) {
            vec_stream(dst + c * dst_ld, r[c]);
        }
    } else {
        for (int c = 0; c < columns; c++) {
            vec_store(dst + c * dst_ld, r[c]);
        }
    }
}

static void tile_transpose(const float *src, int64_t src_ld, int64_t rows, int64_t columns,
                           float *dst, int64_t dst_ld, bool stream)
{
    stream = stream && (uintptr_t)dst % sizeof(vec) == 0 && dst_ld % LANES == 0;
    for (int64_t c = 0; c < columns; c += LANES) {
        int64_t wide = columns - c < LANES ? columns - c : LANES;
        for (int64_t r = 0; r < rows; r += LANES) {
            int64_t high = rows - r < LANES ? rows - r : LANES;
            transpose_block(src + r * src_ld + c, src_ld, high, wide, dst + c * dst_ld + r, dst_ld,
                            stream);
        }
    }
}

/* ---- the table --------------------------------------------------------------------------------
 */

const fasc_tile_ops OPS = {
    .lanes = LANES,
    .group = COLUMNS * LANES,
    .transpose = tile_transpose,
    .scores = tile_scores,
    .hide = tile_hide,
    .add_mask = tile_add_mask,
    .raise_max = tile_raise_max,
    .softmax = tile_softmax,
    .values = tile_values,
    .normalise = tile_normalise,
    .probs = tile_probs,
    .fill = fill,
    .row_max = row_max,
    .row_sum = row_sum,
    .row_exp = row_exp,
    .row_probs = row_probs,
    .stream_end = vec_stream_end,
};

#endif
