/* flash_item.c - one query tile against its key tiles: online softmax (Milakov and Gimelshein,
 * arXiv:1805.02867; tiled as in FlashAttention, arXiv:2205.14135).
 *
 * Key tiles are the outer loop, so that a tile of K and V is read once for all groups of the query
 * tile. A group and a key tile meet in `meet`: S = K Q^T, hide, softmax, O += V^T P. Tiles that the
 * band hides whole are never computed (unless logits are wanted), those that it cuts are computed
 * from the first to the last key that the group sees. */
#include <math.h>
#include <string.h>

#include "cpu/flash.h"
#include "cpu/rows.h"

enum { MOST_GROUPS = 512 }; /* the largest block_m in groups of one */

/* ---- loading -------------------------------------------------------------------------- */

const float *flash_rows_of(const fasc_tensor *t, int64_t b, int64_t hk, int64_t begin, int64_t end,
                           float *buffer, int64_t *ld)
{
    const char *data = fasc_row(t, b, hk, begin);
    int64_t row_bytes = t->stride[2] * (int64_t)fasc_dtype_size(t->dtype);
    if (t->dtype == FASC_F32 && t->stride[3] == 1) {
        *ld = t->stride[2];
        return (const float *)data;
    }
    *ld = t->shape[3];
    for (int64_t j = 0; j < end - begin; j++) {
        fasc_load_f32(buffer + j * *ld, data + j * row_bytes, t->dtype, t->stride[3], t->shape[3]);
    }
    return buffer;
}

void flash_load_queries(const flash_job *job, const flash_group *g, float *rows)
{
    const fasc_problem *p = job->problem;
    const fasc_tensor *q = p->args->q;
    int64_t dims = p->head_dim;
    float scale = (float)p->scale;
    memset(g->q_t, 0, (size_t)(dims * g->width) * sizeof *g->q_t);
    for (int64_t x = 0; x < g->count; x++) {
        float *row = rows + x * dims;
        fasc_load_f32(row, fasc_row(q, g->b, g->h, g->first + x), q->dtype, q->stride[3], dims);
        for (int64_t d = 0; d < dims; d++) {
            row[d] *= scale;
        }
    }
    job->ops->transpose(rows, dims, g->count, dims, g->q_t, g->width, false);
}

void flash_group_bounds(const fasc_problem *p, flash_group *g)
{
    fasc_visible_range(p, g->first, &g->begin, &g->all_end);
    fasc_visible_range(p, g->first + g->count - 1, &g->all_begin, &g->end);
}

/* Groups of one head. */
static int64_t groups_of(const flash_job *job, const flash_item *item)
{
    return (item->count + job->width - 1) / job->width;
}

/* Group `number` of the item; its state lives in scratch. */
static flash_group group_at(const flash_job *job, const flash_item *item, int64_t number,
                            const flash_scratch *scratch)
{
    const fasc_problem *p = job->problem;
    int64_t groups = groups_of(job, item), place = number * job->width;
    int64_t offset = number % groups * job->width;
    flash_group g = {.b = item->b, .h = item->h + number / groups, .first = item->first + offset};
    g.count = fasc_least(item->count - offset, job->width);
    g.width = fasc_tile_width(job->ops, g.count);
    g.q_t = scratch->q_t + place * p->head_dim;
    g.o_t = scratch->o_t + place * p->head_dim;
    g.place = place;
    g.s = scratch->s + (job->keep_rows || job->kept ? place * p->seqlen_k : 0);
    flash_group_bounds(p, &g);
    return g;
}

static void group_begin(const flash_job *job, const flash_item *item, const flash_group *g,
                        flash_scratch *scratch)
{
    const fasc_problem *p = job->problem;
    const fasc_attention_args *args = p->args;
    flash_load_queries(job, g, scratch->rows);
    memset(g->o_t, 0, (size_t)(p->head_dim * g->width) * sizeof *g->o_t);
    flash_rows_begin(job, g, scratch);
    if (item->split > 0) {
        return;
    }
    if (args->masked) {
        flash_fill_scores(job, args->masked, g, 0, item->whole_begin, -INFINITY);
        flash_fill_scores(job, args->masked, g, item->whole_end, p->seqlen_k, -INFINITY);
    }
    if (job->keep_rows) {
        flash_fill_scores(job, args->probs, g, 0, item->begin, 0.0f);
        flash_fill_scores(job, args->probs, g, item->end, p->seqlen_k, 0.0f);
    }
}

/* ---- one group meets one key tile ---------------------------------------------------------- */

static int32_t lane_bound(int64_t x)
{
    const int64_t far = 1 << 24; /* past any lane and any tile */
    return (int32_t)(x < -far ? -far : x > far ? far : x);
}

void flash_hide(const flash_job *job, const flash_group *g, int64_t begin, int64_t end, float *s,
                flash_scratch *scratch)
{
    const fasc_problem *p = job->problem;
    if (begin < g->all_begin || end > g->all_end) {
        job->ops->hide(s, end - begin, g->width, lane_bound(begin - p->hi - g->first),
                       lane_bound(begin - p->lo - g->first));
    }
    if (p->mask_data) {
        for (int64_t x = 0; x < g->count; x++) {
            fasc_mask_load_f32(p, g->b, g->h, g->first + x, begin, end,
                               scratch->mask + x * job->block_n);
        }
        memset(scratch->mask_t, 0, (size_t)((end - begin) * g->width) * sizeof(float));
        job->ops->transpose(scratch->mask, job->block_n, g->count, end - begin, scratch->mask_t,
                            g->width, false);
        job->ops->add_mask(s, scratch->mask_t, end - begin, g->width);
    }
}

/* What ops->values does, where a hidden key's value may be NaN or infinite: a weight of 0 times
 * such a value adds nothing. */
static void values_one_by_one(const float *v, int64_t v_ld, int64_t keys, int64_t dims,
                              const float *p, int width, const float *alpha, float *o)
{
    for (int64_t d = 0; d < dims; d++) {
        for (int x = 0; x < width; x++) {
            float sum = 0;
            for (int64_t j = 0; j < keys; j++) {
                float weight = p[j * width + x];
                sum += weight == 0 ? 0.0f : weight * v[j * v_ld + d];
            }
            o[d * width + x] = o[d * width + x] * alpha[x] + sum;
        }
    }
}

/* The online softmax over keys [begin, end) of the tile, whose scores begin at s. logits: where
 * rows of the whole tile, which scratch->rows holds, go meanwhile; NULL: nowhere. */
static void attend(const flash_job *job, const flash_item *item, const flash_group *g,
                   const flash_keys *tile, int64_t begin, int64_t end, bool cut, float *s,
                   float *logits, flash_scratch *scratch)
{
    const fasc_tile_ops *ops = job->ops;
    const fasc_problem *problem = job->problem;
    int64_t keys = end - begin, dims = problem->head_dim;
    float *p = job->keep_rows ? scratch->p : s;
    if (job->entropy || job->distance || job->kept) {
        const fasc_tile_softmax state = {
            .m = scratch->m + g->place,
            .sum = scratch->sum + g->place,
            .alpha = scratch->alpha,
            .t = job->entropy ? scratch->t + g->place : NULL,
            .d = job->distance ? scratch->d + g->place : NULL,
            .place = (float)(g->first + problem->seqlen_k - problem->seqlen_q - begin),
        };
        ops->softmax_more(s, p, keys, g->width, scratch->max, &state);
    } else {
        ops->softmax(s, p, keys, g->width, scratch->max, scratch->m + g->place,
                     scratch->sum + g->place, scratch->alpha);
    }
    if (job->kept) {
        int64_t number = (tile->begin - item->begin) / job->block_n;
        memcpy(scratch->tile_m + number * job->block_m + g->place, scratch->m + g->place,
               (size_t)g->width * sizeof(float));
    }
    if (!tile->v) {
        return;
    }
    if (problem->dropout) {
        const fasc_tile_drop drop = {
            .seed = problem->args->seed,
            .offset = problem->args->dropout_offset,
            .bh = (uint32_t)(g->b * problem->heads_q + g->h),
            .threshold = problem->dropout_threshold,
            .query = (uint32_t)g->first,
            .key = begin,
        };
        ops->drop(p, keys, g->width, &drop);
    }
    const float *v = tile->v + (begin - tile->begin) * tile->v_ld;
    if ((cut || problem->dropout) && !fasc_all_finite(v, tile->v_ld, keys, dims)) {
        values_one_by_one(v, tile->v_ld, keys, dims, p, g->width, scratch->alpha, g->o_t);
    } else if (logits) {
        ops->values_carrying(v, tile->v_ld, keys, dims, p, scratch->alpha, g->o_t, scratch->rows,
                             job->block_n, logits, problem->args->logits->stride[2]);
    } else {
        ops->values(v, tile->v_ld, keys, dims, p, g->width, scratch->alpha, g->o_t);
    }
}

static void meet(const flash_job *job, const flash_item *item, const flash_group *g,
                 const flash_keys *tile, flash_scratch *scratch)
{
    const fasc_attention_args *args = job->problem->args;
    const int64_t dims = job->problem->head_dim, width = g->width, keys = tile->end - tile->begin;
    /* what the group sees of the tile */
    int64_t begin = g->begin > tile->begin ? g->begin : tile->begin;
    int64_t end = fasc_least(g->end, tile->end);
    if (begin >= end) {
        begin = end = tile->begin;
    }
    bool rows_stay = job->keep_rows || job->kept;
    float *s = g->s + (rows_stay ? (tile->begin - item->begin) * width : 0);
    float *seen = s + (begin - tile->begin) * width;
    bool whole = end - begin == keys;
    bool cut = begin < end && (job->problem->mask_data || begin < g->all_begin || end > g->all_end);

    const float *m = scratch->m + g->place;
    float *logits = NULL;
    memcpy(scratch->max, m, (size_t)width * sizeof *m);
    if (args->logits) {
        bool weighed = job->softmax && whole && !cut && tile->v && !job->problem->dropout;
        job->ops->scores(tile->k, tile->k_ld, keys, dims, g->q_t, g->width, s, scratch->max);
        if (weighed && !args->masked) {
            logits = flash_carried(job, args->logits, g, tile->begin, keys);
        }
        if (logits) {
            job->ops->transpose(s, width, keys, g->count, scratch->rows, job->block_n, false);
        } else {
            flash_store_scores(job, args->logits, g, tile->begin, keys, s, scratch->rows);
        }
    } else {
        job->ops->scores(tile->k + (begin - tile->begin) * tile->k_ld, tile->k_ld, end - begin,
                         dims, g->q_t, g->width, seen, scratch->max);
    }
    if (cut) {
        flash_hide(job, g, begin, end, seen, scratch);
    }
    if (args->masked || job->keep_rows) {
        job->ops->fill(s, (begin - tile->begin) * width, -INFINITY, false);
        job->ops->fill(s + (end - tile->begin) * width, (tile->end - end) * width, -INFINITY,
                       false);
    }
    if (args->masked) {
        flash_store_scores(job, args->masked, g, tile->begin, keys, s, scratch->rows);
    }
    if (begin < end) {
        flash_rows_meet(job, g, begin, end, seen, scratch);
    }
    if (job->softmax && begin < end) {
        if (cut || (args->logits && !whole)) { /* max has seen what is hidden now */
            memcpy(scratch->max, m, (size_t)width * sizeof *m);
            job->ops->raise_max(seen, end - begin, g->width, scratch->max);
        }
        attend(job, item, g, tile, begin, end, cut, seen, logits, scratch);
    }
}

/* ---- storing ------------------------------------------------------------------------------ */

static void store_out(const flash_job *job, const flash_group *g, const flash_scratch *scratch)
{
    fasc_tensor *out = job->problem->args->out;
    int64_t dims = job->problem->head_dim;
    float *rows = scratch->rows;
    for (int x = 0; x < g->width; x++) { /* what dropout keeps grows */
        scratch->alpha[x] = scratch->sum[g->place + x] / job->problem->keep_scale;
    }
    job->ops->normalise(g->o_t, dims, g->width, scratch->alpha);
    if (out->dtype == FASC_F32 && out->stride[3] == 1) {
        job->ops->transpose(g->o_t, g->width, dims, g->count,
                            (float *)fasc_row(out, g->b, g->h, g->first), out->stride[2], false);
        return;
    }
    job->ops->transpose(g->o_t, g->width, dims, g->count, rows, dims, false);
    for (int64_t x = 0; x < g->count; x++) {
        fasc_store_row(out, g->b, g->h, g->first + x, rows + x * dims);
    }
}

/* The rows of S that were kept become probabilities, now that their sums are known. */
static void store_probs(const flash_job *job, const flash_item *item, const flash_group *g,
                        flash_scratch *scratch)
{
    fasc_tensor *probs = job->problem->args->probs;
    for (int x = 0; x < g->width; x++) {
        float sum = scratch->sum[g->place + x];
        scratch->alpha[x] = sum == 0 ? 0.0f : log2f(sum);
    }
    for (int64_t j = item->begin; j < item->end && !fasc_stopped(job->stop); j += job->block_n) {
        int64_t keys = fasc_least(item->end - j, job->block_n);
        float *s = g->s + (j - item->begin) * g->width;
        job->ops->probs(s, keys, g->width, scratch->m + g->place, scratch->alpha);
        flash_store_scores(job, probs, g, j, keys, s, scratch->rows);
    }
}

static void group_end(const flash_job *job, const flash_item *item, const flash_group *g,
                      flash_scratch *scratch)
{
    const fasc_attention_args *args = job->problem->args;
    if (job->splits > 1) {
        flash_split_keep(job, item, g, scratch);
        return;
    }
    for (int64_t x = 0; x < g->count; x++) {
        flash_row row = flash_row_at(job, g, x, scratch);
        flash_row_store(job, g->b, g->h, g->first + x, &row);
    }
    if (args->probs) {
        store_probs(job, item, g, scratch);
    }
    if (args->out) {
        store_out(job, g, scratch);
    }
}

/* ---- the item -------------------------------------------------------------------------- */

void flash_item_run(const flash_job *job, const flash_item *item, flash_scratch *scratch)
{
    const fasc_attention_args *args = job->problem->args;
    int64_t hk = item->h / job->problem->group, groups = item->heads * groups_of(job, item);
    for (int64_t n = 0; n < groups; n++) {
        flash_group g = group_at(job, item, n, scratch);
        group_begin(job, item, &g, scratch);
    }
    for (int64_t j = item->begin; j < item->end && !fasc_stopped(job->stop); j += job->block_n) {
        flash_keys tile = {.begin = j, .end = fasc_least(j + job->block_n, item->end)};
        tile.k = flash_rows_of(args->k, item->b, hk, j, tile.end, scratch->k, &tile.k_ld);
        if (args->out) {
            tile.v = flash_rows_of(args->v, item->b, hk, j, tile.end, scratch->v, &tile.v_ld);
        }
        for (int64_t n = 0; n < groups; n++) {
            flash_group g = group_at(job, item, n, scratch);
            meet(job, item, &g, &tile, scratch);
        }
    }
    for (int64_t n = 0; n < groups; n++) {
        flash_group g = group_at(job, item, n, scratch);
        group_end(job, item, &g, scratch);
    }
    if (job->kept) {
        flash_group all[MOST_GROUPS];
        for (int64_t n = 0; n < groups; n++) {
            all[n] = group_at(job, item, n, scratch);
        }
        flash_kept_item(job, item, all, groups, scratch);
    }
    job->ops->stream_end();
}
