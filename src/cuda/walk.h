/* walk.h - tensors as kernels walk over them: see fasc_walk_params in kernels/params.h. */
#ifndef FASC_CUDA_WALK_H
#define FASC_CUDA_WALK_H

#include "backend.h"

#include "params.h"

/* A walk over a, and b (NULL = none) of the same shape; dimensions that lie evenly behind one
 * another in both are merged, those of size 1 dropped. */
fasc_walk_params fasc_cuda_walk(const fasc_tensor *a, const fasc_tensor *b);

/* True when a walk's tensor t (0 or 1) is one run of neighbouring elements. */
static inline bool fasc_cuda_walk_is_run(const fasc_walk_params *walk, int t)
{
    return walk->rank == 1 && (walk->stride[t][0] == 1 || walk->count == 1);
}

#endif
