/* random_avx512.c - runs of random numbers with AVX-512. */
#if defined(__AVX512F__)
#define RANDOM_RUN fasc_random_run_avx512
#include "cpu/random_kernel.h"
#endif
