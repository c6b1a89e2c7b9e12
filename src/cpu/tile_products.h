/* tile_products.h - the two matrix products of attention on the vectors of simd.h.
 *
 * ROWS keys (or head dimensions) by COLUMNS vectors of queries stay in registers: per step COLUMNS
 * loads and ROWS broadcasts feed ROWS * COLUMNS multiply-adds. Sums start at 0 for each tile, so
 * that none is longer than a tile. */
#ifndef FASC_CPU_TILE_PRODUCTS_H
#define FASC_CPU_TILE_PRODUCTS_H

#include "cpu/simd.h"

#if defined(__AVX512F__)
enum { ROWS = 8, COLUMNS = 2 }; /* 16 of 32 registers accumulate */
#else
enum { ROWS = 6, COLUMNS = 2 }; /* 12 of 16 */
#endif

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

/* ---- values, while rows of scores leave ------------------------------------------------- */

/* ROWS dimensions; a vector of the rows leaves after every `step` keys, keys / LANES of each. */
INLINE void value_rows_carrying(const float *v, int64_t v_ld, int64_t keys, const float *p,
                                const vec *alpha, float *o, const float *from, int64_t from_ld,
                                float *to, int64_t to_ld, int64_t step)
{
    vec sum[ROWS][COLUMNS];
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < COLUMNS; c++) {
            sum[r][c] = vec_set(0.0f);
        }
    }
    for (int64_t j = 0, column = 0; j < keys; j += step) {
        for (int64_t u = j; u < j + step; u++) {
            vec weight[COLUMNS];
            for (int c = 0; c < COLUMNS; c++) {
                weight[c] = *(const vec *)(p + (u * COLUMNS + c) * LANES);
            }
            for (int r = 0; r < ROWS; r++) {
                vec value = vec_set(v[u * v_ld + r]);
                for (int c = 0; c < COLUMNS; c++) {
                    sum[r][c] += value * weight[c];
                }
            }
        }
        vec_stream(to + column, vec_load(from + column));
        column += LANES;
        if (column == keys) {
            column = 0;
            from += from_ld;
            to += to_ld;
        }
    }
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < COLUMNS; c++) {
            vec *at = (vec *)(o + (r * COLUMNS + c) * LANES);
            *at = *at * alpha[c] + sum[r][c];
        }
    }
}

/* The rows are shared out to the blocks of ROWS dimensions. */
static void tile_values_carrying(const float *v, int64_t v_ld, int64_t keys, int64_t dims,
                                 const float *p, const float *alpha, float *o, const float *from,
                                 int64_t from_ld, float *to, int64_t to_ld)
{
    const int width = COLUMNS * LANES;
    const int64_t rows = width * ROWS / dims;
    vec scale[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) {
        scale[c] = vec_load(alpha + c * LANES);
    }
    for (int64_t d = 0, row = 0; d < dims; d += ROWS, row += rows) {
        value_rows_carrying(v + d, v_ld, keys, p, scale, o + d * width, from + row * from_ld,
                            from_ld, to + row * to_ld, to_ld, LANES / rows);
    }
}

#endif
