/* check_row.c - comparing one row. Where the reference is NaN or infinite the output must be so
 * too, with these allowances for what float32 cannot tell apart:
 *   - a row that holds both +inf and NaN may have either as row_max, and one with +inf either
 *     as LSE;
 *   - in out, an infinite value may arrive as NaN (0 * inf while the row is rescaled), and one
 *     whose weight is below the smallest number of the dtype need not arrive;
 *   - a row with a NaN in it has no largest keys to tell, and with dropout no out. */
#include "check_row.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cpu/rows.h"

/* ---- one element ------------------------------------------------------------------ */

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

/* A stand-in for a bound that is not finite: then nothing but infinities can be told. */
static double usable(double bound)
{
    return isfinite(bound) ? bound : INFINITY;
}

/* ---- one row ------------------------------------------------------------------------ */

/* 2^-19 (1 + A) */
static double relative_bound(const fasc_row_check *c)
{
    return 0x1p-19 * (1.0 + c->row->row_magnitude);
}

/* The n values of the row as float64. */
static void load(const fasc_row_check *c, const fasc_tensor *t, int64_t at, int64_t n)
{
    fasc_load_f64(c->values, fasc_row(t, c->b, c->h, at), t->dtype, t->rank == 4 ? t->stride[3] : 1,
                  n);
}

static void check_out(const fasc_row_check *c, const fasc_tensor *t, fasc_check_entry *e)
{
    static const double UNIT[] = {
        [FASC_F16] = 0x1p-11, [FASC_BF16] = 0x1p-8, [FASC_F32] = 0x1p-24, [FASC_F64] = 0x1p-53};
    const fasc_oracle_row *row = c->row;
    bool half = c->problem->dtype == FASC_F16;
    double share = UNIT[c->problem->dtype] + relative_bound(c);
    int64_t index[4] = {c->b, c->h, c->i, 0};
    for (int64_t d = 0; d < c->problem->head_dim; d++) {
        double value = c->values[d], reference = row->out[d];
        double bound = share * row->out_magnitude[d] + (half ? 0x1p-24 * row->out_total[d] : 0.0);
        bool allowed = row->out_loose[d] != 0 || (isinf(reference) && isnan(value)) ||
                       (c->problem->dropout && isnan(row->lse));
        index[3] = d;
        compare(e, t->dtype, allowed ? reference : value, reference, usable(bound), true, index);
    }
}

/* lse or row_max. loose: NaN and +inf are both right. */
static void check_number(const fasc_row_check *c, const fasc_tensor *t, double reference,
                         bool loose, fasc_check_entry *e)
{
    const int64_t index[4] = {c->b, c->h, c->i, -1};
    double value = c->values[0];
    bool allowed = loose && (isnan(value) || value == INFINITY);
    compare(e, t->dtype, allowed ? reference : value, reference, relative_bound(c), false, index);
}

/* logits or masked. added: what the mask adds to the bound, NULL = nothing. */
static void check_scores(const fasc_row_check *c, const fasc_tensor *t, const double *reference,
                         const double *added, fasc_check_entry *e)
{
    int64_t index[4] = {c->b, c->h, c->i, 0};
    for (int64_t j = 0; j < c->problem->seqlen_k; j++) {
        bool hidden = reference[j] == -INFINITY;
        double magnitude = hidden ? 0.0 : c->row->magnitude[j] + (added ? fabs(added[j]) : 0.0);
        index[3] = j;
        compare(e, t->dtype, c->values[j], reference[j], usable(0x1p-19 * magnitude), true, index);
    }
}

static void check_probs(const fasc_row_check *c, const fasc_tensor *t, fasc_check_entry *e)
{
    double share = relative_bound(c);
    int64_t index[4] = {c->b, c->h, c->i, 0};
    for (int64_t j = 0; j < c->problem->seqlen_k; j++) {
        double reference = c->row->probs[j];
        index[3] = j;
        compare(e, t->dtype, c->values[j], reference, reference * share, true, index);
    }
}

/* ---- statistics of a row ------------------------------------------------------------------ */

static void check_statistic(const fasc_row_check *c, const fasc_tensor *t, double reference,
                            double bound, bool rounded, fasc_check_entry *e)
{
    const int64_t index[4] = {c->b, c->h, c->i, -1};
    compare(e, t->dtype, c->values[0], reference, usable(bound), rounded, index);
}

/* A sum of S where some term is infinite or NaN: not finite either, but for terms of -inf, which
 * may have been left out. */
static double loose_sum(double value, double reference)
{
    return isfinite(value) ? value : reference;
}

static void check_row_sum(const fasc_row_check *c, const fasc_tensor *t, fasc_check_entry *e)
{
    const fasc_oracle_row *row = c->row;
    if (row->sum_loose) {
        c->values[0] = loose_sum(c->values[0], row->row_sum);
    }
    check_statistic(c, t, row->row_sum, 0x1p-19 * row->sum_magnitude, true, e);
}

/* The float64 score of a key that was named; NaN where it is none that is visible, or named before.
 */
static double score_of(const fasc_row_check *c, int64_t n)
{
    const fasc_oracle_row *row = c->row;
    double key = c->values[n];
    bool there = key >= 0 && key < (double)c->problem->seqlen_k;
    for (int64_t earlier = 0; earlier < n && key != -1; earlier++) {
        there = there && c->values[earlier] != key;
    }
    return key == -1 ? -INFINITY : there ? row->scores[(int64_t)key] : NAN;
}

/* The keys of the n largest scores: compared by their scores. reference: those, -inf for none. */
static void check_keys(const fasc_row_check *c, const double *reference, int64_t count,
                       fasc_check_entry *e)
{
    int64_t index[4] = {c->b, c->h, c->i, -1};
    for (int64_t n = 0; n < count; n++) {
        double value = c->row->nan_score ? reference[n] : score_of(c, n);
        if (value == -INFINITY && c->values[n] != -1) {
            value = NAN; /* a hidden key */
        }
        index[3] = count > 1 ? n : -1;
        compare(e, FASC_F32, value, reference[n], 2 * relative_bound(c), false, index);
    }
}

enum { MOST_TOPK = 64 };

static void check_topk(const fasc_row_check *c, const fasc_tensor *t, bool keys,
                       fasc_check_entry *e)
{
    double reference[MOST_TOPK];
    int64_t key[MOST_TOPK], index[4] = {c->b, c->h, c->i, 0};
    fasc_oracle_topk(c->row, c->problem->topk, reference, key);
    if (keys) {
        check_keys(c, reference, c->problem->topk, e);
        return;
    }
    for (int64_t n = 0; n < c->problem->topk; n++) {
        double value = c->row->nan_score ? reference[n] : c->values[n];
        index[3] = n;
        compare(e, t->dtype, value, reference[n], relative_bound(c), false, index);
    }
}

static void check_argmax(const fasc_row_check *c, fasc_check_entry *e)
{
    const fasc_oracle_row *row = c->row;
    double reference = row->argmax < 0 ? -INFINITY : row->scores[row->argmax];
    check_keys(c, &reference, 1, e);
}

/* ---- sums over rows ----------------------------------------------------------------------- */

bool fasc_check_is_sum(fasc_output_number output)
{
    fasc_output_shape shape = fasc_outputs[output].shape;
    return shape == FASC_OUTPUT_COLUMNS || shape == FASC_OUTPUT_DIAGONALS ||
           shape == FASC_OUTPUT_TILES || shape == FASC_OUTPUT_HEADS;
}

void fasc_check_sum(const fasc_problem *problem, const fasc_oracle_sum *sum, const fasc_tensor *t,
                    int64_t b, int64_t head, fasc_check_entry *entry)
{
    bool heads = fasc_outputs[sum->output].shape == FASC_OUTPUT_HEADS;
    bool of_scores =
        sum->output == FASC_OUTPUT_COL_SUM_LOGITS || sum->output == FASC_OUTPUT_DIAG_SUM_LOGITS;
    /* probabilities below 2^-126 may count as 0 */
    const double flushed =
        of_scores || heads ? 0.0 : 0x1p-126 * (double)(problem->seqlen_q + problem->seqlen_k);
    int64_t index[4] = {b, head, 0, -1};
    int64_t across = t->rank == 4 ? t->shape[3] : 1;
    for (int64_t x = 0; x < sum->count; x++) {
        double value =
            fasc_load_element(fasc_oracle_sums_at(problem, sum->output, t, b, head, x), t->dtype);
        if (of_scores && sum->loose[x] != 0) {
            value = loose_sum(value, sum->value[x]);
        }
        if (heads) {
            index[0] = -1;
            index[1] = x;
            index[2] = -1;
        } else {
            index[2] = x / across;
            index[3] = t->rank == 4 ? x % across : -1;
        }
        compare(entry, t->dtype, value, sum->value[x], usable(0x1p-19 * sum->bound[x] + flushed),
                !heads, index);
    }
}

void fasc_check_row(const fasc_row_check *check, fasc_output_number output, const fasc_tensor *t,
                    int64_t at, fasc_check_entry *entry)
{
    const fasc_oracle_row *row = check->row;
    load(check, t, at, t->rank == 4 ? t->shape[3] : 1);
    switch (output) {
    case FASC_OUTPUT_OUT:
        check_out(check, t, entry);
        break;
    case FASC_OUTPUT_LSE:
        check_number(check, t, row->lse, row->inf_score, entry);
        break;
    case FASC_OUTPUT_ROW_MAX:
        check_number(check, t, row->row_max, row->inf_score && row->nan_score, entry);
        break;
    case FASC_OUTPUT_LOGITS:
        check_scores(check, t, row->logits, NULL, entry);
        break;
    case FASC_OUTPUT_MASKED:
        check_scores(check, t, row->scores, row->mask, entry);
        break;
    case FASC_OUTPUT_PROBS:
        check_probs(check, t, entry);
        break;
    case FASC_OUTPUT_ENTROPY:
        check_statistic(check, t, row->entropy, relative_bound(check) * (1.0 + row->entropy), false,
                        entry);
        break;
    case FASC_OUTPUT_MEAN_DISTANCE:
        check_statistic(check, t, row->mean_distance, relative_bound(check) * row->distance, true,
                        entry);
        break;
    case FASC_OUTPUT_ROW_SUM:
        check_row_sum(check, t, entry);
        break;
    case FASC_OUTPUT_ROW_ARGMAX:
        check_argmax(check, entry);
        break;
    case FASC_OUTPUT_TOPK_VALUES:
        check_topk(check, t, false, entry);
        break;
    case FASC_OUTPUT_TOPK_INDICES:
        check_topk(check, t, true, entry);
        break;
    default: /* sums over rows */
        break;
    }
}

/* ---- entries --------------------------------------------------------------------------- */

void fasc_check_entries_begin(fasc_check_entry *entry)
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

void fasc_check_entries_merge(fasc_check_entry *all, const fasc_check_entry *mine)
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
