/* transfer.c - bytes between the host and the device. Large ones go through two pinned buffers in
 * turn: while one is on its way the other is filled or emptied. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/cuda.h"

enum { BUFFERS = 2 };
#define BUFFER_BYTES ((size_t)8 << 20)
#define SMALL_BYTES  ((size_t)64 << 10) /* the driver's own staging is as good */

struct fasc_cuda_staging {
    pthread_mutex_t lock;
    char *buffer[BUFFERS]; /* pinned; NULL until first needed */
    cudaEvent_t done[BUFFERS];
};

fasc_status fasc_cuda_staging_new(fasc_cuda_device *d)
{
    d->staging = calloc(1, sizeof *d->staging);
    if (!d->staging) {
        return fasc_fail(FASC_ENOMEM, "%s: no memory for its staging buffers", d->name);
    }
    pthread_mutex_init(&d->staging->lock, NULL);
    return FASC_OK;
}

static fasc_status make_buffers(fasc_cuda_device *d)
{
    fasc_cuda_staging *s = d->staging;
    fasc_status status = FASC_OK;
    for (int i = 0; i < BUFFERS && status == FASC_OK; i++) {
        if (!s->done[i]) {
            status =
                fasc_cuda_check(d, cudaEventCreateWithFlags(&s->done[i], cudaEventDisableTiming),
                                "cudaEventCreate");
        }
        if (status == FASC_OK && !s->buffer[i]) {
            void *buffer = NULL;
            status = fasc_cuda_check(d, cudaMallocHost(&buffer, BUFFER_BYTES), "cudaMallocHost");
            s->buffer[i] = buffer;
        }
    }
    return status;
}

static size_t part_of(size_t bytes, size_t at)
{
    return bytes - at < BUFFER_BYTES ? bytes - at : BUFFER_BYTES;
}

static fasc_status queue_copy(fasc_cuda_device *d, void *dst, const void *src, size_t bytes,
                              enum cudaMemcpyKind kind)
{
    return fasc_cuda_check(d, cudaMemcpyAsync(dst, src, bytes, kind, d->stream), "cudaMemcpyAsync");
}

static fasc_status wait_for(fasc_cuda_device *d, cudaEvent_t event)
{
    return fasc_cuda_check(d, cudaEventSynchronize(event), "cudaEventSynchronize");
}

static fasc_status upload_staged(fasc_cuda_device *d, char *dst, const char *src, size_t bytes)
{
    fasc_cuda_staging *s = d->staging;
    fasc_status status = make_buffers(d);
    for (size_t at = 0, turn = 0; at < bytes && status == FASC_OK; at += BUFFER_BYTES, turn++) {
        size_t i = turn % BUFFERS, part = part_of(bytes, at);
        status = wait_for(d, s->done[i]); /* done at once when never recorded */
        if (status == FASC_OK) {
            memcpy(s->buffer[i], src + at, part);
            status = queue_copy(d, dst + at, s->buffer[i], part, cudaMemcpyHostToDevice);
        }
        if (status == FASC_OK) {
            status = fasc_cuda_check(d, cudaEventRecord(s->done[i], d->stream), "cudaEventRecord");
        }
    }
    return status;
}

static fasc_status download_staged(fasc_cuda_device *d, char *dst, const char *src, size_t bytes)
{
    fasc_cuda_staging *s = d->staging;
    fasc_status status = make_buffers(d);
    /* Part n is queued, then part n - 1, which has been on its way meanwhile, is taken out. */
    for (size_t at = 0, turn = 0; at < bytes + BUFFER_BYTES && status == FASC_OK;
         at += BUFFER_BYTES, turn++) {
        size_t i = turn % BUFFERS, before = (turn + 1) % BUFFERS;
        if (at < bytes) {
            status =
                queue_copy(d, s->buffer[i], src + at, part_of(bytes, at), cudaMemcpyDeviceToHost);
        }
        if (at < bytes && status == FASC_OK) {
            status = fasc_cuda_check(d, cudaEventRecord(s->done[i], d->stream), "cudaEventRecord");
        }
        if (turn > 0 && status == FASC_OK) {
            size_t from = at - BUFFER_BYTES;
            status = wait_for(d, s->done[before]);
            if (status == FASC_OK && from < bytes) {
                memcpy(dst + from, s->buffer[before], part_of(bytes, from));
            }
        }
    }
    return status;
}

static fasc_status transfer(fasc_device *device, void *dst, const void *src, size_t bytes,
                            enum cudaMemcpyKind kind)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    fasc_status status;
    int previous = fasc_cuda_enter(d);
    pthread_mutex_lock(&d->staging->lock);
    if (bytes <= SMALL_BYTES) {
        status = queue_copy(d, dst, src, bytes, kind);
    } else if (kind == cudaMemcpyHostToDevice) {
        status = upload_staged(d, dst, src, bytes);
    } else {
        status = download_staged(d, dst, src, bytes);
    }
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaStreamSynchronize(d->stream), "cudaStreamSynchronize");
    }
    pthread_mutex_unlock(&d->staging->lock);
    fasc_cuda_leave(previous);
    return status;
}

fasc_status fasc_cuda_upload(fasc_device *device, void *dst, const void *src, size_t bytes)
{
    return transfer(device, dst, src, bytes, cudaMemcpyHostToDevice);
}

fasc_status fasc_cuda_download(fasc_device *device, void *dst, const void *src, size_t bytes)
{
    return transfer(device, dst, src, bytes, cudaMemcpyDeviceToHost);
}
