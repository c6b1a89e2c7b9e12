/* summary.c - summarize and compare on the CPU. A tensor is cut into chunks by its size alone and
 * the chunks' results are joined in order, so that no bit depends on the number of threads. */
#include <math.h>
#include <stdlib.h>

#include "cpu/cpu.h"
#include "cpu/walk.h"
#include "threads.h"

enum {
    BUFFER = 1024,     /* elements looked at together */
    LEAST = 65536,     /* elements of a chunk, at least */
    MOST_CHUNKS = 4096 /* chunks of a tensor, at most */
};

static int64_t chunk_size(int64_t numel)
{
    int64_t size = (numel + MOST_CHUNKS - 1) / MOST_CHUNKS;
    return size > LEAST ? size : LEAST;
}

static fasc_status no_memory(const char *call, size_t bytes)
{
    return fasc_fail(FASC_ENOMEM, "%s: no memory for %zu bytes of partial results", call, bytes);
}

/* ---- summarize -------------------------------------------------------------- */

enum { LANES = 8 }; /* sums kept side by side, so that they need not wait for one another */

typedef struct part {
    int64_t nan_count, inf_count;
    double min, max, sum;
} part;

static part summarize_chunk(const fasc_walk *walk, int64_t first, int64_t end)
{
    double x[BUFFER], sum[LANES] = {0}, min[LANES], max[LANES];
    int64_t nan_count[LANES] = {0}, inf_count[LANES] = {0};
    for (int l = 0; l < LANES; l++) {
        min[l] = INFINITY;
        max[l] = -INFINITY;
    }
    for (int64_t at = first; at < end; at += BUFFER) {
        int64_t n = end - at < BUFFER ? end - at : BUFFER;
        fasc_walk_load_f64(walk, at, n, x);
        for (; n % LANES != 0; n++) {
            x[n] = NAN; /* counted off below */
            nan_count[0]--;
        }
        for (int64_t i = 0; i < n; i += LANES) {
            for (int l = 0; l < LANES; l++) {
                double value = x[i + l], size = fabs(value);
                nan_count[l] += value != value;
                inf_count[l] += size == INFINITY;
                sum[l] += size < INFINITY ? value : 0.0;
                min[l] = value < min[l] ? value : min[l];
                max[l] = value > max[l] ? value : max[l];
            }
        }
    }
    part p = {.min = INFINITY, .max = -INFINITY};
    for (int l = 0; l < LANES; l++) {
        p.nan_count += nan_count[l];
        p.inf_count += inf_count[l];
        p.sum += sum[l];
        p.min = min[l] < p.min ? min[l] : p.min;
        p.max = max[l] > p.max ? max[l] : p.max;
    }
    return p;
}

fasc_status fasc_cpu_summarize(const fasc_tensor *t, fasc_summary *summary)
{
    const fasc_walk walk = fasc_walk_over(t);
    const int64_t size = chunk_size(t->numel), chunks = (t->numel + size - 1) / size;
    part *parts = malloc((size_t)chunks * sizeof *parts);
    if (!parts) {
        return no_memory("tensor_summarize", (size_t)chunks * sizeof *parts);
    }
#pragma omp parallel for schedule(static) num_threads(fasc_threads_for(t->numel * 8))
    for (int64_t c = 0; c < chunks; c++) {
        int64_t first = c * size, end = first + size < t->numel ? first + size : t->numel;
        parts[c] = summarize_chunk(&walk, first, end);
    }
    part all = parts[0];
    for (int64_t c = 1; c < chunks; c++) {
        all.nan_count += parts[c].nan_count;
        all.inf_count += parts[c].inf_count;
        all.sum += parts[c].sum;
        all.min = parts[c].min < all.min ? parts[c].min : all.min;
        all.max = parts[c].max > all.max ? parts[c].max : all.max;
    }
    free(parts);
    bool numbers = all.nan_count < t->numel;
    int64_t finite = t->numel - all.nan_count - all.inf_count;
    summary->count = t->numel;
    summary->nan_count = all.nan_count;
    summary->inf_count = all.inf_count;
    summary->min = numbers ? all.min : NAN;
    summary->max = numbers ? all.max : NAN;
    summary->sum = all.sum;
    summary->mean = finite > 0 ? all.sum / (double)finite : NAN;
    return FASC_OK;
}

/* ---- compare ---------------------------------------------------------------- */

/* What makes two values a mismatch: one NaN alone, or an infinity that the other does not share. */
static bool mismatch(double a, double b)
{
    bool special = !isfinite(a) || !isfinite(b), both_nan = a != a && b != b;
    return special && !both_nan && a != b;
}

/* The worst pair is a mismatch, the first one, if there is any; else the first pair with the
 * largest difference. */
typedef struct worst {
    int64_t mismatch, index, first_mismatch;
    double max_abs, max_rel;
} worst;

static void compare_pair(worst *w, double a, double b, int64_t index)
{
    if (mismatch(a, b)) {
        if (w->mismatch++ == 0) {
            w->first_mismatch = index;
        }
        return;
    }
    if (!isfinite(a) || !isfinite(b)) {
        return;
    }
    double difference = fabs(a - b);
    if (difference > w->max_abs || w->index < 0) {
        w->max_abs = difference;
        w->index = index;
    }
    if (b != 0 && difference > w->max_rel * fabs(b)) {
        w->max_rel = difference / fabs(b);
    }
}

static worst compare_chunk(const fasc_walk *a, const fasc_walk *b, int64_t first, int64_t end)
{
    double x[BUFFER], y[BUFFER];
    worst w = {.index = -1, .first_mismatch = -1};
    for (int64_t at = first; at < end; at += BUFFER) {
        int64_t n = end - at < BUFFER ? end - at : BUFFER;
        fasc_walk_load_f64(a, at, n, x);
        fasc_walk_load_f64(b, at, n, y);
        for (int64_t i = 0; i < n; i++) {
            compare_pair(&w, x[i], y[i], at + i);
        }
    }
    return w;
}

fasc_status fasc_cpu_compare(const fasc_tensor *a, const fasc_tensor *b,
                             fasc_difference *difference)
{
    const fasc_walk a_walk = fasc_walk_over(a), b_walk = fasc_walk_over(b);
    const int64_t size = chunk_size(a->numel), chunks = (a->numel + size - 1) / size;
    worst *parts = malloc((size_t)chunks * sizeof *parts);
    if (!parts) {
        return no_memory("tensor_compare", (size_t)chunks * sizeof *parts);
    }
#pragma omp parallel for schedule(static) num_threads(fasc_threads_for(a->numel * 16))
    for (int64_t c = 0; c < chunks; c++) {
        int64_t first = c * size, end = first + size < a->numel ? first + size : a->numel;
        parts[c] = compare_chunk(&a_walk, &b_walk, first, end);
    }
    worst all = parts[0];
    for (int64_t c = 1; c < chunks; c++) {
        const worst *p = &parts[c];
        all.first_mismatch = all.mismatch ? all.first_mismatch : p->first_mismatch;
        all.mismatch += p->mismatch;
        if (p->index >= 0 && (all.index < 0 || p->max_abs > all.max_abs)) {
            all.max_abs = p->max_abs;
            all.index = p->index;
        }
        all.max_rel = p->max_rel > all.max_rel ? p->max_rel : all.max_rel;
    }
    free(parts);
    difference->count = a->numel;
    difference->mismatch = all.mismatch;
    difference->max_abs = all.max_abs;
    difference->max_rel = all.max_rel;
    difference->max_abs_index = all.mismatch ? all.first_mismatch : all.index >= 0 ? all.index : 0;
    return FASC_OK;
}
