/* flash_split.c - launches of flash_split.cu and split_join.cu: what they are told, and where the
 * parts lie. */
#include "cuda/flash_split.h"

#include <stdio.h>
#include <string.h>

#include "cuda/flash.h"
#include "cuda/split_plan.h"

#include "split_params.h"

enum { KEYS_AT_A_TIME = 1024 };

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
    const fasc_split_config *c = fasc_split_choose(d, problem, why, sizeof why);
    plan->splits = fasc_split_count(d, problem);
    plan->block_m = 16 * fasc_split_row_warps(problem, c);
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

static void macros_of(const fasc_split_config *c, int32_t row_warps, bool bf16, bool extras,
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
    for (int n = 0; n < FASC_SPLIT_CONFIGS; n++) {
        for (int32_t row_warps = 1; row_warps <= fasc_split_configs[n].warps; row_warps *= 2) {
            if (row-- == 0) {
                macros_of(&fasc_split_configs[n], row_warps, bf16, extras, config->macros,
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
    const fasc_split_config *c = fasc_split_choose(d, problem, why, sizeof why);
    const bool bf16 = problem->dtype == FASC_BF16, extras = fasc_split_has_extras(problem);
    const int64_t pieces = (problem->seqlen_k + KEYS_AT_A_TIME - 1) / KEYS_AT_A_TIME;
    if (index == 0) {
        macros_of(c, fasc_split_row_warps(problem, c), bf16, extras, stage->macros,
                  sizeof stage->macros);
        stage->launch = (fasc_cuda_launch){.source = SPLIT,
                                           .entry = "fasc_flash_split",
                                           .blocks = fasc_split_blocks(problem, c) *
                                                     fasc_split_count(d, problem),
                                           .threads = c->warps * 32,
                                           .smem = fasc_split_smem(d, problem, c)};
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

static fasc_split_params params_of(const fasc_cuda_call *call, const fasc_split_config *c,
                                   const fasc_flash_inputs *inputs)
{
    const fasc_problem *problem = call->problem;
    const fasc_attention_args *args = problem->args;
    const fasc_flash_pass pass = {FASC_SCORES_NONE, NULL, true};
    const int32_t splits = call->plan->splits;
    const places at = places_of(problem, splits);
    int64_t begin, end;
    fasc_split_tiles(problem, c, &begin, &end);
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
    fasc_split_params p =
        params_of(call, fasc_split_choose(call->d, call->problem, why, sizeof why), &inputs);
    fasc_cuda_stage stage;
    for (int32_t i = 0; status == FASC_OK && fasc_split_stage(call->d, call->problem, i, &stage);
         i++) {
        status = fasc_cuda_run_kernel(call->d, call->stream, &stage.launch, &p);
    }
    return status;
}
