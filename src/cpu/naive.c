/* naive.c - attention in its three steps, written to be read: scores, softmax, weighted sum of
 * the values. Float32 throughout; threads share out blocks of ROWS query rows, so that a key or
 * value is loaded once for all of them. Where something sums over queries, whole heads are shared
 * out instead, so that each is summed in one order. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "cpu/attention.h"
#include "cpu/row_statistics.h"
#include "cpu/rows.h"
#include "problem.h"

enum {
    ROWS = 8,
    LANES = 8,    /* partial sums of a dot product */
    SUM_KEYS = 64 /* terms of a partial sum of out: long sums in float32 lose digits */
};

/* One thread's scratch. */
typedef struct scratch {
    float *q;      /* (ROWS, head_dim) */
    float *key;    /* head_dim: one key or value */
    float *part;   /* (ROWS, head_dim): a partial sum of out */
    float *out;    /* (ROWS, head_dim) */
    float *scores; /* (ROWS, seqlen_k) */
    float *mask;   /* seqlen_k */
} scratch;

static int64_t scratch_floats(const fasc_problem *p)
{
    return (3 * ROWS + 1) * p->head_dim + (ROWS + 1) * p->seqlen_k;
}

static scratch scratch_lend(const fasc_problem *p, float *floats)
{
    scratch s = {.q = floats, .part = floats + ROWS * p->head_dim};
    s.out = s.part + ROWS * p->head_dim;
    s.key = s.out + ROWS * p->head_dim;
    s.scores = s.key + p->head_dim;
    s.mask = s.scores + ROWS * p->seqlen_k;
    return s;
}

/* A row of a tensor of rank 4 as contiguous floats: where it lies, or copied to buffer. */
static const float *row_floats(const fasc_tensor *t, int64_t b, int64_t h, int64_t i, float *buffer)
{
    const char *row = fasc_row(t, b, h, i);
    if (t->dtype == FASC_F32 && t->stride[3] == 1) {
        return (const float *)row;
    }
    fasc_load_f32(buffer, row, t->dtype, t->stride[3], t->shape[3]);
    return buffer;
}

static float dot(const float *a, const float *b, int64_t n)
{
    float sum[LANES] = {0};
    int64_t d = 0;
    for (; d + LANES <= n; d += LANES) {
        for (int lane = 0; lane < LANES; lane++) {
            sum[lane] += a[d + lane] * b[d + lane];
        }
    }
    for (; d < n; d++) {
        sum[0] += a[d] * b[d];
    }
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

/* Step 1: scores = scale Q K^T for `rows` queries and keys [begin, end). */
static void scores_of(const fasc_problem *p, int64_t b, int64_t h, int64_t i, int rows,
                      int64_t begin, int64_t end, scratch *s)
{
    const fasc_attention_args *args = p->args;
    for (int r = 0; r < rows; r++) {
        fasc_load_f32(s->q + r * p->head_dim, fasc_row(args->q, b, h, i + r), p->dtype,
                      args->q->stride[3], p->head_dim);
    }
    for (int64_t j = begin; j < end; j++) {
        const float *key = row_floats(args->k, b, h / p->group, j, s->key);
        for (int r = 0; r < rows; r++) {
            s->scores[r * p->seqlen_k + j] =
                (float)p->scale * dot(s->q + r * p->head_dim, key, p->head_dim);
        }
    }
}

/* Step 2: probabilities in place of the scores of query i; returns the LSE. */
static double softmax(const fasc_problem *p, int64_t b, int64_t h, int64_t i, float *scores)
{
    float largest = -INFINITY;
    double sum = 0, lse = -INFINITY;
    for (int64_t j = 0; j < p->seqlen_k; j++) {
        largest = scores[j] > largest ? scores[j] : largest;
    }
    for (int64_t j = 0; j < p->seqlen_k; j++) {
        sum += scores[j] == -INFINITY ? 0.0 : (double)expf(scores[j] - largest);
    }
    if (sum != 0) {
        lse = (double)largest + log(sum);
    }
    for (int64_t j = 0; j < p->seqlen_k; j++) {
        scores[j] = scores[j] == -INFINITY ? 0.0f : expf((float)((double)scores[j] - lse));
    }
    fasc_store_statistics(p, b, h, i, largest, sum);
    return lse;
}

/* Step 3: out = P V for `rows` queries. */
static void values_of(const fasc_problem *p, int64_t b, int64_t h, int64_t i, int rows, scratch *s)
{
    const fasc_attention_args *args = p->args;
    int64_t dims = p->head_dim;
    memset(s->out, 0, (size_t)(ROWS * dims) * sizeof *s->out);
    memset(s->part, 0, (size_t)(ROWS * dims) * sizeof *s->part);
    for (int64_t j = 0; j < p->seqlen_k; j++) {
        const float *value = row_floats(args->v, b, h / p->group, j, s->key);
        for (int r = 0; r < rows; r++) {
            float weight = s->scores[r * p->seqlen_k + j];
            for (int64_t d = 0; d < dims && weight != 0; d++) { /* hidden values may be NaN */
                s->part[r * dims + d] += weight * value[d];
            }
        }
        if (j % SUM_KEYS == SUM_KEYS - 1 || j == p->seqlen_k - 1) {
            for (int64_t d = 0; d < rows * dims; d++) {
                s->out[d] += s->part[d];
                s->part[d] = 0;
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        fasc_store_row(args->out, b, h, i + r, s->out + r * dims);
    }
}

static void naive_block(const fasc_problem *p, int64_t b, int64_t h, int64_t i, int rows,
                        scratch *s, fasc_row_statistics *statistics)
{
    const fasc_attention_args *args = p->args;
    int64_t begin = 0, end = p->seqlen_k, ignored;
    if (!args->logits) {
        fasc_visible_range(p, i, &begin, &ignored);
        fasc_visible_range(p, i + rows - 1, &ignored, &end);
    }
    scores_of(p, b, h, i, rows, begin, end, s);
    for (int r = 0; r < rows; r++) {
        float *scores = s->scores + r * p->seqlen_k;
        fasc_store_row(args->logits, b, h, i + r, scores);
        fasc_hide_row(p, b, h, i + r, scores, s->mask);
        fasc_store_row(args->masked, b, h, i + r, scores);
        if (statistics->scores) {
            memcpy(statistics->scores, scores, (size_t)p->seqlen_k * sizeof *scores);
        }
        double lse = softmax(p, b, h, i + r, scores);
        fasc_store_row(args->probs, b, h, i + r, scores);
        if (statistics->scores) {
            fasc_row_statistics_add(statistics, b, h, i + r, scores, lse);
        }
        if (p->dropout) {
            fasc_drop_row(p, b, h, i + r, scores);
        }
    }
    if (args->out) {
        values_of(p, b, h, i, rows, s);
    }
}

/* Rows that one thread takes at a time: a block, or whole heads. */
typedef struct sharing {
    int64_t heads, rows; /* of a unit */
    int64_t units, parts;
} sharing;

static sharing share(const fasc_problem *p)
{
    sharing s = {.heads = fasc_heads_together(p)};
    s.rows = fasc_sums_over_queries(p) ? p->seqlen_q : ROWS;
    s.parts = (p->seqlen_q + s.rows - 1) / s.rows;
    s.units = p->batch * p->heads_q / s.heads * s.parts;
    return s;
}

static void naive_unit(const fasc_problem *p, const sharing *shared, int64_t unit, scratch *s,
                       fasc_row_statistics *statistics, fasc_stop *stop)
{
    int64_t head = unit / shared->parts * shared->heads,
            first = unit % shared->parts * shared->rows;
    int64_t last = fasc_least(first + shared->rows, p->seqlen_q);
    for (int64_t n = head; n < head + shared->heads; n++) {
        int64_t b = n / p->heads_q, h = n % p->heads_q;
        if (fasc_sums_over_queries(p)) {
            fasc_row_statistics_begin(statistics, b, h);
        }
        for (int64_t i = first; i < last && !fasc_stopped(stop); i += ROWS) {
            naive_block(p, b, h, i, (int)fasc_least(ROWS, last - i), s, statistics);
        }
        if (fasc_sums_over_queries(p)) {
            fasc_row_statistics_end(statistics, b, h);
        }
    }
}

static const char *naive_refuses(const fasc_problem *problem)
{
    return fasc_problem_has_f64(problem) ? "computes in float32 and serves no f64" : NULL;
}

/* Bytes of one thread. */
static int64_t thread_bytes(const fasc_problem *p)
{
    fasc_row_statistics statistics;
    return fasc_aligned(scratch_floats(p) * 4) +
           fasc_row_statistics_lend(p, NULL, NULL, &statistics);
}

static fasc_status naive_plan(const fasc_problem *problem, fasc_attention_plan *plan)
{
    sharing shared = share(problem);
    plan->threads = fasc_cpu_threads(shared.units);
    plan->workspace_bytes = FASC_CPU_ALIGN + fasc_row_statistics_shared(problem) +
                            plan->threads * thread_bytes(problem);
    snprintf(plan->config, sizeof plan->config, "%d rows at a time, %d threads%s", ROWS,
             plan->threads, fasc_sums_over_queries(problem) ? ", a head each" : "");
    return FASC_OK;
}

static fasc_status naive_run(const fasc_problem *problem, const fasc_attention_plan *plan,
                             char *workspace)
{
    sharing shared = share(problem);
    float *largest = (float *)workspace;
    char *scratches = workspace + fasc_row_statistics_shared(problem);
    fasc_stop stop = {false};
#pragma omp parallel num_threads(plan->threads)
    {
        char *base = scratches + omp_get_thread_num() * thread_bytes(problem);
        fasc_row_statistics statistics;
        scratch mine = scratch_lend(problem, (float *)base);
        fasc_row_statistics_lend(problem, base + fasc_aligned(scratch_floats(problem) * 4), largest,
                                 &statistics);
#pragma omp for schedule(dynamic)
        for (int64_t unit = 0; unit < shared.units; unit++) {
            if (!fasc_stopped(&stop)) {
                naive_unit(problem, &shared, unit, &mine, &statistics, &stop);
            }
        }
    }
    fasc_store_max_logit(problem, largest);
    return fasc_stop_status("attention", &stop);
}

const fasc_attention_kernel fasc_cpu_naive = {
    .name = "naive",
    .summary = "scores, softmax, weighted sum in plain C and float32; a baseline to read",
    .supports = "f16, bf16, f32; any head_dim; all outputs",
    .outputs = FASC_WANT_ALL,
    .dropout = true,
    .refuses = naive_refuses,
    .plan = naive_plan,
    .run = naive_run,
};
