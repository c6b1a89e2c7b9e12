/* flash_split.h - flash attention with the keys split among blocks: few queries over many keys. */
#ifndef FASC_CUDA_FLASH_SPLIT_H
#define FASC_CUDA_FLASH_SPLIT_H

#include "cuda/attention.h"
#include "cuda/configs.h"

/* Parts that the problem's keys are best split into; 1 = it is better served without, or not served
 * here. What args->kernel.splits asks for, if it does. */
int32_t fasc_split_count(const fasc_cuda_device *d, const fasc_problem *problem);

/* Whether it can be served so; if not, `why` says so. */
bool fasc_split_can(const fasc_cuda_device *d, const fasc_problem *problem, char *why, size_t room);

/* As the functions of fasc_cuda_attention. */
fasc_status fasc_split_plan(fasc_cuda_device *d, const fasc_problem *problem,
                            fasc_attention_plan *plan);
fasc_status fasc_split_run(const fasc_cuda_call *call);
bool fasc_split_stage(const fasc_cuda_device *d, const fasc_problem *problem, int32_t index,
                      fasc_cuda_stage *stage);

/* The i-th configuration that ships; false past the last. */
bool fasc_split_config_at(int32_t i, fasc_cuda_config *config);
int32_t fasc_split_config_count(void);

#endif
