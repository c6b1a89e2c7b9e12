/* error.c - the runtime's errors as one line, and the launches that an asynchronous one may come
 * from. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cuda/cuda.h"

/* An error of a kernel comes to light in a later call, so the last few launches are kept. */
enum { KEPT = 4 };

typedef struct launch {
    const char *kernel;
    unsigned grid, block;
    size_t smem;
} launch;

static struct history {
    pthread_mutex_t lock;
    launch last[KEPT]; /* last[count % KEPT] is the oldest */
    unsigned long count;
    cudaError_t dead; /* the error that spoilt the device; cudaSuccess while it lives */
} history[FASC_CUDA_MAX_DEVICES];

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_locks(void)
{
    for (int i = 0; i < FASC_CUDA_MAX_DEVICES; i++) {
        pthread_mutex_init(&history[i].lock, NULL);
    }
}

static struct history *history_of(const fasc_cuda_device *d)
{
    pthread_once(&once, make_locks);
    return &history[d->ordinal];
}

void fasc_cuda_note_launch(fasc_cuda_device *d, const char *kernel, unsigned grid, unsigned block,
                           size_t smem)
{
    struct history *h = history_of(d);
    pthread_mutex_lock(&h->lock);
    h->last[h->count++ % KEPT] = (launch){kernel, grid, block, smem};
    pthread_mutex_unlock(&h->lock);
}

/* Errors after which the process cannot use the device any more. */
static bool is_fatal(cudaError_t error)
{
    switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorContextIsDestroyed:
        return true;
    default:
        return false;
    }
}

static void list_launches(const struct history *h, char *text, size_t room)
{
    size_t used = 0;
    text[0] = 0;
    for (unsigned long n = 0; n < KEPT && n < h->count; n++) {
        const launch *l = &h->last[(h->count - 1 - n) % KEPT];
        used += (size_t)snprintf(text + used, room - used, "%s%s<<<%u, %u, %zu>>>",
                                 n ? ", before it " : "", l->kernel, l->grid, l->block, l->smem);
        if (used >= room) {
            return;
        }
    }
}

fasc_status fasc_cuda_check(fasc_cuda_device *d, cudaError_t error, const char *call)
{
    if (error == cudaSuccess) {
        return FASC_OK;
    }
    cudaGetLastError(); /* so that it is not told a second time by an innocent call */
    struct history *h = history_of(d);
    pthread_mutex_lock(&h->lock);
    fasc_status status;
    if (h->dead != cudaSuccess) {
        status =
            fasc_fail(FASC_EDEVICE, "%s: unusable since an earlier error (%s); start a new process",
                      d->name, cudaGetErrorName(h->dead));
    } else if (is_fatal(error)) {
        char launches[512];
        list_launches(h, launches, sizeof launches);
        h->dead = error;
        status = fasc_fail(FASC_EDEVICE,
                           "%s: a kernel failed: %s (%s), seen by %s; launched last: %s; start a "
                           "new process",
                           d->name, cudaGetErrorString(error), cudaGetErrorName(error), call,
                           *launches ? launches : "none of fasc's");
    } else {
        status = fasc_fail(FASC_EDEVICE, "%s: %s: %s (%s)", d->name, call,
                           cudaGetErrorString(error), cudaGetErrorName(error));
    }
    pthread_mutex_unlock(&h->lock);
    return status;
}
