/* blas_plan.c - the `blas` kernel's choices: what cuBLAS can work on in place, what is copied, how
 * much of S is held at a time. */
#include <stdio.h>
#include <string.h>

#include "cuda/blas.h"
#include "cuda/statistics.h"

#define NOWHERE SIZE_MAX

/* ---- what fits ----------------------------------------------------------- */

static fasc_operand last_two(const fasc_tensor *t)
{
    return (fasc_operand){NULL, t->stride[2], t->stride[3], 0};
}

static bool fits(const fasc_tensor *t)
{
    fasc_operand o = last_two(t);
    return fasc_operand_fits(&o, t->shape[2], t->shape[3]);
}

/* Chunks count heads over the batch: the distance from one head to the next must be the same. */
static bool heads_are_even(const fasc_tensor *t)
{
    return t->shape[0] == 1 || t->shape[1] == 1 || t->stride[0] == t->shape[1] * t->stride[1];
}

static const fasc_tensor *direct_output(const fasc_problem *problem)
{
    const fasc_attention_args *a = problem->args;
    if (problem->wanted & ~(FASC_WANT(LOGITS) | FASC_WANT(MASKED))) {
        return NULL;
    }
    const fasc_tensor *only = !a->masked ? a->logits : !a->logits ? a->masked : NULL;
    bool masked_by_tensor = only == a->masked && problem->mask_data;
    return only && !masked_by_tensor && fits(only) ? only : NULL;
}

/* ---- the layout ---------------------------------------------------------- */

static size_t place(size_t *bytes, size_t wanted)
{
    size_t at = *bytes;
    *bytes += fasc_cuda_aligned(wanted);
    return at;
}

static size_t place_copy(size_t *bytes, const fasc_tensor *t)
{
    return t && !fits(t) ? place(bytes, (size_t)t->numel * fasc_cuda_dtype_size(t->dtype))
                         : NOWHERE;
}

/* Threads a row, rows a block, and groups of 8 a thread that hold the row in registers; 0 groups:
 * rows of any length, read twice. */
static fasc_blas_softmax_config choose_softmax(int64_t seqlen_k)
{
    static const fasc_blas_softmax_config CONFIG[] = {
        {32, 4, 1}, {32, 4, 2}, {64, 1, 2}, {128, 1, 2}, {256, 1, 2}, {512, 1, 2}, {512, 1, 4}};
    for (size_t i = 0; i < sizeof CONFIG / sizeof *CONFIG; i++) {
        if (seqlen_k <= (int64_t)CONFIG[i].threads * CONFIG[i].items * 8) {
            return CONFIG[i];
        }
    }
    return (fasc_blas_softmax_config){256, 1, 0};
}

/* Few and long launches cost less than what a chunk in L2 saves: the more rows the better, within
 * reason. Measured on an H200. */
static int64_t rows_at_a_time(const fasc_cuda_device *d, int64_t pitch)
{
    const int64_t most = (int64_t)1 << 30, share = d->memory_bytes / 16;
    return (most < share ? most : share) / (pitch * (int64_t)sizeof(float));
}

fasc_blas_layout fasc_blas_layout_of(const fasc_cuda_device *d, const fasc_problem *problem,
                                     int64_t rows)
{
    const fasc_attention_args *args = problem->args;
    fasc_blas_layout l = {
        .direct = direct_output(problem), .lse = NOWHERE, .s = NOWHERE, .p = NOWHERE};
    size_t size = fasc_cuda_dtype_size(problem->dtype);
    l.bytes = fasc_cuda_aligned(fasc_cublas_workspace(d));
    l.q = place_copy(&l.bytes, args->q);
    l.k = place_copy(&l.bytes, args->k);
    l.v = args->out ? place_copy(&l.bytes, args->v) : NOWHERE;
    l.out = place_copy(&l.bytes, args->out);
    if (l.direct) {
        l.hide = l.direct == args->masked && problem->banded;
        l.chunk = fasc_cuda_chunk_of(problem, INT64_MAX);
        return l;
    }
    l.softmax = choose_softmax(problem->seqlen_k);
    l.s_pitch = l.p_pitch = (problem->seqlen_k + 7) / 8 * 8;
    rows = rows ? rows : rows_at_a_time(d, l.s_pitch);
    l.chunk = fasc_cuda_chunk_of(problem, rows);
    int64_t held = l.chunk.heads * l.chunk.rows;
    l.s = place(&l.bytes, (size_t)(held * l.s_pitch) * sizeof(float));
    l.weights_in_probs = args->out && args->probs && args->probs->dtype == problem->dtype &&
                         args->probs->stride[3] == 1 && fits(args->probs) &&
                         heads_are_even(args->probs) && !problem->dropout;
    if (l.softmax.items > 0) { /* a row has left S for registers when its P is written */
        l.p = l.s;
        l.p_pitch = l.s_pitch * (int64_t)(sizeof(float) / size);
    } else if (args->out && !l.weights_in_probs) {
        l.p = place(&l.bytes, (size_t)(held * l.p_pitch) * size);
    }
    l.statistics = place(&l.bytes, fasc_statistics_workspace(problem, held));
    l.repair = args->out && (problem->banded || problem->mask_data || problem->dropout);
    if (l.repair && !args->lse) {
        int64_t all_rows = problem->batch * problem->heads_q * problem->seqlen_q;
        l.lse = place(&l.bytes, (size_t)all_rows * sizeof(float));
    }
    return l;
}

/* ---- the plan ------------------------------------------------------------ */

/* Names the tensors that are copied: another path serves a layout, but never unnamed. */
static void add_copies(const fasc_blas_layout *l, char *text, size_t room)
{
    const struct {
        const char *name;
        size_t at;
    } copy[] = {{" q", l->q}, {" k", l->k}, {" v", l->v}, {" out", l->out}};
    bool any = false;
    for (size_t i = 0; i < sizeof copy / sizeof *copy; i++) {
        if (copy[i].at != NOWHERE) {
            size_t used = strlen(text);
            snprintf(text + used, room - used, "%s%s",
                     any ? "," : "; copied, for cuBLAS cannot use their strides:", copy[i].name);
            any = true;
        }
    }
}

fasc_status fasc_blas_plan(fasc_cuda_device *d, const fasc_problem *problem,
                           fasc_attention_plan *plan)
{
    int64_t rows = problem->args->kernel.block_m;
    fasc_blas_layout l = fasc_blas_layout_of(d, problem, rows);
    plan->workspace_bytes = (int64_t)l.bytes + FASC_CUDA_ALIGN;
    if (l.direct) {
        snprintf(plan->config, sizeof plan->config, "one product into %s%s",
                 l.direct == problem->args->logits ? "logits" : "masked",
                 l.hide ? ", hidden pairs overwritten" : "");
    } else {
        plan->threads = l.softmax.threads;
        plan->block_m = (int32_t)(l.chunk.heads * l.chunk.rows);
        snprintf(
            plan->config, sizeof plan->config,
            "float32 scores of %lld heads x %lld rows at a time, softmax of %d threads a row%s",
            (long long)l.chunk.heads, (long long)l.chunk.rows, l.softmax.threads,
            l.softmax.items ? " in registers" : ", two passes");
    }
    add_copies(&l, plan->reason, sizeof plan->reason);
    return FASC_OK;
}

/* ---- launches ---------------------------------------------------------------
 */

fasc_cuda_stage fasc_blas_softmax(const fasc_problem *problem, const fasc_blas_layout *layout,
                                  const fasc_chunk_params *chunk)
{
    fasc_cuda_stage stage;
    const fasc_blas_softmax_config *c = &layout->softmax;
    snprintf(stage.macros, sizeof stage.macros, "THREADS=%d ROWS=%d ITEMS=%d EXTRAS=%d", c->threads,
             c->rows, c->items, problem->mask_data || problem->dropout);
    stage.launch =
        (fasc_cuda_launch){.source = "kernels/softmax.cu",
                           .entry = "softmax_rows",
                           .blocks = (chunk->heads * chunk->rows + c->rows - 1) / c->rows,
                           .threads = c->threads * c->rows};
    return stage;
}

fasc_cuda_stage fasc_blas_repair(const fasc_problem *problem)
{
    enum { WARPS = 4, ROWS = 8 };
    fasc_cuda_stage stage;
    int64_t rows = problem->batch * problem->heads_q * problem->seqlen_q;
    snprintf(stage.macros, sizeof stage.macros, "ELEMENT=%s", fasc_cuda_dtype_name(problem->dtype));
    stage.launch = (fasc_cuda_launch){.source = "kernels/repair.cu",
                                      .entry = "repair_rows",
                                      .blocks = (rows + WARPS * ROWS - 1) / (WARPS * ROWS),
                                      .threads = 32 * WARPS};
    return stage;
}

fasc_cuda_stage fasc_blas_hide(const fasc_cuda_device *d, const fasc_problem *problem)
{
    fasc_cuda_stage stage = {.macros = ""};
    int64_t rows = problem->batch * problem->heads_q * problem->seqlen_q;
    stage.launch = (fasc_cuda_launch){.source = "kernels/hide.cu",
                                      .entry = "hide_rows",
                                      .blocks = fasc_cuda_blocks_for(d, rows, 1),
                                      .threads = 128};
    return stage;
}
