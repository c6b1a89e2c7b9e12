/* params.c - from a checked problem to what the plain kernels are told. */
#include "cuda/attention.h"

static fasc_matrix_params matrix_of(const fasc_tensor *t)
{
    fasc_matrix_params m = {0};
    if (t) {
        m.data = t->data;
        m.dtype = (int32_t)t->dtype;
        for (int i = 0; i < 4; i++) {
            m.stride[i] = t->stride[i];
        }
    }
    return m;
}

static fasc_rows_params rows_of(const fasc_tensor *t)
{
    fasc_rows_params rows = {0};
    if (t) {
        rows.data = (float *)(void *)t->data;
        for (int i = 0; i < 3; i++) {
            rows.stride[i] = t->stride[i];
        }
    }
    return rows;
}

fasc_attention_params fasc_cuda_params_of(const fasc_problem *problem)
{
    const fasc_attention_args *args = problem->args;
    fasc_attention_params p = {
        .heads_q = problem->heads_q,
        .group = problem->group,
        .seqlen_q = problem->seqlen_q,
        .seqlen_k = problem->seqlen_k,
        .head_dim = problem->head_dim,
        .lo = problem->lo,
        .hi = problem->hi,
        .scale = (float)problem->scale,
        .q = matrix_of(args->q),
        .k = matrix_of(args->k),
        .v = matrix_of(args->v),
        .out = matrix_of(args->out),
        .logits = matrix_of(args->logits),
        .masked = matrix_of(args->masked),
        .probs = matrix_of(args->probs),
        .lse = rows_of(args->lse),
        .row_max = rows_of(args->row_max),
    };
    p.dropout = problem->dropout;
    p.dropout_threshold = problem->dropout_threshold;
    p.dropout_offset = args->dropout_offset;
    p.keep_scale = problem->keep_scale;
    p.seed = args->seed;
    p.mask = fasc_cuda_mask_of(problem);
    return p;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

fasc_cuda_chunk fasc_cuda_chunk_of(const fasc_problem *problem, int64_t rows)
{
    int64_t heads = rows / problem->seqlen_q, all = problem->batch * problem->heads_q;
    if (heads > problem->group) { /* heads that share K and V stay together */
        heads = heads / problem->group * problem->group;
    }
    if (heads >= 1) {
        return (fasc_cuda_chunk){least(heads, all), problem->seqlen_q};
    }
    return (fasc_cuda_chunk){1, rows > 1 ? rows : 1};
}

bool fasc_cuda_next_chunk(const fasc_problem *problem, const fasc_cuda_chunk *size,
                          fasc_chunk_params *c)
{
    if (c->heads != 0) {
        c->row += c->rows;
        if (c->row >= problem->seqlen_q) {
            c->row = 0;
            c->head += c->heads;
        }
    }
    int64_t heads_left = problem->batch * problem->heads_q - c->head;
    c->heads = least(size->heads, heads_left);
    c->rows = least(size->rows, problem->seqlen_q - c->row);
    return heads_left > 0;
}

bool fasc_cuda_wants_softmax(const fasc_problem *problem)
{
    const fasc_attention_args *args = problem->args;
    return args->out || args->lse || args->row_max || args->masked || args->probs;
}

fasc_tensor fasc_cuda_contiguous(const fasc_tensor *t, void *data)
{
    fasc_tensor made = *t;
    int64_t stride = 1;
    for (int32_t i = t->rank - 1; i >= 0; i--) {
        made.stride[i] = stride;
        stride *= t->shape[i];
    }
    made.data = data;
    made.storage = NULL;
    return made;
}
