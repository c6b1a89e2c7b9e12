/* configs.h - the configurations that ship: what a GPU-less build compiles and checks. */
#ifndef FASC_CUDA_CONFIGS_H
#define FASC_CUDA_CONFIGS_H

#include "backend.h"

typedef struct fasc_cuda_config {
    const char *source;
    const char *arch;    /* the only one that it is for; NULL = any */
    int32_t first, last; /* compute capabilities (80, 90, ...) that it is for; last 0 = any */
    char macros[192];
} fasc_cuda_config;

/* The i-th; false past the last. */
bool fasc_cuda_config_at(int32_t i, fasc_cuda_config *config);

#endif
