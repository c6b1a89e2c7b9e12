/* test_statistics_definitions.c - what the reference says of scores, against sums written out here
 * over its own masked scores and probabilities. */
#include "attention_cases.h"

enum { TOPK = 5, TILE = 6 };

static const attention_case BASE = {.batch = 2,
                                    .hq = 4,
                                    .hk = 2,
                                    .nq = 13,
                                    .nk = 21,
                                    .dims = 8,
                                    .dtype = FASC_F64,
                                    .topk = TOPK,
                                    .tile = TILE};

static void is(const char *name, double value, double expected, int64_t b, int64_t h, int64_t x)
{
    bool same = value == expected || fabs(value - expected) <= 1e-12 * (1 + fabs(expected));
    CHECK(same, "%s[%lld,%lld,%lld]: %.17g, expected %.17g", name, (long long)b, (long long)h,
          (long long)x, value, expected);
}

static void row_is(const attention_run *r, const attention_case *c, int64_t b, int64_t h, int64_t i)
{
    double entropy = 0, distance = 0, sum = 0, values[TOPK];
    int64_t keys[TOPK], best = -1;
    int64_t k1 = c->k1 ? c->k1 : c->nk;
    for (int64_t j = 0; j < c->nk; j++) {
        double s = attention_value(r->args.masked, b, h, i, j),
               p = attention_value(r->args.probs, b, h, i, j);
        if (s == -INFINITY) {
            continue;
        }
        entropy -= p > 0 ? p * log(p) : 0;
        distance += p * (double)(i + c->nk - c->nq - j);
        sum += j >= c->k0 && j < k1 ? s : 0;
        best = best < 0 || s > attention_value(r->args.masked, b, h, i, best) ? j : best;
    }
    for (int n = 0; n < TOPK; n++) { /* the largest that is not among the earlier ones */
        keys[n] = -1;
        values[n] = -INFINITY;
        for (int64_t j = 0; j < c->nk; j++) {
            double s = attention_value(r->args.masked, b, h, i, j);
            bool taken = false;
            for (int m = 0; m < n; m++) {
                taken = taken || keys[m] == j;
            }
            if (!taken && s > values[n]) {
                values[n] = s;
                keys[n] = j;
            }
        }
        is("topk_values", attention_value(r->args.topk_values, b, h, i, n), values[n], b, h, i);
        is("topk_indices", attention_value(r->args.topk_indices, b, h, i, n), (double)keys[n], b, h,
           i);
    }
    is("entropy", attention_value(r->args.entropy, b, h, i, 0), entropy, b, h, i);
    is("mean_distance", attention_value(r->args.mean_distance, b, h, i, 0), distance, b, h, i);
    is("row_sum", attention_value(r->args.row_sum, b, h, i, 0), sum, b, h, i);
    is("row_argmax", attention_value(r->args.row_argmax, b, h, i, 0), (double)best, b, h, i);
}

/* The sum (or maximum) over pairs of a term of theirs. */
typedef struct fold {
    const fasc_tensor *of;
    bool max;
    double value;
} fold;

static void add(fold *f, int64_t b, int64_t h, int64_t i, int64_t j)
{
    double term = attention_value(f->of, b, h, i, j);
    if (term != -INFINITY) {
        f->value = f->max ? fmax(f->value, term) : f->value + term;
    }
}

static void columns_are(const attention_run *r, const attention_case *c, int64_t b, int64_t head)
{
    int64_t q1 = c->q1 ? c->q1 : c->nq, k1 = c->k1 ? c->k1 : c->nk, group = c->hq / c->hk;
    int64_t first = c->per_kv_head ? head * group : head, count = c->per_kv_head ? group : 1;
    for (int64_t j = c->k0; j < k1; j++) {
        fold probs = {r->args.probs, false, 0}, logits = {r->args.masked, false, 0};
        fold largest = {r->args.probs, true, 0};
        for (int64_t h = first; h < first + count; h++) {
            for (int64_t i = c->q0; i < q1; i++) {
                add(&probs, b, h, i, j);
                add(&logits, b, h, i, j);
                add(&largest, b, h, i, j);
            }
        }
        int64_t x = j - c->k0;
        is("col_sum_probs", attention_value(r->args.col_sum_probs, b, head, x, 0), probs.value, b,
           head, x);
        is("col_sum_logits", attention_value(r->args.col_sum_logits, b, head, x, 0), logits.value,
           b, head, x);
        is("col_max_probs", attention_value(r->args.col_max_probs, b, head, x, 0), largest.value, b,
           head, x);
    }
}

static void diagonals_are(const attention_run *r, const attention_case *c, int64_t b, int64_t h)
{
    int64_t q1 = c->q1 ? c->q1 : c->nq, k1 = c->k1 ? c->k1 : c->nk;
    for (int64_t x = 0; x < c->nq + c->nk - 1; x++) {
        fold probs = {r->args.probs, false, 0}, logits = {r->args.masked, false, 0};
        for (int64_t i = c->q0; i < q1; i++) {
            for (int64_t j = c->k0; j < k1; j++) {
                if (i + c->nk - c->nq - j + c->nq - 1 == x) {
                    add(&probs, b, h, i, j);
                    add(&logits, b, h, i, j);
                }
            }
        }
        is("diag_sum_probs", attention_value(r->args.diag_sum_probs, b, h, x, 0), probs.value, b, h,
           x);
        is("diag_sum_logits", attention_value(r->args.diag_sum_logits, b, h, x, 0), logits.value, b,
           h, x);
    }
}

static void tiles_are(const attention_run *r, const attention_case *c, int64_t b, int64_t h)
{
    for (int64_t y = 0; y * TILE < c->nq; y++) {
        for (int64_t x = 0; x * TILE < c->nk; x++) {
            fold mass = {r->args.probs, false, 0}, largest = {r->args.probs, true, 0};
            int64_t rows = 0;
            for (int64_t i = y * TILE; i < c->nq && i < (y + 1) * TILE; i++, rows++) {
                for (int64_t j = x * TILE; j < c->nk && j < (x + 1) * TILE; j++) {
                    add(&mass, b, h, i, j);
                    add(&largest, b, h, i, j);
                }
            }
            is("pooled_max", attention_value(r->args.pooled_max, b, h, y, x), largest.value, b, h,
               x);
            is("pooled_mass", attention_value(r->args.pooled_mass, b, h, y, x),
               mass.value / (double)rows, b, h, x);
        }
    }
}

static void definitions_hold(attention_case c)
{
    c.want = "MPedsatTcCxgGpmh";
    attention_run r = attention_run_new(&c);
    r.args.kernel.name = "reference";
    CHECK(fasc_attention(&r.args, NULL) == FASC_OK, "%s", fasc_last_error());
    for (int64_t b = 0; b < c.batch; b++) {
        for (int64_t h = 0; h < c.hq; h++) {
            for (int64_t i = 0; i < c.nq; i++) {
                row_is(&r, &c, b, h, i);
            }
            diagonals_are(&r, &c, b, h);
            tiles_are(&r, &c, b, h);
        }
        for (int64_t head = 0; head < (c.per_kv_head ? c.hk : c.hq); head++) {
            columns_are(&r, &c, b, head);
        }
    }
    for (int64_t h = 0; h < c.hq; h++) {
        fold largest = {r.args.masked, true, -INFINITY};
        for (int64_t n = 0; n < c.batch * c.nq * c.nk; n++) {
            add(&largest, n / c.nk / c.nq, h, n / c.nk % c.nq, n % c.nk);
        }
        is("max_logit", attention_value(r.args.max_logit, h, 0, 0, 0), largest.value, 0, h, 0);
    }
    attention_run_check(&c, &r);
    attention_run_free(&r);
}

static void the_reference_keeps_the_definitions(void)
{
    attention_case c = BASE;
    definitions_hold(c);
    c.causal = 1;
    definitions_hold(c);
    c.nq = 29; /* the first rows see nothing */
    definitions_hold(c);
    c.mask = MASK_ADDED;
    c.q0 = 3;
    c.q1 = 27;
    c.k0 = 2;
    c.k1 = 17;
    c.per_kv_head = 1;
    definitions_hold(c);
    c.align = FASC_ALIGN_TOP_LEFT;
    c.has_window = 1;
    c.left = 4;
    c.right = 2;
    definitions_hold(c);
}

TEST_MAIN(the_reference_keeps_the_definitions)
