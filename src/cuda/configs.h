/* configs.h - the configurations that ship: what a GPU-less build compiles and checks. */
#ifndef FASC_CUDA_CONFIGS_H
#define FASC_CUDA_CONFIGS_H

#include "backend.h"

typedef struct fasc_cuda_config {
    const char *source, *macros;
    const char *arch; /* the only one that it is for; NULL = any */
} fasc_cuda_config;

/* The i-th; NULL past the last. */
const fasc_cuda_config *fasc_cuda_config_at(int32_t i);

#endif
