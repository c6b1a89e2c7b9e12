/* memory.c - storages with their reference counts, and each device's accounts. */
#include "memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "validate.h"

/* ---- storages -------------------------------------------------------------- */

static void raise_peak(fasc_device *device, long long live)
{
    long long peak = atomic_load(&device->peak);
    while (live > peak && !atomic_compare_exchange_weak(&device->peak, &peak, live)) {
    }
}

static fasc_status new_record(const char *call, fasc_device *device, void *data, size_t bytes,
                              bool owned, fasc_storage **storage)
{
    fasc_storage *s = malloc(sizeof *s);
    if (!s) {
        return fasc_fail(FASC_ENOMEM, "%s: no memory for a storage's record of %zu bytes", call,
                         sizeof *s);
    }
    atomic_init(&s->refs, 1);
    s->owned = owned;
    s->data = data;
    s->bytes = bytes;
    s->device = device;
    s->pages = NULL;
    s->page_bytes = 0;
    *storage = s;
    return FASC_OK;
}

/* The bytes are counted before they are asked for, so that threads cannot pass the limit together.
 */
static fasc_status allocate(const char *call, fasc_device *device, size_t bytes, void **data)
{
    long long limit = atomic_load(&device->soft_limit);
    long long live = atomic_fetch_add(&device->live, (long long)bytes) + (long long)bytes;
    fasc_status status;
    if (limit > 0 && live > limit) {
        status = fasc_fail(FASC_EPRESSURE,
                           "%s: %zu bytes more than the %lld alive on %s pass its soft limit of "
                           "%lld",
                           call, bytes, live - (long long)bytes, device->name, limit);
    } else {
        status = device->backend->alloc(device, bytes, data);
        if (status != FASC_OK) {
            status = fasc_fail(status, "%s: %s", call, fasc_last_error());
        }
    }
    if (status != FASC_OK) {
        atomic_fetch_sub(&device->live, (long long)bytes);
        return status;
    }
    raise_peak(device, live);
    return FASC_OK;
}

fasc_status fasc_storage_new(const char *call, fasc_device *device, size_t bytes,
                             fasc_storage **storage)
{
    fasc_storage *s = NULL;
    fasc_status status = new_record(call, device, NULL, bytes, true, &s);
    if (status != FASC_OK) {
        return status;
    }
    status = allocate(call, device, bytes, &s->data);
    if (status != FASC_OK) {
        free(s);
        return status;
    }
    atomic_fetch_add(&device->count, 1);
    *storage = s;
    return FASC_OK;
}

fasc_status fasc_storage_wrap(const char *call, fasc_device *device, void *data, size_t bytes,
                              fasc_storage **storage)
{
    return new_record(call, device, data, bytes, false, storage);
}

void fasc_storage_unmap_at_end(fasc_storage *storage, void *pages, size_t bytes)
{
    storage->pages = pages;
    storage->page_bytes = bytes;
}

void fasc_storage_retain(fasc_storage *storage)
{
    atomic_fetch_add_explicit(&storage->refs, 1, memory_order_relaxed);
}

void fasc_storage_release(fasc_storage *storage)
{
    if (!storage || atomic_fetch_sub_explicit(&storage->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (storage->owned) {
        fasc_device *device = storage->device;
        device->backend->release(device, storage->data, storage->bytes);
        atomic_fetch_sub(&device->live, (long long)storage->bytes);
        atomic_fetch_sub(&device->count, 1);
    }
    if (storage->pages) {
        munmap(storage->pages, storage->page_bytes);
    }
    free(storage);
}

/* ---- accounts -------------------------------------------------------------- */

fasc_status fasc_memory_get(fasc_device *device, fasc_memory_stats *stats)
{
    fasc_status status = fasc_check_pointer("memory_get", "device", device);
    if (status == FASC_OK) {
        status = fasc_check_struct("memory_get", "stats", stats, sizeof *stats);
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_memory_stats s = {
        .size = sizeof s,
        .live = atomic_load(&device->live),
        .peak = atomic_load(&device->peak),
        .soft_limit = atomic_load(&device->soft_limit),
        .count = atomic_load(&device->count),
    };
    status = device->backend->memory(device, &s.cached, &s.free, &s.total);
    if (status == FASC_OK) {
        *stats = s;
    }
    return status;
}

fasc_status fasc_memory_reset_peak(fasc_device *device)
{
    fasc_status status = fasc_check_pointer("memory_reset_peak", "device", device);
    if (status == FASC_OK) {
        atomic_store(&device->peak, atomic_load(&device->live));
    }
    return status;
}

fasc_status fasc_memory_trim(fasc_device *device)
{
    fasc_status status = fasc_check_pointer("memory_trim", "device", device);
    return status == FASC_OK ? device->backend->trim(device) : status;
}

fasc_status fasc_memory_set_soft_limit(fasc_device *device, int64_t bytes)
{
    fasc_status status = fasc_check_pointer("memory_set_soft_limit", "device", device);
    if (status != FASC_OK) {
        return status;
    }
    if (bytes < 0) {
        return fasc_fail(FASC_EINVAL,
                         "memory_set_soft_limit: bytes: %" PRId64 " is negative; 0 means no limit",
                         bytes);
    }
    atomic_store(&device->soft_limit, bytes);
    return FASC_OK;
}
