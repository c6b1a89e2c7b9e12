/* oracle_sums.c - each such output is a row of a table: what of a pair it takes, whether it adds or
 * keeps the largest, and which element a pair belongs to. */
#include "cpu/oracle_sums.h"

#include <math.h>
#include <string.h>

#include "dtype.h"

typedef enum place { COLUMN, DIAGONAL, TILE, HEAD } place;

static const struct kind {
    fasc_output_number output;
    bool probs; /* of P; else of S */
    bool max;
    place place;
} KIND[FASC_ORACLE_SUMS] = {
    {FASC_OUTPUT_COL_SUM_PROBS, true, false, COLUMN},
    {FASC_OUTPUT_COL_SUM_LOGITS, false, false, COLUMN},
    {FASC_OUTPUT_COL_MAX_PROBS, true, true, COLUMN},
    {FASC_OUTPUT_DIAG_SUM_PROBS, true, false, DIAGONAL},
    {FASC_OUTPUT_DIAG_SUM_LOGITS, false, false, DIAGONAL},
    {FASC_OUTPUT_POOLED_MAX, true, true, TILE},
    {FASC_OUTPUT_POOLED_MASS, true, false, TILE},
    {FASC_OUTPUT_MAX_LOGIT, false, true, HEAD},
};

static const struct kind *kind_of(fasc_output_number output)
{
    const struct kind *kind = KIND;
    while (kind->output != output) {
        kind++;
    }
    return kind;
}

static int64_t tiles(const fasc_problem *p, int64_t length)
{
    return (length + p->tile - 1) / p->tile;
}

/* Elements of one head; the largest logits are kept of all heads. */
static int64_t count_of(const fasc_problem *p, place at)
{
    return at == COLUMN     ? p->k1 - p->k0
           : at == DIAGONAL ? p->seqlen_q + p->seqlen_k - 1
           : at == TILE     ? tiles(p, p->seqlen_q) * tiles(p, p->seqlen_k)
                            : p->heads_q;
}

static fasc_oracle_sums lend(const fasc_problem *p, bool bounds, double *doubles, int64_t *size)
{
    fasc_oracle_sums sums = {.problem = p};
    *size = 0;
    for (int n = 0; n < FASC_ORACLE_SUMS; n++) {
        if (!(p->wanted & (uint32_t)1 << KIND[n].output)) {
            continue;
        }
        fasc_oracle_sum *sum = &sums.sum[sums.count++];
        int64_t count = count_of(p, KIND[n].place);
        *sum = (fasc_oracle_sum){.output = KIND[n].output, .count = count};
        double *base = doubles ? doubles + *size : NULL;
        *size += count * (bounds ? 3 : 1);
        if (base) {
            sum->value = base;
            sum->bound = bounds ? base + count : NULL;
            sum->loose = bounds ? base + 2 * count : NULL;
        }
    }
    return sums;
}

int64_t fasc_oracle_sums_size(const fasc_problem *problem, bool bounds)
{
    int64_t size;
    lend(problem, bounds, NULL, &size);
    return size;
}

fasc_oracle_sums fasc_oracle_sums_lend(const fasc_problem *problem, bool bounds, double *doubles)
{
    int64_t size;
    return lend(problem, bounds, doubles, &size);
}

/* ---- which head ------------------------------------------------------------------------ */

static bool first_of(const fasc_problem *p, place at, int64_t b, int64_t h)
{
    return at == HEAD ? b == 0 && h == 0
                      : at != COLUMN || !p->args->per_kv_head || h % p->group == 0;
}

void fasc_oracle_sums_begin(fasc_oracle_sums *sums, int64_t b, int64_t h)
{
    for (int n = 0; n < sums->count; n++) {
        fasc_oracle_sum *sum = &sums->sum[n];
        const struct kind *kind = kind_of(sum->output);
        if (!first_of(sums->problem, kind->place, b, h)) {
            continue;
        }
        for (int64_t x = 0; x < sum->count; x++) {
            sum->value[x] = kind->place == HEAD ? -INFINITY : 0.0;
        }
        if (sum->bound) {
            memset(sum->bound, 0, (size_t)(2 * sum->count) * sizeof *sum->bound);
        }
    }
}

int64_t fasc_oracle_sums_head(const fasc_problem *problem, fasc_output_number output, int64_t h)
{
    bool grouped = kind_of(output)->place == COLUMN && problem->args->per_kv_head;
    return grouped ? h / problem->group : h;
}

bool fasc_oracle_sums_end(fasc_oracle_sums *sums, int n, int64_t b, int64_t h)
{
    const fasc_problem *p = sums->problem;
    fasc_oracle_sum *sum = &sums->sum[n];
    if (sum->output == FASC_OUTPUT_POOLED_MASS) {
        int64_t across = tiles(p, p->seqlen_k);
        for (int64_t x = 0; x < sum->count; x++) {
            int64_t rows = p->seqlen_q - x / across * p->tile;
            double share = 1.0 / (double)(rows < p->tile ? rows : p->tile);
            sum->value[x] *= share;
            if (sum->bound) {
                sum->bound[x] *= share;
            }
        }
    }
    switch (kind_of(sum->output)->place) {
    case COLUMN:
        return !p->args->per_kv_head || h % p->group == p->group - 1;
    case HEAD:
        return b == p->batch - 1 && h == p->heads_q - 1;
    default:
        return true;
    }
}

char *fasc_oracle_sums_at(const fasc_problem *problem, fasc_output_number output,
                          const fasc_tensor *t, int64_t b, int64_t head, int64_t x)
{
    int64_t at = b * t->stride[0] + (t->rank > 1 ? head * t->stride[1] : 0);
    switch (kind_of(output)->place) {
    case TILE:
        at += x / tiles(problem, problem->seqlen_k) * t->stride[2] +
              x % tiles(problem, problem->seqlen_k) * t->stride[3];
        break;
    case HEAD:
        at = x * t->stride[0];
        break;
    default:
        at += x * t->stride[2];
    }
    return t->data + at * (int64_t)fasc_dtype_size(t->dtype);
}

/* ---- adding --------------------------------------------------------------------------------- */

static double larger(double a, double b)
{
    return isnan(a) || a > b ? a : b;
}

/* The element that pair (i, j) belongs to is first + j * step with j counted in `tile`s. */
void fasc_oracle_sums_add(fasc_oracle_sums *sums, int n, int64_t h, int64_t i,
                          const fasc_oracle_row *row)
{
    const fasc_problem *p = sums->problem;
    fasc_oracle_sum *sum = &sums->sum[n];
    const struct kind *kind = kind_of(sum->output);
    const double *term = kind->probs ? row->probs : row->scores;
    int64_t begin = row->visible_begin, end = row->visible_end, first = 0, step = 1, tile = 1;
    if (kind->place == COLUMN || kind->place == DIAGONAL) {
        if (i < p->q0 || i >= p->q1) {
            return;
        }
        begin = begin > p->k0 ? begin : p->k0;
        end = end < p->k1 ? end : p->k1;
    }
    switch (kind->place) {
    case COLUMN:
        first = -p->k0;
        break;
    case DIAGONAL: /* delta + Nq - 1 = i + Nk - Nq - j + Nq - 1 */
        first = i + p->seqlen_k - 1;
        step = -1;
        break;
    case TILE:
        first = i / p->tile * tiles(p, p->seqlen_k);
        tile = p->tile;
        break;
    case HEAD:
        first = h;
        step = 0;
        break;
    }
    if (kind->place == COLUMN && !kind->max && !sum->bound) { /* most of what sums are wanted for */
        for (int64_t j = begin; j < end; j++) {
            sum->value[first + j] += term[j] == -INFINITY ? 0.0 : term[j];
        }
        return;
    }
    for (int64_t j = begin; j < end; j++) {
        int64_t x = first + step * (j / tile);
        if (term[j] == -INFINITY) {
            if (sum->loose && fasc_oracle_sees(row, j)) {
                sum->loose[x] = 1;
            }
            continue;
        }
        sum->value[x] = kind->max ? larger(term[j], sum->value[x]) : sum->value[x] + term[j];
        if (sum->bound) {
            double off = kind->probs           ? term[j] * (1.0 + row->row_magnitude)
                         : kind->place == HEAD ? 1.0 + row->row_magnitude
                                               : fasc_oracle_magnitude(row, j);
            sum->bound[x] = kind->max ? larger(off, sum->bound[x]) : sum->bound[x] + off;
            sum->loose[x] = isfinite(term[j]) ? sum->loose[x] : 1;
        }
    }
}
