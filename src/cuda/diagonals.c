/* diagonals.c - launches of diagonals.cu: sums along the diagonals of the scores. */
#include "cuda/diagonals.h"

#include <stdio.h>
#include <string.h>

#include "diagonals_params.h"

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

static int head_dim_of(int64_t head_dim)
{
    return head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : 256;
}

static int stages_of(int head_dim)
{
    return head_dim == 256 ? 1 : 2; /* what fits in 99 KB */
}

static void macros_of(bool bf16, int head_dim, bool probs, bool mask, char *macros, size_t room)
{
    snprintf(macros, room, "FASC_BF16=%d HEAD_DIM=%d STAGES=%d REDUCE=%d MASK=%d", bf16, head_dim,
             stages_of(head_dim), probs ? FASC_REDUCE_SUM : FASC_REDUCE_LOGITS, mask);
}

void fasc_diagonals_config_at(int32_t i, fasc_cuda_config *config)
{
    config->source = "kernels/diagonals.cu";
    config->arch = NULL;
    macros_of(i % 2, 64 << i / 8, i / 2 % 2, i / 4 % 2, config->macros, sizeof config->macros);
}

static int64_t tiles(int64_t n)
{
    return (n + TILE - 1) / TILE;
}

/* From the stripe of the first key and the last query to past that of the last key and the first
 * query: what lies below a stripe's own diagonal is the next one's to write. */
static int64_t walks_of(const fasc_problem *problem)
{
    return tiles(problem->seqlen_q) + tiles(problem->seqlen_k) + 1;
}

void fasc_diagonals_launch(const fasc_cuda_device *d, const fasc_cuda_shares *shares, bool probs,
                           int32_t index, fasc_cuda_stage *stage)
{
    const fasc_problem *problem = &shares->passes;
    const int head_dim = head_dim_of(problem->head_dim);
    const int64_t heads = problem->batch * problem->heads_q;
    const int64_t walks = walks_of(problem);
    const size_t loaded = (size_t)head_dim * 2 * 2 * TILE * (size_t)stages_of(head_dim);
    const size_t summed = TILE * (TILE + 1) * sizeof(float);
    macros_of(problem->dtype == FASC_BF16, head_dim, probs, problem->mask_data, stage->macros,
              sizeof stage->macros);
    const bool join = index == 1;
    stage->launch = (fasc_cuda_launch){
        .source = "kernels/diagonals.cu",
        .macros = stage->macros,
        .entry = join ? "diagonals_join" : "diagonals",
        .blocks = join ? fasc_cuda_blocks_for(d, heads * entries_of(problem), JOIN_THREADS)
                       : heads * walks,
        .threads = join ? JOIN_THREADS : THREADS,
        .smem = join              ? 0
                : loaded > summed ? loaded
                                  : summed,
    };
}

fasc_status fasc_diagonals_run(fasc_cuda_device *d, const fasc_cuda_shares *shares,
                               fasc_tensor *sum, bool probs, const fasc_flash_inputs *inputs,
                               const float *offset, int64_t offset_pitch, char *workspace,
                               cudaStream_t stream)
{
    const fasc_problem *problem = &shares->passes;
    fasc_diagonals_params p = {
        .q = inputs->q.data,
        .k = inputs->k.data,
        .lo = problem->lo,
        .hi = problem->hi,
        .banded = problem->banded,
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
        .offset = offset,
        .offset_pitch = offset_pitch,
        .first = (int32_t)-tiles(problem->seqlen_q),
        .walks = (int32_t)walks_of(problem),
        .parts = (float *)(void *)workspace,
        .entries = entries_of(problem),
        .sum = (float *)(void *)sum->data,
    };
    fasc_cuda_strides(&inputs->q, 3, p.q_stride);
    fasc_cuda_strides(&inputs->k, 3, p.k_stride);
    fasc_cuda_strides(sum, 3, p.sum_stride);
    p.mask = fasc_cuda_mask_of(problem);
    fasc_status status = FASC_OK;
    for (int32_t i = 0; status == FASC_OK && i < FASC_DIAGONALS_LAUNCHES; i++) {
        fasc_cuda_stage stage;
        fasc_diagonals_launch(d, shares, probs, i, &stage);
        status = fasc_cuda_run_kernel(d, stream, &stage.launch, &p);
    }
    return status;
}
