/* pool.c - a map of any size brought down to a grid of cells. */
#include "pool.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define BAND_ELEMENTS ((int64_t)4 << 20) /* of the map that are in memory as f32 at a time */
#define KEPT_CELLS    64

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

/* ---- one row of cells ------------------------------------------------------------- */

/* What a cell knows of the elements it has seen. */
typedef struct sums {
    float max, min;
    double sum;
    int64_t visible, nan, masked;
} sums;

/* Adds n elements. Every comparison with a NaN is false, so a NaN is only counted. */
static void add(sums *s, const float *x, int64_t n)
{
    float max = s->max, min = s->min;
    double sum = 0;
    int64_t nan = 0, masked = 0;
#pragma omp simd reduction(max : max) reduction(min : min) reduction(+ : sum, nan, masked)
    for (int64_t j = 0; j < n; j++) {
        float v = x[j];
        bool visible = v > -INFINITY;
        nan += v != v;
        masked += v == -INFINITY;
        max = v > max ? v : max;
        min = visible && v < min ? v : min;
        sum += visible ? (double)v : 0.0;
    }
    s->max = max;
    s->min = min;
    s->sum += sum;
    s->nan += nan;
    s->masked += masked;
    s->visible += n - nan - masked;
}

static float cell_value(const sums *s, fasc_pool pool, int64_t rows)
{
    if (s->nan) {
        return NAN;
    }
    if (!s->visible) {
        return -INFINITY;
    }
    return pool == FASC_POOL_MAX    ? s->max
           : pool == FASC_POOL_MASS ? (float)(s->sum / (double)rows)
                                    : (float)(s->sum / (double)s->visible);
}

/* What a row of cells saw, for the whole map's numbers. */
typedef struct tally {
    int64_t nan, masked;
    double lowest;
} tally;

/* The cells of rows [first, first + rows) of the map, which stand in `band` one after another. */
static tally pool_rows(const float *band, int64_t cols, int64_t first, int64_t rows, fasc_pool pool,
                       bool causal, int64_t diagonal, const fasc_pooled *p, float *cells)
{
    tally t = {0, 0, INFINITY};
    for (int32_t c = 0; c < p->cols; c++) {
        int64_t begin = (int64_t)c * p->pool_cols;
        int64_t end = begin + p->pool_cols < cols ? begin + p->pool_cols : cols;
        sums s = {.max = -INFINITY, .min = INFINITY};
        for (int64_t r = 0; r < rows; r++) {
            int64_t limit = causal ? first + r + diagonal + 1 : end; /* keys below it are seen */
            int64_t stop = limit < begin ? begin : limit < end ? limit : end;
            add(&s, band + r * cols + begin, stop - begin);
            s.masked += end - stop;
        }
        cells[c] = cell_value(&s, pool, rows);
        t.nan += s.nan;
        t.masked += s.masked;
        t.lowest = s.min < t.lowest ? (double)s.min : t.lowest;
    }
    return t;
}

/* ---- the map ------------------------------------------------------------------------ */

/* Rows [first, first + rows) of the map as contiguous f32 on the CPU, in the buffer's front. */
static fasc_status fetch(const fasc_tensor *map, int64_t first, int64_t rows, fasc_tensor *buffer)
{
    fasc_tensor *source = NULL, *target = NULL;
    const int64_t shape[] = {rows, map->shape[1]}, stride[] = {map->shape[1], 1};
    fasc_status status =
        fasc_tensor_view(map, first * map->stride[0], 2, shape, map->stride, &source);
    if (status == FASC_OK) {
        status = fasc_tensor_view(buffer, 0, 2, shape, stride, &target);
    }
    if (status == FASC_OK) {
        status = fasc_tensor_copy(source, target);
    }
    fasc_tensor_free(source);
    fasc_tensor_free(target);
    return status;
}

static int32_t factor(int64_t length, int64_t wanted)
{
    int64_t most = length / KEPT_CELLS > 1 ? length / KEPT_CELLS : 1;
    return (int32_t)(wanted < most ? wanted : most);
}

/* Cells per side, and room for them. */
static fasc_status lay_out(const char *call, const fasc_tensor *map, int32_t max_size,
                           fasc_pooled *p)
{
    int64_t rows = map->shape[0], cols = map->shape[1];
    int64_t wanted = ceil_div(rows > cols ? rows : cols, max_size);
    *p = (fasc_pooled){.lowest = INFINITY};
    if (wanted > INT32_MAX) {
        return fasc_fail(FASC_EINVAL,
                         "%s: map: a side of %" PRId64 " is too long for max_size %" PRId32, call,
                         rows > cols ? rows : cols, max_size);
    }
    p->pool_rows = rows >= cols ? (int32_t)wanted : factor(rows, wanted);
    p->pool_cols = cols >= rows ? (int32_t)wanted : factor(cols, wanted);
    p->rows = (int32_t)ceil_div(rows, p->pool_rows);
    p->cols = (int32_t)ceil_div(cols, p->pool_cols);
    p->cells = malloc((size_t)p->rows * (size_t)p->cols * sizeof *p->cells);
    return p->cells
               ? FASC_OK
               : fasc_fail(FASC_ENOMEM, "%s: no memory for %d x %d cells", call, p->rows, p->cols);
}

fasc_status fasc_pool_map(const char *call, const fasc_tensor *map, fasc_pool pool,
                          int32_t max_size, bool causal, int64_t diagonal, fasc_pooled *p)
{
    fasc_device *cpu;
    fasc_tensor *buffer = NULL;
    fasc_status status = lay_out(call, map, max_size, p);
    int64_t rows = map->shape[0], cols = map->shape[1];
    /* Whole cells: a band is a number of rows of cells, at least one. */
    int64_t cell_rows = BAND_ELEMENTS / cols / p->pool_rows;
    cell_rows = cell_rows < 1 ? 1 : cell_rows < p->rows ? cell_rows : p->rows;
    int64_t band_rows = cell_rows * p->pool_rows < rows ? cell_rows * p->pool_rows : rows;
    if (status == FASC_OK) {
        status = fasc_device_open("cpu", &cpu);
    }
    if (status == FASC_OK) {
        const int64_t capacity = band_rows * cols;
        status = fasc_tensor_empty(cpu, FASC_F32, 1, &capacity, &buffer);
    }
    for (int64_t first = 0; first < rows && status == FASC_OK; first += band_rows) {
        int64_t here = rows - first < band_rows ? rows - first : band_rows;
        int64_t cell_first = first / p->pool_rows, cell_count = ceil_div(here, p->pool_rows);
        if (fasc_cancel_requested()) {
            status = fasc_fail(FASC_ECANCELED, "%s: canceled", call);
            break;
        }
        status = fetch(map, first, here, buffer);
        if (status != FASC_OK) {
            break;
        }
        const float *band = fasc_tensor_data(buffer);
        int64_t nan = 0, masked = 0;
        double lowest = p->lowest;
#pragma omp parallel for schedule(static) num_threads(fasc_num_threads())                          \
    reduction(+ : nan, masked) reduction(min : lowest)
        for (int64_t c = 0; c < cell_count; c++) {
            int64_t r = c * p->pool_rows;
            int64_t n = here - r < p->pool_rows ? here - r : p->pool_rows;
            tally t = pool_rows(band + r * cols, cols, first + r, n, pool, causal, diagonal, p,
                                p->cells + (cell_first + c) * p->cols);
            nan += t.nan;
            masked += t.masked;
            lowest = t.lowest < lowest ? t.lowest : lowest;
        }
        p->nan_count += nan;
        p->masked_count += masked;
        p->lowest = lowest;
    }
    fasc_tensor_free(buffer);
    if (status != FASC_OK) {
        fasc_pooled_free(p);
    }
    return status;
}

void fasc_pooled_free(fasc_pooled *pooled)
{
    free(pooled->cells);
    pooled->cells = NULL;
}
