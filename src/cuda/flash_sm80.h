/* flash_sm80.h - the configurations of flash_sm80.cu. */
#ifndef FASC_CUDA_FLASH_SM80_H
#define FASC_CUDA_FLASH_SM80_H

#include "backend.h"

typedef struct fasc_sm80_config {
    int32_t head_dim, block_m, block_n, stages, warps; /* the kernel's macros */
} fasc_sm80_config;

extern const fasc_sm80_config FASC_SM80_CONFIG[];
int32_t fasc_sm80_config_count(void);

/* The macros of one compilation. */
void fasc_sm80_macros(const fasc_sm80_config *c, bool bf16, int32_t scores, bool f32, bool want_out,
                      char *macros, size_t room);

#endif
