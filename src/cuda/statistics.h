/* statistics.h - launches of kernels/statistics.cu: the statistics of kernels that hold S in
 * memory. */
#ifndef FASC_CUDA_STATISTICS_H
#define FASC_CUDA_STATISTICS_H

#include "cuda/attention.h"

/* Outputs that come from here. */
#define FASC_WANT_STATISTICS (FASC_WANT_ALL & ~FASC_WANT_FORWARD)

/* Bytes of workspace for chunks of so many rows; 0 when no statistic is wanted. */
size_t fasc_statistics_workspace(const fasc_problem *problem, int64_t rows);

/* Queues them for one chunk: p->chunk and p->s hold its logits, unmasked, which are only read. */
fasc_status fasc_statistics_run(const fasc_cuda_call *call, const fasc_attention_params *p,
                                char *workspace);

/* Launch `index` for a chunk; false past the last. */
bool fasc_statistics_stage(const fasc_problem *problem, const fasc_chunk_params *chunk,
                           int32_t index, fasc_cuda_stage *stage);

#endif
