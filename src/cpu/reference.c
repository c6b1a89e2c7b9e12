/* reference.c - attention in float64, row by row: the oracle that other kernels are held to. Any
 * dtype, any head_dim; outputs may be f64. Work is split over the rows of one head at a time, whose
 * keys and values are held in float64. Where sums over queries are wanted, rows are computed some
 * at a time and then added in order, one sum to a thread. */
#include <omp.h>
#include <stdio.h>

#include "cpu/attention.h"
#include "cpu/oracle.h"
#include "cpu/oracle_sums.h"
#include "cpu/rows.h"
#include "problem.h"

/* Doubles of one key head. */
static int64_t head_size(const fasc_problem *p)
{
    return 2 * p->seqlen_k * p->head_dim;
}

static const char *reference_refuses(const fasc_problem *problem)
{
    (void)problem;
    return NULL;
}

enum { ROWS_SUMMED = 32, MOST_TOPK = 64 };

/* Rows of a head that are held at a time: of each thread one, or some to be added in order. */
static int64_t rows_held(const fasc_problem *p, int32_t threads, bool summed)
{
    return summed ? fasc_least(p->seqlen_q, ROWS_SUMMED) : threads;
}

static fasc_status reference_plan(const fasc_problem *problem, fasc_attention_plan *plan)
{
    int64_t sums = fasc_oracle_sums_size(problem, false);
    plan->threads = fasc_cpu_threads(problem->seqlen_q);
    int64_t rows = rows_held(problem, plan->threads, sums > 0);
    plan->workspace_bytes = FASC_CPU_ALIGN + fasc_aligned(head_size(problem) * 8) +
                            rows * fasc_aligned(fasc_oracle_row_size(problem, false) * 8) +
                            fasc_aligned(sums * 8);
    snprintf(plan->config, sizeof plan->config, "float64, %d threads%s", plan->threads,
             sums > 0 ? ", sums row after row" : "");
    return FASC_OK;
}

static void store_row(fasc_tensor *t, int64_t b, int64_t h, int64_t i, const double *values)
{
    if (t) {
        fasc_store_f64(fasc_row(t, b, h, i), t->dtype, t->stride[3], values, t->shape[3]);
    }
}

static void store_number(fasc_tensor *t, int64_t b, int64_t h, int64_t i, double value)
{
    if (t) {
        fasc_store_element(fasc_row(t, b, h, i), t->dtype, value);
    }
}

static void store_topk(const fasc_problem *p, int64_t b, int64_t h, int64_t i,
                       const fasc_oracle_row *row)
{
    const fasc_attention_args *args = p->args;
    double values[MOST_TOPK], numbers[MOST_TOPK];
    int64_t keys[MOST_TOPK];
    fasc_oracle_topk(row, p->topk, values, keys);
    for (int64_t n = 0; n < p->topk; n++) {
        numbers[n] = (double)keys[n];
    }
    store_row(args->topk_values, b, h, i, values);
    store_row(args->topk_indices, b, h, i, numbers);
}

/* What the reference keeps while it works on a head. */
typedef struct reference {
    const fasc_problem *problem;
    fasc_oracle_head head;
    fasc_oracle_sums sums;
    char *rows; /* of rows_held */
    int64_t row_bytes;
    fasc_stop *stop;
} reference;

static fasc_oracle_row row_at(const reference *r, int64_t n)
{
    return fasc_oracle_row_lend(r->problem, false, (double *)(r->rows + n * r->row_bytes));
}

static void reference_row(const reference *r, int64_t b, int64_t h, int64_t i, fasc_oracle_row *row)
{
    const fasc_problem *p = r->problem;
    const fasc_attention_args *args = p->args;
    row->bh = b * p->heads_q + h;
    fasc_load_f64(row->q, fasc_row(args->q, b, h, i), p->dtype, args->q->stride[3], p->head_dim);
    if (row->mask) {
        fasc_mask_load_f64(p, b, h, i, 0, p->seqlen_k, row->mask);
    }
    fasc_oracle_row_compute(p, &r->head, i, args->logits != NULL, row);
    store_row(args->logits, b, h, i, row->logits);
    store_row(args->masked, b, h, i, row->scores);
    store_row(args->probs, b, h, i, row->probs);
    store_row(args->out, b, h, i, row->out);
    store_number(args->lse, b, h, i, row->lse);
    store_number(args->row_max, b, h, i, row->row_max);
    store_number(args->entropy, b, h, i, row->entropy);
    store_number(args->mean_distance, b, h, i, row->mean_distance);
    store_number(args->row_sum, b, h, i, row->row_sum);
    store_number(args->row_argmax, b, h, i, (double)row->argmax);
    if (p->topk) {
        store_topk(p, b, h, i, row);
    }
}

static void store_sum(const reference *r, int n, int64_t b, int64_t h)
{
    const fasc_oracle_sum *sum = &r->sums.sum[n];
    fasc_tensor *t = fasc_output_tensor(r->problem->args, &fasc_outputs[sum->output]);
    int64_t head = fasc_oracle_sums_head(r->problem, sum->output, h);
    for (int64_t x = 0; x < sum->count; x++) {
        fasc_store_element(fasc_oracle_sums_at(r->problem, sum->output, t, b, head, x), t->dtype,
                           sum->value[x]);
    }
}

/* All queries of head h with nothing to sum. */
static void rows_alone(const reference *r, int64_t b, int64_t h, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        fasc_oracle_row row = row_at(r, omp_get_thread_num());
#pragma omp for schedule(dynamic, 4)
        for (int64_t i = 0; i < r->problem->seqlen_q; i++) {
            if (!fasc_stopped(r->stop)) {
                reference_row(r, b, h, i, &row);
            }
        }
    }
}

/* The same, and sums. */
static void rows_and_sums(reference *r, int64_t b, int64_t h, int threads)
{
    const int64_t queries = r->problem->seqlen_q, held = rows_held(r->problem, threads, true);
    fasc_oracle_row row[ROWS_SUMMED];
    fasc_oracle_sums_begin(&r->sums, b, h);
    for (int64_t n = 0; n < held; n++) {
        row[n] = row_at(r, n);
    }
#pragma omp parallel num_threads(threads)
    for (int64_t first = 0; first < queries; first += held) {
        int64_t count = fasc_least(queries - first, held);
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < count; n++) {
            if (!fasc_stopped(r->stop)) {
                reference_row(r, b, h, first + n, &row[n]);
            }
        }
#pragma omp for schedule(dynamic)
        for (int s = 0; s < r->sums.count; s++) {
            for (int64_t n = 0; n < count && !fasc_stopped(r->stop); n++) {
                fasc_oracle_sums_add(&r->sums, s, h, first + n, &row[n]);
            }
        }
    }
    for (int s = 0; s < r->sums.count && !fasc_stopped(r->stop); s++) {
        if (fasc_oracle_sums_end(&r->sums, s, b, h)) {
            store_sum(r, s, b, h);
        }
    }
}

static fasc_status reference_run(const fasc_problem *problem, const fasc_attention_plan *plan,
                                 char *workspace)
{
    const fasc_attention_args *args = problem->args;
    double *doubles = (double *)workspace;
    int64_t row_bytes = fasc_aligned(fasc_oracle_row_size(problem, false) * 8);
    bool summed = fasc_oracle_sums_size(problem, false) > 0;
    char *rows = workspace + fasc_aligned(head_size(problem) * 8);
    char *sums = rows + rows_held(problem, plan->threads, summed) * row_bytes;
    fasc_stop stop = {false};
    reference r = {.problem = problem,
                   .head = {.k_t = doubles, .v = doubles + head_size(problem) / 2},
                   .sums = fasc_oracle_sums_lend(problem, false, (double *)sums),
                   .rows = rows,
                   .row_bytes = row_bytes,
                   .stop = &stop};
    for (int64_t b = 0; b < problem->batch; b++) {
        for (int64_t h = 0; h < problem->heads_q && !fasc_stopped(&stop); h++) {
            if (h % problem->group == 0) {
                fasc_oracle_head_load(problem, args->k, args->out ? args->v : NULL, b,
                                      h / problem->group, &r.head);
            }
            if (summed) {
                rows_and_sums(&r, b, h, plan->threads);
            } else {
                rows_alone(&r, b, h, plan->threads);
            }
        }
    }
    return fasc_stop_status("attention", &stop);
}

const fasc_attention_kernel fasc_cpu_reference = {
    .name = "reference",
    .summary = "float64, straight from the definition; what the others are checked against",
    .supports = "f16, bf16, f32, f64; any head_dim; all outputs, in f64 too",
    .outputs = FASC_WANT_ALL,
    .dropout = true,
    .refuses = reference_refuses,
    .plan = reference_plan,
    .run = reference_run,
};
