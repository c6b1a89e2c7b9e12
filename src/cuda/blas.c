/* blas.c - attention as two cuBLAS products around a fused softmax, the way of a framework's plain
 * path, but with float32 scores: S = scale Q K^T into the workspace, a chunk that stays in L2;
 * softmax_rows turns it into P and every other output; O = P V. When scores alone are wanted it is
 * one product. */
#include <stdio.h>

#include "cuda/blas.h"
#include "cuda/statistics.h"

/* ---- products over the heads of a chunk ---------------------------------- */

/* Where head h of batch b has its matrix. Of a chunk's workspace, head n = 0, 1, ... of the chunk.
 */
typedef struct heads {
    fasc_operand matrix; /* of head (0, 0), or of the chunk's first */
    int64_t batch, head; /* distances */
    int64_t group;       /* query heads that share one */
    bool chunk;          /* counted from the chunk's first head */
    fasc_dtype dtype;
} heads;

static heads heads_of(const fasc_tensor *t, int64_t group)
{
    return (heads){{t->data, t->stride[2], t->stride[3], 0},
                   t->stride[0],
                   t->stride[1],
                   group,
                   false,
                   t->dtype};
}

static int64_t place_of(const heads *h, const fasc_problem *problem, int64_t first, int64_t n)
{
    if (h->chunk) {
        return n * h->head;
    }
    int64_t head = first + n;
    return head / problem->heads_q * h->batch + head % problem->heads_q / h->group * h->head;
}

static void *address_of(const heads *h, int64_t place)
{
    return (char *)h->matrix.data + place * (int64_t)fasc_cuda_dtype_size(h->dtype);
}

/* With several query heads to a key head, the rows of a group may run on from head to head: then a
 * group is one taller matrix, and K and V are read once for all of it. Says so, with that matrix.
 */
static bool rows_run_on(const heads *h, const fasc_chunk_params *chunk, int64_t all_rows,
                        int64_t group, int64_t columns, fasc_operand *taller)
{
    *taller = h->matrix;
    if (chunk->rows == 1) {
        taller->row = h->head; /* of one row, the distance to the next is free to choose */
    }
    return (h->chunk || chunk->rows == all_rows) && h->head == chunk->rows * taller->row &&
           taller->column == 1 && fasc_operand_fits(taller, group * chunk->rows, columns);
}

/* g's shape for one head; a, b and c for where the heads are. Heads that lie evenly are one batch.
 */
static fasc_status multiply(const fasc_cuda_call *call, const fasc_chunk_params *chunk, fasc_gemm g,
                            const heads *a, const heads *b, const heads *c)
{
    const fasc_problem *problem = call->problem;
    int64_t unit = 1, group = problem->group, rows = problem->seqlen_q;
    fasc_operand taller_a, taller_c;
    g.a = a->matrix;
    g.b = b->matrix;
    g.c = c->matrix;
    if (group > 1 && chunk->head % group == 0 && chunk->heads % group == 0 &&
        rows_run_on(a, chunk, rows, group, g.k, &taller_a) &&
        rows_run_on(c, chunk, rows, group, g.n, &taller_c)) {
        unit = group;
        g.m *= unit;
        g.a = taller_a;
        g.c = taller_c;
    }
    for (int64_t n = 0; n < chunk->heads; n += g.count * unit) {
        const heads *operand[] = {a, b, c};
        fasc_operand *target[] = {&g.a, &g.b, &g.c};
        int64_t at[3], most = (chunk->heads - n) / unit;
        for (int i = 0; i < 3; i++) {
            at[i] = place_of(operand[i], problem, chunk->head, n);
            target[i]->data = address_of(operand[i], at[i]);
            target[i]->batch =
                most > 1 ? place_of(operand[i], problem, chunk->head, n + unit) - at[i] : 0;
        }
        bool even = true;
        for (g.count = 1; g.count < most && even; g.count += even) {
            for (int i = 0; i < 3; i++) {
                int64_t next = place_of(operand[i], problem, chunk->head, n + g.count * unit);
                even = even && next - at[i] == g.count * target[i]->batch;
            }
        }
        fasc_status status = fasc_cublas_gemm(call->d, &g);
        if (status != FASC_OK) {
            return status;
        }
    }
    return FASC_OK;
}

/* Rows of the chunk only. */
static heads rows_from(heads h, const fasc_chunk_params *chunk)
{
    h.matrix.data = address_of(&h, chunk->row * h.matrix.row);
    return h;
}

/* ---- the steps --------------------------------------------------------------
 */

typedef struct state {
    const fasc_cuda_call *call;
    fasc_blas_layout layout;
    fasc_tensor q, k, v, out; /* as cuBLAS sees them: given, or copied */
    fasc_attention_params params;
} state;

/* K as a (D, Nk) matrix. */
static heads keys_of(const state *s)
{
    heads h = heads_of(&s->k, s->call->problem->group);
    int64_t row = h.matrix.row;
    h.matrix.row = h.matrix.column;
    h.matrix.column = row;
    return h;
}

static fasc_status product_qk(const state *s, const fasc_chunk_params *chunk, const heads *c)
{
    const fasc_problem *problem = s->call->problem;
    fasc_gemm g = {.dtype = problem->dtype,
                   .c_dtype = c->dtype,
                   .m = chunk->rows,
                   .n = problem->seqlen_k,
                   .k = problem->head_dim,
                   .alpha = problem->scale};
    heads a = rows_from(heads_of(&s->q, 1), chunk), b = keys_of(s);
    return multiply(s->call, chunk, g, &a, &b, c);
}

static fasc_status product_pv(const state *s, const fasc_chunk_params *chunk)
{
    const fasc_problem *problem = s->call->problem;
    const fasc_matrix_params *w = &s->params.weights;
    fasc_gemm g = {.dtype = problem->dtype,
                   .c_dtype = s->out.dtype,
                   .m = chunk->rows,
                   .n = problem->head_dim,
                   .k = problem->seqlen_k,
                   .alpha = problem->dropout ? (double)problem->keep_scale : 1.0};
    heads a = {{w->data, w->stride[2], 1, 0}, 0, w->stride[1], 1, true, problem->dtype};
    heads b = heads_of(&s->v, problem->group), c = rows_from(heads_of(&s->out, 1), chunk);
    return multiply(s->call, chunk, g, &a, &b, &c);
}

/* Points weights at this chunk's P. */
static void place_weights(state *s, const fasc_chunk_params *chunk)
{
    const fasc_blas_layout *l = &s->layout;
    const fasc_problem *problem = s->call->problem;
    fasc_matrix_params *w = &s->params.weights;
    if (l->weights_in_probs) {
        const fasc_tensor *probs = problem->args->probs;
        heads all = rows_from(heads_of(probs, 1), chunk);
        *w = (fasc_matrix_params){.stride = {0, probs->stride[1], probs->stride[2], 1}};
        w->data = address_of(&all, place_of(&all, problem, chunk->head, 0));
        /* Chunks of several heads step over the batch as over heads. */
        w->stride[1] = problem->heads_q == 1 ? probs->stride[0] : probs->stride[1];
        s->params.probs.data = NULL;
    } else if (problem->args->out) {
        *w = (fasc_matrix_params){.data = s->call->workspace + l->p,
                                  .stride = {0, chunk->rows * l->p_pitch, l->p_pitch, 1}};
    }
    w->dtype = (int32_t)problem->dtype;
}

static fasc_status launch(const state *s, fasc_cuda_stage stage)
{
    stage.launch.macros = stage.macros;
    return fasc_cuda_run_kernel(s->call->d, s->call->stream, &stage.launch, &s->params);
}

static fasc_status run_chunk(state *s)
{
    const fasc_problem *problem = s->call->problem;
    const fasc_blas_layout *l = &s->layout;
    const fasc_chunk_params *chunk = &s->params.chunk;
    heads scores = {
        {s->params.s, l->s_pitch, 1, 0}, 0, chunk->rows * l->s_pitch, 1, true, FASC_F32};
    place_weights(s, chunk);
    fasc_status status = product_qk(s, chunk, &scores);
    if (status == FASC_OK) {
        status = fasc_statistics_run(s->call, &s->params, s->call->workspace + l->statistics);
    }
    if (status == FASC_OK && problem->wanted & FASC_WANT_FORWARD) {
        status = launch(s, fasc_blas_softmax(problem, l, chunk));
    }
    if (status == FASC_OK && problem->args->out) {
        status = product_pv(s, chunk);
    }
    return status;
}

static fasc_chunk_params whole(const fasc_problem *problem)
{
    return (fasc_chunk_params){0, problem->batch * problem->heads_q, 0, problem->seqlen_q};
}

static fasc_status run_direct(state *s)
{
    const fasc_problem *problem = s->call->problem;
    s->params.chunk = whole(problem);
    heads c = heads_of(s->layout.direct, 1);
    fasc_status status = product_qk(s, &s->params.chunk, &c);
    return status == FASC_OK && s->layout.hide ? launch(s, fasc_blas_hide(s->call->d, problem))
                                               : status;
}

static fasc_status run_chunks(state *s)
{
    while (fasc_cuda_next_chunk(s->call->problem, &s->layout.chunk, &s->params.chunk)) {
        fasc_status status = run_chunk(s);
        if (status != FASC_OK) {
            return status;
        }
        if (fasc_cuda_canceled()) {
            return fasc_fail(FASC_ECANCELED, "attention: canceled");
        }
    }
    s->params.chunk = whole(s->call->problem);
    return s->layout.repair ? launch(s, fasc_blas_repair(s->call->problem)) : FASC_OK;
}

/* ---- operands
 * ------------------------------------------------------------------------------------ */

static fasc_status take(const fasc_cuda_call *call, const fasc_tensor *given, size_t at,
                        fasc_tensor *used)
{
    if (!given || at == SIZE_MAX) {
        *used = given ? *given : (fasc_tensor){0};
        return FASC_OK;
    }
    *used = fasc_cuda_contiguous(given, call->workspace + at);
    return fasc_cuda_copy_on(call->d, call->stream, given, used);
}

static fasc_status take_inputs(state *s)
{
    const fasc_attention_args *args = s->call->problem->args;
    fasc_status status = take(s->call, args->q, s->layout.q, &s->q);
    if (status == FASC_OK) {
        status = take(s->call, args->k, s->layout.k, &s->k);
    }
    return status == FASC_OK ? take(s->call, args->out ? args->v : NULL, s->layout.v, &s->v)
                             : status;
}

/* Kernels work on what cuBLAS works on. */
static void set_params(state *s)
{
    s->params = fasc_cuda_params_of(s->call->problem);
    s->params.s = (float *)(void *)(s->call->workspace + s->layout.s);
    s->params.s_pitch = s->layout.s_pitch;
    const fasc_tensor *t[] = {&s->v, &s->out};
    fasc_matrix_params *m[] = {&s->params.v, &s->params.out};
    for (int n = 0; n < 2; n++) {
        m[n]->data = t[n]->data;
        for (int i = 0; i < 4 && t[n]->data; i++) {
            m[n]->stride[i] = t[n]->stride[i];
        }
    }
    if (s->layout.lse != SIZE_MAX) {
        const fasc_problem *problem = s->call->problem;
        s->params.lse = (fasc_rows_params){
            .data = (float *)(void *)(s->call->workspace + s->layout.lse),
            .stride = {problem->heads_q * problem->seqlen_q, problem->seqlen_q, 1}};
    }
}

fasc_status fasc_blas_run(const fasc_cuda_call *call)
{
    const fasc_attention_args *args = call->problem->args;
    state s = {.call = call,
               .layout = fasc_blas_layout_of(call->d, call->problem, call->plan->block_m)};
    fasc_status status = take_inputs(&s);
    if (status != FASC_OK) {
        return status;
    }
    bool out_aside = args->out && s.layout.out != SIZE_MAX;
    s.out = !args->out  ? (fasc_tensor){0}
            : out_aside ? fasc_cuda_contiguous(args->out, call->workspace + s.layout.out)
                        : *args->out;
    set_params(&s);
    status = fasc_cublas_begin(call->d, call->stream, call->workspace);
    if (status != FASC_OK) {
        return status;
    }
    status = s.layout.direct ? run_direct(&s) : run_chunks(&s);
    fasc_cublas_end(call->d);
    return status == FASC_OK && out_aside
               ? fasc_cuda_copy_on(call->d, call->stream, &s.out, args->out)
               : status;
}

/* ---- the table's row --------------------------------------------------------
 */

static bool stage_of(const fasc_cuda_device *d, const fasc_problem *problem,
                     const fasc_attention_plan *plan, int32_t index, fasc_cuda_stage *stage)
{
    fasc_blas_layout l = fasc_blas_layout_of(d, problem, plan->block_m);
    fasc_chunk_params chunk = {0};
    fasc_cuda_next_chunk(problem, &l.chunk, &chunk);
    bool softmax = !l.direct && problem->wanted & FASC_WANT_FORWARD;
    if (l.hide && index-- == 0) {
        *stage = fasc_blas_hide(d, problem);
    } else if (softmax && index-- == 0) {
        *stage = fasc_blas_softmax(problem, &l, &chunk);
    } else if (l.repair && index-- == 0) {
        *stage = fasc_blas_repair(problem);
    } else {
        return fasc_statistics_stage(problem, &chunk, index, stage);
    }
    stage->launch.macros = stage->macros;
    return true;
}

const fasc_cuda_attention fasc_cuda_blas = {
    .name = "blas",
    .summary = "two cuBLAS products around a fused softmax",
    .supports = "f16, bf16, f32; any head_dim, strides and mask; every output; dropout; block_m: "
                "rows of S at a time",
    .block_m = true,
    .dropout = true,
    .outputs = FASC_WANT_ALL,
    .plan = fasc_blas_plan,
    .run = fasc_blas_run,
    .stage = stage_of,
};
