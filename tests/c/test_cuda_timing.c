/* test_cuda_timing.c - measuring on the GPU: the device's time, calls replayed as a CUDA graph,
 * arguments that take turns, and what the device tells of its clock and power. */
#include "cuda.h"
#include "test.h"

static fasc_device *device;

static fasc_tensor *make(fasc_dtype dtype, int32_t rank, const int64_t *shape)
{
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(device, dtype, rank, shape, &t));
    return t;
}

/* Device time of a copy: between what the memory could do and what a slow one would. */
static void timing_measures_the_device(void)
{
    enum { BYTES = 256 << 20 };
    const int64_t shape[] = {BYTES};
    fasc_tensor *a = make(FASC_U8, 1, shape), *b = make(FASC_U8, 1, shape);
    CHECK_OK(fasc_tensor_fill(a, 1));
    fasc_copy_args args = {.size = sizeof args, .src = a, .dst = b};
    fasc_timing_options options = {.size = sizeof options};
    for (int cold = 0; cold < 2; cold++) {
        fasc_timing t = {.size = sizeof t};
        options.cold = cold;
        CHECK_OK(fasc_time(FASC_OP_COPY, &args, &options, &t, NULL, 0));
        double rate = 2.0 * BYTES / t.median;
        CHECK(rate > 50e9 && rate < 20e12, "%g bytes a second", rate);
        CHECK(t.host_overhead > 0 && t.host_overhead < 1e-3, "%g s of overhead", t.host_overhead);
    }
    fasc_tensor_free(a);
    fasc_tensor_free(b);
}

/* Attention of every kernel: launches, cuBLAS, workspaces from the pool. */
static void a_graph_computes_the_same_and_spares_the_host(void)
{
    static const char *const KERNEL[] = {"naive", "blas", "flash"};
    const int64_t wide[] = {1, 4, 200, 64}, square[] = {1, 4, 200, 200};
    fasc_tensor *q = make(FASC_F16, 4, wide), *out = make(FASC_F16, 4, wide);
    fasc_tensor *expected = make(FASC_F16, 4, wide), *logits = make(FASC_F16, 4, square);
    CHECK_OK(fasc_tensor_randn(q, 1, 0, 0, 1));
    for (size_t i = 0; i < sizeof KERNEL / sizeof *KERNEL; i++) {
        fasc_attention_args args = {.size = sizeof args,
                                    .q = q,
                                    .k = q,
                                    .v = q,
                                    .out = out,
                                    .logits = logits,
                                    .causal = 1,
                                    .kernel = {.name = KERNEL[i]}};
        fasc_timing_options o = {.size = sizeof o, .max_seconds = 0.2};
        fasc_timing queued = {.size = sizeof queued}, replayed = queued;
        fasc_difference d = {.size = sizeof d};
        CHECK_OK(fasc_time(FASC_OP_ATTENTION, &args, &o, &queued, NULL, 0));
        CHECK_OK(fasc_tensor_copy(out, expected));
        CHECK_OK(fasc_tensor_fill(out, 77));
        o.graph = 1;
        CHECK_OK(fasc_time(FASC_OP_ATTENTION, &args, &o, &replayed, NULL, 0));
        CHECK_OK(fasc_tensor_compare(out, expected, &d));
        CHECK(d.mismatch == 0 && d.max_abs == 0, "%s: differs by %g", KERNEL[i], d.max_abs);
        CHECK(replayed.median > 0.2 * queued.median && replayed.median < 2 * queued.median,
              "%s: %g s replayed, %g s queued", KERNEL[i], replayed.median, queued.median);
        CHECK(replayed.host_overhead < queued.host_overhead,
              "%s: the host spends %g s, %g s queued", KERNEL[i], replayed.host_overhead,
              queued.host_overhead);
    }
    fasc_tensor *all[] = {q, out, expected, logits};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fasc_tensor_free(all[i]);
    }
}

static void what_waits_for_the_device_cannot_be_a_graph(void)
{
    const int64_t shape[] = {1000};
    fasc_device *cpu = NULL;
    fasc_tensor *here = make(FASC_F32, 1, shape), *there = NULL;
    CHECK_OK(fasc_device_open("cpu", &cpu));
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 1, shape, &there));
    CHECK_OK(fasc_tensor_fill(there, 3));
    fasc_copy_args args = {.size = sizeof args, .src = there, .dst = here};
    fasc_timing_options o = {.size = sizeof o, .graph = 1};
    fasc_timing t = {.size = sizeof t};
    CHECK_FAIL(fasc_time(FASC_OP_COPY, &args, &o, &t, NULL, 0), FASC_EUNSUPPORTED,
               "graph: the calls cannot be captured");
    o.graph = 0; /* and nothing is left behind */
    CHECK_OK(fasc_time(FASC_OP_COPY, &args, &o, &t, NULL, 0));
    fasc_tensor_free(here);
    fasc_tensor_free(there);
}

/* Copies that fit in L2 by themselves, but not all together, are as slow as those of a large
 * buffer. */
static void arguments_that_take_turns_find_no_data_in_the_cache(void)
{
    enum { COUNT = 64, BYTES = 8 << 20 };
    const int64_t shape[] = {BYTES};
    fasc_copy_args args[COUNT];
    fasc_timing_options o = {.size = sizeof o};
    fasc_timing hot = {.size = sizeof hot}, turning = hot;
    for (int i = 0; i < COUNT; i++) {
        fasc_tensor *src = make(FASC_U8, 1, shape);
        CHECK_OK(fasc_tensor_fill(src, 1));
        args[i] = (fasc_copy_args){sizeof *args, src, make(FASC_U8, 1, shape), 0};
    }
    CHECK_OK(fasc_time(FASC_OP_COPY, args, &o, &hot, NULL, 0));
    o.rotate = COUNT;
    CHECK_OK(fasc_time(FASC_OP_COPY, args, &o, &turning, NULL, 0));
    CHECK(turning.batch % COUNT == 0, "batch %d", turning.batch);
    CHECK(turning.median > 1.02 * hot.median, "%g s in turn, %g s of one", turning.median,
          hot.median);
    for (int i = 0; i < COUNT; i++) {
        fasc_tensor_free((fasc_tensor *)(uintptr_t)args[i].src);
        fasc_tensor_free(args[i].dst);
    }
}

/* Where NVML is, what it says is plausible, and a timing carries it. */
static void the_device_tells_its_clock_and_power(void)
{
    fasc_device_state state = {.size = sizeof state};
    fasc_status status = fasc_device_get_state(device, &state);
    if (status != FASC_OK) {
        CHECK(status == FASC_EUNSUPPORTED && strstr(fasc_last_error(), "NVML"), "%s",
              fasc_last_error());
        printf("no NVML here: %s\n", fasc_last_error());
        return;
    }
    CHECK(state.clock_mhz > 100 && state.clock_mhz <= state.clock_max_mhz, "%g of %g MHz",
          state.clock_mhz, state.clock_max_mhz);
    CHECK(state.power_watts > 1 && state.power_watts < 2 * state.power_max_watts, "%g of %g W",
          state.power_watts, state.power_max_watts);
    CHECK(state.temperature > 5 && state.temperature < 120, "%g degrees", state.temperature);
    const int64_t shape[] = {64 << 20};
    fasc_tensor *t = make(FASC_U8, 1, shape);
    fasc_copy_args args = {.size = sizeof args, .dst = t};
    fasc_timing_options o = {.size = sizeof o};
    fasc_timing timing = {.size = sizeof timing};
    CHECK_OK(fasc_time(FASC_OP_FILL, &args, &o, &timing, NULL, 0));
    CHECK(timing.clock_mhz > 100 && timing.power_watts > 1 && timing.temperature > 5, "%g %g %g",
          timing.clock_mhz, timing.power_watts, timing.temperature);
    CHECK(timing.throttled >= 0 && timing.throttled <= timing.samples, "%d of %d samples",
          timing.throttled, timing.samples);
    fasc_tensor_free(t);
}

int main(void)
{
    const test_function tests[] = {
        timing_measures_the_device,
        a_graph_computes_the_same_and_spares_the_host,
        what_waits_for_the_device_cannot_be_a_graph,
        arguments_that_take_turns_find_no_data_in_the_cache,
        the_device_tells_its_clock_and_power,
    };
    device = gpu_or_skip();
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tests[i]();
    }
    return test_failures ? 1 : 0;
}
