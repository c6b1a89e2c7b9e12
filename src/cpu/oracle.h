/* oracle.h - one row of attention in float64, straight from the definition: what the reference
 * kernel returns, and what fasc_attention_check compares with, bounds included.
 *
 * Rules where the inputs hold NaN or infinities (S are the scores of the visible keys):
 *   - a key that the band or a mask of -inf hides takes no part at all;
 *   - S = -inf has P = 0; if no visible key has more, the row counts as empty: out 0, LSE -inf;
 *   - a NaN or +inf among S makes the row's out, LSE and visible probabilities NaN; row_max is
 *     NaN with a NaN, else +inf;
 *   - a key with S = -inf keeps probability 0 even in such a row, and counts as hidden in sums of S
 *     and among the largest. */
#ifndef FASC_CPU_ORACLE_H
#define FASC_CPU_ORACLE_H

#include <math.h>

#include "backend.h"

/* One key head in float64. */
typedef struct fasc_oracle_head {
    double *k_t; /* (head_dim, seqlen_k): transposed, so that loops run along keys */
    double *v;   /* (seqlen_k, head_dim); not read when out is not wanted */
} fasc_oracle_head;

/* One row: the caller lends the arrays, NULL where optional and not wanted. */
typedef struct fasc_oracle_row {
    double *q;      /* head_dim */
    double *logits; /* seqlen_k; scale q k */
    double *mask;   /* seqlen_k; what is added to S; NULL without a mask */
    double *scores; /* seqlen_k; -inf where hidden */
    double *probs;  /* seqlen_k */
    double *out;    /* head_dim; optional */
    double lse, row_max, entropy, mean_distance, row_sum;
    int64_t argmax;                     /* -1 for an empty row */
    int64_t bh;                         /* b Hq + h, for dropout */
    int64_t visible_begin, visible_end; /* the band's keys */
    bool nan_score, inf_score;          /* S holds a NaN, +inf */

    /* For error bounds; optional, all or none. */
    double *magnitude;     /* seqlen_k; |scale| sum_d |q_d k_d| of the logits */
    double *out_magnitude; /* head_dim; sum_j p_j |v_j| */
    double *out_total;     /* head_dim; sum_j |v_j| over visible keys */
    double *out_loose;     /* head_dim; 1 where a NaN or infinite value has so small a weight that
                              in the inputs' dtype it may count as 0 */
    double row_magnitude;  /* the largest finite magnitude (+ |mask|) of a visible key */
    double sum_magnitude;  /* of row_sum: the sum of the terms' magnitudes */
    double distance;       /* sum_j p_j |i' - j| */
    bool sum_loose;        /* a term of row_sum is infinite or NaN, be it a visible key's -inf */
} fasc_oracle_row;

/* Doubles that fasc_oracle_row_lend takes from an array for a row of the problem. */
int64_t fasc_oracle_row_size(const fasc_problem *problem, bool bounds);
fasc_oracle_row fasc_oracle_row_lend(const fasc_problem *problem, bool bounds, double *doubles);

/* Loads key head (b, hk) of k and v, which are on the CPU; v may be NULL. Threaded. */
void fasc_oracle_head_load(const fasc_problem *problem, const fasc_tensor *k, const fasc_tensor *v,
                           int64_t b, int64_t hk, fasc_oracle_head *head);

/* True if key j is visible: the band shows it and no mask of -inf hides it. */
static inline bool fasc_oracle_sees(const fasc_oracle_row *row, int64_t j)
{
    return j >= row->visible_begin && j < row->visible_end &&
           !(row->mask && row->mask[j] == -INFINITY);
}

/* The magnitude of S of a visible key, mask included. */
static inline double fasc_oracle_magnitude(const fasc_oracle_row *row, int64_t j)
{
    return row->magnitude[j] + (row->mask ? fabs(row->mask[j]) : 0.0);
}

/* The k largest scores of a computed row, largest first, ties by the lower key; -inf and -1 where
 * there are fewer. */
void fasc_oracle_topk(const fasc_oracle_row *row, int64_t k, double *values, int64_t *keys);

/* Computes query i, whose q is in row->q, whose mask (if any) in row->mask and whose head in
 * row->bh. whole: logits
 * and magnitudes of all keys, not only of those that the band shows. */
void fasc_oracle_row_compute(const fasc_problem *problem, const fasc_oracle_head *head, int64_t i,
                             bool whole, fasc_oracle_row *row);

#endif
