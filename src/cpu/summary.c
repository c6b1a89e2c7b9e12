/* summary.c - summarize and compare on the CPU. A tensor is cut into chunks by its size alone and
 * the chunks' results are joined in order, so that no bit depends on the number of threads. */
#include "cpu/summary.h"

#include <math.h>
#include <stdlib.h>

#include "cpu/cpu.h"
#include "cpu/walk.h"
#include "threads.h"

enum {
    BUFFER = 1024,     /* elements looked at together; a multiple of FASC_LANES */
    LEAST = 65536,     /* elements of a chunk, at least */
    MOST_CHUNKS = 4096 /* chunks of a tensor, at most */
};

/* The chunks of a tensor of n elements. */
typedef struct cut {
    int64_t numel, size, count;
} cut;

static cut cut_up(int64_t numel)
{
    int64_t size = (numel + MOST_CHUNKS - 1) / MOST_CHUNKS;
    size = size > LEAST ? size : LEAST;
    return (cut){numel, size, (numel + size - 1) / size};
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static fasc_status no_memory(const char *call, size_t bytes)
{
    return fasc_fail(FASC_ENOMEM, "%s: no memory for %zu bytes of partial results", call, bytes);
}

/* ---- summarize -------------------------------------------------------------- */

typedef struct part {
    int64_t nan_count, inf_count;
    double min, max, sum;
} part;

static const part NOTHING = {.min = INFINITY, .max = -INFINITY};

static void join(part *all, part p)
{
    all->nan_count += p.nan_count;
    all->inf_count += p.inf_count;
    all->sum += p.sum;
    all->min = p.min < all->min ? p.min : all->min;
    all->max = p.max > all->max ? p.max : all->max;
}

static part summarize_chunk(const fasc_walk *walk, int64_t first, int64_t end)
{
    const fasc_summary_loops *loops = fasc_summary_loops_for(fasc_cpu_isa());
    double x[BUFFER];
    fasc_summary_lanes lanes = {.nan_count = {0}};
    for (int l = 0; l < FASC_LANES; l++) {
        lanes.min[l] = INFINITY;
        lanes.max[l] = -INFINITY;
    }
    for (int64_t at = first; at < end; at += BUFFER) {
        int64_t n = least(end - at, BUFFER);
        fasc_walk_load_f64(walk, at, n, x);
        for (; n % FASC_LANES != 0; n++) {
            x[n] = NAN; /* made-up elements, counted off again */
            lanes.nan_count[n % FASC_LANES]--;
        }
        loops->summarize(&lanes, x, n);
    }
    part p = NOTHING;
    for (int l = 0; l < FASC_LANES; l++) {
        join(&p, (part){lanes.nan_count[l], lanes.inf_count[l], lanes.min[l], lanes.max[l],
                        lanes.sum[l]});
    }
    return p;
}

fasc_status fasc_cpu_summarize(const fasc_tensor *t, fasc_summary *summary)
{
    const fasc_walk walk = fasc_walk_over(t);
    const cut chunks = cut_up(t->numel);
    part *parts = malloc((size_t)chunks.count * sizeof *parts);
    if (!parts) {
        return no_memory("tensor_summarize", (size_t)chunks.count * sizeof *parts);
    }
    bool done = true;
#pragma omp parallel for schedule(static) num_threads(fasc_threads_for(t->numel * 8))                \
    reduction(&& : done)
    for (int64_t c = 0; c < chunks.count; c++) {
        if (!done || fasc_stop_at(c)) {
            done = false;
            continue;
        }
        int64_t first = c * chunks.size;
        parts[c] = summarize_chunk(&walk, first, least(first + chunks.size, t->numel));
    }
    if (!done) {
        free(parts);
        return fasc_fail(FASC_ECANCELED, "tensor_summarize: canceled");
    }
    part all = NOTHING;
    for (int64_t c = 0; c < chunks.count; c++) {
        join(&all, parts[c]);
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

typedef struct gap {
    int64_t mismatch, first_mismatch; /* how many, and where the first is */
    double max_abs, max_rel;          /* max_abs -1: no pair is finite */
    int64_t index;                    /* where max_abs is first reached */
} gap;

static bool finite_pair(double a, double b)
{
    return isfinite(a) && isfinite(b);
}

static bool mismatched_pair(double a, double b)
{
    return !finite_pair(a, b) && a != b && !(isnan(a) && isnan(b));
}

/* Joins the lanes' counts, and finds in the block that has just been through the loops where the
 * new maximum and the first mismatch are. */
static void note_block(gap *g, const fasc_difference_lanes *lanes, const double *a, const double *b,
                       int64_t first, int64_t n)
{
    int64_t count = 0;
    double max_abs = -1;
    for (int l = 0; l < FASC_LANES; l++) {
        count += lanes->mismatch[l];
        max_abs = lanes->max_abs[l] > max_abs ? lanes->max_abs[l] : max_abs;
        g->max_rel = lanes->max_rel[l] > g->max_rel ? lanes->max_rel[l] : g->max_rel;
    }
    bool first_mismatch = g->mismatch == 0 && count > 0, worse = max_abs > g->max_abs;
    g->mismatch = count;
    g->max_abs = max_abs;
    for (int64_t i = 0; i < n && (first_mismatch || worse); i++) {
        if (first_mismatch && mismatched_pair(a[i], b[i])) {
            g->first_mismatch = first + i;
            first_mismatch = false;
        }
        if (worse && finite_pair(a[i], b[i]) && fabs(a[i] - b[i]) == max_abs) {
            g->index = first + i;
            worse = false;
        }
    }
}

static gap compare_chunk(const fasc_walk *a, const fasc_walk *b, int64_t first, int64_t end)
{
    const fasc_summary_loops *loops = fasc_summary_loops_for(fasc_cpu_isa());
    double x[BUFFER], y[BUFFER];
    gap g = {.max_abs = -1};
    fasc_difference_lanes lanes = {.mismatch = {0}};
    for (int l = 0; l < FASC_LANES; l++) {
        lanes.max_abs[l] = -1;
    }
    for (int64_t at = first; at < end; at += BUFFER) {
        int64_t n = least(end - at, BUFFER);
        fasc_walk_load_f64(a, at, n, x);
        fasc_walk_load_f64(b, at, n, y);
        int64_t filled = n;
        for (; filled % FASC_LANES != 0; filled++) {
            x[filled] = y[filled] = NAN; /* made-up pairs, which count for nothing */
        }
        loops->compare(&lanes, x, y, filled);
        note_block(&g, &lanes, x, y, at, n);
    }
    return g;
}

fasc_status fasc_cpu_compare(const fasc_tensor *a, const fasc_tensor *b,
                             fasc_difference *difference)
{
    const fasc_walk a_walk = fasc_walk_over(a), b_walk = fasc_walk_over(b);
    const cut chunks = cut_up(a->numel);
    gap *gaps = malloc((size_t)chunks.count * sizeof *gaps);
    if (!gaps) {
        return no_memory("tensor_compare", (size_t)chunks.count * sizeof *gaps);
    }
    bool done = true;
#pragma omp parallel for schedule(static) num_threads(fasc_threads_for(a->numel * 16))                \
    reduction(&& : done)
    for (int64_t c = 0; c < chunks.count; c++) {
        if (!done || fasc_stop_at(c)) {
            done = false;
            continue;
        }
        int64_t first = c * chunks.size;
        gaps[c] = compare_chunk(&a_walk, &b_walk, first, least(first + chunks.size, a->numel));
    }
    if (!done) {
        free(gaps);
        return fasc_fail(FASC_ECANCELED, "tensor_compare: canceled");
    }
    gap all = {.max_abs = -1};
    for (int64_t c = 0; c < chunks.count; c++) {
        if (all.mismatch == 0) {
            all.first_mismatch = gaps[c].first_mismatch;
        }
        if (gaps[c].max_abs > all.max_abs) {
            all.max_abs = gaps[c].max_abs;
            all.index = gaps[c].index;
        }
        all.mismatch += gaps[c].mismatch;
        all.max_rel = gaps[c].max_rel > all.max_rel ? gaps[c].max_rel : all.max_rel;
    }
    free(gaps);
    difference->count = a->numel;
    difference->mismatch = all.mismatch;
    difference->max_abs = all.max_abs > 0 ? all.max_abs : 0;
    difference->max_rel = all.max_rel;
    difference->max_abs_index = all.mismatch > 0 ? all.first_mismatch : all.index;
    return FASC_OK;
}
