/* reducers.c - the passes after a flash kernel's forward: what they share of a problem, their
 * workspace and their order. */
#include "cuda/reducers.h"

#include <stdio.h>
#include <string.h>

#include "cuda/diagonals.h"
#include "cuda/flash.h"
#include "cuda/linear.h"
#include "cuda/reducer_pass.h"

#include "reducer_params.h"

/* ---- who makes what ------------------------------------------------------ */

#define SUMS_OF_LOGITS (FASC_WANT(ROW_SUM) | FASC_WANT(COL_SUM_LOGITS))
#define OF_PROBS                                                                                   \
    (FASC_WANT(COL_SUM_PROBS) | FASC_WANT(COL_MAX_PROBS) | FASC_WANT(DIAG_SUM_PROBS) |             \
     FASC_WANT_TILES)
#define BESIDE_ROW_SUM (FASC_WANT(ENTROPY) | FASC_WANT(MEAN_DISTANCE) | FASC_WANT(ROW_ARGMAX))
#define OF_ALL_QUERIES (FASC_WANT_TILES | FASC_WANT(MAX_LOGIT))
#define PASSES                                                                                     \
    (FASC_WANT_COLUMNS | FASC_WANT_DIAGONALS | FASC_WANT_TOPK | FASC_WANT_TILES |                  \
     FASC_WANT(ROW_SUM) | FASC_WANT(MAX_LOGIT))

uint32_t fasc_reducers_serve(const fasc_problem *problem, char *why, size_t room)
{
    return fasc_flash_can(problem, why, room) ? PASSES : 0;
}

/* Leaves only `kept` of the outputs that args name. */
static void keep(fasc_problem *problem, fasc_attention_args *args, uint32_t kept)
{
#define KEEP(number, name, shape)                                                                  \
    if (!(kept & FASC_WANT(number))) {                                                             \
        args->name = NULL;                                                                         \
    }
    FASC_OUTPUTS(KEEP)
#undef KEEP
    problem->args = args;
    problem->wanted &= kept;
}

/* Only the LSE of the query range is needed: leaves the forward no other queries. */
static void take_range(fasc_cuda_shares *shares)
{
    fasc_problem *forward = &shares->forward;
    const fasc_tensor *q = forward->args->q;
    shares->first = forward->q0;
    shares->q = *q;
    shares->q.shape[2] = forward->q1 - forward->q0;
    shares->q.numel = q->numel / q->shape[2] * shares->q.shape[2];
    shares->q.data += forward->q0 * q->stride[2] * (int64_t)fasc_cuda_dtype_size(forward->dtype);
    shares->forward_args.q = &shares->q;
    forward->seqlen_q = shares->q.shape[2];
    forward->lo += forward->q0;
    forward->hi += forward->q0;
    forward->q0 = 0;
    forward->q1 = forward->seqlen_q;
}

/* (B, Hq, Nq) f32 without memory yet. */
static fasc_tensor rows_tensor(const fasc_problem *problem)
{
    fasc_tensor t = {.dtype = FASC_F32,
                     .rank = 3,
                     .shape = {problem->batch, problem->heads_q, problem->seqlen_q}};
    t.numel = t.shape[0] * t.shape[1] * t.shape[2];
    return fasc_cuda_contiguous(&t, NULL);
}

void fasc_reducers_share(const fasc_cuda_device *d, const fasc_problem *problem, uint32_t outputs,
                         const char *arch, fasc_cuda_shares *shares)
{
    memset(shares, 0, sizeof *shares);
    uint32_t passes = problem->wanted & ~outputs;
    if (!problem->mask_data && !(outputs & FASC_WANT_COLUMNS)) {
        passes |= problem->wanted & SUMS_OF_LOGITS; /* the formula costs little */
        if (problem->wanted & outputs & BESIDE_ROW_SUM) {
            passes &=
                ~(outputs & FASC_WANT(ROW_SUM)); /* but nothing where scores are summed anyway */
        }
    }
    shares->forward = shares->passes = *problem;
    shares->forward_args = shares->passes_args = *problem->args;
    keep(&shares->forward, &shares->forward_args, ~passes);
    keep(&shares->passes, &shares->passes_args, passes);
    shares->hopper = strcmp(d->arch, "sm_90a") == 0 && strcmp(arch, "sm_90a") == 0;
    if (shares->forward.wanted == 0 && !(passes & OF_ALL_QUERIES) && !problem->mask_data) {
        take_range(shares);
    }
    if (passes & OF_PROBS) {
        shares->needs_lse = !shares->forward_args.lse;
        shares->lse = shares->needs_lse ? rows_tensor(&shares->forward) : *shares->forward_args.lse;
        shares->forward_args.lse = &shares->lse;
        shares->forward.wanted |= FASC_WANT(LSE);
    }
    if (passes & FASC_WANT(MAX_LOGIT)) {
        shares->needs_row_max = !shares->forward_args.row_max;
        shares->row_max =
            shares->needs_row_max ? rows_tensor(problem) : *shares->forward_args.row_max;
        shares->forward_args.row_max = &shares->row_max;
        shares->forward.wanted |= FASC_WANT(ROW_MAX);
    }
}

/* ---- workspace ----------------------------------------------------------- */

typedef struct layout {
    size_t copies, lse, row_max, offset, counter, room, linear, diagonals, bytes;
} layout;

static size_t place(size_t *bytes, size_t wanted)
{
    size_t at = *bytes;
    *bytes += fasc_cuda_aligned(wanted);
    return at;
}

static bool has_passes(const fasc_cuda_shares *shares)
{
    return shares->passes.wanted != 0;
}

static layout layout_of(const fasc_cuda_device *d, const fasc_cuda_shares *shares)
{
    layout l = {0};
    if (!has_passes(shares)) {
        return l;
    }
    const fasc_problem *problem = &shares->passes;
    size_t rows =
        (size_t)(problem->batch * problem->heads_q * shares->forward.seqlen_q) * sizeof(float);
    l.copies = place(&l.bytes, fasc_flash_copies_of(problem).bytes);
    l.lse = place(&l.bytes, shares->needs_lse ? rows : 0);
    l.row_max = place(&l.bytes, shares->needs_row_max ? rows : 0);
    size_t offsets =
        (size_t)(problem->batch * problem->heads_q * fasc_reducer_pitch(problem)) * sizeof(float);
    l.offset = place(&l.bytes, problem->wanted & OF_PROBS ? offsets : 0);
    l.counter = place(&l.bytes, sizeof(int32_t));
    l.room = place(&l.bytes, fasc_reducer_room(d, shares));
    l.linear = place(&l.bytes, fasc_linear_workspace(shares));
    l.diagonals = place(&l.bytes, fasc_diagonals_workspace(shares));
    return l;
}

size_t fasc_reducers_workspace(const fasc_cuda_device *d, const fasc_cuda_shares *shares)
{
    return layout_of(d, shares).bytes;
}

void fasc_reducers_place(const fasc_cuda_device *d, fasc_cuda_shares *shares, char *workspace)
{
    layout l = layout_of(d, shares);
    if (shares->needs_lse) {
        shares->lse.data = workspace + l.lse;
    }
    if (shares->needs_row_max) {
        shares->row_max.data = workspace + l.row_max;
    }
}

/* ---- small launches ------------------------------------------------------ */

static fasc_offsets_params offsets_params(const fasc_cuda_shares *shares)
{
    const fasc_problem *problem = &shares->passes;
    fasc_offsets_params p = {.lse = (const float *)(const void *)shares->lse.data,
                             .pitch = fasc_reducer_pitch(problem),
                             .heads = (int32_t)problem->heads_q,
                             .first = (int32_t)shares->first,
                             .seqlen = (int32_t)shares->forward.seqlen_q};
    for (int i = 0; i < 3; i++) {
        p.stride[i] = shares->lse.stride[i];
    }
    p.count = problem->batch * problem->heads_q * p.pitch;
    return p;
}

static fasc_cuda_launch offsets_launch(const fasc_cuda_device *d, const fasc_cuda_shares *shares)
{
    return (fasc_cuda_launch){.source = "kernels/reducer_offsets.cu",
                              .macros = "",
                              .entry = "reducer_offsets",
                              .blocks = fasc_cuda_blocks_for(d, offsets_params(shares).count, 256),
                              .threads = 256};
}

static fasc_cuda_launch max_launch(const fasc_cuda_shares *shares)
{
    return (fasc_cuda_launch){.source = "kernels/reducer_offsets.cu",
                              .macros = "",
                              .entry = "reducer_max",
                              .blocks = shares->passes.heads_q,
                              .threads = 256};
}

static fasc_status run_max(fasc_cuda_device *d, const fasc_cuda_shares *shares, cudaStream_t stream)
{
    const fasc_problem *problem = &shares->passes;
    fasc_cuda_launch launch = max_launch(shares);
    fasc_max_params p = {.row_max = (const float *)(const void *)shares->row_max.data,
                         .batch = problem->batch,
                         .seqlen = problem->seqlen_q,
                         .max_logit = (float *)(void *)problem->args->max_logit->data,
                         .head_stride = problem->args->max_logit->stride[0]};
    for (int i = 0; i < 3; i++) {
        p.stride[i] = shares->row_max.stride[i];
    }
    return fasc_cuda_run_kernel(d, stream, &launch, &p);
}

/* ---- running ------------------------------------------------------------- */

fasc_status fasc_reducers_run(fasc_cuda_device *d, fasc_cuda_shares *shares, char *workspace,
                              cudaStream_t stream)
{
    if (!has_passes(shares)) {
        return FASC_OK;
    }
    layout l = layout_of(d, shares);
    fasc_cuda_call call = {d, &shares->passes, NULL, stream, workspace + l.copies};
    fasc_flash_inputs inputs;
    fasc_status status = fasc_flash_prepare(&call, &inputs);
    float *offset = (float *)(void *)(workspace + l.offset);
    if (status == FASC_OK && shares->passes.wanted & OF_PROBS) {
        fasc_cuda_launch launch = offsets_launch(d, shares);
        fasc_offsets_params p = offsets_params(shares);
        p.offset = offset;
        status = fasc_cuda_run_kernel(d, stream, &launch, &p);
    }
    fasc_reducer_pass pass;
    for (int32_t i = 0; status == FASC_OK && fasc_reducer_pass_at(shares, i, &pass); i++) {
        status = fasc_reducer_run(d, shares, &pass, &inputs, offset,
                                  (int32_t *)(void *)(workspace + l.counter), workspace + l.room,
                                  stream);
    }
    fasc_linear_sum sum;
    for (int32_t i = 0; status == FASC_OK && fasc_linear_at(shares, i, &sum); i++) {
        status = fasc_linear_run(d, shares, &sum, &inputs, workspace + l.linear, stream);
    }
    fasc_tensor *diagonal;
    bool probs;
    for (int32_t i = 0; status == FASC_OK && fasc_diagonals_at(shares, i, &diagonal, &probs); i++) {
        status = fasc_diagonals_run(d, shares, diagonal, probs, &inputs, offset,
                                    fasc_reducer_pitch(&shares->passes), workspace + l.diagonals,
                                    stream);
    }
    return status == FASC_OK && shares->passes_args.max_logit ? run_max(d, shares, stream) : status;
}

bool fasc_reducers_stage(const fasc_cuda_device *d, const fasc_cuda_shares *shares, int32_t index,
                         fasc_cuda_stage *stage)
{
    fasc_reducer_pass pass;
    fasc_linear_sum sum;
    stage->macros[0] = 0;
    if (shares->passes.wanted & OF_PROBS && index-- == 0) {
        stage->launch = offsets_launch(d, shares);
        return true;
    }
    for (int32_t i = 0; fasc_reducer_pass_at(shares, i, &pass); i++) {
        if (index-- == 0) {
            fasc_reducer_launch(d, shares, &pass, stage);
            return true;
        }
    }
    for (int32_t i = 0; fasc_linear_at(shares, i, &sum); i++) {
        if (index < FASC_LINEAR_LAUNCHES) {
            fasc_linear_launch(shares, &sum, index, stage);
            return true;
        }
        index -= FASC_LINEAR_LAUNCHES;
    }
    fasc_tensor *diagonal;
    bool probs;
    for (int32_t i = 0; fasc_diagonals_at(shares, i, &diagonal, &probs); i++) {
        if (index < FASC_DIAGONALS_LAUNCHES) {
            fasc_diagonals_launch(d, shares, probs, index, stage);
            return true;
        }
        index -= FASC_DIAGONALS_LAUNCHES;
    }
    if (shares->passes_args.max_logit && index == 0) {
        stage->launch = max_launch(shares);
        return true;
    }
    return false;
}

/* ---- words --------------------------------------------------------------- */

static void add(fasc_attention_plan *plan, const char *text)
{
    size_t used = strlen(plan->config);
    snprintf(plan->config + used, sizeof plan->config - used, "%s%s", used ? " + " : "", text);
}

void fasc_reducers_describe(const fasc_cuda_device *d, const fasc_cuda_shares *shares,
                            fasc_attention_plan *plan)
{
    (void)d;
    fasc_reducer_pass pass;
    fasc_linear_sum sum;
    for (int32_t i = 0; fasc_reducer_pass_at(shares, i, &pass); i++) {
        const char *what = pass.reduce == FASC_REDUCE_POOL   ? "pooling"
                           : pass.reduce == FASC_REDUCE_TOPK ? "top-k"
                           : pass.keys                       ? "key-stationary"
                                                             : "row sum";
        char text[64];
        snprintf(text, sizeof text, "%s pass (%s)", what,
                 fasc_reducer_is_hopper(shares, &pass) ? "sm_90a" : "sm_80");
        add(plan, text);
    }
    if (shares->passes.wanted & FASC_WANT_DIAGONALS) {
        add(plan,
            fasc_diagonals_is_hopper(shares) ? "diagonal pass (sm_90a)" : "diagonal pass (sm_80)");
    }
    if (fasc_linear_at(shares, 0, &sum)) {
        add(plan, "sums of logits by the linear formula");
    }
}
