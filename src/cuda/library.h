/* library.h - CUDA libraries opened on first use: NVRTC and cuBLAS take 0.1 to 2 s to load, and
 * only some programs need them. */
#ifndef FASC_CUDA_LIBRARY_H
#define FASC_CUDA_LIBRARY_H

#include "backend.h"

/* One function that is wanted: where its pointer goes. */
typedef struct fasc_symbol {
    const char *name;
    void *slot; /* a function pointer's address */
} fasc_symbol;

/* Opens lib<stem>.so of the toolkit's major version (or the one before) and fills `count` slots.
 * Looked in, in this order: $FASC_CUDA_LIBRARIES, the loader's own path, $CUDA_HOME/lib64,
 * $CUDA_PATH/lib64, the toolkit of the build, /usr/local/cuda/lib64. FASC_ENODEVICE with the
 * reason. Never closed. Not thread-safe: callers hold a lock. */
fasc_status fasc_library_open(const char *stem, const fasc_symbol *symbols, size_t count);

#endif
