/* attention_cases.h - attention problems for tests: inputs in any layout, outputs that are poisoned
 * and guarded, and one call that runs a kernel and compares all it wrote with the reference. */
#ifndef FASC_ATTENTION_CASES_H
#define FASC_ATTENTION_CASES_H

#include <stdlib.h>

#include "cpu/isa.h"
#include "dtype.h"
#include "problem.h"
#include "test.h"

typedef enum layout {
    CONTIGUOUS, /* (B, H, N, D) in order */
    TRANSPOSED, /* (B, N, H, D) in memory */
    GAPPED,     /* every second element of rows that are longer than they need be */
    LAYOUTS
} layout;

typedef enum mask_kind {
    NO_MASK,
    MASK_U8,     /* (B, Hq, Nq, Nk) */
    MASK_KEYS,   /* u8 (Nk): the same for all queries */
    MASK_ADDED,  /* (Hq, Nq, Nk) in the inputs' dtype, some entries -inf */
    MASK_LOWEST, /* f32 (1, 1, Nq, Nk): 0 or the lowest finite number; some rows all lowest */
    MASKS
} mask_kind;

typedef struct attention_case {
    fasc_dtype dtype;
    int64_t batch, hq, hk, nq, nk, dims;
    int causal, align, has_window;
    int64_t left, right;
    double scale; /* 0 = the default */
    mask_kind mask;
    layout layout;
    fasc_dtype scores_dtype; /* 0 = dtype */
    const char *want; /* letters: o l r L M P for out, lse, row_max, logits, masked, probs, and
                         those in `wanted` below for the statistics */
    int64_t topk;     /* of t and T */
    int32_t tile;     /* of p and m */
    int64_t q0, q1, k0, k1; /* ranges */
    int per_kv_head;
    double dropout_p;
    uint64_t seed;
    uint32_t offset;
} attention_case;

typedef struct guarded {
    fasc_tensor *all, *view; /* a flat tensor of bytes, and the output inside it */
} guarded;

typedef struct attention_run {
    fasc_attention_args args;
    fasc_tensor *q, *k, *v, *mask;
    guarded output[FASC_OUTPUT_COUNT];
} attention_run;

enum { GUARD = 256, POISON = 0xff }; /* bytes of 0xff are NaN in every floating dtype */

static inline fasc_device *attention_cpu(void)
{
    fasc_device *cpu = NULL;
    CHECK_OK(fasc_device_open("cpu", &cpu));
    return cpu;
}

/* The element at (a, b, c, d), as many of these as t has dimensions. */
static inline double attention_value(const fasc_tensor *t, int64_t a, int64_t b, int64_t c,
                                     int64_t d)
{
    double value = NAN;
    const int64_t index[4] = {a, b, c, d};
    CHECK_OK(fasc_tensor_get(t, index, &value));
    return value;
}

/* Strides of a layout for shape (a, b, c, d); returns the elements spanned. */
static inline int64_t layout_strides(layout order, const int64_t *shape, int64_t *stride)
{
    int64_t step = order == GAPPED ? 2 : 1;
    int64_t row = shape[3] * step + (order == GAPPED ? 5 : 0);
    stride[3] = step;
    stride[2] = order == TRANSPOSED ? shape[1] * row : row;
    stride[1] = order == TRANSPOSED ? row : shape[2] * row;
    stride[0] = shape[1] * shape[2] * row;
    return shape[0] * stride[0];
}

static inline fasc_tensor *input_new(const attention_case *c, int64_t heads, int64_t length,
                                     uint64_t seed)
{
    const int64_t shape[4] = {c->batch, heads, length, c->dims};
    int64_t stride[4];
    fasc_tensor *t = NULL;
    layout_strides(c->layout, shape, stride);
    CHECK_OK(fasc_tensor_empty_strided(attention_cpu(), c->dtype, 4, shape, stride, &t));
    CHECK_OK(fasc_tensor_randn(t, seed, 0, 0, 1));
    return t;
}

/* An output whose every byte, and GUARD bytes on both sides, hold POISON. Rows of scores are
 * padded, as the library pads them. */
static inline guarded guarded_new(fasc_dtype dtype, int32_t rank, const int64_t *shape,
                                  layout order)
{
    guarded g = {0};
    int64_t stride[4], four[4] = {1, 1, 1, 1};
    int64_t size = (int64_t)fasc_dtype_size(dtype), pad = 16 / size;
    memcpy(four + 4 - rank, shape, (size_t)rank * sizeof *shape);
    int64_t padded[4] = {four[0], four[1], four[2], (four[3] + pad - 1) / pad * pad};
    int64_t bytes = layout_strides(order, rank == 4 ? padded : four, stride) * size + 2 * GUARD;
    CHECK_OK(fasc_tensor_empty(attention_cpu(), FASC_U8, 1, &bytes, &g.all));
    memset(fasc_tensor_data(g.all), POISON, (size_t)bytes);
    CHECK_OK(fasc_tensor_wrap(attention_cpu(), dtype, rank, shape, stride + 4 - rank,
                              (char *)fasc_tensor_data(g.all) + GUARD, &g.view));
    return g;
}

/* Bytes that no element covers still hold POISON. Changes what the elements hold. */
static inline void guarded_check(guarded *g, const char *name)
{
    int64_t shape[4] = {1, 1, 1, 1}, stride[4] = {0}, changed = 0;
    int32_t rank = g->view->rank;
    size_t size = fasc_dtype_size(g->view->dtype);
    memcpy(shape + 4 - rank, g->view->shape, (size_t)rank * sizeof *shape);
    memcpy(stride + 4 - rank, g->view->stride, (size_t)rank * sizeof *stride);
    for (int64_t n = 0; n < g->view->numel; n++) {
        int64_t at = 0, rest = n;
        for (int i = 3; i >= 0; i--) {
            at += rest % shape[i] * stride[i];
            rest /= shape[i];
        }
        memset(g->view->data + at * (int64_t)size, POISON, size);
    }
    const unsigned char *bytes = fasc_tensor_data(g->all);
    for (int64_t n = 0; n < g->all->numel; n++) {
        changed += bytes[n] != POISON;
    }
    CHECK(changed == 0, "%lld bytes around %s were written", (long long)changed, name);
}

static inline fasc_tensor *mask_new(const attention_case *c)
{
    static const int32_t RANK[MASKS] = {0, 4, 1, 3, 4};
    const int64_t full[4] = {c->batch, c->hq, c->nq, c->nk};
    const fasc_dtype dtype[MASKS] = {0, FASC_U8, FASC_U8, c->dtype, FASC_F32};
    int64_t shape[4] = {1, 1, c->nq, c->nk};
    int32_t rank = RANK[c->mask];
    fasc_tensor *t = NULL, *noise = NULL;
    const int64_t *chosen = c->mask == MASK_LOWEST ? shape : full + 4 - rank;
    CHECK_OK(fasc_tensor_empty(attention_cpu(), dtype[c->mask], rank, chosen, &t));
    CHECK_OK(fasc_tensor_empty(attention_cpu(), FASC_F32, rank, chosen, &noise));
    CHECK_OK(fasc_tensor_rand(noise, 77, 0, 0, 1));
    const float *u = fasc_tensor_data(noise);
    size_t size = fasc_dtype_size(t->dtype);
    for (int64_t n = 0; n < t->numel; n++) {
        double x = u[n] < 0.4f ? 0.0 : 1.0;
        if (c->mask == MASK_ADDED) {
            x = u[n] < 0.3f ? -INFINITY : 4.0 * (double)u[n] - 2.0;
        } else if (c->mask == MASK_LOWEST) {
            x = u[n] < 0.4f || n / c->nk % 5 == 2 ? -0x1.fffffep127 : 0.0;
        }
        fasc_store_element(t->data + n * (int64_t)size, t->dtype, x);
    }
    fasc_tensor_free(noise);
    return t;
}

static inline bool wanted(const attention_case *c, int n)
{
    static const char LETTER[FASC_OUTPUT_COUNT] = {
        [FASC_OUTPUT_OUT] = 'o',
        [FASC_OUTPUT_LSE] = 'l',
        [FASC_OUTPUT_ROW_MAX] = 'r',
        [FASC_OUTPUT_LOGITS] = 'L',
        [FASC_OUTPUT_MASKED] = 'M',
        [FASC_OUTPUT_PROBS] = 'P',
        [FASC_OUTPUT_ENTROPY] = 'e',
        [FASC_OUTPUT_MEAN_DISTANCE] = 'd',
        [FASC_OUTPUT_ROW_SUM] = 's',
        [FASC_OUTPUT_ROW_ARGMAX] = 'a',
        [FASC_OUTPUT_TOPK_VALUES] = 't',
        [FASC_OUTPUT_TOPK_INDICES] = 'T',
        [FASC_OUTPUT_COL_SUM_PROBS] = 'c',
        [FASC_OUTPUT_COL_SUM_LOGITS] = 'C',
        [FASC_OUTPUT_COL_MAX_PROBS] = 'x',
        [FASC_OUTPUT_DIAG_SUM_PROBS] = 'g',
        [FASC_OUTPUT_DIAG_SUM_LOGITS] = 'G',
        [FASC_OUTPUT_POOLED_MAX] = 'p',
        [FASC_OUTPUT_POOLED_MASS] = 'm',
        [FASC_OUTPUT_MAX_LOGIT] = 'h',
    };
    return strchr(c->want, LETTER[n]) != NULL;
}

static inline attention_run attention_run_new(const attention_case *c)
{
    attention_run r = {.args = {.size = sizeof r.args}};
    r.q = input_new(c, c->hq, c->nq, 1);
    r.k = input_new(c, c->hk, c->nk, 2);
    r.v = input_new(c, c->hk, c->nk, 3);
    r.mask = c->mask ? mask_new(c) : NULL;
    r.args.q = r.q;
    r.args.k = r.k;
    r.args.v = r.v;
    r.args.mask = r.mask;
    r.args.causal = c->causal;
    r.args.align = c->align;
    r.args.has_window = c->has_window;
    r.args.window_left = c->left;
    r.args.window_right = c->right;
    r.args.has_scale = c->scale != 0;
    r.args.sm_scale = c->scale;
    r.args.tile = c->tile;
    r.args.query_begin = c->q0;
    r.args.query_end = c->q1;
    r.args.key_begin = c->k0;
    r.args.key_end = c->k1;
    r.args.per_kv_head = c->per_kv_head;
    r.args.dropout_p = c->dropout_p;
    r.args.seed = c->seed;
    r.args.dropout_offset = c->offset;
    const fasc_problem sizes = {.batch = c->batch,
                                .heads_q = c->hq,
                                .seqlen_q = c->nq,
                                .seqlen_k = c->nk,
                                .head_dim = c->dims,
                                .topk = c->topk,
                                .tile = c->tile,
                                .k0 = c->k0,
                                .k1 = c->k1 ? c->k1 : c->nk,
                                .column_heads = c->per_kv_head ? c->hk : c->hq};
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        const fasc_output *output = &fasc_outputs[n];
        fasc_output_shape kind = output->shape;
        int64_t shape[4];
        int32_t rank;
        if (!wanted(c, n)) {
            continue;
        }
        fasc_dtype dtype = fasc_output_is_index(output) ? FASC_I32
                           : c->dtype == FASC_F64       ? FASC_F64
                                                        : FASC_F32;
        if (kind == FASC_OUTPUT_LIKE_Q || kind == FASC_OUTPUT_SCORES) {
            dtype = kind == FASC_OUTPUT_SCORES && c->scores_dtype ? c->scores_dtype : c->dtype;
        }
        fasc_output_shape_of(&sizes, output, &rank, shape);
        r.output[n] =
            guarded_new(dtype, rank, shape, kind == FASC_OUTPUT_ROWS ? CONTIGUOUS : c->layout);
        memcpy((char *)&r.args + output->offset, &r.output[n].view, sizeof r.output[n].view);
    }
    return r;
}

static inline void attention_run_free(attention_run *r)
{
    fasc_tensor_free(r->q);
    fasc_tensor_free(r->k);
    fasc_tensor_free(r->v);
    fasc_tensor_free(r->mask);
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        fasc_tensor_free(r->output[n].view);
        fasc_tensor_free(r->output[n].all);
    }
}

/* "flash avx2 f16 B2 H4/2 N5x7 D3 causal want=o" */
static inline const char *attention_text(const attention_case *c, const attention_run *r)
{
    static char text[256];
    snprintf(text, sizeof text,
             "%s %s %dx%d %s B%lld H%lld/%lld N%lldx%lld D%lld causal=%d align=%d window=%lld,%lld "
             "mask=%d layout=%d scores=%d scale=%g want=%s",
             r->args.kernel.name, r->args.kernel.arch ? r->args.kernel.arch : "",
             r->args.kernel.block_m, r->args.kernel.block_n, fasc_dtype_name(c->dtype),
             (long long)c->batch, (long long)c->hq, (long long)c->hk, (long long)c->nq,
             (long long)c->nk, (long long)c->dims, c->causal, c->align,
             c->has_window ? (long long)c->left : -1, c->has_window ? (long long)c->right : -1,
             (int)c->mask, (int)c->layout, (int)c->scores_dtype, c->scale, c->want);
    return text;
}

static inline void attention_compare(const attention_case *c, attention_run *r)
{
    fasc_check_result result = {.size = sizeof result};
    CHECK_OK(fasc_attention_check(&r->args, NULL, 0, &result));
    for (int n = 0; n < result.entry_count; n++) {
        const fasc_check_entry *e = &result.entry[n];
        CHECK(e->failed == 0,
              "%s: %s: %lld of %lld wrong, worst %g times the bound at %lld,%lld,%lld,%lld: "
              "%.9g, reference %.9g",
              attention_text(c, r), e->name, (long long)e->failed, (long long)e->count,
              e->max_share, (long long)e->worst[0], (long long)e->worst[1], (long long)e->worst[2],
              (long long)e->worst[3], e->worst_value, e->worst_reference);
    }
}

/* Runs the kernel that r->args.kernel names and holds all it wrote to the reference. */
static inline void attention_run_check(const attention_case *c, attention_run *r)
{
    fasc_attention_plan plan = {.size = sizeof plan};
    fasc_status status = fasc_attention(&r->args, &plan);
    CHECK(status == FASC_OK, "%s: %s", attention_text(c, r), fasc_last_error());
    CHECK(strcmp(plan.kernel, r->args.kernel.name) == 0, "%s ran", plan.kernel);
    attention_compare(c, r);
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        if (r->output[n].view) {
            guarded_check(&r->output[n], fasc_outputs[n].name);
        }
    }
}

/* Every kernel with every instruction set that this processor has. */
typedef struct attention_path {
    const char *name, *arch;
} attention_path;

static const attention_path ATTENTION_PATHS[] = {
    {"flash", "portable"}, {"flash", "avx2"},  {"flash", "avx512"},   {"blas", "portable"},
    {"blas", "avx2"},      {"blas", "avx512"}, {"naive", "portable"}, {"reference", "portable"},
};

enum { ATTENTION_PATH_COUNT = sizeof ATTENTION_PATHS / sizeof *ATTENTION_PATHS };

static inline bool attention_path_present(const attention_path *path)
{
    fasc_isa isa;
    return fasc_isa_parse(path->arch, &isa) && isa <= fasc_cpu_isa_best();
}

static inline void attention_check_paths(const attention_case *c, int32_t block_m, int32_t block_n)
{
    for (int n = 0; n < ATTENTION_PATH_COUNT; n++) {
        const attention_path *path = &ATTENTION_PATHS[n];
        if (!attention_path_present(path)) {
            continue;
        }
        attention_run r = attention_run_new(c);
        r.args.kernel.name = path->name;
        r.args.kernel.arch = path->arch;
        if (strcmp(path->name, "flash") == 0) {
            r.args.kernel.block_m = block_m;
            r.args.kernel.block_n = block_n;
        }
        attention_run_check(c, &r);
        attention_run_free(&r);
    }
}

/* ---- what a series of cases changes in the n-th ------------------------------------------- */

static inline void nothing(attention_case *c, int n)
{
    (void)c;
    (void)n;
}

static inline void make_causal(attention_case *c, int n)
{
    c->causal = 1;
    c->align = n & 1;
}

static inline void make_window(attention_case *c, int n)
{
    static const int64_t WINDOW[][2] = {{0, 0}, {3, 5}, {-1, 20}, {20, -1}, {40, 0}, {1000, 1000}};
    c->has_window = 1;
    c->left = WINDOW[n % 6][0];
    c->right = WINDOW[n % 6][1];
    c->align = n / 2 & 1;
    c->causal = n / 4 & 1;
}

static inline void make_mask(attention_case *c, int n)
{
    c->mask = (mask_kind)(1 + n % (MASKS - 1));
    c->causal = n / 4 & 1;
    c->scale = n & 1 ? -0.3 : 0;
}

#endif
