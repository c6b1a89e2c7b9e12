/* flash_split.c - launches of flash_split.cu: when keys are split, into how many parts, and where
 * the parts lie. */
#include "cuda/flash_split.h"

#include <stdio.h>
#include <string.h>

#include "cuda/flash.h"

#include "split_params.h"

enum { MOST_SPLITS = 256, LEAST_TILES = 8 /* of a split */, KEYS_AT_A_TIME = 1024 };

/* Of those that hold the head_dim, the first that fits. */
typedef struct split_config {
    int32_t head_dim, warps,
        stages; /* the kernel's macros, but for ROW_WARPS: 1, 2, 4, up to warps */
} split_config;

static const split_config CONFIG[] = {
    {64, 4, 4}, {128, 4, 3}, {128, 4, 2}, {256, 2, 3}, {256, 2, 2},
};

enum { CONFIG_COUNT = sizeof CONFIG / sizeof *CONFIG };

/* The query heads of a group are rows of one key head. */
static int64_t rows_of_head(const fasc_problem *problem)
{
    return problem->group * problem->seqlen_q;
}

/* Warps with rows of their own: as many as there are rows for. */
static int32_t row_warps_of(const fasc_problem *problem, const split_config *c)
{
    int32_t warps = 1;
    if (problem->args->kernel.block_m) {
        return problem->args->kernel.block_m / 16;
    }
    while (warps < c->warps && 16 * warps < rows_of_head(problem)) {
        warps *= 2;
    }
    return warps;
}

/* Anything beyond out, lse and row_max takes the kernel's other variant. */
static bool has_extras(const fasc_problem *problem)
{
    return problem->mask_data || problem->dropout ||
           problem->wanted & ~(FASC_WANT(OUT) | FASC_WANT(LSE) | FASC_WANT(ROW_MAX));
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Shared memory of a block. A third block would only unbalance the multiprocessors: two load as
 * fast. */
static size_t smem_bytes(const fasc_cuda_device *d, const fasc_problem *problem,
                         const split_config *c)
{
    size_t head_dim = (size_t)c->head_dim, warps = (size_t)c->warps;
    size_t tiles = FASC_SPLIT_TILES_BYTES(head_dim, warps, (size_t)row_warps_of(problem, c),
                                          (size_t)c->stages, has_extras(problem));
    return larger(larger(tiles, FASC_SPLIT_ROOM_BYTES(head_dim, warps)),
                  (size_t)d->smem_per_unit / 3);
}

static bool matches(const split_config *c, const fasc_kernel_config *wanted)
{
    const int32_t m = wanted->block_m;
    return (!m || ((m == 16 || m == 32 || m == 64) && m <= 16 * c->warps)) &&
           (!wanted->block_n || wanted->block_n == 16 * c->warps) &&
           (!wanted->stages || wanted->stages == c->stages) &&
           (!wanted->warps || wanted->warps == c->warps);
}

/* NULL with the reason. */
static const split_config *choose(const fasc_cuda_device *d, const fasc_problem *problem, char *why,
                                  size_t room)
{
    int32_t head_dim = 0;
    size_t used = (size_t)snprintf(
        why, room, "has these block_m x block_n, stages, warps when keys are split:");
    for (int i = 0; i < CONFIG_COUNT; i++) {
        const split_config *c = &CONFIG[i];
        if (c->head_dim < problem->head_dim || (head_dim && c->head_dim != head_dim)) {
            continue;
        }
        head_dim = c->head_dim;
        const bool match = matches(c, &problem->args->kernel);
        if (match && (int64_t)smem_bytes(d, problem, c) <= d->smem_per_block) {
            return c;
        }
        used += used < room ? (size_t)snprintf(why + used, room - used, " %sx%d,%d,%d%s",
                                               c->warps < 4 ? "16|32" : "16|32|64", 16 * c->warps,
                                               c->stages, c->warps,
                                               match ? " (too much shared memory)" : "")
                            : 0;
    }
    return NULL;
}

/* ---- the split ----------------------------------------------------------- */

/* Key tiles [*begin, *end) that are walked over: those that some query sees; for logits all. */
static void walked_tiles(const fasc_problem *problem, const split_config *c, int64_t *begin,
                         int64_t *end)
{
    const int64_t block_n = 16 * c->warps;
    if (problem->args->logits) {
        *begin = 0;
        *end = (problem->seqlen_k + block_n - 1) / block_n;
        return;
    }
    int64_t first, last, none;
    fasc_visible_range(problem, 0, &first, &none);
    fasc_visible_range(problem, problem->seqlen_q - 1, &none, &last);
    *begin = first / block_n;
    *end = last > first ? (last + block_n - 1) / block_n : *begin;
}

static int64_t row_tiles(const fasc_problem *problem, const split_config *c)
{
    const int32_t rows = 16 * row_warps_of(problem, c);
    return (rows_of_head(problem) + rows - 1) / rows;
}

/* Blocks of one split. */
static int64_t blocks_of(const fasc_problem *problem, const split_config *c)
{
    return problem->batch * problem->heads_k * row_tiles(problem, c);
}

/* Blocks that run at a time: two a multiprocessor where they fit. */
static int64_t slots_of(const fasc_cuda_device *d, const fasc_problem *problem,
                        const split_config *c)
{
    const int64_t fit = d->smem_per_unit / ((int64_t)smem_bytes(d, problem, c) + 1024);
    return d->units * (fit > 1 ? 2 : 1);
}

static int64_t waves_of(int64_t blocks, int64_t slots)
{
    return (blocks + slots - 1) / slots;
}

/* The smallest split within 95 % of that which fills the device best, on average while it runs. */
static int32_t best_count(const fasc_cuda_device *d, const fasc_problem *problem,
                          const split_config *c, int64_t tiles)
{
    const int64_t slots = slots_of(d, problem, c), blocks = blocks_of(problem, c);
    const int64_t most = tiles / LEAST_TILES < MOST_SPLITS ? tiles / LEAST_TILES : MOST_SPLITS;
    double fullness[MOST_SPLITS + 1], fullest = 0.0;
    for (int64_t n = 1; n <= most; n++) {
        fullness[n] = (double)(n * blocks) / (double)(waves_of(n * blocks, slots) * slots);
        fullest = fullness[n] > fullest ? fullness[n] : fullest;
    }
    for (int64_t n = 1; n <= most; n++) {
        if (fullness[n] >= 0.95 * fullest) {
            return (int32_t)n;
        }
    }
    return 1;
}

/* Nanoseconds a key at head_dim 128 on an H200, for what stands in line on one multiprocessor:
 * results/decode_log.md. Only their ratios matter here. */
enum {
    FEW_ROWS = 30,    /* a block of 16 or 32 rows that shares a multiprocessor with another */
    MANY_ROWS = 36,   /* one of 64 */
    HOPPER_TILE = 11, /* 128 rows of flash sm_90a */
    TILE = 22,        /* of flash sm_80 */
    MEMORY = 16       /* K and V out of memory, when all multiprocessors read */
};

/* Whether a split is faster than a walk of each row tile along all keys. That one reads K and V for
 * each query head, though mostly from L2. */
static bool is_faster(const fasc_cuda_device *d, const fasc_problem *problem, const split_config *c,
                      int32_t splits)
{
    const int64_t slots = slots_of(d, problem, c);
    const int64_t waves = waves_of(blocks_of(problem, c) * splits, slots);
    const int64_t heads = problem->batch * problem->heads_q;
    const int64_t tiles = heads * ((problem->seqlen_q + 127) / 128);
    const double block = row_warps_of(problem, c) > 2 ? MANY_ROWS : FEW_ROWS;
    const double walk = (double)waves_of(tiles, d->units) * (d->compute == 90 ? HOPPER_TILE : TILE);
    const double memory = (double)(problem->batch * problem->heads_k) * MEMORY / (double)d->units;
    return (double)waves * block / splits <= (walk > memory ? walk : memory);
}

bool fasc_split_can(const fasc_cuda_device *d, const fasc_problem *problem, char *why, size_t room)
{
    return choose(d, problem, why, room) != NULL;
}

int32_t fasc_split_count(const fasc_cuda_device *d, const fasc_problem *problem)
{
    const fasc_kernel_config *wanted = &problem->args->kernel;
    char why[8];
    const split_config *c = choose(d, problem, why, sizeof why);
    int64_t begin = 0, end = wanted->splits;
    if (c) {
        walked_tiles(problem, c, &begin, &end);
    }
    if (wanted->splits > 0) { /* no more than there are tiles */
        return wanted->splits < end - begin ? wanted->splits : (int32_t)(end - begin);
    }
    if (wanted->block_m || wanted->block_n || wanted->stages || wanted->warps || !c ||
        problem->wanted == 0) {
        return 1;
    }
    const int64_t tiles = end - begin, rows = rows_of_head(problem);
    int32_t count = best_count(d, problem, c, tiles);
    if (count < 2 && tiles >= 4 && tiles >= rows / 2) { /* else parts cost more than K and V do */
        count = 2;
    }
    return count > 1 && is_faster(d, problem, c, count) ? count : 1;
}

/* ---- launches ------------------------------------------------------------ */

static int64_t rows_of(const fasc_problem *problem)
{
    return problem->batch * problem->heads_q * problem->seqlen_q;
}

/* Scores are finished when all splits are done: P, and what of `masked` no split walks over. */
static bool has_scores_to_finish(const fasc_problem *problem)
{
    return problem->args->probs || (problem->args->masked && !problem->args->logits);
}

static int64_t scores_pitch(const fasc_problem *problem)
{
    return (problem->seqlen_k + 3) / 4 * 4;
}

/* The split's workspace: copies of inputs, parts, totals; for probs S and LSE. */
typedef struct places {
    size_t parts, totals, scores, lse2, bytes;
} places;

static size_t place(size_t *bytes, size_t wanted)
{
    size_t at = *bytes;
    *bytes += fasc_cuda_aligned(wanted);
    return at;
}

static places places_of(const fasc_problem *problem, int32_t splits)
{
    const size_t rows = (size_t)rows_of(problem), numbers = rows * (size_t)splits;
    const size_t probs = problem->args->probs ? rows : 0;
    places at = {.bytes = fasc_cuda_aligned(fasc_flash_copies_of(problem).bytes)};
    at.parts = place(&at.bytes,
                     problem->args->out ? numbers * (size_t)problem->head_dim * sizeof(float) : 0);
    at.totals = place(&at.bytes, numbers * sizeof(fasc_row_totals));
    at.scores = place(&at.bytes, probs * (size_t)scores_pitch(problem) * sizeof(float));
    at.lse2 = place(&at.bytes, probs * sizeof(float));
    return at;
}

fasc_status fasc_split_plan(fasc_cuda_device *d, const fasc_problem *problem,
                            fasc_attention_plan *plan)
{
    char why[8];
    const split_config *c = choose(d, problem, why, sizeof why);
    plan->splits = fasc_split_count(d, problem);
    plan->block_m = 16 * row_warps_of(problem, c);
    plan->block_n = 16 * c->warps;
    plan->stages = c->stages;
    plan->warps = c->warps;
    plan->threads = c->warps * 32;
    plan->workspace_bytes = (int64_t)places_of(problem, plan->splits).bytes + FASC_CUDA_ALIGN;
    snprintf(plan->config, sizeof plan->config,
             "keys in %d splits, heads of a group together; %dx%d tiles of head_dim %d, %d stages, "
             "%d warps%s",
             plan->splits, plan->block_m, plan->block_n, c->head_dim, c->stages, c->warps,
             problem->args->probs ? "; probs from S in float32" : "");
    fasc_flash_describe_tensors(problem, plan);
    return FASC_OK;
}

static void macros_of(const split_config *c, int32_t row_warps, bool bf16, bool extras,
                      char *macros, size_t room)
{
    snprintf(macros, room, "FASC_BF16=%d HEAD_DIM=%d WARPS=%d ROW_WARPS=%d STAGES=%d EXTRAS=%d",
             bf16, c->head_dim, c->warps, row_warps, c->stages, extras);
}

static void join_macros(bool bf16, bool extras, char *macros, size_t room)
{
    snprintf(macros, room, "FASC_BF16=%d EXTRAS=%d", bf16, extras);
}

static const char *const SPLIT = "kernels/flash_split.cu", *const JOIN = "kernels/split_join.cu";

int32_t fasc_split_config_count(void)
{
    fasc_cuda_config config;
    int32_t count = 0;
    while (fasc_split_config_at(count, &config)) {
        count++;
    }
    return count;
}

bool fasc_split_config_at(int32_t i, fasc_cuda_config *config)
{
    const bool bf16 = i % 2, extras = i / 2 % 2;
    int32_t row = i / 4;
    if (i < 0) {
        return false;
    }
    *config = (fasc_cuda_config){.source = SPLIT};
    for (int n = 0; n < CONFIG_COUNT; n++) {
        for (int32_t row_warps = 1; row_warps <= CONFIG[n].warps; row_warps *= 2) {
            if (row-- == 0) {
                macros_of(&CONFIG[n], row_warps, bf16, extras, config->macros,
                          sizeof config->macros);
                return true;
            }
        }
    }
    config->source = JOIN;
    join_macros(bf16, extras, config->macros, sizeof config->macros);
    return row == 0;
}

/* The parts, the joining of rows, the finishing of scores. */
bool fasc_split_stage(const fasc_cuda_device *d, const fasc_problem *problem, int32_t index,
                      fasc_cuda_stage *stage)
{
    char why[8];
    const split_config *c = choose(d, problem, why, sizeof why);
    const bool bf16 = problem->dtype == FASC_BF16, extras = has_extras(problem);
    const int64_t pieces = (problem->seqlen_k + KEYS_AT_A_TIME - 1) / KEYS_AT_A_TIME;
    if (index == 0) {
        macros_of(c, row_warps_of(problem, c), bf16, extras, stage->macros, sizeof stage->macros);
        stage->launch =
            (fasc_cuda_launch){.source = SPLIT,
                               .entry = "fasc_flash_split",
                               .blocks = blocks_of(problem, c) * fasc_split_count(d, problem),
                               .threads = c->warps * 32,
                               .smem = smem_bytes(d, problem, c)};
    } else {
        join_macros(bf16, extras, stage->macros, sizeof stage->macros);
        stage->launch = (fasc_cuda_launch){.source = JOIN,
                                           .entry = index == 1 ? "split_join" : "split_scores",
                                           .blocks = rows_of(problem) * (index == 1 ? 1 : pieces),
                                           .threads = 128};
    }
    stage->launch.macros = stage->macros;
    return index < (has_scores_to_finish(problem) ? 3 : 2);
}

/* A kind of scores as kernels store it. */
static fasc_matrix_params matrix_of(const fasc_tensor *t)
{
    fasc_matrix_params m = {.data = NULL};
    if (t) {
        m.data = t->data;
        m.dtype = (int32_t)t->dtype;
        memcpy(m.stride, t->stride, sizeof m.stride);
    }
    return m;
}

static fasc_split_params params_of(const fasc_cuda_call *call, const split_config *c,
                                   const fasc_flash_inputs *inputs)
{
    const fasc_problem *problem = call->problem;
    const fasc_attention_args *args = problem->args;
    const fasc_flash_pass pass = {FASC_SCORES_NONE, NULL, true};
    const int32_t splits = call->plan->splits;
    const places at = places_of(problem, splits);
    int64_t begin, end;
    walked_tiles(problem, c, &begin, &end);
    fasc_split_params p = {.flash = fasc_flash_params_of(problem, inputs, &pass),
                           .parts = (float *)(void *)(call->workspace + at.parts),
                           .totals = (fasc_row_totals *)(void *)(call->workspace + at.totals),
                           .splits = splits,
                           .tiles = (int32_t)((end - begin + splits - 1) / splits),
                           .begin = (int32_t)begin,
                           .end = (int32_t)end,
                           .logits = matrix_of(args->logits),
                           .masked = matrix_of(args->masked),
                           .probs = matrix_of(args->probs),
                           .scores_pitch = scores_pitch(problem),
                           .block_n = 16 * c->warps};
    if (args->probs) {
        p.scores = (float *)(void *)(call->workspace + at.scores);
        p.lse2 = (float *)(void *)(call->workspace + at.lse2);
    }
    return p;
}

fasc_status fasc_split_run(const fasc_cuda_call *call)
{
    char why[8];
    fasc_flash_inputs inputs;
    fasc_status status = fasc_flash_prepare(call, &inputs);
    fasc_split_params p = params_of(call, choose(call->d, call->problem, why, sizeof why), &inputs);
    fasc_cuda_stage stage;
    for (int32_t i = 0; status == FASC_OK && fasc_split_stage(call->d, call->problem, i, &stage);
         i++) {
        status = fasc_cuda_run_kernel(call->d, call->stream, &stage.launch, &p);
    }
    return status;
}
