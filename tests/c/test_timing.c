/* fasc_time: what it reports, how it batches calls, its limits, cancellation, bad arguments.
 * Whatever depends on how long a call takes runs on a device of these tests, whose calls take what
 * they say. */
#include "test.h"

#include <stdlib.h>
#include <time.h>

#include "cpu/cpu.h"

static fasc_device *cpu(void)
{
    fasc_device *device = NULL;
    CHECK_OK(fasc_device_open("cpu", &device));
    return device;
}

static fasc_tensor *tensor_on(fasc_device *device, int64_t n)
{
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(device, FASC_F32, 1, &n, &t));
    CHECK_OK(fasc_tensor_fill(t, 1.0));
    return t;
}

static fasc_tensor *tensor(int64_t n)
{
    return tensor_on(cpu(), n);
}

static const fasc_timing EMPTY = {.size = sizeof(fasc_timing)};
static const fasc_timing_options QUICK = {
    .size = sizeof QUICK, .warmup_seconds = 0.005, .max_seconds = 0.2};

/* ---- a device whose calls take as long as the test says --------------------------- */

static struct {
    double seconds;       /* of a call; every other sample says 1% more */
    int cancel_at;        /* the sample during which somebody cancels; 0 = none */
    int64_t l2_bytes;     /* what the device says of its cache */
    int samples, cold;    /* how many were taken, how many of them with cold caches */
    int32_t first, batch; /* calls of the first sample and of the latest */
    uint64_t graph;       /* of the latest sample */
    int new_graph;        /* how often that changed */
    bool tells;           /* the device says how it runs; held down at every other reading */
    int watched;          /* readings */
    bool always;          /* held down at every reading */
    int calm;             /* the reading from which on it is not held down */
    double sleep;         /* seconds that a sample really takes */
    double ended;         /* when the latest sample did */
    int pauses;           /* samples that began more than 0.1 s after the one before */
    int row, longest_row; /* samples without a pause: the latest, the most */
    int settling;         /* samples until calls take `seconds`: each is 5% faster than before */
} rig;

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static fasc_status rig_sample(fasc_device *device, fasc_sample *s)
{
    fasc_status status = FASC_OK;
    (void)device;
    bool paused = rig.samples > 0 && seconds_now() - rig.ended > 0.1;
    rig.pauses += paused;
    rig.row = paused ? 1 : rig.row + 1;
    rig.longest_row = rig.row > rig.longest_row ? rig.row : rig.longest_row;
    rig.samples++;
    rig.cold += s->cold;
    rig.first = rig.samples == 1 ? s->batch : rig.first;
    rig.batch = s->batch;
    rig.new_graph = s->graph != rig.graph ? rig.new_graph + 1 : rig.new_graph;
    rig.graph = s->graph;
    if (rig.samples == rig.cancel_at) {
        fasc_cancel();
    }
    s->seconds = s->batch * rig.seconds * (rig.samples % 2 ? 1.0 : 1.01);
    if (rig.samples < rig.settling) {
        s->seconds *= pow(1.05, rig.settling - rig.samples);
    }
    s->host_seconds = s->batch * 0.25 * rig.seconds;
    s->state.size = 0;
    if (rig.tells && s->watch) {
        rig.watched++;
        s->state = (fasc_device_state){.size = sizeof s->state,
                                       .clock_mhz = 1000 + rig.watched,
                                       .power_watts = 500,
                                       .temperature = 60,
                                       .throttle =
                                           rig.always || (rig.watched % 2 && rig.watched < rig.calm)
                                               ? FASC_THROTTLE_POWER
                                               : 0};
    }
    for (int32_t i = 0; i < s->batch && !status; i++) {
        status = s->work(s->context);
    }
    if (rig.sleep > 0) {
        nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * rig.sleep)}, NULL);
    }
    rig.ended = seconds_now();
    return status;
}

static fasc_status rig_state(fasc_device *device, fasc_device_state *state)
{
    (void)device;
    *state = (fasc_device_state){.size = sizeof *state, .clock_mhz = 1000};
    return FASC_OK;
}

static fasc_status rig_info(fasc_device *device, fasc_device_info *info)
{
    (void)device;
    info->l2_bytes = rig.l2_bytes;
    return FASC_OK;
}

static fasc_device *rig_device(double seconds_per_call)
{
    static fasc_backend backend;
    static fasc_device device = {.backend = &backend, .name = "rig"};
    backend = fasc_cpu_backend;
    backend.sample = rig_sample;
    backend.info = rig_info;
    memset(&rig, 0, sizeof rig);
    rig.seconds = seconds_per_call;
    return &device;
}

/* Times a fill whose calls take so long. */
static fasc_status time_on_rig(double seconds_per_call, const fasc_timing_options *o,
                               fasc_timing *t)
{
    fasc_tensor *dst = tensor_on(rig_device(seconds_per_call), 10);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    *t = EMPTY;
    fasc_status status = fasc_time(FASC_OP_FILL, &args, o, t, NULL, 0);
    fasc_tensor_free(dst);
    return status;
}

/* ---- what it reports -------------------------------------------------------------- */

static void reports_ordered_statistics_and_the_samples(void)
{
    fasc_tensor *dst = tensor(1000);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    fasc_timing t = EMPTY;
    double samples[200] = {0};
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &QUICK, &t, samples, 200));
    CHECK(t.samples >= 1 && t.samples <= 200, "%d samples", t.samples);
    CHECK(0 < t.min && t.min <= t.p5 && t.p5 <= t.median && t.median <= t.p95 && t.p95 <= t.max,
          "%g %g %g %g %g", t.min, t.p5, t.median, t.p95, t.max);
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
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 1e-6, .max_seconds = 1e9};
    fasc_timing t = EMPTY;
    double samples[3] = {-1, -1, -1};
    o.max_samples = o.min_samples = 3;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, samples, 2));
    CHECK(samples[0] > 0 && samples[1] > 0 && samples[2] == -1, "%g %g %g", samples[0], samples[1],
          samples[2]);
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0));
    fasc_tensor_free(dst);
}

/* ---- warm-up ---------------------------------------------------------------------- */

/* Times a fill on the rig, each of whose samples really takes a millisecond. */
static void time_settling(int settling, const fasc_timing_options *o, fasc_timing *t)
{
    fasc_tensor *dst = tensor_on(rig_device(1e-3), 10);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    rig.settling = settling;
    rig.sleep = 1e-3;
    *t = EMPTY;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, o, t, NULL, 0));
    fasc_tensor_free(dst);
}

static void warm_up_lasts_until_calls_get_no_faster(void)
{
    enum { SETTLING = 30 };
    /* At most 50 calls, or eight times as many for a device that has not settled. */
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 50e-3, .min_samples = 5};
    fasc_timing t;
    o.max_samples = 5;
    time_settling(SETTLING, &o, &t);
    CHECK(rig.samples >= SETTLING + 3, "sampling began within the first %d calls", rig.samples);
    CHECK(t.max <= 1.01e-3 * (1 + 1e-9), "a sample of %g s is from before calls had settled",
          t.max);
    time_settling(10000, &o, &t);
    CHECK(rig.samples <= 400 + 5 + 1, "%d calls of a device that never settles", rig.samples);
}

/* ---- batches ---------------------------------------------------------------------- */

static void calls_too_short_for_the_clock_are_batched(void)
{
    static const struct {
        double seconds;
        int32_t least, most; /* a sample takes at least 250 us, and not much more */
    } ROW[] = {{1e-6, 250, 300}, {100e-6, 3, 4}, {240e-6, 2, 2}, {260e-6, 1, 1}, {2.0, 1, 1}};
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 1e-6, .max_seconds = 1e9};
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
        fasc_timing t;
        CHECK_OK(time_on_rig(ROW[i].seconds, &o, &t));
        CHECK(rig.first == 1 && rig.cold == 0, "row %zu: the warm-up takes single calls", i);
        CHECK(t.batch >= ROW[i].least && t.batch <= ROW[i].most && rig.batch == t.batch,
              "row %zu: batch %d, %d in the last sample", i, t.batch, rig.batch);
        CHECK(fabs(t.min / ROW[i].seconds - 1) < 1e-9, "row %zu: a call takes %g s", i, t.min);
        CHECK(fabs(t.host_overhead / ROW[i].seconds - 0.25) < 1e-9, "row %zu: %g s on the host", i,
              t.host_overhead);
    }
}

static void cold_calls_stand_alone(void)
{
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 1e-6, .max_seconds = 1e9};
    fasc_timing t;
    o.cold = 1;
    CHECK_OK(time_on_rig(1e-6, &o, &t));
    CHECK(t.batch == 1 && rig.batch == 1, "batch %d", t.batch);
    CHECK(rig.cold == rig.samples, "%d of %d samples are cold", rig.cold, rig.samples);
}

static fasc_status count_call(void *calls)
{
    ++*(int *)calls;
    return FASC_OK;
}

static void every_thread_reads_more_than_the_caches_hold(void)
{
    fasc_device *device = rig_device(0);
    int64_t bytes = -1;
    int calls = 0;
    fasc_sample one = {.work = count_call, .context = &calls, .batch = 1, .cold = true};
    fasc_sample five = {.work = count_call, .context = &calls, .batch = 5};
    for (int threads = 1; threads <= 3; threads++) {
        CHECK_OK(fasc_set_num_threads(threads));
        rig.l2_bytes = 100000 * threads + 1;
        CHECK_OK(fasc_cpu_empty_caches(device, &bytes));
        CHECK(bytes >= 2 * rig.l2_bytes * threads, "%d threads read %lld bytes", threads,
              (long long)bytes);
    }
    CHECK_OK(fasc_set_num_threads(0));
    CHECK_OK(fasc_cpu_sample(device, &one));
    CHECK(calls == 1, "%d calls", calls);
    rig.l2_bytes = 0;
    CHECK_FAIL(fasc_cpu_sample(device, &one), FASC_EUNSUPPORTED, "last-level cache");
    CHECK(calls == 1, "a call with caches that could not be emptied");
    CHECK_OK(fasc_cpu_sample(device, &five));
    CHECK(calls == 6, "%d calls", calls);
}

static void arguments_take_turns(void)
{
    enum { COUNT = 3 };
    fasc_device *device = rig_device(100e-6);
    fasc_tensor *dst[COUNT];
    fasc_copy_args args[COUNT];
    for (int i = 0; i < COUNT; i++) {
        dst[i] = tensor_on(device, 10);
        args[i] = (fasc_copy_args){.size = sizeof *args, .dst = dst[i]};
    }
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 1e-6, .rotate = COUNT};
    fasc_timing t = EMPTY;
    CHECK_OK(fasc_time(FASC_OP_FILL, args, &o, &t, NULL, 0));
    CHECK(rig.first == COUNT && t.batch == COUNT, "whole turns: batches of %d and %d", rig.first,
          t.batch);
    for (int i = 0; i < COUNT; i++) {
        float *data = fasc_tensor_data(dst[i]);
        CHECK(data[0] == 0 && data[9] == 0, "tensor %d was not filled", i);
    }
    rig.seconds = 1e-6;
    CHECK_OK(fasc_time(FASC_OP_FILL, args, &o, &t, NULL, 0));
    CHECK(t.batch >= 250 && t.batch % COUNT == 0, "batch %d", t.batch);
    fasc_tensor *elsewhere = tensor(10);
    args[2].dst = elsewhere;
    CHECK_FAIL(fasc_time(FASC_OP_FILL, args, &o, &t, NULL, 0), FASC_EINVAL, "args[2]: is on cpu");
    args[2].size = 0;
    CHECK_FAIL(fasc_time(FASC_OP_FILL, args, &o, &t, NULL, 0), FASC_EINVAL, "args: size");
    o.cold = 1;
    CHECK_FAIL(fasc_time(FASC_OP_FILL, args, &o, &t, NULL, 0), FASC_EINVAL, "excludes cold");
    o.rotate = -1;
    o.cold = 0;
    CHECK_FAIL(fasc_time(FASC_OP_FILL, args, &o, &t, NULL, 0), FASC_EINVAL, "less than 0");
    for (int i = 0; i < COUNT; i++) {
        fasc_tensor_free(dst[i]);
    }
    fasc_tensor_free(elsewhere);
}

static void each_run_has_a_graph_of_its_own(void)
{
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 1e-6, .graph = 1};
    fasc_timing t;
    CHECK_OK(time_on_rig(1e-3, &o, &t));
    uint64_t first = rig.graph;
    CHECK(first > 0 && rig.new_graph == 1, "%d graphs in one run", rig.new_graph);
    CHECK_OK(time_on_rig(1e-3, &o, &t));
    CHECK(rig.graph != first, "two runs share graph %llu", (unsigned long long)first);
    o.graph = 0;
    CHECK_OK(time_on_rig(1e-3, &o, &t));
    CHECK(rig.graph == 0, "a graph that nobody asked for");
    fasc_tensor *dst = tensor(10);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    o.graph = 1;
    CHECK_FAIL(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0), FASC_EUNSUPPORTED,
               "cpu has no CUDA graphs");
    fasc_tensor_free(dst);
}

/* ---- the device's state ----------------------------------------------------------- */

static void samples_taken_while_throttled_are_marked(void)
{
    enum { SAMPLES = 20 };
    fasc_tensor *dst = tensor_on(rig_device(1e-3), 10);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    fasc_timing t = EMPTY;
    double seconds[SAMPLES];
    uint8_t marks[SAMPLES];
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 1e-6, .marks = marks};
    o.min_samples = o.max_samples = SAMPLES;
    rig.tells = true;
    rig.calm = 1000;
    rig.sleep = 4e-3; /* every third sample or so is watched */
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, seconds, SAMPLES));
    int marked = 0;
    for (int i = 0; i < SAMPLES; i++) {
        marked += marks[i] == FASC_THROTTLE_POWER;
    }
    CHECK(marks[0] == FASC_THROTTLE_POWER, "the first sample is watched");
    CHECK(rig.watched > 2 && rig.watched < SAMPLES, "%d readings", rig.watched);
    CHECK(marked > 0 && marked < SAMPLES && t.throttled == marked, "%d marked, %d told", marked,
          t.throttled);
    CHECK(t.throttle == FASC_THROTTLE_POWER, "throttle %d", t.throttle);
    CHECK(t.clock_mhz > 1000 && t.power_watts == 500 && t.temperature == 60, "%g %g %g",
          t.clock_mhz, t.power_watts, t.temperature);
    CHECK(t.discarded == 0, "%d samples were discarded unasked", t.discarded);
    rig.tells = false;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, seconds, SAMPLES));
    CHECK(t.throttled == 0 && t.throttle == 0 && t.clock_mhz == 0, "of a device that is silent");
    for (int i = 0; i < SAMPLES; i++) {
        CHECK(marks[i] == 0, "sample %d is marked %d", i, marks[i]);
    }
    fasc_device_state state = {.size = sizeof state};
    CHECK_FAIL(fasc_device_get_state(cpu(), &state), FASC_EUNSUPPORTED, "cpu");
    state.size = 0;
    CHECK_FAIL(fasc_device_get_state(cpu(), &state), FASC_EINVAL, "size");
    fasc_tensor_free(dst);
}

static void samples_taken_while_throttled_are_taken_again_after_a_rest(void)
{
    enum { SAMPLES = 20 };
    fasc_tensor *dst = tensor_on(rig_device(1e-3), 10);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    fasc_timing t = EMPTY;
    uint8_t marks[SAMPLES];
    double seconds[SAMPLES];
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 1e-6, .marks = marks};
    o.min_samples = o.max_samples = SAMPLES;
    o.rest_seconds = 0.02;
    rig.tells = true;
    rig.calm = 6;
    rig.sleep = 4e-3;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, seconds, SAMPLES));
    CHECK(t.samples == SAMPLES && t.throttled == 0, "%d samples, %d throttled", t.samples,
          t.throttled);
    CHECK(t.discarded >= 3, "%d discarded", t.discarded);
    CHECK(t.throttle == FASC_THROTTLE_POWER, "throttle %d", t.throttle);
    CHECK(rig.samples >= SAMPLES + t.discarded, "%d taken", rig.samples);
    for (int i = 0; i < SAMPLES; i++) {
        CHECK(marks[i] == 0, "sample %d is marked %d", i, marks[i]);
    }
    /* One that never recovers: in the end what there is, marked. */
    rig.always = true;
    o.max_seconds = 0.2;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, seconds, SAMPLES));
    CHECK(t.samples > 0 && t.throttled > 0 && t.discarded > 0, "%d samples, %d throttled, %d again",
          t.samples, t.throttled, t.discarded);
    fasc_tensor_free(dst);
}

static void a_device_rests_before_each_burst_of_samples(void)
{
    enum { SAMPLES = 20 };
    fasc_device *device = rig_device(10e-3);
    fasc_tensor *dst = tensor_on(device, 10);
    fasc_copy_args args = {.size = sizeof args, .dst = dst};
    fasc_timing t = EMPTY;
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 1e-6, .max_seconds = 10};
    o.min_samples = o.max_samples = SAMPLES;
    o.rest_seconds = 0.15;
    rig.sleep = 10e-3;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0));
    CHECK(rig.pauses == 0, "%d rests of a device that tells nothing", rig.pauses);
    ((fasc_backend *)(uintptr_t)device->backend)->state = rig_state;
    rig.row = rig.longest_row = 0;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0));
    /* 10 ms a sample: one to wake and two, or fewer on a busy machine */
    CHECK(t.samples == SAMPLES && rig.pauses >= SAMPLES / 2, "%d rests", rig.pauses);
    CHECK(rig.longest_row <= 4, "%d samples in a row", rig.longest_row);
    rig.pauses = 0;
    o.rest_seconds = 0;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0));
    CHECK(rig.pauses == 0, "%d rests unasked", rig.pauses);
    /* What the device says of its power limit in a burst is of before. */
    rig.tells = rig.always = true;
    o.rest_seconds = 0.15;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0));
    CHECK(t.clock_mhz > 0 && t.throttled == 0 && t.discarded == 0, "%d throttled, %d discarded",
          t.throttled, t.discarded);
    /* Samples that last longer than a burst follow each other. */
    rig.tells = rig.always = false;
    rig.pauses = 0;
    rig.seconds = 40e-3;
    rig.sleep = 1e-3;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0));
    CHECK(t.samples == SAMPLES && rig.pauses == 1, "%d rests", rig.pauses);
    /* A rest that the time does not allow ends it. */
    rig.seconds = 10e-3;
    rig.sleep = 10e-3;
    o.rest_seconds = 0.15;
    o.max_seconds = 0.1;
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &t, NULL, 0));
    CHECK(t.samples >= 1 && t.samples <= 4, "%d samples", t.samples);
    fasc_tensor_free(dst);
}

/* ---- when it ends ----------------------------------------------------------------- */

static void limits_hold(void)
{
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 1e-6, .target_rse = 1e-12};
    fasc_timing t;
    o.max_samples = 7;
    o.max_seconds = 1e9;
    CHECK_OK(time_on_rig(1e-3, &o, &t));
    CHECK(t.samples == 7 && !t.converged, "%d samples, converged %d", t.samples, t.converged);
    o.max_samples = 0;
    o.max_seconds = 1e-9;
    CHECK_OK(time_on_rig(1e-3, &o, &t));
    CHECK(t.samples == 1 && isinf(t.rse), "%d samples, rse %g", t.samples, t.rse);
    o.max_seconds = 1e9;
    o.target_rse = 100;
    CHECK_OK(time_on_rig(1e-3, &o, &t));
    CHECK(t.samples == 6 && t.converged, "%d samples, converged %d", t.samples, t.converged);
}

static void cancellation_ends_it_at_the_next_sample(void)
{
    static const int AT[] = {1, 1000}; /* in the warm-up, and past it */
    fasc_timing_options o = {.size = sizeof o, .warmup_seconds = 1e-6, .max_seconds = 1e9};
    o.min_samples = o.max_samples = 1 << 20;
    for (size_t i = 0; i < sizeof AT / sizeof *AT; i++) {
        fasc_tensor *dst = tensor_on(rig_device(1e-3), 10);
        fasc_copy_args args = {.size = sizeof args, .dst = dst};
        fasc_timing t = EMPTY;
        double kept = -1;
        rig.cancel_at = AT[i];
        CHECK_FAIL(fasc_time(FASC_OP_FILL, &args, &o, &t, &kept, 1), FASC_ECANCELED,
                   "time: canceled");
        CHECK(rig.samples == AT[i], "canceled at sample %d, ended after %d", AT[i], rig.samples);
        CHECK(t.samples == 0 && kept == -1, "outputs are untouched on failure");
        fasc_cancel_clear();
        fasc_tensor_free(dst);
    }
    fasc_timing t;
    CHECK_OK(time_on_rig(1e-3, &QUICK, &t));
}

/* ---- mistakes --------------------------------------------------------------------- */

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
          warm_up_lasts_until_calls_get_no_faster, calls_too_short_for_the_clock_are_batched,
          cold_calls_stand_alone, every_thread_reads_more_than_the_caches_hold,
          arguments_take_turns, each_run_has_a_graph_of_its_own,
          samples_taken_while_throttled_are_marked,
          samples_taken_while_throttled_are_taken_again_after_a_rest,
          a_device_rests_before_each_burst_of_samples, limits_hold,
          cancellation_ends_it_at_the_next_sample, bad_arguments_are_named,
          a_failing_operation_fails_the_timing)
