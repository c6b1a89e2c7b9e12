/* split_params.h - what flash_split's kernels are told at launch; shared by the host and the
 * device. Plain C, no includes: the includer brings int64_t and friends. */
#ifndef FASC_SPLIT_PARAMS_H
#define FASC_SPLIT_PARAMS_H

#include "flash_params.h"

/* Rows are counted over batch, query heads and queries; part s of row n has number
 * n * splits + s. flash.scores is not used. */
typedef struct fasc_split_params {
    fasc_flash_params flash;
    float *parts;            /* head_dim numbers each */
    fasc_row_totals *totals; /* of each part; max and sum alone without EXTRAS */
    int32_t splits;          /* parts of a row */
    int32_t tiles;           /* key tiles of a split */
    int32_t begin, end;      /* key tiles that are walked over */
    /* With EXTRAS: */
    fasc_matrix_params logits, masked, probs; /* data NULL = not wanted */
    float *scores; /* S of row n from n * scores_pitch on, for probs, in tiles walked over */
    float *lse2;   /* of each row, in powers of two, for probs */
    int64_t scores_pitch;
    int32_t block_n;
} fasc_split_params;

/* Shared memory: Q, the stages of K and V, and with EXTRAS what is known of rows; in the end totals
 * and a row of the output for each row and warp. */
#define FASC_SPLIT_ROW_BYTES 48
#define FASC_SPLIT_TILES_BYTES(head_dim, warps, row_warps, stages, extras)                         \
    (16 * (row_warps) * (head_dim)*2 + 2 * (stages)*16 * (warps) * (head_dim)*2 +                  \
     ((extras) ? 16 * (row_warps)*FASC_SPLIT_ROW_BYTES : 0))
#define FASC_SPLIT_ROOM_BYTES(head_dim, warps) ((warps)*16 * (((head_dim) + 4) * 4 + 24))

#endif
