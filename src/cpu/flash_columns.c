/* flash_columns.c - the key-stationary pass: each work item has some keys of its own and goes
 * through all queries that see them, so that sums over queries need no other thread. Serves column
 * sums and maxima, pooled maps, and the probabilities of rows whose keys were split. */
#include <math.h>
#include <string.h>

#include "cpu/flash_second.h"
#include "cpu/rows.h"

/* What one pass over the scores serves, and over which pairs. */
typedef struct pass {
    bool columns, tiles, probs;
    int64_t q_first, q_last, k_first, k_last;
    int64_t heads; /* query heads of an item */
    int64_t chunk; /* keys of an item: whole pooled tiles where these are wanted */
} pass;

static bool whole_range(const fasc_problem *p)
{
    return p->q0 == 0 && p->q1 == p->seqlen_q && p->k0 == 0 && p->k1 == p->seqlen_k;
}

/* The pass over the ranges (tiles = false), or that over all pairs, which takes the columns along
 * where the ranges are all. */
static pass pass_of(const flash_job *job, bool tiles)
{
    const fasc_problem *p = job->problem;
    bool over_all = job->tiles || job->late_probs, joined = over_all && whole_range(p);
    pass x = {.columns = job->columns && joined == tiles, .heads = 1, .chunk = job->block_n};
    if (tiles) {
        x.tiles = job->tiles;
        x.probs = job->late_probs;
        x.q_last = p->seqlen_q;
        x.k_last = p->seqlen_k;
        if (x.tiles) {
            x.chunk = (job->block_n + p->tile - 1) / p->tile * p->tile;
        }
    } else {
        x.q_first = p->q0;
        x.q_last = p->q1;
        x.k_first = p->k0;
        x.k_last = p->k1;
    }
    if (x.columns && p->args->per_kv_head) {
        x.heads = p->group;
    }
    return x;
}

static int64_t chunks_of(const pass *x)
{
    return (x->k_last - x->k_first + x->chunk - 1) / x->chunk;
}

int64_t flash_columns_count(const flash_job *job, bool tiles)
{
    const fasc_problem *p = job->problem;
    pass x = pass_of(job, tiles);
    return x.columns || x.tiles || x.probs ? p->batch * p->heads_q / x.heads * chunks_of(&x) : 0;
}

/* ---- scratch ----------------------------------------------------------------------------- */

typedef struct columns {
    flash_second second;
    float *sum_p, *sum_s, *max_p; /* (block_n, lanes): of the tile at hand */
    double *column_p, *column_s;  /* chunk: over queries so far */
    float *column_max;
    double *mass; /* (query tiles, key tiles of the chunk) */
    float *most;
    float *row_mass, *row_most; /* width: of one pooled tile */
} columns;

static double *take_doubles(char *base, int64_t *used, int64_t n)
{
    return (double *)(void *)flash_take(base, used, 2 * n);
}

static int64_t tiles_down(const fasc_problem *p)
{
    return (p->seqlen_q + p->tile - 1) / p->tile;
}

static int64_t lend(const flash_job *job, const pass *x, char *base, columns *c)
{
    const fasc_problem *p = job->problem;
    int64_t lanes = job->ops->lanes;
    *c = (columns){0};
    int64_t used = flash_second_lend(job, x->q_last - x->q_first, base, &c->second);
    if (x->columns) {
        c->sum_p = flash_take(base, &used, job->block_n * lanes);
        c->sum_s = flash_take(base, &used, job->block_n * lanes);
        c->max_p = flash_take(base, &used, job->block_n * lanes);
        c->column_p = take_doubles(base, &used, x->chunk);
        c->column_s = take_doubles(base, &used, x->chunk);
        c->column_max = flash_take(base, &used, x->chunk);
    }
    if (x->tiles) {
        int64_t cells = tiles_down(p) * (x->chunk / p->tile);
        c->mass = take_doubles(base, &used, cells);
        c->most = flash_take(base, &used, cells);
        c->row_mass = flash_take(base, &used, c->second.width);
        c->row_most = flash_take(base, &used, c->second.width);
    }
    return used;
}

int64_t flash_columns_bytes(const flash_job *job)
{
    int64_t most = 0;
    for (int tiles = 0; tiles < 2; tiles++) {
        columns c;
        pass x = pass_of(job, tiles);
        int64_t bytes = flash_columns_count(job, tiles) ? lend(job, &x, NULL, &c) : 0;
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* ---- what becomes of a tile -------------------------------------------------------------------
 */

static float larger(float a, float b)
{
    return isnan(a) || a > b ? a : b;
}

/* The tile's float32 sums join the float64 ones of the chunk's columns [first, first + keys). */
static void flush(const flash_job *job, columns *c, int64_t first, int64_t keys)
{
    int64_t lanes = job->ops->lanes;
    for (int64_t j = 0; j < keys; j++) {
        double p = 0, s = 0;
        for (int64_t x = j * lanes; x < (j + 1) * lanes; x++) {
            p += (double)c->sum_p[x];
            s += (double)c->sum_s[x];
            c->column_max[first + j] = larger(c->max_p[x], c->column_max[first + j]);
        }
        c->column_p[first + j] += p;
        c->column_s[first + j] += s;
    }
    memset(c->sum_p, 0, (size_t)(keys * lanes) * sizeof *c->sum_p);
    memset(c->sum_s, 0, (size_t)(keys * lanes) * sizeof *c->sum_s);
}

/* P of keys [begin, end), which lie from `chunk_begin` on, joins the pooled tiles. */
static void pool(const flash_job *job, const pass *x, const flash_group *g, int64_t chunk_begin,
                 int64_t begin, int64_t end, const float *p, columns *c)
{
    const fasc_problem *problem = job->problem;
    int64_t across = x->chunk / problem->tile;
    for (int64_t j = begin; j < end;) {
        int64_t cell = (j - chunk_begin) / problem->tile;
        int64_t stop = fasc_least(end, chunk_begin + (cell + 1) * problem->tile);
        const float *rows = p + (j - begin) * g->width;
        memset(c->row_mass, 0, (size_t)g->width * sizeof *c->row_mass);
        memset(c->row_most, 0, (size_t)g->width * sizeof *c->row_most);
        job->ops->add_scores(rows, stop - j, g->width, c->row_mass);
        job->ops->raise_max(rows, stop - j, g->width, c->row_most);
        for (int64_t r = 0; r < g->count; r++) {
            int64_t at = (g->first + r) / problem->tile * across + cell;
            c->mass[at] += (double)c->row_mass[r];
            c->most[at] = larger(isnan(c->row_mass[r]) ? NAN : c->row_most[r], c->most[at]);
        }
        j = stop;
    }
}

static void meet(const flash_job *job, const pass *x, const flash_group *g, const flash_keys *keys,
                 int64_t chunk_begin, columns *c)
{
    const fasc_problem *problem = job->problem;
    const fasc_attention_args *args = problem->args;
    int64_t begin, end, lanes = job->ops->lanes;
    float *s = flash_second_scores(job, g, keys, &begin, &end, &c->second);
    int64_t count = end - begin, at = (begin - keys->begin) * lanes;
    if (x->columns && args->col_sum_logits && !job->linear) {
        job->ops->add_columns(s, count, g->width, c->sum_s + at);
    }
    flash_second_probs(job, s, count, &c->second);
    if (x->columns && args->col_sum_probs) {
        job->ops->add_columns(s, count, g->width, c->sum_p + at);
    }
    if (x->columns && args->col_max_probs) {
        job->ops->raise_columns(s, count, g->width, c->max_p + at);
    }
    if (x->tiles) {
        pool(job, x, g, chunk_begin, begin, end, s, c);
    }
    if (x->probs) {
        float *tile = c->second.scratch.s;
        job->ops->fill(tile, (begin - keys->begin) * g->width, 0.0f, false);
        job->ops->fill(tile + (end - keys->begin) * g->width, (keys->end - end) * g->width, 0.0f,
                       false);
        flash_store_scores(job, args->probs, g, keys->begin, keys->end - keys->begin, tile,
                           c->second.scratch.rows);
    }
}

/* ---- one item -----------------------------------------------------------------------------------
 */

static void store_columns(const flash_job *job, const pass *x, int64_t b, int64_t h, int64_t begin,
                          int64_t end, const columns *c)
{
    const fasc_problem *p = job->problem;
    const fasc_attention_args *args = p->args;
    int64_t head = args->per_kv_head ? h / p->group : h;
    (void)x;
    for (int64_t j = begin; j < end; j++) {
        if (args->col_sum_probs) {
            *(float *)fasc_row(args->col_sum_probs, b, head, j - p->k0) =
                (float)c->column_p[j - begin];
        }
        if (args->col_sum_logits && !job->linear) {
            *(float *)fasc_row(args->col_sum_logits, b, head, j - p->k0) =
                (float)c->column_s[j - begin];
        }
        if (args->col_max_probs) {
            *(float *)fasc_row(args->col_max_probs, b, head, j - p->k0) = c->column_max[j - begin];
        }
    }
}

static void store_tiles(const flash_job *job, const pass *x, int64_t b, int64_t h, int64_t begin,
                        int64_t end, const columns *c)
{
    const fasc_problem *p = job->problem;
    const fasc_attention_args *args = p->args;
    int64_t across = x->chunk / p->tile, first = begin / p->tile;
    int64_t used = (end - begin + p->tile - 1) / p->tile;
    for (int64_t y = 0; y < tiles_down(p); y++) {
        double rows = (double)fasc_least(p->tile, p->seqlen_q - y * p->tile);
        for (int64_t n = 0; n < used; n++) {
            if (args->pooled_mass) {
                float *row = (float *)fasc_row(args->pooled_mass, b, h, y);
                row[(first + n) * args->pooled_mass->stride[3]] =
                    (float)(c->mass[y * across + n] / rows);
            }
            if (args->pooled_max) {
                float *row = (float *)fasc_row(args->pooled_max, b, h, y);
                row[(first + n) * args->pooled_max->stride[3]] = c->most[y * across + n];
            }
        }
    }
}

static void run_head(const flash_job *job, const pass *x, int64_t b, int64_t h, int64_t begin,
                     int64_t end, columns *c)
{
    const fasc_problem *p = job->problem;
    for (int64_t j = begin; j < end && !fasc_stopped(job->stop); j += job->block_n) {
        flash_keys keys = {.begin = j, .end = fasc_least(j + job->block_n, end)};
        keys.k = flash_rows_of(p->args->k, b, h / p->group, j, keys.end, c->second.scratch.k,
                               &keys.k_ld);
        if (x->columns) {
            job->ops->fill(c->max_p, job->block_n * job->ops->lanes, 0.0f, false);
        }
        for (int64_t i = x->q_first; i < x->q_last; i += c->second.width) {
            int64_t first_seen, last_seen, ignored;
            fasc_visible_range(p, i, &first_seen, &ignored);
            fasc_visible_range(p, fasc_least(i + c->second.width, x->q_last) - 1, &ignored,
                               &last_seen);
            if (x->probs || (first_seen < keys.end && last_seen > j)) {
                flash_group g = flash_second_group(job, b, h, i, x->q_last, &c->second);
                meet(job, x, &g, &keys, begin, c);
            }
            if (x->columns &&
                (i - x->q_first) % FLASH_FLUSH_COLUMNS + c->second.width >= FLASH_FLUSH_COLUMNS) {
                flush(job, c, j - begin, keys.end - j);
            }
        }
        if (x->columns) {
            flush(job, c, j - begin, keys.end - j);
        }
    }
}

void flash_columns_run(const flash_job *job, bool tiles, int64_t number, char *base)
{
    const fasc_problem *p = job->problem;
    pass x = pass_of(job, tiles);
    int64_t chunks = chunks_of(&x), head = number / chunks * x.heads;
    int64_t begin = x.k_first + number % chunks * x.chunk,
            end = fasc_least(begin + x.chunk, x.k_last);
    int64_t b = head / p->heads_q, h = head % p->heads_q;
    columns c;
    lend(job, &x, base, &c);
    if (x.columns) {
        size_t keys = (size_t)x.chunk, lanes = (size_t)(job->block_n * job->ops->lanes);
        memset(c.sum_p, 0, lanes * sizeof *c.sum_p);
        memset(c.sum_s, 0, lanes * sizeof *c.sum_s);
        memset(c.column_p, 0, keys * sizeof *c.column_p);
        memset(c.column_s, 0, keys * sizeof *c.column_s);
        memset(c.column_max, 0, keys * sizeof *c.column_max);
    }
    for (int64_t n = 0; n < x.heads; n++) {
        if (x.tiles) {
            size_t cells = (size_t)(tiles_down(p) * (x.chunk / p->tile));
            memset(c.mass, 0, cells * sizeof *c.mass);
            memset(c.most, 0, cells * sizeof *c.most);
        }
        run_head(job, &x, b, h + n, begin, end, &c);
        if (x.tiles && !fasc_stopped(job->stop)) {
            store_tiles(job, &x, b, h + n, begin, end, &c);
        }
    }
    if (x.columns && !fasc_stopped(job->stop)) {
        store_columns(job, &x, b, h, begin, end, &c);
    }
    job->ops->stream_end();
}
