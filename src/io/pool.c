/* pool.c - a map of any size brought down to a grid of cells. */
#include "pool.h"

#include <inttypes.h>
#include <math.h>

#define BAND_ELEMENTS ((int64_t)4 << 20) /* of the map that are in memory as f32 at a time */
#define KEPT_CELLS    64

int64_t fasc_pool_cells(int64_t length, int32_t factor)
{
    return length / factor + (length % factor != 0);
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
    return pool == FASC_POOL_MAX       ? s->max
           : pool == FASC_POOL_EXTREME ? (-s->min > s->max ? s->min : s->max)
           : pool == FASC_POOL_MASS    ? (float)(s->sum / (double)rows)
                                       : (float)(s->sum / (double)s->visible);
}

/* How many keys of row i are not past the causal line. */
static int64_t seen_keys(const fasc_pooling *p, int64_t i)
{
    int64_t cols = p->map->shape[1];
    /* i + diagonal may leave 64 bits; compare without the sum. */
    if (!p->causal || p->diagonal >= cols - 1 - i) {
        return cols;
    }
    return p->diagonal < -i - 1 ? 0 : i + p->diagonal + 1;
}

/* The cells of rows [first, first + rows) of the map, which stand in `band` one after another. */
static fasc_pool_tally pool_cell_row(const fasc_pooling *p, const float *band, int64_t first,
                                     int64_t rows, float *cells)
{
    fasc_pool_tally t = FASC_POOL_TALLY_NONE;
    int64_t cols = p->map->shape[1], count = fasc_pool_cells(cols, p->pool_cols);
    for (int64_t c = 0; c < count; c++) {
        int64_t begin = c * p->pool_cols;
        int64_t end = begin + p->pool_cols < cols ? begin + p->pool_cols : cols;
        sums s = {.max = -INFINITY, .min = INFINITY};
        for (int64_t r = 0; r < rows; r++) {
            int64_t limit = seen_keys(p, first + r);
            int64_t stop = limit < begin ? begin : limit < end ? limit : end;
            add(&s, band + r * cols + begin, stop - begin);
            s.masked += end - stop;
        }
        cells[c] = cell_value(&s, p->pool, rows);
        t.nan_count += s.nan;
        t.masked_count += s.masked;
        t.lowest = s.min < t.lowest ? (double)s.min : t.lowest;
    }
    return t;
}

/* ---- sums along the sides ----------------------------------------------------------- */

static float entropy_of(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        if (x[j] > 0) {
            sum -= (double)(x[j] * logf(x[j]));
        }
    }
    return (float)sum;
}

#define SUM_COLUMNS 512

/* Adds each key's visible finite elements, row after row, whatever thread has the key. */
static void add_columns(const fasc_pooling *p, const float *band, int64_t first, int64_t rows)
{
    int64_t cols = p->map->shape[1];
#pragma omp parallel for schedule(static) num_threads(fasc_num_threads())
    for (int64_t begin = 0; begin < cols; begin += SUM_COLUMNS) {
        for (int64_t r = 0; r < rows; r++) {
            int64_t limit = seen_keys(p, first + r), end = begin + SUM_COLUMNS;
            end = end < cols ? end : cols;
            end = end < limit ? end : limit;
            for (int64_t j = begin; j < end; j++) {
                float v = band[r * cols + j];
                p->col_sum[j] += fabsf(v) < INFINITY ? (double)v : 0.0;
            }
        }
    }
}

static void add_entropies(const fasc_pooling *p, const float *band, int64_t first, int64_t rows)
{
#pragma omp parallel for schedule(static) num_threads(fasc_num_threads())
    for (int64_t r = 0; r < rows; r++) {
        p->entropy[first + r] = entropy_of(band + r * p->map->shape[1], seen_keys(p, first + r));
    }
}

/* ---- the map ------------------------------------------------------------------------ */

/* Rows [first, first + rows) of a map as contiguous f32 on the CPU, in the buffer's front. */
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

/* What is masked in both stays masked: -inf - -inf would be NaN. */
static void subtract(float *x, const float *y, int64_t n)
{
#pragma omp parallel for simd schedule(static) num_threads(fasc_num_threads())
    for (int64_t i = 0; i < n; i++) {
        x[i] = x[i] == -INFINITY && y[i] == -INFINITY ? -INFINITY : x[i] - y[i];
    }
}

static fasc_status fetch_band(const fasc_pooling *p, int64_t first, int64_t rows,
                              fasc_tensor *const buffer[2])
{
    fasc_status status = fetch(p->map, first, rows, buffer[0]);
    if (status == FASC_OK && p->minus) {
        status = fetch(p->minus, first, rows, buffer[1]);
    }
    if (status == FASC_OK && p->minus) {
        subtract(fasc_tensor_data(buffer[0]), fasc_tensor_data(buffer[1]), rows * p->map->shape[1]);
    }
    return status;
}

static void pool_band(const fasc_pooling *p, const float *band, int64_t first, int64_t rows,
                      float *cells, fasc_pool_tally *tally)
{
    int64_t nan = 0, masked = 0, cols = p->map->shape[1];
    int64_t cell_cols = fasc_pool_cells(cols, p->pool_cols);
    double lowest = tally->lowest;
#pragma omp parallel for schedule(static) num_threads(fasc_num_threads())                          \
    reduction(+ : nan, masked) reduction(min : lowest)
    for (int64_t c = 0; c < fasc_pool_cells(rows, p->pool_rows); c++) {
        int64_t r = c * p->pool_rows;
        int64_t n = rows - r < p->pool_rows ? rows - r : p->pool_rows;
        fasc_pool_tally t = pool_cell_row(p, band + r * cols, first + r, n, cells + c * cell_cols);
        nan += t.nan_count;
        masked += t.masked_count;
        lowest = t.lowest < lowest ? t.lowest : lowest;
    }
    tally->nan_count += nan;
    tally->masked_count += masked;
    tally->lowest = lowest;
    if (p->col_sum) {
        add_columns(p, band, first, rows);
    }
    if (p->entropy) {
        add_entropies(p, band, first, rows);
    }
}

fasc_status fasc_pool_rows(const fasc_pooling *p, int64_t first, int64_t rows, float *cells,
                           fasc_pool_tally *tally)
{
    fasc_device *cpu;
    fasc_tensor *buffer[2] = {NULL, NULL};
    int64_t cols = p->map->shape[1], cell_cols = fasc_pool_cells(cols, p->pool_cols);
    int64_t begin = first * p->pool_rows, end = (first + rows) * p->pool_rows;
    end = end < p->map->shape[0] ? end : p->map->shape[0];
    /* Whole cells: a band is a number of rows of cells, at least one. */
    int64_t cell_rows = BAND_ELEMENTS / cols / p->pool_rows;
    cell_rows = cell_rows < 1 ? 1 : cell_rows < rows ? cell_rows : rows;
    int64_t band_rows =
        cell_rows * p->pool_rows < end - begin ? cell_rows * p->pool_rows : end - begin;
    const int64_t capacity = band_rows * cols;
    fasc_status status = fasc_device_open("cpu", &cpu);
    for (int i = 0; i < (p->minus ? 2 : 1) && status == FASC_OK; i++) {
        status = fasc_tensor_empty(cpu, FASC_F32, 1, &capacity, &buffer[i]);
    }
    for (int64_t at = begin; at < end && status == FASC_OK; at += band_rows) {
        int64_t here = end - at < band_rows ? end - at : band_rows;
        if (fasc_cancel_requested()) {
            status = fasc_fail(FASC_ECANCELED, "%s: canceled", p->call);
            break;
        }
        status = fetch_band(p, at, here, buffer);
        if (status == FASC_OK) {
            pool_band(p, fasc_tensor_data(buffer[0]), at, here,
                      cells + (at - begin) / p->pool_rows * cell_cols, tally);
        }
    }
    fasc_tensor_free(buffer[0]);
    fasc_tensor_free(buffer[1]);
    return status;
}

/* ---- sizes ---------------------------------------------------------------------------- */

static int32_t factor(int64_t length, int64_t wanted)
{
    int64_t most = length / KEPT_CELLS > 1 ? length / KEPT_CELLS : 1;
    return (int32_t)(wanted < most ? wanted : most);
}

fasc_status fasc_pool_factors(const char *call, const fasc_tensor *map, int32_t max_size,
                              int32_t *pool_rows, int32_t *pool_cols)
{
    int64_t rows = map->shape[0], cols = map->shape[1], longer = rows > cols ? rows : cols;
    int64_t wanted = longer / max_size + (longer % max_size != 0);
    if (wanted > INT32_MAX) {
        return fasc_fail(FASC_EINVAL,
                         "%s: map: a side of %" PRId64 " is too long for max_size %" PRId32, call,
                         longer, max_size);
    }
    *pool_rows = rows >= cols ? (int32_t)wanted : factor(rows, wanted);
    *pool_cols = cols >= rows ? (int32_t)wanted : factor(cols, wanted);
    return FASC_OK;
}
