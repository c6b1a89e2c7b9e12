/* flash_diagonals.c - sums along diagonals: each work item has BAND neighbouring diagonals of a
 * head and goes down them, group of queries by group, so that no other thread adds to them. */
#include <string.h>

#include "cpu/flash_second.h"
#include "cpu/rows.h"

enum { BAND = 512 };

typedef struct band {
    flash_second second;
    float *sum_p, *sum_s; /* BAND and a group's width on either side, which belongs to others */
    double *diagonal_p, *diagonal_s;
} band;

static int64_t length_of(const fasc_problem *p)
{
    return p->seqlen_q + p->seqlen_k - 1;
}

static int64_t bands_of(const fasc_problem *p)
{
    return (length_of(p) + BAND - 1) / BAND;
}

int64_t flash_diagonals_count(const flash_job *job)
{
    const fasc_problem *p = job->problem;
    return job->diagonals ? p->batch * p->heads_q * bands_of(p) : 0;
}

static int64_t lend(const flash_job *job, char *base, band *x)
{
    *x = (band){0};
    int64_t used = flash_second_lend(job, job->problem->q1 - job->problem->q0, base, &x->second);
    int64_t floats = BAND + 2 * x->second.width;
    x->sum_p = flash_take(base, &used, floats);
    x->sum_s = flash_take(base, &used, floats);
    x->diagonal_p = (double *)(void *)flash_take(base, &used, 2 * BAND);
    x->diagonal_s = (double *)(void *)flash_take(base, &used, 2 * BAND);
    return used;
}

int64_t flash_diagonals_bytes(const flash_job *job)
{
    band x;
    return job->diagonals ? lend(job, NULL, &x) : 0;
}

static void flush(band *x)
{
    int64_t width = x->second.width;
    for (int64_t n = 0; n < BAND; n++) {
        x->diagonal_p[n] += (double)x->sum_p[width + n];
        x->diagonal_s[n] += (double)x->sum_s[width + n];
    }
    memset(x->sum_p, 0, (size_t)(BAND + 2 * width) * sizeof *x->sum_p);
    memset(x->sum_s, 0, (size_t)(BAND + 2 * width) * sizeof *x->sum_s);
}

/* Pair (i, j) lies on diagonal i + Nk - 1 - j. */
static void meet(const flash_job *job, const flash_group *g, int64_t first, const flash_keys *keys,
                 band *x)
{
    const fasc_problem *p = job->problem;
    int64_t begin, end;
    float *s = flash_second_scores(job, g, keys, &begin, &end, &x->second);
    int64_t at = g->first + p->seqlen_k - 1 - begin - first + x->second.width;
    if (begin >= end) {
        return;
    }
    if (p->args->diag_sum_logits) {
        job->ops->add_diagonals(s, end - begin, g->width, x->sum_s + at);
    }
    if (p->args->diag_sum_probs) {
        flash_second_probs(job, s, end - begin, &x->second);
        job->ops->add_diagonals(s, end - begin, g->width, x->sum_p + at);
    }
}

static void store(fasc_tensor *t, int64_t b, int64_t h, int64_t first, int64_t count,
                  const double *sums)
{
    for (int64_t n = 0; t && n < count; n++) {
        *(float *)fasc_row(t, b, h, first + n) = (float)sums[n];
    }
}

void flash_diagonals_run(const flash_job *job, int64_t number, char *base)
{
    const fasc_problem *p = job->problem;
    const fasc_attention_args *args = p->args;
    int64_t head = number / bands_of(p), first = number % bands_of(p) * BAND;
    int64_t b = head / p->heads_q, h = head % p->heads_q;
    int64_t count = fasc_least(BAND, length_of(p) - first);
    band x;
    lend(job, base, &x);
    int64_t width = x.second.width;
    memset(x.sum_p, 0, (size_t)(BAND + 2 * width) * sizeof *x.sum_p);
    memset(x.sum_s, 0, (size_t)(BAND + 2 * width) * sizeof *x.sum_s);
    memset(x.diagonal_p, 0, BAND * sizeof *x.diagonal_p);
    memset(x.diagonal_s, 0, BAND * sizeof *x.diagonal_s);
    for (int64_t i = p->q0; i < p->q1 && !fasc_stopped(job->stop); i += width) {
        int64_t rows = fasc_least(width, p->q1 - i);
        int64_t begin = i + p->seqlen_k - 1 - (first + count - 1); /* keys on these diagonals */
        int64_t end = i + rows - 1 + p->seqlen_k - 1 - first + 1, from, to, ignored;
        fasc_visible_range(p, i, &from, &ignored);
        fasc_visible_range(p, i + rows - 1, &ignored, &to);
        begin = begin > from ? begin : from;
        begin = begin > p->k0 ? begin : p->k0;
        end = fasc_least(fasc_least(end, to), p->k1);
        if (begin < end) {
            flash_group g = flash_second_group(job, b, h, i, p->q1, &x.second);
            for (int64_t j = begin; j < end; j += job->block_n) {
                flash_keys keys = {.begin = j, .end = fasc_least(j + job->block_n, end)};
                keys.k = flash_rows_of(args->k, b, h / p->group, j, keys.end, x.second.scratch.k,
                                       &keys.k_ld);
                meet(job, &g, first, &keys, &x);
            }
        }
        if ((i - p->q0) % FLASH_FLUSH_DIAGONALS + width >= FLASH_FLUSH_DIAGONALS) {
            flush(&x);
        }
    }
    flush(&x);
    if (!fasc_stopped(job->stop)) {
        store(args->diag_sum_probs, b, h, first, count, x.diagonal_p);
        store(args->diag_sum_logits, b, h, first, count, x.diagonal_s);
    }
}
