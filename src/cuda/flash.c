/* flash.c - the host side that all flash kernels share. */
#include "cuda/flash.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

bool fasc_flash_can(const fasc_problem *problem, char *why, size_t room)
{
    if (problem->dtype != FASC_F16 && problem->dtype != FASC_BF16) {
        snprintf(why, room, "takes f16 and bf16, not %s", fasc_cuda_dtype_name(problem->dtype));
    } else if (problem->head_dim % 8 != 0 || problem->head_dim > 256) {
        snprintf(why, room, "takes a head_dim that is a multiple of 8 up to 256, not %lld",
                 (long long)problem->head_dim);
    } else if (problem->seqlen_q >= (1 << 30) || problem->seqlen_k >= (1 << 30) ||
               problem->batch * problem->heads_q >= (1 << 24)) {
        snprintf(why, room, "takes sequences below 2^30 and batch * heads below 2^24");
    } else {
        return true;
    }
    return false;
}

/* ---- launches ------------------------------------------------------------ */

bool fasc_flash_pass_at(const fasc_problem *problem, int32_t index, fasc_flash_pass *pass)
{
    const struct {
        int32_t scores;
        const fasc_tensor *to;
    } wanted[] = {{FASC_SCORES_LOGITS, problem->args->logits},
                  {FASC_SCORES_MASKED, problem->args->masked},
                  {FASC_SCORES_PROBS, problem->args->probs}};
    int32_t found = 0;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (wanted[i].to && found++ == index) {
            *pass = (fasc_flash_pass){wanted[i].scores, wanted[i].to, index == 0};
            return true;
        }
    }
    *pass = (fasc_flash_pass){FASC_SCORES_NONE, NULL, true};
    return found == 0 && index == 0;
}

/* ---- inputs -------------------------------------------------------------- */

bool fasc_flash_vector_rows(const fasc_tensor *t)
{
    int64_t size = (int64_t)fasc_cuda_dtype_size(t->dtype);
    if ((t->stride[3] != 1 && t->shape[3] > 1) || (uintptr_t)t->data % 16 != 0) {
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (t->shape[i] > 1 && t->stride[i] * size % 16 != 0) {
            return false;
        }
    }
    return true;
}

static size_t place(size_t *bytes, const fasc_tensor *t)
{
    if (!t || fasc_flash_vector_rows(t)) {
        return FASC_FLASH_IN_PLACE;
    }
    size_t at = *bytes;
    *bytes += fasc_cuda_aligned((size_t)t->numel * fasc_cuda_dtype_size(t->dtype));
    return at;
}

fasc_flash_copies fasc_flash_copies_of(const fasc_problem *problem)
{
    const fasc_attention_args *args = problem->args;
    fasc_flash_copies copies = {.bytes = 0};
    copies.q = place(&copies.bytes, args->q);
    copies.k = place(&copies.bytes, args->k);
    copies.v = place(&copies.bytes, args->out ? args->v : NULL);
    return copies;
}

static fasc_status prepare(const fasc_cuda_call *call, const fasc_tensor *given, size_t at,
                           fasc_tensor *used)
{
    *used = *given;
    if (at == FASC_FLASH_IN_PLACE) {
        return FASC_OK;
    }
    *used = fasc_cuda_contiguous(given, call->workspace + at);
    return fasc_cuda_copy_on(call->d, call->stream, given, used);
}

fasc_status fasc_flash_prepare(const fasc_cuda_call *call, fasc_flash_inputs *inputs)
{
    const fasc_attention_args *args = call->problem->args;
    fasc_flash_copies copies = fasc_flash_copies_of(call->problem);
    memset(inputs, 0, sizeof *inputs);
    fasc_status status = prepare(call, args->q, copies.q, &inputs->q);
    if (status == FASC_OK) {
        status = prepare(call, args->k, copies.k, &inputs->k);
    }
    if (status == FASC_OK && args->out) {
        status = prepare(call, args->v, copies.v, &inputs->v);
    }
    return status;
}

/* ---- parameters ---------------------------------------------------------- */

static int32_t store_of(const fasc_tensor *t)
{
    return fasc_flash_vector_rows(t) ? FASC_STORE_VECTOR : FASC_STORE_SCALAR;
}

static fasc_row_statistics_params statistics_of(const fasc_problem *problem)
{
    const fasc_attention_args *args = problem->args;
    const fasc_tensor *to[] = {args->entropy, args->mean_distance, args->row_sum, args->row_argmax};
    fasc_row_statistics_params p = {.key_begin = (int32_t)problem->k0,
                                    .key_end = (int32_t)problem->k1};
    void *data[4] = {NULL};
    for (int i = 0; i < 4; i++) {
        if (to[i]) {
            fasc_cuda_strides(to[i], 3, p.stride[i]);
            data[i] = to[i]->data;
        }
    }
    p.entropy = data[0];
    p.mean_distance = data[1];
    p.row_sum = data[2];
    p.row_argmax = data[3];
    return p;
}

/* Where pieces of rows can be shifted onto 16 bytes; a kernel without that stores by element. */
static int32_t scores_store_of(const fasc_tensor *t)
{
    bool neighbours = t->stride[3] == 1 && t->shape[3] > 1;
    return store_of(t) == FASC_STORE_VECTOR ? FASC_STORE_VECTOR
           : neighbours                     ? FASC_STORE_SHIFTED
                                            : FASC_STORE_SCALAR;
}

#define LOG2_E 1.4426950408889634f

fasc_flash_params fasc_flash_params_of(const fasc_problem *problem, const fasc_flash_inputs *inputs,
                                       const fasc_flash_pass *pass)
{
    const fasc_attention_args *args = problem->args;
    fasc_flash_params p = {
        .q = inputs->q.data,
        .k = inputs->k.data,
        .lo = problem->lo,
        .hi = problem->hi,
        .banded = problem->banded,
        .batch = (int32_t)problem->batch,
        .heads_q = (int32_t)problem->heads_q,
        .group = (int32_t)problem->group,
        .seqlen_q = (int32_t)problem->seqlen_q,
        .seqlen_k = (int32_t)problem->seqlen_k,
        .head_dim = (int32_t)problem->head_dim,
        .scale = (float)problem->scale,
        .unit = problem->mask_data ? 1.0f : fabsf((float)problem->scale),
    };
    p.dropout.keep_scale = 1.0f;
    if (problem->dropout) {
        p.dropout = (fasc_dropout_params){args->seed, args->dropout_offset,
                                          problem->dropout_threshold, problem->keep_scale};
    }
    p.unit_log2 = fmaxf(p.unit * LOG2_E, FLT_MIN);
    p.slack = pass->first && (args->row_max || args->row_argmax) ? 0.0f : 8.0f;
    p.mask = fasc_cuda_mask_of(problem);
    fasc_cuda_strides(&inputs->q, 3, p.q_stride);
    fasc_cuda_strides(&inputs->k, 3, p.k_stride);
    if (pass->to) {
        p.scores = pass->to->data;
        p.scores_f32 = pass->to->dtype == FASC_F32;
        p.scores_store = scores_store_of(pass->to);
        fasc_cuda_strides(pass->to, 4, p.scores_stride);
    }
    if (!pass->first) {
        return p;
    }
    if (args->out) {
        p.v = inputs->v.data;
        fasc_cuda_strides(&inputs->v, 3, p.v_stride);
        p.out = args->out->data;
        p.out_f32 = args->out->dtype == FASC_F32;
        p.out_store = store_of(args->out);
        fasc_cuda_strides(args->out, 4, p.out_stride);
    }
    if (args->lse) {
        p.lse = (float *)(void *)args->lse->data;
        fasc_cuda_strides(args->lse, 3, p.lse_stride);
    }
    if (args->row_max) {
        p.row_max = (float *)(void *)args->row_max->data;
        fasc_cuda_strides(args->row_max, 3, p.row_max_stride);
    }
    if (problem->wanted & FASC_FLASH_ROW_STATISTICS) {
        p.statistics = statistics_of(problem);
    }
    return p;
}

fasc_topk_params fasc_topk_params_of(const fasc_problem *problem)
{
    const fasc_attention_args *args = problem->args;
    const fasc_tensor *to[] = {args->topk_values, args->topk_indices};
    fasc_topk_params p = {.values = to[0] ? (float *)(void *)to[0]->data : NULL,
                          .indices = to[1] ? (int32_t *)(void *)to[1]->data : NULL,
                          .k = (int32_t)problem->topk};
    for (int i = 0; i < 2; i++) {
        if (to[i]) {
            fasc_cuda_strides(to[i], 4, p.stride[i]);
        }
    }
    return p;
}

int32_t fasc_flash_section(const fasc_cuda_device *d, const fasc_problem *problem)
{
    int64_t of_head = problem->seqlen_k * problem->head_dim * 2 * 2;
    int64_t fit = d->l2_bytes / 2 / of_head;
    int64_t section = (fit > 1 ? fit : 1) * problem->group;
    int64_t heads = problem->batch * problem->heads_q;
    return (int32_t)(section < heads ? section : heads);
}

/* ---- words --------------------------------------------------------------- */

static void add(fasc_attention_plan *plan, const char *text)
{
    size_t used = strlen(plan->config);
    snprintf(plan->config + used, sizeof plan->config - used, "%s", text);
}

void fasc_flash_describe_tensors(const fasc_problem *problem, fasc_attention_plan *plan)
{
    const fasc_attention_args *args = problem->args;
    fasc_flash_copies copies = fasc_flash_copies_of(problem);
    char text[64];
    snprintf(text, sizeof text, "; %s%s%scopied first", copies.q != FASC_FLASH_IN_PLACE ? "q " : "",
             copies.k != FASC_FLASH_IN_PLACE ? "k " : "",
             copies.v != FASC_FLASH_IN_PLACE ? "v " : "");
    if (copies.bytes > 0) {
        add(plan, text);
    }
    if (args->out && args->out->dtype != FASC_F32 && !fasc_flash_vector_rows(args->out)) {
        add(plan, "; out stored by element");
    }
}

void fasc_flash_describe(const fasc_problem *problem, fasc_attention_plan *plan)
{
    fasc_flash_pass pass;
    fasc_flash_describe_tensors(problem, plan);
    for (int32_t i = 0; fasc_flash_pass_at(problem, i, &pass); i++) {
        int32_t store = pass.to ? scores_store_of(pass.to) : FASC_STORE_VECTOR;
        if (store != FASC_STORE_VECTOR) {
            add(plan, store == FASC_STORE_SHIFTED ? "; rows of scores begin anywhere"
                                                  : "; scores stored by element");
        }
    }
    fasc_flash_describe_launches(problem, plan);
}

void fasc_flash_describe_launches(const fasc_problem *problem, fasc_attention_plan *plan)
{
    fasc_flash_pass pass;
    char text[64];
    int32_t count = 0;
    while (fasc_flash_pass_at(problem, count, &pass)) {
        count++;
    }
    if (count > 1) {
        snprintf(text, sizeof text, "; %d launches, one a kind of scores", (int)count);
        add(plan, text);
    }
}
