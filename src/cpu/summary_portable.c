/* summary_portable.c - the loops of summarize and compare for any processor. */
#define SUMMARY_LOOPS fasc_summary_loops_portable
#include "cpu/summary_kernel.h"

const fasc_summary_loops *fasc_summary_loops_for(fasc_isa isa)
{
    static const fasc_summary_loops *const TABLE[FASC_ISA_COUNT] = {
        [FASC_ISA_PORTABLE] = &fasc_summary_loops_portable,
#if defined(__x86_64__)
        [FASC_ISA_AVX2] = &fasc_summary_loops_avx2,
        [FASC_ISA_AVX512] = &fasc_summary_loops_avx512,
#endif
    };
    return TABLE[isa];
}
