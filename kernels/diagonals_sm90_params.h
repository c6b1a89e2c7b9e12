/* diagonals_sm90_params.h - what diagonals_sm90.cu is told at launch; shared by the host and the
 * device. */
#ifndef FASC_DIAGONALS_SM90_PARAMS_H
#define FASC_DIAGONALS_SM90_PARAMS_H

#include "diagonals_params.h"
#include "reducer_sm90_params.h"

/* Boxes 64 x 64, with the 128-byte swizzle and dimensions (column, row, head, batch). */
typedef struct fasc_diagonals_sm90_params {
    fasc_tensor_map q_map, k_map;
    fasc_diagonals_params sums;
    uint32_t *watchdog; /* see sm90_mbarrier.cuh */
} fasc_diagonals_sm90_params;

/* Keys that a stripe is wide. */
#define FASC_DIAGONALS_SM90_WIDTH(consumers) (2 * (consumers)*FASC_DIAGONALS_TILE)

#define FASC_DIAGONALS_SM90_SMEM_BYTES(head_dim, chunks, stages)                                   \
    (((chunks) + (stages)) * ((head_dim)*2 * FASC_DIAGONALS_TILE + 16))

#endif
