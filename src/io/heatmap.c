/* heatmap.c - one picture of a 2-D map of any size: pooled, scaled, coloured, written row by row as
 * a PNG that says how it was made. */
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

static const char *const POOL_NAME[] = {[FASC_POOL_MAX] = "max",
                                        [FASC_POOL_MASS] = "mass",
                                        [FASC_POOL_MEAN] = "mean",
                                        [FASC_POOL_EXTREME] = "extreme"};
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
        {"pool", a->pool, FASC_POOL_MAX, FASC_POOL_EXTREME},
        {"scale", a->scale, FASC_SCALE_LOG, FASC_SCALE_LINEAR},
        {"colormap", a->colormap, FASC_MAP_VIRIDIS, FASC_MAP_CIVIDIS},
        {"max_size", a->max_size, 1, INT32_MAX},
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

/* ---- the picture ------------------------------------------------------------------ */

/* With more cells the map is read twice: for the range, then to draw. */
#define KEPT_CELLS ((size_t)64 << 20)

typedef struct drawing {
    const fasc_heatmap_args *args;
    fasc_pooling pooling;
    fasc_pool_tally tally;
    int32_t rows, cols; /* cells */
    int32_t band;       /* rows of cells that are in memory at a time */
    float *cells;       /* band rows */
    double low, high;
} drawing;

static fasc_status lay_out(drawing *d)
{
    const fasc_heatmap_args *a = d->args;
    int64_t nq = a->map->shape[0], nk = a->map->shape[1];
    d->pooling = (fasc_pooling){
        .call = CALL,
        .map = a->map,
        .pool = (fasc_pool)a->pool,
        .causal = a->causal,
        .diagonal = a->align == FASC_ALIGN_TOP_LEFT ? 0 : nk - nq,
    };
    fasc_status status =
        fasc_pool_factors(CALL, a->map, a->max_size, &d->pooling.pool_rows, &d->pooling.pool_cols);
    if (status != FASC_OK) {
        return status;
    }
    int64_t rows = fasc_pool_cells(nq, d->pooling.pool_rows);
    int64_t cols = fasc_pool_cells(nk, d->pooling.pool_cols);
    if (cols * a->cell > INT32_MAX || rows * a->cell > INT32_MAX) {
        return fasc_fail(FASC_EINVAL,
                         CALL ": cell: %" PRId64 " x %" PRId64 " cells of %d pixels are too many",
                         cols, rows, a->cell);
    }
    d->rows = (int32_t)rows;
    d->cols = (int32_t)cols;
    size_t most = KEPT_CELLS / (size_t)cols;
    d->band = most < 1 ? 1 : most < (size_t)rows ? (int32_t)most : d->rows;
    d->cells = malloc((size_t)d->band * (size_t)cols * sizeof *d->cells);
    return d->cells
               ? FASC_OK
               : fasc_fail(FASC_ENOMEM, CALL ": no memory for %d x %d cells", d->band, d->cols);
}

/* Fills the cells of rows from `first` on; *count: how many rows. */
static fasc_status read_band(drawing *d, int32_t first, int32_t *count)
{
    *count = d->rows - first < d->band ? d->rows - first : d->band;
    return fasc_pool_rows(&d->pooling, first, *count, d->cells, &d->tally);
}

/* The colour range: the caller's, or what the finite cells span. The first band's cells are there
 * afterwards if it is the only one. */
static fasc_status set_range(drawing *d)
{
    const fasc_heatmap_args *a = d->args;
    double least = INFINITY, most = -INFINITY;
    int32_t count;
    for (int32_t first = 0; first < d->rows; first += d->band) {
        fasc_status status = read_band(d, first, &count);
        if (status != FASC_OK) {
            return status;
        }
        fasc_cells_span(d->cells, (size_t)count * (size_t)d->cols, &least, &most);
    }
    bool any = least <= most;
    if (a->has_range) {
        d->low = a->low;
        d->high = a->high;
    } else if (a->scale == FASC_SCALE_LOG) {
        d->low = a->floor;
        d->high = any && most > a->floor ? most : 10 * a->floor;
    } else if (a->colormap == FASC_MAP_DIVERGING) {
        d->high = any ? fmax(fabs(least), fabs(most)) : 1;
        d->low = -d->high;
    } else {
        d->low = any ? least : 0;
        d->high = any ? most : 1;
    }
    if (a->scale == FASC_SCALE_LOG && d->tally.lowest < 0) {
        return fasc_fail(FASC_EINVAL,
                         CALL ": scale: the map holds %g, and a log scale needs values >= 0; use "
                              "linear",
                         d->tally.lowest);
    }
    return FASC_OK;
}

/* Each row of cells as `cell` rows of pixels. */
static fasc_status write_cells(const drawing *d, int32_t count, uint8_t *row, fasc_png *png)
{
    int32_t cell = d->args->cell, width = d->cols * cell;
    fasc_status status = FASC_OK;
    for (int32_t r = 0; r < count && status == FASC_OK; r++) {
        fasc_cells_paint(d->cells + (size_t)r * (size_t)d->cols, (size_t)d->cols, d->args->scale,
                         d->low, d->high, row);
        for (int32_t x = width - 1; cell > 1 && x >= 0; x--) {
            row[x] = row[x / cell];
        }
        for (int32_t y = 0; y < cell && status == FASC_OK; y++) {
            status = fasc_png_rows(png, 1, row);
        }
    }
    return status;
}

static fasc_status write_rows(drawing *d, fasc_png *png)
{
    fasc_status status = FASC_OK;
    uint8_t *row = malloc((size_t)d->cols * (size_t)d->args->cell);
    if (!row) {
        return fasc_fail(FASC_ENOMEM, CALL ": no memory for a row of %d cells", d->cols);
    }
    for (int32_t first = 0; first < d->rows && status == FASC_OK; first += d->band) {
        int32_t count = d->rows;
        if (d->band < d->rows) {
            status = read_band(d, first, &count);
        }
        if (status == FASC_OK) {
            status = write_cells(d, count, row, png);
        }
    }
    free(row);
    return status;
}

#define OWN_PAIRS 6

/* The caller's pairs, then what this call knows. */
static fasc_status open_picture(const drawing *d, const char *path, int32_t pairs,
                                const char *const *text, fasc_png **png)
{
    const fasc_heatmap_args *a = d->args;
    char software[32], shape[64], scale[96], pool[64];
    uint8_t palette[3 * FASC_PALETTE];
    const char **all = malloc(((size_t)pairs + OWN_PAIRS) * 2 * sizeof *all);
    if (!all) {
        return fasc_fail(FASC_ENOMEM, CALL ": no memory for %d text pairs", pairs);
    }
    snprintf(software, sizeof software, "fasc %s", fasc_version());
    snprintf(shape, sizeof shape, "%" PRId64 " queries x %" PRId64 " keys", a->map->shape[0],
             a->map->shape[1]);
    snprintf(scale, sizeof scale, "%s %.9g to %.9g", SCALE_NAME[a->scale], d->low, d->high);
    snprintf(pool, sizeof pool, "%s of %d x %d", POOL_NAME[a->pool], d->pooling.pool_rows,
             d->pooling.pool_cols);
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
    fasc_status status = fasc_colormap_palette(a->colormap, palette);
    if (status == FASC_OK) {
        status = fasc_png_begin(CALL, path, d->cols * a->cell, d->rows * a->cell, palette,
                                pairs + OWN_PAIRS, all, png);
    }
    free(all);
    return status;
}

static fasc_status draw(drawing *d, const char *path, int32_t pairs, const char *const *text)
{
    fasc_png *png;
    fasc_status status = set_range(d);
    fasc_pool_tally tally = d->tally; /* drawing may read the map once more */
    if (status == FASC_OK) {
        status = open_picture(d, path, pairs, text, &png);
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_status written = write_rows(d, png);
    status = fasc_png_close(png);
    d->tally = tally;
    return written == FASC_OK ? status : written;
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
    drawing d = {.args = &a, .tally = FASC_POOL_TALLY_NONE};
    if (status == FASC_OK) {
        status = lay_out(&d);
    }
    if (status == FASC_OK) {
        status = draw(&d, path, pairs, text);
    }
    free(d.cells);
    if (status == FASC_OK && info) {
        *info = (fasc_heatmap_info){.size = sizeof *info,
                                    .width = d.cols * a.cell,
                                    .height = d.rows * a.cell,
                                    .pool_rows = d.pooling.pool_rows,
                                    .pool_cols = d.pooling.pool_cols,
                                    .nan_count = d.tally.nan_count,
                                    .masked_count = d.tally.masked_count,
                                    .low = d.low,
                                    .high = d.high};
    }
    return status;
}
