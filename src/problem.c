/* problem.c - checking attention's arguments, one rule after the other, and what follows from
 * them: sizes, the band of visible keys, the mask's strides. */
#include "problem.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "dtype.h"
#include "validate.h"

#define OUTPUT_ROW(number, name, shape)                                                            \
    [FASC_OUTPUT_##number] = {#name, offsetof(fasc_attention_args, name), FASC_OUTPUT_##shape},
const fasc_output fasc_outputs[FASC_OUTPUT_COUNT] = {FASC_OUTPUTS(OUTPUT_ROW)};
#undef OUTPUT_ROW

fasc_tensor *fasc_output_tensor(const fasc_attention_args *args, const fasc_output *output)
{
    fasc_tensor *tensor;
    memcpy(&tensor, (const char *)args + output->offset, sizeof tensor);
    return tensor;
}

/* ---- options ---------------------------------------------------------------- */

static fasc_status check_flag(const char *call, const char *name, int32_t value)
{
    return value == 0 || value == 1
               ? FASC_OK
               : fasc_fail(FASC_EINVAL, "%s: %s: is %" PRId32 ", must be 0 or 1", call, name,
                           value);
}

static fasc_status check_not_negative(const char *call, const char *name, int32_t value)
{
    return value >= 0
               ? FASC_OK
               : fasc_fail(FASC_EINVAL, "%s: %s: is %" PRId32 ", must be >= 0", call, name, value);
}

static fasc_status check_window(const char *call, const char *name, int64_t value)
{
    return value >= -1
               ? FASC_OK
               : fasc_fail(FASC_EINVAL, "%s: %s: is %" PRId64 ", must be >= 0, or -1 for no limit",
                           call, name, value);
}

static fasc_status check_options(const char *call, const fasc_attention_args *args)
{
    fasc_status status;
    if ((status = check_flag(call, "causal", args->causal)) ||
        (status = check_flag(call, "has_scale", args->has_scale)) ||
        (status = check_flag(call, "has_window", args->has_window)) ||
        (status = check_not_negative(call, "kernel.block_m", args->kernel.block_m)) ||
        (status = check_not_negative(call, "kernel.block_n", args->kernel.block_n)) ||
        (status = check_not_negative(call, "kernel.stages", args->kernel.stages)) ||
        (status = check_not_negative(call, "kernel.warps", args->kernel.warps)) ||
        (status = check_not_negative(call, "kernel.splits", args->kernel.splits)) ||
        (status = check_flag(call, "per_kv_head", args->per_kv_head)) ||
        (status = check_not_negative(call, "tile", args->tile))) {
        return status;
    }
    if (!(args->dropout_p >= 0 && args->dropout_p < 1)) {
        return fasc_fail(FASC_EINVAL, "%s: dropout_p: is %g, must be >= 0 and < 1", call,
                         args->dropout_p);
    }
    if (args->align != FASC_ALIGN_BOTTOM_RIGHT && args->align != FASC_ALIGN_TOP_LEFT) {
        return fasc_fail(FASC_EINVAL,
                         "%s: align: is %" PRId32 ", must be 0 (bottom-right) or 1 (top-left)",
                         call, args->align);
    }
    if (args->reserved != 0) {
        return fasc_fail(FASC_EINVAL, "%s: reserved: is %" PRId32 ", must be 0", call,
                         args->reserved);
    }
    if (args->has_scale && !isfinite(args->sm_scale)) {
        return fasc_fail(FASC_EINVAL, "%s: sm_scale: is %g, must be finite", call, args->sm_scale);
    }
    if (args->has_scale && fabs(args->sm_scale) > FLT_MAX) {
        return fasc_fail(FASC_EINVAL, "%s: sm_scale: %g is beyond what float32 holds", call,
                         args->sm_scale);
    }
    if (args->has_window) {
        if ((status = check_window(call, "window_left", args->window_left)) ||
            (status = check_window(call, "window_right", args->window_right))) {
            return status;
        }
    }
    if (args->workspace_bytes < 0) {
        return fasc_fail(FASC_EINVAL, "%s: workspace_bytes: is %" PRId64 ", must be >= 0", call,
                         args->workspace_bytes);
    }
    return FASC_OK;
}

/* ---- q, k and v --------------------------------------------------------------- */

static fasc_status check_input(const char *call, const char *name, const fasc_tensor *t)
{
    char text[192];
    fasc_status status = fasc_check_pointer(call, name, t);
    if (status) {
        return status;
    }
    fasc_shape_text(t->rank, t->shape, text, sizeof text);
    if (t->rank != 4) {
        return fasc_fail(FASC_EINVAL,
                         "%s: %s: shape %s has rank %" PRId32
                         ", must be 4: (batch, heads, length, head_dim)",
                         call, name, text, t->rank);
    }
    if (t->numel == 0) {
        return fasc_fail(FASC_EINVAL, "%s: %s: shape %s has a zero size", call, name, text);
    }
    if (!fasc_dtype_is_float(t->dtype)) {
        return fasc_fail(FASC_EINVAL, "%s: %s: dtype %s is not one of f16, bf16, f32, f64", call,
                         name, fasc_dtype_name(t->dtype));
    }
    return FASC_OK;
}

/* One dimension of `name` against the same of `other`. */
static fasc_status check_dimension(const char *call, const char *name, const fasc_tensor *t,
                                   const char *other_name, const fasc_tensor *other, int dimension)
{
    static const char *const DIMENSION[] = {"batch", "heads", "length", "head_dim"};
    return t->shape[dimension] == other->shape[dimension]
               ? FASC_OK
               : fasc_fail(FASC_EINVAL, "%s: %s: %s %" PRId64 " differs from %s's %" PRId64, call,
                           name, DIMENSION[dimension], t->shape[dimension], other_name,
                           other->shape[dimension]);
}

static fasc_status check_dtype(const char *call, const char *name, const fasc_tensor *t,
                               const fasc_tensor *q)
{
    return t->dtype == q->dtype
               ? FASC_OK
               : fasc_fail(FASC_EINVAL, "%s: %s: dtype %s differs from q's %s", call, name,
                           fasc_dtype_name(t->dtype), fasc_dtype_name(q->dtype));
}

static fasc_status check_inputs(const char *call, const fasc_attention_args *args)
{
    fasc_status status;
    const fasc_tensor *q = args->q, *k = args->k, *v = args->v;
    if ((status = check_input(call, "q", q)) || (status = check_input(call, "k", k)) ||
        (status = check_dtype(call, "k", k, q)) ||
        (status = check_dimension(call, "k", k, "q", q, 0)) ||
        (status = check_dimension(call, "k", k, "q", q, 3))) {
        return status;
    }
    if (q->shape[1] % k->shape[1] != 0) {
        return fasc_fail(FASC_EINVAL, "%s: q: heads %" PRId64 " is not a multiple of k's %" PRId64,
                         call, q->shape[1], k->shape[1]);
    }
    if (!v) {
        return args->out ? fasc_fail(FASC_EINVAL, "%s: v: is NULL, but out is wanted", call)
                         : FASC_OK;
    }
    if ((status = check_input(call, "v", v)) || (status = check_dtype(call, "v", v, q))) {
        return status;
    }
    for (int dimension = 0; dimension < 4; dimension++) {
        if ((status = check_dimension(call, "v", v, "k", k, dimension))) {
            return status;
        }
    }
    return FASC_OK;
}

/* ---- outputs -------------------------------------------------------------------- */

static uint32_t wanted_outputs(const fasc_attention_args *args)
{
    uint32_t wanted = 0;
    for (int i = 0; i < FASC_OUTPUT_COUNT; i++) {
        wanted |= fasc_output_tensor(args, &fasc_outputs[i]) ? (uint32_t)1 << i : 0;
    }
    return wanted;
}

bool fasc_output_is_index(const fasc_output *output)
{
    return output == &fasc_outputs[FASC_OUTPUT_ROW_ARGMAX] ||
           output == &fasc_outputs[FASC_OUTPUT_TOPK_INDICES];
}

void fasc_output_shape_of(const fasc_problem *p, const fasc_output *output, int32_t *rank,
                          int64_t shape[4])
{
    int64_t t = p->tile ? p->tile : 1;
    shape[0] = p->batch;
    shape[1] = p->heads_q;
    shape[2] = p->seqlen_q;
    shape[3] = 1;
    *rank = 4;
    switch (output->shape) {
    case FASC_OUTPUT_LIKE_Q:
        shape[3] = p->head_dim;
        break;
    case FASC_OUTPUT_SCORES:
        shape[3] = p->seqlen_k;
        break;
    case FASC_OUTPUT_TOPK:
        shape[3] = p->topk;
        break;
    case FASC_OUTPUT_TILES:
        shape[2] = (p->seqlen_q + t - 1) / t;
        shape[3] = (p->seqlen_k + t - 1) / t;
        break;
    case FASC_OUTPUT_COLUMNS:
        *rank = 3;
        shape[1] = p->column_heads;
        shape[2] = p->k1 - p->k0;
        break;
    case FASC_OUTPUT_DIAGONALS:
        *rank = 3;
        shape[2] = p->seqlen_q + p->seqlen_k - 1;
        break;
    case FASC_OUTPUT_HEADS:
        *rank = 1;
        shape[0] = p->heads_q;
        break;
    case FASC_OUTPUT_ROWS:
        *rank = 3;
        break;
    }
}

static fasc_status check_output_shape(const char *call, const fasc_problem *p,
                                      const fasc_output *output, const fasc_tensor *t)
{
    char given[192], right[192];
    int64_t shape[4];
    int32_t rank;
    fasc_output_shape_of(p, output, &rank, shape);
    if (t->rank == rank && memcmp(t->shape, shape, (size_t)rank * sizeof *shape) == 0) {
        return FASC_OK;
    }
    return fasc_fail(FASC_EINVAL, "%s: %s: shape %s, must be %s", call, output->name,
                     fasc_shape_text(t->rank, t->shape, given, sizeof given),
                     fasc_shape_text(rank, shape, right, sizeof right));
}

static fasc_status check_output_dtype(const char *call, const fasc_output *output,
                                      const fasc_tensor *t, const fasc_tensor *q)
{
    bool like_q = output->shape == FASC_OUTPUT_LIKE_Q || output->shape == FASC_OUTPUT_SCORES;
    if (fasc_output_is_index(output)) {
        return t->dtype == FASC_I32 ? FASC_OK
                                    : fasc_fail(FASC_EINVAL, "%s: %s: dtype %s, must be i32", call,
                                                output->name, fasc_dtype_name(t->dtype));
    }
    if (t->dtype == FASC_F32 || t->dtype == FASC_F64 || (t->dtype == q->dtype && like_q)) {
        return FASC_OK;
    }
    if (!like_q || q->dtype == FASC_F32 || q->dtype == FASC_F64) {
        return fasc_fail(FASC_EINVAL, "%s: %s: dtype %s, must be f32 (or f64 on the reference)",
                         call, output->name, fasc_dtype_name(t->dtype));
    }
    return fasc_fail(FASC_EINVAL, "%s: %s: dtype %s, must be %s or f32 (or f64 on the reference)",
                     call, output->name, fasc_dtype_name(t->dtype), fasc_dtype_name(q->dtype));
}

static bool share_memory(const fasc_tensor *a, const fasc_tensor *b)
{
    if (a->data == b->data) {
        return true;
    }
    if (!fasc_tensor_is_contiguous(a) || !fasc_tensor_is_contiguous(b)) {
        return false; /* interleaved views of one storage are legal and common */
    }
    uintptr_t a_first = (uintptr_t)a->data, b_first = (uintptr_t)b->data;
    return a_first < b_first + (uintptr_t)b->numel * fasc_dtype_size(b->dtype) &&
           b_first < a_first + (uintptr_t)a->numel * fasc_dtype_size(a->dtype);
}

static fasc_status check_apart(const char *call, const fasc_output *output, const fasc_tensor *t,
                               const char *other_name, const fasc_tensor *other)
{
    return other && share_memory(t, other) ? fasc_fail(FASC_EINVAL, "%s: %s: shares memory with %s",
                                                       call, output->name, other_name)
                                           : FASC_OK;
}

static fasc_status check_outputs(const char *call, const fasc_problem *problem)
{
    const fasc_attention_args *args = problem->args;
    for (int i = 0; i < FASC_OUTPUT_COUNT; i++) {
        fasc_status status;
        const fasc_output *output = &fasc_outputs[i];
        const fasc_tensor *t = fasc_output_tensor(args, output);
        if (!t) {
            continue;
        }
        if ((status = check_output_shape(call, problem, output, t)) ||
            (status = check_output_dtype(call, output, t, args->q)) ||
            (status = fasc_check_writable(call, output->name, t)) ||
            (status = check_apart(call, output, t, "q", args->q)) ||
            (status = check_apart(call, output, t, "k", args->k)) ||
            (status = check_apart(call, output, t, "v", args->v)) ||
            (status = check_apart(call, output, t, "mask", args->mask))) {
            return status;
        }
        for (int j = 0; j < i; j++) {
            const fasc_tensor *earlier = fasc_output_tensor(args, &fasc_outputs[j]);
            if ((status = check_apart(call, output, t, fasc_outputs[j].name, earlier))) {
                return status;
            }
        }
    }
    return problem->wanted ? FASC_OK
                           : fasc_fail(FASC_EINVAL,
                                       "%s: no output: give at least one of out, lse, row_max, "
                                       "logits, masked, probs or a statistic",
                                       call);
}

/* ---- what the outputs' options come to ----------------------------------------------- */

/* One range: [begin, end) of n, end 0 = n. */
static fasc_status take_range(const char *call, const char *what, int64_t begin, int64_t end,
                              int64_t n, bool used, int64_t *first, int64_t *last)
{
    *first = begin;
    *last = end == 0 ? n : end;
    if (begin < 0 || *last > n || begin >= *last) {
        return fasc_fail(FASC_EINVAL,
                         "%s: %s_begin, %s_end: [%" PRId64 ", %" PRId64
                         ") is not a range within [0, %" PRId64 ")",
                         call, what, what, begin, *last, n);
    }
    return used || (begin == 0 && *last == n)
               ? FASC_OK
               : fasc_fail(FASC_EINVAL,
                           "%s: %s_begin, %s_end: [%" PRId64 ", %" PRId64
                           ") restricts no output that is wanted; it is for col_*, diag_*%s",
                           call, what, what, begin, *last, what[0] == 'k' ? " and row_sum" : "");
}

static fasc_status take_ranges(const char *call, const fasc_attention_args *args, fasc_problem *p)
{
    fasc_status status = take_range(call, "query", args->query_begin, args->query_end, p->seqlen_q,
                                    p->wanted & FASC_WANT_QUERY_RANGE, &p->q0, &p->q1);
    return status ? status
                  : take_range(call, "key", args->key_begin, args->key_end, p->seqlen_k,
                               p->wanted & FASC_WANT_KEY_RANGE, &p->k0, &p->k1);
}

static fasc_status take_topk(const char *call, const fasc_attention_args *args, fasc_problem *p)
{
    enum { MOST = 64 };
    const fasc_tensor *t = args->topk_values ? args->topk_values : args->topk_indices;
    const char *name = args->topk_values ? "topk_values" : "topk_indices";
    if (!t) {
        return FASC_OK;
    }
    p->topk = t->rank == 4 ? t->shape[3] : 0;
    if (p->topk < 1 || p->topk > MOST) {
        char given[192];
        return fasc_fail(FASC_EINVAL,
                         "%s: %s: shape %s, must be (batch, heads, queries, k) with k of 1 to %d",
                         call, name, fasc_shape_text(t->rank, t->shape, given, sizeof given), MOST);
    }
    return FASC_OK;
}

static fasc_status take_options(const char *call, const fasc_attention_args *args, fasc_problem *p)
{
    fasc_status status;
    if ((status = take_ranges(call, args, p)) || (status = take_topk(call, args, p))) {
        return status;
    }
    if (args->per_kv_head && !(p->wanted & FASC_WANT_COLUMNS)) {
        return fasc_fail(FASC_EINVAL, "%s: per_kv_head: is 1, but no col_* output is wanted", call);
    }
    p->column_heads = args->per_kv_head ? p->heads_k : p->heads_q;
    bool tiles = p->wanted & FASC_WANT_TILES;
    if (tiles != (args->tile > 0)) {
        return fasc_fail(FASC_EINVAL, "%s: tile: is %" PRId32 ", %s", call, args->tile,
                         tiles ? "must be >= 1 for pooled_max and pooled_mass"
                               : "but neither pooled_max nor pooled_mass is wanted");
    }
    p->tile = args->tile;
    bool indices = p->wanted & (FASC_WANT(ROW_ARGMAX) | FASC_WANT(TOPK_INDICES));
    if (indices && p->seqlen_k > INT32_MAX) {
        return fasc_fail(FASC_EINVAL, "%s: k: length %" PRId64 " is past what i32 indices name",
                         call, p->seqlen_k);
    }
    p->dropout = args->dropout_p > 0;
    if (p->dropout && !args->out) {
        return fasc_fail(FASC_EINVAL,
                         "%s: dropout_p: is %g, but out, all that it affects, is not "
                         "wanted",
                         call, args->dropout_p);
    }
    p->dropout_threshold = (uint32_t)(args->dropout_p * 0x1p32);
    p->keep_scale = (float)(1.0 / (1.0 - args->dropout_p));
    return FASC_OK;
}

static fasc_status check_devices(const char *call, const fasc_attention_args *args)
{
    const char *name[3 + FASC_OUTPUT_COUNT] = {"k", "v", "mask"};
    const fasc_tensor *tensor[3 + FASC_OUTPUT_COUNT] = {args->k, args->v, args->mask};
    for (int i = 0; i < FASC_OUTPUT_COUNT; i++) {
        name[3 + i] = fasc_outputs[i].name;
        tensor[3 + i] = fasc_output_tensor(args, &fasc_outputs[i]);
    }
    const fasc_device *device = args->q->storage->device;
    for (int i = 0; i < 3 + FASC_OUTPUT_COUNT; i++) {
        if (tensor[i] && tensor[i]->storage->device != device) {
            return fasc_fail(FASC_EINVAL, "%s: %s: is on %s, q is on %s", call, name[i],
                             fasc_device_name(tensor[i]->storage->device),
                             fasc_device_name(device));
        }
    }
    return FASC_OK;
}

/* ---- mask and band ---------------------------------------------------------------- */

/* Broadcasts the mask from the right, as arrays do: a missing dimension, or one of size 1,
 * gets stride 0. */
static fasc_status take_mask(const char *call, const fasc_tensor *mask, fasc_problem *p)
{
    char given[192], wanted[192];
    const int64_t full[4] = {p->batch, p->heads_q, p->seqlen_q, p->seqlen_k};
    if (!mask) {
        return FASC_OK;
    }
    if (mask->dtype != FASC_U8 && !fasc_dtype_is_float(mask->dtype)) {
        return fasc_fail(FASC_EINVAL, "%s: mask: dtype %s is not one of u8, f16, bf16, f32, f64",
                         call, fasc_dtype_name(mask->dtype));
    }
    bool fits = mask->rank <= 4;
    for (int32_t i = 0; fits && i < mask->rank; i++) {
        int32_t at = 4 - mask->rank + i;
        fits = mask->shape[i] == 1 || mask->shape[i] == full[at];
        p->mask_stride[at] = mask->shape[i] == 1 ? 0 : mask->stride[i];
    }
    if (!fits) {
        return fasc_fail(FASC_EINVAL, "%s: mask: shape %s does not broadcast to %s", call,
                         fasc_shape_text(mask->rank, mask->shape, given, sizeof given),
                         fasc_shape_text(4, full, wanted, sizeof wanted));
    }
    p->mask_data = mask->data;
    p->mask_dtype = mask->dtype;
    return FASC_OK;
}

static int64_t bounded(int64_t window)
{
    return window < 0 || window > FASC_BAND_OPEN / 2 ? FASC_BAND_OPEN : window;
}

static void take_band(const fasc_attention_args *args, fasc_problem *p)
{
    int64_t shift = args->align == FASC_ALIGN_TOP_LEFT ? 0 : p->seqlen_k - p->seqlen_q;
    int64_t left = args->has_window ? bounded(args->window_left) : FASC_BAND_OPEN;
    int64_t right = args->has_window ? bounded(args->window_right) : FASC_BAND_OPEN;
    if (args->causal) {
        right = 0;
    }
    p->lo = left == FASC_BAND_OPEN ? -FASC_BAND_OPEN : shift - left;
    p->hi = right == FASC_BAND_OPEN ? FASC_BAND_OPEN : shift + right;
    p->banded = p->hi < p->seqlen_k - 1 || p->seqlen_q - 1 + p->lo > 0;
}

/* ---- all of it ------------------------------------------------------------------ */

fasc_status fasc_problem_from_args(const char *call, const fasc_attention_args *args,
                                   bool any_device, fasc_problem *problem)
{
    fasc_status status;
    if ((status = fasc_check_struct(call, "args", args, sizeof *args)) ||
        (status = check_options(call, args)) || (status = check_inputs(call, args))) {
        return status;
    }
    *problem = (fasc_problem){
        .batch = args->q->shape[0],
        .heads_q = args->q->shape[1],
        .heads_k = args->k->shape[1],
        .seqlen_q = args->q->shape[2],
        .seqlen_k = args->k->shape[2],
        .head_dim = args->q->shape[3],
        .group = args->q->shape[1] / args->k->shape[1],
        .scale = args->has_scale ? args->sm_scale : 1.0 / sqrt((double)args->q->shape[3]),
        .dtype = args->q->dtype,
        .args = args,
        .wanted = wanted_outputs(args),
    };
    if ((status = take_options(call, args, problem)) || (status = check_outputs(call, problem)) ||
        (status = any_device ? FASC_OK : check_devices(call, args))) {
        return status;
    }
    take_band(args, problem);
    return take_mask(call, args->mask, problem);
}

double fasc_problem_visible_pairs(const fasc_problem *problem)
{
    double pairs = 0;
    if (!problem->banded) {
        return (double)problem->seqlen_q * (double)problem->seqlen_k;
    }
    for (int64_t i = 0; i < problem->seqlen_q; i++) {
        int64_t begin, end;
        fasc_visible_range(problem, i, &begin, &end);
        pairs += (double)(end - begin);
    }
    return pairs;
}
