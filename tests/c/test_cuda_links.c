/* test_cuda_links.c - a device's stream and those of several threads wait for one another through
 * one event: between a thread's record and its wait no other thread may record. Needs no GPU: the
 * two calls are replaced. */
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <sched.h>

#include "cuda/cuda.h"
#include "test.h"

enum { THREADS = 4, CALLS = 200 };

static atomic_int recorded_by, waits, stolen;
static _Thread_local int own;

fasc_status fasc_cuda_check(fasc_cuda_device *d, cudaError_t error, const char *call)
{
    (void)d, (void)call;
    return error == cudaSuccess ? FASC_OK : FASC_EDEVICE;
}

static cudaError_t record(cudaEvent_t event, cudaStream_t stream)
{
    (void)event, (void)stream;
    atomic_store(&recorded_by, own);
    sched_yield();
    return cudaSuccess;
}

static cudaError_t await(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)stream, (void)event, (void)flags;
    atomic_fetch_add(&waits, 1);
    atomic_fetch_add(&stolen, atomic_load(&recorded_by) != own);
    return cudaSuccess;
}

static cudaError_t not_capturing(cudaStream_t stream, enum cudaStreamCaptureStatus *state)
{
    (void)stream;
    *state = cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

#define cudaEventRecord       record
#define cudaStreamWaitEvent   await
#define cudaStreamIsCapturing not_capturing
#include "../../src/cuda/stream.c"

static void *link_often(void *number)
{
    fasc_cuda_device d = {.name = "cuda:0"};
    own = *(int *)number;
    for (int i = 0; i < CALLS; i++) {
        CHECK(fasc_cuda_stream_begin(&d, (cudaStream_t)number, true) == FASC_OK, "begin");
        CHECK(fasc_cuda_stream_end(&d, (cudaStream_t)number, true) == FASC_OK, "end");
    }
    return NULL;
}

int main(void)
{
    pthread_t thread[THREADS];
    int number[THREADS];
    for (int i = 0; i < THREADS; i++) {
        number[i] = i + 1;
        CHECK(pthread_create(&thread[i], NULL, link_often, &number[i]) == 0, "no thread");
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    CHECK(waits == 2 * THREADS * CALLS, "%d waits", (int)waits);
    CHECK(stolen == 0, "%d of %d waits were for another thread's record", (int)stolen, (int)waits);
    return test_failures ? 1 : 0;
}
