/* flash_sm90.c - launches of flash_sm90.cu, Hopper's flash kernel: its legal configurations, the
 * choice among them, and what each is compiled for. What it does not take, flash_sm80.c does. */
#include "cuda/flash_sm90.h"

#include <stdio.h>
#include <string.h>

#include "cuda/flash.h"
#include "cuda/sm90_classes.h"
#include "cuda/tensor_map.h"

/* ---- what is compiled ---------------------------------------------------- */

typedef struct fasc_sm90_variant {
    bool want_out, want_stats; /* LSE and maxima come with O and with probs anyway */
    int32_t scores, mask;      /* FASC_SCORES_..., FASC_MASK_... */
    int32_t statistics;        /* FASC_STATISTICS_...: the other statistics of rows */
    bool dropout;              /* brings all of those */
    bool topk;                 /* the few largest of each row */
} fasc_sm90_variant;

/* A launch takes the first that does all it needs. Those with O, most wanted first, then those
 * without. */
static const fasc_sm90_variant VARIANT[] = {
    {true, false, FASC_SCORES_NONE, FASC_MASK_NONE, 0, false, false},
    {true, false, FASC_SCORES_NONE, FASC_MASK_BAND, 0, false, false},
    {true, false, FASC_SCORES_LOGITS, FASC_MASK_NONE, 0, false, false},
    {true, false, FASC_SCORES_LOGITS, FASC_MASK_BAND, 0, false, false},
    {true, false, FASC_SCORES_MASKED, FASC_MASK_BAND, 0, false, false},
    {true, false, FASC_SCORES_PROBS, FASC_MASK_BAND, 0, false, false},
    {false, false, FASC_SCORES_LOGITS, FASC_MASK_NONE, 0, false, false},
    {false, true, FASC_SCORES_LOGITS, FASC_MASK_BAND, 0, false, false},
    {false, true, FASC_SCORES_MASKED, FASC_MASK_BAND, 0, false, false},
    {false, false, FASC_SCORES_PROBS, FASC_MASK_BAND, 0, false, false},
    {false, true, FASC_SCORES_NONE, FASC_MASK_BAND, 0, false, false},
    {true, false, FASC_SCORES_NONE, FASC_MASK_BAND, FASC_STATISTICS_ALL, false, false},
    {true, false, FASC_SCORES_NONE, FASC_MASK_BAND, FASC_STATISTICS_ALL, true, false},
    {false, true, FASC_SCORES_NONE, FASC_MASK_BAND, FASC_STATISTICS_ALL, false, false},
    {true, false, FASC_SCORES_PROBS, FASC_MASK_NONE, 0, false, false},
    {true, false, FASC_SCORES_NONE, FASC_MASK_NONE, FASC_STATISTICS_SUMS, false, false},
    {true, false, FASC_SCORES_NONE, FASC_MASK_BAND, FASC_STATISTICS_SUMS, false, false},
    {true, false, FASC_SCORES_NONE, FASC_MASK_NONE, 0, false, true},
    {true, false, FASC_SCORES_NONE, FASC_MASK_BAND, 0, false, true},
};
enum { VARIANTS = sizeof VARIANT / sizeof *VARIANT };

/* Sets of variants: bit i is VARIANT[i]. */
#define ALL        0x3fffu /* but the last five: enough for all problems */
#define O_UNMASKED 0x1u
#define O_PLAIN    0x3fu   /* with O, without statistics of rows */
#define O_LONG     0x400du /* O alone, with logits, with probs: unmasked; with logits: masked */
#define LOGITS     0x40u   /* logits alone */
/* O with entropy and row_sum */
#define O_SUMS_UNMASKED 0x8000u
#define O_SUMS          0x18000u
#define O_TOPK          0x60000u /* O and top-k */

/* How scores are stored: the ways that a launch with scores is compiled for. */
typedef struct fasc_sm90_store {
    int32_t store; /* FASC_SCORE_STORE_... */
    bool f32;
    double cost; /* of a query row and a key, against the first's */
} fasc_sm90_store;

static const fasc_sm90_store STORE[] = {{FASC_SCORE_STORE_TMA, false, 1.0},
                                        {FASC_SCORE_STORE_TMA, true, 1.0},
                                        {FASC_SCORE_STORE_CLASSES, false, 1.1},
                                        {FASC_SCORE_STORE_PLAIN, false, 2.2}};
enum { ANYWHERE = 3, STORES = sizeof STORE / sizeof *STORE }; /* its index: the last */

/* Sets of ways: bit i is STORE[i]. */
#define ANY_ROWS 0xfu
#define LONG_F16 0x5u /* of 16 bits, for many rows */

typedef struct fasc_sm90_config {
    int32_t head_dim, block_n, stages, consumers, schedule; /* the kernel's macros */
    uint32_t variants;
    uint32_t stores;
    /* Of a query row and a key without scores, with logits or masked ones, with probs, for logits
     * alone; against the head_dim's other rows. */
    double cost, cost_scores, cost_probs, cost_alone;
} fasc_sm90_config;

/* A head_dim takes the rows of the smallest HEAD_DIM that holds it. Costs were measured:
 * results/hopper_log.md. */
static const fasc_sm90_config CONFIG[] = {
    {64, 128, 2, 3, FASC_SCHEDULE_PINGPONG, O_PLAIN | LOGITS | O_SUMS, ANY_ROWS, 0.82, 0.82, 0.82,
     0.92},
    {64, 128, 2, 2, FASC_SCHEDULE_PINGPONG, ALL | O_TOPK, ANY_ROWS, 1.0, 1.0, 1.0, 1.0},
    {128, 176, 2, 2, FASC_SCHEDULE_OVERLAP, O_UNMASKED | O_SUMS_UNMASKED, 0, 0.95, 1.0, 1.0, 1.0},
    {128, 128, 2, 3, FASC_SCHEDULE_PINGPONG, O_LONG | LOGITS, LONG_F16, 0.955, 0.85, 0.895, 0.87},
    {128, 128, 2, 2, FASC_SCHEDULE_OVERLAP, ALL | O_SUMS | O_TOPK, ANY_ROWS, 1.0, 1.0, 1.0, 1.0},
    {256, 64, 2, 2, FASC_SCHEDULE_OVERLAP, ALL, ANY_ROWS, 1.0, 1.0, 1.0, 1.0},
};
enum { CONFIG_COUNT = sizeof CONFIG / sizeof *CONFIG };

static int32_t block_m_of(const fasc_sm90_config *c)
{
    return 64 * c->consumers;
}

/* Whether a configuration's variant is compiled for a way of storing scores, an index of STORE. */
static bool stores_so(const fasc_sm90_config *c, const fasc_sm90_variant *v, int32_t store)
{
    if (v->scores == FASC_SCORES_NONE) {
        return store == 0;
    }
    /* too few registers for a band, O and classes in three warpgroups */
    const bool spills = STORE[store].store == FASC_SCORE_STORE_CLASSES && c->consumers == 3 &&
                        c->head_dim > 64 && v->mask == FASC_MASK_BAND;
    return (c->stores >> store & 1) != 0 && !spills;
}

static void macros_of(const fasc_sm90_config *c, const fasc_sm90_variant *v,
                      const fasc_sm90_store *store, bool bf16, char *macros, size_t room)
{
    snprintf(macros, room,
             "FASC_BF16=%d HEAD_DIM=%d BLOCK_N=%d STAGES=%d CONSUMERS=%d SCHEDULE=%d MASK=%d "
             "SCORES=%d SCORES_F32=%d SCORE_STORE=%d WANT_OUT=%d WANT_STATS=%d STATISTICS=%d "
             "DROPOUT=%d TOPK=%d",
             bf16, c->head_dim, c->block_n, c->stages, c->consumers, c->schedule, v->mask,
             v->scores, store->f32, store->store, v->want_out, v->want_stats, v->statistics,
             v->dropout, v->topk);
}

bool fasc_sm90_macros_at(int32_t i, char *macros, size_t room)
{
    for (int n = 0; n < CONFIG_COUNT; n++) {
        for (int v = 0; v < VARIANTS; v++) {
            for (int s = 0; s < STORES; s++) {
                if (!(CONFIG[n].variants >> v & 1) || !stores_so(&CONFIG[n], &VARIANT[v], s)) {
                    continue;
                }
                if (i < 2) {
                    macros_of(&CONFIG[n], &VARIANT[v], &STORE[s], i % 2, macros, room);
                    return true;
                }
                i -= 2;
            }
        }
    }
    return false;
}

/* ---- choosing ------------------------------------------------------------ */

/* Statistics beyond LSE and maximum, and dropout, come with O in a launch without scores. */
static bool is_special(const fasc_problem *problem)
{
    return (problem->wanted & FASC_FLASH_ROW_STATISTICS) != 0 || problem->dropout;
}

/* The index-th launch; false past the last. */
static bool pass_at(const fasc_problem *problem, int32_t index, fasc_flash_pass *pass)
{
    if (!is_special(problem)) {
        return fasc_flash_pass_at(problem, index, pass);
    }
    if (index == 0) {
        *pass = (fasc_flash_pass){FASC_SCORES_NONE, NULL, true};
        return true;
    }
    const bool more = fasc_flash_pass_at(problem, index - 1, pass) && pass->to;
    pass->first = false;
    return more;
}

/* What a configuration's kernel with all of a row's statistics that the problem asks for computes.
 */
static int32_t statistics_of(const fasc_problem *problem, const fasc_sm90_config *c, bool out)
{
    const uint32_t more = FASC_WANT(MEAN_DISTANCE) | FASC_WANT(ROW_ARGMAX);
    const uint32_t sums = problem->banded ? O_SUMS & ~O_SUMS_UNMASKED : O_SUMS;
    return out && !(problem->wanted & more) && !problem->dropout && c->variants & sums
               ? FASC_STATISTICS_SUMS
               : FASC_STATISTICS_ALL;
}

/* The index of the variant of a configuration that a pass takes; VARIANTS if it has none. */
static int32_t variant_of(const fasc_problem *problem, const fasc_sm90_config *c,
                          const fasc_flash_pass *pass)
{
    const fasc_attention_args *args = problem->args;
    bool out = pass->first && args->out;
    bool stats =
        pass->first && !out && (args->lse || args->row_max) && pass->scores != FASC_SCORES_PROBS;
    bool logits_alone = pass->scores == FASC_SCORES_LOGITS && !out && !stats;
    bool band = problem->banded && !logits_alone;
    const bool special = pass->first && is_special(problem), dropout = special && problem->dropout;
    const int32_t statistics = special ? statistics_of(problem, c, out) : FASC_STATISTICS_NONE;
    const bool topk = pass->first && problem->wanted & FASC_WANT_TOPK;
    int32_t i = 0;
    while (i < VARIANTS &&
           !(c->variants >> i & 1 && VARIANT[i].want_out == out &&
             VARIANT[i].scores == pass->scores && (!stats || VARIANT[i].want_stats) &&
             (!band || VARIANT[i].mask == FASC_MASK_BAND) && VARIANT[i].statistics == statistics &&
             VARIANT[i].dropout == dropout && VARIANT[i].topk == topk)) {
        i++;
    }
    return i;
}

/* Whether rows of scores can be stored in a way. */
static bool can_store(const fasc_sm90_store *store, const fasc_tensor *to)
{
    return store->f32 == (to->dtype == FASC_F32) &&
           (store->store == FASC_SCORE_STORE_TMA       ? fasc_tensor_map_can(to, to->shape[3])
            : store->store == FASC_SCORE_STORE_CLASSES ? fasc_sm90_classes_of(to) > 0
                                                       : true);
}

/* Row tiles of a head where a pass stores in a way (an index of STORE). */
static int64_t tiles_m(const fasc_problem *problem, const fasc_sm90_config *c,
                       const fasc_flash_pass *pass, int32_t store)
{
    const int32_t rows = block_m_of(c);
    return STORE[store].store == FASC_SCORE_STORE_CLASSES
               ? fasc_sm90_classes_tiles(problem->seqlen_q, fasc_sm90_classes_of(pass->to), rows)
               : (problem->seqlen_q + rows - 1) / rows;
}

/* What a way costs, but for a factor: rows that TMA can store although they start in the middle of
 * a sector of memory take longer. */
static double cost_of(int32_t store, const fasc_flash_pass *pass)
{
    const bool by_rows = pass->to && STORE[store].store == FASC_SCORE_STORE_TMA;
    const bool split = by_rows && !STORE[store].f32 && pass->to->shape[2] > 1 &&
                       pass->to->stride[2] % FASC_SM90_ALIGN != 0;
    return STORE[store].cost * (split ? 1.25 : 1.0);
}

static double work_of(const fasc_problem *problem, const fasc_sm90_config *c,
                      const fasc_flash_pass *pass, int32_t store)
{
    return cost_of(store, pass) * (double)tiles_m(problem, c, pass, store);
}

/* The index of the way in which a pass stores scores, that with the least work; 0 if it stores
 * none, STORES if the configuration has no way. */
static int32_t store_of(const fasc_problem *problem, const fasc_sm90_config *c,
                        const fasc_flash_pass *pass)
{
    const fasc_sm90_variant *v = &VARIANT[variant_of(problem, c, pass)];
    int32_t best = STORES;
    double least = 0.0;
    for (int32_t i = 0; pass->to && i < STORES; i++) {
        if (!stores_so(c, v, i) || !can_store(&STORE[i], pass->to)) {
            continue;
        }
        const double work = work_of(problem, c, pass, i);
        if (STORE[i].store == FASC_SCORE_STORE_CLASSES &&
            work > work_of(problem, c, pass, ANYWHERE)) {
            continue; /* a few rows a class */
        }
        if (best == STORES || work < least) {
            best = i;
            least = work;
        }
    }
    return pass->to ? best : 0;
}

/* Whether a configuration is compiled for all passes of the problem. */
static bool is_compiled(const fasc_sm90_config *c, const fasc_problem *problem)
{
    fasc_flash_pass pass;
    for (int32_t i = 0; pass_at(problem, i, &pass); i++) {
        if (variant_of(problem, c, &pass) == VARIANTS || store_of(problem, c, &pass) == STORES) {
            return false;
        }
    }
    return true;
}

static bool is_asked_for(const fasc_sm90_config *c, const fasc_kernel_config *wanted)
{
    return (!wanted->block_m || wanted->block_m == block_m_of(c)) &&
           (!wanted->block_n || wanted->block_n == c->block_n) &&
           (!wanted->stages || wanted->stages == c->stages) &&
           (!wanted->warps || wanted->warps == c->consumers);
}

static int64_t tiles_of(const fasc_problem *problem, const fasc_sm90_config *c,
                        const fasc_flash_pass *pass)
{
    return tiles_m(problem, c, pass, store_of(problem, c, pass)) * problem->batch *
           problem->heads_q;
}

/* Rounds of the device's multiprocessors over the tiles, cut into so many pieces; whole pieces
 * each. */
static double rounds_of(const fasc_cuda_device *d, int64_t tiles, int32_t pieces)
{
    return (double)((tiles * pieces + d->units - 1) / d->units) / pieces;
}

static bool is_alone(const fasc_sm90_variant *v)
{
    return v->scores == FASC_SCORES_LOGITS && !v->want_out && !v->want_stats;
}

/* Pieces that a tile's keys are cut into: logits alone can be, and should where whole tiles leave
 * multiprocessors idle. Not too short, for each piece loads Q. */
static int32_t pieces_of(const fasc_cuda_device *d, const fasc_problem *problem,
                         const fasc_sm90_config *c, const fasc_flash_pass *pass)
{
    enum { MOST = 4, SHORTEST = 16 };
    const fasc_sm90_variant *v = &VARIANT[variant_of(problem, c, pass)];
    const int64_t tiles = tiles_of(problem, c, pass), tiles_n = problem->seqlen_k / c->block_n;
    int32_t best = 1;
    for (int32_t n = 2; is_alone(v) && n <= MOST && tiles_n / n >= SHORTEST; n++) {
        best = rounds_of(d, tiles, n) < 0.99 * rounds_of(d, tiles, best) ? n : best;
    }
    return best;
}

/* Of the tiles, those that stay whole: the others are cut into parts where a round of parts costs
 * less than one of whole tiles. */
#define PART_COST 0.75
static int64_t whole_tiles_of(const fasc_cuda_device *d, const fasc_problem *problem,
                              const fasc_sm90_config *c, const fasc_flash_pass *pass)
{
    const fasc_sm90_variant *v = &VARIANT[variant_of(problem, c, pass)];
    const int64_t tiles = tiles_of(problem, c, pass), rest = tiles % d->units;
    const bool cuts = FASC_SM90_PARTS(c->head_dim, c->consumers, v->scores, v->mask, v->want_out) &&
                      !problem->banded && rest > 0 &&
                      PART_COST * rounds_of(d, rest * c->consumers, 1) < 1.0;
    return cuts ? tiles - rest : tiles;
}

/* What a piece costs beyond its keys, in key tiles. */
#define PIECE_COST 1.4

/* The time that a configuration takes, but for a factor. */
static double time_of(const fasc_cuda_device *d, const fasc_problem *problem,
                      const fasc_sm90_config *c)
{
    fasc_flash_pass pass;
    pass_at(problem, 0, &pass);
    const double cost = !pass.to                                            ? c->cost
                        : pass.scores == FASC_SCORES_PROBS                  ? c->cost_probs
                        : is_alone(&VARIANT[variant_of(problem, c, &pass)]) ? c->cost_alone
                                                                            : c->cost_scores;
    const int64_t tiles_n = (problem->seqlen_k + c->block_n - 1) / c->block_n;
    const int64_t whole = whole_tiles_of(d, problem, c, &pass);
    const int64_t parts = (tiles_of(problem, c, &pass) - whole) * c->consumers;
    const int32_t pieces = pieces_of(d, problem, c, &pass);
    const double keys = ((double)tiles_n + (pieces > 1 ? pieces * PIECE_COST : 0.0)) * c->block_n;
    const double rounds = rounds_of(d, whole, pieces) + PART_COST * rounds_of(d, parts, 1);
    return cost * cost_of(store_of(problem, c, &pass), &pass) * rounds * block_m_of(c) * keys;
}

/* The fastest that the problem's head_dim takes and that is asked for; NULL with the reason. */
static const fasc_sm90_config *choose(const fasc_cuda_device *d, const fasc_problem *problem,
                                      char *why, size_t room)
{
    const fasc_sm90_config *best = NULL;
    int32_t head_dim = 0;
    size_t used = (size_t)snprintf(why, room, "has these block_m x block_n, stages, warpgroups:");
    for (int i = 0; i < CONFIG_COUNT; i++) {
        const fasc_sm90_config *c = &CONFIG[i];
        if (c->head_dim < problem->head_dim || (head_dim && c->head_dim != head_dim) ||
            !is_compiled(c, problem)) {
            continue;
        }
        head_dim = c->head_dim;
        used += used < room ? (size_t)snprintf(why + used, room - used, " %dx%d,%d,%d",
                                               block_m_of(c), c->block_n, c->stages, c->consumers)
                            : 0;
        if (is_asked_for(c, &problem->args->kernel) &&
            (!best || time_of(d, problem, c) < time_of(d, problem, best))) {
            best = c;
        }
    }
    return best;
}

/* Top-k of few beside O; with scores or more statistics, the pass after the forward does it. */
static uint32_t fuses(const fasc_problem *problem)
{
    const uint32_t apart =
        FASC_FLASH_ROW_STATISTICS | FASC_WANT(LOGITS) | FASC_WANT(MASKED) | FASC_WANT(PROBS);
    if (problem->topk > FASC_TOPK_FEW || !(problem->wanted & FASC_WANT(OUT)) ||
        problem->wanted & apart || problem->dropout || problem->mask_data) {
        return 0;
    }
    for (int i = 0; i < CONFIG_COUNT; i++) {
        const fasc_sm90_config *c = &CONFIG[i];
        if (c->head_dim >= problem->head_dim && c->variants & O_TOPK &&
            is_asked_for(c, &problem->args->kernel)) {
            return FASC_WANT_TOPK;
        }
    }
    return 0;
}

/* Whether the copy engine can read t, in place or after a copy. */
static bool loads(const fasc_tensor *t)
{
    return !fasc_flash_vector_rows(t) || fasc_tensor_map_can(t, t->shape[3]);
}

static bool can_store_scores(const fasc_problem *problem, char *why, size_t room)
{
    fasc_flash_pass pass;
    for (int32_t i = 0; pass_at(problem, i, &pass); i++) {
        if (pass.to && pass.to->stride[3] != 1 && pass.to->shape[3] > 1) {
            snprintf(why, room, "stores scores whose rows have no gaps");
            return false;
        }
        if (pass.to && pass.to->dtype == FASC_F32 &&
            !fasc_tensor_map_can(pass.to, pass.to->shape[3])) {
            snprintf(why, room, "stores scores in f32 only in rows at multiples of 16 bytes");
            return false;
        }
    }
    return true;
}

static bool can(const fasc_cuda_device *d, const fasc_problem *problem, char *why, size_t room)
{
    const fasc_attention_args *args = problem->args;
    if (strcmp(d->arch, "sm_90a") != 0) {
        snprintf(why, room, "needs a Hopper GPU");
        return false;
    }
    if (!fasc_flash_can(problem, why, room)) {
        return false;
    }
    if (problem->mask_data) {
        snprintf(why, room, "takes no mask tensor");
        return false;
    }
    if (!loads(args->q) || !loads(args->k) || (args->out && !loads(args->v))) {
        snprintf(why, room, "reads no q, k or v that is broadcast, empty or goes backwards");
        return false;
    }
    if (!can_store_scores(problem, why, room)) {
        return false;
    }
    const fasc_sm90_config *c = choose(d, problem, why, room);
    fasc_flash_pass pass;
    for (int32_t i = 0; c && pass_at(problem, i, &pass); i++) {
        if (tiles_of(problem, c, &pass) >= 1 << 28) {
            snprintf(why, room, "takes fewer than 2^28 tiles");
            return false;
        }
    }
    return c != NULL;
}

/* ---- running ------------------------------------------------------------- */

/* Where rows see different numbers of keys and blocks have more than one tile, whichever block is
 * free takes the next. */
static bool counts_tiles(const fasc_cuda_device *d, const fasc_problem *problem,
                         const fasc_sm90_config *c, const fasc_flash_pass *pass)
{
    return problem->banded && tiles_of(problem, c, pass) > d->units;
}

/* The tile counter, which follows the copies in the workspace. */
static size_t counter_at(const fasc_problem *problem)
{
    return fasc_flash_copies_of(problem).bytes;
}

/* Adds to plan->config how the scores of the first launch that has any are stored. */
static void describe_scores(const fasc_problem *problem, const fasc_sm90_config *c,
                            fasc_attention_plan *plan)
{
    const size_t used = strlen(plan->config), room = sizeof plan->config - used;
    fasc_flash_pass pass;
    if (!fasc_flash_pass_at(problem, 0, &pass) || !pass.to) {
        return;
    }
    const int32_t store = STORE[store_of(problem, c, &pass)].store;
    if (store == FASC_SCORE_STORE_CLASSES) {
        snprintf(plan->config + used, room, "; scores by TMA, a block's rows %d apart",
                 (int)fasc_sm90_classes_of(pass.to));
    } else {
        snprintf(plan->config + used, room, "; scores %s",
                 store == FASC_SCORE_STORE_TMA ? "by TMA" : "shifted and stored by the warps");
    }
}

/* Top-k's records follow the counter; bytes of both. */
static size_t topk_bytes(const fasc_cuda_device *d, const fasc_problem *problem,
                         const fasc_sm90_config *c)
{
    return problem->wanted & FASC_WANT_TOPK
               ? fasc_cuda_aligned(sizeof(int32_t)) +
                     (size_t)d->units * 4 * (size_t)c->consumers * FASC_TOPK_ROOM(FASC_TOPK_FEW)
               : 0;
}

static fasc_status plan(fasc_cuda_device *d, const fasc_problem *problem, fasc_attention_plan *plan)
{
    char why[8];
    const fasc_sm90_config *c = choose(d, problem, why, sizeof why);
    size_t workspace = counter_at(problem);
    fasc_flash_pass pass;
    bool counts = false;
    for (int32_t i = 0; pass_at(problem, i, &pass); i++) {
        counts = counts || counts_tiles(d, problem, c, &pass);
    }
    const size_t topk = topk_bytes(d, problem, c);
    workspace += topk > 0 ? topk : counts ? fasc_cuda_aligned(sizeof(int32_t)) : 0;
    plan->block_m = block_m_of(c);
    plan->block_n = c->block_n;
    plan->stages = c->stages;
    plan->warps = c->consumers;
    plan->threads = 128 * (c->consumers + 1);
    plan->workspace_bytes = workspace > 0 ? (int64_t)workspace + FASC_CUDA_ALIGN : 0;
    snprintf(plan->config, sizeof plan->config,
             "%dx%d tiles of head_dim %d, %d stages, %d warpgroups, %s", block_m_of(c), c->block_n,
             c->head_dim, c->stages, c->consumers,
             c->schedule == FASC_SCHEDULE_OVERLAP ? "overlap" : "pingpong");
    describe_scores(problem, c, plan);
    fasc_flash_describe_tensors(problem, plan);
    fasc_flash_describe_launches(problem, plan);
    if (is_special(problem) && pass_at(problem, 1, &pass)) {
        const size_t used = strlen(plan->config);
        snprintf(plan->config + used, sizeof plan->config - used,
                 "; statistics and dropout in a launch of their own");
    }
    if (problem->wanted & FASC_WANT_TOPK) {
        const size_t used = strlen(plan->config);
        snprintf(plan->config + used, sizeof plan->config - used, "; top-k on the way");
    }
    return FASC_OK;
}

/* What blocks are dealt: tiles, pieces of them, parts of some of them. */
static int64_t launched_tiles(const fasc_cuda_device *d, const fasc_problem *problem,
                              const fasc_sm90_config *c, const fasc_flash_pass *pass)
{
    const int64_t whole = whole_tiles_of(d, problem, c, pass);
    return whole * pieces_of(d, problem, c, pass) +
           (tiles_of(problem, c, pass) - whole) * c->consumers;
}

static fasc_cuda_launch launch_of(const fasc_cuda_device *d, const fasc_problem *problem,
                                  const fasc_sm90_config *c, const fasc_flash_pass *pass,
                                  char *macros, size_t room)
{
    const fasc_sm90_variant *v = &VARIANT[variant_of(problem, c, pass)];
    const fasc_sm90_store *store = &STORE[store_of(problem, c, pass)];
    const int64_t tiles = launched_tiles(d, problem, c, pass);
    macros_of(c, v, store, problem->dtype == FASC_BF16, macros, room);
    return (fasc_cuda_launch){
        .source = "kernels/flash_sm90.cu",
        .macros = macros,
        .entry = "flash_sm90",
        .blocks = tiles < d->units ? tiles : d->units,
        .threads = 128 * (c->consumers + 1),
        .smem = (size_t)FASC_SM90_SMEM_BYTES(c->head_dim, c->block_n, c->stages, c->consumers,
                                             v->scores, store->f32, store->store, v->want_out) +
                (v->topk ? 4 * (size_t)c->consumers * FASC_TOPK_BYTES(FASC_TOPK_FEW_LENGTH) : 0)};
}

static bool stage_of(const fasc_cuda_device *d, const fasc_problem *problem,
                     const fasc_attention_plan *made, int32_t index, fasc_cuda_stage *stage)
{
    (void)made;
    char why[8];
    fasc_flash_pass pass;
    if (!pass_at(problem, index, &pass)) {
        return false;
    }
    stage->launch = launch_of(d, problem, choose(d, problem, why, sizeof why), &pass, stage->macros,
                              sizeof stage->macros);
    return true;
}

static fasc_status maps_of(const fasc_problem *problem, const fasc_sm90_config *c,
                           const fasc_flash_inputs *inputs, const fasc_flash_pass *pass,
                           fasc_flash_sm90_classes_params *params)
{
    fasc_flash_sm90_params *p = &params->base;
    const int64_t columns = problem->head_dim;
    const fasc_sm90_store *store = &STORE[store_of(problem, c, pass)];
    fasc_status status = fasc_tensor_map_make(&inputs->q, columns, block_m_of(c), &p->q_map);
    if (status == FASC_OK) {
        status = fasc_tensor_map_make(&inputs->k, columns, c->block_n, &p->k_map);
    }
    if (status == FASC_OK && p->flash.out) {
        status = fasc_tensor_map_make(&inputs->v, columns, c->block_n, &p->v_map);
    }
    const int32_t panels =
        FASC_SM90_BOX(c->head_dim, c->block_n, pass->scores, store->f32, p->flash.out != NULL);
    if (status == FASC_OK && pass->to && store->store == FASC_SCORE_STORE_TMA) {
        status = fasc_tensor_map_make_panels(pass->to, panels, 16, &p->scores_map);
    } else if (status == FASC_OK && pass->to && store->store == FASC_SCORE_STORE_CLASSES) {
        status =
            fasc_sm90_classes_make(pass->to, &inputs->q, block_m_of(c), panels, &params->classes);
    }
    return status;
}

/* Heads that are worked on together. Reading K and V of few at a time leaves L2 to the scores on
 * their way out; where a band makes tiles differ, more heads even them out: without scores so many
 * that a few blocks still share a head's K and V, with scores a few, or all where their K and V
 * leave enough of L2. */
static int32_t section_of(const fasc_cuda_device *d, const fasc_problem *problem, bool stores)
{
    const int64_t heads = problem->batch * problem->heads_q, group = problem->group;
    const int64_t bytes = heads / group * problem->seqlen_k * problem->head_dim * 2 * 2;
    int64_t few = group;
    if (problem->banded && !stores) {
        few = d->units / 4 > group ? d->units / 4 / group * group : group;
    } else if (problem->banded) {
        few = bytes <= d->l2_bytes / 3 ? heads : 4 * group;
        few = few < fasc_flash_section(d, problem) ? few : fasc_flash_section(d, problem);
    }
    return (int32_t)(few < heads ? few : heads);
}

static fasc_status run_pass(const fasc_cuda_call *call, const fasc_sm90_config *c,
                            const fasc_flash_inputs *inputs, const fasc_flash_pass *pass)
{
    char macros[192];
    const fasc_problem *problem = call->problem;
    fasc_cuda_launch launch = launch_of(call->d, problem, c, pass, macros, sizeof macros);
    fasc_flash_sm90_classes_params params = {
        .base = {.flash = fasc_flash_params_of(problem, inputs, pass)}};
    fasc_flash_sm90_params *p = &params.base;
    p->flash.section = section_of(call->d, problem, pass->to != NULL);
    p->tiles_m = (int32_t)tiles_m(problem, c, pass, store_of(problem, c, pass));
    p->pieces = pieces_of(call->d, problem, c, pass);
    p->tiles = (int32_t)launched_tiles(call->d, problem, c, pass);
    p->whole_tiles = (int32_t)whole_tiles_of(call->d, problem, c, pass);
    fasc_status status = maps_of(problem, c, inputs, pass, &params);
    if (problem->wanted & FASC_WANT_TOPK) {
        p->topk = fasc_topk_params_of(problem);
        p->topk.room = call->workspace + counter_at(problem) + fasc_cuda_aligned(sizeof(int32_t));
    }
    if (status == FASC_OK && counts_tiles(call->d, problem, c, pass)) {
        p->tile_counter = (int32_t *)(void *)(call->workspace + counter_at(problem));
        status = fasc_cuda_check(call->d,
                                 cudaMemsetAsync(p->tile_counter, 0, sizeof(int32_t), call->stream),
                                 "cudaMemsetAsync");
    }
    return status == FASC_OK ? fasc_cuda_run_kernel(call->d, call->stream, &launch, &params)
                             : status;
}

static fasc_status run(const fasc_cuda_call *call)
{
    char why[8];
    fasc_flash_inputs inputs;
    fasc_flash_pass pass;
    const fasc_sm90_config *c = choose(call->d, call->problem, why, sizeof why);
    fasc_status status = fasc_flash_prepare(call, &inputs);
    for (int32_t i = 0; status == FASC_OK && pass_at(call->problem, i, &pass); i++) {
        status = run_pass(call, c, &inputs, &pass);
    }
    return status;
}

const fasc_cuda_attention fasc_cuda_flash_sm90 = {
    .name = "flash",
    .arch = "sm_90a",
    .summary = "Hopper's wgmma and TMA, scores stored behind the next product",
    .supports =
        "f16, bf16; head_dim a multiple of 8 up to 256; any strides of q, k, v, out; no mask "
        "tensor; scores in q's dtype, or f32 in rows at multiples of 16 bytes; every output: "
        "columns, diagonals, tiles, top-k by passes after it; dropout",
    .block_m = true,
    .block_n = true,
    .stages = true,
    .warps = true,
    .outputs = FASC_WANT_FORWARD | FASC_FLASH_ROW_STATISTICS,
    .fuses = fuses,
    .dropout = true,
    .passes = true,
    .can = can,
    .plan = plan,
    .run = run,
    .stage = stage_of,
};
