/* stream.c - the caller's streams beside the device's own. */
#include <pthread.h>

#include "cuda/cuda.h"

static _Thread_local bool sampling;

bool fasc_cuda_is_capturing(cudaStream_t stream)
{
    enum cudaStreamCaptureStatus state = cudaStreamCaptureStatusNone;
    return cudaStreamIsCapturing(stream, &state) == cudaSuccess &&
           state != cudaStreamCaptureStatusNone;
}

bool fasc_cuda_is_captured_by_caller(cudaStream_t stream)
{
    return !sampling && fasc_cuda_is_capturing(stream);
}

void fasc_cuda_set_sampling(bool on)
{
    sampling = on;
}

cudaStream_t fasc_cuda_stream_for(const fasc_cuda_device *d, void *asked)
{
    return asked && !sampling ? asked : d->stream;
}

/* Work queued on `after` from now on waits for what is queued on `before` now. One event serves
 * all, a thread at a time: recording it again does not change what an earlier wait waits for. */
static fasc_status link_streams(fasc_cuda_device *d, cudaStream_t before, cudaStream_t after)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    fasc_status status = fasc_cuda_check(d, cudaEventRecord(d->link, before), "cudaEventRecord");
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaStreamWaitEvent(after, d->link, 0), "cudaStreamWaitEvent");
    }
    pthread_mutex_unlock(&lock);
    return status;
}

static bool must_link(const fasc_cuda_device *d, cudaStream_t stream, bool owned)
{
    return owned && stream != d->stream && !fasc_cuda_is_capturing(stream);
}

fasc_status fasc_cuda_stream_begin(fasc_cuda_device *d, cudaStream_t stream, bool owned)
{
    return must_link(d, stream, owned) ? link_streams(d, d->stream, stream) : FASC_OK;
}

fasc_status fasc_cuda_stream_end(fasc_cuda_device *d, cudaStream_t stream, bool owned)
{
    return must_link(d, stream, owned) ? link_streams(d, stream, d->stream) : FASC_OK;
}
