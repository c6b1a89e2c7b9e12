/* cache.h - compiled kernels on disk: $XDG_CACHE_HOME/fasc (or ~/.cache/fasc), one file a key. Safe
 * with many processes at once: an entry is written under a temporary name and renamed. A damaged
 * one is noticed by its checksum. No failure here stops anything: the caller compiles and says why.
 */
#ifndef FASC_CUDA_CACHE_H
#define FASC_CUDA_CACHE_H

#include "backend.h"

typedef enum fasc_cache_state {
    FASC_CACHE_MISS = 0,
    FASC_CACHE_HIT = 1,
    FASC_CACHE_DAMAGED = 2 /* there, but not what was stored */
} fasc_cache_state;

/* key: hexadecimal digits. On a hit *data is malloc'ed. */
fasc_cache_state fasc_cache_load(const char *key, void **data, size_t *bytes);

/* True when stored; else `why` says in a line what was in the way. */
bool fasc_cache_store(const char *key, const void *data, size_t bytes, char *why, size_t room);

#endif
