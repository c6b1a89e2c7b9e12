/* walk.h - a tensor's elements in row-major order, any part of them, to and from plain arrays.
 * Neighbouring dimensions that are evenly spaced count as one, so a contiguous tensor is one run.
 */
#ifndef FASC_CPU_WALK_H
#define FASC_CPU_WALK_H

#include "backend.h"

typedef struct fasc_walk {
    char *data;
    fasc_dtype dtype;
    int32_t rank; /* at least 1 */
    int64_t shape[FASC_MAX_RANK], stride[FASC_MAX_RANK];
} fasc_walk;

fasc_walk fasc_walk_over(const fasc_tensor *t);

/* Elements first .. first + n - 1. */
void fasc_walk_load_f64(const fasc_walk *walk, int64_t first, int64_t n, double *dst);
void fasc_walk_store_f32(const fasc_walk *walk, int64_t first, int64_t n, const float *src);
void fasc_walk_store_f64(const fasc_walk *walk, int64_t first, int64_t n, const double *src);

#endif
