/* random_avx2.c - runs of random numbers with AVX2 and FMA. */
#if defined(__AVX2__)
#define RANDOM_RUN fasc_random_run_avx2
#include "cpu/random_kernel.h"
#endif
