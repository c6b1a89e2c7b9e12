/* copy.c - one tensor to another on the device: which of copy.cu's three ways serves. */
#include <stdio.h>
#include <string.h>

#include "cuda/cuda.h"
#include "cuda/walk.h"

enum { THREADS = 256, TILE = 32, SHORTEST_SIDE = 8 };

static bool is_vector_place(const fasc_walk_params *walk, int t, int64_t vector)
{
    if ((uintptr_t)walk->data[t] % 16 != 0 || walk->stride[t][walk->rank - 1] != 1) {
        return false;
    }
    for (int32_t i = 0; i < walk->rank - 1; i++) {
        if (walk->stride[t][i] % vector != 0) {
            return false;
        }
    }
    return true;
}

/* Counts vectors instead of elements in the last dimension; false where rows are not aligned. */
static bool take_vectors(fasc_copy_params *p, int64_t vector)
{
    fasc_walk_params *walk = &p->walk;
    int32_t last = walk->rank - 1;
    if (walk->shape[last] < vector || !is_vector_place(walk, 0, vector) ||
        !is_vector_place(walk, 1, vector)) {
        return false;
    }
    p->inner = walk->shape[last];
    walk->shape[last] = (p->inner + vector - 1) / vector;
    walk->stride[0][last] = walk->stride[1][last] = vector;
    walk->count = walk->count / p->inner * walk->shape[last];
    return true;
}

static void swap_dimensions(fasc_walk_params *walk, int32_t i, int32_t j)
{
    int64_t *lists[] = {walk->shape, walk->stride[0], walk->stride[1]};
    for (int n = 0; n < 3; n++) {
        int64_t kept = lists[n][i];
        lists[n][i] = lists[n][j];
        lists[n][j] = kept;
    }
}

static int32_t fastest(const fasc_walk_params *walk, int t)
{
    for (int32_t i = 0; i < walk->rank; i++) {
        if (walk->stride[t][i] == 1 && walk->shape[i] >= SHORTEST_SIDE) {
            return i;
        }
    }
    return -1;
}

/* Puts the source's fastest dimension before the destination's at the end; false where they are one
 * or there is none. *tiles: how many 32 x 32 ones that makes. */
static bool take_tiles(fasc_walk_params *walk, int64_t *tiles)
{
    int32_t from = fastest(walk, 0), to = fastest(walk, 1), last = walk->rank - 1;
    if (from < 0 || to < 0 || from == to) {
        return false;
    }
    swap_dimensions(walk, to, last);
    from = from == last ? to : from;
    swap_dimensions(walk, from, last - 1);
    walk->count /= walk->shape[last] * walk->shape[last - 1];
    *tiles = walk->count * ((walk->shape[last] + TILE - 1) / TILE) *
             ((walk->shape[last - 1] + TILE - 1) / TILE);
    return true;
}

fasc_status fasc_cuda_copy_on(fasc_cuda_device *d, cudaStream_t stream, const fasc_tensor *src,
                              const fasc_tensor *dst)
{
    fasc_copy_params p = {.walk = fasc_cuda_walk(src, dst)};
    size_t src_size = fasc_cuda_dtype_size(src->dtype), dst_size = fasc_cuda_dtype_size(dst->dtype);
    if (src->dtype == dst->dtype && fasc_cuda_walk_is_run(&p.walk, 0) &&
        fasc_cuda_walk_is_run(&p.walk, 1)) {
        return fasc_cuda_check(d,
                               cudaMemcpyAsync(dst->data, src->data, (size_t)src->numel * src_size,
                                               cudaMemcpyDeviceToDevice, stream),
                               "cudaMemcpyAsync");
    }
    char macros[64];
    snprintf(macros, sizeof macros, "SOURCE=%s TARGET=%s", fasc_cuda_dtype_name(src->dtype),
             fasc_cuda_dtype_name(dst->dtype));
    fasc_cuda_launch launch = {.source = "kernels/copy.cu", .macros = macros, .threads = THREADS};
    int64_t tiles;
    if (take_vectors(&p, (int64_t)(16 / (src_size < dst_size ? src_size : dst_size)))) {
        launch.entry = "copy_vectors";
        launch.blocks = fasc_cuda_blocks_for(d, p.walk.count, THREADS);
    } else if (take_tiles(&p.walk, &tiles)) {
        launch.entry = "copy_tiles";
        launch.blocks = fasc_cuda_blocks_for(d, tiles, 1);
    } else {
        launch.entry = "copy_elements";
        launch.blocks = fasc_cuda_blocks_for(d, p.walk.count, THREADS);
    }
    return fasc_cuda_run_kernel(d, stream, &launch, &p);
}

fasc_status fasc_cuda_copy(const fasc_tensor *src, fasc_tensor *dst)
{
    fasc_cuda_device *d = fasc_cuda_of(dst->storage->device);
    int previous = fasc_cuda_enter(d);
    fasc_status status = fasc_cuda_copy_on(d, d->stream, src, dst);
    fasc_cuda_leave(previous);
    return status;
}
