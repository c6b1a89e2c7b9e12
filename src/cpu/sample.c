/* sample.c - timing calls on the CPU: the monotonic clock around a batch of them, and emptying
 * the caches before it. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/cpu.h"

#define LINE 64

/* Memory larger than any cache, written once so that it has pages of its own. */
static struct {
    pthread_mutex_t lock;
    char *data;
    size_t bytes;
} flush = {.lock = PTHREAD_MUTEX_INITIALIZER};

static fasc_status flush_open(fasc_device *device, size_t *bytes)
{
    fasc_device_info info = {.size = sizeof info};
    fasc_status status = device->backend->info(device, &info);
    if (status) {
        return status;
    }
    if (info.l2_bytes <= 0) {
        return fasc_fail(FASC_EUNSUPPORTED,
                         "time: cold: the size of this processor's last-level cache is not known");
    }
    *bytes = 2 * (size_t)info.l2_bytes;
    if (flush.bytes >= *bytes) {
        return FASC_OK;
    }
    char *data = aligned_alloc(LINE, (*bytes + LINE - 1) / LINE * LINE);
    if (!data) {
        return fasc_fail(FASC_ENOMEM, "time: cold: %zu bytes to empty the caches with", *bytes);
    }
    memset(data, 1, *bytes);
    free(flush.data);
    flush.data = data;
    flush.bytes = *bytes;
    return FASC_OK;
}

/* Every thread reads all of it: each core has caches of its own, and the last level may be split
 * among groups of cores. Reading leaves no dirty lines whose write-back the next call would pay. */
fasc_status fasc_cpu_empty_caches(fasc_device *device, int64_t *bytes_read)
{
    size_t bytes = 0;
    int64_t lines = 0;
    pthread_mutex_lock(&flush.lock);
    fasc_status status = flush_open(device, &bytes);
    if (!status) {
        const volatile char *data = flush.data;
#pragma omp parallel num_threads(fasc_num_threads()) reduction(+ : lines)
        for (size_t i = 0; i < bytes; i += LINE) {
            lines += data[i]; /* each holds 1 */
        }
    }
    pthread_mutex_unlock(&flush.lock);
    *bytes_read = lines * LINE;
    return status;
}

fasc_status fasc_cpu_sample(fasc_device *device, fasc_sample *s)
{
    int64_t bytes_read;
    struct timespec start, end;
    if (s->graph) {
        return fasc_fail(FASC_EUNSUPPORTED, "time: graph: %s has no CUDA graphs", device->name);
    }
    fasc_status status = s->cold ? fasc_cpu_empty_caches(device, &bytes_read) : FASC_OK;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int32_t i = 0; i < s->batch && !status; i++) {
        status = s->work(s->context);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    s->seconds = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    s->host_seconds = 0.0; /* nothing is queued: the calls are the work */
    s->state.size = 0;
    return status;
}
