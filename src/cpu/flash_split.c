/* flash_split.c - split-KV: where queries are too few to give every thread work, the keys of each
 * are taken in parts, whose softmaxes are joined by their sums (flash decoding). A part that sees
 * nothing has sum 0 and counts for nothing. */
#include <math.h>
#include <string.h>

#include "cpu/flash.h"
#include "cpu/rows.h"

enum { LEAST_BLOCKS = 4, HEAD = 7 }; /* HEAD: m, sum, t, d, row_sum, best, at */

/* Of the smallest number of parts whose work fills the threads nearly as evenly as the best does:
 * FlashAttention's rule of waves (Dao et al., flash-attention, num_splits heuristic). */
int64_t flash_splits_of(const fasc_problem *problem, int64_t items, int64_t block_n)
{
    int64_t threads = fasc_num_threads(), blocks = (problem->seqlen_k + block_n - 1) / block_n;
    int64_t most = fasc_least(blocks / LEAST_BLOCKS, threads);
    double best = 0;
    if (10 * items >= 8 * threads || most < 2) {
        return 1;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t splits = 1; splits <= most; splits++) {
            int64_t units = items * splits, waves = (units + threads - 1) / threads;
            double even = (double)units / (double)(waves * threads);
            if (pass == 1 && even >= 0.85 * best) {
                return splits;
            }
            best = even > best ? even : best;
        }
    }
    return most;
}

void flash_split_item(const flash_job *job, flash_item *item)
{
    int64_t keys = item->end - item->begin;
    int64_t blocks = (keys + job->block_n - 1) / job->block_n;
    int64_t first = blocks * item->split / job->splits;
    int64_t last = blocks * (item->split + 1) / job->splits;
    int64_t begin = item->begin;
    item->begin = fasc_least(begin + first * job->block_n, item->whole_end);
    item->end = fasc_least(begin + last * job->block_n, item->whole_end);
    item->begin = keys > 0 ? item->begin : begin;
    item->end = item->end > item->begin ? item->end : item->begin;
}

/* ---- partial states ----------------------------------------------------------------------------
 */

static int64_t record_floats(const flash_job *job)
{
    const fasc_problem *p = job->problem;
    return HEAD + (p->args->out ? p->head_dim : 0) + 2 * p->topk;
}

int64_t flash_partial_floats(const flash_job *job)
{
    const fasc_problem *p = job->problem;
    return job->splits > 1
               ? p->batch * p->heads_q * (job->last - job->first) * job->splits * record_floats(job)
               : 0;
}

static float *record_at(const flash_job *job, int64_t row, int64_t split)
{
    return job->partial + (row * job->splits + split) * record_floats(job);
}

void flash_split_keep(const flash_job *job, const flash_item *item, const flash_group *g,
                      const flash_scratch *scratch)
{
    const fasc_problem *p = job->problem;
    int64_t dims = p->args->out ? p->head_dim : 0;
    if (dims) {
        job->ops->transpose(g->o_t, g->width, dims, g->count, scratch->rows, dims, false);
    }
    for (int64_t x = 0; x < g->count; x++) {
        flash_row row = flash_row_at(job, g, x, scratch);
        int64_t n =
            (g->b * p->heads_q + g->h) * (job->last - job->first) + g->first + x - job->first;
        float *to = record_at(job, n, item->split);
        const float head[HEAD - 1] = {row.m,       row.sum,
                                      row.t,       row.d,
                                      row.row_sum, job->argmax ? scratch->best[g->place + x] : 0};
        memcpy(to, head, sizeof head);
        memcpy(to + HEAD - 1, &row.at, sizeof row.at);
        if (dims) {
            memcpy(to + HEAD, scratch->rows + x * dims, (size_t)dims * sizeof *to);
        }
        if (p->topk) {
            memcpy(to + HEAD + dims, row.top, (size_t)p->topk * sizeof *to);
            memcpy(to + HEAD + dims + p->topk, row.top_at, (size_t)p->topk * sizeof *to);
        }
    }
}

/* ---- joining ------------------------------------------------------------------------------------
 */

int64_t flash_merge_floats(const flash_job *job)
{
    return job->problem->head_dim + 2 * job->problem->topk;
}

/* Joins sorted lists of k: equal values stay in the order of their keys, since parts come in order.
 */
static void merge_top(int64_t k, const float *values, const float *keys, float *top,
                      int32_t *top_at)
{
    for (int64_t n = 0; n < k && values[n] > top[k - 1]; n++) {
        int64_t at = k - 1;
        for (; at > 0 && values[n] > top[at - 1]; at--) {
            top[at] = top[at - 1];
            top_at[at] = top_at[at - 1];
        }
        top[at] = values[n];
        memcpy(&top_at[at], &keys[n], sizeof top_at[at]);
    }
}

void flash_split_merge(const flash_job *job, int64_t n, float *floats)
{
    const fasc_problem *p = job->problem;
    int64_t rows = job->last - job->first, k = p->topk, dims = p->args->out ? p->head_dim : 0;
    int64_t b = n / rows / p->heads_q, h = n / rows % p->heads_q, i = job->first + n % rows;
    float *out = floats, *top = out + p->head_dim, best = -INFINITY;
    int32_t *top_at = (int32_t *)(void *)(top + k);
    flash_row row = {.m = -INFINITY, .at = -1, .top = top, .top_at = top_at};
    memset(out, 0, (size_t)dims * sizeof *out);
    for (int64_t c = 0; c < k; c++) {
        top[c] = -INFINITY;
        top_at[c] = -1;
    }
    for (int64_t s = 0; s < job->splits; s++) {
        float m = record_at(job, n, s)[0];
        row.m = m > row.m ? m : row.m;
    }
    for (int64_t s = 0; s < job->splits; s++) {
        const float *part = record_at(job, n, s);
        row.row_sum += part[4];
        if (part[5] > best) {
            best = part[5];
            memcpy(&row.at, part + HEAD - 1, sizeof row.at);
        }
        merge_top(k, part + HEAD + dims, part + HEAD + dims + k, top, top_at);
        if (part[1] == 0) {
            continue;
        }
        float share = expf(part[0] - row.m);
        row.sum += share * part[1];
        row.t += share == 0 ? 0 : share * (part[2] + (part[0] - row.m) * part[1]);
        row.d += share * part[3];
        for (int64_t c = 0; c < dims; c++) {
            out[c] += share * part[HEAD + c];
        }
    }
    flash_row_store(job, b, h, i, &row);
    if (dims) {
        float scale = row.sum == 0 ? 0.0f : p->keep_scale / row.sum;
        for (int64_t c = 0; c < dims; c++) {
            out[c] = row.sum == 0 ? 0.0f : out[c] * scale;
        }
        fasc_store_row(p->args->out, b, h, i, out);
    }
}
