/* tile_kernels.h - the tables of tile.h on the vectors of simd.h. The including file says which
 * instruction set by its name, and gives the tables' names: GROUPS, and THIN for groups of one. */
#ifndef FASC_CPU_TILE_KERNELS_H
#define FASC_CPU_TILE_KERNELS_H

#include "cpu/simd.h"
#include "cpu/tile.h"
#include "cpu/tile_move.h"
#include "cpu/tile_products.h"
#include "cpu/tile_rows.h"
#include "cpu/tile_softmax.h"
#include "cpu/tile_statistics.h"
#include "cpu/tile_thin.h"
#include "cpu/tile_thin_statistics.h"

const fasc_tile_ops GROUPS = {
    .lanes = LANES,
    .group = COLUMNS * LANES,
    .transpose = tile_transpose,
    .scores = tile_scores,
    .hide = tile_hide,
    .add_mask = tile_add_mask,
    .raise_max = tile_raise_max,
    .softmax = tile_softmax,
    .values = tile_values,
    .values_carrying = LANES == 16 ? tile_values_carrying : NULL, /* a vector is a line */
    .normalise = tile_normalise,
    .probs = tile_probs,
    .softmax_more = tile_softmax_more,
    .drop = tile_drop,
    .add_scores = tile_add_scores,
    .argmax = tile_argmax,
    .topk = tile_topk,
    .add_columns = tile_add_columns,
    .raise_columns = tile_raise_columns,
    .add_diagonals = tile_add_diagonals,
    .blank = tile_blank,
    .add_scaled = tile_add_scaled,
    .raise_scaled = tile_raise_scaled,
    .join_sums = tile_join_sums,
    .join_maxima = tile_join_maxima,
    .fill = fill,
    .row_max = row_max,
    .row_sum = row_sum,
    .row_exp = row_exp,
    .row_probs = row_probs,
    .stream_end = vec_stream_end,
};

const fasc_tile_ops THIN = {
    .lanes = 1,
    .group = 1,
    .transpose = thin_transpose,
    .scores = thin_scores,
    .hide = thin_hide,
    .add_mask = thin_add_mask,
    .raise_max = thin_raise_max,
    .softmax = thin_softmax,
    .values = thin_values,
    .normalise = thin_normalise,
    .probs = thin_probs,
    .softmax_more = thin_softmax_more,
    .drop = thin_drop,
    .add_scores = thin_add_scores,
    .argmax = thin_argmax,
    .topk = thin_topk,
    .add_columns = thin_add_columns,
    .raise_columns = thin_raise_columns,
    .add_diagonals = thin_add_diagonals,
    .blank = thin_blank,
    .add_scaled = thin_add_scaled,
    .raise_scaled = thin_raise_scaled,
    .join_sums = thin_join_sums,
    .join_maxima = thin_join_maxima,
    .fill = fill,
    .row_max = row_max,
    .row_sum = row_sum,
    .row_exp = row_exp,
    .row_probs = row_probs,
    .stream_end = vec_stream_end,
};

#endif
