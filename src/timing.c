/* timing.c - fasc_time: warm-up, batch size, samples. The loop is here and not in a script, so
 * that nothing of an interpreter or a collector runs between two calls. */
#include "timing.h"

#include <math.h>
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
    return fasc_tensor_fill(a->dst, 0.0);
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
    } number[] = {{"warmup_seconds", o.warmup_seconds},
                  {"max_seconds", o.max_seconds},
                  {"target_rse", o.target_rse},
                  {"min_samples", o.min_samples},
                  {"max_samples", o.max_samples}};
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
    o.warmup_seconds = o.warmup_seconds > 0 ? o.warmup_seconds : 0.05;
    o.max_seconds = o.max_seconds > 0 ? o.max_seconds : 2.0;
    o.target_rse = o.target_rse > 0 ? o.target_rse : 0.005;
    *filled = o;
    return FASC_OK;
}

/* ---- measuring ------------------------------------------------------------- */

typedef struct run {
    fasc_device *device;
    fasc_work work;
    void *context;
    bool cold;
} run;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one call, averaged over batch of them. */
static fasc_status sample(const run *r, int32_t batch, double *seconds, double *host)
{
    if (fasc_cancel_requested()) {
        return fasc_fail(FASC_ECANCELED, "time: canceled");
    }
    fasc_status status =
        r->device->backend->sample(r->device, r->work, r->context, batch, r->cold, seconds, host);
    if (!status) {
        *seconds /= batch;
        *host /= batch;
    }
    return status;
}

/* Calls until the caches, the allocator, the clock rate and any run-time compilation have
 * settled; *best is the fastest call. */
static fasc_status warm_up(const run *r, const fasc_timing_options *o, double *best)
{
    double start = now(), elapsed = 0.0, host;
    *best = INFINITY;
    for (int calm = 0; elapsed < o->warmup_seconds ||
                       (calm < WARMUP_CALM && elapsed < WARMUP_PATIENCE * o->warmup_seconds);) {
        double seconds;
        fasc_status status = sample(r, 1, &seconds, &host);
        if (status) {
            return status;
        }
        calm = seconds < (1.0 - WARMUP_GAIN) * *best ? 0 : calm + 1;
        *best = fmin(*best, seconds);
        elapsed = now() - start;
    }
    return FASC_OK;
}

/* Calls per sample. A cold call needs the caches emptied before it, so it stands alone. */
static fasc_status choose_batch(const run *r, double seconds, int32_t *batch)
{
    *batch = 1;
    while (!r->cold && seconds * *batch < MIN_SAMPLE_SECONDS && *batch < MAX_BATCH) {
        /* Back to back, calls may be faster than the single ones of the warm-up: measure. */
        double wanted = 1.1 * MIN_SAMPLE_SECONDS / fmax(seconds, 1e-9), host;
        *batch = (int32_t)fmin(fmax(wanted, 2.0 * *batch), MAX_BATCH);
        fasc_status status = sample(r, *batch, &seconds, &host);
        if (status) {
            return status;
        }
    }
    return FASC_OK;
}

/* Takes samples until the rule says stop. kept and host have room for max_samples. */
static fasc_status take_samples(const run *r, fasc_stopping *stopping, int32_t batch, double *kept,
                                double *host, int32_t *count, fasc_stop *stop)
{
    double start = now();
    *stop = FASC_STOP_NO;
    for (*count = 0; *stop == FASC_STOP_NO;) {
        fasc_status status = sample(r, batch, &kept[*count], &host[*count]);
        if (status) {
            return status;
        }
        ++*count;
        *stop = fasc_stopping_look(stopping, kept, *count, now() - start);
    }
    return FASC_OK;
}

static fasc_status measure(const run *r, fasc_stopping *stopping, double *kept, double *host,
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
        *timing = result;
    }
    return status;
}

fasc_status fasc_time(int32_t op, const void *args, const fasc_timing_options *options,
                      fasc_timing *timing, double *samples, int32_t capacity)
{
    if (op < FASC_OP_ATTENTION || op > FASC_OP_FILL) {
        return fasc_fail(FASC_EINVAL, "time: op: %d is no fasc_op_kind", (int)op);
    }
    const struct operation *o = &OPERATION[op];
    if (!args || *(const uint32_t *)args != o->args_size) {
        return fasc_fail(FASC_EINVAL, "time: args: size is not that of the operation's struct");
    }
    if (!timing || timing->size != sizeof *timing) {
        return fasc_fail(FASC_EINVAL, "time: timing: size is not that of the struct");
    }
    if (capacity < 0 || (capacity > 0 && !samples)) {
        return fasc_fail(FASC_EINVAL, "time: capacity: %d without room for it", (int)capacity);
    }
    fasc_device *device = o->device(args);
    if (!device) {
        return fasc_fail(FASC_EINVAL, "time: args: the operation needs %s", o->needs);
    }
    fasc_stopping stopping = {0};
    fasc_status status = fasc_timing_defaults(options, &stopping.options);
    if (status) {
        return status;
    }
    size_t n = (size_t)stopping.options.max_samples;
    double *room = malloc(3 * n * sizeof *room);
    if (!room) {
        return fasc_fail(FASC_ENOMEM, "time: max_samples: %zu do not fit in memory", n);
    }
    stopping.scratch = room + 2 * n;
    /* The work functions take void *, and none of them writes to its arguments. */
    run r = {device, o->work, (void *)(uintptr_t)args, stopping.options.cold != 0};
    status = measure(&r, &stopping, room, room + n, timing);
    if (!status && capacity > 0) {
        int32_t kept = timing->samples < capacity ? timing->samples : capacity;
        memcpy(samples, room, (size_t)kept * sizeof *samples);
    }
    free(room);
    return status;
}
