/* Statistics of samples against hand-computed values, and the stopping rule on synthetic noise. */
#include "test.h"

#include <stdlib.h>

#include "timing.h"

static fasc_timing statistics(const double *samples, int32_t n)
{
    fasc_timing t = {.size = sizeof t};
    CHECK_OK(fasc_timing_from_samples(samples, n, &t));
    return t;
}

static void check_near(double got, double expected, const char *what)
{
    CHECK(fabs(got - expected) <= 1e-12 * fabs(expected), "%s: got %.17g, expected %.17g", what,
          got, expected);
}

static void known_samples(void)
{
    const double odd[] = {5, 1, 4, 2, 3};
    fasc_timing t = statistics(odd, 5);
    check_near(t.min, 1, "min");
    check_near(t.max, 5, "max");
    check_near(t.median, 3, "median");
    check_near(t.mean, 3, "mean");
    check_near(t.p5, 1.2, "p5"); /* rank 4 * 0.05 = 0.2 */
    check_near(t.p95, 4.8, "p95");
    /* percentiles 1/2 +- 0.5/sqrt(5) lie at ranks 2 +- 2/sqrt(5): their distance is 4/sqrt(5) */
    check_near(t.rse, 0.5 * 4 / sqrt(5) * sqrt(5.0 / 4.0) / 3, "rse");
    CHECK(t.samples == 5 && t.batch == 1, "samples %d, batch %d", t.samples, t.batch);

    const double even[] = {10, 40, 20, 30};
    t = statistics(even, 4);
    check_near(t.median, 25, "median of an even count");
    check_near(t.p5, 11.5, "p5");
    check_near(t.p95, 38.5, "p95");
}

static void one_sample_says_nothing_of_its_error(void)
{
    const double one[] = {0.25};
    fasc_timing t = statistics(one, 1);
    check_near(t.median, 0.25, "median");
    check_near(t.p5, 0.25, "p5");
    CHECK(isinf(t.rse), "rse %g", t.rse);
}

static void equal_samples_have_no_error(void)
{
    const double same[] = {7, 7, 7, 7, 7, 7};
    fasc_timing t = statistics(same, 6);
    CHECK(t.rse == 0.0, "rse %g", t.rse);
}

static void one_outlier_moves_neither_median_nor_rse(void)
{
    double x[41];
    for (int i = 0; i < 41; i++) {
        x[i] = 100 + i;
    }
    fasc_timing clean = statistics(x, 41);
    x[40] = 1e9;
    fasc_timing dirty = statistics(x, 41);
    check_near(dirty.median, clean.median, "median");
    check_near(dirty.rse, clean.rse, "rse");
}

static void input_stays_as_it_was(void)
{
    double x[] = {3, 1, 2};
    statistics(x, 3);
    CHECK(x[0] == 3 && x[1] == 1 && x[2] == 2, "now %g %g %g", x[0], x[1], x[2]);
}

static void bad_input_is_named(void)
{
    fasc_timing t = {.size = sizeof t};
    const double bad[] = {1, NAN};
    CHECK_FAIL(fasc_timing_from_samples(bad, 0, &t), FASC_EINVAL, "n: 0");
    CHECK_FAIL(fasc_timing_from_samples(NULL, 3, &t), FASC_EINVAL, "timing_from_samples");
    CHECK_FAIL(fasc_timing_from_samples(bad, 2, &t), FASC_EINVAL, "samples[1]");
    t.size = 3;
    CHECK_FAIL(fasc_timing_from_samples(bad, 1, &t), FASC_EINVAL, "size");

    fasc_timing_options o = {.size = sizeof o, .min_samples = 9, .max_samples = 3}, filled;
    CHECK_FAIL(fasc_timing_defaults(&o, &filled), FASC_EINVAL, "min_samples 9");
    o = (fasc_timing_options){.size = sizeof o, .target_rse = NAN};
    CHECK_FAIL(fasc_timing_defaults(&o, &filled), FASC_EINVAL, "target_rse");
}

static void defaults_are_those_of_the_header(void)
{
    fasc_timing_options o;
    CHECK_OK(fasc_timing_defaults(NULL, &o));
    CHECK(o.min_samples == 5 && o.max_samples == 200 && !o.cold, "%d %d %d", o.min_samples,
          o.max_samples, o.cold);
    CHECK(o.warmup_seconds == 0.05 && o.max_seconds == 2 && o.target_rse == 0.005, "%g %g %g",
          o.warmup_seconds, o.max_seconds, o.target_rse);
}

/* ---- synthetic noise: xorshift, so that the runs are the same everywhere ----- */

static uint64_t state = 88172645463325252u;

static double uniform(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return ((double)(state >> 11) + 0.5) * 0x1p-53;
}

static double normal(double sigma)
{
    return 1 + sigma * sqrt(-2 * log(uniform())) * cos(2 * acos(-1) * uniform());
}

static double exponential(double sigma)
{
    return 1 - sigma * log(uniform());
}

static double outliers(double sigma)
{
    return normal(sigma) + (uniform() < 0.1 ? 0.3 : 0);
}

#define TRIALS 400

typedef struct outcome {
    double samples; /* mean count */
    double scatter; /* relative standard deviation of the medians over the trials */
    double stopped[4];
} outcome;

static outcome simulate(double (*noise)(double), double sigma, double drift)
{
    enum { CAP = 200 };
    static double x[CAP], scratch[CAP];
    outcome o = {0};
    double sum = 0, squares = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
        fasc_stopping s = {.scratch = scratch};
        CHECK_OK(fasc_timing_defaults(NULL, &s.options));
        fasc_stop stop = FASC_STOP_NO;
        int32_t n = 0;
        while (stop == FASC_STOP_NO) {
            x[n] = noise(sigma) + drift * n;
            n++;
            stop = fasc_stopping_look(&s, x, n, 0);
        }
        double median = statistics(x, n).median;
        sum += median;
        squares += median * median;
        o.samples += (double)n / TRIALS;
        o.stopped[stop] += 1.0 / TRIALS;
    }
    double mean = sum / TRIALS;
    o.scatter = sqrt(fmax(squares / TRIALS - mean * mean, 0)) / mean;
    return o;
}

static void medians_scatter_by_the_target_when_converged(void)
{
    static const struct {
        const char *name;
        double (*noise)(double);
    } kind[] = {{"normal", normal}, {"exponential", exponential}, {"outliers", outliers}};
    static const double sigma[] = {0.001, 0.005, 0.01, 0.02};
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < 4; i++) {
            outcome o = simulate(kind[k].noise, sigma[i], 0);
            CHECK(o.scatter < 1.2 * 0.005, "%s %g: medians scatter by %.3f%%", kind[k].name,
                  sigma[i], 100 * o.scatter);
            CHECK(o.stopped[FASC_STOP_CONVERGED] > 0.9, "%s %g: converged in %.0f%% of the trials",
                  kind[k].name, sigma[i], 100 * o.stopped[FASC_STOP_CONVERGED]);
        }
    }
}

static void quiet_machines_need_few_samples(void)
{
    outcome o = simulate(normal, 0.001, 0);
    CHECK(o.samples < 8, "%.1f samples", o.samples);
    o = simulate(normal, 0.02, 0);
    CHECK(o.samples > 20 && o.samples < 60, "%.1f samples", o.samples);
}

static void drift_ends_on_the_plateau_and_noise_does_not(void)
{
    outcome o = simulate(normal, 0.001, 0.01);
    CHECK(o.stopped[FASC_STOP_PLATEAU] > 0.95, "drift: plateau in %.0f%%",
          100 * o.stopped[FASC_STOP_PLATEAU]);
    CHECK(o.samples < 90, "drift: %.1f samples", o.samples);
    o = simulate(normal, 0.05, 0);
    CHECK(o.stopped[FASC_STOP_PLATEAU] < 0.1, "noise: plateau in %.1f%%",
          100 * o.stopped[FASC_STOP_PLATEAU]);
}

static void limits_end_it(void)
{
    double x[3] = {1, 2, 4}, scratch[3];
    fasc_timing_options given = {.size = sizeof given, .max_samples = 3, .max_seconds = 10};
    fasc_stopping s = {.scratch = scratch};
    CHECK_OK(fasc_timing_defaults(&given, &s.options));
    CHECK(fasc_stopping_look(&s, x, 1, 0.5) == FASC_STOP_NO, "neither");
    CHECK(fasc_stopping_look(&s, x, 1, 10.0) == FASC_STOP_LIMIT, "by time");
    CHECK(fasc_stopping_look(&s, x, 3, 0.5) == FASC_STOP_LIMIT, "by count");
}

TEST_MAIN(known_samples, one_sample_says_nothing_of_its_error, equal_samples_have_no_error,
          one_outlier_moves_neither_median_nor_rse, input_stays_as_it_was, bad_input_is_named,
          defaults_are_those_of_the_header, medians_scatter_by_the_target_when_converged,
          quiet_machines_need_few_samples, drift_ends_on_the_plateau_and_noise_does_not,
          limits_end_it)
