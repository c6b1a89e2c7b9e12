/* pool.h - a map of any size brought down to a grid of cells, each of which stands for a rectangle
 * of it. Nothing is skipped: a single hot element survives max pooling, mass keeps row totals. */
#ifndef FASC_IO_POOL_H
#define FASC_IO_POOL_H

#include "backend.h"

/* What is pooled, and how; see fasc_pool_args. */
typedef struct fasc_pooling {
    const char *call;         /* for messages */
    const fasc_tensor *map;   /* rank 2, not empty, on any device */
    const fasc_tensor *minus; /* NULL, or of that shape */
    fasc_pool pool;
    int32_t pool_rows, pool_cols;
    bool causal;
    int64_t diagonal;
    double *col_sum; /* NULL = not wanted */
    float *entropy;  /* NULL = not wanted */
} fasc_pooling;

/* What the elements were. */
typedef struct fasc_pool_tally {
    int64_t nan_count, masked_count;
    double lowest; /* of the elements that are neither masked nor NaN; +inf without any */
} fasc_pool_tally;

#define FASC_POOL_TALLY_NONE ((fasc_pool_tally){0, 0, INFINITY})

/* Fills rows [first, first + rows) of the cells, reading the map in bands; adds to the tally and to
 * col_sum. The result does not depend on the number of threads, or on how the rows are split over
 * calls. */
fasc_status fasc_pool_rows(const fasc_pooling *pooling, int64_t first, int64_t rows, float *cells,
                           fasc_pool_tally *tally);

/* Cells along a side of `length`. */
int64_t fasc_pool_cells(int64_t length, int32_t factor);

/* How many elements a cell takes of each side: the factor that brings the longer one to max_size
 * cells, but the shorter one keeps at least 64 cells, or all it has. */
fasc_status fasc_pool_factors(const char *call, const fasc_tensor *map, int32_t max_size,
                              int32_t *pool_rows, int32_t *pool_cols);

/* Widens [*low, *high] to the finite ones among n cells. */
void fasc_cells_span(const float *cells, size_t n, double *low, double *high);

/* The colours' numbers of n cells; see fasc_map_paint. */
void fasc_cells_paint(const float *cells, size_t n, int32_t scale, double low, double high,
                      uint8_t *colors);

#endif
