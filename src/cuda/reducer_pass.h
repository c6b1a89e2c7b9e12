/* reducer_pass.h - one launch of kernels/reducer_sm90.cu or reducer_sm80.cu. */
#ifndef FASC_CUDA_REDUCER_PASS_H
#define FASC_CUDA_REDUCER_PASS_H

#include "cuda/configs.h"
#include "cuda/flash.h"
#include "cuda/reducers.h"

typedef struct fasc_reducer_pass {
    int32_t reduce; /* FASC_REDUCE_... */
    bool keys;      /* rows are keys */
    fasc_tensor *sum, *max;
} fasc_reducer_pass;

/* The index-th pass that a problem needs; false past the last. */
bool fasc_reducer_pass_at(const fasc_cuda_shares *shares, int32_t index, fasc_reducer_pass *pass);

/* Queries that a row of offsets holds: whole tiles of every configuration. */
int64_t fasc_reducer_pitch(const fasc_problem *problem);

/* Whether the copy engine can read q and k, in place or after a copy. */
bool fasc_reducer_can_load(const fasc_problem *problem);

/* Whether a pass is one of Hopper's. */
bool fasc_reducer_is_hopper(const fasc_cuda_shares *shares, const fasc_reducer_pass *pass);

void fasc_reducer_launch(const fasc_cuda_device *d, const fasc_cuda_shares *shares,
                         const fasc_reducer_pass *pass, fasc_cuda_stage *stage);

/* Bytes of workspace that top-k's records take, 0 for other passes. */
size_t fasc_reducer_room(const fasc_cuda_device *d, const fasc_cuda_shares *shares);

/* Queues it. offset: see reducer_params.h; counter: an int32 of workspace; room: as above. */
fasc_status fasc_reducer_run(fasc_cuda_device *d, const fasc_cuda_shares *shares,
                             const fasc_reducer_pass *pass, const fasc_flash_inputs *inputs,
                             const float *offset, int32_t *counter, char *room,
                             cudaStream_t stream);

/* The configurations that ship; i from 0 to below the count. */
int32_t fasc_reducer_config_count(void);
void fasc_reducer_config_at(int32_t i, fasc_cuda_config *config);

#endif
