/* configs.h - the configurations that ship: what a GPU-less build compiles and checks. */
#ifndef FASC_CUDA_CONFIGS_H
#define FASC_CUDA_CONFIGS_H

#include "backend.h"

/* The architectures that have a flash kernel of their own. */
#define FASC_CUDA_HOMES "sm_90a,sm_80"

typedef struct fasc_cuda_config {
    const char *source;
    const char *home; /* "sm_80,sm_90a": what it is compiled for when no architecture is named; NULL
                         = FASC_CUDA_HOMES */
    const char *arch; /* the only one that it is for; NULL = any */
    int32_t first, last; /* compute capabilities (80, 90, ...) that it is for; last 0 = any */
    char macros[192];
} fasc_cuda_config;

/* The i-th; false past the last. */
bool fasc_cuda_config_at(int32_t i, fasc_cuda_config *config);

#endif
