/* memory.h - storages: the memory that tensors look into, counted per device. */
#ifndef FASC_MEMORY_H
#define FASC_MEMORY_H

#include "backend.h"

/* New memory of a device, held by one reference; bytes may be 0. `call` begins the messages.
 * FASC_EPRESSURE past the soft limit, FASC_ENOMEM where it does not fit. */
fasc_status fasc_storage_new(const char *call, fasc_device *device, size_t bytes,
                             fasc_storage **storage);

/* The caller's memory, held by one reference; never freed, not counted. */
fasc_status fasc_storage_wrap(const char *call, fasc_device *device, void *data, size_t bytes,
                              fasc_storage **storage);

/* Hands it the pages that wrapped memory lies in: unmapped when the last reference goes. */
void fasc_storage_unmap_at_end(fasc_storage *storage, void *pages, size_t bytes);

void fasc_storage_retain(fasc_storage *storage);

/* Drops a reference; the last one returns owned memory to the device. NULL is allowed. */
void fasc_storage_release(fasc_storage *storage);

#endif
