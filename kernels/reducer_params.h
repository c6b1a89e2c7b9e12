/* reducer_params.h - what the reducers, passes over the scores after the forward, are told at
 * launch; shared by the host and the device. Plain C: int64_t and friends come from the includer.
 *
 * A reducer keeps rows and streams columns. Rows are keys and columns queries (column sums), or
 * rows are queries and columns keys (top-k, pooled maps). Row r sees column c iff
 * r + lo <= c <= r + hi. */
#ifndef FASC_REDUCER_PARAMS_H
#define FASC_REDUCER_PARAMS_H

#include "params.h"
#include "topk_params.h"

/* Top-k's lists: entries of each, for k up to 4 slots; 0 without top-k. */
#define FASC_REDUCER_LENGTH(slots)      ((slots) <= 4 ? 16 : 32)
#define FASC_REDUCER_LISTS(topk, slots) ((topk) ? FASC_TOPK_BYTES(FASC_REDUCER_LENGTH(slots)) : 0)

/* Shared memory of reducer_sm80's blocks: rows, the stages of columns with their offsets, for
 * pooled maps (pools 1) the weights of a step and the parts of each row, for top-k the lists of
 * every 16 rows. */
#define FASC_REDUCER_SM80_SMEM_BYTES(head_dim, block_m, block_n, stages, pools, lists)             \
    ((head_dim)*2 * ((block_m) + (stages) * (block_n)) + 4 * (stages) * (block_n) +                \
     (block_m) / 16 * (lists) +                                                                    \
     ((pools) ? 4 * (block_m) * ((block_n) + 1) + 8 * (block_m) * ((block_n) + 2) : 0))

/* What is made of each row's (REDUCE, bits). */
#define FASC_REDUCE_SUM    1  /* probabilities: their sum; rows are keys */
#define FASC_REDUCE_MAX    2  /* and their maximum */
#define FASC_REDUCE_POOL   4  /* mass and maximum of each tile of probabilities; rows are queries */
#define FASC_REDUCE_TOPK   8  /* the largest logits and their columns; rows are queries */
#define FASC_REDUCE_LOGITS 16 /* the sum of S, what a mask tensor adds included */

/* Strides in elements: [0] batch, [1] head, [2] row, [3] place in the row. */
typedef struct fasc_reducer_output {
    void *data; /* NULL = not wanted */
    int64_t stride[4];
} fasc_reducer_output;

typedef struct fasc_reducer_params {
    const void *rows, *columns; /* 16-bit elements, unit column stride, rows 16-byte aligned */
    int64_t row_stride[3], column_stride[3];
    fasc_matrix_params mask; /* strides: batch, query head, row, column; data NULL = none */
    int64_t lo, hi;
    int32_t banded; /* 0: every row sees every column */
    int32_t rows_are_keys;
    int32_t batch, heads;
    int32_t row_group;                   /* result head h has row head h / row_group, */
    int32_t column_repeat, column_group; /* column heads h / column_group * column_repeat and on */
    int32_t column_heads;
    int32_t row_begin, row_end; /* that results are made of */
    int32_t column_begin, column_end;
    int32_t head_dim;
    float scale;
    /* -LSE log2(e) of every query, [batch * query heads][offset_pitch], -inf where there is none
     * and for a query that sees nothing; the pitch holds whole tiles. */
    const float *offset;
    int64_t offset_pitch;
    fasc_reducer_output sum, max; /* of row r at r - row_begin */
    fasc_reducer_output pool_mass, pool_max;
    fasc_topk_params topk;
    int32_t pool;       /* edge of a pooled tile */
    int32_t tiles;      /* row tiles of a head */
    int32_t items;      /* tiles * heads * batch */
    int32_t section;    /* heads worked on together, so that their columns share L2 */
    int32_t last_first; /* 1: the last rows see most */
    int32_t *counter;   /* zero at launch; NULL = items are dealt out in turn */
} fasc_reducer_params;

/* Queries' LSE to `offset` above: reducer_offsets.cu */
typedef struct fasc_offsets_params {
    const float *lse;
    int64_t stride[3];
    float *offset;
    int64_t pitch;
    int32_t heads;
    int32_t first, seqlen; /* queries [first, first + seqlen) have an LSE, the first in row 0 */
    int64_t count;         /* batch * heads * pitch */
} fasc_offsets_params;

/* row_max of all queries of a head, over the batch, to max_logit: reducer_offsets.cu */
typedef struct fasc_max_params {
    const float *row_max;
    int64_t stride[3];
    int64_t batch, seqlen;
    float *max_logit;
    int64_t head_stride;
} fasc_max_params;

#endif
