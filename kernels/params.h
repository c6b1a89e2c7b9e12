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

/* ---- tensors ------------------------------------------------------------- */

/* A walk over one or two tensors of one shape, in row-major order. The host merges dimensions that
 * lie evenly behind one another in memory, so a contiguous tensor has rank 1. */
typedef struct fasc_walk_params {
    int32_t rank;     /* at least 1 */
    int32_t reserved; /* 0 */
    int64_t count;    /* elements */
    int64_t shape[8];
    int64_t stride[2][8];
    void *data[2];
    int32_t dtype[2];
} fasc_walk_params;

/* fill: every element = a. arange: element n = a + n * b. uniform: in [lo, lo + range) =
 * [a, a + b). normal: mean a, standard deviation b. data[0] is written. */
typedef struct fasc_generate_params {
    fasc_walk_params walk;
    double a, b;
    uint64_t seed, stream;
} fasc_generate_params;

/* data[0] to data[1]. copy_vectors: the last dimension counts vectors, of `inner` elements in all.
 */
typedef struct fasc_copy_params {
    fasc_walk_params walk;
    int64_t inner;
} fasc_copy_params;

/* What one block found, and in the end what all did; see reduce.cu. */
typedef struct fasc_summary_partial {
    int64_t nan_count, inf_count;
    double min, max, sum; /* +inf and -inf where there is no number */
} fasc_summary_partial;

typedef struct fasc_difference_partial {
    int64_t mismatch, first_mismatch, worst; /* the last two: element numbers */
    double max_abs, max_rel;                 /* max_abs < 0 where no pair is finite */
} fasc_difference_partial;

typedef struct fasc_reduce_params {
    fasc_walk_params walk; /* data[0], and data[1] when comparing */
    void *partial;         /* one a block */
    int32_t blocks;
} fasc_reduce_params;

/* ---- attention ----------------------------------------------------------- */

/* Strides: [0] batch, [1] head, [2] query or key, [3] column. */
typedef struct fasc_matrix_params {
    void *data; /* NULL = not wanted */
    int64_t stride[4];
    int32_t dtype;
} fasc_matrix_params;

/* A number per row to store, element (b, h, i), f32. */
typedef struct fasc_rows_params {
    float *data; /* NULL = not wanted */
    int64_t stride[3];
} fasc_rows_params;

/* The part of an attention problem that one launch works on: rows [row, row + rows) of the heads
 * [head, head + heads), counted over batch and query heads (b * heads_q + h). */
typedef struct fasc_chunk_params {
    int64_t head, heads, row, rows;
} fasc_chunk_params;

/* What the plain kernels are told; each file says which of it it uses. s and weights hold one
 * chunk, row r of its n-th head: s at (n * rows + r) * s_pitch, weights at n * stride[1] + r *
 * stride[2]. */
typedef struct fasc_attention_params {
    int64_t heads_q, group, seqlen_q, seqlen_k, head_dim;
    int64_t lo, hi; /* query i sees key j iff i + lo <= j <= i + hi */
    float scale;
    fasc_chunk_params chunk;
    fasc_matrix_params q, k, v, out;
    fasc_matrix_params mask; /* data NULL = none; stride 0 where it is broadcast */
    fasc_matrix_params logits, masked, probs;
    fasc_rows_params lse, row_max;
    float *s; /* scores */
    int64_t s_pitch;
    fasc_matrix_params weights; /* P for the second product */
    int32_t dropout;            /* 1: a pair whose fasc_dropout_word is below the threshold is left
                                   out of the second product, the others count keep_scale times */
    uint32_t dropout_threshold, dropout_offset;
    float keep_scale;
    uint64_t seed;
} fasc_attention_params;

/* ---- measuring ----------------------------------------------------------- */

typedef struct fasc_hold_params {
    const volatile int32_t *release; /* host memory: not 0 lets the stream go on */
    uint64_t most_nanoseconds;
} fasc_hold_params;

typedef struct fasc_flush_params {
    const void *data;
    int64_t bytes; /* a multiple of 16 */
    int32_t *sink; /* written never, but the compiler cannot know */
} fasc_flush_params;

#endif
