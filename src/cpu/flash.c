/* flash.c - attention in one pass over tiles: the plan (passes, tile sizes, splits, threads,
 * scratch) and the sharing out of work to threads. */
#include "cpu/flash.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "cpu/linear_sums.h"
#include "problem.h"

/* Legal tile sizes. */
static const int32_t BLOCK[] = {16, 32, 64, 128, 256, 512};
enum { BLOCK_COUNT = sizeof BLOCK / sizeof *BLOCK };

enum {
    BLOCK_M = 128,
    BLOCK_N = 128,
    BLOCK_M_PROBS = 64,      /* S of its rows is kept: seqlen_k floats a row */
    BLOCK_M_KEPT = 64,       /* their exponentials are */
    THIN_QUERIES = 4,        /* up to here queries are taken one by one */
    ITEMS_PER_THREAD = 4,    /* at least, or tiles are made smaller */
    TILE_FLOATS = 128 * 256, /* of a tile of K: what the second-level cache holds with the rest */
};

/* ---- the plan -------------------------------------------------------------------------- */

static const char *flash_refuses(const fasc_problem *problem)
{
    return fasc_problem_has_f64(problem) ? "computes in float32 and serves no f64" : NULL;
}

static fasc_status check_block(const char *name, int32_t value)
{
    for (int i = 0; i < BLOCK_COUNT; i++) {
        if (value == 0 || value == BLOCK[i]) {
            return FASC_OK;
        }
    }
    return fasc_fail(
        FASC_EINVAL,
        "attention: kernel.%s: flash has no tile of %d; it has 16, 32, 64, 128, 256, 512", name,
        value);
}

/* Few query tiles leave threads without work, so tiles shrink; none is larger than all queries of
 * a key head. */
static int32_t default_block_m(const flash_job *job)
{
    const fasc_problem *p = job->problem;
    int64_t queries = job->last - job->first;
    if (job->kept) {
        return BLOCK_M_KEPT;
    }
    int64_t rows = queries * p->group, heads = p->batch * p->heads_k;
    int32_t block = p->args->probs ? BLOCK_M_PROBS : BLOCK_M;
    while (block > BLOCK[0] &&
           (heads * (rows + block - 1) / block < ITEMS_PER_THREAD * fasc_num_threads() ||
            block / 2 >= rows)) {
        block /= 2;
    }
    return block;
}

static int32_t default_block_n(const fasc_problem *p)
{
    int32_t block = BLOCK_N;
    while (block > BLOCK[0] && block * p->head_dim > TILE_FLOATS) {
        block /= 2;
    }
    return block;
}

/* Where a query tile has room for the queries of several heads that share keys, as while decoding,
 * it takes them together, so that keys and values are read once; but threads want work. */
static int64_t heads_of(const fasc_problem *p, int64_t queries, int64_t block_m, int width)
{
    int64_t rows = (queries + width - 1) / width * width;
    int64_t heads = rows < block_m ? fasc_least(p->group, block_m / rows) : 1;
    while (heads > 1 && p->batch * p->heads_k * ((p->group + heads - 1) / heads) <
                            ITEMS_PER_THREAD * fasc_num_threads()) {
        heads = (heads + 1) / 2;
    }
    return heads;
}

/* Outputs of which each needs something: the softmax of rows, all rows, a second pass. */
#define OF_COLUMN_PROBS (FASC_WANT(COL_SUM_PROBS) | FASC_WANT(COL_MAX_PROBS))
#define OF_PROBS        (OF_COLUMN_PROBS | FASC_WANT(DIAG_SUM_PROBS) | FASC_WANT_TILES)
#define NEEDS_NO_SOFTMAX                                                                           \
    (FASC_WANT(LOGITS) | FASC_WANT(MASKED) | FASC_WANT(ROW_SUM) | FASC_WANT(ROW_ARGMAX) |          \
     FASC_WANT_TOPK | FASC_WANT(COL_SUM_LOGITS) | FASC_WANT(DIAG_SUM_LOGITS))

/* Which passes the outputs need, and what they keep. */
static flash_job passes_of(const fasc_problem *p)
{
    const uint32_t direct = p->wanted & ~(FASC_WANT_QUERY_RANGE | FASC_WANT(ROW_SUM));
    flash_job job = {.problem = p, .splits = 1, .linear = fasc_linear_sums_apply(p)};
    job.softmax = p->wanted & ~NEEDS_NO_SOFTMAX;
    job.entropy = p->args->entropy;
    job.distance = p->args->mean_distance;
    job.argmax = p->args->row_argmax;
    job.row_sum = p->args->row_sum && !job.linear;
    job.columns = (p->wanted & OF_COLUMN_PROBS) || (p->args->col_sum_logits && !job.linear);
    job.tiles = p->wanted & FASC_WANT_TILES;
    job.diagonals = p->wanted & FASC_WANT_DIAGONALS;
    bool all_rows = direct || job.row_sum;
    job.forward = all_rows || (p->wanted & OF_PROBS);
    job.first = all_rows ? 0 : p->q0; /* else the ranges' rows are enough */
    job.last = all_rows ? p->seqlen_q : p->q1;
    job.kept = flash_kept_applies(&job);
    job.columns = job.columns && !job.kept;
    return job;
}

static int64_t tiles_of(const flash_job *job)
{
    return (job->last - job->first + job->block_m - 1) / job->block_m;
}

/* Items of one key head, without its query tiles. */
static int64_t parts_of(const flash_job *job)
{
    return (job->problem->group + job->heads - 1) / job->heads;
}

static int64_t items_of(const flash_job *job)
{
    return job->forward ? job->problem->batch * job->problem->heads_k * parts_of(job) *
                              tiles_of(job) * job->splits
                        : 0;
}

static flash_job job_of(const fasc_problem *p, const fasc_attention_plan *plan, fasc_stop *stop)
{
    fasc_isa isa = FASC_ISA_PORTABLE;
    fasc_isa_parse(plan->arch, &isa);
    flash_job job = passes_of(p);
    int64_t queries = job.last - job.first;
    job.ops = fasc_tile_ops_for(isa, queries <= THIN_QUERIES);
    job.block_m = plan->block_m;
    job.block_n = plan->block_n;
    job.stop = stop;
    job.width = fasc_tile_width(job.ops, fasc_least(queries, job.block_m));
    job.heads = heads_of(p, queries, job.block_m, job.width);
    if (job.forward) {
        int64_t blocks = (p->seqlen_k + job.block_n - 1) / job.block_n;
        int64_t given = fasc_least(p->args->kernel.splits, blocks); /* no more than there are */
        job.splits = job.kept ? 1 : given ? given : flash_splits_of(p, items_of(&job), job.block_n);
    }
    job.keep_rows = p->args->probs && job.splits == 1;
    job.late_probs = p->args->probs && job.splits > 1;
    return job;
}

/* ---- scratch ------------------------------------------------------------------------------- */

int64_t flash_scratch_lend(const flash_job *job, char *base, flash_scratch *scratch)
{
    const fasc_problem *p = job->problem;
    int64_t used = 0, dims = p->head_dim, width = job->width, keys = job->block_n;
    int64_t longest = dims > keys ? dims : keys, rows = job->block_m;
    bool stay = job->keep_rows || job->kept;
    *scratch = (flash_scratch){0};
    scratch->rows = flash_take(base, &used, width * longest + job->ops->lanes); /* by vectors */
    scratch->q_t = flash_take(base, &used, rows * dims);
    scratch->o_t = flash_take(base, &used, rows * dims);
    scratch->max = flash_take(base, &used, width);
    scratch->alpha = flash_take(base, &used, width);
    scratch->s = flash_take(base, &used, stay ? rows * p->seqlen_k : keys * width);
    scratch->p = job->keep_rows ? flash_take(base, &used, keys * width) : scratch->s;
    scratch->k = flash_take(base, &used, keys * dims);
    scratch->v = flash_take(base, &used, keys * dims);
    if (p->mask_data) {
        scratch->mask = flash_take(base, &used, width * keys + job->ops->lanes);
        scratch->mask_t = flash_take(base, &used, keys * width);
    }
    scratch->m = flash_take(base, &used, rows);
    scratch->sum = flash_take(base, &used, rows);
    scratch->t = job->entropy ? flash_take(base, &used, rows) : NULL;
    scratch->d = job->distance ? flash_take(base, &used, rows) : NULL;
    scratch->row_sum = job->row_sum ? flash_take(base, &used, rows) : NULL;
    if (job->argmax) {
        scratch->best = flash_take(base, &used, rows);
        scratch->at = (int32_t *)(void *)flash_take(base, &used, rows);
    }
    if (p->topk) {
        scratch->top = flash_take(base, &used, rows * p->topk);
        scratch->top_at = (int32_t *)(void *)flash_take(base, &used, rows * p->topk);
    }
    if (job->kept) {
        scratch->tile_m = flash_take(base, &used, (p->seqlen_k + keys - 1) / keys * rows);
        scratch->column_sum = flash_take(base, &used, keys * job->ops->lanes);
        scratch->column_max = flash_take(base, &used, keys * job->ops->lanes);
        scratch->joined = flash_take(base, &used, keys);
    }
    return used;
}

/* What one thread needs, whichever pass it works on. */
static int64_t thread_bytes(const flash_job *job)
{
    flash_scratch scratch;
    const int64_t bytes[] = {
        job->forward ? flash_scratch_lend(job, NULL, &scratch) : 0,
        job->splits > 1 ? fasc_aligned(flash_merge_floats(job) * 4) : 0,
        flash_columns_bytes(job),
        flash_diagonals_bytes(job),
        job->linear ? fasc_linear_sums_bytes(job->problem) : 0,
    };
    int64_t most = 0;
    for (size_t n = 0; n < sizeof bytes / sizeof *bytes; n++) {
        most = bytes[n] > most ? bytes[n] : most;
    }
    return most;
}

/* What all share: each row's softmax for the second passes, and the states of split rows. */
static int64_t shared_lend(flash_job *job, char *base)
{
    const fasc_problem *p = job->problem;
    int64_t used = 0, rows = p->batch * p->heads_q * p->seqlen_q;
    bool again = job->columns || job->tiles || job->late_probs || p->args->diag_sum_probs ||
                 p->args->max_logit;
    job->m_of = again ? flash_take(base, &used, rows) : NULL;
    job->log2_sum_of = again ? flash_take(base, &used, rows) : NULL;
    job->partial = flash_take(base, &used, flash_partial_floats(job));
    if (job->kept) {
        used += flash_kept_lend(job, items_of(job), base ? base + used : NULL);
    }
    return used;
}

/* ---- the plan -------------------------------------------------------------------------- */

static void add_words(fasc_attention_plan *plan, bool when, const char *words)
{
    size_t used = strlen(plan->config);
    if (when) {
        snprintf(plan->config + used, sizeof plan->config - used, "%s", words);
    }
}

static void describe(const flash_job *job, fasc_attention_plan *plan)
{
    char splits[48];
    snprintf(splits, sizeof splits, ", keys in %lld parts", (long long)job->splits);
    snprintf(plan->config, sizeof plan->config, "%s %dx%d, %d threads", plan->arch, plan->block_m,
             plan->block_n, plan->threads);
    add_words(plan, job->splits > 1, splits);
    add_words(plan, job->kept, ", columns from kept exponentials");
    add_words(plan, job->columns || job->tiles || job->late_probs, " + key-stationary pass");
    add_words(plan, job->diagonals, " + pass along diagonals");
    add_words(plan, job->linear, " + sums of logits by the linear formula");
    add_words(plan, !job->forward, "; no pass over all pairs");
}

static int64_t most_items(const flash_job *job)
{
    const int64_t items[] = {
        items_of(job),
        flash_columns_count(job, false),
        flash_columns_count(job, true),
        flash_diagonals_count(job),
        job->linear ? fasc_linear_sums_count(job->problem) : 0,
    };
    int64_t most = 1;
    for (size_t n = 0; n < sizeof items / sizeof *items; n++) {
        most = items[n] > most ? items[n] : most;
    }
    return most;
}

static fasc_status flash_plan(const fasc_problem *problem, fasc_attention_plan *plan)
{
    fasc_status status;
    const fasc_kernel_config *config = &problem->args->kernel;
    if ((status = check_block("block_m", config->block_m)) ||
        (status = check_block("block_n", config->block_n))) {
        return status;
    }
    flash_job passes = passes_of(problem);
    plan->block_m = config->block_m ? config->block_m : default_block_m(&passes);
    plan->block_n = config->block_n ? config->block_n : default_block_n(problem);
    flash_job job = job_of(problem, plan, NULL);
    plan->threads = fasc_cpu_threads(most_items(&job));
    plan->splits = (int32_t)job.splits;
    plan->workspace_bytes =
        FASC_CPU_ALIGN + shared_lend(&job, NULL) + plan->threads * thread_bytes(&job);
    describe(&job, plan);
    return FASC_OK;
}

/* ---- running ------------------------------------------------------------------------------- */

/* Work is taken head by head, so that threads share its keys and values in the cache; within a
 * head the tiles that see most come first, so that the last ones to end are short. */
static flash_item item_of(const flash_job *job, int64_t number, bool descending)
{
    const fasc_problem *p = job->problem;
    int64_t tiles = tiles_of(job), parts = parts_of(job), ignored;
    int64_t split = number % job->splits, whole = number / job->splits;
    int64_t tile = whole % tiles, part = whole / tiles % parts, hk = whole / tiles / parts;
    flash_item item = {.b = hk / p->heads_k, .h = hk % p->heads_k * p->group + part * job->heads};
    item.heads = fasc_least(job->heads, p->group - part * job->heads);
    item.first = job->first + (descending ? tiles - 1 - tile : tile) * job->block_m;
    item.count = fasc_least(job->last - item.first, job->block_m);
    item.split = split;
    if (p->args->logits) {
        item.end = p->seqlen_k;
    } else {
        fasc_visible_range(p, item.first, &item.begin, &ignored);
        fasc_visible_range(p, item.first + item.count - 1, &ignored, &item.end);
    }
    item.whole_begin = item.begin;
    item.whole_end = item.end;
    if (job->splits > 1) {
        flash_split_item(job, &item);
    }
    return item;
}

static bool last_rows_see_more(const flash_job *job)
{
    int64_t first_begin, first_end, last_begin, last_end;
    fasc_visible_range(job->problem, job->first, &first_begin, &first_end);
    fasc_visible_range(job->problem, job->last - 1, &last_begin, &last_end);
    return last_end - last_begin > first_end - first_begin;
}

/* One thread's part of joining the columns of a round. */
static void join(const flash_job *job, int64_t first, int64_t count, bool descending)
{
#pragma omp for schedule(dynamic)
    for (int64_t number = 0; number < flash_kept_join_count(job); number++) {
        for (int64_t n = 0; n < count && !fasc_stopped(job->stop); n++) {
            flash_item item = item_of(job, first + n, descending);
            item.slot = n;
            flash_kept_join(job, &item, number);
        }
    }
}

/* One thread's part of all passes; each ends before the next begins. */
static void run_passes(const flash_job *job, char *base)
{
    flash_scratch scratch;
    bool descending = last_rows_see_more(job);
    if (job->forward) {
        flash_scratch_lend(job, base, &scratch);
    }
    int64_t items = items_of(job), round = job->kept ? job->slots : items;
    for (int64_t first = 0; first < items; first += round) {
        int64_t count = fasc_least(round, items - first);
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < count; n++) {
            if (!fasc_stopped(job->stop)) {
                flash_item item = item_of(job, first + n, descending);
                item.slot = n;
                flash_item_run(job, &item, &scratch);
            }
        }
        if (job->kept) {
            join(job, first, count, descending);
        }
    }
    if (job->splits > 1) {
        const fasc_problem *p = job->problem;
#pragma omp for
        for (int64_t n = 0; n < p->batch * p->heads_q * (job->last - job->first); n++) {
            if (!fasc_stopped(job->stop)) {
                flash_split_merge(job, n, (float *)(void *)base);
            }
        }
    }
    for (int tiles = 0; tiles < 2; tiles++) {
#pragma omp for schedule(dynamic)
        for (int64_t number = 0; number < flash_columns_count(job, tiles); number++) {
            if (!fasc_stopped(job->stop)) {
                flash_columns_run(job, tiles, number, base);
            }
        }
    }
#pragma omp for schedule(dynamic)
    for (int64_t number = 0; number < flash_diagonals_count(job); number++) {
        if (!fasc_stopped(job->stop)) {
            flash_diagonals_run(job, number, base);
        }
    }
    int64_t sums = job->linear ? fasc_linear_sums_count(job->problem) : 0;
#pragma omp for schedule(dynamic)
    for (int64_t number = 0; number < sums; number++) {
        if (!fasc_stopped(job->stop)) {
            fasc_linear_sums_run(job->problem, number, base, job->stop);
        }
    }
}

static fasc_status flash_run(const fasc_problem *problem, const fasc_attention_plan *plan,
                             char *workspace)
{
    fasc_stop stop = {false};
    flash_job job = job_of(problem, plan, &stop);
    char *threads = workspace + shared_lend(&job, workspace);
    int64_t bytes = thread_bytes(&job);
    if (job.kept) {
        flash_kept_clear(&job);
    }
#pragma omp parallel num_threads(plan->threads)
    run_passes(&job, threads + omp_get_thread_num() * bytes);
    if (!fasc_stopped(&stop)) {
        flash_store_max_logit(&job);
        if (job.kept) {
            flash_kept_store(&job);
        }
    }
    return fasc_stop_status("attention", &stop);
}

const fasc_attention_kernel fasc_cpu_flash = {
    .name = "flash",
    .summary = "tiled online softmax in one pass; memory for tiles only, masked tiles skipped",
    .supports = "f16, bf16, f32; any head_dim; all outputs; block_m and block_n of 16 to 512",
    .tiled = true,
    .isa = true,
    .splits = true,
    .dropout = true,
    .outputs = FASC_WANT_ALL,
    .refuses = flash_refuses,
    .plan = flash_plan,
    .run = flash_run,
};
