/* summary_avx2.c - the loops of summarize and compare with AVX2. */
#if defined(__AVX2__)
#define SUMMARY_LOOPS fasc_summary_loops_avx2
#include "cpu/summary_kernel.h"
#endif
