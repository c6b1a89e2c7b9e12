/* summary_kernel.h - the loops of summary_portable.c, summary_avx2.c and summary_avx512.c, which
 * define SUMMARY_LOOPS to their table's name. The lanes lie in as many vectors as the instruction
 * set's registers need. */
#include <string.h>

#include "cpu/summary.h"

#if defined(__AVX512F__)
#define WIDTH 8
#elif defined(__AVX2__)
#define WIDTH 4
#else
#define WIDTH 2
#endif
enum { VECTORS = FASC_LANES / WIDTH };

typedef double reals __attribute__((vector_size(WIDTH * sizeof(double))));
typedef int64_t flags __attribute__((vector_size(WIDTH * sizeof(int64_t)))); /* 0 or -1 */

static inline reals load(const double *x)
{
    reals v;
    memcpy(&v, x, sizeof v);
    return v;
}

/* a where the flag is set, b elsewhere. */
static inline reals choose(flags which, reals a, reals b)
{
    return (reals)(((flags)a & which) | ((flags)b & ~which));
}

static inline reals magnitude(reals x)
{
    return (reals)((flags)x & INT64_MAX);
}

static void summarize(fasc_summary_lanes *lanes, const double *x, int64_t n)
{
    const reals zero = {0}, infinity = zero + __builtin_inf();
    flags nan_count[VECTORS], inf_count[VECTORS];
    reals min[VECTORS], max[VECTORS], sum[VECTORS];
    memcpy(nan_count, lanes->nan_count, sizeof nan_count);
    memcpy(inf_count, lanes->inf_count, sizeof inf_count);
    memcpy(min, lanes->min, sizeof min);
    memcpy(max, lanes->max, sizeof max);
    memcpy(sum, lanes->sum, sizeof sum);
    for (int64_t i = 0; i < n; i += FASC_LANES) {
        for (int v = 0; v < VECTORS; v++) {
            reals value = load(x + i + v * WIDTH), size = magnitude(value);
            nan_count[v] -= value != value;
            inf_count[v] -= size == infinity;
            sum[v] += choose(size < infinity, value, zero);
            min[v] = choose(value < min[v], value, min[v]);
            max[v] = choose(value > max[v], value, max[v]);
        }
    }
    memcpy(lanes->nan_count, nan_count, sizeof nan_count);
    memcpy(lanes->inf_count, inf_count, sizeof inf_count);
    memcpy(lanes->min, min, sizeof min);
    memcpy(lanes->max, max, sizeof max);
    memcpy(lanes->sum, sum, sizeof sum);
}

static void compare(fasc_difference_lanes *lanes, const double *a, const double *b, int64_t n)
{
    const reals zero = {0}, none = zero - 1, infinity = zero + __builtin_inf();
    flags mismatch[VECTORS];
    reals max_abs[VECTORS], max_rel[VECTORS];
    memcpy(mismatch, lanes->mismatch, sizeof mismatch);
    memcpy(max_abs, lanes->max_abs, sizeof max_abs);
    memcpy(max_rel, lanes->max_rel, sizeof max_rel);
    for (int64_t i = 0; i < n; i += FASC_LANES) {
        for (int v = 0; v < VECTORS; v++) {
            reals x = load(a + i + v * WIDTH), y = load(b + i + v * WIDTH), size = magnitude(y);
            flags finite = (magnitude(x) < infinity) & (size < infinity);
            reals difference = choose(finite, magnitude(x - y), none);
            reals share = choose(finite & (size > zero), difference / size, zero);
            mismatch[v] -= ~finite & (x != y) & ~((x != x) & (y != y));
            max_abs[v] = choose(difference > max_abs[v], difference, max_abs[v]);
            max_rel[v] = choose(share > max_rel[v], share, max_rel[v]);
        }
    }
    memcpy(lanes->mismatch, mismatch, sizeof mismatch);
    memcpy(lanes->max_abs, max_abs, sizeof max_abs);
    memcpy(lanes->max_rel, max_rel, sizeof max_rel);
}

const fasc_summary_loops SUMMARY_LOOPS = {summarize, compare};
