/* memory.c - a caching pool of device memory. A block that is given back is kept for the next
 * request of its size class on the stream that used it last: work on a stream runs in order, so the
 * new user cannot overtake the old one, and the driver, whose calls wait for the whole device, is
 * not asked.
 *
 * Sizes are rounded up to a class (by 1/8 at most, 1/32 from 1 MiB on), which the size alone
 * determines: nothing is remembered of a block that is in use.
 *
 * FASC_CUDA_POOL=0 turns it off: every request is a cudaMalloc of just its bytes, every return a
 * cudaFree, so that compute-sanitizer sees each tensor's true ends and each use before a write. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/cuda.h"

typedef struct bin {
    struct bin *next;
    size_t size;
    cudaStream_t stream;
    void **block;
    size_t count, room;
} bin;

enum { BUCKETS = 512 };

struct fasc_cuda_pool {
    pthread_mutex_t lock;
    bin *bucket[BUCKETS];
    size_t cached; /* bytes in all bins */
    bool off;
};

fasc_status fasc_cuda_pool_new(fasc_cuda_device *d)
{
    d->pool = calloc(1, sizeof *d->pool);
    if (!d->pool) {
        return fasc_fail(FASC_ENOMEM, "%s: no memory for its pool", d->name);
    }
    pthread_mutex_init(&d->pool->lock, NULL);
    const char *wanted = getenv("FASC_CUDA_POOL");
    d->pool->off = wanted && strcmp(wanted, "0") == 0;
    return FASC_OK;
}

bool fasc_cuda_pool_keeps(const fasc_cuda_device *d)
{
    return !d->pool->off;
}

static size_t class_of(size_t bytes)
{
    size_t step = 512, power = 512;
    while (power <= bytes / 2) {
        power *= 2;
    }
    size_t part = power / (power < (size_t)1 << 20 ? 8 : 32);
    step = part > step ? part : step;
    return (bytes + step - 1) / step * step;
}

/* The bin of a class and stream; made if `make`, NULL if there is none or no memory for one. */
static bin *find_bin(fasc_cuda_pool *pool, size_t size, cudaStream_t stream, bool make)
{
    size_t hash = size / 512 * 31 + (size_t)(uintptr_t)stream / 16;
    bin **head = &pool->bucket[hash % BUCKETS];
    for (bin *b = *head; b; b = b->next) {
        if (b->size == size && b->stream == stream) {
            return b;
        }
    }
    bin *b = make ? calloc(1, sizeof *b) : NULL;
    if (b) {
        b->size = size;
        b->stream = stream;
        b->next = *head;
        *head = b;
    }
    return b;
}

/* Frees everything that is kept. With the lock held and the device current. */
static fasc_status flush(fasc_cuda_device *d)
{
    fasc_cuda_pool *pool = d->pool;
    if (pool->cached == 0) {
        return FASC_OK;
    }
    fasc_status status = fasc_cuda_check(d, cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    for (int i = 0; i < BUCKETS && status == FASC_OK; i++) {
        for (bin *b = pool->bucket[i]; b && status == FASC_OK; b = b->next) {
            while (b->count > 0 && status == FASC_OK) {
                status = fasc_cuda_check(d, cudaFree(b->block[--b->count]), "cudaFree");
                pool->cached -= b->size;
            }
        }
    }
    return status;
}

static fasc_status no_memory(fasc_cuda_device *d, size_t bytes)
{
    size_t free_bytes = 0, total_bytes = 0;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    return fasc_fail(FASC_ENOMEM, "%s: out of memory: asked for %zu bytes, %zu of %zu are free",
                     d->name, bytes, free_bytes, total_bytes);
}

/* From the driver; with the lock held and the device current. */
static fasc_status allocate(fasc_cuda_device *d, size_t size, void **data)
{
    cudaError_t error = cudaMalloc(data, size);
    if (error == cudaErrorMemoryAllocation && d->pool->cached > 0) {
        cudaGetLastError();
        fasc_status status = flush(d);
        if (status != FASC_OK) {
            return status;
        }
        error = cudaMalloc(data, size);
    }
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        return no_memory(d, size);
    }
    return fasc_cuda_check(d, error, "cudaMalloc");
}

fasc_status fasc_cuda_block_take(fasc_cuda_device *d, size_t bytes, cudaStream_t stream,
                                 void **data)
{
    *data = NULL;
    if (bytes == 0) {
        return FASC_OK;
    }
    if (bytes > SIZE_MAX / 2) {
        return no_memory(d, bytes);
    }
    size_t size = d->pool->off ? bytes : class_of(bytes);
    fasc_status status = FASC_OK;
    int previous = fasc_cuda_enter(d);
    pthread_mutex_lock(&d->pool->lock);
    bin *b = find_bin(d->pool, size, stream ? stream : d->stream, false);
    if (b && b->count > 0) {
        *data = b->block[--b->count];
        d->pool->cached -= size;
    } else {
        status = allocate(d, size, data);
    }
    pthread_mutex_unlock(&d->pool->lock);
    fasc_cuda_leave(previous);
    return status;
}

static bool keep(fasc_cuda_pool *pool, size_t size, cudaStream_t stream, void *data)
{
    bin *b = find_bin(pool, size, stream, true);
    if (b && b->count == b->room) {
        size_t room = b->room ? 2 * b->room : 4;
        void **block = realloc(b->block, room * sizeof *block);
        if (!block) {
            return false;
        }
        b->block = block;
        b->room = room;
    }
    if (!b) {
        return false;
    }
    b->block[b->count++] = data;
    pool->cached += size;
    return true;
}

void fasc_cuda_block_return(fasc_cuda_device *d, void *data, size_t bytes, cudaStream_t stream)
{
    if (!data) {
        return;
    }
    pthread_mutex_lock(&d->pool->lock);
    bool kept = !d->pool->off && keep(d->pool, class_of(bytes), stream ? stream : d->stream, data);
    pthread_mutex_unlock(&d->pool->lock);
    if (!kept) { /* or no memory to remember it with; cudaFree waits for the work that uses it */
        int previous = fasc_cuda_enter(d);
        cudaFree(data);
        fasc_cuda_leave(previous);
    }
}

fasc_status fasc_cuda_scratch_take(fasc_cuda_device *d, size_t bytes, cudaStream_t stream,
                                   fasc_cuda_scratch *scratch)
{
    *scratch = (fasc_cuda_scratch){.bytes = bytes};
    if (bytes == 0) {
        return FASC_OK;
    }
    scratch->of_graph = fasc_cuda_is_captured_by_caller(stream);
    return scratch->of_graph ? fasc_cuda_check(d, cudaMallocAsync(&scratch->data, bytes, stream),
                                               "cudaMallocAsync")
                             : fasc_cuda_block_take(d, bytes, stream, &scratch->data);
}

fasc_status fasc_cuda_scratch_return(fasc_cuda_device *d, const fasc_cuda_scratch *scratch,
                                     cudaStream_t stream)
{
    if (!scratch->of_graph) {
        fasc_cuda_block_return(d, scratch->data, scratch->bytes, stream);
        return FASC_OK;
    }
    return scratch->data ? fasc_cuda_check(d, cudaFreeAsync(scratch->data, stream), "cudaFreeAsync")
                         : FASC_OK;
}

fasc_status fasc_cuda_alloc(fasc_device *device, size_t bytes, void **data)
{
    return fasc_cuda_block_take(fasc_cuda_of(device), bytes, NULL, data);
}

void fasc_cuda_release(fasc_device *device, void *data, size_t bytes)
{
    fasc_cuda_block_return(fasc_cuda_of(device), data, bytes, NULL);
}

fasc_status fasc_cuda_memory(fasc_device *device, int64_t *cached, int64_t *free, int64_t *total)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    size_t free_bytes = 0, total_bytes = 0;
    int previous = fasc_cuda_enter(d);
    fasc_status status =
        fasc_cuda_check(d, cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
    fasc_cuda_leave(previous);
    pthread_mutex_lock(&d->pool->lock);
    *cached = (int64_t)d->pool->cached;
    pthread_mutex_unlock(&d->pool->lock);
    *free = (int64_t)free_bytes;
    *total = (int64_t)total_bytes;
    return status;
}

fasc_status fasc_cuda_trim(fasc_device *device)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    int previous = fasc_cuda_enter(d);
    pthread_mutex_lock(&d->pool->lock);
    fasc_status status = flush(d);
    pthread_mutex_unlock(&d->pool->lock);
    fasc_cuda_leave(previous);
    return status;
}
