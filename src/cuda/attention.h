/* attention.h - what the CUDA attention kernels share: the table's row, a call, and the plain
 * kernels' parameters. */
#ifndef FASC_CUDA_ATTENTION_H
#define FASC_CUDA_ATTENTION_H

#include "cuda/cuda.h"

#include "params.h"

/* One call of a planned kernel. */
typedef struct fasc_cuda_call {
    fasc_cuda_device *d;
    const fasc_problem *problem;
    const fasc_attention_plan *plan;
    cudaStream_t stream;
    char *workspace; /* plan->workspace_bytes less FASC_CUDA_ALIGN, aligned to it */
} fasc_cuda_call;

enum { FASC_CUDA_ALIGN = 256 };

static inline size_t fasc_cuda_aligned(size_t bytes)
{
    return (bytes + FASC_CUDA_ALIGN - 1) / FASC_CUDA_ALIGN * FASC_CUDA_ALIGN;
}

/* One launch of a plan, for reports: macros is room that launch.macros points into. */
typedef struct fasc_cuda_stage {
    fasc_cuda_launch launch;
    char macros[192];
} fasc_cuda_stage;

/* A row of the kernel table. */
typedef struct fasc_cuda_attention {
    const char *name, *arch; /* arch NULL: compiled for whatever the device is */
    const char *summary, *supports;
    bool block_m, block_n, stages, warps, splits;   /* settings of fasc_kernel_config it knows */
    uint32_t outputs;                               /* FASC_WANT of each that it computes */
    uint32_t (*fuses)(const fasc_problem *problem); /* and of more with this problem; NULL = none */
    bool passes; /* what it leaves of the outputs, reducers make: see reducers.h */
    bool dropout;
    /* Whether the problem is one that it serves better than those before it; NULL = none. Asked
     * where it can. */
    bool (*prefers)(const fasc_cuda_device *d, const fasc_problem *problem);
    /* Whether it can serve the problem, no f64 among it; if not, `why` says so in words after its
     * name. NULL: it always can. */
    bool (*can)(const fasc_cuda_device *d, const fasc_problem *problem, char *why, size_t room);
    /* Fills block_m to threads, config and workspace_bytes; may add to reason. kernel, arch and
     * reason are set. workspace_bytes counts FASC_CUDA_ALIGN bytes more than are used. */
    fasc_status (*plan)(fasc_cuda_device *d, const fasc_problem *problem,
                        fasc_attention_plan *plan);
    fasc_status (*run)(const fasc_cuda_call *call);
    /* The index-th kind of launch that run makes; false past the last. */
    bool (*stage)(const fasc_cuda_device *d, const fasc_problem *problem,
                  const fasc_attention_plan *plan, int32_t index, fasc_cuda_stage *stage);
} fasc_cuda_attention;

extern const fasc_cuda_attention fasc_cuda_naive, fasc_cuda_blas, fasc_cuda_flash_sm80,
    fasc_cuda_flash_sm90;

/* ---- what kernels are told ----------------------------------------------- */

/* Strides of the first `count` dimensions; 0 for those of one element, whose stride says nothing.
 */
static inline void fasc_cuda_strides(const fasc_tensor *t, int count, int64_t *stride)
{
    for (int i = 0; i < count; i++) {
        stride[i] = t->shape[i] > 1 ? t->stride[i] : 0;
    }
}

/* The problem's mask tensor; data NULL = none. */
static inline fasc_matrix_params fasc_cuda_mask_of(const fasc_problem *problem)
{
    fasc_matrix_params mask = {.data = (void *)(uintptr_t)problem->mask_data,
                               .dtype = (int32_t)problem->mask_dtype};
    for (int i = 0; i < 4; i++) {
        mask.stride[i] = problem->mask_stride[i];
    }
    return mask;
}

/* ---- the plain kernels (params.c) ---------------------------------------- */

/* The parameters of a problem as a whole: chunk, s and weights are left to fill in. */
fasc_attention_params fasc_cuda_params_of(const fasc_problem *problem);

/* Rows and heads that are worked on at a time: whole heads when at least one fits in `rows` rows of
 * S, else part of one. */
typedef struct fasc_cuda_chunk {
    int64_t heads, rows; /* most of both */
} fasc_cuda_chunk;

fasc_cuda_chunk fasc_cuda_chunk_of(const fasc_problem *problem, int64_t rows);

/* The next chunk after `c` (the first when c->heads is 0); false when there is none. */
bool fasc_cuda_next_chunk(const fasc_problem *problem, const fasc_cuda_chunk *size,
                          fasc_chunk_params *c);

/* Tensors that calls make up (params.c). */
/* A contiguous tensor of t's shape and dtype at `data`. */
fasc_tensor fasc_cuda_contiguous(const fasc_tensor *t, void *data);

/* True where P must be made: something other than logits is wanted. */
bool fasc_cuda_wants_softmax(const fasc_problem *problem);

#endif
