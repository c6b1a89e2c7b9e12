/* walk.c - merging dimensions. */
#include "cuda/walk.h"

static bool merges(const fasc_walk_params *walk, int64_t extent, int64_t stride_a, int64_t stride_b)
{
    int32_t last = walk->rank - 1;
    return last >= 0 && walk->stride[0][last] == extent * stride_a &&
           walk->stride[1][last] == extent * stride_b;
}

fasc_walk_params fasc_cuda_walk(const fasc_tensor *a, const fasc_tensor *b)
{
    fasc_walk_params walk = {.count = a->numel};
    walk.data[0] = a->data;
    walk.dtype[0] = (int32_t)a->dtype;
    walk.data[1] = b ? b->data : NULL;
    walk.dtype[1] = b ? (int32_t)b->dtype : 0;
    for (int32_t i = 0; i < a->rank; i++) {
        int64_t extent = a->shape[i], stride_a = a->stride[i], stride_b = b ? b->stride[i] : 0;
        if (extent == 1) {
            continue;
        }
        if (merges(&walk, extent, stride_a, stride_b)) {
            walk.shape[walk.rank - 1] *= extent;
        } else {
            walk.shape[walk.rank++] = extent;
        }
        walk.stride[0][walk.rank - 1] = stride_a;
        walk.stride[1][walk.rank - 1] = stride_b;
    }
    if (walk.rank == 0) { /* one element */
        walk.rank = 1;
        walk.shape[0] = walk.stride[0][0] = walk.stride[1][0] = 1;
    }
    return walk;
}
