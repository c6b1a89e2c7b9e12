/* fasc_time on real operations: what it reports, its limits, cancellation, bad arguments. */
#include "test.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static fasc_device *cpu(void)
{
    fasc_device *device = NULL;
    CHECK_OK(fasc_device_open("cpu", &device));
    return device;
}

static fasc_tensor *tensor(int64_t n)
{
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(cpu(), FASC_F32, 1, &n, &t));
    CHECK_OK(fasc_tensor_fill(t, 1.0));
    return t;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const fasc_timing EMPTY = {.size = sizeof(fasc_timing)};
static const fasc_timing_options QUICK = {
    .size = sizeof QUICK, .warmup_seconds = 0.005, .max_seconds = 0.2};

static void reports_ordered_statistics_and_the_samples(void)
{
    fasc_tensor *dst = tensor(1000);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    fasc_timing t = EMPTY;
    double samples[200] = {0};
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &QUICK, &t, samples, 200));
    CHECK(t.samples >= 5 && t.samples <= 200, "%d samples", t.samples);
    CHECK(0 < t.min && t.min <= t.p5 && t.p5 <= t.median && t.median <= t.p95 && t.p95 <= t.max,
          "%g %g %g %g %g", t.min, t.p5, t.median, t.p95, t.max);
    CHECK(t.batch > 1, "a fill of 4 KB is below the clock's resolution: batch %d", t.batch);
    CHECK(t.min * t.batch > 100e-6, "a sample of %g s", t.min * t.batch);
    CHECK(t.host_overhead == 0, "%g", t.host_overhead);
    fasc_timing again = EMPTY;
    CHECK_OK(fasc_timing_from_samples(samples, t.samples, &again));
    CHECK(again.median == t.median && again.rse == t.rse, "%g %g", again.median, t.median);
    float first = *(float *)fasc_tensor_data(dst);
    CHECK(first == 0, "the operation ran: %g", first);
    fasc_tensor_free(dst);
}

static void room_for_fewer_samples_gets_the_first(void)
{
    fasc_tensor *dst = tensor(1000);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    fasc_timing t = EMPTY;
    double samples[3] = {-1, -1, -1};
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &QUICK, &t, samples, 2));
    CHECK(samples[0] > 0 && samples[1] > 0 && samples[2] == -1, "%g %g %g", samples[0], samples[1],
          samples[2]);
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &QUICK, &t, NULL, 0));
    fasc_tensor_free(dst);
}

static void cold_calls_stand_alone_and_take_longer(void)
{
    fasc_device_info info = {.size = sizeof info};
    CHECK_OK(fasc_device_get_info(cpu(), &info));
    fasc_tensor *src = tensor(1 << 16), *dst = tensor(1 << 16);
    fasc_copy_args args = {.size = sizeof args, .src = src, .dst = dst};
    fasc_timing_options o = QUICK;
    fasc_timing hot = EMPTY, cold = EMPTY;
    o.max_samples = 20;
    CHECK_OK(fasc_time(FASC_OP_COPY, &args, &o, &hot, NULL, 0));
    o.cold = 1;
    if (info.l2_bytes == 0) {
        CHECK_FAIL(fasc_time(FASC_OP_COPY, &args, &o, &cold, NULL, 0), FASC_EUNSUPPORTED,
                   "last-level cache");
    } else {
        CHECK_OK(fasc_time(FASC_OP_COPY, &args, &o, &cold, NULL, 0));
        CHECK(cold.batch == 1, "batch %d", cold.batch);
        CHECK(cold.min > hot.min, "cold %g s, hot %g s", cold.min, hot.min);
    }
    fasc_tensor_free(src);
    fasc_tensor_free(dst);
}

static void limits_hold(void)
{
    fasc_tensor *dst = tensor(1 << 22);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 1e-6, .target_rse = 1e-12};
    fasc_timing t = EMPTY;
    o.max_samples = 7;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0));
    CHECK(t.samples == 7 && !t.converged, "%d samples, converged %d", t.samples, t.converged);
    o.max_samples = 0;
    o.max_seconds = 1e-6;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0));
    CHECK(t.samples == 1 && isinf(t.rse), "%d samples, rse %g", t.samples, t.rse);
    o.max_seconds = 1;
    o.target_rse = 100;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0));
    CHECK(t.samples == 6 && t.converged, "%d samples, converged %d", t.samples, t.converged);
    fasc_tensor_free(dst);
}

static void *cancel_soon(void *unused)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    fasc_cancel();
    return unused;
}

static void cancellation_ends_it_within_a_moment(void)
{
    fasc_tensor *dst = tensor(1000);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    fasc_timing_options o = {.size = sizeof o, .max_seconds = 30};
    o.min_samples = o.max_samples = 1 << 20;
    fasc_timing t = EMPTY;
    pthread_t thread;
    double start = now();
    pthread_create(&thread, NULL, cancel_soon, NULL);
    CHECK_FAIL(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0), FASC_ECANCELED, "time");
    pthread_join(thread, NULL);
    CHECK(now() - start < 1, "%g s", now() - start);
    CHECK(t.samples == 0, "outputs are untouched on failure");
    fasc_cancel_clear();
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &QUICK, &t, NULL, 0));
    fasc_tensor_free(dst);
}

static void bad_arguments_are_named(void)
{
    fasc_tensor *dst = tensor(10);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    fasc_timing_options o = QUICK;
    fasc_timing t = EMPTY;
    CHECK_FAIL(fasc_time(77, &args, &o, &t, NULL, 0), FASC_EINVAL, "op: 77");
    CHECK_FAIL(fasc_time(0, &args, &o, &t, NULL, 0), FASC_EINVAL, "op: 0");
    CHECK_FAIL(fasc_time(FASC_OP_FILL, NULL, &o, &t, NULL, 0), FASC_EINVAL, "args");
    CHECK_FAIL(fasc_time(FASC_OP_MATMUL, &args, &o, &t, NULL, 0), FASC_EINVAL, "args: size");
    CHECK_FAIL(fasc_time(FASC_OP_COPY, &args, &o, &t, NULL, 0), FASC_EINVAL, "src and dst");
    CHECK_FAIL(fasc_time(FASC_OP_FILL, &args, &o, NULL, NULL, 0), FASC_EINVAL, "timing");
    CHECK_FAIL(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 3), FASC_EINVAL, "capacity");
    o.max_seconds = -1;
    CHECK_FAIL(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0), FASC_EINVAL, "max_seconds -1");
    o.size = 4;
    CHECK_FAIL(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0), FASC_EINVAL, "options");
    fasc_tensor_free(dst);
}

static void a_failing_operation_fails_the_timing(void)
{
    fasc_tensor *src = tensor(10), *dst = tensor(11);
    fasc_copy_args args = {.size = sizeof args, .src = src, .dst = dst};
    fasc_timing t = EMPTY;
    CHECK_FAIL(fasc_time(FASC_OP_COPY, &args, &QUICK, &t, NULL, 0), FASC_EINVAL, "copy");
    fasc_tensor_free(src);
    fasc_tensor_free(dst);
}

TEST_MAIN(reports_ordered_statistics_and_the_samples, room_for_fewer_samples_gets_the_first,
          cold_calls_stand_alone_and_take_longer, limits_hold, cancellation_ends_it_within_a_moment,
          bad_arguments_are_named, a_failing_operation_fails_the_timing)
