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
    cudaGraphExec_t graph; /* the latest, with its run's number and its calls; NULL = none */
    uint64_t graph_number;
    int32_t graph_batch;
};

static fasc_status fill_clock(fasc_cuda_device *d, fasc_cuda_clock *clock)
{
    void *gate = NULL;
    fasc_status status = fasc_cuda_check(d, cudaEventCreate(&clock->start), "cudaEventCreate");
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaEventCreate(&clock->end), "cudaEventCreate");
    }
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaMallocHost(&gate, sizeof *clock->gate), "cudaMallocHost");
    }
    clock->gate = gate;
    pthread_mutex_init(&clock->lock, NULL);
    return status;
}

static void free_clock(fasc_cuda_clock *clock)
{
    if (clock->start) {
        cudaEventDestroy(clock->start);
    }
    if (clock->end) {
        cudaEventDestroy(clock->end);
    }
    free(clock);
}

static fasc_status make_clock(fasc_cuda_device *d)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    fasc_status status = FASC_OK;
    if (!d->clock) {
        fasc_cuda_clock *clock = calloc(1, sizeof *clock);
        status = clock ? fill_clock(d, clock)
                       : fasc_fail(FASC_ENOMEM, "%s: no memory for its clock", d->name);
        if (status == FASC_OK) {
            d->clock = clock;
        } else if (clock) {
            free_clock(clock);
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
    if (d->l2_bytes <= 0) {
        return fasc_fail(FASC_EUNSUPPORTED, "time: cold: the size of L2 of %s is not known",
                         d->name);
    }
    if (!clock->flush) {
        size_t bytes = 2 * (size_t)d->l2_bytes / 16 * 16; /* twice L2: none of the rest survives */
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

static fasc_status call_batch(const fasc_sample *s)
{
    fasc_status status = FASC_OK;
    fasc_cuda_set_sampling(true);
    for (int32_t i = 0; i < s->batch && status == FASC_OK; i++) {
        status = s->work(s->context);
    }
    fasc_cuda_set_sampling(false);
    return status;
}

/* ---- graphs ---------------------------------------------------------------- */

static fasc_status instantiate(fasc_cuda_device *d, cudaGraph_t graph, const fasc_sample *s)
{
    fasc_cuda_clock *clock = d->clock;
    cudaGraphExec_t made;
    fasc_status status =
        fasc_cuda_check(d, cudaGraphInstantiate(&made, graph, 0), "cudaGraphInstantiate");
    if (status == FASC_OK) {
        clock->graph = made;
        clock->graph_number = s->graph;
        clock->graph_batch = s->batch;
    }
    return status;
}

/* The memory that the calls take from the pool meanwhile goes back to it, as it does when they are
 * queued one by one: the stream's order keeps the replays apart from other work. */
static fasc_status capture(fasc_cuda_device *d, const fasc_sample *s)
{
    cudaGraph_t graph = NULL;
    fasc_status status =
        fasc_cuda_check(d, cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeRelaxed),
                        "cudaStreamBeginCapture");
    if (status != FASC_OK) {
        return status;
    }
    status = call_batch(s);
    cudaError_t ended = cudaStreamEndCapture(d->stream, &graph);
    if (status == FASC_OK && ended == cudaSuccess) {
        status = instantiate(d, graph, s);
    } else {
        cudaGetLastError();
        status = fasc_fail(FASC_EUNSUPPORTED, "time: graph: the calls cannot be captured: %s",
                           status == FASC_OK ? cudaGetErrorString(ended) : fasc_cuda_last_error());
    }
    if (graph) {
        cudaGraphDestroy(graph);
    }
    return status;
}

/* Makes clock->graph this sample's. */
static fasc_status prepare_graph(fasc_cuda_device *d, const fasc_sample *s)
{
    fasc_cuda_clock *clock = d->clock;
    if (clock->graph && clock->graph_number == s->graph && clock->graph_batch == s->batch) {
        return FASC_OK;
    }
    /* Compiles what needs compiling and fills the pool, which a capture forbids; and waits for
     * the graph that goes. */
    fasc_status status = call_batch(s);
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaStreamSynchronize(d->stream), "cudaStreamSynchronize");
    }
    if (clock->graph) {
        cudaGraphExecDestroy(clock->graph);
        clock->graph = NULL;
    }
    return status == FASC_OK ? capture(d, s) : status;
}

/* ---- a sample -------------------------------------------------------------- */

/* Queues everything between the two events. */
static fasc_status queue_work(fasc_cuda_device *d, fasc_sample *s)
{
    fasc_status status =
        fasc_cuda_check(d, cudaEventRecord(d->clock->start, d->stream), "cudaEventRecord");
    double start = seconds_now();
    if (status == FASC_OK) {
        status = s->graph ? fasc_cuda_check(d, cudaGraphLaunch(d->clock->graph, d->stream),
                                            "cudaGraphLaunch")
                          : call_batch(s);
    }
    s->host_seconds = seconds_now() - start;
    return status == FASC_OK
               ? fasc_cuda_check(d, cudaEventRecord(d->clock->end, d->stream), "cudaEventRecord")
               : status;
}

static fasc_status take_sample(fasc_device *device, fasc_sample *s)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    float milliseconds = 0;
    fasc_status status = s->graph ? prepare_graph(d, s) : FASC_OK;
    if (status == FASC_OK && s->cold) {
        status = empty_caches(d);
    }
    if (status == FASC_OK) {
        status = close_gate(d);
    }
    if (status == FASC_OK) {
        status = queue_work(d, s);
        *d->clock->gate = 1;
    }
    s->state.size = 0;
    if (status == FASC_OK && s->watch && fasc_cuda_state(device, &s->state) != FASC_OK) {
        s->state.size = 0;
    }
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaEventSynchronize(d->clock->end), "cudaEventSynchronize");
    }
    if (status == FASC_OK) {
        status =
            fasc_cuda_check(d, cudaEventElapsedTime(&milliseconds, d->clock->start, d->clock->end),
                            "cudaEventElapsedTime");
    }
    s->seconds = 1e-3 * (double)milliseconds;
    return status;
}

fasc_status fasc_cuda_sample(fasc_device *device, fasc_sample *sample)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    int previous = fasc_cuda_enter(d);
    fasc_status status = make_clock(d);
    if (status == FASC_OK) {
        pthread_mutex_lock(&d->clock->lock);
        status = take_sample(device, sample);
        pthread_mutex_unlock(&d->clock->lock);
    }
    fasc_cuda_leave(previous);
    return status;
}
