/* diagonals.h - sums along the diagonals of the scores: launches of kernels/diagonals*.cu. */
#ifndef FASC_CUDA_DIAGONALS_H
#define FASC_CUDA_DIAGONALS_H

#include "cuda/configs.h"
#include "cuda/flash.h"
#include "cuda/reducers.h"

/* The index-th sum that a problem wants, and whether it is of probabilities; false past the last.
 */
bool fasc_diagonals_at(const fasc_cuda_shares *shares, int32_t index, fasc_tensor **sum,
                       bool *probs);

/* Workspace of one sum, a multiple of FASC_CUDA_ALIGN; sums take turns. */
size_t fasc_diagonals_workspace(const fasc_cuda_shares *shares);

fasc_status fasc_diagonals_run(fasc_cuda_device *d, const fasc_cuda_shares *shares,
                               fasc_tensor *sum, bool probs, const fasc_flash_inputs *inputs,
                               const float *offset, int64_t offset_pitch, char *workspace,
                               cudaStream_t stream);

enum { FASC_DIAGONALS_LAUNCHES = 2 };

/* Whether the walks are Hopper's. */
bool fasc_diagonals_is_hopper(const fasc_cuda_shares *shares);

/* Launch `index` of a sum. */
void fasc_diagonals_launch(const fasc_cuda_device *d, const fasc_cuda_shares *shares, bool probs,
                           int32_t index, fasc_cuda_stage *stage);

/* The configurations that ship; i from 0 to below the count. */
enum { FASC_DIAGONALS_CONFIGS = 28 };
void fasc_diagonals_config_at(int32_t i, fasc_cuda_config *config);

#endif
