/* flash_sm80.c - launches of flash_sm80.cu, the flash kernel of every GPU from sm_80 on: its legal
 * configurations and the choice among them. */
#include "cuda/flash_sm80.h"

#include <stdio.h>
#include <string.h>

#include "cuda/flash.h"
#include "cuda/flash_split.h"

#include "sm80_params.h"

/* What a configuration has registers for. LEAN: out beside no scores or 16-bit logits; OTHERS:
 * other scores, mask tensors, dropout. */
enum {
    OUT_ALONE = 1,
    OUT_LOGITS = 2,
    LEAN = OUT_ALONE | OUT_LOGITS,
    OTHERS = 4,
    STATISTICS = 8,
    EVERYTHING = LEAN | OTHERS | STATISTICS
};

enum { NEWER = 999 }; /* than any compute capability there is */

/* A head_dim takes the rows of the smallest head_dim that holds it, best first. Measured:
 * results/sm80_log.md. Rows that do not serve everything are for the compute capabilities
 * [first, last], where they need no spills. */
typedef struct sm80_config {
    int32_t head_dim, block_m, block_n, stages, warps; /* the kernel's macros */
    int32_t uses, first, last;
} sm80_config;

static const sm80_config CONFIG[] = {
    {64, 128, 128, 2, 4, LEAN, 89, 90},
    {64, 128, 64, 2, 4, EVERYTHING, 0, 0},
    {96, 128, 64, 1, 4, LEAN | OTHERS, 80, 119},
    {96, 128, 64, 1, 4, LEAN, 120, NEWER},
    {96, 128, 32, 2, 4, LEAN | OTHERS, 120, NEWER},
    {96, 128, 32, 2, 4, STATISTICS, 0, 0},
    {128, 128, 64, 2, 4, OUT_LOGITS, 90, 90},
    {128, 128, 64, 1, 4, OUT_LOGITS, 80, 89},
    {128, 128, 64, 1, 4, OUT_ALONE, 80, 90},
    {128, 128, 32, 2, 4, EVERYTHING, 0, 0},
    {192, 64, 64, 1, 4, EVERYTHING, 0, 0},
    {256, 64, 32, 1, 4, EVERYTHING, 0, 0},
};

enum { CONFIG_COUNT = sizeof CONFIG / sizeof *CONFIG };

/* What of the kernel one launch needs: its macros beside the configuration's. */
typedef struct sm80_use {
    bool bf16, f32, want_out, extras, statistics, shifted;
    int32_t scores;
} sm80_use;

static bool has_statistics(const fasc_problem *problem)
{
    return (problem->wanted & FASC_FLASH_ROW_STATISTICS) != 0;
}

/* The index-th launch; false past the last. Statistics beyond LSE and maximum come with out, in a
 * launch without scores. */
static bool pass_at(const fasc_problem *problem, int32_t index, fasc_flash_pass *pass)
{
    if (!has_statistics(problem)) {
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

static bool is_out_with_logits(const sm80_use *use)
{
    return use->want_out && !use->extras && !use->f32 && use->scores == FASC_SCORES_LOGITS;
}

/* Shifting rows of scores onto 16 bytes takes registers, which out with logits and mask tensors
 * have not to spare. */
static void settle(sm80_use *use, bool vector_rows)
{
    use->shifted = use->scores != FASC_SCORES_NONE && !use->extras &&
                   !(is_out_with_logits(use) && vector_rows);
}

static sm80_use use_of(const fasc_problem *problem, const fasc_flash_pass *pass)
{
    sm80_use use = {.bf16 = problem->dtype == FASC_BF16,
                    .f32 = pass->to && pass->to->dtype == FASC_F32,
                    .want_out = pass->first && problem->args->out,
                    .extras = problem->mask_data || (problem->dropout && pass->first),
                    .statistics = pass->first && has_statistics(problem),
                    .scores = pass->scores};
    use.extras = use.extras || use.statistics;
    use.want_out = use.want_out || use.extras; /* which looks whether there is one */
    settle(&use, pass->to && fasc_flash_vector_rows(pass->to));
    return use;
}

static bool serves(const sm80_config *c, const sm80_use *use)
{
    int32_t needs = use->statistics ? STATISTICS : LEAN | OTHERS;
    if (use->want_out && !use->extras && !use->f32) {
        needs = use->scores == FASC_SCORES_NONE     ? OUT_ALONE
                : use->scores == FASC_SCORES_LOGITS ? OUT_LOGITS
                                                    : LEAN | OTHERS;
    }
    return (c->uses & needs) == needs;
}

static size_t smem_bytes(const sm80_config *c, bool want_out)
{
    return (size_t)FASC_SM80_SMEM_BYTES(c->head_dim, c->block_m, c->block_n, c->stages, c->warps,
                                        want_out);
}

static bool matches(const sm80_config *c, const fasc_kernel_config *wanted)
{
    return (!wanted->block_m || wanted->block_m == c->block_m) &&
           (!wanted->block_n || wanted->block_n == c->block_n) &&
           (!wanted->stages || wanted->stages == c->stages) &&
           (!wanted->warps || wanted->warps == c->warps);
}

/* A row as `why` lists it. */
static size_t list(char *why, size_t used, size_t room, const sm80_config *c, const char *format,
                   long long a, long long b)
{
    char note[96];
    snprintf(note, sizeof note, format, a, b);
    used += used < room ? (size_t)snprintf(why + used, room - used, " %dx%d,%d,%d%s", c->block_m,
                                           c->block_n, c->stages, c->warps, note)
                        : 0;
    return used;
}

/* The first row that the problem's head_dim takes, that is asked for, serves and fits a
 * multiprocessor twice; else the first that fits once; NULL with the reason. Two blocks work while
 * one waits. */
static const sm80_config *choose(const fasc_cuda_device *d, const fasc_problem *problem,
                                 const sm80_use *use, char *why, size_t room)
{
    int32_t head_dim = 0;
    const sm80_config *fits = NULL;
    size_t used = (size_t)snprintf(why, room, "has these block_m x block_n, stages, warps:");
    for (int i = 0; i < CONFIG_COUNT; i++) {
        const sm80_config *c = &CONFIG[i];
        if (c->head_dim < problem->head_dim || (head_dim && c->head_dim != head_dim)) {
            continue;
        }
        head_dim = c->head_dim;
        int64_t smem = (int64_t)smem_bytes(c, use->want_out), reserved = 1024;
        if (!matches(c, &problem->args->kernel)) {
            used = list(why, used, room, c, "", 0, 0);
        } else if (c->last && (d->compute < c->first || d->compute > c->last)) {
            used = list(why, used, room, c,
                        c->last == NEWER ? " (from sm_%lld on)" : " (for sm_%lld to sm_%lld)",
                        c->first, c->last);
        } else if (!serves(c, use)) {
            used = list(why, used, room, c,
                        use->statistics         ? " (no statistics)"
                        : c->uses == STATISTICS ? " (statistics)"
                        : c->uses == OUT_ALONE  ? " (out alone)"
                        : c->uses == OUT_LOGITS ? " (out with 16-bit logits)"
                                                : " (out with 16-bit logits or no scores)",
                        0, 0);
        } else if (smem > d->smem_per_block) {
            used = list(why, used, room, c, " (needs %lld bytes of shared memory, has %lld)", smem,
                        d->smem_per_block);
        } else if (2 * (smem + reserved) <= d->smem_per_unit) {
            return c;
        } else if (!fits) {
            fits = c;
        }
    }
    return fits;
}

/* The choice for the index-th launch; NULL with the reason. */
static const sm80_config *choose_at(const fasc_cuda_device *d, const fasc_problem *problem,
                                    int32_t index, char *why, size_t room)
{
    fasc_flash_pass pass;
    if (!pass_at(problem, index, &pass)) {
        return NULL;
    }
    sm80_use use = use_of(problem, &pass);
    return choose(d, problem, &use, why, room);
}

static bool can(const fasc_cuda_device *d, const fasc_problem *problem, char *why, size_t room)
{
    if (d->compute < 80) {
        snprintf(why, room, "needs sm_80 or newer");
        return false;
    }
    if (!fasc_flash_can(problem, why, room)) {
        return false;
    }
    if (fasc_split_count(d, problem) > 1) {
        return fasc_split_can(d, problem, why, room);
    }
    fasc_flash_pass pass;
    for (int32_t i = 0; pass_at(problem, i, &pass); i++) {
        if (!choose_at(d, problem, i, why, room)) {
            return false;
        }
    }
    return true;
}

static fasc_status plan(fasc_cuda_device *d, const fasc_problem *problem, fasc_attention_plan *plan)
{
    char why[8];
    if (fasc_split_count(d, problem) > 1) {
        return fasc_split_plan(d, problem, plan);
    }
    const sm80_config *c = choose_at(d, problem, 0, why, sizeof why);
    plan->block_m = c->block_m;
    plan->block_n = c->block_n;
    plan->stages = c->stages;
    plan->warps = c->warps;
    plan->threads = c->warps * 32;
    plan->workspace_bytes = (int64_t)fasc_flash_copies_of(problem).bytes;
    plan->workspace_bytes += plan->workspace_bytes > 0 ? FASC_CUDA_ALIGN : 0;
    snprintf(plan->config, sizeof plan->config, "%dx%d tiles of head_dim %d, %d stages, %d warps",
             c->block_m, c->block_n, c->head_dim, c->stages, c->warps);
    fasc_flash_describe(problem, plan);
    fasc_flash_pass second;
    if (has_statistics(problem) && pass_at(problem, 1, &second)) {
        const size_t used = strlen(plan->config);
        snprintf(plan->config + used, sizeof plan->config - used,
                 "; statistics in a launch of their own");
    }
    return FASC_OK;
}

static void macros_of(const sm80_config *c, const sm80_use *use, char *macros, size_t room)
{
    snprintf(macros, room,
             "FASC_BF16=%d HEAD_DIM=%d BLOCK_M=%d BLOCK_N=%d STAGES=%d WARPS=%d SCORES=%d "
             "SCORES_F32=%d SHIFTED=%d WANT_OUT=%d EXTRAS=%d STATISTICS=%d",
             use->bf16, c->head_dim, c->block_m, c->block_n, c->stages, c->warps, (int)use->scores,
             use->f32, use->shifted, use->want_out, use->extras, use->statistics);
}

bool fasc_sm80_macros_at(int32_t i, int32_t *first, int32_t *last, char *macros, size_t room)
{
    static const struct {
        int32_t scores;
        bool f32;
    } STORE[] = {{FASC_SCORES_NONE, false},   {FASC_SCORES_LOGITS, false},
                 {FASC_SCORES_MASKED, false}, {FASC_SCORES_PROBS, false},
                 {FASC_SCORES_LOGITS, true},  {FASC_SCORES_MASKED, true},
                 {FASC_SCORES_PROBS, true}};
    enum { STORES = sizeof STORE / sizeof *STORE };
    enum { WITH_SCORES = 6 * STORES, WITH_STATISTICS = WITH_SCORES + 2, ALL = WITH_STATISTICS + 2 };
    for (int row = 0; row < CONFIG_COUNT; row++) {
        for (int n = 0; n < ALL; n++) {
            sm80_use use = {.bf16 = n / STORES % 2,
                            .f32 = STORE[n % STORES].f32,
                            .want_out = n / STORES / 2 != 1,
                            .extras = n / STORES / 2 == 2,
                            .scores = STORE[n % STORES].scores};
            if (n >= WITH_STATISTICS) { /* out with logits whose rows begin anywhere */
                use = (sm80_use){.bf16 = n % 2, .want_out = true, .scores = FASC_SCORES_LOGITS};
            } else if (n >= WITH_SCORES) {
                use =
                    (sm80_use){.bf16 = n % 2, .want_out = true, .extras = true, .statistics = true};
            }
            settle(&use, n < WITH_SCORES);
            if (serves(&CONFIG[row], &use) && i-- == 0) {
                macros_of(&CONFIG[row], &use, macros, room);
                *first = CONFIG[row].first;
                *last = CONFIG[row].last;
                return true;
            }
        }
    }
    return false;
}

static fasc_cuda_launch launch_of(const fasc_cuda_device *d, const fasc_problem *problem,
                                  const fasc_flash_pass *pass, char *macros, size_t room)
{
    char why[8];
    sm80_use use = use_of(problem, pass);
    const sm80_config *c = choose(d, problem, &use, why, sizeof why);
    int64_t tiles = (problem->seqlen_q + c->block_m - 1) / c->block_m;
    macros_of(c, &use, macros, room);
    return (fasc_cuda_launch){.source = "kernels/flash_sm80.cu",
                              .macros = macros,
                              .entry = "fasc_flash_sm80",
                              .blocks = tiles * problem->batch * problem->heads_q,
                              .threads = c->warps * 32,
                              .smem = smem_bytes(c, use.want_out)};
}

static bool stage_of(const fasc_cuda_device *d, const fasc_problem *problem,
                     const fasc_attention_plan *made, int32_t index, fasc_cuda_stage *stage)
{
    if (made->splits > 1) {
        return fasc_split_stage(d, problem, index, stage);
    }
    fasc_flash_pass pass;
    if (!pass_at(problem, index, &pass)) {
        return false;
    }
    stage->launch = launch_of(d, problem, &pass, stage->macros, sizeof stage->macros);
    return true;
}

static fasc_status run(const fasc_cuda_call *call)
{
    if (call->plan->splits > 1) {
        return fasc_split_run(call);
    }
    fasc_flash_inputs inputs;
    fasc_flash_pass pass;
    fasc_status status = fasc_flash_prepare(call, &inputs);
    for (int32_t i = 0; status == FASC_OK && pass_at(call->problem, i, &pass); i++) {
        char macros[192];
        fasc_cuda_launch launch = launch_of(call->d, call->problem, &pass, macros, sizeof macros);
        fasc_flash_params p = fasc_flash_params_of(call->problem, &inputs, &pass);
        p.section = fasc_flash_section(call->d, call->problem);
        status = fasc_cuda_run_kernel(call->d, call->stream, &launch, &p);
    }
    return status;
}

/* Few queries over many keys: the one kernel that splits them. */
static bool prefers(const fasc_cuda_device *d, const fasc_problem *problem)
{
    return fasc_split_count(d, problem) > 1;
}

const fasc_cuda_attention fasc_cuda_flash_sm80 = {
    .name = "flash",
    .arch = "sm_80",
    .summary = "tiled online softmax on mma.sync, scores stored in the same pass",
    .supports = "f16, bf16; head_dim a multiple of 8 up to 256; any strides and mask (what it "
                "adds counts as -2e38 at least); every output: columns, "
                "diagonals, tiles, top-k by passes after it; dropout; keys in splits",
    .block_m = true,
    .block_n = true,
    .stages = true,
    .warps = true,
    .splits = true,
    .outputs = FASC_WANT_FORWARD | FASC_FLASH_ROW_STATISTICS,
    .passes = true,
    .dropout = true,
    .prefers = prefers,
    .can = can,
    .plan = plan,
    .run = run,
    .stage = stage_of,
};
