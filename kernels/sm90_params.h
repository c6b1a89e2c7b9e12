/* sm90_params.h - what the Hopper flash kernel is told at launch, and the names of its barriers;
 * shared by the host and the device. Plain C, no includes: uint64_t and friends come from the
 * includer. */
#ifndef FASC_SM90_PARAMS_H
#define FASC_SM90_PARAMS_H

#include "flash_params.h"
#include "topk_params.h"

/* CUtensorMap, by size and alignment. */
typedef struct fasc_tensor_map {
    uint64_t opaque[16];
} __attribute__((aligned(64))) fasc_tensor_map;

/* Rows of scores at any address: how far behind a multiple of FASC_SM90_ALIGN elements (32 bytes, a
 * sector of memory) a row starts repeats every `count` rows, so a block's rows are those of one
 * class, `count` apart. See sm90_classes.cuh. */
#define FASC_SM90_ALIGN 16
typedef struct fasc_sm90_classes {
    int32_t shift;  /* count is 1 << shift, at most FASC_SM90_ALIGN */
    int32_t longer; /* the first so many classes of a head have a row more than the others */
    int32_t tops;   /* of them, if that row takes a tile of its own; else 0 */
    /* A head's and a batch's rows, counted in row strides, where its first row is one of a row
     * number over all; 0 where heads are dimensions of the maps. */
    int32_t head_rows, batch_rows, heads_apart;
    fasc_tensor_map q_map[2];                    /* of the classes with a row more, of the others */
    fasc_tensor_map scores_map[FASC_SM90_ALIGN]; /* of row numbers modulo count */
} fasc_sm90_classes;

/* Boxes, all with the 128-byte swizzle. Dimensions (column, row, head, batch):
 *   q 64 x BLOCK_M    k, v 64 x BLOCK_N
 * (column in panel, panel, row, head, batch), with the row's whole panels only:
 *   scores 64 x BOX x 16 (32 x BOX x 16 for f32) */
typedef struct fasc_flash_sm90_params {
    fasc_tensor_map q_map, k_map, v_map, scores_map;
    fasc_flash_params flash;
    int32_t tiles_m;       /* row tiles of a head: ceil(seqlen_q / BLOCK_M), or of all classes */
    int32_t tiles;         /* tiles_m * heads_q * batch * pieces, or with parts */
    int32_t whole_tiles;   /* those behind them are cut into parts of 64 rows */
    int32_t *tile_counter; /* zero at launch; NULL = tiles are dealt out in turn */
    uint32_t *watchdog;    /* four words that the host can read, or NULL; see sm90_mbarrier.cuh */
    int32_t pieces;        /* that a tile's keys are cut into: 1 but for logits alone */
    uint32_t nothing;      /* 0: see wait_for in softmax.cuh */
    fasc_topk_params topk; /* with TOPK */
} fasc_flash_sm90_params;

/* With SCORE_STORE_CLASSES. */
typedef struct fasc_flash_sm90_classes_params {
    fasc_flash_sm90_params base;
    fasc_sm90_classes classes;
} fasc_flash_sm90_classes_params;

/* How a block's tiles of scores leave (SCORE_STORE). */
#define FASC_SCORE_STORE_TMA     0 /* rows and strides that a tensor map can hold */
#define FASC_SCORE_STORE_PLAIN   1 /* rows at any address */
#define FASC_SCORE_STORE_CLASSES 2 /* the same by TMA, rows of one phase at a time */

/* How products and softmax take turns (SCHEDULE). */
#define FASC_SCHEDULE_PINGPONG 0 /* one warpgroup's softmax runs under another's products */
#define FASC_SCHEDULE_OVERLAP  1 /* and a warpgroup's own softmax under its second product */

/* Statistics of rows beyond LSE and maximum (STATISTICS). */
#define FASC_STATISTICS_NONE 0
#define FASC_STATISTICS_SUMS 1 /* entropy and row_sum */
#define FASC_STATISTICS_ALL  2 /* and mean_distance and row_argmax */

/* What the band cuts (MASK). */
#define FASC_MASK_NONE 0 /* only keys past the end */
#define FASC_MASK_BAND 1 /* and what is outside i + lo <= j <= i + hi */

/* Whether tiles can be cut into parts of 64 rows, a warpgroup's: those that would not fill a last
 * round of the multiprocessors. */
#define FASC_SM90_PARTS(head_dim, consumers, scores, mask, want_out)                               \
    ((consumers) == 3 && (want_out) && (scores) != FASC_SCORES_NONE &&                             \
     ((head_dim) <= 64 || (mask) == FASC_MASK_NONE))

/* Panels of 128 bytes of scores that a warp fills and sends off together, its batch. */
#define FASC_SM90_BATCH(scores, block_n, f32)                                                      \
    ((scores) != FASC_SCORES_NONE && (block_n) / ((f32) ? 32 : 64) % 2 == 0 ? 2 : 1)

/* Those of them that lie row by row and leave in one box. Two store faster, but stmatrix meets bank
 * conflicts then: at small head_dim, with O, warps have no time for them. */
#define FASC_SM90_BOX(head_dim, block_n, scores, f32, want_out)                                    \
    ((want_out) && (head_dim) <= 64 ? 1 : FASC_SM90_BATCH(scores, block_n, f32))

/* How many such batches a warp has: TMA reads one while the next is filled, where there is room. */
#define FASC_SM90_SLOTS(head_dim, consumers, scores, f32, store, want_out)                         \
    ((scores) == FASC_SCORES_NONE || (store) == FASC_SCORE_STORE_PLAIN ||                          \
             ((want_out) && ((head_dim) > 128 ? (f32) : (head_dim) > 64 && (consumers) == 3))      \
         ? 1                                                                                       \
         : 2)

/* Shared memory of a block: Q, the stages of K and V, each warp's panels of 16 rows that scores and
 * O pass through (and 512 bytes behind them for scores in rows at any address), barriers and the
 * tile number. */
#define FASC_SM90_PANELS(head_dim) (((head_dim) + 63) / 64)
#define FASC_SM90_STAGE_BYTES(head_dim, block_n, consumers, scores, f32, store, want_out)          \
    (FASC_SM90_SLOTS(head_dim, consumers, scores, f32, store, want_out) *                          \
         FASC_SM90_BATCH(scores, block_n, f32) * 2048 +                                            \
     ((scores) != FASC_SCORES_NONE && (store) == FASC_SCORE_STORE_PLAIN ? 512 : 0))
#define FASC_SM90_SMEM_BYTES(head_dim, block_n, stages, consumers, scores, f32, store, want_out)   \
    (FASC_SM90_PANELS(head_dim) * 128 *                                                            \
         (64 * (consumers) + (block_n) * (stages) * ((want_out) ? 2 : 1)) +                        \
     4 * (consumers)*FASC_SM90_STAGE_BYTES(head_dim, block_n, consumers, scores, f32, store,       \
                                           want_out) +                                             \
     8 * (2 + 4 * (stages)) + 16 + ((store) == FASC_SCORE_STORE_CLASSES ? 128 * (consumers) : 0))

/* Names that the watchdog reports. */
#define FASC_BARRIER_Q_FULL  1
#define FASC_BARRIER_Q_EMPTY 2
#define FASC_BARRIER_K_FULL  3
#define FASC_BARRIER_K_EMPTY 4
#define FASC_BARRIER_V_FULL  5
#define FASC_BARRIER_V_EMPTY 6
#define FASC_BARRIER_ALIGN   7 /* shared memory does not start at a multiple of 1024 */
#define FASC_BARRIER_NAMES                                                                         \
    "none", "q_full", "q_empty", "k_full", "k_empty", "v_full", "v_empty", "smem_alignment"

#endif
