/* pool.h - a map of any size brought down to a grid of cells, each of which stands for a rectangle
 * of it. Nothing is skipped: a single hot element survives max pooling, mass keeps row totals. */
#ifndef FASC_IO_POOL_H
#define FASC_IO_POOL_H

#include "backend.h"

typedef struct fasc_pooled {
    int32_t rows, cols;           /* cells */
    int32_t pool_rows, pool_cols; /* elements of the map in a cell; fewer at the far edges */
    float *cells;                 /* row-major; -inf = all masked, NaN = a NaN among them */
    int64_t nan_count;            /* elements of the map */
    int64_t masked_count;
    double lowest; /* of the elements that are neither masked nor NaN; +inf without any */
} fasc_pooled;

/* Pools a rank-2 map, on any device, reading it in bands of rows. Element (i, j) is masked if it is
 * -inf, or if causal and j > i + diagonal. Masked elements count as nothing to max and mean and as
 * 0 to mass. Both sides are pooled by the factor that brings the longer one to max_size cells, but
 * the shorter one keeps at least 64 cells, or all it has. Free cells with fasc_pooled_free. */
fasc_status fasc_pool_map(const char *call, const fasc_tensor *map, fasc_pool pool,
                          int32_t max_size, bool causal, int64_t diagonal, fasc_pooled *pooled);

void fasc_pooled_free(fasc_pooled *pooled);

#endif
