/* random_kernel.h - the loops of random_portable.c, random_avx2.c and random_avx512.c, which define
 * RANDOM_RUN to their function's name: the compiler vectorises over counters. */
#include "cpu/random.h"
#include "philox.h"

static void uniform_run(const fasc_rand_spec *spec, uint64_t first, int32_t quads,
                        float *restrict dst)
{
    unsigned int low = (unsigned int)first, high = (unsigned int)(first >> 32);
    unsigned int stream_low = (unsigned int)spec->stream;
    unsigned int stream_high = (unsigned int)(spec->stream >> 32);
    uint64_t seed = spec->seed;
    float lo = spec->a, range = spec->b - spec->a;
    for (int32_t i = 0; i < quads; i++) {
        unsigned int w[4], c0 = low + (unsigned int)i;
        fasc_philox(seed, c0, high + (c0 < low), stream_low, stream_high, w);
        dst[4 * i] = FASC_FMA(fasc_uniform(w[0]), range, lo);
        dst[4 * i + 1] = FASC_FMA(fasc_uniform(w[1]), range, lo);
        dst[4 * i + 2] = FASC_FMA(fasc_uniform(w[2]), range, lo);
        dst[4 * i + 3] = FASC_FMA(fasc_uniform(w[3]), range, lo);
    }
}

static void normal_run(const fasc_rand_spec *spec, uint64_t first, int32_t quads,
                       float *restrict dst)
{
    unsigned int low = (unsigned int)first, high = (unsigned int)(first >> 32);
    unsigned int stream_low = (unsigned int)spec->stream;
    unsigned int stream_high = (unsigned int)(spec->stream >> 32);
    uint64_t seed = spec->seed;
    float mean = spec->a, std = spec->b;
    for (int32_t i = 0; i < quads; i++) {
        unsigned int w[4], c0 = low + (unsigned int)i;
        float z[4];
        fasc_philox(seed, c0, high + (c0 < low), stream_low, stream_high, w);
        fasc_normal_pair(w[0], w[1], &z[0], &z[1]);
        fasc_normal_pair(w[2], w[3], &z[2], &z[3]);
        dst[4 * i] = FASC_FMA(z[0], std, mean);
        dst[4 * i + 1] = FASC_FMA(z[1], std, mean);
        dst[4 * i + 2] = FASC_FMA(z[2], std, mean);
        dst[4 * i + 3] = FASC_FMA(z[3], std, mean);
    }
}

void RANDOM_RUN(const fasc_rand_spec *spec, uint64_t first, int32_t quads, float *dst)
{
    if (spec->normal) {
        normal_run(spec, first, quads, dst);
    } else {
        uniform_run(spec, first, quads, dst);
    }
}
