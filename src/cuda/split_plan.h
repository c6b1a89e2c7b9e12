/* split_plan.h - how flash_split cuts a problem up: which configuration, into how many parts. */
#ifndef FASC_CUDA_SPLIT_PLAN_H
#define FASC_CUDA_SPLIT_PLAN_H

#include "cuda/attention.h"

typedef struct fasc_split_config {
    int32_t head_dim, warps,
        stages; /* the kernel's macros, but for ROW_WARPS: 1, 2, 4, up to warps */
} fasc_split_config;

enum { FASC_SPLIT_CONFIGS = 5 };
extern const fasc_split_config fasc_split_configs[FASC_SPLIT_CONFIGS];

/* The configuration for a problem; NULL with the reason. */
const fasc_split_config *fasc_split_choose(const fasc_cuda_device *d, const fasc_problem *problem,
                                           char *why, size_t room);

/* Anything beyond out, lse and row_max takes the kernel's other variant. */
bool fasc_split_has_extras(const fasc_problem *problem);

/* Warps with rows of their own: as many as there are rows for. */
int32_t fasc_split_row_warps(const fasc_problem *problem, const fasc_split_config *c);

/* Shared memory of a block. */
size_t fasc_split_smem(const fasc_cuda_device *d, const fasc_problem *problem,
                       const fasc_split_config *c);

/* Key tiles [*begin, *end) that are walked over: those that some query sees; for logits all. */
void fasc_split_tiles(const fasc_problem *problem, const fasc_split_config *c, int64_t *begin,
                      int64_t *end);

/* Blocks of one split. */
int64_t fasc_split_blocks(const fasc_problem *problem, const fasc_split_config *c);

#endif
