/* map.c - maps as cells, cells as colours: the public calls that pictures of any kind are made of.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "colormap.h"
#include "pool.h"
#include "validate.h"

/* ---- pooling ---------------------------------------------------------------------------- */

/* A contiguous tensor on the CPU with this dtype and shape, or NULL where it may be left out. */
static fasc_status check_target(const char *name, const fasc_tensor *t, bool optional,
                                fasc_dtype dtype, int32_t rank, const int64_t *shape)
{
    char given[192], wanted[192];
    if (!t && optional) {
        return FASC_OK;
    }
    fasc_status status = fasc_check_pointer("map_pool", name, t);
    if (status != FASC_OK) {
        return status;
    }
    bool fits = t->rank == rank && memcmp(t->shape, shape, (size_t)rank * sizeof *shape) == 0;
    if (!fits || t->dtype != dtype || !fasc_tensor_is_contiguous(t) ||
        strcmp(fasc_device_name(fasc_tensor_device(t)), "cpu") != 0) {
        return fasc_fail(FASC_EINVAL, "map_pool: %s: %s %s on %s, must be %s %s on cpu, contiguous",
                         name, fasc_dtype_name(t->dtype),
                         fasc_shape_text(t->rank, t->shape, given, sizeof given),
                         fasc_device_name(fasc_tensor_device(t)), fasc_dtype_name(dtype),
                         fasc_shape_text(rank, shape, wanted, sizeof wanted));
    }
    return FASC_OK;
}

static fasc_status check_pool(const fasc_pool_args *a)
{
    char shape[192];
    fasc_status status = fasc_check_pointer("map_pool", "map", a->map);
    if (status != FASC_OK) {
        return status;
    }
    if (a->map->rank != 2 || a->map->numel == 0) {
        return fasc_fail(FASC_EINVAL, "map_pool: map: shape %s, must be rank 2 and not empty",
                         fasc_shape_text(a->map->rank, a->map->shape, shape, sizeof shape));
    }
    if (a->pool < FASC_POOL_MAX || a->pool > FASC_POOL_EXTREME) {
        return fasc_fail(FASC_EINVAL, "map_pool: pool: %d is not in %d to %d", a->pool,
                         FASC_POOL_MAX, FASC_POOL_EXTREME);
    }
    if (a->pool_rows < 1 || a->pool_cols < 1) {
        return fasc_fail(FASC_EINVAL, "map_pool: cells of %d x %d elements, must be at least 1 x 1",
                         a->pool_rows, a->pool_cols);
    }
    if (a->causal < 0 || a->causal > 1) {
        return fasc_fail(FASC_EINVAL, "map_pool: causal: %d is not in 0 to 1", a->causal);
    }
    if (a->minus) {
        status = fasc_check_same_shape("map_pool", "map", a->map, "minus", a->minus);
    }
    const int64_t cells[] = {fasc_pool_cells(a->map->shape[0], a->pool_rows),
                             fasc_pool_cells(a->map->shape[1], a->pool_cols)};
    const struct {
        const char *name;
        const fasc_tensor *tensor;
        fasc_dtype dtype;
        int32_t rank;
        const int64_t *shape;
    } TARGET[] = {
        {"cells", a->cells, FASC_F32, 2, cells},
        {"col_sum", a->col_sum, FASC_F64, 1, &a->map->shape[1]},
        {"entropy", a->entropy, FASC_F32, 1, &a->map->shape[0]},
    };
    for (size_t i = 0; i < sizeof TARGET / sizeof *TARGET && status == FASC_OK; i++) {
        status = check_target(TARGET[i].name, TARGET[i].tensor, i > 0, TARGET[i].dtype,
                              TARGET[i].rank, TARGET[i].shape);
    }
    return status;
}

fasc_status fasc_map_pool(const fasc_pool_args *args, fasc_pool_info *info)
{
    fasc_status status = fasc_check_struct("map_pool", "args", args, sizeof *args);
    if (status == FASC_OK && info) {
        status = fasc_check_struct("map_pool", "info", info, sizeof *info);
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_pool_args a = *args;
    a.pool = a.pool ? a.pool : FASC_POOL_MAX;
    a.pool_rows = a.pool_rows ? a.pool_rows : 1;
    a.pool_cols = a.pool_cols ? a.pool_cols : 1;
    status = check_pool(&a);
    if (status != FASC_OK) {
        return status;
    }
    const fasc_pooling pooling = {
        .call = "map_pool",
        .map = a.map,
        .minus = a.minus,
        .pool = (fasc_pool)a.pool,
        .pool_rows = a.pool_rows,
        .pool_cols = a.pool_cols,
        .causal = a.causal,
        .diagonal = a.diagonal,
        .col_sum = a.col_sum ? fasc_tensor_data(a.col_sum) : NULL,
        .entropy = a.entropy ? fasc_tensor_data(a.entropy) : NULL,
    };
    fasc_pool_tally tally = FASC_POOL_TALLY_NONE;
    status = fasc_pool_rows(&pooling, 0, a.cells->shape[0], fasc_tensor_data(a.cells), &tally);
    if (status == FASC_OK && info) {
        *info = (fasc_pool_info){.size = sizeof *info,
                                 .nan_count = tally.nan_count,
                                 .masked_count = tally.masked_count,
                                 .lowest = tally.lowest};
    }
    return status;
}

/* ---- ranges ----------------------------------------------------------------------------- */

static fasc_status check_cells(const char *call, const fasc_tensor *cells)
{
    fasc_status status = fasc_check_pointer(call, "cells", cells);
    if (status == FASC_OK && (cells->dtype != FASC_F32 || !fasc_tensor_is_contiguous(cells) ||
                              strcmp(fasc_device_name(fasc_tensor_device(cells)), "cpu") != 0)) {
        status =
            fasc_fail(FASC_EINVAL, "%s: cells: %s on %s, must be f32 on cpu, contiguous", call,
                      fasc_dtype_name(cells->dtype), fasc_device_name(fasc_tensor_device(cells)));
    }
    return status;
}

void fasc_cells_span(const float *cells, size_t n, double *low, double *high)
{
    for (size_t i = 0; i < n; i++) {
        double v = (double)cells[i];
        if (isfinite(v)) {
            *low = v < *low ? v : *low;
            *high = v > *high ? v : *high;
        }
    }
}

static int rising(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

fasc_status fasc_map_range(const fasc_tensor *cells, double cut, double *low, double *high)
{
    fasc_status status = check_cells("map_range", cells);
    if (status == FASC_OK && !(cut >= 0 && cut < 0.5)) {
        status =
            fasc_fail(FASC_EINVAL, "map_range: cut: %g, must be at least 0 and below 0.5", cut);
    }
    if (status != FASC_OK) {
        return status;
    }
    const float *x = fasc_tensor_data(cells);
    size_t n = (size_t)cells->numel, count = 0;
    double least = INFINITY, most = -INFINITY;
    fasc_cells_span(x, n, &least, &most);
    if (cut > 0 && least < most) {
        float *sorted = malloc(n * sizeof *sorted);
        if (!sorted) {
            return fasc_fail(FASC_ENOMEM, "map_range: no memory for %zu cells", n);
        }
        for (size_t i = 0; i < n; i++) {
            if (isfinite(x[i])) {
                sorted[count++] = x[i];
            }
        }
        qsort(sorted, count, sizeof *sorted, rising);
        size_t out = (size_t)(cut * (double)count);
        least = (double)sorted[out];
        most = (double)sorted[count - 1 - out];
        free(sorted);
    }
    *low = least;
    *high = most;
    return FASC_OK;
}

/* ---- colours ---------------------------------------------------------------------------- */

/* Everything that has a value has a colour of the map, 0 and infinity its ends. */
static uint8_t number_of(float cell, int32_t scale, double low, double high, double per_decade)
{
    double v = (double)cell;
    if (v != v) {
        return FASC_COLOR_NAN;
    }
    if (v == -INFINITY) {
        return FASC_COLOR_MASKED;
    }
    if (low == high) {
        return fasc_color_number(v < low ? 0 : v > high ? 1 : 0.5);
    }
    if (v <= low || v >= high) {
        return v <= low ? 0 : FASC_COLORS - 1;
    }
    return fasc_color_number(scale == FASC_SCALE_LOG ? log(v / low) * per_decade
                                                     : (v - low) / (high - low));
}

void fasc_cells_paint(const float *cells, size_t n, int32_t scale, double low, double high,
                      uint8_t *colors)
{
    double per_decade = scale == FASC_SCALE_LOG && high > low ? 1 / log(high / low) : 0;
#pragma omp parallel for schedule(static) num_threads(fasc_num_threads())
    for (size_t i = 0; i < n; i++) {
        colors[i] = number_of(cells[i], scale, low, high, per_decade);
    }
}

fasc_status fasc_map_paint(const fasc_tensor *cells, int32_t scale, double low, double high,
                           uint8_t *colors)
{
    fasc_status status = check_cells("map_paint", cells);
    if (status == FASC_OK) {
        status = fasc_check_pointer("map_paint", "colors", colors);
    }
    if (status != FASC_OK) {
        return status;
    }
    if (scale != FASC_SCALE_LOG && scale != FASC_SCALE_LINEAR) {
        return fasc_fail(FASC_EINVAL, "map_paint: scale: %d is not in %d to %d", scale,
                         FASC_SCALE_LOG, FASC_SCALE_LINEAR);
    }
    if (!isfinite(low) || !isfinite(high) || low > high || (scale == FASC_SCALE_LOG && low <= 0)) {
        return fasc_fail(FASC_EINVAL,
                         "map_paint: range: {%g, %g}, must be finite and not fall, and begin above "
                         "0 on a log scale",
                         low, high);
    }
    fasc_cells_paint(fasc_tensor_data(cells), (size_t)cells->numel, scale, low, high, colors);
    return FASC_OK;
}
