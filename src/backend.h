/* backend.h - what the core and its backends (cpu in libfasc, cuda in libfasc_cuda) share:
 * the inside of tensors and devices, a validated attention problem, and the table of
 * functions a backend serves. Internal: not installed. */
#ifndef FASC_BACKEND_H
#define FASC_BACKEND_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fasc.h"

#define FASC_MAX_RANK        8
#define FASC_BACKEND_VERSION 2u

/* ---- tensors and devices -------------------------------------------------- */

/* Memory that one or more tensors look into. `owned` storage is returned to the device when
 * the last reference goes. */
typedef struct fasc_storage {
    atomic_int refs;
    bool owned;
    void *data;
    size_t bytes;
    fasc_device *device;
    void *pages; /* of a file, unmapped when the last reference goes; NULL = none */
    size_t page_bytes;
} fasc_storage;

struct fasc_tensor {
    fasc_storage *storage;
    char *data; /* address of element (0, 0, ...) */
    fasc_dtype dtype;
    int32_t rank;
    int64_t shape[FASC_MAX_RANK];
    int64_t stride[FASC_MAX_RANK]; /* elements */
    int64_t numel;
};

struct fasc_device {
    const struct fasc_backend *backend;
    int32_t index;
    char name[32];
    void *impl;                                 /* the backend's own */
    atomic_llong live, peak, count, soft_limit; /* bytes and storages; see memory.c */
};

/* ---- attention's outputs -------------------------------------------------- */

/* ROW(NUMBER, name in fasc_attention_args, shape) for each, in the order in which they are named.
 */
#define FASC_OUTPUTS(ROW)                                                                          \
    ROW(OUT, out, LIKE_Q)                                                                          \
    ROW(LSE, lse, ROWS)                                                                            \
    ROW(ROW_MAX, row_max, ROWS)                                                                    \
    ROW(LOGITS, logits, SCORES)                                                                    \
    ROW(MASKED, masked, SCORES)                                                                    \
    ROW(PROBS, probs, SCORES)                                                                      \
    ROW(ENTROPY, entropy, ROWS)                                                                    \
    ROW(MEAN_DISTANCE, mean_distance, ROWS)                                                        \
    ROW(ROW_SUM, row_sum, ROWS)                                                                    \
    ROW(ROW_ARGMAX, row_argmax, ROWS)                                                              \
    ROW(TOPK_VALUES, topk_values, TOPK)                                                            \
    ROW(TOPK_INDICES, topk_indices, TOPK)                                                          \
    ROW(COL_SUM_PROBS, col_sum_probs, COLUMNS)                                                     \
    ROW(COL_SUM_LOGITS, col_sum_logits, COLUMNS)                                                   \
    ROW(COL_MAX_PROBS, col_max_probs, COLUMNS)                                                     \
    ROW(DIAG_SUM_PROBS, diag_sum_probs, DIAGONALS)                                                 \
    ROW(DIAG_SUM_LOGITS, diag_sum_logits, DIAGONALS)                                               \
    ROW(POOLED_MAX, pooled_max, TILES)                                                             \
    ROW(POOLED_MASS, pooled_mass, TILES)                                                           \
    ROW(MAX_LOGIT, max_logit, HEADS)

#define FASC_OUTPUT_ENUM(number, name, shape) FASC_OUTPUT_##number,
typedef enum fasc_output_number {
    FASC_OUTPUTS(FASC_OUTPUT_ENUM) FASC_OUTPUT_COUNT
} fasc_output_number;

#undef FASC_OUTPUT_ENUM

/* Sets of outputs: FASC_WANT(LSE) | FASC_WANT(PROBS). */
#define FASC_WANT(number) ((uint32_t)1 << FASC_OUTPUT_##number)
#define FASC_WANT_FORWARD ((uint32_t)0x3f) /* out to probs */
#define FASC_WANT_COLUMNS                                                                          \
    (FASC_WANT(COL_SUM_PROBS) | FASC_WANT(COL_SUM_LOGITS) | FASC_WANT(COL_MAX_PROBS))
#define FASC_WANT_DIAGONALS   (FASC_WANT(DIAG_SUM_PROBS) | FASC_WANT(DIAG_SUM_LOGITS))
#define FASC_WANT_TILES       (FASC_WANT(POOLED_MAX) | FASC_WANT(POOLED_MASS))
#define FASC_WANT_TOPK        (FASC_WANT(TOPK_VALUES) | FASC_WANT(TOPK_INDICES))
#define FASC_WANT_QUERY_RANGE (FASC_WANT_COLUMNS | FASC_WANT_DIAGONALS) /* who looks at it */
#define FASC_WANT_KEY_RANGE   (FASC_WANT_QUERY_RANGE | FASC_WANT(ROW_SUM))
#define FASC_WANT_ALL         (((uint32_t)1 << FASC_OUTPUT_COUNT) - 1)

/* ---- a validated attention problem ---------------------------------------- */

/* All structural masks are one band: query i sees key j iff i + lo <= j <= i + hi and
 * 0 <= j < Nk. No limit on a side is a value past any index. */
#define FASC_BAND_OPEN ((int64_t)1 << 60)

typedef struct fasc_problem {
    int64_t batch, heads_q, heads_k, seqlen_q, seqlen_k, head_dim;
    int64_t group; /* heads_q / heads_k: query head h reads key head h / group */
    int64_t lo, hi;
    bool banded; /* false: every query sees every key (as far as the band goes) */
    double scale;
    fasc_dtype dtype; /* of q, k and v */
    const fasc_attention_args *args;
    uint32_t wanted;        /* FASC_WANT of each output that args name */
    int64_t q0, q1, k0, k1; /* the ranges: queries [q0, q1), keys [k0, k1) */
    int64_t column_heads;   /* of col_*: heads_k with per_kv_head, else heads_q */
    int64_t topk;           /* k of topk_values and topk_indices; 0 if not wanted */
    int64_t tile;           /* edge of pooled tiles; 0 if not wanted */
    bool dropout;           /* keep a pair iff its fasc_dropout_word >= dropout_threshold */
    uint32_t dropout_threshold;
    float keep_scale; /* 1 / (1 - dropout_p) */
    /* args->mask with its broadcast dimensions at stride 0; data NULL without a mask */
    const void *mask_data;
    fasc_dtype mask_dtype;
    int64_t mask_stride[4];
} fasc_problem;

/* Keys that row i sees as far as the band says: [*begin, *end), empty when begin >= end. */
static inline void fasc_visible_range(const fasc_problem *p, int64_t i, int64_t *begin,
                                      int64_t *end)
{
    int64_t first = i + p->lo, last = i + p->hi;
    *begin = first <= 0 ? 0 : first < p->seqlen_k ? first : p->seqlen_k;
    *end = last < p->seqlen_k - 1 ? last + 1 : p->seqlen_k;
    if (*end < *begin) {
        *end = *begin;
    }
}

/* The first output that the problem wants beyond `served`, as the word for a refusal; NULL when
 * there is none. */
static inline const char *fasc_unserved(const fasc_problem *p, uint32_t served)
{
#define FASC_OUTPUT_NAME(number, name, shape) #name,
    static const char *const NAME[] = {FASC_OUTPUTS(FASC_OUTPUT_NAME)};
#undef FASC_OUTPUT_NAME
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        if (p->wanted & ~served & (uint32_t)1 << n) {
            return NAME[n];
        }
    }
    return NULL;
}

/* True if q or an output is f64: only the reference serves that. */
static inline bool fasc_problem_has_f64(const fasc_problem *p)
{
#define FASC_OUTPUT_TENSOR(number, name, shape) p->args->name,
    const fasc_tensor *const output[] = {FASC_OUTPUTS(FASC_OUTPUT_TENSOR)};
#undef FASC_OUTPUT_TENSOR
    bool found = p->dtype == FASC_F64;
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        found = found || (output[n] && output[n]->dtype == FASC_F64);
    }
    return found;
}

/* ---- a backend ------------------------------------------------------------ */

typedef struct fasc_rand_spec {
    uint64_t seed, stream;
    bool normal; /* false: uniform in [a, b); true: mean a, standard deviation b */
    float a, b;
} fasc_rand_spec;

/* Work that fasc_time repeats: enqueues one call on the device's stream. */
typedef fasc_status (*fasc_work)(void *context);

/* One sample: `batch` back-to-back calls of work, timed all together. */
typedef struct fasc_sample {
    fasc_work work;
    void *context;
    int32_t batch;
    bool cold;      /* empty the caches first, by reading */
    uint64_t graph; /* 0: queue the calls. Else capture them as a graph and replay it; samples of
                       one number and batch are replays of one graph */
    bool watch;     /* read the device's state while the calls run, where it has one */

    double seconds;          /* found: on the device */
    double host_seconds;     /* found: spent by the host in the calls */
    fasc_device_state state; /* found: where watched; its size is 0 where the device tells none */
} fasc_sample;

typedef struct fasc_backend {
    uint32_t version;
    const char *name; /* "cpu", "cuda" */

    /* Usable devices; on failure 0, and the reason as the error message. */
    fasc_status (*count)(int32_t *count);
    /* Fills device->impl for device->index, once. */
    fasc_status (*open)(fasc_device *device);
    fasc_status (*info)(fasc_device *device, fasc_device_info *info);
    fasc_status (*synchronize)(fasc_device *device);

    /* Memory. release may be called while queued work still uses the block: a later alloc must
     * be ordered after that work. alloc of 0 bytes gives NULL. */
    fasc_status (*alloc)(fasc_device *device, size_t bytes, void **data);
    void (*release)(fasc_device *device, void *data, size_t bytes);
    fasc_status (*memory)(fasc_device *device, int64_t *cached, int64_t *free, int64_t *total);
    fasc_status (*trim)(fasc_device *device);
    /* Contiguous bytes between the host and the device; return when they have arrived. */
    fasc_status (*upload)(fasc_device *device, void *dst, const void *src, size_t bytes);
    fasc_status (*download)(fasc_device *device, void *dst, const void *src, size_t bytes);

    /* Element-wise work on tensors of this device: any dtype, any strides; never empty. */
    fasc_status (*copy)(const fasc_tensor *src, fasc_tensor *dst);
    fasc_status (*fill)(fasc_tensor *t, double value);
    fasc_status (*arange)(fasc_tensor *t, double start, double step);
    fasc_status (*rand)(fasc_tensor *t, const fasc_rand_spec *spec);
    fasc_status (*summarize)(const fasc_tensor *t, fasc_summary *summary);
    fasc_status (*compare)(const fasc_tensor *a, const fasc_tensor *b, fasc_difference *difference);
    fasc_status (*matmul)(const fasc_matmul_args *args);

    /* The i-th kernel, best first; false past the last. */
    bool (*kernel)(fasc_device *device, int32_t i, fasc_kernel_info *info);
    /* Chooses kernel and configuration for the problem, honouring args->kernel: fills the plan
     * except flops and bytes. FASC_EUNSUPPORTED with the reason when none can. */
    fasc_status (*plan)(fasc_device *device, const fasc_problem *problem,
                        fasc_attention_plan *plan);
    fasc_status (*run)(fasc_device *device, const fasc_problem *problem,
                       const fasc_attention_plan *plan);

    /* Kernels compiled at run time, see fasc_precompile and fasc_attention_inspect; NULL in a
     * backend that has none. precompile needs no device. */
    fasc_status (*precompile)(const char *archs, int32_t index, fasc_compile_report *report,
                              int32_t *count);
    fasc_status (*inspect)(fasc_device *device, const fasc_problem *problem,
                           const fasc_attention_plan *plan, int32_t index,
                           fasc_compile_report *report, int32_t *count);

    /* Takes a sample. */
    fasc_status (*sample)(fasc_device *device, fasc_sample *sample);
    /* FASC_EUNSUPPORTED where the device tells nothing; NULL in a backend whose devices never do.
     */
    fasc_status (*state)(fasc_device *device, fasc_device_state *state);
} fasc_backend;

/* ---- what the core offers its backends ------------------------------------- */

/* Sets this thread's error message (printf style) and returns status. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
fasc_status
fasc_fail(fasc_status status, const char *format, ...);
fasc_status fasc_vfail(fasc_status status, const char *format, va_list list);

/* The plugin is handed this table, since libfasc exports only fasc.h. */
typedef struct fasc_core {
    uint32_t version;
    fasc_status (*vfail)(fasc_status status, const char *format, va_list list);
    const char *(*last_error)(void);
    bool (*cancel_requested)(void);
} fasc_core;

/* The one symbol that libfasc_cuda.so exports. */
typedef const fasc_backend *(*fasc_backend_entry)(const fasc_core *core);
#define FASC_BACKEND_ENTRY "fasc_backend_entry_v1"

extern const fasc_backend fasc_cpu_backend;

#endif
