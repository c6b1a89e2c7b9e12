/* reference.c - attention in float64, row by row: the oracle that other kernels are held to. Any
 * dtype, any head_dim; outputs may be f64. Work is split over the rows of one key head at a time,
 * whose keys and values are held in float64. */
#include <omp.h>
#include <stdio.h>

#include "cpu/attention.h"
#include "cpu/oracle.h"
#include "cpu/rows.h"

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

static fasc_status reference_plan(const fasc_problem *problem, fasc_attention_plan *plan)
{
    plan->threads = fasc_cpu_threads(problem->group * problem->seqlen_q);
    plan->workspace_bytes = FASC_CPU_ALIGN + fasc_aligned(head_size(problem) * 8) +
                            plan->threads * fasc_aligned(fasc_oracle_row_size(problem, false) * 8);
    snprintf(plan->config, sizeof plan->config, "float64, %d threads", plan->threads);
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

static void reference_row(const fasc_problem *p, const fasc_oracle_head *head, int64_t b, int64_t h,
                          int64_t i, fasc_oracle_row *row)
{
    const fasc_attention_args *args = p->args;
    fasc_load_f64(row->q, fasc_row(args->q, b, h, i), p->dtype, args->q->stride[3], p->head_dim);
    if (row->mask) {
        fasc_mask_load_f64(p, b, h, i, 0, p->seqlen_k, row->mask);
    }
    fasc_oracle_row_compute(p, head, i, args->logits != NULL, row);
    store_row(args->logits, b, h, i, row->logits);
    store_row(args->masked, b, h, i, row->scores);
    store_row(args->probs, b, h, i, row->probs);
    store_row(args->out, b, h, i, row->out);
    store_number(args->lse, b, h, i, row->lse);
    store_number(args->row_max, b, h, i, row->row_max);
}

/* All queries that read key head hk. */
static void reference_head(const fasc_problem *p, const fasc_oracle_head *head, int64_t b,
                           int64_t hk, int threads, char *scratch, fasc_stop *stop)
{
    int64_t row_bytes = fasc_aligned(fasc_oracle_row_size(p, false) * 8);
#pragma omp parallel num_threads(threads)
    {
        double *mine = (double *)(scratch + omp_get_thread_num() * row_bytes);
        fasc_oracle_row row = fasc_oracle_row_lend(p, false, mine);
#pragma omp for schedule(dynamic, 4)
        for (int64_t unit = 0; unit < p->group * p->seqlen_q; unit++) {
            if (!fasc_stopped(stop)) {
                int64_t h = hk * p->group + unit / p->seqlen_q;
                reference_row(p, head, b, h, unit % p->seqlen_q, &row);
            }
        }
    }
}

static fasc_status reference_run(const fasc_problem *problem, const fasc_attention_plan *plan,
                                 char *workspace)
{
    const fasc_attention_args *args = problem->args;
    double *doubles = (double *)workspace;
    fasc_oracle_head head = {.k_t = doubles, .v = doubles + head_size(problem) / 2};
    char *scratch = workspace + fasc_aligned(head_size(problem) * 8);
    fasc_stop stop = {false};
    for (int64_t b = 0; b < problem->batch; b++) {
        for (int64_t hk = 0; hk < problem->heads_k && !fasc_stopped(&stop); hk++) {
            fasc_oracle_head_load(problem, args->k, args->out ? args->v : NULL, b, hk, &head);
            reference_head(problem, &head, b, hk, plan->threads, scratch, &stop);
        }
    }
    return fasc_stop_status("attention", &stop);
}

const fasc_attention_kernel fasc_cpu_reference = {
    .name = "reference",
    .summary = "float64, straight from the definition; what the others are checked against",
    .supports = "f16, bf16, f32, f64; any head_dim; all outputs, in f64 too",
    .outputs = FASC_WANT_FORWARD,
    .refuses = reference_refuses,
    .plan = reference_plan,
    .run = reference_run,
};
