/* linear.h - sums of logits in linear time: launches of kernels/linear.cu. */
#ifndef FASC_CUDA_LINEAR_H
#define FASC_CUDA_LINEAR_H

#include "cuda/flash.h"
#include "cuda/reducers.h"

/* One sum: of each query over the keys of the range that it sees, or of each key over queries. */
typedef struct fasc_linear_sum {
    bool keys; /* rows are keys */
    fasc_tensor *sum;
} fasc_linear_sum;

/* The index-th that a problem wants and the formula gives (it has no mask tensor); false past the
 * last. */
bool fasc_linear_at(const fasc_cuda_shares *shares, int32_t index, fasc_linear_sum *sum);

/* Workspace of one sum, a multiple of FASC_CUDA_ALIGN; sums take turns. */
size_t fasc_linear_workspace(const fasc_cuda_shares *shares);

fasc_status fasc_linear_run(fasc_cuda_device *d, const fasc_cuda_shares *shares,
                            const fasc_linear_sum *sum, const fasc_flash_inputs *inputs,
                            char *workspace, cudaStream_t stream);

enum { FASC_LINEAR_LAUNCHES = 3 };

/* Launch `index` of a sum. */
void fasc_linear_launch(const fasc_cuda_shares *shares, const fasc_linear_sum *sum, int32_t index,
                        fasc_cuda_stage *stage);

#endif
