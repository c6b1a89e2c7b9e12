/* stats.c - statistics of timing samples and the rule that stops sampling (see timing.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "timing.h"

#define LUCK_GUARD      3.0 /* rse is multiplied by 1 + LUCK_GUARD / n */
#define PLATEAU_SAMPLES 16  /* times min_samples */
#define PLATEAU_GROWTH  1.2 /* of rse, since the first eighth of the samples */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double fasc_percentile(const double *sorted, int32_t n, double p)
{
    double rank = (n - 1) * fmin(fmax(p, 0.0), 1.0);
    int32_t below = (int32_t)rank;
    if (below >= n - 1) {
        return sorted[n - 1];
    }
    return sorted[below] + (rank - below) * (sorted[below + 1] - sorted[below]);
}

double fasc_rse_of_median(const double *sorted, int32_t n)
{
    if (n < 2) {
        return INFINITY;
    }
    double h = 0.5 / sqrt(n);
    double spread = fasc_percentile(sorted, n, 0.5 + h) - fasc_percentile(sorted, n, 0.5 - h);
    if (spread == 0.0) {
        return 0.0;
    }
    return 0.5 * spread * sqrt(n / (n - 1.0)) / fabs(fasc_percentile(sorted, n, 0.5));
}

fasc_status fasc_timing_from_samples(const double *samples, int32_t n, fasc_timing *timing)
{
    if (!timing || timing->size != sizeof *timing) {
        return fasc_fail(FASC_EINVAL,
                         "timing_from_samples: timing: size is not that of the struct");
    }
    if (!samples || n < 1) {
        return fasc_fail(FASC_EINVAL, "timing_from_samples: n: %d is less than 1", (int)n);
    }
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++) {
        if (!isfinite(samples[i])) {
            return fasc_fail(FASC_EINVAL, "timing_from_samples: samples[%d]: %g is not finite",
                             (int)i, samples[i]);
        }
        sum += samples[i];
    }
    double *sorted = malloc((size_t)n * sizeof *sorted);
    if (!sorted) {
        return fasc_fail(FASC_ENOMEM, "timing_from_samples: %d samples do not fit in memory",
                         (int)n);
    }
    memcpy(sorted, samples, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    *timing = (fasc_timing){
        .size = sizeof *timing,
        .samples = n,
        .batch = 1,
        .min = sorted[0],
        .median = fasc_percentile(sorted, n, 0.5),
        .mean = sum / n,
        .p5 = fasc_percentile(sorted, n, 0.05),
        .p95 = fasc_percentile(sorted, n, 0.95),
        .max = sorted[n - 1],
        .rse = fasc_rse_of_median(sorted, n),
    };
    free(sorted);
    return FASC_OK;
}

static double rse_of(fasc_stopping *s, const double *samples, int32_t n)
{
    memcpy(s->scratch, samples, (size_t)n * sizeof *samples);
    qsort(s->scratch, (size_t)n, sizeof *samples, ascending);
    return fasc_rse_of_median(s->scratch, n);
}

fasc_stop fasc_stopping_look(fasc_stopping *s, const double *samples, int32_t n, double elapsed)
{
    const fasc_timing_options *o = &s->options;
    bool limit = n >= o->max_samples || elapsed >= o->max_seconds;
    bool look = n >= o->min_samples && n >= s->next_look;
    if (look) {
        s->next_look = n + (n >= 8 ? n / 8 : 1);
        double rse = rse_of(s, samples, n);
        bool below = rse * (1.0 + LUCK_GUARD / n) < o->target_rse;
        if (below && s->was_below) {
            return FASC_STOP_CONVERGED;
        }
        s->was_below = below;
        if (!below && n >= PLATEAU_SAMPLES * o->min_samples &&
            rse > PLATEAU_GROWTH * rse_of(s, samples, n / 8)) {
            return FASC_STOP_PLATEAU;
        }
    }
    return limit ? FASC_STOP_LIMIT : FASC_STOP_NO;
}
