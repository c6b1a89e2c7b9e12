/* generate.c - fill, arange and random numbers: launches of generate.cu. */
#include <math.h>
#include <stdio.h>

#include "cuda/cuda.h"
#include "cuda/walk.h"

static const char *const NAME[] = {
    [FASC_F16] = "f16", [FASC_BF16] = "bf16", [FASC_F32] = "f32", [FASC_F64] = "f64",
    [FASC_I32] = "i32", [FASC_I64] = "i64",   [FASC_U8] = "u8"};
static const size_t SIZE[] = {[FASC_F16] = 2, [FASC_BF16] = 2, [FASC_F32] = 4, [FASC_F64] = 8,
                              [FASC_I32] = 4, [FASC_I64] = 8,  [FASC_U8] = 1};

const char *fasc_cuda_dtype_name(fasc_dtype dtype)
{
    return NAME[dtype];
}

size_t fasc_cuda_dtype_size(fasc_dtype dtype)
{
    return SIZE[dtype];
}

static fasc_status launch_generate(const fasc_tensor *t, const char *entry,
                                   const fasc_generate_params *p, int64_t blocks, int threads)
{
    fasc_cuda_device *d = fasc_cuda_of(t->storage->device);
    char macros[64];
    snprintf(macros, sizeof macros, "ELEMENT=%s RANDOM=%d", NAME[t->dtype], t->dtype <= FASC_F64);
    fasc_cuda_launch launch = {.source = "kernels/generate.cu",
                               .macros = macros,
                               .entry = entry,
                               .blocks = blocks,
                               .threads = threads};
    int previous = fasc_cuda_enter(d);
    fasc_status status = fasc_cuda_run_kernel(d, d->stream, &launch, p);
    fasc_cuda_leave(previous);
    return status;
}

static fasc_status generate(fasc_tensor *t, const char *entry, double a, double b, uint64_t seed,
                            uint64_t stream)
{
    enum { THREADS = 256, EACH = 4 };
    fasc_cuda_device *d = fasc_cuda_of(t->storage->device);
    fasc_generate_params p = {fasc_cuda_walk(t, NULL), a, b, seed, stream};
    return launch_generate(t, entry, &p, fasc_cuda_blocks_for(d, t->numel, EACH * THREADS),
                           THREADS);
}

/* By bulk copies, two blocks a multiprocessor, as was measured to be the fastest. */
static fasc_status fill_bulk(fasc_tensor *t, const fasc_walk_params *walk, double value)
{
    enum { THREADS = 128, TILE = 16384, BLOCKS = 2 };
    fasc_cuda_device *d = fasc_cuda_of(t->storage->device);
    fasc_generate_params p = {*walk, value, 0, 0, 0};
    int64_t tiles = (t->numel * (int64_t)SIZE[t->dtype] + TILE - 1) / TILE;
    int64_t most = (int64_t)BLOCKS * d->units;
    return launch_generate(t, "fill_bulk", &p, tiles < most ? tiles : most, THREADS);
}

/* Long runs from a 16-byte boundary on; below, a launch's start costs more than is won. */
static bool suits_bulk(const fasc_tensor *t, const fasc_walk_params *walk)
{
    enum { LEAST = 1 << 20 };
    return fasc_cuda_of(t->storage->device)->compute >= 90 && fasc_cuda_walk_is_run(walk, 0) &&
           (uintptr_t)t->data % 16 == 0 && t->numel * (int64_t)SIZE[t->dtype] >= LEAST;
}

fasc_status fasc_cuda_fill(fasc_tensor *t, double value)
{
    fasc_walk_params walk = fasc_cuda_walk(t, NULL);
    if ((value != 0 || signbit(value)) && suits_bulk(t, &walk)) {
        return fill_bulk(t, &walk, value);
    }
    if (value != 0 || signbit(value) || !fasc_cuda_walk_is_run(&walk, 0)) {
        return generate(t, "fill", value, 0, 0, 0);
    }
    fasc_cuda_device *d = fasc_cuda_of(t->storage->device);
    int previous = fasc_cuda_enter(d);
    fasc_status status = fasc_cuda_check(
        d, cudaMemsetAsync(t->data, 0, (size_t)t->numel * SIZE[t->dtype], d->stream),
        "cudaMemsetAsync");
    fasc_cuda_leave(previous);
    return status;
}

fasc_status fasc_cuda_arange(fasc_tensor *t, double start, double step)
{
    return generate(t, "arange", start, step, 0, 0);
}

/* The range of uniform numbers is b - a rounded to float32, as on the CPU. */
fasc_status fasc_cuda_rand(fasc_tensor *t, const fasc_rand_spec *spec)
{
    float second = spec->normal ? spec->b : spec->b - spec->a;
    return generate(t, spec->normal ? "normal" : "uniform", (double)spec->a, (double)second,
                    spec->seed, spec->stream);
}
