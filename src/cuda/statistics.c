/* statistics.c - launches of statistics.cu, chunk by chunk. */
#include "cuda/statistics.h"

#include "statistics_params.h"

enum { THREADS = 256, WARPS = THREADS / 32 };

size_t fasc_statistics_workspace(const fasc_problem *problem, int64_t rows)
{
    return problem->wanted & FASC_WANT_STATISTICS
               ? fasc_cuda_aligned(2 * (size_t)rows * sizeof(float))
               : 0;
}

static int64_t pieces(int64_t n, int64_t each)
{
    return (n + each - 1) / each;
}

bool fasc_statistics_stage(const fasc_problem *problem, const fasc_chunk_params *chunk,
                           int32_t index, fasc_cuda_stage *stage)
{
    const int64_t group = problem->heads_q / problem->column_heads, tile = problem->tile;
    const int64_t last = chunk->head + chunk->heads - 1;
    const int64_t column_heads = last / group - chunk->head / group + 1;
    const int64_t tiles = tile == 0
                              ? 0
                              : ((chunk->row + chunk->rows - 1) / tile - chunk->row / tile + 1) *
                                    pieces(problem->seqlen_k, tile);
    const int64_t diagonals = problem->seqlen_q + problem->seqlen_k - 1;
    const struct {
        uint32_t for_outputs;
        const char *entry;
        int64_t blocks;
    } LAUNCH[] = {
        {FASC_WANT_STATISTICS, "statistics_rows", chunk->heads * chunk->rows},
        {FASC_WANT_COLUMNS, "statistics_columns",
         column_heads * pieces(problem->k1 - problem->k0, THREADS)},
        {FASC_WANT_DIAGONALS, "statistics_diagonals", chunk->heads * pieces(diagonals, THREADS)},
        {FASC_WANT_TILES, "statistics_tiles", pieces(chunk->heads * tiles, WARPS)},
        {FASC_WANT(MAX_LOGIT), "statistics_heads", problem->heads_q},
    };
    for (size_t i = 0; i < sizeof LAUNCH / sizeof *LAUNCH; i++) {
        if (problem->wanted & LAUNCH[i].for_outputs && index-- == 0) {
            stage->macros[0] = 0;
            stage->launch = (fasc_cuda_launch){.source = "kernels/statistics.cu",
                                               .macros = "",
                                               .entry = LAUNCH[i].entry,
                                               .blocks = LAUNCH[i].blocks,
                                               .threads = THREADS};
            return true;
        }
    }
    return false;
}

static fasc_matrix_params output_of(const fasc_tensor *t)
{
    fasc_matrix_params m = {0};
    if (t) {
        m.data = t->data;
        m.dtype = (int32_t)t->dtype;
        for (int i = 0; i < t->rank; i++) {
            m.stride[i] = t->stride[i];
        }
    }
    return m;
}

fasc_status fasc_statistics_run(const fasc_cuda_call *call, const fasc_attention_params *p,
                                char *workspace)
{
    const fasc_problem *problem = call->problem;
    const fasc_attention_args *args = problem->args;
    const int64_t rows = p->chunk.heads * p->chunk.rows;
    fasc_statistics_params s = {
        .a = *p,
        .q0 = problem->q0,
        .q1 = problem->q1,
        .k0 = problem->k0,
        .k1 = problem->k1,
        .column_heads = problem->column_heads,
        .tile = problem->tile,
        .k = (int32_t)problem->topk,
        .lse = (float *)(void *)workspace,
        .entropy = output_of(args->entropy),
        .mean_distance = output_of(args->mean_distance),
        .row_sum = output_of(args->row_sum),
        .row_argmax = output_of(args->row_argmax),
        .topk_values = output_of(args->topk_values),
        .topk_indices = output_of(args->topk_indices),
        .col_sum_probs = output_of(args->col_sum_probs),
        .col_sum_logits = output_of(args->col_sum_logits),
        .col_max_probs = output_of(args->col_max_probs),
        .diag_sum_probs = output_of(args->diag_sum_probs),
        .diag_sum_logits = output_of(args->diag_sum_logits),
        .pooled_max = output_of(args->pooled_max),
        .pooled_mass = output_of(args->pooled_mass),
        .max_logit = output_of(args->max_logit),
    };
    s.row_max = s.lse + rows;
    fasc_status status = FASC_OK;
    fasc_cuda_stage stage;
    for (int32_t i = 0; status == FASC_OK && fasc_statistics_stage(problem, &p->chunk, i, &stage);
         i++) {
        status = fasc_cuda_run_kernel(call->d, call->stream, &stage.launch, &s);
    }
    return status;
}
