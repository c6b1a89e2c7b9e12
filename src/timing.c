/* timing.c - fasc_time: warm-up, batch size, samples. The loop is here and not in a script, so
 * that nothing of an interpreter or a collector runs between two calls. */
#include "timing.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend.h"

/* A sample lasts at least this long: 500 times the half microsecond that a GPU's events
 * resolve, 5000 times what reading the CPU's clock costs. */
#define MIN_SAMPLE_SECONDS 250e-6
#define MAX_BATCH          (1 << 20)

/* Warm-up ends once a call is no more than this much faster than the best before it, for this
 * many calls in a row; at the latest after WARMUP_PATIENCE times the asked-for seconds. */
#define WARMUP_GAIN     0.02
#define WARMUP_CALM     3
#define WARMUP_PATIENCE 8.0

/* Between two readings of the device's clock and power, which take it a while. */
#define WATCH_SECONDS 0.01

/* A GPU under full load meets its power limit after 25 to 100 ms of it and runs slower from then
 * on; after a rest of 50 ms or more it is as fast as before (results/timing_log.md). So where it
 * shall rest, it works for no longer than this at a time, and samples begin so long after it has
 * woken. What it says of its power limit is some 100 ms old, for half a second after: in a burst it
 * tells of what was before the rest, and is passed over. */
#define BURST_SECONDS 0.02
#define WAKE_SECONDS  0.002

/* ---- operations ------------------------------------------------------------ */

static fasc_status attention_work(void *args)
{
    return fasc_attention(args, NULL);
}

static fasc_device *attention_device(const void *args)
{
    const fasc_attention_args *a = args;
    return a->q ? a->q->storage->device : NULL;
}

static fasc_status matmul_work(void *args)
{
    return fasc_matmul(args);
}

static fasc_device *matmul_device(const void *args)
{
    const fasc_matmul_args *a = args;
    return a->a ? a->a->storage->device : NULL;
}

static fasc_status copy_work(void *args)
{
    const fasc_copy_args *a = args;
    return fasc_tensor_copy(a->src, a->dst);
}

/* The destination's, or the source's where only that one has its own clock. */
static fasc_device *copy_device(const void *args)
{
    const fasc_copy_args *a = args;
    if (!a->dst || !a->src) {
        return NULL;
    }
    fasc_device *dst = a->dst->storage->device;
    return dst->backend == &fasc_cpu_backend ? a->src->storage->device : dst;
}

static fasc_status fill_work(void *args)
{
    const fasc_copy_args *a = args;
    return fasc_tensor_fill(a->dst, a->value);
}

static fasc_device *fill_device(const void *args)
{
    const fasc_copy_args *a = args;
    return a->dst && !a->src ? a->dst->storage->device : NULL;
}

static const struct operation {
    const char *needs;
    size_t args_size;
    fasc_work work;
    fasc_device *(*device)(const void *args); /* NULL: a tensor is missing */
} OPERATION[] = {
    [FASC_OP_ATTENTION] = {"q", sizeof(fasc_attention_args), attention_work, attention_device},
    [FASC_OP_MATMUL] = {"a", sizeof(fasc_matmul_args), matmul_work, matmul_device},
    [FASC_OP_COPY] = {"src and dst", sizeof(fasc_copy_args), copy_work, copy_device},
    [FASC_OP_FILL] = {"dst and no src", sizeof(fasc_copy_args), fill_work, fill_device},
};

/* ---- options --------------------------------------------------------------- */

fasc_status fasc_timing_defaults(const fasc_timing_options *options, fasc_timing_options *filled)
{
    fasc_timing_options o = {.size = sizeof o};
    if (options) {
        if (options->size != sizeof o) {
            return fasc_fail(FASC_EINVAL, "time: options: size is not that of the struct");
        }
        o = *options;
    }
    const struct {
        const char *name;
        double value;
    } number[] = {{"warmup_seconds", o.warmup_seconds}, {"max_seconds", o.max_seconds},
                  {"target_rse", o.target_rse},         {"rest_seconds", o.rest_seconds},
                  {"min_samples", o.min_samples},       {"max_samples", o.max_samples}};
    for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
        if (!isfinite(number[i].value) || number[i].value < 0) {
            return fasc_fail(FASC_EINVAL, "time: options: %s %g is not a number >= 0",
                             number[i].name, number[i].value);
        }
    }
    o.max_samples = o.max_samples ? o.max_samples : 200;
    if (!o.min_samples) {
        o.min_samples = o.max_samples < 5 ? o.max_samples : 5;
    }
    if (o.min_samples > o.max_samples) {
        return fasc_fail(FASC_EINVAL, "time: options: min_samples %d is more than max_samples %d",
                         (int)o.min_samples, (int)o.max_samples);
    }
    if (o.rotate < 0 || (o.rotate > 1 && o.cold)) {
        return fasc_fail(FASC_EINVAL, "time: options: rotate %d %s", (int)o.rotate,
                         o.cold ? "excludes cold" : "is less than 0");
    }
    o.rotate = o.rotate ? o.rotate : 1;
    o.warmup_seconds = o.warmup_seconds > 0 ? o.warmup_seconds : 0.05;
    o.max_seconds = o.max_seconds > 0 ? o.max_seconds : 2.0;
    o.target_rse = o.target_rse > 0 ? o.target_rse : 0.005;
    *filled = o;
    return FASC_OK;
}

/* ---- measuring ------------------------------------------------------------- */

/* What the device said of itself while samples were taken. */
typedef struct watch {
    bool silent;   /* it tells nothing */
    double next;   /* when to ask again */
    int32_t count; /* readings so far, of `room`; one column of each of the numbers */
    int32_t room;
    double *clock, *power, *temperature;
    uint8_t *marks;                   /* of each sample, as far as they are marked */
    int32_t discarded, discarded_for; /* samples that were taken again, and what throttled them */
    int32_t marked;                   /* samples */
} watch;

/* The calls of an operation, whose arguments may take turns. */
typedef struct turns {
    fasc_work work;
    char *args;
    size_t args_size;
    int32_t count, next;
} turns;

typedef struct run {
    fasc_device *device;
    turns turns;
    bool cold;
    uint64_t graph;   /* this run's number, or 0 */
    bool bursts;      /* the device is to rest between bursts of samples */
    double burst_end; /* when it is to rest again; INFINITY where it need not */
    watch watch;
} run;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static fasc_status call_in_turn(void *context)
{
    turns *t = context;
    char *args = t->args + (size_t)t->next * t->args_size;
    t->next = t->next + 1 < t->count ? t->next + 1 : 0;
    return t->work(args);
}

/* Seconds of one call, averaged over batch of them. */
static fasc_status sample(run *r, int32_t batch, fasc_sample *taken)
{
    if (fasc_cancel_requested()) {
        return fasc_fail(FASC_ECANCELED, "time: canceled");
    }
    taken->work = call_in_turn;
    taken->context = &r->turns;
    taken->batch = batch;
    taken->cold = r->cold;
    taken->graph = r->graph;
    r->turns.next = 0; /* the same calls in each sample */
    fasc_status status = r->device->backend->sample(r->device, taken);
    if (!status) {
        taken->seconds /= batch;
        taken->host_seconds /= batch;
    }
    return status;
}

/* Calls until the caches, the allocator, the clock rate and any run-time compilation have
 * settled; *best is the fastest call. */
static fasc_status warm_up(run *r, const fasc_timing_options *o, double *best)
{
    double start = now(), elapsed = 0.0;
    *best = INFINITY;
    for (int calm = 0; elapsed < o->warmup_seconds ||
                       (calm < WARMUP_CALM && elapsed < WARMUP_PATIENCE * o->warmup_seconds);) {
        fasc_sample taken = {0};
        fasc_status status = sample(r, r->turns.count, &taken);
        if (status) {
            return status;
        }
        calm = taken.seconds < (1.0 - WARMUP_GAIN) * *best ? 0 : calm + 1;
        *best = fmin(*best, taken.seconds);
        elapsed = now() - start;
    }
    return FASC_OK;
}

/* Calls per sample: whole turns. A cold call needs the caches emptied before it, so it stands
 * alone. */
static fasc_status choose_batch(run *r, double seconds, int32_t *batch)
{
    int32_t count = r->turns.count;
    *batch = count;
    while (!r->cold && seconds * *batch < MIN_SAMPLE_SECONDS && *batch < MAX_BATCH) {
        /* Back to back, calls may be faster than the single ones of the warm-up: measure. */
        double wanted = 1.1 * MIN_SAMPLE_SECONDS / fmax(seconds, 1e-9);
        *batch = (int32_t)fmin(fmax(wanted, 2.0 * *batch), MAX_BATCH);
        *batch = (*batch + count - 1) / count * count;
        fasc_sample taken = {0};
        fasc_status status = sample(r, *batch, &taken);
        if (status) {
            return status;
        }
        seconds = taken.seconds;
    }
    return FASC_OK;
}

/* Waits, but not past a request to cancel. */
static void wait_for(double seconds)
{
    const struct timespec moment = {.tv_nsec = 5000000};
    for (double end = now() + seconds; now() < end && !fasc_cancel_requested();) {
        nanosleep(&moment, NULL);
    }
}

/* Is it a device whose speed depends on what it did before? Those that tell their state. */
static bool needs_rest(const run *r, const fasc_timing_options *o)
{
    fasc_device_state state = {.size = sizeof state};
    return o->rest_seconds > 0 && r->device->backend->state &&
           r->device->backend->state(r->device, &state) == FASC_OK;
}

/* The device rests and wakes. Samples that outlast a burst are taken one after the other. */
static fasc_status rest(run *r, const fasc_timing_options *o, int32_t batch)
{
    wait_for(o->rest_seconds);
    double start = now();
    fasc_sample woken = {0};
    fasc_status status;
    do {
        status = sample(r, batch, &woken);
    } while (!status && now() - start < WAKE_SECONDS);
    bool burst = r->bursts && woken.seconds * batch <= BURST_SECONDS;
    r->burst_end = burst ? now() + BURST_SECONDS : INFINITY;
    r->watch.next = now() + WATCH_SECONDS;
    return status;
}

/* A reading speaks for the samples since the one before it. */
static void note_state(watch *w, const fasc_sample *taken, int32_t count)
{
    if (taken->watch && taken->state.size == 0) {
        w->silent = true;
    } else if (taken->watch) {
        if (w->count < w->room) {
            w->clock[w->count] = taken->state.clock_mhz;
            w->power[w->count] = taken->state.power_watts;
            w->temperature[w->count++] = taken->state.temperature;
        }
        memset(w->marks + w->marked, taken->state.throttle, (size_t)(count - w->marked));
        w->marked = count;
        w->next = now() + WATCH_SECONDS;
    }
}

/* Forgets the samples since there were `before`, and the reading that spoke for them. */
static void discard(watch *w, const fasc_sample *taken, int32_t before, int32_t *count)
{
    w->discarded += *count - before;
    w->discarded_for |= taken->state.throttle;
    w->marked = *count = before;
    w->count -= w->count > 0;
}

/* Are the samples since the last reading to be taken again? Only while there is time for a rest and
 * as much sampling. */
static bool must_repeat(const watch *w, const fasc_timing_options *o, const fasc_sample *taken,
                        double elapsed)
{
    return o->rest_seconds > 0 && !w->silent && taken->watch && taken->state.throttle != 0 &&
           elapsed + 2 * o->rest_seconds < o->max_seconds;
}

/* Takes samples until the rule says stop. kept and host have room for max_samples. */
static fasc_status take_samples(run *r, fasc_stopping *stopping, int32_t batch, double *kept,
                                double *host, int32_t *count, fasc_stop *stop)
{
    const fasc_timing_options *o = &stopping->options;
    r->bursts = needs_rest(r, o);
    fasc_status status = r->bursts ? rest(r, o, batch) : FASC_OK;
    double start = now();
    int32_t before = 0; /* samples at the last reading */
    *stop = FASC_STOP_NO;
    for (*count = 0; !status && *stop == FASC_STOP_NO;) {
        if (*count > 0 && now() >= r->burst_end) {
            if (now() - start + o->rest_seconds > o->max_seconds) {
                *stop = FASC_STOP_LIMIT;
                break;
            }
            if ((status = rest(r, o, batch))) {
                return status;
            }
        }
        bool first = *count == 0; /* also after a rest that spared none */
        fasc_sample taken = {.watch = !r->watch.silent && (first || now() >= r->watch.next)};
        if ((status = sample(r, batch, &taken))) {
            return status;
        }
        if (r->burst_end < INFINITY) {
            taken.state.throttle &= ~FASC_THROTTLE_POWER;
        }
        kept[*count] = taken.seconds;
        host[*count] = taken.host_seconds;
        ++*count;
        note_state(&r->watch, &taken, *count);
        if (must_repeat(&r->watch, o, &taken, now() - start)) {
            discard(&r->watch, &taken, before, count);
            status = rest(r, o, batch);
        }
        before = r->watch.marked;
        if (*count > 0) {
            *stop = fasc_stopping_look(stopping, kept, *count, now() - start);
        }
    }
    if (status) {
        return status;
    }
    /* The last ones are as the last reading found the device. */
    memset(r->watch.marks + r->watch.marked,
           r->watch.marked ? r->watch.marks[r->watch.marked - 1] : 0,
           (size_t)(*count - r->watch.marked));
    return FASC_OK;
}

static double median_of(double *numbers, int32_t n)
{
    fasc_timing t = {.size = sizeof t};
    return n > 0 && fasc_timing_from_samples(numbers, n, &t) == FASC_OK ? t.median : 0.0;
}

static void describe_state(const watch *w, fasc_timing *timing)
{
    timing->clock_mhz = median_of(w->clock, w->count);
    timing->power_watts = median_of(w->power, w->count);
    timing->temperature = median_of(w->temperature, w->count);
    for (int32_t i = 0; i < timing->samples; i++) {
        timing->throttle |= w->marks[i];
        timing->throttled += w->marks[i] != 0;
    }
    timing->throttle |= w->discarded_for;
    timing->discarded = w->discarded;
}

static fasc_status measure(run *r, fasc_stopping *stopping, double *kept, double *host,
                           fasc_timing *timing)
{
    double seconds;
    int32_t batch, count;
    fasc_stop stop;
    fasc_status status = warm_up(r, &stopping->options, &seconds);
    if (!status) {
        status = choose_batch(r, seconds, &batch);
    }
    if (!status) {
        status = take_samples(r, stopping, batch, kept, host, &count, &stop);
    }
    fasc_timing result = {.size = sizeof result}, host_side = {.size = sizeof host_side};
    if (!status) {
        status = fasc_timing_from_samples(kept, count, &result);
    }
    if (!status) {
        status = fasc_timing_from_samples(host, count, &host_side);
    }
    if (!status) {
        result.batch = batch;
        result.converged = stop == FASC_STOP_CONVERGED;
        result.host_overhead = host_side.median;
        describe_state(&r->watch, &result);
        *timing = result;
    }
    return status;
}

/* All structs must be of the operation's kind, and on one device. */
static fasc_status check_args(const struct operation *o, const char *args, int32_t count,
                              fasc_device **device)
{
    for (int32_t i = 0; i < count; i++) {
        const void *one = args + (size_t)i * o->args_size;
        if (*(const uint32_t *)one != o->args_size) {
            return fasc_fail(FASC_EINVAL, "time: args: size is not that of the operation's struct");
        }
        fasc_device *its = o->device(one);
        if (!its) {
            return fasc_fail(FASC_EINVAL, "time: args: the operation needs %s", o->needs);
        }
        if (i > 0 && its != *device) {
            return fasc_fail(FASC_EINVAL, "time: args[%d]: is on %s, args[0] on %s", (int)i,
                             its->name, (*device)->name);
        }
        *device = its;
    }
    return FASC_OK;
}

fasc_status fasc_time(int32_t op, const void *args, const fasc_timing_options *options,
                      fasc_timing *timing, double *samples, int32_t capacity)
{
    static atomic_ullong runs;
    fasc_stopping stopping = {0};
    fasc_device *device = NULL;
    if (op < FASC_OP_ATTENTION || op > FASC_OP_FILL) {
        return fasc_fail(FASC_EINVAL, "time: op: %d is no fasc_op_kind", (int)op);
    }
    if (!args) {
        return fasc_fail(FASC_EINVAL, "time: args: is NULL");
    }
    if (!timing || timing->size != sizeof *timing) {
        return fasc_fail(FASC_EINVAL, "time: timing: size is not that of the struct");
    }
    if (capacity < 0 || (capacity > 0 && !samples)) {
        return fasc_fail(FASC_EINVAL, "time: capacity: %d without room for it", (int)capacity);
    }
    const struct operation *o = &OPERATION[op];
    fasc_status status = fasc_timing_defaults(options, &stopping.options);
    if (!status) {
        status = check_args(o, args, stopping.options.rotate, &device);
    }
    if (status) {
        return status;
    }
    size_t n = (size_t)stopping.options.max_samples;
    double *room = malloc(n * (6 * sizeof *room + 1));
    if (!room) {
        return fasc_fail(FASC_ENOMEM, "time: max_samples: %zu do not fit in memory", n);
    }
    double *host = room + n;
    stopping.scratch = room + 2 * n;
    run r = {
        .device = device,
        /* The work functions take void *, and none of them writes to its arguments. */
        .turns = {o->work, (char *)(uintptr_t)args, o->args_size, stopping.options.rotate, 0},
        .cold = stopping.options.cold != 0,
        .graph = stopping.options.graph ? 1 + atomic_fetch_add(&runs, 1) : 0,
        .burst_end = INFINITY,
        .watch = {.room = (int32_t)n,
                  .clock = room + 3 * n,
                  .power = room + 4 * n,
                  .temperature = room + 5 * n,
                  .marks = (uint8_t *)(room + 6 * n)},
    };
    status = measure(&r, &stopping, room, host, timing);
    if (!status && capacity > 0) {
        int32_t kept = timing->samples < capacity ? timing->samples : capacity;
        memcpy(samples, room, (size_t)kept * sizeof *samples);
        if (stopping.options.marks) {
            memcpy(stopping.options.marks, r.watch.marks, (size_t)kept);
        }
    }
    free(room);
    return status;
}
