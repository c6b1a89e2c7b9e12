/* memory.c - the CPU's memory. Small blocks come from the C library. Large ones are mapped, on huge
 * pages where the system has them, and a few that were freed are kept: fresh pages cost more than
 * most kernels that write them (the system zeroes each one). */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/cpu.h"
#include "system.h"

enum { ALIGNMENT = 64, KEPT = 32 };
#define LARGE     ((size_t)1 << 20) /* from here on blocks are mapped */
#define HUGE_PAGE ((size_t)2 << 20)
#define CHECKED   ((size_t)64 << 20) /* from here on the system is asked what is free */

typedef struct block {
    void *data;
    size_t bytes;
} block;

static struct {
    pthread_mutex_t lock;
    block block[KEPT]; /* oldest first */
    int count;
    size_t bytes;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Bytes that a large block really takes: eight sizes between one power of two and the next, so
 * that a freed block serves requests of nearly its size. */
static size_t block_size(size_t bytes)
{
    size_t power = LARGE;
    while (power <= bytes / 2) {
        power *= 2;
    }
    size_t step = power / 8;
    return (bytes + step - 1) / step * step;
}

/* ---- mapped blocks ----------------------------------------------------------- */

/* Maps one huge page more than asked and gives back what lies around the aligned part. */
static void *map_block(size_t bytes)
{
    size_t mapped = bytes + HUGE_PAGE;
    char *start = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) {
        return NULL;
    }
    size_t before = (HUGE_PAGE - (uintptr_t)start % HUGE_PAGE) % HUGE_PAGE;
    if (before > 0) {
        munmap(start, before);
    }
    munmap(start + before + bytes, mapped - before - bytes);
    madvise(start + before, bytes, MADV_HUGEPAGE);
    return start + before;
}

/* With the lock held. */
static block take_kept(int i)
{
    block b = kept.block[i];
    kept.count--;
    memmove(kept.block + i, kept.block + i + 1, (size_t)(kept.count - i) * sizeof *kept.block);
    kept.bytes -= b.bytes;
    return b;
}

static void *find_kept(size_t bytes)
{
    void *data = NULL;
    pthread_mutex_lock(&kept.lock);
    for (int i = kept.count - 1; i >= 0 && !data; i--) {
        if (kept.block[i].bytes == bytes) {
            data = take_kept(i).data;
        }
    }
    pthread_mutex_unlock(&kept.lock);
    return data;
}

/* Keeps a block if it fits within `bound` bytes once older ones are gone; unmaps it if not. */
static void keep(block b, size_t bound)
{
    block gone[KEPT + 1];
    int count = 0;
    pthread_mutex_lock(&kept.lock);
    if (b.bytes > bound) {
        gone[count++] = b;
    } else {
        while (kept.count == KEPT || kept.bytes + b.bytes > bound) {
            gone[count++] = take_kept(0);
        }
        kept.block[kept.count++] = b;
        kept.bytes += b.bytes;
    }
    pthread_mutex_unlock(&kept.lock);
    for (int i = 0; i < count; i++) {
        munmap(gone[i].data, gone[i].bytes);
    }
}

static int64_t total_memory(void)
{
    static atomic_llong cached;
    long long total = atomic_load(&cached);
    if (total == 0) {
        int64_t now, available;
        fasc_system_memory(&now, &available);
        total = now;
        atomic_store(&cached, total);
    }
    return total;
}

/* ---- the backend's functions ------------------------------------------------- */

fasc_status fasc_cpu_trim(fasc_device *device)
{
    (void)device;
    pthread_mutex_lock(&kept.lock);
    while (kept.count > 0) {
        block b = take_kept(kept.count - 1);
        munmap(b.data, b.bytes);
    }
    pthread_mutex_unlock(&kept.lock);
    return FASC_OK;
}

fasc_status fasc_cpu_memory(fasc_device *device, int64_t *cached, int64_t *available,
                            int64_t *total)
{
    (void)device;
    pthread_mutex_lock(&kept.lock);
    *cached = (int64_t)kept.bytes;
    pthread_mutex_unlock(&kept.lock);
    fasc_system_memory(total, available);
    return FASC_OK;
}

/* Linux hands out more than it has, and kills the process that uses it: so large requests are
 * compared with what is there. device->live already counts this one, which catches blocks that
 * were handed out and not yet written. */
static bool fits(fasc_device *device, size_t bytes, int64_t *available, int64_t *total)
{
    fasc_system_memory(total, available);
    return bytes <= (size_t)*available && atomic_load(&device->live) <= *total;
}

fasc_status fasc_cpu_alloc(fasc_device *device, size_t bytes, void **data)
{
    void *p = NULL;
    int64_t available = 0, total = 0;
    if (bytes == 0) {
        *data = NULL;
        return FASC_OK;
    }
    if (bytes < LARGE) {
        p = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    } else {
        p = find_kept(block_size(bytes));
        bool fit = true;
        if (!p && bytes >= CHECKED && !fits(device, bytes, &available, &total)) {
            fasc_cpu_trim(device);
            fit = fits(device, bytes, &available, &total);
        }
        if (!p && fit) {
            p = map_block(block_size(bytes));
        }
    }
    if (!p) {
        fasc_system_memory(&total, &available);
        return fasc_fail(FASC_ENOMEM, "%s: asked for %zu bytes, %lld of %lld are free",
                         device->name, bytes, (long long)available, (long long)total);
    }
    *data = p;
    return FASC_OK;
}

void fasc_cpu_release(fasc_device *device, void *data, size_t bytes)
{
    (void)device;
    if (bytes < LARGE) {
        free(data);
    } else {
        keep((block){data, block_size(bytes)}, (size_t)total_memory() / 8);
    }
}
