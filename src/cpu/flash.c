/* flash.c - attention in one pass over tiles: the plan (tile sizes, threads, scratch) and the
 * sharing out of query tiles to threads. */
#include "cpu/flash.h"

#include <omp.h>
#include <stdio.h>

#include "problem.h"

/* Legal tile sizes. */
static const int32_t BLOCK[] = {16, 32, 64, 128, 256, 512};
enum { BLOCK_COUNT = sizeof BLOCK / sizeof *BLOCK };

enum {
    BLOCK_M = 128,
    BLOCK_N = 128,
    BLOCK_M_PROBS = 64,      /* S of its rows is kept: seqlen_k floats a row */
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
static int32_t default_block_m(const fasc_problem *p)
{
    int64_t rows = p->seqlen_q * p->group, heads = p->batch * p->heads_k;
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
static int64_t heads_of(const fasc_problem *p, int64_t block_m, int width)
{
    int64_t rows = (p->seqlen_q + width - 1) / width * width;
    int64_t heads = rows < block_m ? fasc_least(p->group, block_m / rows) : 1;
    while (heads > 1 && p->batch * p->heads_k * ((p->group + heads - 1) / heads) <
                            ITEMS_PER_THREAD * fasc_num_threads()) {
        heads = (heads + 1) / 2;
    }
    return heads;
}

static flash_job job_of(const fasc_problem *p, const fasc_attention_plan *plan, fasc_stop *stop)
{
    const fasc_attention_args *args = p->args;
    fasc_isa isa = FASC_ISA_PORTABLE;
    fasc_isa_parse(plan->arch, &isa);
    flash_job job = {
        .problem = p,
        .ops = fasc_tile_ops_for(isa, p->seqlen_q <= THIN_QUERIES),
        .block_m = plan->block_m,
        .block_n = plan->block_n,
        .softmax = args->out || args->lse || args->row_max || args->probs,
        .keep_rows = args->probs != NULL,
        .stop = stop,
    };
    job.width = fasc_tile_width(job.ops, fasc_least(p->seqlen_q, job.block_m));
    job.heads = heads_of(p, job.block_m, job.width);
    return job;
}

static int64_t tiles_of(const flash_job *job)
{
    return (job->problem->seqlen_q + job->block_m - 1) / job->block_m;
}

/* Items of one key head, without its query tiles. */
static int64_t parts_of(const flash_job *job)
{
    return (job->problem->group + job->heads - 1) / job->heads;
}

static int64_t items_of(const flash_job *job)
{
    return job->problem->batch * job->problem->heads_k * parts_of(job) * tiles_of(job);
}

static fasc_status flash_plan(const fasc_problem *problem, fasc_attention_plan *plan)
{
    fasc_status status;
    flash_scratch scratch;
    const fasc_kernel_config *config = &problem->args->kernel;
    if ((status = check_block("block_m", config->block_m)) ||
        (status = check_block("block_n", config->block_n))) {
        return status;
    }
    plan->block_m = config->block_m ? config->block_m : default_block_m(problem);
    plan->block_n = config->block_n ? config->block_n : default_block_n(problem);
    flash_job job = job_of(problem, plan, NULL);
    plan->threads = fasc_cpu_threads(items_of(&job));
    plan->workspace_bytes =
        FASC_CPU_ALIGN + plan->threads * flash_scratch_lend(&job, NULL, &scratch);
    snprintf(plan->config, sizeof plan->config, "%s %dx%d, %d threads", plan->arch, plan->block_m,
             plan->block_n, plan->threads);
    return FASC_OK;
}

/* ---- scratch ------------------------------------------------------------------------------- */

/* Takes n floats; with nothing behind them while only the size is asked for. */
static float *take(char *base, int64_t *used, int64_t n)
{
    float *floats = base ? (float *)(base + *used) : NULL;
    *used += fasc_aligned(n * (int64_t)sizeof *floats);
    return floats;
}

int64_t flash_scratch_lend(const flash_job *job, char *base, flash_scratch *scratch)
{
    const fasc_problem *p = job->problem;
    int64_t used = 0, dims = p->head_dim, width = job->width, keys = job->block_n;
    int64_t longest = dims > keys ? dims : keys;
    *scratch = (flash_scratch){0};
    scratch->rows = take(base, &used, width * longest + job->ops->lanes); /* read by vectors */
    scratch->q_t = take(base, &used, job->block_m * dims);
    scratch->o_t = take(base, &used, job->block_m * dims);
    scratch->m = take(base, &used, job->block_m);
    scratch->sum = take(base, &used, job->block_m);
    scratch->max = take(base, &used, width);
    scratch->alpha = take(base, &used, width);
    scratch->s = take(base, &used, job->keep_rows ? job->block_m * p->seqlen_k : keys * width);
    scratch->p = job->keep_rows ? take(base, &used, keys * width) : scratch->s;
    scratch->k = take(base, &used, keys * dims);
    scratch->v = take(base, &used, keys * dims);
    if (p->mask_data) {
        scratch->mask = take(base, &used, width * keys + job->ops->lanes);
        scratch->mask_t = take(base, &used, keys * width);
    }
    return used;
}

/* ---- running -------------------------------------------------------------------------- */

/* Work is taken head by head, so that threads share its keys and values in the cache; within a
 * head the tiles that see most come first, so that the last ones to end are short. */
static flash_item item_of(const flash_job *job, int64_t number, bool descending)
{
    const fasc_problem *p = job->problem;
    int64_t tiles = tiles_of(job), parts = parts_of(job), ignored;
    int64_t tile = number % tiles, part = number / tiles % parts, hk = number / tiles / parts;
    flash_item item = {.b = hk / p->heads_k, .h = hk % p->heads_k * p->group + part * job->heads};
    item.heads = fasc_least(job->heads, p->group - part * job->heads);
    item.first = (descending ? tiles - 1 - tile : tile) * job->block_m;
    item.count = fasc_least(p->seqlen_q - item.first, job->block_m);
    if (p->args->logits) {
        item.end = p->seqlen_k;
        return item;
    }
    fasc_visible_range(p, item.first, &item.begin, &ignored);
    fasc_visible_range(p, item.first + item.count - 1, &ignored, &item.end);
    return item;
}

static bool last_rows_see_more(const fasc_problem *p)
{
    int64_t first_begin, first_end, last_begin, last_end;
    fasc_visible_range(p, 0, &first_begin, &first_end);
    fasc_visible_range(p, p->seqlen_q - 1, &last_begin, &last_end);
    return last_end - last_begin > first_end - first_begin;
}

static fasc_status flash_run(const fasc_problem *problem, const fasc_attention_plan *plan,
                             char *workspace)
{
    fasc_stop stop = {false};
    flash_job job = job_of(problem, plan, &stop);
    bool descending = last_rows_see_more(problem);
    flash_scratch size;
    int64_t bytes = flash_scratch_lend(&job, NULL, &size);
#pragma omp parallel num_threads(plan->threads)
    {
        flash_scratch scratch;
        flash_scratch_lend(&job, workspace + omp_get_thread_num() * bytes, &scratch);
#pragma omp for schedule(dynamic)
        for (int64_t number = 0; number < items_of(&job); number++) {
            if (!fasc_stopped(&stop)) {
                flash_item item = item_of(&job, number, descending);
                flash_item_run(&job, &item, &scratch);
            }
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
    .outputs = FASC_WANT_FORWARD,
    .refuses = flash_refuses,
    .plan = flash_plan,
    .run = flash_run,
};
