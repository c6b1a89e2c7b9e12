/* rows.h - rows of attention's tensors, as the kernels that keep whole rows handle them. */
#ifndef FASC_CPU_ROWS_H
#define FASC_CPU_ROWS_H

#include "backend.h"
#include "dtype.h"

/* Address of element (b, h, i, 0) of a tensor of rank 4, (b, h, i) of rank 3. */
static inline char *fasc_row(const fasc_tensor *t, int64_t b, int64_t h, int64_t i)
{
    return t->data + (b * t->stride[0] + h * t->stride[1] + i * t->stride[2]) *
                         (int64_t)fasc_dtype_size(t->dtype);
}

/* Row (b, h, i) = values; nothing where t is NULL. */
void fasc_store_row(fasc_tensor *t, int64_t b, int64_t h, int64_t i, const float *values);

/* LSE and row_max of row (b, h, i) from its largest score (a NaN passed over) and the sum of
 * exp(score - largest), which is NaN if a score is; nothing where they are not wanted. */
void fasc_store_statistics(const fasc_problem *problem, int64_t b, int64_t h, int64_t i,
                           float largest, double sum);

/* Keys [begin, end) of row (b, h, i) of the mask, as what is added to S: a u8 mask's 0 is -inf,
 * anything else 0. */
void fasc_mask_load_f32(const fasc_problem *problem, int64_t b, int64_t h, int64_t i, int64_t begin,
                        int64_t end, float *dst);
void fasc_mask_load_f64(const fasc_problem *problem, int64_t b, int64_t h, int64_t i, int64_t begin,
                        int64_t end, double *dst);

/* Turns a row of logits (all keys) into S: adds the mask, and -inf where query i does not see the
 * key. mask: scratch for seqlen_k floats, needed if the problem has a mask. */
void fasc_hide_row(const fasc_problem *problem, int64_t b, int64_t h, int64_t i, float *scores,
                   float *mask);

/* True if no element of the rows is NaN or infinite. */
bool fasc_all_finite(const float *data, int64_t ld, int64_t rows, int64_t columns);

#endif
