/* reducer_sm90_params.h - what Hopper's reducer is told at launch; shared by the host and the
 * device. */
#ifndef FASC_REDUCER_SM90_PARAMS_H
#define FASC_REDUCER_SM90_PARAMS_H

#include "reducer_params.h"
#include "sm90_params.h"

/* Boxes, with the 128-byte swizzle and dimensions (column, row, head, batch): 64 x 64 CONSUMERS of
 * rows, 64 x BLOCK_N of columns. */
typedef struct fasc_reducer_sm90_params {
    fasc_tensor_map row_map, column_map;
    fasc_reducer_params reduce;
    uint32_t *watchdog; /* see sm90_mbarrier.cuh */
} fasc_reducer_sm90_params;

/* Shared memory of a block: the buffers of rows, the stages of columns with their offsets, what
 * pooled maps meet in, barriers and item numbers, each warp's lists of top-k. */
#define FASC_REDUCER_SM90_SMEM_BYTES(head_dim, block_n, stages, consumers, buffers, lists)         \
    (FASC_SM90_PANELS(head_dim) * 128 * (64 * (consumers) * (buffers) + (block_n) * (stages)) +    \
     4 * (block_n) * (stages) + 64 * (consumers) * ((block_n) / 64) +                              \
     16 * ((buffers) + (stages)) + 16 + 4 * (consumers) * (lists))

#define FASC_BARRIER_ROWS_FULL     8
#define FASC_BARRIER_ROWS_EMPTY    9
#define FASC_BARRIER_COLUMNS_FULL  10
#define FASC_BARRIER_COLUMNS_EMPTY 11

#endif
