/* flash_sm90.h - the compilations of flash_sm90.cu that ship. */
#ifndef FASC_CUDA_FLASH_SM90_H
#define FASC_CUDA_FLASH_SM90_H

#include "backend.h"

/* The i-th set of macros that the planner can choose; false past the last. */
bool fasc_sm90_macros_at(int32_t i, char *macros, size_t room);

#endif
