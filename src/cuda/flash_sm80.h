/* flash_sm80.h - the configurations of flash_sm80.cu. */
#ifndef FASC_CUDA_FLASH_SM80_H
#define FASC_CUDA_FLASH_SM80_H

#include "backend.h"

/* The macros of the i-th configuration that ships; false past the last. */
bool fasc_sm80_macros_at(int32_t i, char *macros, size_t room);

#endif
