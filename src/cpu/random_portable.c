/* random_portable.c - runs of random numbers for any processor. */
#define RANDOM_RUN fasc_random_run_portable
#include "cpu/random_kernel.h"

fasc_random_run fasc_random_run_for(fasc_isa isa)
{
    static const fasc_random_run TABLE[FASC_ISA_COUNT] = {
        [FASC_ISA_PORTABLE] = fasc_random_run_portable,
#if defined(__x86_64__)
        [FASC_ISA_AVX2] = fasc_random_run_avx2,
        [FASC_ISA_AVX512] = fasc_random_run_avx512,
#endif
    };
    return TABLE[isa];
}
