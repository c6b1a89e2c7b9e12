/* row_statistics.c - statistics from whole rows of S and P, in float64 sums. */
#include "cpu/row_statistics.h"

#include <math.h>

#include "cpu/attention.h"
#include "cpu/rows.h"
#include "philox.h"
#include "problem.h"

enum { MOST_TOPK = 64 };

#define OVER_QUERIES (FASC_WANT_COLUMNS | FASC_WANT_DIAGONALS | FASC_WANT_TILES)

bool fasc_wants_statistics(const fasc_problem *problem)
{
    return problem->wanted & ~FASC_WANT_FORWARD;
}

bool fasc_sums_over_queries(const fasc_problem *problem)
{
    return problem->wanted & (OVER_QUERIES | FASC_WANT(MAX_LOGIT));
}

int64_t fasc_heads_together(const fasc_problem *problem)
{
    return fasc_sums_over_queries(problem) && problem->args->per_kv_head ? problem->group : 1;
}

/* ---- memory ------------------------------------------------------------------------------ */

/* The problem as the sums see it: the largest logit is kept apart, since it spans the batch. */
static fasc_problem summed(const fasc_problem *problem)
{
    fasc_problem p = *problem;
    p.wanted &= OVER_QUERIES;
    return p;
}

int64_t fasc_row_statistics_lend(const fasc_problem *problem, char *base, float *largest,
                                 fasc_row_statistics *statistics)
{
    int64_t used = 0, keys = problem->seqlen_k;
    *statistics = (fasc_row_statistics){.problem = problem, .largest = largest};
    if (!fasc_wants_statistics(problem)) {
        return 0;
    }
    statistics->scores = (float *)base;
    used += fasc_aligned(keys * (int64_t)sizeof(float));
    if (problem->wanted & OVER_QUERIES) {
        fasc_problem p = summed(problem);
        double *doubles = base ? (double *)(base + used) : NULL;
        statistics->s = doubles;
        statistics->p = doubles ? doubles + keys : NULL;
        statistics->sums = fasc_oracle_sums_lend(&p, false, doubles ? doubles + 2 * keys : NULL);
        statistics->sums.problem = problem;
        used += fasc_aligned((2 * keys + fasc_oracle_sums_size(&p, false)) * 8);
    }
    return used;
}

int64_t fasc_row_statistics_shared(const fasc_problem *problem)
{
    return fasc_aligned(problem->args->max_logit ? problem->batch * problem->heads_q * 4 : 0);
}

/* ---- one row -------------------------------------------------------------------------------- */

static void store(fasc_tensor *t, int64_t b, int64_t h, int64_t i, double value)
{
    if (t) {
        fasc_store_element(fasc_row(t, b, h, i), t->dtype, value);
    }
}

/* The k largest of a row: rows of them are short, so each key that belongs among them is put in its
 * place. */
static void store_topk(const fasc_problem *p, const float *scores, int64_t b, int64_t h, int64_t i)
{
    const fasc_attention_args *args = p->args;
    float values[MOST_TOPK];
    double keys[MOST_TOPK];
    int64_t k = p->topk, begin, end;
    fasc_visible_range(p, i, &begin, &end);
    for (int64_t n = 0; n < k; n++) {
        values[n] = -INFINITY;
        keys[n] = -1;
    }
    for (int64_t j = begin; j < end; j++) {
        int64_t at = k - 1;
        if (!(scores[j] > values[at])) {
            continue;
        }
        for (; at > 0 && scores[j] > values[at - 1]; at--) {
            values[at] = values[at - 1];
            keys[at] = keys[at - 1];
        }
        values[at] = scores[j];
        keys[at] = (double)j;
    }
    fasc_store_row(args->topk_values, b, h, i, values);
    if (args->topk_indices) {
        fasc_tensor *t = args->topk_indices;
        fasc_store_f64(fasc_row(t, b, h, i), t->dtype, t->stride[3], keys, k);
    }
}

static void describe(const fasc_row_statistics *x, int64_t b, int64_t h, int64_t i,
                     const float *probs, double lse)
{
    const fasc_problem *p = x->problem;
    const fasc_attention_args *args = p->args;
    const int64_t place = i + p->seqlen_k - p->seqlen_q;
    double entropy = 0, distance = 0, sum = 0;
    int64_t begin, end, largest = -1;
    fasc_visible_range(p, i, &begin, &end);
    for (int64_t j = begin; j < end; j++) {
        float s = x->scores[j];
        if (s == -INFINITY) {
            continue;
        }
        entropy += (double)probs[j] * (lse - (double)s);
        distance += (double)probs[j] * (double)(place - j);
        sum += j >= p->k0 && j < p->k1 ? (double)s : 0.0;
        largest = largest < 0 || s > x->scores[largest] ? j : largest;
    }
    store(args->entropy, b, h, i, entropy);
    store(args->mean_distance, b, h, i, distance);
    store(args->row_sum, b, h, i, sum);
    store(args->row_argmax, b, h, i, (double)largest);
}

static float larger(float a, float b)
{
    return isnan(a) || a > b ? a : b;
}

void fasc_row_statistics_begin(fasc_row_statistics *statistics, int64_t b, int64_t h)
{
    fasc_oracle_sums_begin(&statistics->sums, b, h);
    if (statistics->problem->args->max_logit) {
        statistics->largest[b * statistics->problem->heads_q + h] = -INFINITY;
    }
}

void fasc_row_statistics_add(fasc_row_statistics *statistics, int64_t b, int64_t h, int64_t i,
                             const float *probs, double lse)
{
    const fasc_problem *p = statistics->problem;
    fasc_oracle_row row = {.scores = statistics->s, .probs = statistics->p};
    if (p->wanted & (FASC_WANT(ENTROPY) | FASC_WANT(MEAN_DISTANCE) | FASC_WANT(ROW_SUM) |
                     FASC_WANT(ROW_ARGMAX))) {
        describe(statistics, b, h, i, probs, lse);
    }
    if (p->topk) {
        store_topk(p, statistics->scores, b, h, i);
    }
    fasc_visible_range(p, i, &row.visible_begin, &row.visible_end);
    for (int64_t j = row.visible_begin; statistics->s && j < row.visible_end; j++) {
        statistics->s[j] = (double)statistics->scores[j];
        statistics->p[j] = (double)probs[j];
    }
    for (int n = 0; n < statistics->sums.count; n++) {
        fasc_oracle_sums_add(&statistics->sums, n, h, i, &row);
    }
    if (p->args->max_logit) {
        float *largest = &statistics->largest[b * p->heads_q + h];
        for (int64_t j = row.visible_begin; j < row.visible_end; j++) {
            *largest = larger(statistics->scores[j], *largest);
        }
    }
}

void fasc_row_statistics_end(fasc_row_statistics *statistics, int64_t b, int64_t h)
{
    const fasc_problem *p = statistics->problem;
    for (int n = 0; n < statistics->sums.count; n++) {
        const fasc_oracle_sum *sum = &statistics->sums.sum[n];
        if (!fasc_oracle_sums_end(&statistics->sums, n, b, h)) {
            continue;
        }
        fasc_tensor *t = fasc_output_tensor(p->args, &fasc_outputs[sum->output]);
        int64_t head = fasc_oracle_sums_head(p, sum->output, h);
        for (int64_t x = 0; x < sum->count; x++) {
            fasc_store_element(fasc_oracle_sums_at(p, sum->output, t, b, head, x), t->dtype,
                               sum->value[x]);
        }
    }
}

void fasc_store_max_logit(const fasc_problem *problem, const float *largest)
{
    fasc_tensor *t = problem->args->max_logit;
    for (int64_t h = 0; t && h < problem->heads_q; h++) {
        float most = -INFINITY;
        for (int64_t b = 0; b < problem->batch; b++) {
            most = larger(largest[b * problem->heads_q + h], most);
        }
        fasc_store_element(t->data + h * t->stride[0] * (int64_t)fasc_dtype_size(t->dtype),
                           t->dtype, (double)most);
    }
}

/* ---- dropout ----------------------------------------------------------------------------------
 */

void fasc_drop_row(const fasc_problem *problem, int64_t b, int64_t h, int64_t i, float *probs)
{
    const fasc_attention_args *args = problem->args;
    unsigned bh = (unsigned)(b * problem->heads_q + h);
    int64_t begin, end;
    fasc_visible_range(problem, i, &begin, &end);
    for (int64_t j = begin; j < end; j++) {
        unsigned word =
            fasc_dropout_word(args->seed, args->dropout_offset, bh, (unsigned)i, (unsigned)j);
        probs[j] = word >= problem->dropout_threshold ? probs[j] * problem->keep_scale : 0.0f;
    }
}
