/* flash_rows.c - the statistics of rows that flash keeps beside its online softmax. */
#include <math.h>
#include <string.h>

#include "cpu/flash.h"
#include "cpu/rows.h"

void flash_rows_begin(const flash_job *job, const flash_group *g, flash_scratch *scratch)
{
    const fasc_tile_ops *ops = job->ops;
    int64_t k = job->problem->topk;
    size_t bytes = (size_t)g->width * sizeof(float);
    ops->fill(scratch->m + g->place, g->width, -INFINITY, false);
    memset(scratch->sum + g->place, 0, bytes);
    if (job->entropy) {
        memset(scratch->t + g->place, 0, bytes);
    }
    if (job->distance) {
        memset(scratch->d + g->place, 0, bytes);
    }
    if (job->row_sum) {
        memset(scratch->row_sum + g->place, 0, bytes);
    }
    if (job->argmax) {
        ops->fill(scratch->best + g->place, g->width, -INFINITY, false);
        memset(scratch->at + g->place, 0xff, bytes); /* -1 */
    }
    if (k) {
        ops->fill(scratch->top + g->place * k, g->width * k, -INFINITY, false);
        memset(scratch->top_at + g->place * k, 0xff, bytes * (size_t)k);
    }
}

void flash_rows_meet(const flash_job *job, const flash_group *g, int64_t begin, int64_t end,
                     const float *s, flash_scratch *scratch)
{
    const fasc_problem *p = job->problem;
    const fasc_tile_ops *ops = job->ops;
    if (job->row_sum) {
        int64_t first = begin > p->k0 ? begin : p->k0, last = fasc_least(end, p->k1);
        if (first < last) {
            ops->add_scores(s + (first - begin) * g->width, last - first, g->width,
                            scratch->row_sum + g->place);
        }
    }
    if (job->argmax) {
        ops->argmax(s, end - begin, g->width, (int32_t)begin, scratch->best + g->place,
                    scratch->at + g->place);
    }
    if (p->topk) {
        ops->topk(s, end - begin, g->width, (int32_t)begin, p->topk,
                  scratch->top + g->place * p->topk, scratch->top_at + g->place * p->topk);
    }
}

flash_row flash_row_at(const flash_job *job, const flash_group *g, int64_t x,
                       const flash_scratch *scratch)
{
    int64_t at = g->place + x, k = job->problem->topk;
    return (flash_row){
        .m = scratch->m[at],
        .sum = scratch->sum[at],
        .t = job->entropy ? scratch->t[at] : 0,
        .d = job->distance ? scratch->d[at] : 0,
        .row_sum = job->row_sum ? scratch->row_sum[at] : 0,
        .at = job->argmax ? scratch->at[at] : -1,
        .top = k ? scratch->top + at * k : NULL,
        .top_at = k ? scratch->top_at + at * k : NULL,
    };
}

static void store(fasc_tensor *t, int64_t b, int64_t h, int64_t i, double value)
{
    if (t) {
        *(float *)fasc_row(t, b, h, i) = (float)value;
    }
}

/* H = ln l - t / l with l the sum of exp(S - m) and t that of exp(S - m) (S - m): neither term is
 * negative, so nothing cancels. */
static double entropy_of(const flash_row *row)
{
    return row->sum == 0 ? 0.0 : log((double)row->sum) - (double)row->t / (double)row->sum;
}

void flash_row_store(const flash_job *job, int64_t b, int64_t h, int64_t i, const flash_row *row)
{
    const fasc_problem *p = job->problem;
    const fasc_attention_args *args = p->args;
    fasc_store_statistics(p, b, h, i, row->m, (double)row->sum);
    store(job->entropy ? args->entropy : NULL, b, h, i, entropy_of(row));
    store(job->distance ? args->mean_distance : NULL, b, h, i,
          row->sum == 0 ? 0.0 : (double)row->d / (double)row->sum);
    store(job->row_sum ? args->row_sum : NULL, b, h, i, (double)row->row_sum);
    if (args->row_argmax) {
        *(int32_t *)fasc_row(args->row_argmax, b, h, i) = row->at;
    }
    if (p->topk) {
        fasc_store_row(args->topk_values, b, h, i, row->top);
    }
    for (int64_t n = 0; args->topk_indices && n < p->topk; n++) {
        int32_t *to = (int32_t *)fasc_row(args->topk_indices, b, h, i);
        to[n * args->topk_indices->stride[3]] = row->top_at[n];
    }
    if (job->m_of) {
        int64_t n = (b * p->heads_q + h) * p->seqlen_q + i;
        job->m_of[n] = row->m;
        job->log2_sum_of[n] = row->sum == 0 ? 0.0f : log2f(row->sum);
    }
}

void flash_store_max_logit(const flash_job *job)
{
    const fasc_problem *p = job->problem;
    fasc_tensor *t = p->args->max_logit;
    for (int64_t h = 0; t && h < p->heads_q; h++) {
        float largest = -INFINITY;
        for (int64_t b = 0; b < p->batch; b++) {
            int64_t first = (b * p->heads_q + h) * p->seqlen_q;
            for (int64_t n = first; n < first + p->seqlen_q; n++) {
                float m = job->m_of[n];
                m = isnan(job->log2_sum_of[n]) && m != INFINITY ? NAN : m;
                largest = m > largest || isnan(m) ? m : largest;
            }
        }
        *(float *)(t->data + h * t->stride[0] * (int64_t)sizeof(float)) = largest;
    }
}
