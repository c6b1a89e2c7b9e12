/* test_memory.c - each device's accounts, the soft limit, sizes that do not fit, and the blocks
 * that are kept for reuse. */
#include <pthread.h>
#include <stdlib.h>

#include "backend.h"
#include "test.h"

#define MIB ((int64_t)1 << 20)

static fasc_device *cpu;

static void open_cpu(void)
{
    CHECK_OK(fasc_device_open("cpu", &cpu));
}

static fasc_memory_stats stats(void)
{
    fasc_memory_stats s = {.size = sizeof s};
    CHECK_OK(fasc_memory_get(cpu, &s));
    return s;
}

static fasc_status bytes_of(int64_t bytes, fasc_tensor **t)
{
    *t = NULL;
    return fasc_tensor_empty(cpu, FASC_U8, 1, &bytes, t);
}

static void live_peak_and_count(void)
{
    fasc_tensor *a, *b, *c;
    fasc_memory_stats s = stats();
    CHECK(s.live == 0 && s.count == 0 && s.soft_limit == 0, "%lld live", (long long)s.live);
    CHECK(s.free > 0 && s.free <= s.total, "%lld of %lld", (long long)s.free, (long long)s.total);
    CHECK_OK(bytes_of(1000, &a));
    CHECK_OK(bytes_of(5 * MIB, &b));
    CHECK_OK(bytes_of(0, &c));
    s = stats();
    CHECK(s.live == 5 * MIB + 1000 && s.count == 3, "%lld in %lld", (long long)s.live,
          (long long)s.count);
    fasc_tensor_free(b);
    s = stats();
    CHECK(s.live == 1000 && s.peak == 5 * MIB + 1000 && s.count == 2, "peak %lld",
          (long long)s.peak);
    CHECK_OK(fasc_memory_reset_peak(cpu));
    CHECK(stats().peak == 1000, "peak %lld", (long long)stats().peak);
    fasc_tensor_free(a);
    fasc_tensor_free(c);
    s = stats();
    CHECK(s.live == 0 && s.count == 0 && s.peak == 1000, "%lld live", (long long)s.live);
}

static void past_the_soft_limit(void)
{
    fasc_tensor *a, *b;
    CHECK_OK(fasc_memory_set_soft_limit(cpu, 1000));
    CHECK_OK(fasc_memory_reset_peak(cpu));
    CHECK(stats().soft_limit == 1000, "%lld", (long long)stats().soft_limit);
    CHECK_OK(bytes_of(600, &a));
    CHECK_FAIL(
        bytes_of(401, &b), FASC_EPRESSURE,
        "tensor_empty: 401 bytes more than the 600 alive on cpu pass its soft limit of 1000");
    CHECK(b == NULL && stats().live == 600 && stats().peak == 600 && stats().count == 1,
          "a refusal was counted: %lld", (long long)stats().live);
    CHECK_OK(bytes_of(400, &b));
    fasc_tensor_free(b);
    CHECK_OK(fasc_memory_set_soft_limit(cpu, 0));
    CHECK_OK(bytes_of(401, &b));
    fasc_tensor_free(a);
    fasc_tensor_free(b);
    CHECK_FAIL(fasc_memory_set_soft_limit(cpu, -5), FASC_EINVAL,
               "memory_set_soft_limit: bytes: -5 is negative");
}

static void what_does_not_fit_is_refused_at_once(void)
{
    fasc_tensor *t;
    char asked[64], free_of[64];
    const int64_t ten_tb = (int64_t)10 << 40;
    fasc_memory_stats s = stats();
    snprintf(asked, sizeof asked, "tensor_empty: cpu: asked for %lld bytes, ", (long long)ten_tb);
    snprintf(free_of, sizeof free_of, " of %lld are free", (long long)s.total);
    CHECK_FAIL(bytes_of(ten_tb, &t), FASC_ENOMEM, asked);
    CHECK_FAIL(bytes_of(ten_tb, &t), FASC_ENOMEM, free_of);
    CHECK_FAIL(bytes_of(INT64_MAX, &t), FASC_ENOMEM, "asked for 9223372036854775807 bytes");
    CHECK_FAIL(bytes_of(s.total, &t), FASC_ENOMEM, "are free");
    CHECK(stats().live == 0 && stats().count == 0, "a refusal was counted");
}

/* Linux would hand out any amount of memory that nothing has been written to. */
static void memory_not_yet_written_counts(void)
{
    enum { MOST = 8 };
    fasc_tensor *t[MOST];
    int64_t part = stats().total / 4 + MIB;
    int n = 0;
    while (n < MOST && bytes_of(part, &t[n]) == FASC_OK) {
        n++;
    }
    CHECK(n <= 3, "%d times more than a quarter of the memory", n);
    CHECK(n == MOST || strstr(fasc_last_error(), "are free"), "%s", fasc_last_error());
    while (n-- > 0) {
        fasc_tensor_free(t[n]);
    }
}

static void freed_blocks_are_kept_and_reused(void)
{
    fasc_tensor *t, *u;
    CHECK_OK(fasc_memory_trim(cpu));
    CHECK(stats().cached == 0, "%lld", (long long)stats().cached);
    CHECK_OK(bytes_of(8 * MIB - 100, &t));
    void *data = fasc_tensor_data(t);
    CHECK((uintptr_t)data % 64 == 0, "%p", data);
    CHECK_OK(fasc_tensor_fill(t, 3));
    fasc_tensor_free(t);
    CHECK(stats().cached == 8 * MIB && stats().live == 0, "%lld", (long long)stats().cached);
    CHECK_OK(bytes_of(8 * MIB, &u));
    CHECK(fasc_tensor_data(u) == data && stats().cached == 0, "%p, not %p", fasc_tensor_data(u),
          data);
    CHECK_OK(bytes_of(8 * MIB, &t));
    CHECK(fasc_tensor_data(t) != data, "one block for two");
    fasc_tensor_free(t);
    fasc_tensor_free(u);
    CHECK(stats().cached == 16 * MIB, "%lld", (long long)stats().cached);
    CHECK_OK(fasc_memory_trim(cpu));
    CHECK(stats().cached == 0, "%lld", (long long)stats().cached);
}

static void kept_blocks_are_bounded(void)
{
    enum { MANY = 100 };
    static fasc_tensor *t[MANY];
    int64_t part = stats().total / 64;
    for (int i = 0; i < MANY; i++) {
        CHECK_OK(bytes_of(MIB + i * 1000, &t[i]));
    }
    for (int i = 0; i < MANY; i++) {
        fasc_tensor_free(t[i]);
    }
    CHECK(stats().cached > 0 && stats().cached < MANY * MIB, "%lld", (long long)stats().cached);
    for (int i = 0; i < 12; i++) {
        CHECK_OK(bytes_of(part, &t[i]));
    }
    for (int i = 0; i < 12; i++) {
        fasc_tensor_free(t[i]);
        CHECK(stats().cached <= stats().total / 8, "%lld", (long long)stats().cached);
    }
    CHECK_OK(bytes_of(stats().total / 7, &t[0]));
    fasc_tensor_free(t[0]);
    CHECK(stats().cached <= stats().total / 8, "%lld", (long long)stats().cached);
    CHECK_OK(fasc_memory_trim(cpu));
}

static void every_size_can_be_written_to_its_end(void)
{
    for (int64_t bytes = 1; bytes < 40 * MIB; bytes = bytes * 5 / 3 + 1) {
        fasc_tensor *t;
        CHECK_OK(bytes_of(bytes, &t));
        CHECK_OK(fasc_tensor_fill(t, 1));
        CHECK(((uint8_t *)fasc_tensor_data(t))[bytes - 1] == 1, "%lld bytes", (long long)bytes);
        fasc_tensor_free(t);
    }
    CHECK_OK(fasc_memory_trim(cpu));
}

static void *make_and_free(void *argument)
{
    unsigned int state = *(unsigned int *)argument;
    for (int i = 0; i < 300; i++) {
        fasc_tensor *t = NULL, *view = NULL;
        state = state * 1664525u + 1013904223u;
        int64_t bytes = 1 + (state >> 10);
        if (bytes_of(bytes, &t) == FASC_OK) {
            ((uint8_t *)fasc_tensor_data(t))[bytes - 1] = 1;
            CHECK_OK(fasc_tensor_view(t, bytes - 1, 0, NULL, NULL, &view));
        }
        fasc_tensor_free(t);
        fasc_tensor_free(view);
    }
    return NULL;
}

static void threads_share_the_accounts(void)
{
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    unsigned int seed[THREADS];
    for (unsigned int i = 0; i < THREADS; i++) {
        seed[i] = i;
        CHECK(pthread_create(&thread[i], NULL, make_and_free, &seed[i]) == 0, "thread %u", i);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    CHECK(stats().live == 0 && stats().count == 0, "%lld live", (long long)stats().live);
    CHECK_OK(fasc_memory_trim(cpu));
}

static void wrong_arguments_are_named(void)
{
    fasc_memory_stats s = {.size = 8};
    CHECK_FAIL(fasc_memory_get(cpu, &s), FASC_EINVAL, "memory_get: stats: size is 8, must be ");
    CHECK_FAIL(fasc_memory_get(NULL, &s), FASC_EINVAL, "memory_get: device: is NULL");
    CHECK_FAIL(fasc_memory_trim(NULL), FASC_EINVAL, "memory_trim: device: is NULL");
    CHECK_FAIL(fasc_memory_reset_peak(NULL), FASC_EINVAL, "memory_reset_peak: device: is NULL");
}

TEST_MAIN(open_cpu, live_peak_and_count, past_the_soft_limit, what_does_not_fit_is_refused_at_once,
          memory_not_yet_written_counts, freed_blocks_are_kept_and_reused, kept_blocks_are_bounded,
          every_size_can_be_written_to_its_end, threads_share_the_accounts,
          wrong_arguments_are_named)
