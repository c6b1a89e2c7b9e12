/* heatmap.c - one picture of a 2-D map: pooled, scaled, coloured, written as a PNG that says how
 * it was made. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "colormap.h"
#include "png.h"
#include "pool.h"
#include "validate.h"

#define CALL "heatmap"

static const char *const POOL_NAME[] = {
    [FASC_POOL_MAX] = "max", [FASC_POOL_MASS] = "mass", [FASC_POOL_MEAN] = "mean"};
static const char *const SCALE_NAME[] = {[FASC_SCALE_LOG] = "log", [FASC_SCALE_LINEAR] = "linear"};

/* ---- options ---------------------------------------------------------------------- */

/* The caller's arguments with their defaults in place. */
static fasc_heatmap_args with_defaults(const fasc_heatmap_args *given)
{
    fasc_heatmap_args a = *given;
    a.pool = a.pool ? a.pool : FASC_POOL_MAX;
    a.scale = a.scale ? a.scale : FASC_SCALE_LINEAR;
    a.colormap = a.colormap ? a.colormap : FASC_MAP_VIRIDIS;
    a.max_size = a.max_size ? a.max_size : 1024;
    a.cell = a.cell ? a.cell : 1;
    a.floor = a.floor != 0 ? a.floor : 1e-4;
    return a;
}

static fasc_status check_map(const fasc_tensor *map)
{
    char shape[192];
    fasc_status status = fasc_check_pointer(CALL, "map", map);
    if (status == FASC_OK && (map->rank != 2 || map->numel == 0)) {
        status = fasc_fail(FASC_EINVAL, CALL ": map: shape %s, must be rank 2 and not empty",
                           fasc_shape_text(map->rank, map->shape, shape, sizeof shape));
    }
    return status;
}

static fasc_status check_range(const fasc_heatmap_args *a)
{
    bool log_scale = a->scale == FASC_SCALE_LOG;
    if (a->has_range) {
        if (!isfinite(a->low) || !isfinite(a->high) || a->low >= a->high) {
            return fasc_fail(FASC_EINVAL, CALL ": range: {%g, %g}, must be finite and rise", a->low,
                             a->high);
        }
        if (log_scale && a->low <= 0) {
            return fasc_fail(FASC_EINVAL, CALL ": range: low %g, must be above 0 for a log scale",
                             a->low);
        }
        if (a->colormap == FASC_MAP_DIVERGING && a->low != -a->high) {
            return fasc_fail(FASC_EINVAL,
                             CALL ": range: {%g, %g}, must be {-x, x} for the diverging map, which "
                                  "is centred on 0",
                             a->low, a->high);
        }
    }
    /* Values are pooled as float32: below its normal range there is nothing left to show. */
    if (log_scale && !(a->floor >= FLT_MIN && a->floor <= FLT_MAX)) {
        return fasc_fail(FASC_EINVAL, CALL ": floor: %g, must be in %g to %g", a->floor,
                         (double)FLT_MIN, (double)FLT_MAX);
    }
    return FASC_OK;
}

static fasc_status check_options(const fasc_heatmap_args *a)
{
    const struct {
        const char *name;
        int32_t value, least, most;
    } OPTION[] = {
        {"pool", a->pool, FASC_POOL_MAX, FASC_POOL_MEAN},
        {"scale", a->scale, FASC_SCALE_LOG, FASC_SCALE_LINEAR},
        {"colormap", a->colormap, FASC_MAP_VIRIDIS, FASC_MAP_DIVERGING},
        {"max_size", a->max_size, 1, 65536},
        {"cell", a->cell, 1, 4096},
        {"has_range", a->has_range, 0, 1},
        {"causal", a->causal, 0, 1},
        {"align", a->align, FASC_ALIGN_BOTTOM_RIGHT, FASC_ALIGN_TOP_LEFT},
    };
    for (size_t i = 0; i < sizeof OPTION / sizeof *OPTION; i++) {
        if (OPTION[i].value < OPTION[i].least || OPTION[i].value > OPTION[i].most) {
            return fasc_fail(FASC_EINVAL, CALL ": %s: %d is not in %d to %d", OPTION[i].name,
                             OPTION[i].value, OPTION[i].least, OPTION[i].most);
        }
    }
    if (a->scale == FASC_SCALE_LOG && a->colormap == FASC_MAP_DIVERGING) {
        return fasc_fail(FASC_EINVAL,
                         CALL ": scale: the diverging map is centred on 0, which a log scale does "
                              "not have; use linear");
    }
    return check_range(a);
}

/* ---- colours ---------------------------------------------------------------------- */

typedef struct painter {
    const fasc_pooled *pooled;
    int32_t scale, colormap, cell;
    double low, high;
} painter;

/* The colour range: the caller's, or what the finite cells span. */
static void set_range(const fasc_heatmap_args *a, const fasc_pooled *p, painter *paint)
{
    double least = INFINITY, most = -INFINITY;
    size_t count = (size_t)p->rows * (size_t)p->cols;
    for (size_t i = 0; i < count; i++) {
        double v = (double)p->cells[i];
        least = isfinite(v) && v < least ? v : least;
        most = isfinite(v) && v > most ? v : most;
    }
    bool any = least <= most;
    if (a->has_range) {
        paint->low = a->low;
        paint->high = a->high;
    } else if (a->scale == FASC_SCALE_LOG) {
        paint->low = a->floor;
        paint->high = any && most > a->floor ? most : 10 * a->floor;
    } else if (a->colormap == FASC_MAP_DIVERGING) {
        paint->high = any ? fmax(fabs(least), fabs(most)) : 1;
        paint->low = -paint->high;
    } else {
        paint->low = any ? least : 0;
        paint->high = any ? most : 1;
    }
}

/* Everything that has a value has a colour of the map, 0 and infinity its ends; a map of one value
 * only has that of its middle. */
static fasc_rgb color_of(const painter *paint, float cell)
{
    double v = (double)cell, low = paint->low, high = paint->high;
    if (v != v) {
        return FASC_COLOR_NAN;
    }
    if (v == -INFINITY) {
        return FASC_COLOR_MASKED;
    }
    double t = v <= low ? 0 : v >= high ? 1 : (v - low) / (high - low);
    if (low == high) {
        t = v < low ? 0 : v > high ? 1 : 0.5;
    } else if (paint->scale == FASC_SCALE_LOG && v > low && v < high) {
        t = log(v / low) / log(high / low);
    }
    return fasc_colormap_at(paint->colormap, t);
}

static void paint_row(void *context, int32_t y, uint8_t *row)
{
    const painter *paint = context;
    const fasc_pooled *p = paint->pooled;
    const float *cells = p->cells + (size_t)(y / paint->cell) * (size_t)p->cols;
    for (int32_t c = 0; c < p->cols; c++) {
        fasc_rgb color = color_of(paint, cells[c]);
        for (int32_t x = 0; x < paint->cell; x++, row += 3) {
            row[0] = color.r;
            row[1] = color.g;
            row[2] = color.b;
        }
    }
}

/* ---- the picture ------------------------------------------------------------------ */

#define OWN_PAIRS 6

/* The caller's pairs, then what this call knows. */
static fasc_status write_picture(const fasc_heatmap_args *a, const painter *paint, const char *path,
                                 int32_t pairs, const char *const *text)
{
    const fasc_pooled *p = paint->pooled;
    char software[32], shape[64], scale[96], pool[64];
    const char **all = malloc(((size_t)pairs + OWN_PAIRS) * 2 * sizeof *all);
    if (!all) {
        return fasc_fail(FASC_ENOMEM, CALL ": no memory for %d text pairs", pairs);
    }
    snprintf(software, sizeof software, "fasc %s", fasc_version());
    snprintf(shape, sizeof shape, "%" PRId64 " queries x %" PRId64 " keys", a->map->shape[0],
             a->map->shape[1]);
    snprintf(scale, sizeof scale, "%s %.9g to %.9g", SCALE_NAME[a->scale], paint->low, paint->high);
    snprintf(pool, sizeof pool, "%s of %d x %d", POOL_NAME[a->pool], p->pool_rows, p->pool_cols);
    const char *const own[2 * OWN_PAIRS] = {
        "Software",
        software,
        "shape",
        shape,
        "scale",
        scale,
        "colormap",
        fasc_colormap_name(a->colormap),
        "pooling",
        pool,
        "causal",
        !a->causal ? "no" : a->align == FASC_ALIGN_BOTTOM_RIGHT ? "bottom_right" : "top_left"};
    if (pairs > 0) {
        memcpy(all, text, (size_t)pairs * 2 * sizeof *all);
    }
    memcpy(all + (size_t)pairs * 2, own, sizeof own);
    fasc_png picture = {.call = CALL,
                        .width = p->cols * paint->cell,
                        .height = p->rows * paint->cell,
                        .row = paint_row,
                        .context = (void *)paint,
                        .pairs = pairs + OWN_PAIRS,
                        .text = all};
    fasc_status status = fasc_png_write(&picture, path);
    free(all);
    return status;
}

static fasc_status draw(const fasc_heatmap_args *a, const char *path, int32_t pairs,
                        const char *const *text, fasc_heatmap_info *info)
{
    fasc_pooled pooled;
    int64_t diagonal = a->align == FASC_ALIGN_TOP_LEFT ? 0 : a->map->shape[1] - a->map->shape[0];
    fasc_status status =
        fasc_pool_map(CALL, a->map, (fasc_pool)a->pool, a->max_size, a->causal, diagonal, &pooled);
    if (status != FASC_OK) {
        return status;
    }
    painter paint = {
        .pooled = &pooled, .scale = a->scale, .colormap = a->colormap, .cell = a->cell};
    set_range(a, &pooled, &paint);
    if (a->scale == FASC_SCALE_LOG && pooled.lowest < 0) {
        status = fasc_fail(FASC_EINVAL,
                           CALL ": scale: the map holds %g, and a log scale needs values >= 0; use "
                                "linear",
                           pooled.lowest);
    } else if ((int64_t)pooled.cols * a->cell > INT32_MAX / 3 ||
               (int64_t)pooled.rows * a->cell > INT32_MAX) {
        status = fasc_fail(FASC_EINVAL, CALL ": cell: %d x %d cells of %d pixels are too many",
                           pooled.cols, pooled.rows, a->cell);
    } else {
        status = write_picture(a, &paint, path, pairs, text);
    }
    if (status == FASC_OK && info) {
        *info = (fasc_heatmap_info){.size = sizeof *info,
                                    .width = pooled.cols * a->cell,
                                    .height = pooled.rows * a->cell,
                                    .pool_rows = pooled.pool_rows,
                                    .pool_cols = pooled.pool_cols,
                                    .nan_count = pooled.nan_count,
                                    .masked_count = pooled.masked_count,
                                    .low = paint.low,
                                    .high = paint.high};
    }
    fasc_pooled_free(&pooled);
    return status;
}

fasc_status fasc_heatmap_png(const fasc_heatmap_args *args, const char *path, int32_t pairs,
                             const char *const *text, fasc_heatmap_info *info)
{
    fasc_status status = fasc_check_struct(CALL, "args", args, sizeof *args);
    if (status == FASC_OK && info) {
        status = fasc_check_struct(CALL, "info", info, sizeof *info);
    }
    if (status == FASC_OK) {
        status = check_map(args->map);
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_heatmap_args a = with_defaults(args);
    status = check_options(&a);
    if (status == FASC_OK) {
        status = fasc_png_check_text(CALL, pairs, text);
    }
    return status == FASC_OK ? draw(&a, path, pairs, text, info) : status;
}
