/* flash_sm80.h - the configurations of flash_sm80.cu. */
#ifndef FASC_CUDA_FLASH_SM80_H
#define FASC_CUDA_FLASH_SM80_H

#include "backend.h"

/* The macros of the i-th configuration that ships, and the first and last compute capability that
 * it is for (last 0: any); false past the last. */
bool fasc_sm80_macros_at(int32_t i, int32_t *first, int32_t *last, char *macros, size_t room);

#endif
