/* test_attention_errors.c - every rule of attention's arguments, broken one at a time: the call
 * fails with one line that names argument, value and rule, and touches no output. Also the kernels'
 * list, plans, workspaces and cancellation. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "attention_cases.h"

static fasc_tensor *tensor(fasc_dtype dtype, int32_t rank, int64_t a, int64_t b, int64_t c,
                           int64_t d)
{
    const int64_t shape[4] = {a, b, c, d};
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(attention_cpu(), dtype, rank, shape, &t));
    return t;
}

static const attention_case SMALL = {.dtype = FASC_F32,
                                     .batch = 1,
                                     .hq = 4,
                                     .hk = 2,
                                     .nq = 6,
                                     .nk = 8,
                                     .dims = 16,
                                     .want = "olrLMP"};

/* The call fails so, and every output still holds POISON. */
static void fails(attention_run *r, fasc_status status, const char *text)
{
    CHECK_FAIL(fasc_attention(&r->args, NULL), status, text);
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        if (r->output[n].all) {
            const unsigned char *bytes = fasc_tensor_data(r->output[n].all);
            for (int64_t i = 0; i < r->output[n].all->numel; i++) {
                if (bytes[i] != POISON) {
                    CHECK(false, "%s: %s was written", text, fasc_outputs[n].name);
                    return;
                }
            }
        }
    }
}

/* Runs with one field of the arguments changed. */
#define WITH(change, status, text)                                                                 \
    do {                                                                                           \
        attention_run r = attention_run_new(&SMALL);                                               \
        fasc_attention_args *a = &r.args;                                                          \
        change;                                                                                    \
        fails(&r, (status), (text));                                                               \
        attention_run_free(&r);                                                                    \
    } while (0)

/* The same with a tensor in the place of one of the arguments. */
#define WITH_TENSOR(field, t, status, text)                                                        \
    do {                                                                                           \
        fasc_tensor *other = (t);                                                                  \
        WITH(a->field = other, status, text);                                                      \
        fasc_tensor_free(other);                                                                   \
    } while (0)

static void options_are_checked(void)
{
    WITH(a->size = 8, FASC_EINVAL, "attention: args: size is 8, must be ");
    WITH(a->causal = 2, FASC_EINVAL, "attention: causal: is 2, must be 0 or 1");
    WITH(a->align = 7, FASC_EINVAL,
         "attention: align: is 7, must be 0 (bottom-right) or 1 (top-left)");
    WITH(a->reserved = 1, FASC_EINVAL, "attention: reserved: is 1, must be 0");
    WITH(a->has_scale = 3, FASC_EINVAL, "attention: has_scale: is 3, must be 0 or 1");
    WITH((a->has_scale = 1, a->sm_scale = NAN), FASC_EINVAL,
         "attention: sm_scale: is nan, must be finite");
    WITH((a->has_scale = 1, a->sm_scale = -INFINITY), FASC_EINVAL,
         "attention: sm_scale: is -inf, must be finite");
    WITH((a->has_scale = 1, a->sm_scale = 1e39), FASC_EINVAL,
         "attention: sm_scale: 1e+39 is beyond what float32 holds");
    WITH((a->has_window = 1, a->window_left = -2), FASC_EINVAL,
         "attention: window_left: is -2, must be >= 0, or -1 for no limit");
    WITH((a->has_window = 1, a->window_right = -9), FASC_EINVAL, "attention: window_right: is -9");
    WITH(a->has_window = -1, FASC_EINVAL, "attention: has_window: is -1, must be 0 or 1");
    WITH(a->workspace_bytes = -1, FASC_EINVAL, "attention: workspace_bytes: is -1, must be >= 0");
    CHECK_FAIL(fasc_attention(NULL, NULL), FASC_EINVAL, "attention: args: is NULL");
}

static void inputs_are_checked(void)
{
    WITH(a->q = NULL, FASC_EINVAL, "attention: q: is NULL");
    WITH(a->k = NULL, FASC_EINVAL, "attention: k: is NULL");
    WITH(a->v = NULL, FASC_EINVAL, "attention: v: is NULL, but out is wanted");
    WITH_TENSOR(q, tensor(FASC_F32, 3, 4, 6, 16, 0), FASC_EINVAL,
                "attention: q: shape [4,6,16] has rank 3, must be 4: (batch, heads, length, "
                "head_dim)");
    WITH_TENSOR(k, tensor(FASC_F32, 4, 1, 2, 0, 16), FASC_EINVAL,
                "attention: k: shape [1,2,0,16] has a zero size");
    WITH_TENSOR(q, tensor(FASC_I32, 4, 1, 4, 6, 16), FASC_EINVAL,
                "attention: q: dtype i32 is not one of f16, bf16, f32, f64");
    WITH_TENSOR(k, tensor(FASC_F16, 4, 1, 2, 8, 16), FASC_EINVAL,
                "attention: k: dtype f16 differs from q's f32");
    WITH_TENSOR(v, tensor(FASC_BF16, 4, 1, 2, 8, 16), FASC_EINVAL,
                "attention: v: dtype bf16 differs from q's f32");
    WITH_TENSOR(k, tensor(FASC_F32, 4, 1, 2, 8, 12), FASC_EINVAL,
                "attention: k: head_dim 12 differs from q's 16");
    WITH_TENSOR(k, tensor(FASC_F32, 4, 2, 2, 8, 16), FASC_EINVAL,
                "attention: k: batch 2 differs from q's 1");
    WITH_TENSOR(k, tensor(FASC_F32, 4, 1, 3, 8, 16), FASC_EINVAL,
                "attention: q: heads 4 is not a multiple of k's 3");
    WITH_TENSOR(v, tensor(FASC_F32, 4, 1, 2, 7, 16), FASC_EINVAL,
                "attention: v: length 7 differs from k's 8");
    WITH_TENSOR(v, tensor(FASC_F32, 4, 1, 1, 8, 16), FASC_EINVAL,
                "attention: v: heads 1 differs from k's 2");
    WITH_TENSOR(v, tensor(FASC_F32, 4, 1, 2, 8, 32), FASC_EINVAL,
                "attention: v: head_dim 32 differs from k's 16");
}

static void masks_are_checked(void)
{
    WITH_TENSOR(mask, tensor(FASC_I32, 2, 6, 8, 0, 0), FASC_EINVAL,
                "attention: mask: dtype i32 is not one of u8, f16, bf16, f32, f64");
    WITH_TENSOR(mask, tensor(FASC_U8, 2, 6, 7, 0, 0), FASC_EINVAL,
                "attention: mask: shape [6,7] does not broadcast to [1,4,6,8]");
    WITH_TENSOR(mask, tensor(FASC_U8, 3, 2, 6, 8, 0), FASC_EINVAL,
                "attention: mask: shape [2,6,8] does not broadcast to [1,4,6,8]");
}

static void outputs_are_checked(void)
{
    const int64_t shape[4] = {1, 4, 6, 8}, overlapping[4] = {192, 48, 0, 1};
    fasc_tensor *view = NULL, *base = tensor(FASC_F32, 4, 1, 4, 6, 8);
    WITH((a->out = NULL, a->lse = NULL, a->row_max = NULL, a->logits = NULL, a->masked = NULL,
          a->probs = NULL),
         FASC_EINVAL,
         "attention: no output: give at least one of out, lse, row_max, logits, masked, probs or a "
         "statistic");
    WITH_TENSOR(out, tensor(FASC_F32, 4, 1, 4, 6, 8), FASC_EINVAL,
                "attention: out: shape [1,4,6,8], must be [1,4,6,16]");
    WITH_TENSOR(lse, tensor(FASC_F32, 4, 1, 4, 6, 1), FASC_EINVAL,
                "attention: lse: shape [1,4,6,1], must be [1,4,6]");
    WITH_TENSOR(probs, tensor(FASC_F32, 4, 1, 4, 6, 16), FASC_EINVAL,
                "attention: probs: shape [1,4,6,16], must be [1,4,6,8]");
    WITH_TENSOR(out, tensor(FASC_F16, 4, 1, 4, 6, 16), FASC_EINVAL,
                "attention: out: dtype f16, must be f32 (or f64 on the reference)");
    WITH_TENSOR(row_max, tensor(FASC_BF16, 3, 1, 4, 6, 0), FASC_EINVAL,
                "attention: row_max: dtype bf16, must be f32 (or f64 on the reference)");
    CHECK_OK(fasc_tensor_view(base, 0, 4, shape, overlapping, &view));
    WITH(a->logits = view, FASC_EINVAL,
         "attention: logits: stride[2] is 0, so elements share memory and cannot be written");
    WITH(a->probs = a->logits, FASC_EINVAL, "attention: probs: shares memory with logits");
    WITH(a->out = r.q, FASC_EINVAL, "attention: out: shares memory with q");
    fasc_tensor_free(view);
    fasc_tensor_free(base);
}

/* The statistics' options: each needs an output that looks at it. */
static void statistics_are_checked(void)
{
    WITH_TENSOR(entropy, tensor(FASC_F32, 4, 1, 4, 6, 1), FASC_EINVAL,
                "attention: entropy: shape [1,4,6,1], must be [1,4,6]");
    WITH_TENSOR(row_argmax, tensor(FASC_F32, 3, 1, 4, 6, 0), FASC_EINVAL,
                "attention: row_argmax: dtype f32, must be i32");
    WITH_TENSOR(row_sum, tensor(FASC_F16, 3, 1, 4, 6, 0), FASC_EINVAL,
                "attention: row_sum: dtype f16, must be f32 (or f64 on the reference)");
    WITH_TENSOR(topk_values, tensor(FASC_F32, 4, 1, 4, 6, 65), FASC_EINVAL,
                "attention: topk_values: shape [1,4,6,65], must be (batch, heads, queries, k) with "
                "k of 1 to 64");
    WITH_TENSOR(topk_indices, tensor(FASC_I32, 3, 1, 4, 6, 0), FASC_EINVAL,
                "attention: topk_indices: shape [1,4,6], must be (batch, heads, queries, k)");
    WITH_TENSOR(col_sum_probs, tensor(FASC_F32, 3, 1, 2, 8, 0), FASC_EINVAL,
                "attention: col_sum_probs: shape [1,2,8], must be [1,4,8]");
    WITH_TENSOR(diag_sum_logits, tensor(FASC_F32, 3, 1, 4, 14, 0), FASC_EINVAL,
                "attention: diag_sum_logits: shape [1,4,14], must be [1,4,13]");
    WITH_TENSOR(pooled_max, tensor(FASC_F32, 4, 1, 4, 3, 4), FASC_EINVAL,
                "attention: tile: is 0, must be >= 1 for pooled_max and pooled_mass");
    WITH_TENSOR(max_logit, tensor(FASC_F32, 1, 3, 0, 0, 0), FASC_EINVAL,
                "attention: max_logit: shape [3], must be [4]");
    WITH(a->tile = 4, FASC_EINVAL,
         "attention: tile: is 4, but neither pooled_max nor pooled_mass is wanted");
    WITH(a->tile = -1, FASC_EINVAL, "attention: tile: is -1, must be >= 0");
    WITH(a->per_kv_head = 1, FASC_EINVAL,
         "attention: per_kv_head: is 1, but no col_* output is wanted");
    WITH(a->per_kv_head = 2, FASC_EINVAL, "attention: per_kv_head: is 2, must be 0 or 1");
    WITH(a->query_begin = 1, FASC_EINVAL,
         "attention: query_begin, query_end: [1, 6) restricts no output that is wanted; it is for "
         "col_*, diag_*");
    WITH(a->key_end = 7, FASC_EINVAL,
         "attention: key_begin, key_end: [0, 7) restricts no output that is wanted; it is for "
         "col_*, diag_* and row_sum");
    WITH(a->query_end = 7, FASC_EINVAL,
         "attention: query_begin, query_end: [0, 7) is not a range within [0, 6)");
    WITH((a->key_begin = 5, a->key_end = 5), FASC_EINVAL,
         "attention: key_begin, key_end: [5, 5) is not a range within [0, 8)");
    WITH(a->dropout_p = 1, FASC_EINVAL, "attention: dropout_p: is 1, must be >= 0 and < 1");
    WITH(a->dropout_p = NAN, FASC_EINVAL, "attention: dropout_p: is nan, must be >= 0 and < 1");
    WITH((a->dropout_p = 0.5, a->out = NULL), FASC_EINVAL,
         "attention: dropout_p: is 0.5, but out, all that it affects, is not wanted");
    WITH(a->kernel.splits = -1, FASC_EINVAL, "attention: kernel.splits: is -1, must be >= 0");
    WITH((a->kernel.name = "naive", a->kernel.splits = 2), FASC_EUNSUPPORTED,
         "attention: kernel.splits: naive on cpu has no such setting");
}

static void kernels_are_checked(void)
{
    WITH(a->kernel.name = "flas", FASC_EINVAL,
         "attention: kernel: unknown name 'flas'; did you mean 'flash'?");
    WITH(a->kernel.name = "cudnn", FASC_EINVAL,
         "attention: kernel: unknown name 'cudnn'; cpu has flash, blas, naive, reference");
    WITH(a->kernel.arch = "avx3", FASC_EINVAL,
         "attention: kernel.arch: 'avx3' is not one of portable, avx2, avx512; did you mean avx2");
    WITH((a->kernel.name = "naive", a->kernel.arch = "avx2"), FASC_EUNSUPPORTED,
         "attention: kernel.arch: naive is plain C and has no avx2 path");
    WITH(a->kernel.block_m = 48, FASC_EINVAL,
         "attention: kernel.block_m: flash has no tile of 48; it has 16, 32, 64, 128, 256, 512");
    WITH(a->kernel.block_n = 1024, FASC_EINVAL,
         "attention: kernel.block_n: flash has no tile of 1024");
    WITH(a->kernel.block_m = -64, FASC_EINVAL, "attention: kernel.block_m: is -64, must be >= 0");
    WITH((a->kernel.name = "blas", a->kernel.block_n = 64), FASC_EUNSUPPORTED,
         "attention: kernel.block_n: blas on cpu has no such setting");
    WITH(a->kernel.stages = 2, FASC_EUNSUPPORTED,
         "attention: kernel.stages: flash on cpu has no such setting");
    WITH(a->kernel.warps = 4, FASC_EUNSUPPORTED,
         "attention: kernel.warps: flash on cpu has no such setting");
}

static void f64_runs_on_the_reference_only(void)
{
    attention_case c = SMALL;
    fasc_attention_plan plan = {.size = sizeof plan};
    c.dtype = FASC_F64;
    c.want = "oP";
    attention_run r = attention_run_new(&c);
    CHECK_OK(fasc_attention(&r.args, &plan));
    CHECK(strcmp(plan.kernel, "reference") == 0, "%s", plan.kernel);
    CHECK(strcmp(plan.reason, "flash computes in float32 and serves no f64") == 0, "%s",
          plan.reason);
    r.args.kernel.name = "flash";
    CHECK_FAIL(fasc_attention(&r.args, NULL), FASC_EUNSUPPORTED,
               "attention: kernel: flash computes in float32 and serves no f64; reference can");
    attention_run_free(&r);
}

static void kernels_are_described(void)
{
    static const char *const NAME[] = {"flash", "blas", "naive", "reference"};
    fasc_kernel_info info = {.size = sizeof info};
    for (int n = 0; n < 4; n++) {
        CHECK_OK(fasc_kernel_describe(attention_cpu(), n, &info));
        CHECK(strcmp(info.name, NAME[n]) == 0 && info.summary[0] && info.supports[0], "%s",
              info.name);
    }
    CHECK_FAIL(fasc_kernel_describe(attention_cpu(), 4, &info), FASC_EINVAL,
               "kernel_describe: index: 4 is no kernel of cpu");
    CHECK_FAIL(fasc_kernel_describe(attention_cpu(), -1, &info), FASC_EINVAL,
               "kernel_describe: index: -1 is no kernel of cpu");
    CHECK_FAIL(fasc_kernel_describe(NULL, 0, &info), FASC_EINVAL,
               "kernel_describe: device: is NULL");
    info.size = 4;
    CHECK_FAIL(fasc_kernel_describe(attention_cpu(), 0, &info), FASC_EINVAL,
               "kernel_describe: info: size is 4");
}

/* ---- plans --------------------------------------------------------------------------------- */

static void the_plan_counts_work(void)
{
    attention_run r = attention_run_new(&SMALL);
    fasc_attention_plan plan = {.size = sizeof plan};
    double full = 2.0 * 16 * 4 * 6 * 8, inputs = 4.0 * (4 * 6 * 16 + 2 * 2 * 8 * 16);
    double rows = 4.0 * 2 * 4 * 6, scores = 4.0 * 4 * 6 * 8, out = 4.0 * 4 * 6 * 16;
    CHECK_OK(fasc_attention_query(&r.args, &plan));
    CHECK(plan.flops == 2 * full, "%g flops, expected %g", plan.flops, 2 * full);
    CHECK(plan.bytes == inputs + out + rows + 3 * scores, "%g bytes", plan.bytes);
    r.args.causal = 1; /* queries 0..5 see 3..8 keys: 33 of 48 pairs; logits are whole */
    CHECK_OK(fasc_attention_query(&r.args, &plan));
    CHECK(plan.flops == full + full * 33 / 48, "%g flops", plan.flops);
    r.args.logits = NULL;
    r.args.out = NULL;
    CHECK_OK(fasc_attention_query(&r.args, &plan));
    CHECK(plan.flops == full * 33 / 48, "%g flops", plan.flops);
    plan.size = 1;
    CHECK_FAIL(fasc_attention_query(&r.args, &plan), FASC_EINVAL, "attention: plan: size is 1");
    CHECK_FAIL(fasc_attention_query(&r.args, NULL), FASC_EINVAL, "attention: plan: is NULL");
    attention_run_free(&r);
}

static void flash_needs_little_memory_at_any_length(void)
{
    const int64_t shape[4] = {1, 8, 32768, 64}, stride[4] = {0, 0, 0, 1};
    fasc_tensor *base = tensor(FASC_F32, 1, 64, 0, 0, 0), *q = NULL, *out;
    fasc_attention_plan plan = {.size = sizeof plan};
    CHECK_OK(fasc_tensor_view(base, 0, 4, shape, stride, &q));
    out = tensor(FASC_F32, 4, 1, 8, 32768, 64);
    fasc_attention_args args = {.size = sizeof args, .q = q, .k = q, .v = q, .out = out};
    CHECK_OK(fasc_set_num_threads(2));
    CHECK_OK(fasc_attention_query(&args, &plan));
    CHECK_OK(fasc_set_num_threads(0));
    CHECK(strcmp(plan.kernel, "flash") == 0 && plan.workspace_bytes < 64 << 20, "%s: %lld bytes",
          plan.kernel, (long long)plan.workspace_bytes);
    fasc_tensor_free(q);
    fasc_tensor_free(out);
    fasc_tensor_free(base);
}

static void a_workspace_of_the_planned_size_is_enough(void)
{
    enum { BEYOND = 64 };
    for (int n = 0; n < ATTENTION_PATH_COUNT; n++) {
        if (!attention_path_present(&ATTENTION_PATHS[n])) {
            continue;
        }
        attention_case c = SMALL;
        c.mask = MASK_ADDED;
        c.dtype = FASC_F16;
        attention_run r = attention_run_new(&c);
        fasc_attention_plan plan = {.size = sizeof plan};
        r.args.kernel.name = ATTENTION_PATHS[n].name;
        r.args.kernel.arch = ATTENTION_PATHS[n].arch;
        CHECK_OK(fasc_attention_query(&r.args, &plan));
        size_t bytes = (size_t)plan.workspace_bytes;
        unsigned char *memory = malloc(bytes + 1 + BEYOND);
        memset(memory, POISON, bytes + 1 + BEYOND);
        r.args.workspace = memory + 1; /* of no alignment */
        r.args.workspace_bytes = plan.workspace_bytes - 1;
        CHECK_FAIL(fasc_attention(&r.args, NULL), FASC_EINVAL, "attention: workspace: has ");
        r.args.workspace_bytes = plan.workspace_bytes;
        attention_run_check(&c, &r);
        for (int i = 0; i < BEYOND; i++) {
            CHECK(memory[bytes + 1 + (size_t)i] == POISON, "%s: byte %d past the workspace",
                  plan.kernel, i);
        }
        free(memory);
        attention_run_free(&r);
    }
}

/* ---- cancellation -----------------------------------------------------------------------------
 */

static void canceled_before_it_begins(void)
{
    for (int n = 0; n < ATTENTION_PATH_COUNT; n++) {
        if (!attention_path_present(&ATTENTION_PATHS[n])) {
            continue;
        }
        attention_run r = attention_run_new(&SMALL);
        fasc_check_result result = {.size = sizeof result};
        r.args.kernel.name = ATTENTION_PATHS[n].name;
        r.args.kernel.arch = ATTENTION_PATHS[n].arch;
        fasc_cancel();
        CHECK_FAIL(fasc_attention(&r.args, NULL), FASC_ECANCELED, "attention: canceled");
        CHECK_FAIL(fasc_attention_check(&r.args, NULL, 0, &result), FASC_ECANCELED,
                   "attention_check: canceled");
        fasc_cancel_clear();
        attention_run_free(&r);
    }
}

/* What the thread beside a call looks at: some of the rows of its output. */
typedef struct watch {
    const fasc_tensor *out;
    atomic_bool over; /* the call has returned */
} watch;

static int64_t rows_untouched(const fasc_tensor *out)
{
    enum { STEP = 64 };
    int64_t untouched = 0, bytes = out->shape[3] * 4;
    for (int64_t row = 0; row < out->numel / out->shape[3]; row += STEP) {
        untouched += *(const volatile uint32_t *)(const void *)(out->data + row * bytes) == ~0u;
    }
    return untouched;
}

/* Cancels once the first rows are there. */
static void *cancel_in_flight(void *argument)
{
    watch *w = argument;
    int64_t all = rows_untouched(w->out);
    while (!atomic_load(&w->over) && rows_untouched(w->out) == all) {
        usleep(1000);
    }
    fasc_cancel();
    return NULL;
}

/* On two threads each of these takes seconds, on any machine. */
static void canceled_while_it_runs(void)
{
    static const char *const NAME[] = {"flash", "naive", "reference", "blas"};
    attention_case c = {.dtype = FASC_F32,
                        .batch = 1,
                        .hq = 128,
                        .hk = 1,
                        .nq = 4096,
                        .nk = 4096,
                        .dims = 64,
                        .want = "o"};
    attention_run r = attention_run_new(&c);
    guarded *out = &r.output[0];
    CHECK_OK(fasc_set_num_threads(2));
    for (size_t n = 0; n < sizeof NAME / sizeof *NAME; n++) {
        watch w = {.out = out->view};
        pthread_t thread;
        r.args.kernel.name = NAME[n];
        memset(fasc_tensor_data(out->all), POISON, (size_t)out->all->numel);
        CHECK(pthread_create(&thread, NULL, cancel_in_flight, &w) == 0, "no thread");
        CHECK_FAIL(fasc_attention(&r.args, NULL), FASC_ECANCELED, "attention: canceled");
        atomic_store(&w.over, true);
        pthread_join(thread, NULL);
        fasc_cancel_clear();
        CHECK(rows_untouched(out->view) > 0, "%s: ended when all was done", NAME[n]);
    }
    CHECK_OK(fasc_set_num_threads(0));
    attention_run_free(&r);
}

TEST_MAIN(options_are_checked, inputs_are_checked, masks_are_checked, outputs_are_checked,
          statistics_are_checked, kernels_are_checked, f64_runs_on_the_reference_only,
          kernels_are_described, the_plan_counts_work, flash_needs_little_memory_at_any_length,
          a_workspace_of_the_planned_size_is_enough, canceled_before_it_begins,
          canceled_while_it_runs)
