/* flash_params.h - what a flash kernel is told at launch; shared by the host and the device.
 * Plain C: int64_t and friends come from the includer. */
#ifndef FASC_FLASH_PARAMS_H
#define FASC_FLASH_PARAMS_H

#include "params.h"

/* Which scores are stored. */
#define FASC_SCORES_NONE   0
#define FASC_SCORES_LOGITS 1 /* scale * Q K^T, the whole matrix */
#define FASC_SCORES_MASKED 2 /* the same, -inf where a key is not visible */
#define FASC_SCORES_PROBS  3 /* softmax, 0 where a key is not visible */

/* How rows of scores and of the output reach memory. */
#define FASC_STORE_VECTOR  0 /* 16-byte aligned rows, unit column stride */
#define FASC_STORE_SCALAR  1 /* anything else */
#define FASC_STORE_SHIFTED 2 /* scores: unit column stride, rows that begin anywhere */

/* Dropout: a weight stays where its word (fasc_dropout_word in philox.h) is at least `threshold`,
 * and counts keep_scale times. Without: threshold 0, keep_scale 1. */
typedef struct fasc_dropout_params {
    uint64_t seed;
    uint32_t offset, threshold;
    float keep_scale;
} fasc_dropout_params;

/* Statistics of rows, NULL = not wanted, in this order of strides: elements of batch, head, row. */
typedef struct fasc_row_statistics_params {
    float *entropy, *mean_distance, *row_sum;
    int32_t *row_argmax;
    int64_t stride[4][3];
    int32_t key_begin, key_end; /* of row_sum */
} fasc_row_statistics_params;

/* What a row's scores came to, or those of a part of its keys. Sums are of weights 2^x, where
 * x = (s - max) log2(e). */
typedef struct fasc_row_totals {
    float max;      /* the largest score, as the softmax has it; -inf: no key is visible */
    float sum;      /* of weights */
    float entropy;  /* of weights times x */
    float distance; /* of weights times how far the key lies before the query */
    float row_sum;  /* of scores over the key range */
    int32_t argmax; /* the lowest key with the largest score, the largest number if there is none */
} fasc_row_totals;

/* Strides in elements: [0] batch, [1] head, [2] row, [3] column. */
typedef struct fasc_flash_params {
    const void *q, *k, *v; /* unit column stride, rows 16-byte aligned */
    void *out;             /* NULL = not wanted */
    void *scores;          /* NULL = not wanted */
    float *lse, *row_max;  /* NULL = not wanted */
    int64_t q_stride[3], k_stride[3], v_stride[3];
    int64_t out_stride[4], scores_stride[4], lse_stride[3], row_max_stride[3];
    fasc_matrix_params mask; /* data NULL = none; stride 0 where it is broadcast */
    int64_t lo, hi;          /* query i sees key j iff i + lo <= j <= i + hi */
    int32_t banded;          /* 0: every query sees every key */
    int32_t batch, heads_q, group;
    int32_t seqlen_q, seqlen_k, head_dim; /* head_dim <= the kernel's HEAD_DIM */
    float scale;                          /* of the logits */
    int32_t out_f32, scores_f32;          /* stored as f32 instead of q's dtype */
    int32_t out_store, scores_store;      /* FASC_STORE_... */
    int32_t section;                      /* heads whose K and V share L2; see tile order */
    float unit;      /* S of one in what the softmax works on: |scale|, or 1 with a mask tensor */
    float unit_log2; /* the same times log2(e), at least the smallest normal number */
    /* How far, in powers of two, S may pass what exponents are taken against before that follows:
     * the numbers have the room. 0 where the maximum itself is wanted. */
    float slack;
    fasc_dropout_params dropout;           /* for kernels that have it */
    fasc_row_statistics_params statistics; /* likewise */
} fasc_flash_params;

#endif
