/* naive.c - launches of naive.cu: three plain kernels over chunks of the scores. */
#include <stdio.h>

#include "cuda/statistics.h"

enum { TILE = 32, THREADS = 256 };
#define CHUNK_BYTES ((int64_t)256 << 20) /* of float32 scores at a time */

static fasc_cuda_chunk chunk_of(const fasc_problem *problem)
{
    return fasc_cuda_chunk_of(problem, CHUNK_BYTES / 4 / problem->seqlen_k);
}

/* The chunk's scores, which come first in the workspace. */
static size_t scores_bytes(const fasc_problem *problem)
{
    fasc_cuda_chunk chunk = chunk_of(problem);
    return fasc_cuda_aligned((size_t)(chunk.heads * chunk.rows * problem->seqlen_k) *
                             sizeof(float));
}

static fasc_status plan(fasc_cuda_device *d, const fasc_problem *problem, fasc_attention_plan *plan)
{
    (void)d;
    fasc_cuda_chunk chunk = chunk_of(problem);
    plan->block_m = plan->block_n = TILE;
    plan->threads = THREADS;
    plan->workspace_bytes =
        (int64_t)(scores_bytes(problem) +
                  fasc_statistics_workspace(problem, chunk.heads * chunk.rows) + FASC_CUDA_ALIGN);
    snprintf(plan->config, sizeof plan->config,
             "%dx%d tiles, float32 scores of %lld heads x %lld rows at a time", (int)TILE,
             (int)TILE, (long long)chunk.heads, (long long)chunk.rows);
    return FASC_OK;
}

static int64_t tiles(int64_t rows, int64_t columns)
{
    return ((rows + TILE - 1) / TILE) * ((columns + TILE - 1) / TILE);
}

/* Launch `index` on a chunk: scores, softmax, output. */
static bool launch_of(const fasc_problem *problem, const fasc_chunk_params *c, int32_t index,
                      fasc_cuda_stage *stage)
{
    static const char *const ENTRY[] = {"naive_scores", "naive_softmax", "naive_output"};
    const int64_t blocks[] = {c->heads * tiles(c->rows, problem->seqlen_k), c->heads * c->rows,
                              c->heads * tiles(c->rows, problem->head_dim)};
    int32_t count = !fasc_cuda_wants_softmax(problem) ? 1 : problem->args->out ? 3 : 2;
    if (index >= count) {
        return false;
    }
    snprintf(stage->macros, sizeof stage->macros, "ELEMENT=%s",
             fasc_cuda_dtype_name(problem->dtype));
    stage->launch = (fasc_cuda_launch){.source = "kernels/naive.cu",
                                       .macros = stage->macros,
                                       .entry = ENTRY[index],
                                       .blocks = blocks[index],
                                       .threads = THREADS};
    return true;
}

static bool stage_of(const fasc_cuda_device *d, const fasc_problem *problem,
                     const fasc_attention_plan *made, int32_t index, fasc_cuda_stage *stage)
{
    (void)d;
    (void)made;
    fasc_cuda_chunk size = chunk_of(problem);
    fasc_chunk_params c = {0};
    fasc_cuda_next_chunk(problem, &size, &c);
    int32_t own = 0;
    while (own <= index && launch_of(problem, &c, own, stage)) {
        own++;
    }
    return index < own || fasc_statistics_stage(problem, &c, index - own, stage);
}

static fasc_status run(const fasc_cuda_call *call)
{
    fasc_attention_params p = fasc_cuda_params_of(call->problem);
    p.s = (float *)(void *)call->workspace;
    p.s_pitch = call->problem->seqlen_k;
    fasc_cuda_chunk size = chunk_of(call->problem);
    while (fasc_cuda_next_chunk(call->problem, &size, &p.chunk)) {
        fasc_cuda_stage stage;
        for (int32_t i = 0; launch_of(call->problem, &p.chunk, i, &stage); i++) {
            fasc_status status = fasc_cuda_run_kernel(call->d, call->stream, &stage.launch, &p);
            if (status == FASC_OK && i == 0) { /* S is what the next launch makes P of */
                status =
                    fasc_statistics_run(call, &p, call->workspace + scores_bytes(call->problem));
            }
            if (status != FASC_OK) {
                return status;
            }
        }
        if (fasc_cuda_canceled()) {
            return fasc_fail(FASC_ECANCELED, "attention: canceled");
        }
    }
    return FASC_OK;
}

const fasc_cuda_attention fasc_cuda_naive = {
    .name = "naive",
    .summary = "the definition in three plain kernels, float32 throughout",
    .supports = "f16, bf16, f32; any head_dim, strides and mask; every output; dropout",
    .outputs = FASC_WANT_ALL,
    .dropout = true,
    .plan = plan,
    .run = run,
    .stage = stage_of,
};
