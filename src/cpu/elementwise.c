/* elementwise.c - copy, fill and arange on the CPU, for any dtypes and strides.
 *
 * A copy goes by rows along the dimension that is densest in dst. Where src is densest along
 * another one (a transposition), it goes by square tiles: each tile is read along src's rows into a
 * small buffer and written along dst's, so that no cache line is touched twice. Threads share the
 * rows or tiles. */
#include <omp.h>
#include <string.h>

#include "cpu/copy_row.h"
#include "cpu/cpu.h"
#include "cpu/walk.h"
#include "dtype.h"
#include "threads.h"

enum {
    PIECE = 65536,         /* elements of a row that one step moves */
    LARGE_PIECE = 1 << 22, /* the same where nothing is converted */
    TILE = 64,             /* a tile's sides */
    CHUNK = 1024,          /* elements of a range that are computed together */
    MAX_LOOPS = FASC_MAX_RANK + 2
};

/* ---- planning --------------------------------------------------------------- */

typedef struct dimension {
    int64_t size, dst, src; /* strides in elements */
} dimension;

/* The dimensions, densest in dst last; evenly spaced neighbours become one. At least one. */
static int32_t gather(const fasc_tensor *src, const fasc_tensor *dst, dimension *d)
{
    dimension sorted[FASC_MAX_RANK];
    int32_t n = 0, kept = 0;
    for (int32_t i = 0; i < dst->rank; i++) {
        if (dst->shape[i] == 1) {
            continue;
        }
        int32_t at = n++;
        for (; at > 0 && sorted[at - 1].dst < dst->stride[i]; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = (dimension){dst->shape[i], dst->stride[i], src->stride[i]};
    }
    for (int32_t i = 0; i < n; i++) {
        dimension *last = d + kept - 1, *next = sorted + i;
        if (kept > 0 && last->dst == next->size * next->dst &&
            last->src == next->size * next->src) {
            *last = (dimension){last->size * next->size, next->dst, next->src};
        } else {
            d[kept++] = *next;
        }
    }
    if (kept == 0) {
        d[kept++] = (dimension){1, 1, 1};
    }
    return kept;
}

/* The dimension along which src is densest; the last one where that does as well. */
static int32_t densest_in_src(const dimension *d, int32_t rank)
{
    int32_t last = rank - 1, best = last;
    for (int32_t i = 0; i < last; i++) {
        if (d[i].src < d[best].src && d[i].src > 0 && d[i].size >= 4) {
            best = i;
        }
    }
    return d[last].size >= 4 ? best : last;
}

/* A dimension that is cut into pieces, and the loop over them. */
typedef struct axis {
    int64_t size, piece;
    int32_t loop;
} axis;

typedef struct plan {
    bool tiled;
    axis along, across;    /* a row or tile: along dst's dense dimension, across it (tiles only) */
    fasc_copy_row row;     /* straight from src to dst */
    fasc_copy_row in, out; /* from src to a tile's buffer, and from there to dst */
    int64_t dst_across;    /* bytes in dst from one of a tile's rows to the next */
    int64_t src_along;     /* the same in src */
    /* The loops around a row or tile, outermost first, with their steps in bytes. */
    int32_t rank;
    int64_t shape[MAX_LOOPS], dst_step[MAX_LOOPS], src_step[MAX_LOOPS];
} plan;

static int64_t pieces(int64_t size, int64_t piece)
{
    return (size + piece - 1) / piece;
}

static int32_t add_loop(plan *p, int64_t count, int64_t dst_step, int64_t src_step)
{
    p->shape[p->rank] = count;
    p->dst_step[p->rank] = dst_step * (int64_t)fasc_dtype_size(p->row.dst_dtype);
    p->src_step[p->rank] = src_step * (int64_t)fasc_dtype_size(p->row.src_dtype);
    return p->rank++;
}

static axis cut_axis(plan *p, dimension d, int64_t piece)
{
    return (axis){d.size, piece, add_loop(p, pieces(d.size, piece), piece * d.dst, piece * d.src)};
}

static plan make_plan(const fasc_tensor *src, const fasc_tensor *dst, int threads)
{
    dimension d[FASC_MAX_RANK];
    int32_t rank = gather(src, dst, d), last = rank - 1, dense = densest_in_src(d, rank);
    dimension along = d[last], across = d[dense];
    plan p = {.tiled = dense != last,
              .row = fasc_copy_row_for(dst->dtype, along.dst, src->dtype, along.src),
              .in = fasc_copy_row_for(dst->dtype, 1, src->dtype, across.src),
              .out = fasc_copy_row_for(dst->dtype, along.dst, dst->dtype, TILE),
              .dst_across = across.dst * (int64_t)fasc_dtype_size(dst->dtype),
              .src_along = along.src * (int64_t)fasc_dtype_size(src->dtype)};
    for (int32_t i = 0; i < last; i++) {
        if (i != dense) {
            add_loop(&p, d[i].size, d[i].dst, d[i].src);
        }
    }
    if (p.tiled) {
        p.across = cut_axis(&p, across, TILE);
        p.along = cut_axis(&p, along, TILE);
        return p;
    }
    /* memcpy and memset know best how to move much at once. */
    int64_t most = p.row.plain ? LARGE_PIECE : PIECE, share = pieces(along.size, threads);
    p.along = cut_axis(&p, along, share < PIECE ? PIECE : share < most ? share : most);
    return p;
}

/* ---- running ---------------------------------------------------------------- */

static void move_tile(const plan *p, char *dst, const char *src, int64_t along, int64_t across)
{
    uint64_t buffer[TILE * TILE]; /* one row for each row of src */
    char *tile = (char *)buffer;
    int64_t size = (int64_t)fasc_dtype_size(p->row.dst_dtype);
    for (int64_t i = 0; i < along; i++) {
        p->in.move(&p->in, tile + i * TILE * size, src + i * p->src_along, across);
    }
    for (int64_t i = 0; i < across; i++) {
        p->out.move(&p->out, dst + i * p->dst_across, tile + i * size, along);
    }
}

/* How much of an axis the piece with this number holds. */
static int64_t length_of(const axis *a, int64_t number)
{
    int64_t left = a->size - number * a->piece;
    return left < a->piece ? left : a->piece;
}

/* Rows or tiles first .. end - 1; false if it was canceled on the way. */
static bool run_steps(const plan *p, char *dst, const char *src, int64_t first, int64_t end)
{
    int64_t index[MAX_LOOPS], rest = first;
    for (int32_t i = p->rank - 1; i >= 0; i--) {
        index[i] = rest % p->shape[i];
        rest /= p->shape[i];
        dst += index[i] * p->dst_step[i];
        src += index[i] * p->src_step[i];
    }
    for (int64_t step = first; step < end; step++) {
        if (fasc_stop_at(step - first)) {
            return false;
        }
        int64_t along = length_of(&p->along, index[p->along.loop]);
        if (p->tiled) {
            move_tile(p, dst, src, along, length_of(&p->across, index[p->across.loop]));
        } else {
            p->row.move(&p->row, dst, src, along);
        }
        int32_t i = p->rank - 1;
        for (; i > 0 && index[i] == p->shape[i] - 1; i--) {
            dst -= index[i] * p->dst_step[i];
            src -= index[i] * p->src_step[i];
            index[i] = 0;
        }
        index[i]++;
        dst += p->dst_step[i];
        src += p->src_step[i];
    }
    return true;
}

static fasc_status run(const char *call, const fasc_tensor *src, fasc_tensor *dst)
{
    int64_t bytes =
        dst->numel * (int64_t)(fasc_dtype_size(dst->dtype) + fasc_dtype_size(src->dtype));
    int threads = fasc_threads_for(bytes);
    const plan p = make_plan(src, dst, threads);
    int64_t steps = 1;
    for (int32_t i = 0; i < p.rank; i++) {
        steps *= p.shape[i];
    }
    bool done = true;
#pragma omp parallel num_threads(threads) reduction(&& : done)
    {
        int64_t team = omp_get_num_threads(), me = omp_get_thread_num();
        int64_t share = steps / team, more = steps % team;
        int64_t first = me * share + (me < more ? me : more);
        done = run_steps(&p, dst->data, src->data, first, first + share + (me < more));
    }
    return done ? FASC_OK : fasc_fail(FASC_ECANCELED, "%s: canceled", call);
}

fasc_status fasc_cpu_copy(const fasc_tensor *src, fasc_tensor *dst)
{
    return run("tensor_copy", src, dst);
}

/* A fill copies one element, of stride 0 in every dimension. */
fasc_status fasc_cpu_fill(fasc_tensor *t, double value)
{
    int64_t element;
    fasc_tensor one = *t;
    fasc_store_element(&element, t->dtype, value);
    one.data = (char *)&element;
    memset(one.stride, 0, sizeof one.stride);
    return run("tensor_fill", &one, t);
}

fasc_status fasc_cpu_arange(fasc_tensor *t, double start, double step)
{
    const fasc_walk walk = fasc_walk_over(t);
    const int64_t chunks = (t->numel + CHUNK - 1) / CHUNK;
    bool done = true;
#pragma omp parallel for schedule(static) num_threads(fasc_threads_for(t->numel * 16)) \
    reduction(&& : done)
    for (int64_t c = 0; c < chunks; c++) {
        if (!done || fasc_stop_at(c)) {
            done = false;
            continue;
        }
        double part[CHUNK];
        int64_t first = c * CHUNK, n = t->numel - first < CHUNK ? t->numel - first : CHUNK;
        for (int64_t i = 0; i < n; i++) {
            part[i] = start + (double)(first + i) * step;
        }
        fasc_walk_store_f64(&walk, first, n, part);
    }
    return done ? FASC_OK : fasc_fail(FASC_ECANCELED, "tensor_arange: canceled");
}
