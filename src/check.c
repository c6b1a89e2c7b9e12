/* check.c - fasc_attention_check: every output that the arguments name, compared element by
 * element with float64 attention (cpu/oracle.h, check_row.h). Tensors of another device are copied
 * to the CPU first, of the query rows asked for and no others. */
#include <inttypes.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "check_row.h"
#include "cpu/attention.h"
#include "cpu/rows.h"
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
        bool sum = fasc_check_is_sum((fasc_output_number)i);
        if (sum && c->rows) {
            continue; /* some rows do not tell */
        }
        status = fetch(c, fasc_output_tensor(args, &fasc_outputs[i]), sum ? -1 : 2, &c->output[i]);
        if (status) {
            return status;
        }
    }
    return FASC_OK;
}

/* ---- all rows ------------------------------------------------------------------------ */

enum { ROWS_SUMMED = 32 }; /* rows of a head that are held, to be added in order */

static int64_t rows_held(const check *c, const fasc_oracle_sums *sums, int32_t threads)
{
    return sums->count ? fasc_least(c->row_count, ROWS_SUMMED) : threads;
}

/* A row of the oracle's, and the output's values. */
static int64_t row_doubles(const fasc_problem *p)
{
    int64_t longest = p->seqlen_k > p->head_dim ? p->seqlen_k : p->head_dim;
    return fasc_oracle_row_size(p, true) + (longest > p->topk ? longest : p->topk);
}

/* Row r of head (b, h): query rows[r], or r itself when all are checked. */
static void check_one(const check *c, const fasc_oracle_head *head, int64_t b, int64_t h, int64_t r,
                      fasc_oracle_row *row, double *values, fasc_check_entry *entry)
{
    const fasc_problem *p = &c->problem;
    const fasc_tensor *q = c->q.tensor;
    fasc_row_check rc = {.problem = p, .row = row, .b = b, .h = h, .values = values};
    rc.i = c->rows ? c->rows[r] : r;
    row->bh = b * p->heads_q + h;
    fasc_load_f64(row->q, fasc_row(q, b, h, c->q.gathered ? r : rc.i), p->dtype, q->stride[3],
                  p->head_dim);
    if (row->mask) {
        fasc_mask_load_f64(p, b, h, c->mask.gathered ? r : rc.i, 0, p->seqlen_k, row->mask);
    }
    fasc_oracle_row_compute(p, head, rc.i, c->args.logits != NULL, row);
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        const operand *o = &c->output[n];
        if (o->tensor && !fasc_check_is_sum((fasc_output_number)n)) {
            fasc_check_row(&rc, (fasc_output_number)n, o->tensor, o->gathered ? r : rc.i,
                           &entry[n]);
        }
    }
}

/* All rows of head (b, h): `held` of them at a time, for sums to add them in order. */
static void check_head(const check *c, const fasc_oracle_head *head, fasc_oracle_sums *sums,
                       int64_t b, int64_t h, int threads, double *doubles, fasc_check_entry *entry,
                       fasc_stop *stop)
{
    const fasc_problem *p = &c->problem;
    const int64_t size = row_doubles(p);
    const int64_t held = sums->count ? rows_held(c, sums, threads) : c->row_count;
    fasc_oracle_row kept[ROWS_SUMMED];
    fasc_oracle_sums_begin(sums, b, h);
#pragma omp parallel num_threads(threads)
    {
        fasc_check_entry found[FASC_OUTPUT_COUNT];
        fasc_check_entries_begin(found);
        for (int64_t first = 0; first < c->row_count; first += held) {
            int64_t count = fasc_least(c->row_count - first, held);
#pragma omp for schedule(dynamic)
            for (int64_t n = 0; n < count; n++) {
                int64_t place = sums->count ? n : omp_get_thread_num();
                double *mine = doubles + place * size;
                fasc_oracle_row row = fasc_oracle_row_lend(p, true, mine);
                if (!fasc_stopped(stop)) {
                    check_one(c, head, b, h, first + n, &row, mine + fasc_oracle_row_size(p, true),
                              found);
                }
                if (sums->count) {
                    kept[n] = row;
                }
            }
#pragma omp for schedule(dynamic)
            for (int s = 0; s < sums->count; s++) {
                for (int64_t n = 0; n < count && !fasc_stopped(stop); n++) {
                    fasc_oracle_sums_add(sums, s, h, first + n, &kept[n]);
                }
            }
        }
#pragma omp critical(fasc_check_merge)
        fasc_check_entries_merge(entry, found);
    }
    for (int s = 0; s < sums->count && !fasc_stopped(stop); s++) {
        const fasc_oracle_sum *sum = &sums->sum[s];
        if (fasc_oracle_sums_end(sums, s, b, h)) {
            fasc_check_sum(p, sum, c->output[sum->output].tensor, b,
                           fasc_oracle_sums_head(p, sum->output, h), &entry[sum->output]);
        }
    }
}

static fasc_status check_all(const check *c, fasc_check_entry *entry)
{
    const fasc_problem *p = &c->problem;
    int32_t threads = fasc_cpu_threads(c->row_count);
    int64_t head_doubles = p->seqlen_k * p->head_dim;
    int64_t sum_doubles = c->rows ? 0 : fasc_oracle_sums_size(p, true);
    fasc_oracle_sums sums = {.count = sum_doubles > 0};
    int64_t held = rows_held(c, &sums, threads);
    size_t bytes =
        (size_t)(2 * head_doubles + sum_doubles + held * row_doubles(p)) * sizeof(double);
    double *doubles = malloc(bytes);
    if (!doubles) {
        return fasc_fail(FASC_ENOMEM, "attention_check: asked for %zu bytes of scratch", bytes);
    }
    fasc_oracle_head head = {.k_t = doubles, .v = doubles + head_doubles};
    fasc_stop stop = {false};
    if (sums.count) {
        sums = fasc_oracle_sums_lend(p, true, doubles + 2 * head_doubles);
    }
    fasc_check_entries_begin(entry);
    for (int64_t b = 0; b < p->batch; b++) {
        for (int64_t h = 0; h < p->heads_q && !fasc_stopped(&stop); h++) {
            if (h % p->group == 0) {
                fasc_oracle_head_load(p, c->k.tensor, c->v.tensor, b, h / p->group, &head);
            }
            check_head(c, &head, &sums, b, h, threads, doubles + 2 * head_doubles + sum_doubles,
                       entry, &stop);
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
        if (fasc_output_tensor(args, &fasc_outputs[n])) {
            result->entry[result->entry_count++] = entry[n];
        }
    }
    return FASC_OK;
}
