/* blas.h - the parts of the `blas` kernel: its layout (blas_plan.c) and its run (blas.c). */
#ifndef FASC_CUDA_BLAS_H
#define FASC_CUDA_BLAS_H

#include "cuda/attention.h"
#include "cuda/gemm.h"

/* Macros of kernels/softmax.cu. */
typedef struct fasc_blas_softmax_config {
    int threads, rows, items;
} fasc_blas_softmax_config;

/* Where everything lies and which way the work goes. Offsets are into the workspace; SIZE_MAX = not
 * there. */
typedef struct fasc_blas_layout {
    /* The one tensor that the first product writes as it is asked for (logits, or masked scores
     * whose hidden elements are overwritten afterwards); NULL: scores go through the workspace. */
    const fasc_tensor *direct;
    bool hide;             /* direct is `masked` under a band */
    bool weights_in_probs; /* P for the second product is written straight into probs */
    bool repair; /* hidden or dropped pairs exist, so rows with a spoilt output are redone */
    fasc_cuda_chunk chunk;
    int64_t s_pitch, p_pitch; /* elements */
    size_t lse;     /* (B, Hq, Nq), where rows may need repair and the caller wants no LSE */
    size_t s, p;    /* the same where P takes S's place, row by row */
    size_t q, k, v; /* contiguous copies of inputs that cuBLAS cannot read as they lie */
    size_t out;     /* contiguous output, where cuBLAS cannot write out as it lies */
    size_t statistics;
    size_t bytes;
    fasc_blas_softmax_config softmax;
} fasc_blas_layout;

/* rows: query rows of S at a time, over all heads; 0 = the library's choice. */
fasc_blas_layout fasc_blas_layout_of(const fasc_cuda_device *d, const fasc_problem *problem,
                                     int64_t rows);

fasc_status fasc_blas_plan(fasc_cuda_device *d, const fasc_problem *problem,
                           fasc_attention_plan *plan);
fasc_status fasc_blas_run(const fasc_cuda_call *call);

/* Launches beside cuBLAS's own: the softmax, the repair, the hiding. */
fasc_cuda_stage fasc_blas_softmax(const fasc_problem *problem, const fasc_blas_layout *layout,
                                  const fasc_chunk_params *chunk);
fasc_cuda_stage fasc_blas_repair(const fasc_problem *problem);
fasc_cuda_stage fasc_blas_hide(const fasc_cuda_device *d, const fasc_problem *problem);

#endif
