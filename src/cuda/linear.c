/* linear.c - launches of linear.cu: sums of logits in linear time. */
#include "cuda/linear.h"

#include <stdio.h>

#include "linear_params.h"

enum { ROWS_PER_BLOCK = 4 * 16 }; /* WARPS * ROWS of linear.cu */

bool fasc_linear_at(const fasc_cuda_shares *shares, int32_t index, fasc_linear_sum *sum)
{
    const fasc_attention_args *args = &shares->passes_args;
    const fasc_linear_sum wanted[] = {{false, args->row_sum}, {true, args->col_sum_logits}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted && !shares->passes.mask_data; i++) {
        if (wanted[i].sum && index-- == 0) {
            *sum = wanted[i];
            return true;
        }
    }
    return false;
}

static int64_t columns_of(const fasc_problem *problem, bool keys)
{
    return keys ? problem->seqlen_q : problem->seqlen_k;
}

static int64_t column_heads(const fasc_problem *problem, bool keys)
{
    return problem->batch * (keys ? problem->heads_q : problem->heads_k);
}

static int64_t tiles_of(const fasc_problem *problem, bool keys)
{
    return (columns_of(problem, keys) + FASC_LINEAR_TILE - 1) / FASC_LINEAR_TILE;
}

static size_t prefix_bytes(const fasc_problem *problem, bool keys)
{
    return fasc_cuda_aligned(
        (size_t)(column_heads(problem, keys) * (tiles_of(problem, keys) + 1) * problem->head_dim) *
        sizeof(double));
}

static size_t spoilt_bytes(const fasc_problem *problem, bool keys)
{
    return fasc_cuda_aligned((size_t)column_heads(problem, keys) * sizeof(int32_t));
}

size_t fasc_linear_workspace(const fasc_cuda_shares *shares)
{
    fasc_linear_sum sum;
    size_t most = 0;
    for (int32_t i = 0; fasc_linear_at(shares, i, &sum); i++) {
        size_t bytes =
            prefix_bytes(&shares->passes, sum.keys) + spoilt_bytes(&shares->passes, sum.keys);
        most = bytes > most ? bytes : most;
    }
    return most;
}

void fasc_linear_launch(const fasc_cuda_shares *shares, const fasc_linear_sum *sum, int32_t index,
                        fasc_cuda_stage *stage)
{
    static const char *const ENTRY[FASC_LINEAR_LAUNCHES] = {"linear_tiles", "linear_scan",
                                                            "linear_rows"};
    const fasc_problem *problem = &shares->passes;
    int64_t heads = column_heads(problem, sum->keys);
    int64_t rows = sum->keys ? problem->k1 - problem->k0 : problem->seqlen_q;
    int64_t result_heads = problem->batch * (sum->keys ? problem->column_heads : problem->heads_q);
    int64_t pieces = (rows + 15) / 16 * result_heads;
    const int64_t blocks[FASC_LINEAR_LAUNCHES] = {heads * tiles_of(problem, sum->keys), heads,
                                                  (pieces + 3) / 4};
    snprintf(stage->macros, sizeof stage->macros, "FASC_BF16=%d", problem->dtype == FASC_BF16);
    stage->launch = (fasc_cuda_launch){.source = "kernels/linear.cu",
                                       .macros = stage->macros,
                                       .entry = ENTRY[index],
                                       .blocks = blocks[index],
                                       .threads = index == 2 ? 128 : 256};
}

fasc_status fasc_linear_run(fasc_cuda_device *d, const fasc_cuda_shares *shares,
                            const fasc_linear_sum *sum, const fasc_flash_inputs *inputs,
                            char *workspace, cudaStream_t stream)
{
    const fasc_problem *problem = &shares->passes;
    const bool keys = sum->keys, per_kv = keys && problem->column_heads != problem->heads_q;
    const fasc_tensor *rows = keys ? &inputs->k : &inputs->q;
    const fasc_tensor *columns = keys ? &inputs->q : &inputs->k;
    const int64_t group = problem->group;
    fasc_linear_params p = {
        .rows = rows->data,
        .columns = columns->data,
        .lo = keys ? -problem->hi : problem->lo,
        .hi = keys ? -problem->lo : problem->hi,
        .banded = problem->banded,
        .batch = (int32_t)problem->batch,
        .heads = (int32_t)(keys ? problem->column_heads : problem->heads_q),
        .row_group = keys && !per_kv ? (int32_t)group : 1,
        .column_repeat = per_kv ? (int32_t)group : 1,
        .column_group = keys ? 1 : (int32_t)group,
        .column_heads = (int32_t)(keys ? problem->heads_q : problem->heads_k),
        .row_begin = keys ? (int32_t)problem->k0 : 0,
        .row_end = (int32_t)(keys ? problem->k1 : problem->seqlen_q),
        .column_begin = (int32_t)(keys ? problem->q0 : problem->k0),
        .column_end = (int32_t)(keys ? problem->q1 : problem->k1),
        .columns_count = (int32_t)columns_of(problem, keys),
        .head_dim = (int32_t)problem->head_dim,
        .tiles = (int32_t)tiles_of(problem, keys),
        .scale = problem->scale,
        .prefix = (double *)(void *)workspace,
        .spoilt = (int32_t *)(void *)(workspace + prefix_bytes(problem, keys)),
        .sum = (float *)(void *)sum->sum->data,
    };
    fasc_cuda_strides(rows, 3, p.row_stride);
    fasc_cuda_strides(columns, 3, p.column_stride);
    fasc_cuda_strides(sum->sum, 3, p.sum_stride);
    fasc_status status = fasc_cuda_check(
        d, cudaMemsetAsync(p.spoilt, 0, spoilt_bytes(problem, keys), stream), "cudaMemsetAsync");
    for (int32_t i = 0; status == FASC_OK && i < FASC_LINEAR_LAUNCHES; i++) {
        fasc_cuda_stage stage;
        fasc_linear_launch(shares, sum, i, &stage);
        status = fasc_cuda_run_kernel(d, stream, &stage.launch, &p);
    }
    return status;
}
