/* diagonals_params.h - what diagonals.cu and diagonals_join.cu are told at launch; shared by the
 * host and the device. */
#ifndef FASC_DIAGONALS_PARAMS_H
#define FASC_DIAGONALS_PARAMS_H

#include "reducer_params.h"

#define FASC_DIAGONALS_TILE 64

typedef struct fasc_diagonals_params {
    const void *q, *k; /* 16-bit elements, unit column stride, rows 16-byte aligned */
    int64_t q_stride[3], k_stride[3];
    fasc_matrix_params mask; /* data NULL = none */
    int64_t least, most;     /* key - query of the diagonals that hold something visible */
    int32_t batch, heads, group;
    int32_t seqlen_q, seqlen_k, head_dim;
    int32_t q0, q1, k0, k1; /* ranges */
    float scale;
    const float *offset; /* see reducer_params.h; NULL for logits */
    int64_t offset_pitch;
    int32_t width;        /* keys of a stripe, a power of two */
    int32_t first, walks; /* the first stripe's number, and how many a head has */
    float *parts;         /* [2][batch * heads][entries] */
    int64_t entries;      /* seqlen_q + seqlen_k - 1 */
    float *sum;
    int64_t sum_stride[3];
} fasc_diagonals_params;

#endif
