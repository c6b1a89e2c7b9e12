/* elementwise.c - copy, fill and arange on the CPU, for any dtypes and strides.
 *
 * A copy is cut into rows along the dimension that is densest in dst. Where src is densest along
 * another one (a transposition), rows are cut short and that dimension is walked first, so that the
 * cache lines which a row read are used up by the next ones. Threads share the rows. */
#include <omp.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/walk.h"
#include "dtype.h"
#include "threads.h"

enum {
    PIECE = 65536,         /* elements of a row that one step moves */
    LARGE_PIECE = 1 << 22, /* the same where nothing is converted */
    TILE = 64,             /* the same in a transposition */
    BUFFER = 1024,         /* elements on their way from one dtype to another */
    MAX_STEPS = FASC_MAX_RANK + 1
};

typedef struct plan plan;
typedef void (*row_function)(const plan *p, char *dst, const char *src, int64_t n);

struct plan {
    fasc_dtype dst_dtype, src_dtype;
    int64_t dst_stride, src_stride; /* along a row, in elements */
    int64_t length, piece;          /* elements of a row, and of one step along it */
    row_function row;
    /* The loops around a step, outermost first; `along` is the one over a row's pieces. */
    int32_t rank, along;
    int64_t shape[MAX_STEPS], dst_step[MAX_STEPS], src_step[MAX_STEPS]; /* bytes */
};

/* ---- rows ------------------------------------------------------------------- */

#define MOVE(type)                                                                                 \
    do {                                                                                           \
        type *to_ = (type *)(void *)dst;                                                           \
        const type *from_ = (const type *)(const void *)src;                                       \
        int64_t ds_ = p->dst_stride, ss_ = p->src_stride;                                          \
        for (int64_t i_ = 0; i_ < n; i_++) {                                                       \
            to_[i_ * ds_] = from_[i_ * ss_];                                                       \
        }                                                                                          \
    } while (0)

#define SPLAT(type)                                                                                \
    do {                                                                                           \
        type *to_ = (type *)(void *)dst, value_;                                                   \
        memcpy(&value_, src, sizeof value_);                                                       \
        for (int64_t i_ = 0; i_ < n; i_++) {                                                       \
            to_[i_] = value_;                                                                      \
        }                                                                                          \
    } while (0)

#define BY_SIZE(DO)                                                                                \
    switch (fasc_dtype_size(p->dst_dtype)) {                                                       \
    case 1:                                                                                        \
        DO(uint8_t);                                                                               \
        break;                                                                                     \
    case 2:                                                                                        \
        DO(uint16_t);                                                                              \
        break;                                                                                     \
    case 4:                                                                                        \
        DO(uint32_t);                                                                              \
        break;                                                                                     \
    default:                                                                                       \
        DO(uint64_t);                                                                              \
    }

static void row_same(const plan *p, char *dst, const char *src, int64_t n)
{
    if (p->dst_stride == 1 && p->src_stride == 1) {
        memcpy(dst, src, (size_t)n * fasc_dtype_size(p->dst_dtype));
    } else if (p->dst_stride == 1 && p->src_stride == 0) {
        BY_SIZE(SPLAT)
    } else {
        BY_SIZE(MOVE)
    }
}

/* Calls STEP for parts of at most BUFFER elements: `to` and `from` are their addresses, m their
 * number. */
#define IN_PARTS(STEP)                                                                             \
    do {                                                                                           \
        int64_t dst_bytes_ = p->dst_stride * (int64_t)fasc_dtype_size(p->dst_dtype);               \
        int64_t src_bytes_ = p->src_stride * (int64_t)fasc_dtype_size(p->src_dtype);               \
        for (int64_t i_ = 0; i_ < n; i_ += BUFFER) {                                               \
            int64_t m = n - i_ < BUFFER ? n - i_ : BUFFER;                                         \
            char *to = dst + i_ * dst_bytes_;                                                      \
            const char *from = src + i_ * src_bytes_;                                              \
            STEP;                                                                                  \
        }                                                                                          \
    } while (0)

/* Among f16, bf16 and f32: float32 holds all of them. */
static void row_f32(const plan *p, char *dst, const char *src, int64_t n)
{
    if (p->dst_dtype == FASC_F32 && p->dst_stride == 1) {
        fasc_load_f32((float *)(void *)dst, src, p->src_dtype, p->src_stride, n);
    } else if (p->src_dtype == FASC_F32 && p->src_stride == 1) {
        fasc_store_f32(dst, p->dst_dtype, p->dst_stride, (const float *)(const void *)src, n);
    } else {
        float part[BUFFER];
        IN_PARTS(fasc_load_f32(part, from, p->src_dtype, p->src_stride, m);
                 fasc_store_f32(to, p->dst_dtype, p->dst_stride, part, m));
    }
}

static void row_f64(const plan *p, char *dst, const char *src, int64_t n)
{
    double part[BUFFER];
    IN_PARTS(fasc_load_f64(part, from, p->src_dtype, p->src_stride, m);
             fasc_store_f64(to, p->dst_dtype, p->dst_stride, part, m));
}

/* An i64 as a float64 that a narrower float can be rounded from as if from the i64: bits past the
 * 53 that fit are cut off and leave a 1 in the last place. */
static double round_to_odd(int64_t x)
{
    const int64_t fits = (int64_t)1 << 53;
    if (x >= -fits && x <= fits) {
        return (double)x;
    }
    int64_t rest = x & 2047;
    return (double)(x - rest + (rest != 0 ? 1024 : 0));
}

static void row_i64_to_float(const plan *p, char *dst, const char *src, int64_t n)
{
    double part[BUFFER];
    IN_PARTS(for (int64_t i = 0; i < m; i++) {
        part[i] = round_to_odd(((const int64_t *)(const void *)from)[i * p->src_stride]);
    } fasc_store_f64(to, p->dst_dtype, p->dst_stride, part, m));
}

static int64_t load_integer(const char *p, fasc_dtype dtype)
{
    return dtype == FASC_I64   ? *(const int64_t *)(const void *)p
           : dtype == FASC_I32 ? *(const int32_t *)(const void *)p
                               : *(const uint8_t *)p;
}

static void store_integer(char *p, fasc_dtype dtype, int64_t x)
{
    if (dtype == FASC_I64) {
        *(int64_t *)(void *)p = x;
    } else if (dtype == FASC_I32) {
        *(int32_t *)(void *)p = (int32_t)(x < INT32_MIN   ? INT32_MIN
                                          : x > INT32_MAX ? INT32_MAX
                                                          : x);
    } else {
        *(uint8_t *)p = (uint8_t)(x < 0 ? 0 : x > UINT8_MAX ? UINT8_MAX : x);
    }
}

static void row_integers(const plan *p, char *dst, const char *src, int64_t n)
{
    int64_t dst_bytes = p->dst_stride * (int64_t)fasc_dtype_size(p->dst_dtype);
    int64_t src_bytes = p->src_stride * (int64_t)fasc_dtype_size(p->src_dtype);
    for (int64_t i = 0; i < n; i++) {
        store_integer(dst + i * dst_bytes, p->dst_dtype,
                      load_integer(src + i * src_bytes, p->src_dtype));
    }
}

static row_function choose_row(fasc_dtype dst, fasc_dtype src)
{
    bool dst_float = fasc_dtype_is_float(dst), src_float = fasc_dtype_is_float(src);
    if (dst == src) {
        return row_same;
    }
    if (dst_float && src_float && dst != FASC_F64 && src != FASC_F64) {
        return row_f32;
    }
    if (!dst_float && !src_float) {
        return row_integers;
    }
    return src == FASC_I64 && dst != FASC_F64 ? row_i64_to_float : row_f64;
}

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

/* The dimension along which src is densest, if that is not the last: -1. */
static int32_t transposed(const dimension *d, int32_t rank)
{
    int32_t best = rank - 1;
    for (int32_t i = 0; i < rank - 1; i++) {
        if (d[i].src < d[best].src && d[i].size >= 4) {
            best = i;
        }
    }
    return best == rank - 1 || d[rank - 1].size < 4 || d[best].src == 0 ? -1 : best;
}

static void add_loop(plan *p, int64_t size, int64_t dst_step, int64_t src_step)
{
    p->shape[p->rank] = size;
    p->dst_step[p->rank] = dst_step * (int64_t)fasc_dtype_size(p->dst_dtype);
    p->src_step[p->rank++] = src_step * (int64_t)fasc_dtype_size(p->src_dtype);
}

static plan make_plan(const fasc_tensor *src, const fasc_tensor *dst, int threads)
{
    dimension d[FASC_MAX_RANK];
    int32_t rank = gather(src, dst, d), across = transposed(d, rank);
    dimension inner = d[rank - 1];
    plan p = {.dst_dtype = dst->dtype,
              .src_dtype = src->dtype,
              .dst_stride = inner.dst,
              .src_stride = inner.src,
              .length = inner.size,
              .piece = across >= 0 ? TILE : PIECE,
              .row = choose_row(dst->dtype, src->dtype)};
    /* memcpy and memset know best how to move much at once. */
    if (p.row == row_same && across < 0) {
        int64_t share = (inner.size + threads - 1) / threads;
        p.piece = share < PIECE ? PIECE : share > LARGE_PIECE ? LARGE_PIECE : share;
    }
    for (int32_t i = 0; i < rank - 1; i++) {
        if (i != across) {
            add_loop(&p, d[i].size, d[i].dst, d[i].src);
        }
    }
    p.along = p.rank;
    add_loop(&p, (inner.size + p.piece - 1) / p.piece, p.piece * inner.dst, p.piece * inner.src);
    if (across >= 0) {
        add_loop(&p, d[across].size, d[across].dst, d[across].src);
    }
    return p;
}

/* ---- running ---------------------------------------------------------------- */

/* Steps first .. end - 1 of the loops; false if it was canceled on the way. */
static bool run_steps(const plan *p, char *dst, const char *src, int64_t first, int64_t end)
{
    int64_t index[MAX_STEPS], rest = first;
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
        int64_t left = p->length - index[p->along] * p->piece;
        p->row(p, dst, src, left < p->piece ? left : p->piece);
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
    const int64_t chunks = (t->numel + BUFFER - 1) / BUFFER;
    bool done = true;
#pragma omp parallel for schedule(static) num_threads(fasc_threads_for(t->numel * 16)) \
    reduction(&& : done)
    for (int64_t c = 0; c < chunks; c++) {
        if (!done || fasc_stop_at(c)) {
            done = false;
            continue;
        }
        double part[BUFFER];
        int64_t first = c * BUFFER, n = t->numel - first < BUFFER ? t->numel - first : BUFFER;
        for (int64_t i = 0; i < n; i++) {
            part[i] = start + (double)(first + i) * step;
        }
        fasc_walk_store_f64(&walk, first, n, part);
    }
    return done ? FASC_OK : fasc_fail(FASC_ECANCELED, "tensor_arange: canceled");
}
