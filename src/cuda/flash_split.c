/* flash_split.c - launches of flash_split.cu: when keys are split, into how many parts, and where
 * the parts lie. */
#include "cuda/flash_split.h"

#include <stdio.h>

#include "cuda/flash.h"

#include "split_params.h"

enum { ROWS = 16, MOST_SPLITS = 256, LEAST_TILES = 4 /* of a split */, JOIN_ROWS = 4 };

/* The first row that holds the head_dim and fits. */
typedef struct split_config {
    int32_t head_dim, warps, stages; /* the kernel's macros */
} split_config;

static const split_config CONFIG[] = {{64, 4, 4}, {128, 4, 3}, {128, 4, 2}};

enum { CONFIG_COUNT = sizeof CONFIG / sizeof *CONFIG };
_Static_assert(FASC_SPLIT_CONFIGS == 2 * CONFIG_COUNT, "each in f16 and bf16");

static size_t smem_bytes(const split_config *c)
{
    size_t tiles = FASC_SPLIT_TILES_BYTES((size_t)c->head_dim, (size_t)c->warps, (size_t)c->stages);
    size_t room = FASC_SPLIT_ROOM_BYTES((size_t)c->head_dim, (size_t)c->warps);
    return tiles > room ? tiles : room;
}

static const split_config *choose(const fasc_cuda_device *d, const fasc_problem *problem)
{
    for (int i = 0; i < CONFIG_COUNT; i++) {
        if (CONFIG[i].head_dim >= problem->head_dim &&
            (int64_t)smem_bytes(&CONFIG[i]) <= d->smem_per_block) {
            return &CONFIG[i];
        }
    }
    return NULL;
}

/* ---- the split ----------------------------------------------------------- */

/* Key tiles [*begin, *end) that some query sees. */
static void seen_tiles(const fasc_problem *problem, const split_config *c, int64_t *begin,
                       int64_t *end)
{
    const int64_t block_n = 16 * c->warps;
    int64_t first, last, none;
    fasc_visible_range(problem, 0, &first, &none);
    fasc_visible_range(problem, problem->seqlen_q - 1, &none, &last);
    *begin = first / block_n;
    *end = last > first ? (last + block_n - 1) / block_n : *begin;
}

/* Row tiles: the query heads of a group are rows of one key head. */
static int64_t row_tiles(const fasc_problem *problem)
{
    return (problem->group * problem->seqlen_q + ROWS - 1) / ROWS;
}

/* Blocks of one split. */
static int64_t blocks_of(const fasc_problem *problem)
{
    return problem->batch * problem->heads_k * row_tiles(problem);
}

/* How full the device is on average while `blocks` run, two on a multiprocessor. */
static double fullness(const fasc_cuda_device *d, int64_t blocks)
{
    int64_t slots = 2 * (int64_t)d->units, waves = (blocks + slots - 1) / slots;
    return (double)blocks / (double)(waves * slots);
}

/* The smallest split within 85 % of the fullest. */
static int32_t best_count(const fasc_cuda_device *d, const fasc_problem *problem, int64_t tiles)
{
    int64_t most = tiles / LEAST_TILES < MOST_SPLITS ? tiles / LEAST_TILES : MOST_SPLITS;
    double fullest = 0.0;
    for (int64_t n = 1; n <= most; n++) {
        double full = fullness(d, n * blocks_of(problem));
        fullest = full > fullest ? full : fullest;
    }
    for (int64_t n = 1; n <= most; n++) {
        if (fullness(d, n * blocks_of(problem)) >= 0.85 * fullest) {
            return (int32_t)n;
        }
    }
    return 1;
}

bool fasc_split_can(const fasc_cuda_device *d, const fasc_problem *problem, char *why, size_t room)
{
    if (problem->wanted & ~(FASC_WANT(OUT) | FASC_WANT(LSE) | FASC_WANT(ROW_MAX))) {
        snprintf(why, room, "gives out, lse and row_max alone when keys are split");
    } else if (problem->dropout) {
        snprintf(why, room, "has no dropout when keys are split");
    } else if (!choose(d, problem)) {
        snprintf(why, room, "splits keys for a head_dim up to 128, not %lld",
                 (long long)problem->head_dim);
    } else {
        return true;
    }
    return false;
}

int32_t fasc_split_count(const fasc_cuda_device *d, const fasc_problem *problem)
{
    const fasc_kernel_config *wanted = &problem->args->kernel;
    char why[96];
    const split_config *c = choose(d, problem);
    int64_t begin = 0, end = wanted->splits;
    if (c) {
        seen_tiles(problem, c, &begin, &end);
    }
    if (wanted->splits > 0) { /* no more than there are tiles */
        return wanted->splits < end - begin ? wanted->splits : (int32_t)(end - begin);
    }
    if (wanted->block_m || wanted->block_n || wanted->stages || wanted->warps ||
        !fasc_split_can(d, problem, why, sizeof why)) {
        return 1;
    }
    int64_t rows = problem->batch * problem->heads_q * ((problem->seqlen_q + 63) / 64);
    /* With more than two row tiles K and V are read again and again: only where the device would
     * stand nearly empty. */
    bool empty = row_tiles(problem) <= 2 ? blocks_of(problem) * 5 < 8 * (int64_t)d->units
                                         : rows * 8 <= (int64_t)d->units;
    return empty ? best_count(d, problem, end - begin) : 1;
}

/* ---- launches ------------------------------------------------------------ */

/* The split's workspace: copies of inputs, parts, sums. */
typedef struct places {
    size_t parts, sums, bytes;
} places;

static places places_of(const fasc_problem *problem, int32_t splits)
{
    size_t rows = (size_t)(problem->batch * problem->heads_q * problem->seqlen_q);
    size_t numbers = rows * (size_t)splits;
    places at = {.parts = fasc_cuda_aligned(fasc_flash_copies_of(problem).bytes)};
    at.sums = at.parts + fasc_cuda_aligned(numbers * (size_t)problem->head_dim * sizeof(float));
    at.bytes = at.sums + numbers * 2 * sizeof(float);
    return at;
}

fasc_status fasc_split_plan(fasc_cuda_device *d, const fasc_problem *problem,
                            fasc_attention_plan *plan)
{
    const split_config *c = choose(d, problem);
    plan->splits = fasc_split_count(d, problem);
    plan->block_m = ROWS;
    plan->block_n = 16 * c->warps;
    plan->stages = c->stages;
    plan->warps = c->warps;
    plan->threads = c->warps * 32;
    plan->workspace_bytes =
        (int64_t)fasc_cuda_aligned(places_of(problem, plan->splits).bytes) + FASC_CUDA_ALIGN;
    snprintf(plan->config, sizeof plan->config,
             "keys in %d splits, heads of a group together; %dx%d tiles of head_dim %d, %d stages, "
             "%d warps",
             plan->splits, plan->block_m, plan->block_n, c->head_dim, c->stages, c->warps);
    fasc_flash_describe(problem, plan);
    return FASC_OK;
}

static void macros_of(const split_config *c, bool bf16, char *macros, size_t room)
{
    snprintf(macros, room, "FASC_BF16=%d HEAD_DIM=%d WARPS=%d STAGES=%d", bf16, c->head_dim,
             c->warps, c->stages);
}

bool fasc_split_macros_at(int32_t i, char *macros, size_t room)
{
    if (i < 0 || i >= FASC_SPLIT_CONFIGS) {
        return false;
    }
    macros_of(&CONFIG[i / 2], i % 2, macros, room);
    return true;
}

bool fasc_split_stage(const fasc_cuda_device *d, const fasc_problem *problem, int32_t index,
                      fasc_cuda_stage *stage)
{
    const split_config *c = choose(d, problem);
    int64_t rows = problem->batch * problem->heads_q * problem->seqlen_q;
    macros_of(c, problem->dtype == FASC_BF16, stage->macros, sizeof stage->macros);
    stage->launch = (fasc_cuda_launch){.source = "kernels/flash_split.cu",
                                       .macros = stage->macros,
                                       .entry = "fasc_flash_split",
                                       .blocks = blocks_of(problem) * fasc_split_count(d, problem),
                                       .threads = c->warps * 32,
                                       .smem = smem_bytes(c)};
    if (index == 1) {
        stage->launch.entry = "fasc_flash_join";
        stage->launch.blocks = (rows + JOIN_ROWS - 1) / JOIN_ROWS;
        stage->launch.threads = 32 * JOIN_ROWS;
        stage->launch.smem = 0;
    }
    return index < 2;
}

fasc_status fasc_split_run(const fasc_cuda_call *call)
{
    const fasc_problem *problem = call->problem;
    const split_config *c = choose(call->d, problem);
    const int32_t splits = call->plan->splits;
    const places at = places_of(problem, splits);
    int64_t begin, end;
    seen_tiles(problem, c, &begin, &end);
    fasc_flash_inputs inputs;
    fasc_flash_pass pass;
    fasc_flash_pass_at(problem, 0, &pass);
    fasc_status status = fasc_flash_prepare(call, &inputs);
    fasc_split_params p = {.flash = fasc_flash_params_of(problem, &inputs, &pass),
                           .parts = (float *)(void *)(call->workspace + at.parts),
                           .sums = (float *)(void *)(call->workspace + at.sums),
                           .splits = splits,
                           .tiles = (int32_t)((end - begin + splits - 1) / splits),
                           .begin = (int32_t)begin,
                           .end = (int32_t)end};
    for (int32_t i = 0; status == FASC_OK && i < 2; i++) {
        fasc_cuda_stage stage;
        fasc_split_stage(call->d, problem, i, &stage);
        status = fasc_cuda_run_kernel(call->d, call->stream, &stage.launch, &p);
    }
    return status;
}
