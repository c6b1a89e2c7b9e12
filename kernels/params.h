/* params.h - what kernels are told at launch: plain C structs that the host and the device share.
 * No includes: int64_t and friends come from the includer. Strides are in elements. */
#ifndef FASC_PARAMS_H
#define FASC_PARAMS_H

/* fasc_dtype's numbers, for kernels that choose at run time. */
#define FASC_DTYPE_F16  1
#define FASC_DTYPE_BF16 2
#define FASC_DTYPE_F32  3
#define FASC_DTYPE_F64  4
#define FASC_DTYPE_I32  5
#define FASC_DTYPE_I64  6
#define FASC_DTYPE_U8   7

/* ---- tensors -------------------------------------------------------------- */

/* A tensor's elements in row-major order. Dimensions that lie behind one another in memory are
 * merged, so a contiguous tensor has rank 1. */
typedef struct fasc_view_params {
    void *data;
    int64_t stride[8];
    int32_t dtype;
} fasc_view_params;

/* ---- attention ------------------------------------------------------------ */

/* Strides: [0] batch, [1] head, [2] query, [3] key; 0 where the mask is broadcast. */
typedef struct fasc_mask_params {
    const void *data; /* NULL = no mask tensor */
    int64_t stride[4];
    int32_t dtype;
} fasc_mask_params;

/* A matrix of scores to store: element (b, h, i, j). data NULL = not wanted. */
typedef struct fasc_scores_params {
    void *data;
    int64_t stride[4];
    int32_t dtype;
} fasc_scores_params;

/* A number per row to store: element (b, h, i), f32. data NULL = not wanted. */
typedef struct fasc_rows_params {
    float *data;
    int64_t stride[3];
} fasc_rows_params;

#endif
