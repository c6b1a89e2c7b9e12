/* reduce.c - summaries and comparisons: launches of reduce.cu, and the result's way home. */
#include <math.h>

#include "cuda/cuda.h"
#include "cuda/walk.h"

enum { THREADS = 256, EACH = 8, MOST_BLOCKS = 1024 };

/* Both launches, and the final partial result into `result`. */
static fasc_status reduce(fasc_cuda_device *d, const fasc_walk_params *walk, const char *blocks,
                          const char *all, void *result, size_t result_bytes)
{
    /* As many blocks as the count says, whatever the device: so that sums repeat. */
    int64_t wanted = (walk->count + THREADS * EACH - 1) / (THREADS * EACH);
    fasc_reduce_params p = {.walk = *walk,
                            .blocks = (int32_t)(wanted < MOST_BLOCKS ? wanted : MOST_BLOCKS)};
    size_t bytes = (size_t)p.blocks * result_bytes;
    fasc_status status = fasc_cuda_block_take(d, bytes, NULL, &p.partial);
    if (status != FASC_OK) {
        return status;
    }
    int previous = fasc_cuda_enter(d);
    fasc_cuda_launch launch = {"kernels/reduce.cu", "", blocks, p.blocks, THREADS, 0};
    status = fasc_cuda_run_kernel(d, d->stream, &launch, &p);
    if (status == FASC_OK) {
        launch.entry = all;
        launch.blocks = 1;
        status = fasc_cuda_run_kernel(d, d->stream, &launch, &p);
    }
    if (status == FASC_OK) {
        status = fasc_cuda_check(
            d, cudaMemcpyAsync(result, p.partial, result_bytes, cudaMemcpyDeviceToHost, d->stream),
            "cudaMemcpyAsync");
    }
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaStreamSynchronize(d->stream), "cudaStreamSynchronize");
    }
    fasc_cuda_leave(previous);
    fasc_cuda_block_return(d, p.partial, bytes, NULL);
    return status;
}

fasc_status fasc_cuda_summarize(const fasc_tensor *t, fasc_summary *summary)
{
    fasc_walk_params walk = fasc_cuda_walk(t, NULL);
    fasc_summary_partial found;
    fasc_status status = reduce(fasc_cuda_of(t->storage->device), &walk, "summarize_blocks",
                                "summarize_all", &found, sizeof found);
    if (status != FASC_OK) {
        return status;
    }
    bool numbers = found.nan_count < t->numel;
    int64_t finite = t->numel - found.nan_count - found.inf_count;
    summary->count = t->numel;
    summary->nan_count = found.nan_count;
    summary->inf_count = found.inf_count;
    summary->min = numbers ? found.min : (double)NAN;
    summary->max = numbers ? found.max : (double)NAN;
    summary->sum = found.sum;
    summary->mean = finite > 0 ? found.sum / (double)finite : (double)NAN;
    return FASC_OK;
}

fasc_status fasc_cuda_compare(const fasc_tensor *a, const fasc_tensor *b,
                              fasc_difference *difference)
{
    fasc_walk_params walk = fasc_cuda_walk(a, b);
    fasc_difference_partial found;
    fasc_status status = reduce(fasc_cuda_of(a->storage->device), &walk, "compare_blocks",
                                "compare_all", &found, sizeof found);
    if (status != FASC_OK) {
        return status;
    }
    difference->count = a->numel;
    difference->mismatch = found.mismatch;
    difference->max_abs = found.max_abs > 0 ? found.max_abs : 0;
    difference->max_rel = found.max_rel;
    difference->max_abs_index = found.mismatch > 0 ? found.first_mismatch : found.worst;
    return FASC_OK;
}
