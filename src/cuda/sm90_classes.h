/* sm90_classes.h - rows of scores that do not start at multiples of 16 bytes, sorted into classes
 * of one phase so that the copy engine can store them: kernels/sm90_classes.cuh says how. */
#ifndef FASC_CUDA_SM90_CLASSES_H
#define FASC_CUDA_SM90_CLASSES_H

#include "backend.h"

#include "sm90_params.h"

/* How many classes the rows of a matrix of 16-bit scores make; 0 where there is no such order: its
 * heads start neither at rows of one numbering nor all at one phase, or have fewer rows than there
 * are classes, or rows go backwards. */
int32_t fasc_sm90_classes_of(const fasc_tensor *scores);

/* Row tiles of a head. */
int64_t fasc_sm90_classes_tiles(int64_t seqlen_q, int32_t classes, int32_t block_m);

/* What the kernel is told; `panels` of 64 columns leave in a box. There are classes. */
fasc_status fasc_sm90_classes_make(const fasc_tensor *scores, const fasc_tensor *q, int32_t block_m,
                                   int32_t panels, fasc_sm90_classes *classes);

#endif
