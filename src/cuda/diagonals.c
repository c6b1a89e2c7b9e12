/* diagonals.c - launches of diagonals_sm90.cu, or diagonals.cu, and of diagonals_join.cu: sums
 * along the diagonals of the scores. */
#include "cuda/diagonals.h"

#include <stdio.h>
#include <string.h>

#include "cuda/reducer_pass.h"
#include "cuda/tensor_map.h"

#include "diagonals_sm90_params.h"

enum { TILE = FASC_DIAGONALS_TILE, THREADS = 128, JOIN_THREADS = 256 };

bool fasc_diagonals_at(const fasc_cuda_shares *shares, int32_t index, fasc_tensor **sum,
                       bool *probs)
{
    const fasc_attention_args *args = &shares->passes_args;
    fasc_tensor *const wanted[] = {args->diag_sum_probs, args->diag_sum_logits};
    for (int i = 0; i < 2; i++) {
        if (wanted[i] && index-- == 0) {
            *sum = wanted[i];
            *probs = i == 0;
            return true;
        }
    }
    return false;
}

static int64_t entries_of(const fasc_problem *problem)
{
    return problem->seqlen_q + problem->seqlen_k - 1;
}

size_t fasc_diagonals_workspace(const fasc_cuda_shares *shares)
{
    const fasc_problem *problem = &shares->passes;
    return problem->wanted & FASC_WANT_DIAGONALS
               ? fasc_cuda_aligned(
                     (size_t)(2 * problem->batch * problem->heads_q * entries_of(problem)) *
                     sizeof(float))
               : 0;
}

/* ---- launches ------------------------------------------------------------ */

/* Hopper's kernel, for head_dim 64. At 128 a sum over 8192 queries came out wrong by some pairs in
 * one run (results/reducers_log.md): wider heads take the portable one. */
enum { CONSUMERS = 2, CHUNKS = 8, STAGES = 4, SM90_HEAD_DIM = 64 };

static int size_of(const fasc_problem *problem)
{
    return problem->head_dim <= 64 ? 0 : problem->head_dim <= 128 ? 1 : 2;
}

static int stages_of(int size)
{
    return size == 2 ? 1 : 2; /* what fits in 99 KB */
}

static void sm80_macros(bool bf16, int size, bool probs, bool mask, char *macros, size_t room)
{
    snprintf(macros, room, "FASC_BF16=%d HEAD_DIM=%d STAGES=%d REDUCE=%d MASK=%d", bf16, 64 << size,
             stages_of(size), probs ? FASC_REDUCE_SUM : FASC_REDUCE_LOGITS, mask);
}

static void sm90_macros(bool bf16, bool probs, char *macros, size_t room)
{
    snprintf(macros, room, "FASC_BF16=%d HEAD_DIM=%d CONSUMERS=%d CHUNKS=%d STAGES=%d REDUCE=%d",
             bf16, SM90_HEAD_DIM, CONSUMERS, CHUNKS, STAGES,
             probs ? FASC_REDUCE_SUM : FASC_REDUCE_LOGITS);
}

enum { SM80_CONFIGS = 24, SM90_CONFIGS = 4 };
_Static_assert(SM80_CONFIGS + SM90_CONFIGS == FASC_DIAGONALS_CONFIGS, "as the header says");

void fasc_diagonals_config_at(int32_t i, fasc_cuda_config *config)
{
    if (i < SM80_CONFIGS) {
        config->source = "kernels/diagonals.cu";
        config->arch = NULL;
        sm80_macros(i % 2, i / 8, i / 2 % 2, i / 4 % 2, config->macros, sizeof config->macros);
        return;
    }
    i -= SM80_CONFIGS;
    config->source = "kernels/diagonals_sm90.cu";
    config->arch = "sm_90a";
    sm90_macros(i % 2, i / 2 % 2, config->macros, sizeof config->macros);
}

bool fasc_diagonals_is_hopper(const fasc_cuda_shares *shares)
{
    return shares->hopper && shares->passes.head_dim <= SM90_HEAD_DIM &&
           !shares->passes.mask_data && fasc_reducer_can_load(&shares->passes);
}

/* The stripes to walk: those with a part of a diagonal from `least` to `most` (key - query), which
 * hold all that is visible within the ranges. */
typedef struct stripes {
    int64_t least, most;
    int32_t width, first, count;
} stripes;

static int64_t floor_of(int64_t n, int64_t by)
{
    return n / by - (n % by < 0);
}

static stripes stripes_of(const fasc_cuda_shares *shares)
{
    const fasc_problem *problem = &shares->passes;
    stripes s = {.least = problem->k0 - (problem->q1 - 1), .most = problem->k1 - 1 - problem->q0};
    s.width = fasc_diagonals_is_hopper(shares) ? FASC_DIAGONALS_SM90_WIDTH(CONSUMERS) : TILE;
    if (problem->banded) {
        s.least = s.least > problem->lo ? s.least : problem->lo;
        s.most = s.most < problem->hi ? s.most : problem->hi;
    }
    if (s.least > s.most) { /* nothing: one walk, whose sums nobody takes */
        s.count = 1;
        return s;
    }
    /* what lies below a stripe's own diagonal is the next one's to write */
    s.first = (int32_t)floor_of(s.least, s.width);
    s.count = (int32_t)(floor_of(s.most + TILE - 1, s.width) - s.first + 1);
    return s;
}

static fasc_cuda_launch join_launch(const fasc_cuda_device *d, const fasc_problem *problem)
{
    const int64_t count = problem->batch * problem->heads_q * entries_of(problem);
    return (fasc_cuda_launch){.source = "kernels/diagonals_join.cu",
                              .macros = "",
                              .entry = "diagonals_join",
                              .blocks = fasc_cuda_blocks_for(d, count, JOIN_THREADS),
                              .threads = JOIN_THREADS};
}

static size_t sm80_smem(int size)
{
    const size_t loaded = (size_t)(64 << size) * 2 * 2 * TILE * (size_t)stages_of(size);
    const size_t summed = TILE * (TILE + 1) * sizeof(float);
    return loaded > summed ? loaded : summed;
}

void fasc_diagonals_launch(const fasc_cuda_device *d, const fasc_cuda_shares *shares, bool probs,
                           int32_t index, fasc_cuda_stage *stage)
{
    const fasc_problem *problem = &shares->passes;
    const int size = size_of(problem);
    const bool bf16 = problem->dtype == FASC_BF16;
    stage->macros[0] = 0;
    if (index == 1) {
        stage->launch = join_launch(d, problem);
        return;
    }
    stage->launch = (fasc_cuda_launch){
        .macros = stage->macros,
        .blocks = problem->batch * problem->heads_q * stripes_of(shares).count,
    };
    if (fasc_diagonals_is_hopper(shares)) {
        sm90_macros(bf16, probs, stage->macros, sizeof stage->macros);
        stage->launch.source = "kernels/diagonals_sm90.cu";
        stage->launch.entry = "diagonals_sm90";
        stage->launch.threads = 128 * (CONSUMERS + 1);
        stage->launch.smem = FASC_DIAGONALS_SM90_SMEM_BYTES(SM90_HEAD_DIM, CHUNKS, STAGES);
    } else {
        sm80_macros(bf16, size, probs, problem->mask_data, stage->macros, sizeof stage->macros);
        stage->launch.source = "kernels/diagonals.cu";
        stage->launch.entry = "diagonals";
        stage->launch.threads = THREADS;
        stage->launch.smem = sm80_smem(size);
    }
}

/* ---- running ------------------------------------------------------------- */

static fasc_diagonals_params params_of(const fasc_cuda_shares *shares, const fasc_tensor *sum,
                                       const fasc_flash_inputs *inputs)
{
    const fasc_problem *problem = &shares->passes;
    const stripes s = stripes_of(shares);
    fasc_diagonals_params p = {
        .q = inputs->q.data,
        .k = inputs->k.data,
        .least = s.least,
        .most = s.most,
        .batch = (int32_t)problem->batch,
        .heads = (int32_t)problem->heads_q,
        .group = (int32_t)problem->group,
        .seqlen_q = (int32_t)problem->seqlen_q,
        .seqlen_k = (int32_t)problem->seqlen_k,
        .head_dim = (int32_t)problem->head_dim,
        .q0 = (int32_t)problem->q0,
        .q1 = (int32_t)problem->q1,
        .k0 = (int32_t)problem->k0,
        .k1 = (int32_t)problem->k1,
        .scale = (float)problem->scale,
        .width = s.width,
        .first = s.first,
        .walks = s.count,
        .entries = entries_of(problem),
        .sum = (float *)(void *)sum->data,
    };
    fasc_cuda_strides(&inputs->q, 3, p.q_stride);
    fasc_cuda_strides(&inputs->k, 3, p.k_stride);
    fasc_cuda_strides(sum, 3, p.sum_stride);
    p.mask = fasc_cuda_mask_of(problem);
    return p;
}

fasc_status fasc_diagonals_run(fasc_cuda_device *d, const fasc_cuda_shares *shares,
                               fasc_tensor *sum, bool probs, const fasc_flash_inputs *inputs,
                               const float *offset, int64_t offset_pitch, char *workspace,
                               cudaStream_t stream)
{
    const int64_t head_dim = shares->passes.head_dim;
    fasc_diagonals_sm90_params p = {.sums = params_of(shares, sum, inputs)};
    p.sums.offset = offset;
    p.sums.offset_pitch = offset_pitch;
    p.sums.parts = (float *)(void *)workspace;
    fasc_cuda_stage stage;
    fasc_diagonals_launch(d, shares, probs, 0, &stage);
    fasc_status status = FASC_OK;
    const void *walked = &p.sums;
    if (fasc_diagonals_is_hopper(shares)) {
        walked = &p;
        status = fasc_tensor_map_make(&inputs->q, head_dim, TILE, &p.q_map);
        if (status == FASC_OK) {
            status = fasc_tensor_map_make(&inputs->k, head_dim, TILE, &p.k_map);
        }
    }
    if (status == FASC_OK) {
        status = fasc_cuda_run_kernel(d, stream, &stage.launch, walked);
    }
    if (status == FASC_OK) {
        fasc_diagonals_launch(d, shares, probs, 1, &stage);
        status = fasc_cuda_run_kernel(d, stream, &stage.launch, &p.sums);
    }
    return status;
}
