/* linear_params.h - what linear.cu is told at launch; shared by the host and the device. Geometry
 * as in reducer_params.h. */
#ifndef FASC_LINEAR_PARAMS_H
#define FASC_LINEAR_PARAMS_H

#include "params.h"

#define FASC_LINEAR_TILE 64

typedef struct fasc_linear_params {
    const void *rows, *columns; /* 16-bit elements, unit column stride */
    int64_t row_stride[3], column_stride[3];
    int64_t lo, hi;
    int32_t banded;
    int32_t batch, heads;
    int32_t row_group, column_repeat, column_group, column_heads;
    int32_t row_begin, row_end, column_begin, column_end;
    int32_t columns_count; /* of the sequence */
    int32_t head_dim;
    int32_t tiles; /* ceil(columns_count / FASC_LINEAR_TILE) */
    double scale;
    double *prefix;  /* [batch * column_heads][tiles + 1][head_dim] */
    int32_t *spoilt; /* [batch * column_heads], zero at launch */
    float *sum;
    int64_t sum_stride[3];
} fasc_linear_params;

#endif
