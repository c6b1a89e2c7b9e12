/* reducers.h - passes over the scores after a flash kernel's forward, for statistics that a walk
 * along the queries cannot give: sums and maxima of columns, diagonals, pooled maps, top-k, and
 * sums of logits by the linear formula. The plain kernels (naive, blas) need none: see
 * statistics.h. */
#ifndef FASC_CUDA_REDUCERS_H
#define FASC_CUDA_REDUCERS_H

#include "cuda/attention.h"

/* A problem as a flash kernel and the passes after it share it. The forward computes what it can,
 * and the LSE and row_max that passes need, into their workspace where the caller does not want
 * them. Points into itself: not to be copied. */
typedef struct fasc_cuda_shares {
    fasc_problem forward, passes;
    fasc_attention_args forward_args, passes_args;
    fasc_tensor lse, row_max; /* data is set when there is a workspace */
    fasc_tensor q;            /* the queries of the range, where the forward needs no others */
    int64_t first;            /* query of the LSE's first row */
    bool needs_lse, needs_row_max;
    bool hopper; /* passes are those for Hopper where they can */
} fasc_cuda_shares;

/* Outputs of the problem that passes make when a kernel leaves them; 0 where they cannot serve it,
 * with the reason. */
uint32_t fasc_reducers_serve(const fasc_problem *problem, char *why, size_t room);

/* Splits the problem between a kernel that computes `outputs` and the passes. */
void fasc_reducers_share(const fasc_cuda_device *d, const fasc_problem *problem, uint32_t outputs,
                         const char *arch, fasc_cuda_shares *shares);

/* Bytes of workspace that the passes take, a multiple of FASC_CUDA_ALIGN. */
size_t fasc_reducers_workspace(const fasc_cuda_device *d, const fasc_cuda_shares *shares);

/* Adds the passes to plan->config, in words. */
void fasc_reducers_describe(const fasc_cuda_device *d, const fasc_cuda_shares *shares,
                            fasc_attention_plan *plan);

/* Points the forward's lse and row_max into the workspace; before the forward runs. */
void fasc_reducers_place(const fasc_cuda_device *d, fasc_cuda_shares *shares, char *workspace);

/* Queues the passes; after the forward. */
fasc_status fasc_reducers_run(fasc_cuda_device *d, fasc_cuda_shares *shares, char *workspace,
                              cudaStream_t stream);

/* The index-th launch of the passes; false past the last. */
bool fasc_reducers_stage(const fasc_cuda_device *d, const fasc_cuda_shares *shares, int32_t index,
                         fasc_cuda_stage *stage);

#endif
