/* linear_sums.c - a window of vectors that moves over a sequence, its sum at every step.
 *
 * The window is two parts: `front` holds, for each vector of the older part, the sum from it to
 * that part's end; `back` is the sum of what has come since. A vector that leaves only moves the
 * front's beginning; when the front is used up, the whole window becomes the front. Every vector is
 * added twice, nothing is ever subtracted: sums do not cancel, and a NaN or infinity touches no
 * window that it is not in. A window that only grows needs no front. All sums are float64. */
#include "cpu/linear_sums.h"

#include <string.h>

#include "cpu/rows.h"

#define MOST_FRONT ((int64_t)16 << 20) /* bytes of a thread */

/* The sums of one output: vector n of `target` with the sum of those of `source` that it sees. */
typedef struct side {
    const fasc_tensor *target, *source;
    int64_t first, last;           /* targets, in this order or, reversed, from the last on */
    int64_t source_at, source_end; /* the range of sources */
    bool rows;                     /* targets are queries */
    bool reversed;
    int64_t room; /* vectors of the longest front */
} side;

typedef struct window {
    int64_t dims, begin, end, front_begin, front_end;
    double *front, *back; /* front: (room, dims), its last vector is that of front_end - 1 */
    double *vector;
} window;

/* ---- which windows -----------------------------------------------------------------------------
 */

/* Sources that target n sees: [*begin, *end). */
static void sources_of(const fasc_problem *p, const side *x, int64_t n, int64_t *begin,
                       int64_t *end)
{
    if (x->rows) {
        fasc_visible_range(p, n, begin, end);
    } else { /* i + lo <= j <= i + hi */
        *begin = n - p->hi > 0 ? n - p->hi : 0;
        *end = fasc_least(n - p->lo, p->seqlen_q - 1) + 1;
    }
    *begin = *begin > x->source_at ? *begin : x->source_at;
    *end = fasc_least(*end, x->source_end);
    *begin = fasc_least(*begin, x->source_end);
    *end = *end > *begin ? *end : *begin;
}

/* Where all windows begin at one source they only grow; where all end at one, they do so backwards.
 */
static side side_of(const fasc_problem *p, bool rows)
{
    const fasc_attention_args *args = p->args;
    bool below = p->lo == -FASC_BAND_OPEN, above = p->hi == FASC_BAND_OPEN;
    side x = {.rows = rows};
    x.target = rows ? args->q : args->k;
    x.source = rows ? args->k : args->q;
    x.first = rows ? 0 : p->k0;
    x.last = rows ? p->seqlen_q : p->k1;
    x.source_at = rows ? p->k0 : p->q0;
    x.source_end = rows ? p->k1 : p->q1;
    x.reversed = rows ? above && !below : below && !above;
    if (!below && !above && p->hi >= p->lo) {
        x.room = fasc_least(p->hi - p->lo + 1, x.source_end - x.source_at);
    }
    return x;
}

/* What one item needs: the sums, the window's back, a vector, the front. */
static int64_t bytes_of(const fasc_problem *p, bool rows)
{
    side x = side_of(p, rows);
    int64_t doubles = x.last - x.first + (2 + x.room) * p->head_dim;
    return fasc_aligned(doubles * (int64_t)sizeof(double));
}

bool fasc_linear_sums_apply(const fasc_problem *problem)
{
    bool rows = problem->args->row_sum, columns = problem->args->col_sum_logits;
    return (rows || columns) && !problem->mask_data &&
           !(rows && bytes_of(problem, true) > MOST_FRONT) &&
           !(columns && bytes_of(problem, false) > MOST_FRONT);
}

int64_t fasc_linear_sums_bytes(const fasc_problem *problem)
{
    int64_t rows = problem->args->row_sum ? bytes_of(problem, true) : 0;
    int64_t columns = problem->args->col_sum_logits ? bytes_of(problem, false) : 0;
    return rows > columns ? rows : columns;
}

/* Query heads give row sums one by one; those of columns that are added up stay together. */
static int64_t row_items(const fasc_problem *p)
{
    return p->args->row_sum ? p->batch * p->heads_q : 0;
}

int64_t fasc_linear_sums_count(const fasc_problem *problem)
{
    return row_items(problem) +
           (problem->args->col_sum_logits ? problem->batch * problem->column_heads : 0);
}

/* ---- the window
 * ---------------------------------------------------------------------------------- */

static void load(const fasc_tensor *t, int64_t b, int64_t h, int64_t n, double *vector)
{
    fasc_load_f64(vector, fasc_row(t, b, h, n), t->dtype, t->stride[3], t->shape[3]);
}

/* A source by its place in the order that windows move in. */
static int64_t source_number(const side *x, int64_t n)
{
    return x->reversed ? x->source_end - 1 - n : x->source_at + n;
}

/* The whole window, [begin, end), becomes the front. */
static void turn(const side *x, int64_t b, int64_t h, window *w)
{
    w->front_begin = w->begin;
    w->front_end = w->end;
    for (int64_t n = w->end - 1; n >= w->begin; n--) {
        double *sum = w->front + (n - w->front_begin) * w->dims;
        load(x->source, b, h, source_number(x, n), sum);
        for (int64_t d = 0; n < w->end - 1 && d < w->dims; d++) {
            sum[d] += sum[w->dims + d];
        }
    }
    memset(w->back, 0, (size_t)w->dims * sizeof *w->back);
}

/* Moves on to [begin, end), neither of which ever goes back. */
static void move(const side *x, int64_t b, int64_t h, int64_t begin, int64_t end, window *w)
{
    if (begin >= w->end) { /* nothing of the old one stays */
        w->end = w->front_begin = w->front_end = begin;
        memset(w->back, 0, (size_t)w->dims * sizeof *w->back);
    }
    w->begin = begin;
    if (begin > w->front_end) {
        turn(x, b, h, w);
    }
    for (; w->end < end; w->end++) {
        load(x->source, b, h, source_number(x, w->end), w->vector);
        for (int64_t d = 0; d < w->dims; d++) {
            w->back[d] += w->vector[d];
        }
    }
}

/* The sum of the window with vector n of the target. */
static double product(const side *x, int64_t b, int64_t h, int64_t n, const window *w)
{
    double *vector = w->vector, sum = 0;
    const double *front =
        w->begin < w->front_end ? w->front + (w->begin - w->front_begin) * w->dims : NULL;
    load(x->target, b, h, n, vector);
    for (int64_t d = 0; d < w->dims; d++) {
        sum += vector[d] * (w->back[d] + (front ? front[d] : 0.0));
    }
    return sum;
}

/* ---- one item
 * ------------------------------------------------------------------------------------- */

/* Adds the sums of query head h and its key head; memory as bytes_of counts it. */
static void run_side(const fasc_problem *p, const side *x, int64_t b, int64_t h, double *sums,
                     fasc_stop *stop)
{
    int64_t hk = h / p->group, count = x->last - x->first;
    window w = {.dims = p->head_dim, .back = sums + count};
    w.vector = w.back + w.dims;
    w.front = w.vector + w.dims;
    for (int64_t step = 0; step < count && !fasc_stopped(stop); step++) {
        int64_t n = x->reversed ? x->last - 1 - step : x->first + step, begin, end;
        sources_of(p, x, n, &begin, &end);
        if (begin == end) {
            continue;
        }
        if (x->reversed) {
            move(x, b, x->rows ? hk : h, x->source_end - end, x->source_end - begin, &w);
        } else {
            move(x, b, x->rows ? hk : h, begin - x->source_at, end - x->source_at, &w);
        }
        sums[n - x->first] += p->scale * product(x, b, x->rows ? h : hk, n, &w);
    }
}

void fasc_linear_sums_run(const fasc_problem *problem, int64_t number, char *base, fasc_stop *stop)
{
    const fasc_problem *p = problem;
    double *sums = (double *)(void *)base;
    bool rows = number < row_items(p);
    side x = side_of(p, rows);
    fasc_tensor *t = rows ? p->args->row_sum : p->args->col_sum_logits;
    int64_t item = rows ? number : number - row_items(p),
            heads = rows ? p->heads_q : p->column_heads;
    int64_t b = item / heads, head = item % heads, together = p->heads_q / heads;
    memset(sums, 0, (size_t)(x.last - x.first) * sizeof *sums);
    for (int64_t h = head * together; h < (head + 1) * together; h++) {
        run_side(p, &x, b, h, sums, stop);
    }
    for (int64_t n = 0; n < x.last - x.first && !fasc_stopped(stop); n++) {
        *(float *)fasc_row(t, b, head, n) = (float)sums[n];
    }
}
