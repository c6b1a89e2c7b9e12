/* check_row.c - comparing one row. Where the reference is NaN or infinite the output must be so
 * too, with these allowances for what float32 cannot tell apart:
 *   - a row that holds both +inf and NaN may have either as row_max, and one with +inf either
 *     as LSE;
 *   - in out, an infinite value may arrive as NaN (0 * inf while the row is rescaled), and one
 *     whose weight is below the smallest number of the dtype need not arrive. */
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
        bool allowed = row->out_loose[d] != 0 || (isinf(reference) && isnan(value));
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
    default:
        check_probs(check, t, entry);
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
