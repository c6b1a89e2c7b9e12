/* flash_second.c - one group of queries meets one tile of keys again. */
#include "cpu/flash_second.h"

#include <math.h>
#include <string.h>

int64_t flash_second_lend(const flash_job *job, int64_t queries, char *base, flash_second *second)
{
    const fasc_problem *p = job->problem;
    int64_t used = 0, dims = p->head_dim, keys = job->block_n;
    int64_t longest = dims > keys ? dims : keys;
    *second = (flash_second){.width = fasc_tile_width(job->ops, queries)};
    flash_scratch *s = &second->scratch;
    int64_t width = second->width;
    s->rows = flash_take(base, &used, width * longest + job->ops->lanes);
    s->q_t = flash_take(base, &used, width * dims);
    s->max = flash_take(base, &used, width);
    s->s = flash_take(base, &used, keys * width);
    s->k = flash_take(base, &used, keys * dims);
    if (p->mask_data) {
        s->mask = flash_take(base, &used, width * keys + job->ops->lanes);
        s->mask_t = flash_take(base, &used, keys * width);
    }
    second->m = flash_take(base, &used, width);
    second->log2_sum = flash_take(base, &used, width);
    return used;
}

flash_group flash_second_group(const flash_job *job, int64_t b, int64_t h, int64_t first,
                               int64_t last, flash_second *second)
{
    const fasc_problem *p = job->problem;
    flash_group g = {.b = b, .h = h, .first = first};
    g.count = fasc_least(last - first, second->width);
    g.width = second->width;
    g.q_t = second->scratch.q_t;
    flash_group_bounds(p, &g);
    flash_load_queries(job, &g, second->scratch.rows);
    memset(second->m, 0, (size_t)g.width * sizeof *second->m);
    memset(second->log2_sum, 0, (size_t)g.width * sizeof *second->m);
    if (job->m_of) {
        int64_t row = (b * p->heads_q + h) * p->seqlen_q + first;
        memcpy(second->m, job->m_of + row, (size_t)g.count * sizeof *second->m);
        memcpy(second->log2_sum, job->log2_sum_of + row, (size_t)g.count * sizeof *second->m);
    }
    return g;
}

float *flash_second_scores(const flash_job *job, const flash_group *g, const flash_keys *keys,
                           int64_t *begin, int64_t *end, flash_second *second)
{
    const fasc_problem *p = job->problem;
    flash_scratch *scratch = &second->scratch;
    *begin = g->begin > keys->begin ? g->begin : keys->begin;
    *end = fasc_least(g->end, keys->end);
    if (*begin >= *end) {
        *begin = *end = keys->begin;
        return scratch->s;
    }
    int64_t count = *end - *begin;
    float *s = scratch->s + (*begin - keys->begin) * g->width;
    job->ops->scores(keys->k + (*begin - keys->begin) * keys->k_ld, keys->k_ld, count, p->head_dim,
                     g->q_t, g->width, s, scratch->max);
    if (g->count < g->width) {
        job->ops->blank(s, count, g->width, g->count);
    }
    if (p->mask_data || *begin < g->all_begin || *end > g->all_end) {
        flash_hide(job, g, *begin, *end, s, scratch);
    }
    return s;
}

void flash_second_probs(const flash_job *job, float *s, int64_t keys, const flash_second *second)
{
    job->ops->probs(s, keys, second->width, second->m, second->log2_sum);
}
