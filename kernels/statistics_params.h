/* statistics_params.h - what statistics.cu is told at launch; shared by the host and the device. */
#ifndef FASC_STATISTICS_PARAMS_H
#define FASC_STATISTICS_PARAMS_H

#include "params.h"

/* Outputs are f32 (int32 where they name keys), data NULL = not wanted; strides follow their
 * shapes. */
typedef struct fasc_statistics_params {
    fasc_attention_params a; /* its chunk and s: the logits of the chunk, unmasked */
    int64_t q0, q1, k0, k1;  /* ranges */
    int64_t column_heads;    /* of col_* */
    int64_t tile;            /* edge of pooled tiles */
    int32_t k;               /* of top-k */
    float *lse, *row_max;    /* of the chunk's rows: workspace */
    fasc_matrix_params entropy, mean_distance, row_sum, row_argmax;
    fasc_matrix_params topk_values, topk_indices;
    fasc_matrix_params col_sum_probs, col_sum_logits, col_max_probs;
    fasc_matrix_params diag_sum_probs, diag_sum_logits;
    fasc_matrix_params pooled_max, pooled_mass;
    fasc_matrix_params max_logit;
} fasc_statistics_params;

#endif
