/* sample.c - timing by events on the device's stream. A gate kernel holds the stream back while the
 * host queues the work, so that what is measured is the device's time, not the host's. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "cuda/cuda.h"

#include "params.h"

/* The gate opens by itself after this long: work that waits for the device would never return. */
#define GATE_NANOSECONDS 10000000u

struct fasc_cuda_clock {
    pthread_mutex_t lock;
    cudaEvent_t start, end;
    volatile int32_t *gate; /* pinned host memory, which the device sees at the same address */
    void *flush;            /* memory larger than L2; NULL until a cold sample asks for it */
    size_t flush_bytes;
};

static fasc_status make_clock(fasc_cuda_device *d)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    fasc_status status = FASC_OK;
    if (!d->clock) {
        fasc_cuda_clock *clock = calloc(1, sizeof *clock);
        void *gate = NULL;
        status = clock ? fasc_cuda_check(d, cudaEventCreate(&clock->start), "cudaEventCreate")
                       : fasc_fail(FASC_ENOMEM, "%s: no memory for its clock", d->name);
        if (status == FASC_OK) {
            status = fasc_cuda_check(d, cudaEventCreate(&clock->end), "cudaEventCreate");
        }
        if (status == FASC_OK) {
            status =
                fasc_cuda_check(d, cudaMallocHost(&gate, sizeof *clock->gate), "cudaMallocHost");
        }
        if (status == FASC_OK) {
            clock->gate = gate;
            pthread_mutex_init(&clock->lock, NULL);
            d->clock = clock;
        } else {
            free(clock);
        }
    }
    pthread_mutex_unlock(&lock);
    return status;
}

static fasc_status empty_caches(fasc_cuda_device *d)
{
    enum { THREADS = 512 };
    fasc_cuda_clock *clock = d->clock;
    fasc_status status = FASC_OK;
    if (!clock->flush) {
        size_t bytes = 2 * (size_t)d->l2_bytes / 16 * 16;
        status = fasc_cuda_block_take(d, bytes, NULL, &clock->flush);
        if (status == FASC_OK) {
            status = fasc_cuda_check(d, cudaMemsetAsync(clock->flush, 0, bytes, d->stream),
                                     "cudaMemsetAsync");
        }
        clock->flush_bytes = bytes;
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_flush_params p = {clock->flush, (int64_t)clock->flush_bytes, clock->flush};
    fasc_cuda_launch launch = {"kernels/timing.cu", "", "flush", 2 * (int64_t)d->units, THREADS, 0};
    return fasc_cuda_run_kernel(d, d->stream, &launch, &p);
}

static fasc_status close_gate(fasc_cuda_device *d)
{
    *d->clock->gate = 0;
    fasc_hold_params p = {d->clock->gate, GATE_NANOSECONDS};
    fasc_cuda_launch launch = {"kernels/timing.cu", "", "hold", 1, 1, 0};
    return fasc_cuda_run_kernel(d, d->stream, &launch, &p);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Queues everything between the two events. */
static fasc_status queue_work(fasc_cuda_device *d, fasc_work work, void *context, int32_t batch,
                              double *host_seconds)
{
    fasc_status status =
        fasc_cuda_check(d, cudaEventRecord(d->clock->start, d->stream), "cudaEventRecord");
    double start = seconds_now();
    fasc_cuda_set_sampling(true);
    for (int32_t i = 0; i < batch && status == FASC_OK; i++) {
        status = work(context);
    }
    fasc_cuda_set_sampling(false);
    *host_seconds = seconds_now() - start;
    return status == FASC_OK
               ? fasc_cuda_check(d, cudaEventRecord(d->clock->end, d->stream), "cudaEventRecord")
               : status;
}

static fasc_status take_sample(fasc_cuda_device *d, fasc_work work, void *context, int32_t batch,
                               bool cold, double *seconds, double *host_seconds)
{
    float milliseconds = 0;
    fasc_status status = cold ? empty_caches(d) : FASC_OK;
    if (status == FASC_OK) {
        status = close_gate(d);
    }
    if (status == FASC_OK) {
        status = queue_work(d, work, context, batch, host_seconds);
        *d->clock->gate = 1;
    }
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaEventSynchronize(d->clock->end), "cudaEventSynchronize");
    }
    if (status == FASC_OK) {
        status =
            fasc_cuda_check(d, cudaEventElapsedTime(&milliseconds, d->clock->start, d->clock->end),
                            "cudaEventElapsedTime");
    }
    *seconds = 1e-3 * (double)milliseconds;
    return status;
}

fasc_status fasc_cuda_sample(fasc_device *device, fasc_work work, void *context, int32_t batch,
                             bool cold, double *seconds, double *host_seconds)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    int previous = fasc_cuda_enter(d);
    fasc_status status = make_clock(d);
    if (status == FASC_OK) {
        pthread_mutex_lock(&d->clock->lock);
        status = take_sample(d, work, context, batch, cold, seconds, host_seconds);
        pthread_mutex_unlock(&d->clock->lock);
    }
    fasc_cuda_leave(previous);
    return status;
}
