/* summary_avx512.c - the loops of summarize and compare with AVX-512. */
#if defined(__AVX512F__)
#define SUMMARY_LOOPS fasc_summary_loops_avx512
#include "cpu/summary_kernel.h"
#endif
