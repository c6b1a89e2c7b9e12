/* oracle.c - one row of attention in float64. Loops run along keys, so that the compiler
 * vectorises them without reordering a sum. */
#include "cpu/oracle.h"

#include <math.h>
#include <string.h>

#include "dtype.h"
#include "philox.h"
#include "threads.h"

enum { KEYS = 512 }; /* keys at a time: their columns of k_t stay in the cache */

int64_t fasc_oracle_row_size(const fasc_problem *problem, bool bounds)
{
    int64_t keys = 4 + (bounds ? 1 : 0), dims = 2 + (bounds ? 3 : 0);
    return keys * problem->seqlen_k + dims * problem->head_dim;
}

fasc_oracle_row fasc_oracle_row_lend(const fasc_problem *problem, bool bounds, double *doubles)
{
    int64_t keys = problem->seqlen_k, dims = problem->head_dim;
    fasc_oracle_row row = {
        .logits = doubles,
        .mask = problem->mask_data ? doubles + keys : NULL,
        .scores = doubles + 2 * keys,
        .probs = doubles + 3 * keys,
        .q = doubles + 4 * keys,
        .out = problem->args->out ? doubles + 4 * keys + dims : NULL,
    };
    if (bounds) {
        row.out_magnitude = doubles + 4 * keys + 2 * dims;
        row.out_total = row.out_magnitude + dims;
        row.out_loose = row.out_total + dims;
        row.magnitude = row.out_loose + dims;
    }
    return row;
}

void fasc_oracle_head_load(const fasc_problem *problem, const fasc_tensor *k, const fasc_tensor *v,
                           int64_t b, int64_t hk, fasc_oracle_head *head)
{
    int64_t keys = problem->seqlen_k, dims = problem->head_dim;
    size_t size = fasc_dtype_size(problem->dtype);
    const char *k_head = k->data + (b * k->stride[0] + hk * k->stride[1]) * (int64_t)size;
    const char *v_head =
        v ? v->data + (b * v->stride[0] + hk * v->stride[1]) * (int64_t)size : NULL;
    int threads = fasc_threads_for(keys * dims * 8);
#pragma omp parallel for num_threads(threads)
    for (int64_t d = 0; d < dims; d++) {
        fasc_load_f64(head->k_t + d * keys, k_head + d * k->stride[3] * (int64_t)size,
                      problem->dtype, k->stride[2], keys);
    }
    if (!v) {
        return;
    }
#pragma omp parallel for num_threads(threads)
    for (int64_t j = 0; j < keys; j++) {
        fasc_load_f64(head->v + j * dims, v_head + j * v->stride[2] * (int64_t)size, problem->dtype,
                      v->stride[3], dims);
    }
}

/* Logits, and their magnitudes if wanted, of keys [begin, end), at most KEYS of them. */
static void score_keys(const fasc_problem *p, const fasc_oracle_head *head, int64_t begin,
                       int64_t end, fasc_oracle_row *row)
{
    double dot[KEYS], magnitude[KEYS];
    int64_t n = end - begin;
    memset(dot, 0, sizeof dot);
    memset(magnitude, 0, sizeof magnitude);
    for (int64_t d = 0; d < p->head_dim; d++) {
        const double *k = head->k_t + d * p->seqlen_k + begin;
        double q = row->q[d];
        if (row->magnitude) {
            for (int64_t j = 0; j < n; j++) {
                double product = q * k[j];
                dot[j] += product;
                magnitude[j] += fabs(product);
            }
        } else {
            for (int64_t j = 0; j < n; j++) {
                dot[j] += q * k[j];
            }
        }
    }
    for (int64_t j = 0; j < n; j++) {
        row->logits[begin + j] = p->scale * dot[j];
    }
    for (int64_t j = 0; row->magnitude && j < n; j++) {
        row->magnitude[begin + j] = fabs(p->scale) * magnitude[j];
    }
}

/* S from the logits, its maximum, and what the bounds need to know of the row. */
static void mask_scores(const fasc_problem *p, fasc_oracle_row *row)
{
    row->row_max = -INFINITY;
    row->row_magnitude = 0;
    row->nan_score = row->inf_score = false;
    for (int64_t j = 0; j < p->seqlen_k; j++) {
        row->scores[j] = -INFINITY;
    }
    for (int64_t j = row->visible_begin; j < row->visible_end; j++) {
        double added = row->mask ? row->mask[j] : 0.0;
        if (added == -INFINITY) {
            continue;
        }
        double s = row->logits[j] + added;
        row->scores[j] = s;
        row->nan_score = row->nan_score || isnan(s);
        row->inf_score = row->inf_score || s == INFINITY;
        row->row_max = s > row->row_max ? s : row->row_max;
        if (row->magnitude) {
            double magnitude = row->magnitude[j] + fabs(added);
            if (isfinite(magnitude) && magnitude > row->row_magnitude) {
                row->row_magnitude = magnitude;
            }
        }
    }
    if (row->nan_score) {
        row->row_max = NAN;
    }
}

static void normalise(const fasc_problem *p, fasc_oracle_row *row)
{
    double sum = 0;
    memset(row->probs, 0, (size_t)p->seqlen_k * sizeof *row->probs);
    if (row->row_max == -INFINITY) {
        row->lse = -INFINITY;
        return;
    }
    for (int64_t j = row->visible_begin; j < row->visible_end; j++) {
        row->probs[j] = row->scores[j] == -INFINITY ? 0.0 : exp(row->scores[j] - row->row_max);
        sum += row->probs[j];
    }
    row->lse = row->row_max + log(sum);
    for (int64_t j = row->visible_begin; j < row->visible_end; j++) {
        row->probs[j] = row->scores[j] == -INFINITY ? 0.0 : row->probs[j] / sum;
    }
}

static void describe(const fasc_problem *p, int64_t i, fasc_oracle_row *row)
{
    const int64_t place = i + p->seqlen_k - p->seqlen_q;
    row->entropy = row->mean_distance = row->row_sum = row->distance = row->sum_magnitude = 0;
    row->sum_loose = false;
    row->argmax = -1;
    for (int64_t j = row->visible_begin; j < row->visible_end; j++) {
        double s = row->scores[j], weight = row->probs[j];
        bool summed = j >= p->k0 && j < p->k1 && fasc_oracle_sees(row, j);
        row->sum_loose = row->sum_loose || (summed && !isfinite(s));
        if (s == -INFINITY) {
            continue;
        }
        row->argmax = row->argmax < 0 || s > row->scores[row->argmax] ? j : row->argmax;
        row->entropy += weight * (row->lse - s);
        row->mean_distance += weight * (double)(place - j);
        row->distance += weight * fabs((double)(place - j));
        row->row_sum += summed ? s : 0.0;
        if (row->magnitude && summed) {
            row->sum_magnitude += fasc_oracle_magnitude(row, j);
        }
    }
}

void fasc_oracle_topk(const fasc_oracle_row *row, int64_t k, double *values, int64_t *keys)
{
    int64_t found = 0;
    for (int64_t j = row->visible_begin; j < row->visible_end; j++) {
        double s = row->scores[j];
        if (!(s > (found < k ? -INFINITY : values[k - 1]))) {
            continue;
        }
        int64_t at = found < k ? found++ : k - 1;
        for (; at > 0 && s > values[at - 1]; at--) {
            values[at] = values[at - 1];
            keys[at] = keys[at - 1];
        }
        values[at] = s;
        keys[at] = j;
    }
    for (; found < k; found++) {
        values[found] = -INFINITY;
        keys[found] = -1;
    }
}

/* What dropout makes of a probability. */
static double dropped(const fasc_problem *p, int64_t bh, int64_t i, int64_t j, double weight)
{
    const fasc_attention_args *args = p->args;
    return fasc_dropout_word(args->seed, args->dropout_offset, (unsigned)bh, (unsigned)i,
                             (unsigned)j) >= p->dropout_threshold
               ? weight / (1.0 - args->dropout_p)
               : 0.0;
}

static void weigh_values(const fasc_problem *p, const fasc_oracle_head *head, int64_t i,
                         fasc_oracle_row *row)
{
    int64_t dims = p->head_dim;
    double negligible = p->dtype == FASC_F16 ? 0x1p-23 : 0x1p-124;
    memset(row->out, 0, (size_t)dims * sizeof *row->out);
    if (row->magnitude) {
        memset(row->out_magnitude, 0, (size_t)dims * sizeof *row->out_magnitude);
        memset(row->out_total, 0, (size_t)dims * sizeof *row->out_total);
        memset(row->out_loose, 0, (size_t)dims * sizeof *row->out_loose);
    }
    if (row->row_max == -INFINITY) {
        return;
    }
    for (int64_t j = row->visible_begin; j < row->visible_end; j++) {
        const double *v = head->v + j * dims;
        double weight = row->probs[j];
        if (row->mask && row->mask[j] == -INFINITY) {
            continue;
        }
        if (p->dropout) {
            weight = dropped(p, row->bh, i, j, weight);
        }
        for (int64_t d = 0; row->magnitude && d < dims; d++) {
            row->out_total[d] += fabs(v[d]) / (1.0 - p->args->dropout_p);
        }
        for (int64_t d = 0; row->magnitude && weight < negligible && d < dims; d++) {
            row->out_loose[d] = isfinite(v[d]) ? row->out_loose[d] : 1.0;
        }
        if (p->dropout && weight == 0) {
            continue;
        }
        for (int64_t d = 0; d < dims; d++) {
            row->out[d] += weight * v[d];
        }
        for (int64_t d = 0; row->magnitude && d < dims; d++) {
            row->out_magnitude[d] += weight * fabs(v[d]);
        }
    }
}

void fasc_oracle_row_compute(const fasc_problem *problem, const fasc_oracle_head *head, int64_t i,
                             bool whole, fasc_oracle_row *row)
{
    fasc_visible_range(problem, i, &row->visible_begin, &row->visible_end);
    int64_t begin = whole ? 0 : row->visible_begin;
    int64_t end = whole ? problem->seqlen_k : row->visible_end;
    for (int64_t j = begin; j < end; j += KEYS) {
        score_keys(problem, head, j, j + KEYS < end ? j + KEYS : end, row);
    }
    mask_scores(problem, row);
    normalise(problem, row);
    describe(problem, i, row);
    if (row->out) {
        weigh_values(problem, head, i, row);
    }
}
