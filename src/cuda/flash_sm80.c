/* flash_sm80.c - launches of flash_sm80.cu, the flash kernel of every GPU from sm_80 on: its legal
 * configurations and the choice among them. */
#include "cuda/flash_sm80.h"

#include <stdio.h>
#include <string.h>

#include "cuda/flash.h"

/* A head_dim takes the rows of the smallest HEAD_DIM that holds it, best first; the first that fits
 * the device's shared memory is the default. Measured: results/sm80_log.md. */
const fasc_sm80_config FASC_SM80_CONFIG[] = {
    {64, 128, 64, 2, 4}, {96, 128, 32, 2, 4}, {128, 128, 32, 2, 4},
    {128, 64, 64, 2, 4}, {192, 64, 32, 2, 4}, {256, 64, 32, 1, 4},
};

enum { CONFIG_COUNT = sizeof FASC_SM80_CONFIG / sizeof *FASC_SM80_CONFIG };

int32_t fasc_sm80_config_count(void)
{
    return CONFIG_COUNT;
}

/* The kernel's shared memory: Q, the stages of K and V, a stage of scores for each warp. */
static size_t smem_bytes(const fasc_sm80_config *c, bool want_out, int score_size)
{
    size_t panels = (size_t)(c->head_dim + 63) / 64;
    size_t tiles = (size_t)c->block_m + (size_t)c->block_n * (size_t)c->stages * (want_out ? 2 : 1);
    size_t stage = (size_t)c->warps * 16 * ((size_t)c->block_n * (size_t)score_size + 16);
    return panels * 128 * tiles + stage;
}

static int widest_score(const fasc_problem *problem)
{
    fasc_flash_pass pass;
    int size = 2;
    for (int32_t i = 0; fasc_flash_pass_at(problem, i, &pass); i++) {
        size = pass.to && pass.to->dtype == FASC_F32 ? 4 : size;
    }
    return size;
}

static bool matches(const fasc_sm80_config *c, const fasc_kernel_config *wanted)
{
    return (!wanted->block_m || wanted->block_m == c->block_m) &&
           (!wanted->block_n || wanted->block_n == c->block_n) &&
           (!wanted->stages || wanted->stages == c->stages) &&
           (!wanted->warps || wanted->warps == c->warps);
}

/* The first row that the problem's head_dim takes, that is asked for and fits; NULL with the
 * reason. */
static const fasc_sm80_config *choose(const fasc_cuda_device *d, const fasc_problem *problem,
                                      char *why, size_t room)
{
    int32_t head_dim = 0;
    size_t used = (size_t)snprintf(why, room, "has these block_m x block_n, stages, warps:");
    for (int i = 0; i < CONFIG_COUNT; i++) {
        const fasc_sm80_config *c = &FASC_SM80_CONFIG[i];
        if (c->head_dim < problem->head_dim || (head_dim && c->head_dim != head_dim)) {
            continue;
        }
        head_dim = c->head_dim;
        size_t smem = smem_bytes(c, problem->args->out, widest_score(problem));
        if (!matches(c, &problem->args->kernel)) {
            used += used < room ? (size_t)snprintf(why + used, room - used, " %dx%d,%d,%d",
                                                   c->block_m, c->block_n, c->stages, c->warps)
                                : 0;
        } else if ((int64_t)smem > d->smem_per_block) {
            used +=
                used < room
                    ? (size_t)snprintf(why + used, room - used,
                                       " %dx%d,%d,%d (needs %zu bytes of shared memory, has %lld)",
                                       c->block_m, c->block_n, c->stages, c->warps, smem,
                                       (long long)d->smem_per_block)
                    : 0;
        } else {
            return c;
        }
    }
    return NULL;
}

static bool can(const fasc_cuda_device *d, const fasc_problem *problem, char *why, size_t room)
{
    if (d->compute < 80) {
        snprintf(why, room, "needs sm_80 or newer");
        return false;
    }
    return fasc_flash_can(problem, why, room) && choose(d, problem, why, room);
}

static fasc_status plan(fasc_cuda_device *d, const fasc_problem *problem, fasc_attention_plan *plan)
{
    char why[8];
    const fasc_sm80_config *c = choose(d, problem, why, sizeof why);
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
    return FASC_OK;
}

void fasc_sm80_macros(const fasc_sm80_config *c, bool bf16, int32_t scores, bool f32, bool want_out,
                      char *macros, size_t room)
{
    snprintf(macros, room,
             "FASC_BF16=%d HEAD_DIM=%d BLOCK_M=%d BLOCK_N=%d STAGES=%d WARPS=%d SCORES=%d "
             "SCORES_F32=%d "
             "WANT_OUT=%d",
             bf16, c->head_dim, c->block_m, c->block_n, c->stages, c->warps, (int)scores, f32,
             want_out);
}

static fasc_cuda_launch launch_of(const fasc_cuda_device *d, const fasc_problem *problem,
                                  const fasc_flash_pass *pass, char *macros, size_t room)
{
    char why[8];
    const fasc_sm80_config *c = choose(d, problem, why, sizeof why);
    bool want_out = pass->first && problem->args->out;
    int64_t tiles = (problem->seqlen_q + c->block_m - 1) / c->block_m;
    int score_size = pass->to && pass->to->dtype == FASC_F32 ? 4 : 2;
    fasc_sm80_macros(c, problem->dtype == FASC_BF16, pass->scores, score_size == 4, want_out,
                     macros, room);
    return (fasc_cuda_launch){.source = "kernels/flash_sm80.cu",
                              .macros = macros,
                              .entry = "fasc_flash_sm80",
                              .blocks = tiles * problem->batch * problem->heads_q,
                              .threads = c->warps * 32,
                              .smem = smem_bytes(c, want_out, score_size)};
}

static bool stage_of(const fasc_cuda_device *d, const fasc_problem *problem,
                     const fasc_attention_plan *made, int32_t index, fasc_cuda_stage *stage)
{
    (void)made;
    fasc_flash_pass pass;
    if (!fasc_flash_pass_at(problem, index, &pass)) {
        return false;
    }
    stage->launch = launch_of(d, problem, &pass, stage->macros, sizeof stage->macros);
    return true;
}

static fasc_status run(const fasc_cuda_call *call)
{
    fasc_flash_inputs inputs;
    fasc_flash_pass pass;
    fasc_status status = fasc_flash_prepare(call, &inputs);
    for (int32_t i = 0; status == FASC_OK && fasc_flash_pass_at(call->problem, i, &pass); i++) {
        char macros[192];
        fasc_cuda_launch launch = launch_of(call->d, call->problem, &pass, macros, sizeof macros);
        fasc_flash_params p = fasc_flash_params_of(call->problem, &inputs, &pass);
        p.section = fasc_flash_section(call->d, call->problem);
        status = fasc_cuda_run_kernel(call->d, call->stream, &launch, &p);
    }
    return status;
}

const fasc_cuda_attention fasc_cuda_flash_sm80 = {
    .name = "flash",
    .arch = "sm_80",
    .summary = "tiled online softmax on mma.sync, scores stored in the same pass",
    .supports = "f16, bf16; head_dim a multiple of 8 up to 256; any strides and mask (what it "
                "adds counts as -2e38 at least); out, lse, row_max, logits, masked, probs",
    .block_m = true,
    .block_n = true,
    .stages = true,
    .warps = true,
    .outputs = FASC_WANT_FORWARD,
    .passes = true,
    .can = can,
    .plan = plan,
    .run = run,
    .stage = stage_of,
};
