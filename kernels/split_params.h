/* split_params.h - what flash_split's kernels are told at launch; shared by the host and the
 * device. Plain C, no includes: the includer brings int64_t and friends. */
#ifndef FASC_SPLIT_PARAMS_H
#define FASC_SPLIT_PARAMS_H

#include "flash_params.h"

/* Part s of row n (counted over batch, query heads and queries) has number n * splits + s. */
typedef struct fasc_split_params {
    fasc_flash_params flash;
    float *parts;       /* head_dim numbers each */
    float *sums;        /* two each: the largest score, and the sum of weights under it */
    int32_t splits;     /* parts of a row */
    int32_t tiles;      /* key tiles of a split */
    int32_t begin, end; /* key tiles that some query sees */
} fasc_split_params;

/* Shared memory: Q and the stages of K and V; in the end two numbers and a row of the output for
 * each row and warp. */
#define FASC_SPLIT_TILES_BYTES(head_dim, warps, stages)                                            \
    (16 * (head_dim)*2 + 2 * (stages)*16 * (warps) * (head_dim)*2)
#define FASC_SPLIT_ROOM_BYTES(head_dim, warps) ((warps)*16 * ((head_dim) + 4 + 2) * 4)

#endif
