/* problem.h - from a caller's attention arguments to a checked fasc_problem; shared by
 * fasc_attention, fasc_attention_query and fasc_attention_check. */
#ifndef FASC_PROBLEM_H
#define FASC_PROBLEM_H

#include "backend.h"

/* The outputs that fasc_attention_args can name, one row each. */
typedef enum fasc_output_shape {
    FASC_OUTPUT_LIKE_Q,    /* (B, Hq, Nq, D) */
    FASC_OUTPUT_ROWS,      /* (B, Hq, Nq) */
    FASC_OUTPUT_SCORES,    /* (B, Hq, Nq, Nk) */
    FASC_OUTPUT_TOPK,      /* (B, Hq, Nq, k) */
    FASC_OUTPUT_COLUMNS,   /* (B, Hq or Hk, keys of the range) */
    FASC_OUTPUT_DIAGONALS, /* (B, Hq, Nq + Nk - 1) */
    FASC_OUTPUT_TILES,     /* (B, Hq, query tiles, key tiles) */
    FASC_OUTPUT_HEADS      /* (Hq) */
} fasc_output_shape;

typedef struct fasc_output {
    const char *name;
    size_t offset; /* of its tensor in fasc_attention_args */
    fasc_output_shape shape;
} fasc_output;

extern const fasc_output fasc_outputs[FASC_OUTPUT_COUNT];

/* The tensor that args give for an output; NULL when it is not wanted. */
fasc_tensor *fasc_output_tensor(const fasc_attention_args *args, const fasc_output *output);

/* True for row_argmax and topk_indices, which are i32. */
bool fasc_output_is_index(const fasc_output *output);

/* The shape that an output of a problem must have; *rank of shape[4] are set. */
void fasc_output_shape_of(const fasc_problem *problem, const fasc_output *output, int32_t *rank,
                          int64_t shape[4]);

/* Checks every argument but the kernel's name (the backend knows its kernels) and fills
 * problem, which keeps pointing at args. any_device: tensors need not share q's device.
 * Messages begin with `call`. */
fasc_status fasc_problem_from_args(const char *call, const fasc_attention_args *args,
                                   bool any_device, fasc_problem *problem);

/* Pairs (i, j) of one head that the band leaves visible. */
double fasc_problem_visible_pairs(const fasc_problem *problem);

#endif
