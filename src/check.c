/* check.c - fasc_attention_check: every output that the arguments name, compared element by
 * element with float64 attention (cpu/oracle.h) under the bounds that fasc.h states.
 *
 * Tensors of another device are copied to the CPU first, of the query rows asked for and no
 * others. Where the reference is NaN or infinite the output must be so too, with these
 * allowances for what float32 cannot tell apart:
 *   - a row that holds both +inf and NaN may have either as row_max, and one with +inf either
 *     as LSE;
 *   - in out, an infinite value may arrive as NaN (0 * inf while the row is rescaled), and one
 *     whose weight is below the smallest number of the dtype need not arrive. */
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/attention.h"
#include "cpu/oracle.h"
#include "cpu/rows.h"
#include "problem.h"
#include "validate.h"

/* A tensor as the comparison reads it: on the CPU, with all query rows or just those asked for. */
typedef struct operand {
    const fasc_tensor *tensor; /* NULL: not given */
    fasc_tensor *copy;         /* to be freed; NULL where the tensor is read in place */
    bool gathered;             /* row r is query rows[r], not query r */
} operand;

typedef struct check {
    fasc_problem problem;
    fasc_attention_args args; /* with tensors on the CPU */
    const int64_t *rows;      /* NULL = all */
    int64_t row_count;
    operand q, k, v, mask, output[FASC_OUTPUT_COUNT];
} check;

/* ---- bringing tensors to the CPU -------------------------------------------------- */

/* Copies the given rows (indices of dimension `dimension`) of t, one view at a time. */
static fasc_status gather(const fasc_tensor *t, int32_t dimension, const int64_t *rows,
                          int64_t row_count, fasc_tensor *copy)
{
    int64_t shape[FASC_MAX_RANK];
    memcpy(shape, t->shape, sizeof shape);
    shape[dimension] = 1;
    for (int64_t r = 0; r < row_count; r++) {
        fasc_tensor *from = NULL, *to = NULL;
        fasc_status status =
            fasc_tensor_view(t, rows[r] * t->stride[dimension], t->rank, shape, t->stride, &from);
        if (!status) {
            status = fasc_tensor_view(copy, r * copy->stride[dimension], t->rank, shape,
                                      copy->stride, &to);
        }
        if (!status) {
            status = fasc_tensor_copy(from, to);
        }
        fasc_tensor_free(from);
        fasc_tensor_free(to);
        if (status) {
            return status;
        }
    }
    return FASC_OK;
}

/* dimension: that of the query rows, -1 for a tensor without one. */
static fasc_status fetch(const check *c, const fasc_tensor *t, int32_t dimension, operand *o)
{
    *o = (operand){.tensor = t};
    if (!t || t->storage->device->backend == &fasc_cpu_backend) {
        return FASC_OK;
    }
    fasc_device *cpu;
    int64_t shape[FASC_MAX_RANK];
    memcpy(shape, t->shape, sizeof shape);
    o->gathered = c->rows && dimension >= 0;
    if (o->gathered) {
        shape[dimension] = c->row_count;
    }
    fasc_status status = fasc_device_open("cpu", &cpu);
    if (!status) {
        status = fasc_tensor_empty(cpu, t->dtype, t->rank, shape, &o->copy);
    }
    if (!status) {
        o->tensor = o->copy;
        status = o->gathered ? gather(t, dimension, c->rows, c->row_count, o->copy)
                             : fasc_tensor_copy(t, o->copy);
    }
    return status;
}

static void release(check *c)
{
    operand *all[] = {&c->q, &c->k, &c->v, &c->mask};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fasc_tensor_free(all[i]->copy);
    }
    for (int i = 0; i < FASC_OUTPUT_COUNT; i++) {
        fasc_tensor_free(c->output[i].copy);
    }
}

static fasc_status fetch_all(check *c, const fasc_attention_args *args)
{
    fasc_status status;
    const fasc_tensor *mask = args->mask;
    int32_t mask_rows = mask && mask->rank >= 2 ? mask->rank - 2 : -1;
    if (mask_rows >= 0 && mask->shape[mask_rows] == 1) {
        mask_rows = -1;
    }
    if ((status = fetch(c, args->q, 2, &c->q)) || (status = fetch(c, args->k, -1, &c->k)) ||
        (status = fetch(c, args->out ? args->v : NULL, -1, &c->v)) ||
        (status = fetch(c, mask, mask_rows, &c->mask))) {
        return status;
    }
    if (c->mask.copy) { /* its strides are the copy's */
        fasc_problem *p = &c->problem;
        p->mask_data = c->mask.copy->data;
        for (int32_t i = 0; i < mask->rank; i++) {
            int64_t *stride = &p->mask_stride[4 - mask->rank + i];
            *stride = mask->shape[i] == 1 ? 0 : c->mask.copy->stride[i];
        }
    }
    for (int i = 0; i < FASC_OUTPUT_COUNT; i++) {
        status = fetch(c, fasc_output_tensor(args, &fasc_outputs[i]), 2, &c->output[i]);
        if (status) {
            return status;
        }
    }
    return FASC_OK;
}

/* ---- comparing --------------------------------------------------------------------- */

/* What the bounds need to know of a floating dtype: half the distance of neighbours at 1 and at
 * the smallest normal number, and the first power of two that it does not reach. */
static const struct {
    double half_ulp, least_half_ulp, overflow;
} FORMAT[] = {
    [FASC_F16] = {0x1p-11, 0x1p-25, 0x1p16},
    [FASC_BF16] = {0x1p-8, 0x1p-134, 0x1p128},
    [FASC_F32] = {0x1p-24, 0x1p-150, 0x1p128},
    [FASC_F64] = {0x1p-53, 0.0, INFINITY},
};

/* |x| rounded down to a power of two. */
static double power_below(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0x7ff0000000000000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double half_ulp(fasc_dtype dtype, double x)
{
    return fmax(FORMAT[dtype].half_ulp * power_below(x), FORMAT[dtype].least_half_ulp);
}

/* What counts as overflow in the dtype becomes one and the same number. */
static double clamped(fasc_dtype dtype, double x)
{
    double most = FORMAT[dtype].overflow;
    return x > most ? most : x < -most ? -most : x;
}

/* Adds one element to an entry. bound: beyond the rounding of the output, which is added if
 * `rounded`. */
static void compare(fasc_check_entry *e, fasc_dtype dtype, double value, double reference,
                    double bound, bool rounded, const int64_t *index)
{
    double share = INFINITY;
    bool right;
    if (!isfinite(reference) || isnan(value)) {
        right = isnan(reference) ? isnan(value) : value == reference;
        share = right ? 0.0 : share;
    } else {
        double x = clamped(dtype, value), y = clamped(dtype, reference), distance = fabs(x - y);
        bound += rounded ? half_ulp(dtype, y) : 0.0;
        right = distance <= bound;
        share = distance == 0 ? 0.0 : distance / bound;
        e->max_abs = isfinite(value) && distance > e->max_abs ? distance : e->max_abs;
    }
    e->count++;
    e->failed += !right;
    if (share > e->max_share || e->worst[0] < 0) {
        e->max_share = share;
        memcpy(e->worst, index, sizeof e->worst);
        e->worst_value = value;
        e->worst_reference = reference;
    }
}

/* The n values of row `index` of an output, as float64. */
static void load_row(const operand *o, const int64_t *index, int64_t r, int64_t n, double *values)
{
    const fasc_tensor *t = o->tensor;
    int64_t stride = t->rank == 4 ? t->stride[3] : 1;
    fasc_load_f64(values, fasc_row(t, index[0], index[1], o->gathered ? r : index[2]), t->dtype,
                  stride, n);
}

/* A finite stand-in for a bound that is not: then nothing but infinities can be told. */
static double usable(double bound)
{
    return isfinite(bound) ? bound : INFINITY;
}

/* Everything that the comparison of one row needs. */
typedef struct row_check {
    const check *c;
    const fasc_oracle_row *row;
    int64_t r;
    int64_t index[4]; /* b, h, i, -1 */
    double *values;   /* scratch: max(seqlen_k, head_dim) */
    double relative;  /* 2^-19 (1 + A) */
} row_check;

static void check_out(const row_check *rc, const operand *o, fasc_check_entry *e)
{
    const fasc_oracle_row *row = rc->row;
    const fasc_problem *p = &rc->c->problem;
    static const int UNIT[] = {[FASC_F16] = 11, [FASC_BF16] = 8, [FASC_F32] = 24, [FASC_F64] = 53};
    double unit = ldexp(1.0, -UNIT[p->dtype]);
    int64_t index[4] = {rc->index[0], rc->index[1], rc->index[2], 0};
    load_row(o, rc->index, rc->r, p->head_dim, rc->values);
    for (int64_t d = 0; d < p->head_dim; d++) {
        double value = rc->values[d], reference = row->out[d];
        double bound = (unit + rc->relative) * row->out_magnitude[d] +
                       (p->dtype == FASC_F16 ? 0x1p-24 * row->out_total[d] : 0.0);
        bool allowed = row->out_loose[d] != 0 || (isinf(reference) && isnan(value));
        index[3] = d;
        compare(e, o->tensor->dtype, allowed ? reference : value, reference, usable(bound), true,
                index);
    }
}

static void check_number(const row_check *rc, const operand *o, double reference, bool loose,
                         fasc_check_entry *e)
{
    double value;
    load_row(o, rc->index, rc->r, 1, &value);
    bool allowed = loose && (isnan(value) || value == INFINITY);
    compare(e, o->tensor->dtype, allowed ? reference : value, reference, rc->relative, false,
            rc->index);
}

/* n scores against reference; added: what mask adds to the bound, NULL = nothing. */
static void check_scores(const row_check *rc, const operand *o, const double *reference,
                         const double *added, fasc_check_entry *e)
{
    const fasc_oracle_row *row = rc->row;
    int64_t index[4] = {rc->index[0], rc->index[1], rc->index[2], 0};
    load_row(o, rc->index, rc->r, rc->c->problem.seqlen_k, rc->values);
    for (int64_t j = 0; j < rc->c->problem.seqlen_k; j++) {
        bool hidden = reference[j] == -INFINITY;
        double magnitude = hidden ? 0.0 : row->magnitude[j] + (added ? fabs(added[j]) : 0.0);
        index[3] = j;
        compare(e, o->tensor->dtype, rc->values[j], reference[j], usable(0x1p-19 * magnitude), true,
                index);
    }
}

static void check_probs(const row_check *rc, const operand *o, fasc_check_entry *e)
{
    int64_t index[4] = {rc->index[0], rc->index[1], rc->index[2], 0};
    load_row(o, rc->index, rc->r, rc->c->problem.seqlen_k, rc->values);
    for (int64_t j = 0; j < rc->c->problem.seqlen_k; j++) {
        double reference = rc->row->probs[j];
        index[3] = j;
        compare(e, o->tensor->dtype, rc->values[j], reference, reference * rc->relative, true,
                index);
    }
}

static void check_row(row_check *rc, fasc_check_entry *entry)
{
    const check *c = rc->c;
    const fasc_oracle_row *row = rc->row;
    rc->relative = 0x1p-19 * (1.0 + row->row_magnitude);
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        const operand *o = &c->output[n];
        size_t offset = fasc_outputs[n].offset;
        if (!o->tensor) {
            continue;
        }
        if (offset == offsetof(fasc_attention_args, out)) {
            check_out(rc, o, &entry[n]);
        } else if (offset == offsetof(fasc_attention_args, lse)) {
            check_number(rc, o, row->lse, row->inf_score, &entry[n]);
        } else if (offset == offsetof(fasc_attention_args, row_max)) {
            check_number(rc, o, row->row_max, row->inf_score && row->nan_score, &entry[n]);
        } else if (offset == offsetof(fasc_attention_args, logits)) {
            check_scores(rc, o, row->logits, NULL, &entry[n]);
        } else if (offset == offsetof(fasc_attention_args, masked)) {
            check_scores(rc, o, row->scores, row->mask, &entry[n]);
        } else {
            check_probs(rc, o, &entry[n]);
        }
    }
}

static void entries_begin(fasc_check_entry *entry)
{
    memset(entry, 0, FASC_OUTPUT_COUNT * sizeof *entry);
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        snprintf(entry[n].name, sizeof entry[n].name, "%s", fasc_outputs[n].name);
        for (int i = 0; i < 4; i++) {
            entry[n].worst[i] = -1;
        }
    }
}

static bool earlier(const int64_t *a, const int64_t *b)
{
    for (int i = 0; i < 4; i++) {
        if (a[i] != b[i]) {
            return a[i] < b[i];
        }
    }
    return false;
}

/* Joins what one thread found to the whole; which thread came first makes no difference. */
static void entries_merge(fasc_check_entry *all, const fasc_check_entry *mine)
{
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        all[n].count += mine[n].count;
        all[n].failed += mine[n].failed;
        all[n].max_abs = fmax(all[n].max_abs, mine[n].max_abs);
        if (mine[n].count == 0) {
            continue;
        }
        if (all[n].worst[0] < 0 || mine[n].max_share > all[n].max_share ||
            (mine[n].max_share == all[n].max_share && earlier(mine[n].worst, all[n].worst))) {
            all[n].max_share = mine[n].max_share;
            memcpy(all[n].worst, mine[n].worst, sizeof all[n].worst);
            all[n].worst_value = mine[n].worst_value;
            all[n].worst_reference = mine[n].worst_reference;
        }
    }
}

/* ---- all rows ------------------------------------------------------------------------ */

/* One thread's doubles: a row of the oracle, and the output's values. */
static int64_t thread_doubles(const fasc_problem *p)
{
    int64_t longest = p->seqlen_k > p->head_dim ? p->seqlen_k : p->head_dim;
    return fasc_oracle_row_size(p, true) + longest;
}

static void check_one(const check *c, const fasc_oracle_head *head, row_check *rc,
                      fasc_oracle_row *row, fasc_check_entry *entry)
{
    const fasc_problem *p = &c->problem;
    int64_t b = rc->index[0], h = rc->index[1], i = rc->index[2];
    const fasc_tensor *q = c->q.tensor;
    fasc_load_f64(row->q, fasc_row(q, b, h, c->q.gathered ? rc->r : i), p->dtype, q->stride[3],
                  p->head_dim);
    if (row->mask) {
        fasc_mask_load_f64(p, b, h, c->mask.gathered ? rc->r : i, 0, p->seqlen_k, row->mask);
    }
    fasc_oracle_row_compute(p, head, i, c->args.logits != NULL, row);
    check_row(rc, entry);
}

static void check_head(const check *c, const fasc_oracle_head *head, int64_t b, int64_t hk,
                       int threads, double *doubles, fasc_check_entry *entry, fasc_stop *stop)
{
    const fasc_problem *p = &c->problem;
#pragma omp parallel num_threads(threads)
    {
        double *mine = doubles + omp_get_thread_num() * thread_doubles(p);
        fasc_check_entry found[FASC_OUTPUT_COUNT];
        fasc_oracle_row row = fasc_oracle_row_lend(p, true, mine);
        row_check rc = {.c = c, .row = &row, .values = mine + fasc_oracle_row_size(p, true)};
        entries_begin(found);
#pragma omp for schedule(dynamic, 4)
        for (int64_t unit = 0; unit < p->group * c->row_count; unit++) {
            if (fasc_stopped(stop)) {
                continue;
            }
            rc.r = unit % c->row_count;
            rc.index[0] = b;
            rc.index[1] = hk * p->group + unit / c->row_count;
            rc.index[2] = c->rows ? c->rows[rc.r] : rc.r;
            rc.index[3] = -1;
            check_one(c, head, &rc, &row, found);
        }
#pragma omp critical(fasc_check_merge)
        entries_merge(entry, found);
    }
}

static fasc_status check_all(const check *c, fasc_check_entry *entry)
{
    const fasc_problem *p = &c->problem;
    int32_t threads = fasc_cpu_threads(p->group * c->row_count);
    int64_t head_doubles = p->seqlen_k * p->head_dim;
    size_t bytes = (size_t)(2 * head_doubles + threads * thread_doubles(p)) * sizeof(double);
    double *doubles = malloc(bytes);
    if (!doubles) {
        return fasc_fail(FASC_ENOMEM, "attention_check: asked for %zu bytes of scratch", bytes);
    }
    fasc_oracle_head head = {.k_t = doubles, .v = doubles + head_doubles};
    fasc_stop stop = {false};
    entries_begin(entry);
    for (int64_t b = 0; b < p->batch; b++) {
        for (int64_t hk = 0; hk < p->heads_k && !fasc_stopped(&stop); hk++) {
            fasc_oracle_head_load(p, c->k.tensor, c->v.tensor, b, hk, &head);
            check_head(c, &head, b, hk, threads, doubles + 2 * head_doubles, entry, &stop);
        }
    }
    free(doubles);
    return fasc_stop_status("attention_check", &stop);
}

static fasc_status check_rows(const fasc_problem *p, const int64_t *rows, int64_t row_count)
{
    if (rows && row_count < 1) {
        return fasc_fail(FASC_EINVAL, "attention_check: row_count: is %" PRId64 ", must be >= 1",
                         row_count);
    }
    for (int64_t r = 0; rows && r < row_count; r++) {
        if (rows[r] < 0 || rows[r] >= p->seqlen_q) {
            return fasc_fail(FASC_EINVAL,
                             "attention_check: rows[%" PRId64 "]: %" PRId64
                             " is not in 0 to %" PRId64,
                             r, rows[r], p->seqlen_q - 1);
        }
    }
    return FASC_OK;
}

fasc_status fasc_attention_check(const fasc_attention_args *args, const int64_t *rows,
                                 int64_t row_count, fasc_check_result *result)
{
    check c = {.rows = rows};
    fasc_check_entry entry[FASC_OUTPUT_COUNT];
    fasc_status status = fasc_check_struct("attention_check", "result", result, sizeof *result);
    if (status || (status = fasc_problem_from_args("attention_check", args, true, &c.problem)) ||
        (status = check_rows(&c.problem, rows, row_count))) {
        return status;
    }
    c.args = *args;
    c.problem.args = &c.args;
    c.row_count = rows ? row_count : c.problem.seqlen_q;
    status = fetch_all(&c, args);
    if (!status) {
        status = check_all(&c, entry);
    }
    release(&c);
    if (status) {
        return status;
    }
    *result = (fasc_check_result){.size = sizeof *result};
    result->rows = c.problem.batch * c.problem.heads_q * c.row_count;
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        if (c.output[n].tensor) {
            result->entry[result->entry_count++] = entry[n];
        }
    }
    return FASC_OK;
}
