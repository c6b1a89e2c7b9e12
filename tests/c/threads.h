/* threads.h - for tests of calls from several threads at once: each makes tensors, computes and
 * checks attention on them with one kernel after the other, fails in its own way, frees all. */
#ifndef FASC_TEST_THREADS_H
#define FASC_TEST_THREADS_H

#include <pthread.h>
#include <stdio.h>

#include "fasc.h"
#include "test.h"

enum { THREADS = 4, ROUNDS = 3 };

typedef struct thread_work {
    fasc_device *device;
    fasc_dtype dtype;
    const char *const *kernels; /* ends with NULL */
    void *stream;
    int number;
} thread_work;

/* Two threads at a time have equal sizes: they take each other's blocks from a pool. */
static inline void attend_once(const thread_work *w, const char *kernel, int round)
{
    const int64_t n = 70 + 10 * (w->number / 2), shape[] = {1, 2, n, 64};
    const uint64_t seed = (uint64_t)(100 * w->number + round);
    fasc_tensor *t[5] = {NULL};
    for (int i = 0; i < 4; i++) {
        CHECK_OK(fasc_tensor_empty(w->device, w->dtype, 4, shape, &t[i]));
        CHECK_OK(fasc_tensor_randn(t[i], seed, (uint64_t)i, 0, 1));
    }
    CHECK_OK(fasc_tensor_empty(w->device, FASC_F32, 3, shape, &t[4]));
    fasc_attention_args args = {.size = sizeof args,
                                .causal = 1,
                                .q = t[0],
                                .k = t[1],
                                .v = t[2],
                                .out = t[3],
                                .lse = t[4],
                                .kernel = {.name = kernel},
                                .stream = w->stream};
    fasc_check_result result = {.size = sizeof result};
    CHECK_OK(fasc_attention(&args, NULL));
    CHECK_OK(fasc_attention_check(&args, NULL, 0, &result));
    for (int e = 0; e < result.entry_count; e++) {
        CHECK(result.entry[e].count > 0 && result.entry[e].failed == 0,
              "thread %d, %s: %lld elements of %s are wrong", w->number, kernel,
              (long long)result.entry[e].failed, result.entry[e].name);
    }
    for (int i = 0; i < 5; i++) {
        fasc_tensor_free(t[i]);
    }
}

/* Each thread has its own last error. */
static inline void fail_once(const thread_work *w)
{
    char name[16], expected[64];
    fasc_device *device;
    snprintf(name, sizeof name, "none%d", w->number);
    snprintf(expected, sizeof expected, "device_open: name: '%s'", name);
    CHECK_FAIL(fasc_device_open(name, &device), FASC_EINVAL, expected);
}

static inline void *work_in_thread(void *given)
{
    const thread_work *w = given;
    for (int round = 0; round < ROUNDS; round++) {
        for (int k = 0; w->kernels[k]; k++) {
            attend_once(w, w->kernels[k], round);
            fail_once(w);
        }
    }
    return NULL;
}

static inline void run_threads(thread_work work[THREADS])
{
    pthread_t thread[THREADS];
    fasc_memory_stats before = {.size = sizeof before}, after = {.size = sizeof after};
    CHECK_OK(fasc_memory_get(work->device, &before));
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&thread[i], NULL, work_in_thread, &work[i]) == 0, "no thread");
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    CHECK_OK(fasc_memory_get(work->device, &after));
    CHECK(after.live == before.live && after.count == before.count, "%lld bytes are left",
          (long long)(after.live - before.live));
}

#endif
