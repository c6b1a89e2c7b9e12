/* timing.h - when to stop sampling, and the statistics behind it. Apart from the clock, so that
 * tests feed them synthetic noise.
 *
 * percentile p of n sorted numbers: linear interpolation at rank (n - 1) p, counted from 0.
 *
 * Standard error of the median: half the distance between the percentiles 1/2 - h and 1/2 + h
 * with h = 1 / (2 sqrt(n)), the ranks that lie one binomial standard deviation from the middle,
 * times sqrt(n / (n - 1)). It tends to 1 / (2 f(m) sqrt(n)), the asymptotic standard error for a
 * density f, without assuming a shape: outliers on one side do not move it. `rse` is that over
 * |median|; infinite for a single number.
 *
 * Stopping is looked at when 1/8 more samples are there than at the last look (each look is
 * another chance to stop by luck). Sampling stops
 *   converged  when rse (1 + 3/n) is below the target at two looks in a row. The factor and the
 *              second look make up for rse being a rough estimate when n is small: on normal,
 *              exponential and outlier noise the medians then scatter by the target;
 *   plateau    from 16 min_samples on, when rse is more than 1.2 times what the first eighth of
 *              the samples gave (independent noise would give 0.35): the machine drifts, and
 *              more samples cannot help;
 *   limit      at max_samples, or when max_seconds have passed. */
#ifndef FASC_TIMING_H
#define FASC_TIMING_H

#include <stdbool.h>
#include <stdint.h>

#include "fasc.h"

/* sorted: ascending; n >= 1. */
double fasc_percentile(const double *sorted, int32_t n, double p);
double fasc_rse_of_median(const double *sorted, int32_t n);

typedef enum fasc_stop {
    FASC_STOP_NO = 0,
    FASC_STOP_CONVERGED = 1,
    FASC_STOP_PLATEAU = 2,
    FASC_STOP_LIMIT = 3
} fasc_stop;

typedef struct fasc_stopping {
    fasc_timing_options options; /* with the defaults filled in */
    int32_t next_look;
    bool was_below;  /* the last look found rse below the target */
    double *scratch; /* options.max_samples numbers */
} fasc_stopping;

/* Fills in the defaults of options (NULL = all) and checks the rest. */
fasc_status fasc_timing_defaults(const fasc_timing_options *options, fasc_timing_options *filled);

/* Decides after n samples that took `elapsed` seconds in all. */
fasc_stop fasc_stopping_look(fasc_stopping *s, const double *samples, int32_t n, double elapsed);

#endif
