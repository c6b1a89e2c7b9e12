/* blas.c - attention as a framework's math path does it: scores of a whole head by sgemm, softmax
 * over its rows, then P V by sgemm. A baseline that is meant to be good: heads are shared out to
 * threads with OpenBLAS on one thread each (faster than the other way round), and the exponential
 * is flash's. With fewer heads than threads, each head's queries are split as well. */
#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "cpu/attention.h"
#include "cpu/openblas.h"
#include "cpu/row_statistics.h"
#include "cpu/rows.h"
#include "cpu/tile.h"
#include "problem.h"

enum {
    PRODUCT_ROWS = 4096, /* of one call of sgemm, which cannot be cancelled */
    SUM_KEYS = 1024      /* terms of one sum in float32 */
};

/* A matrix of float32 rows. */
typedef struct matrix {
    float *data;
    int64_t ld;
} matrix;

/* One thread's scratch. */
typedef struct scratch {
    float *scores;  /* (rows, seqlen_k) */
    float *q, *out; /* (rows, head_dim), where q and out are not float32 rows */
    float *k, *v;   /* (seqlen_k, head_dim) */
    float *mask;    /* seqlen_k */
} scratch;

/* Queries [first, first + count) of head (b, h). */
typedef struct part {
    int64_t b, h, first, count;
} part;

static bool float_rows(const fasc_tensor *t)
{
    return t->dtype == FASC_F32 && t->stride[3] == 1 && t->stride[2] >= t->shape[3] &&
           t->stride[2] <= INT_MAX;
}

/* Rows [first, first + count) of a head: where they lie, or copied to buffer. */
static matrix rows_of(const fasc_tensor *t, int64_t b, int64_t h, int64_t first, int64_t count,
                      float *buffer)
{
    if (float_rows(t)) {
        return (matrix){(float *)fasc_row(t, b, h, first), t->stride[2]};
    }
    for (int64_t i = 0; i < count; i++) {
        fasc_load_f32(buffer + i * t->shape[3], fasc_row(t, b, h, first + i), t->dtype,
                      t->stride[3], t->shape[3]);
    }
    return (matrix){buffer, t->shape[3]};
}

/* ---- the plan ---------------------------------------------------------------------------- */

/* Rows of a head that one thread takes at a time. */
static int64_t rows_per_part(const fasc_problem *p)
{
    int64_t heads = p->batch * p->heads_q, threads = fasc_num_threads();
    if (fasc_sums_over_queries(p)) {
        return p->seqlen_q; /* in one order, by one thread */
    }
    int64_t parts = heads >= threads ? 1 : (threads + heads - 1) / heads;
    return (p->seqlen_q + parts - 1) / parts;
}

static int64_t parts_of(const fasc_problem *p, int64_t rows)
{
    return (p->seqlen_q + rows - 1) / rows;
}

static float *take(char *base, int64_t *used, int64_t n)
{
    float *floats = base ? (float *)(base + *used) : NULL;
    *used += fasc_aligned(n * (int64_t)sizeof *floats);
    return floats;
}

static int64_t scratch_lend(const fasc_problem *p, int64_t rows, char *base, scratch *s)
{
    const fasc_attention_args *args = p->args;
    int64_t used = 0, dims = p->head_dim, keys = p->seqlen_k;
    *s = (scratch){0};
    s->scores = take(base, &used, rows * keys);
    s->q = take(base, &used, float_rows(args->q) ? 0 : rows * dims);
    s->k = take(base, &used, float_rows(args->k) ? 0 : keys * dims);
    if (args->out) {
        s->v = take(base, &used, float_rows(args->v) ? 0 : keys * dims);
        s->out = take(base, &used, float_rows(args->out) ? 0 : rows * dims);
    }
    s->mask = take(base, &used, p->mask_data ? keys : 0);
    return used;
}

static const char *blas_refuses(const fasc_problem *problem)
{
    if (fasc_problem_has_f64(problem)) {
        return "computes in float32 and serves no f64";
    }
    return problem->seqlen_q > INT_MAX || problem->seqlen_k > INT_MAX || problem->head_dim > INT_MAX
               ? "counts no further than 2^31 - 1"
               : NULL;
}

static fasc_status blas_plan(const fasc_problem *problem, fasc_attention_plan *plan)
{
    scratch s;
    fasc_row_statistics statistics;
    int64_t rows = rows_per_part(problem);
    plan->threads = fasc_cpu_threads(problem->batch * problem->heads_q /
                                     fasc_heads_together(problem) * parts_of(problem, rows));
    plan->workspace_bytes =
        FASC_CPU_ALIGN + fasc_row_statistics_shared(problem) +
        plan->threads * (scratch_lend(problem, rows, NULL, &s) +
                         fasc_row_statistics_lend(problem, NULL, NULL, &statistics));
    snprintf(plan->config, sizeof plan->config, "%s, %lld rows at a time, %d threads%s", plan->arch,
             (long long)rows, plan->threads,
             fasc_sums_over_queries(problem) ? ", a head each" : "");
    return FASC_OK;
}

/* ---- softmax over rows -------------------------------------------------------------------- */

/* Scores of one row become probabilities, in place; returns the LSE. shown: others than out see
 * them, so that in a row with a NaN those of hidden keys must be 0. */
static double softmax_row(const fasc_problem *p, const fasc_tile_ops *ops, const part *at,
                          int64_t i, float *scores, bool shown)
{
    int64_t n = p->seqlen_k;
    float largest = ops->row_max(scores, n), sum;
    if (shown) {
        sum = ops->row_sum(scores, n, largest);
        ops->row_probs(scores, n, largest, sum == 0 ? 0.0f : log2f(sum));
    } else {
        sum = ops->row_exp(scores, n, largest);
        float inverse = sum == 0 ? 0.0f : 1.0f / sum;
        for (int64_t j = 0; j < n; j++) {
            scores[j] *= inverse;
        }
    }
    fasc_store_statistics(p, at->b, at->h, i, largest, (double)sum);
    return sum == 0 ? -INFINITY : (double)largest + log((double)sum);
}

/* ---- one part ---------------------------------------------------------------------------------
 */

/* P V where a hidden key's value may be NaN or infinite: a probability of 0 adds nothing. */
static void values_one_by_one(const fasc_problem *p, matrix probs, matrix v, matrix out,
                              int64_t count)
{
    for (int64_t r = 0; r < count; r++) {
        for (int64_t d = 0; d < p->head_dim; d++) {
            double sum = 0;
            for (int64_t j = 0; j < p->seqlen_k; j++) {
                float weight = probs.data[r * probs.ld + j];
                sum += weight == 0 ? 0.0 : (double)weight * (double)v.data[j * v.ld + d];
            }
            out.data[r * out.ld + d] = (float)sum;
        }
    }
}

/* P V, so many keys at a time: one float32 sum over all of them would lose digits. */
static void weigh_values(matrix probs, matrix v, matrix out, int64_t rows, int64_t dims,
                         int64_t keys)
{
    for (int64_t j = 0; j < keys && !fasc_cancel_requested(); j += SUM_KEYS) {
        int count = (int)(keys - j < SUM_KEYS ? keys - j : SUM_KEYS);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)dims, count, 1.0f,
                    probs.data + j, (int)probs.ld, v.data + j * v.ld, (int)v.ld,
                    j == 0 ? 0.0f : 1.0f, out.data, (int)out.ld);
    }
}

/* What follows the first product in a row: hiding, softmax, scores and statistics stored. */
static void finish_row(const fasc_problem *p, const fasc_tile_ops *ops, const part *at, int64_t i,
                       float *row, scratch *s, fasc_row_statistics *statistics)
{
    const fasc_attention_args *args = p->args;
    fasc_store_row(args->logits, at->b, at->h, i, row);
    fasc_hide_row(p, at->b, at->h, i, row, s->mask);
    fasc_store_row(args->masked, at->b, at->h, i, row);
    if (statistics->scores) {
        memcpy(statistics->scores, row, (size_t)p->seqlen_k * sizeof *row);
    }
    if (p->wanted & ~(FASC_WANT(LOGITS) | FASC_WANT(MASKED))) {
        double lse = softmax_row(p, ops, at, i, row, args->probs || statistics->scores);
        if (statistics->scores) {
            fasc_row_statistics_add(statistics, at->b, at->h, i, row, lse);
        }
    }
    fasc_store_row(args->probs, at->b, at->h, i, row);
    if (p->dropout) {
        fasc_drop_row(p, at->b, at->h, i, row);
    }
}

static void blas_part(const fasc_problem *p, const fasc_tile_ops *ops, const part *at, scratch *s,
                      fasc_row_statistics *statistics)
{
    const fasc_attention_args *args = p->args;
    int64_t hk = at->h / p->group, dims = p->head_dim, keys = p->seqlen_k;
    matrix q = rows_of(args->q, at->b, at->h, at->first, at->count, s->q);
    matrix k = rows_of(args->k, at->b, hk, 0, keys, s->k);
    matrix scores = {s->scores, keys};
    /* A product times 0 is not worked out by BLAS, but 0 times a NaN or an infinity is NaN. */
    float scale = p->scale == 0 ? 1.0f : (float)p->scale;
    for (int64_t r = 0; r < at->count && !fasc_cancel_requested(); r += PRODUCT_ROWS) {
        int64_t left = at->count - r;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans,
                    (int)(left < PRODUCT_ROWS ? left : PRODUCT_ROWS), (int)keys, (int)dims, scale,
                    q.data + r * q.ld, (int)q.ld, k.data, (int)k.ld, 0.0f,
                    scores.data + r * scores.ld, (int)scores.ld);
    }
    for (int64_t n = 0; n < at->count * keys && p->scale == 0; n++) {
        scores.data[n] *= 0.0f;
    }
    for (int64_t r = 0; r < at->count && !fasc_cancel_requested(); r++) {
        finish_row(p, ops, at, at->first + r, scores.data + r * scores.ld, s, statistics);
    }
    if (!args->out) {
        return;
    }
    bool direct = float_rows(args->out);
    matrix v = rows_of(args->v, at->b, hk, 0, keys, s->v);
    matrix out = {s->out, dims};
    if (direct) {
        out = rows_of(args->out, at->b, at->h, at->first, at->count, NULL);
    }
    if ((p->banded || p->mask_data || p->dropout) && !fasc_all_finite(v.data, v.ld, keys, dims)) {
        values_one_by_one(p, scores, v, out, at->count);
    } else {
        weigh_values(scores, v, out, at->count, dims, keys);
    }
    for (int64_t r = 0; r < at->count && !direct; r++) {
        fasc_store_row(args->out, at->b, at->h, at->first + r, out.data + r * out.ld);
    }
}

/* Unit `unit` of the work: part of a head, or the heads that sums take together. */
static void blas_unit(const fasc_problem *p, const fasc_tile_ops *ops, int64_t unit, int64_t rows,
                      scratch *s, fasc_row_statistics *statistics, fasc_stop *stop)
{
    int64_t parts = parts_of(p, rows), together = fasc_heads_together(p);
    int64_t head = unit / parts * together;
    for (int64_t n = head; n < head + together && !fasc_stopped(stop); n++) {
        part at = {.b = n / p->heads_q, .h = n % p->heads_q, .first = unit % parts * rows};
        at.count = fasc_least(p->seqlen_q - at.first, rows);
        if (fasc_sums_over_queries(p)) {
            fasc_row_statistics_begin(statistics, at.b, at.h);
        }
        blas_part(p, ops, &at, s, statistics);
        if (fasc_sums_over_queries(p)) {
            fasc_row_statistics_end(statistics, at.b, at.h);
        }
    }
}

static fasc_status blas_run(const fasc_problem *problem, const fasc_attention_plan *plan,
                            char *workspace)
{
    fasc_stop stop = {false};
    fasc_isa isa = FASC_ISA_PORTABLE;
    scratch size;
    fasc_row_statistics none;
    int64_t rows = rows_per_part(problem);
    int64_t units =
        problem->batch * problem->heads_q / fasc_heads_together(problem) * parts_of(problem, rows);
    int64_t bytes = scratch_lend(problem, rows, NULL, &size);
    int64_t more = fasc_row_statistics_lend(problem, NULL, NULL, &none);
    float *largest = (float *)workspace;
    char *scratches = workspace + fasc_row_statistics_shared(problem);
    fasc_isa_parse(plan->arch, &isa);
    const fasc_tile_ops *ops = fasc_tile_ops_for(isa, false);
    fasc_openblas_enter(1);
#pragma omp parallel num_threads(plan->threads)
    {
        scratch mine;
        fasc_row_statistics statistics;
        char *base = scratches + omp_get_thread_num() * (bytes + more);
        scratch_lend(problem, rows, base, &mine);
        fasc_row_statistics_lend(problem, base + bytes, largest, &statistics);
#pragma omp for schedule(dynamic)
        for (int64_t unit = 0; unit < units; unit++) {
            if (!fasc_stopped(&stop)) {
                blas_unit(problem, ops, unit, rows, &mine, &statistics, &stop);
            }
        }
    }
    fasc_openblas_leave();
    fasc_store_max_logit(problem, largest);
    return fasc_stop_status("attention", &stop);
}

const fasc_attention_kernel fasc_cpu_blas = {
    .name = "blas",
    .summary = "OpenBLAS products with a softmax between; keeps a head's N x N scores in memory",
    .supports = "f16, bf16, f32; any head_dim; all outputs",
    .isa = true,
    .outputs = FASC_WANT_ALL,
    .dropout = true,
    .refuses = blas_refuses,
    .plan = blas_plan,
    .run = blas_run,
};
