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

static fasc_status generate(fasc_tensor *t, const char *entry, double a, double b, uint64_t seed,
                            uint64_t stream)
{
    enum { THREADS = 256, EACH = 4 };
    fasc_cuda_device *d = fasc_cuda_of(t->storage->device);
    fasc_generate_params p = {fasc_cuda_walk(t, NULL), a, b, seed, stream};
    char macros[64];
    snprintf(macros, sizeof macros, "ELEMENT=%s RANDOM=%d", NAME[t->dtype], t->dtype <= FASC_F64);
    fasc_cuda_launch launch = {.source = "kernels/generate.cu",
                               .macros = macros,
                               .entry = entry,
                               .blocks = fasc_cuda_blocks_for(d, t->numel, EACH * THREADS),
                               .threads = THREADS};
    int previous = fasc_cuda_enter(d);
    fasc_status status = fasc_cuda_run_kernel(d, d->stream, &launch, &p);
    fasc_cuda_leave(previous);
    return status;
}

fasc_status fasc_cuda_fill(fasc_tensor *t, double value)
{
    fasc_walk_params walk = fasc_cuda_walk(t, NULL);
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
