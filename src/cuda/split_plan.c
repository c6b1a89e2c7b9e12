/* split_plan.c - whether keys are split, into how many parts, and with which configuration. */
#include "cuda/split_plan.h"

#include <stdio.h>

#include "cuda/flash_split.h"

#include "split_params.h"

enum { MOST_SPLITS = 256, LEAST_TILES = 8 /* of a split */ };

/* Of those that hold the head_dim, the first that fits. */
const fasc_split_config fasc_split_configs[FASC_SPLIT_CONFIGS] = {
    {64, 4, 4}, {128, 4, 3}, {128, 4, 2}, {256, 2, 3}, {256, 2, 2},
};

/* The query heads of a group are rows of one key head. */
static int64_t rows_of_head(const fasc_problem *problem)
{
    return problem->group * problem->seqlen_q;
}

int32_t fasc_split_row_warps(const fasc_problem *problem, const fasc_split_config *c)
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

bool fasc_split_has_extras(const fasc_problem *problem)
{
    return problem->mask_data || problem->dropout ||
           problem->wanted & ~(FASC_WANT(OUT) | FASC_WANT(LSE) | FASC_WANT(ROW_MAX));
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* A third block would only unbalance the multiprocessors: two load as fast. */
size_t fasc_split_smem(const fasc_cuda_device *d, const fasc_problem *problem,
                       const fasc_split_config *c)
{
    size_t head_dim = (size_t)c->head_dim, warps = (size_t)c->warps;
    size_t tiles = FASC_SPLIT_TILES_BYTES(head_dim, warps, (size_t)fasc_split_row_warps(problem, c),
                                          (size_t)c->stages, fasc_split_has_extras(problem));
    return larger(larger(tiles, FASC_SPLIT_ROOM_BYTES(head_dim, warps)),
                  (size_t)d->smem_per_unit / 3);
}

static bool matches(const fasc_split_config *c, const fasc_kernel_config *wanted)
{
    const int32_t m = wanted->block_m;
    return (!m || ((m == 16 || m == 32 || m == 64) && m <= 16 * c->warps)) &&
           (!wanted->block_n || wanted->block_n == 16 * c->warps) &&
           (!wanted->stages || wanted->stages == c->stages) &&
           (!wanted->warps || wanted->warps == c->warps);
}

const fasc_split_config *fasc_split_choose(const fasc_cuda_device *d, const fasc_problem *problem,
                                           char *why, size_t room)
{
    int32_t head_dim = 0;
    size_t used = (size_t)snprintf(
        why, room, "has these block_m x block_n, stages, warps when keys are split:");
    for (int i = 0; i < FASC_SPLIT_CONFIGS; i++) {
        const fasc_split_config *c = &fasc_split_configs[i];
        if (c->head_dim < problem->head_dim || (head_dim && c->head_dim != head_dim)) {
            continue;
        }
        head_dim = c->head_dim;
        const bool match = matches(c, &problem->args->kernel);
        if (match && (int64_t)fasc_split_smem(d, problem, c) <= d->smem_per_block) {
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

void fasc_split_tiles(const fasc_problem *problem, const fasc_split_config *c, int64_t *begin,
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

static int64_t row_tiles(const fasc_problem *problem, const fasc_split_config *c)
{
    const int32_t rows = 16 * fasc_split_row_warps(problem, c);
    return (rows_of_head(problem) + rows - 1) / rows;
}

int64_t fasc_split_blocks(const fasc_problem *problem, const fasc_split_config *c)
{
    return problem->batch * problem->heads_k * row_tiles(problem, c);
}

/* Blocks that run at a time: two a multiprocessor where they fit. */
static int64_t slots_of(const fasc_cuda_device *d, const fasc_problem *problem,
                        const fasc_split_config *c)
{
    const int64_t fit = d->smem_per_unit / ((int64_t)fasc_split_smem(d, problem, c) + 1024);
    return d->units * (fit > 1 ? 2 : 1);
}

static int64_t waves_of(int64_t blocks, int64_t slots)
{
    return (blocks + slots - 1) / slots;
}

/* The smallest split within 95 % of that which fills the device best, on average while it runs. */
static int32_t best_count(const fasc_cuda_device *d, const fasc_problem *problem,
                          const fasc_split_config *c, int64_t tiles)
{
    const int64_t slots = slots_of(d, problem, c), blocks = fasc_split_blocks(problem, c);
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
    ROWS_16 = 30, /* a block of 16 rows that shares a multiprocessor with another */
    ROWS_32 = 32, /* one of 32 */
    ROWS_64 = 36,
    HOPPER_TILE = 11, /* 128 rows of flash sm_90a */
    TILE = 22,        /* of flash sm_80 */
    MEMORY = 16       /* K and V out of memory, when all multiprocessors read */
};

/* Whether a split is faster than a walk of each row tile along all keys. That one reads K and V for
 * each query head, though mostly from L2. */
static bool is_faster(const fasc_cuda_device *d, const fasc_problem *problem,
                      const fasc_split_config *c, int32_t splits)
{
    const int64_t slots = slots_of(d, problem, c);
    const int64_t waves = waves_of(fasc_split_blocks(problem, c) * splits, slots);
    const int64_t heads = problem->batch * problem->heads_q;
    const int64_t tiles = heads * ((problem->seqlen_q + 127) / 128);
    const int32_t rows = 16 * fasc_split_row_warps(problem, c);
    const double block = rows == 16 ? ROWS_16 : rows == 32 ? ROWS_32 : ROWS_64;
    const double walk = (double)waves_of(tiles, d->units) * (d->compute == 90 ? HOPPER_TILE : TILE);
    const double memory = (double)(problem->batch * problem->heads_k) * MEMORY / (double)d->units;
    return (double)waves * block / splits <= (walk > memory ? walk : memory);
}

bool fasc_split_can(const fasc_cuda_device *d, const fasc_problem *problem, char *why, size_t room)
{
    return fasc_split_choose(d, problem, why, room) != NULL;
}

int32_t fasc_split_count(const fasc_cuda_device *d, const fasc_problem *problem)
{
    const fasc_kernel_config *wanted = &problem->args->kernel;
    char why[8];
    const fasc_split_config *c = fasc_split_choose(d, problem, why, sizeof why);
    int64_t begin = 0, end = wanted->splits;
    if (c) {
        fasc_split_tiles(problem, c, &begin, &end);
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
