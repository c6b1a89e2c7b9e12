/* summary.h - the inner loops of summarize and compare, compiled for each instruction set from
 * summary_kernel.h; all give the same bits. */
#ifndef FASC_CPU_SUMMARY_H
#define FASC_CPU_SUMMARY_H

#include "cpu/isa.h"

/* Statistics are kept in lanes (element i goes to lane i % FASC_LANES), so that no element waits
 * for the one before, and the sum's order is fixed. */
enum { FASC_LANES = 8 };

typedef struct fasc_summary_lanes {
    int64_t nan_count[FASC_LANES], inf_count[FASC_LANES];
    double min[FASC_LANES], max[FASC_LANES]; /* of all that are not NaN */
    double sum[FASC_LANES];                  /* of the finite */
} fasc_summary_lanes;

typedef struct fasc_difference_lanes {
    int64_t mismatch[FASC_LANES];
    double max_abs[FASC_LANES]; /* -1 as long as no pair is finite */
    double max_rel[FASC_LANES];
} fasc_difference_lanes;

/* n is a multiple of FASC_LANES. */
typedef struct fasc_summary_loops {
    void (*summarize)(fasc_summary_lanes *lanes, const double *x, int64_t n);
    void (*compare)(fasc_difference_lanes *lanes, const double *a, const double *b, int64_t n);
} fasc_summary_loops;

/* NULL for an instruction set that this build does not hold. */
const fasc_summary_loops *fasc_summary_loops_for(fasc_isa isa);

extern const fasc_summary_loops fasc_summary_loops_portable;
#if defined(__x86_64__)
extern const fasc_summary_loops fasc_summary_loops_avx2, fasc_summary_loops_avx512;
#endif

#endif
