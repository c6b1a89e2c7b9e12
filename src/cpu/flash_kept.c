/* flash_kept.c - column sums and maxima of P out of the first pass. A work item keeps the
 * exponentials of its rows until their sums are known, with the maximum that each tile of them was
 * taken below; then each becomes a probability by one multiplication, and the item's columns are
 * summed. Items put these into slots, a round of items at a time, from which they are joined in the
 * items' order. Saves the second pass its product and its exponentials; for rows so many that the
 * items' size need not follow the number of threads, on which no bit may depend. */
#include <math.h>
#include <string.h>

#include "cpu/flash.h"
#include "cpu/rows.h"

enum {
    LEAST_ROWS = 1024,
    SLOT_BYTES = 4 << 20, /* of all slots, unless threads want more */
    SLOTS_PER_THREAD = 4,
    CHUNK = 512 /* keys that a thread joins */
};

bool flash_kept_applies(const flash_job *job)
{
    const fasc_problem *p = job->problem;
    bool logits = p->args->col_sum_logits && !job->linear;
    return job->columns && !logits && !job->tiles && !p->args->probs && !p->dropout &&
           job->splits <= 1 && p->args->kernel.splits <= 1 && job->first == p->q0 &&
           job->last == p->q1 && job->last - job->first >= LEAST_ROWS;
}

static int64_t width_of(const fasc_problem *p)
{
    return p->k1 - p->k0;
}

/* Floats of a slot: sums, then maxima. */
static int64_t slot_floats(const fasc_problem *p)
{
    return width_of(p) * (p->args->col_max_probs ? 2 : 1);
}

int64_t flash_kept_slots(const flash_job *job, int64_t items)
{
    int64_t fit = SLOT_BYTES / (slot_floats(job->problem) * (int64_t)sizeof(float));
    int64_t least = SLOTS_PER_THREAD * fasc_num_threads();
    return fasc_least(items, fit > least ? fit : least);
}

int64_t flash_kept_lend(flash_job *job, int64_t items, char *base)
{
    const fasc_problem *p = job->problem;
    int64_t used = 0, columns = p->batch * p->column_heads * width_of(p);
    job->slots = flash_kept_slots(job, items);
    job->slot = flash_take(base, &used, job->slots * slot_floats(p));
    job->column_sum = (double *)(void *)flash_take(base, &used, 2 * columns);
    job->column_max = flash_take(base, &used, p->args->col_max_probs ? columns : 0);
    return used;
}

/* ---- one item ------------------------------------------------------------------------------ */

/* What makes a probability of an exponential of this tile: exp(m_tile - m) / sum. */
static void factors_of(const flash_group *g, const float *tile_m, const flash_scratch *scratch,
                       float *factor)
{
    for (int x = 0; x < g->width; x++) {
        float sum = scratch->sum[g->place + x], m = scratch->m[g->place + x];
        factor[x] = sum == 0 || x >= g->count ? 0.0f : expf(tile_m[x] - m) / sum;
    }
}

/* The lanes of keys [begin, end) are joined and those of the range put into a slot. */
static void leave(const flash_job *job, int64_t begin, int64_t end, const float *lanes,
                  void (*join)(const float *, int64_t, float *), float *joined, float *slot)
{
    const fasc_problem *p = job->problem;
    int64_t first = begin > p->k0 ? begin : p->k0, last = fasc_least(end, p->k1);
    join(lanes, end - begin, joined);
    if (first < last) {
        memcpy(slot + first - p->k0, joined + first - begin, (size_t)(last - first) * sizeof *slot);
    }
}

void flash_kept_item(const flash_job *job, const flash_item *item, const flash_group *group,
                     int64_t groups, flash_scratch *scratch)
{
    const fasc_problem *p = job->problem;
    const int64_t lanes = job->ops->lanes;
    float *sums = job->slot + item->slot * slot_floats(p);
    float *most = p->args->col_max_probs ? sums + width_of(p) : NULL;
    for (int64_t j = item->begin; j < item->end && !fasc_stopped(job->stop); j += job->block_n) {
        int64_t stop = fasc_least(j + job->block_n, item->end),
                tile = (j - item->begin) / job->block_n;
        memset(scratch->column_sum, 0, (size_t)((stop - j) * lanes) * sizeof(float));
        memset(scratch->column_max, 0, (size_t)((stop - j) * lanes) * sizeof(float));
        for (int64_t n = 0; n < groups; n++) {
            const flash_group *g = &group[n];
            int64_t begin = g->begin > j ? g->begin : j, end = fasc_least(g->end, stop);
            if (begin >= end) {
                continue;
            }
            const float *e = g->s + (begin - item->begin) * g->width;
            factors_of(g, scratch->tile_m + tile * job->block_m + g->place, scratch,
                       scratch->alpha);
            if (p->args->col_sum_probs) {
                job->ops->add_scaled(e, end - begin, g->width, scratch->alpha,
                                     scratch->column_sum + (begin - j) * lanes);
            }
            if (most) {
                job->ops->raise_scaled(e, end - begin, g->width, scratch->alpha,
                                       scratch->column_max + (begin - j) * lanes);
            }
        }
        leave(job, j, stop, scratch->column_sum, job->ops->join_sums, scratch->joined, sums);
        if (most) {
            leave(job, j, stop, scratch->column_max, job->ops->join_maxima, scratch->joined, most);
        }
    }
}

/* ---- joining ----------------------------------------------------------------------------------
 */

int64_t flash_kept_join_count(const flash_job *job)
{
    const fasc_problem *p = job->problem;
    return p->batch * p->column_heads * ((width_of(p) + CHUNK - 1) / CHUNK);
}

void flash_kept_join(const flash_job *job, const flash_item *item, int64_t number)
{
    const fasc_problem *p = job->problem;
    int64_t chunks = (width_of(p) + CHUNK - 1) / CHUNK, head = number / chunks;
    int64_t b = head / p->column_heads, column_head = head % p->column_heads;
    int64_t first = number % chunks * CHUNK, last = fasc_least(first + CHUNK, width_of(p));
    double *total = job->column_sum + head * width_of(p);
    float *most = p->args->col_max_probs ? job->column_max + head * width_of(p) : NULL;
    int64_t of = p->args->per_kv_head ? item->h / p->group : item->h;
    const float *sums = job->slot + item->slot * slot_floats(p);
    int64_t begin = item->begin - p->k0 > first ? item->begin - p->k0 : first;
    int64_t end = fasc_least(item->end - p->k0, last);
    for (int64_t x = begin; item->b == b && of == column_head && x < end; x++) {
        total[x] += (double)sums[x];
        if (most) {
            float value = sums[width_of(p) + x];
            most[x] = value > most[x] || isnan(value) ? value : most[x];
        }
    }
}

void flash_kept_clear(const flash_job *job)
{
    const fasc_problem *p = job->problem;
    size_t columns = (size_t)(p->batch * p->column_heads * width_of(p));
    memset(job->column_sum, 0, columns * sizeof *job->column_sum);
    if (p->args->col_max_probs) {
        memset(job->column_max, 0, columns * sizeof *job->column_max);
    }
}

void flash_kept_store(const flash_job *job)
{
    const fasc_problem *p = job->problem;
    fasc_tensor *sums = p->args->col_sum_probs, *most = p->args->col_max_probs;
    for (int64_t n = 0; n < p->batch * p->column_heads * width_of(p); n++) {
        int64_t head = n / width_of(p), x = n % width_of(p);
        int64_t b = head / p->column_heads, h = head % p->column_heads;
        if (sums) {
            *(float *)fasc_row(sums, b, h, x) = (float)job->column_sum[n];
        }
        if (most) {
            *(float *)fasc_row(most, b, h, x) = job->column_max[n];
        }
    }
}
