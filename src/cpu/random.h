/* random.h - runs of random float32 numbers, compiled for each instruction set from
 * random_kernel.h; all give the same bits. */
#ifndef FASC_CPU_RANDOM_H
#define FASC_CPU_RANDOM_H

#include "cpu/isa.h"

/* Elements 4 * first .. 4 * (first + quads) - 1 of the sequence that spec names; quads < 2^31. */
typedef void (*fasc_random_run)(const fasc_rand_spec *spec, uint64_t first, int32_t quads,
                                float *dst);

/* NULL for an instruction set that this build does not hold. */
fasc_random_run fasc_random_run_for(fasc_isa isa);

void fasc_random_run_portable(const fasc_rand_spec *spec, uint64_t first, int32_t quads,
                              float *dst);
#if defined(__x86_64__)
void fasc_random_run_avx2(const fasc_rand_spec *spec, uint64_t first, int32_t quads, float *dst);
void fasc_random_run_avx512(const fasc_rand_spec *spec, uint64_t first, int32_t quads, float *dst);
#endif

#endif
