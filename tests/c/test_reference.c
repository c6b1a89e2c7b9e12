/* test_reference.c - the float64 reference against a formula written out here, element by element,
 * and fasc_attention_check against answers that are known to be right or wrong. */
#include <stdlib.h>

#include "dtype.h"
#include "test.h"

static fasc_device *cpu;

static fasc_tensor *tensor(fasc_dtype dtype, int32_t rank, int64_t a, int64_t b, int64_t c,
                           int64_t d)
{
    const int64_t shape[4] = {a, b, c, d};
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_device_open("cpu", &cpu));
    CHECK_OK(fasc_tensor_empty(cpu, dtype, rank, shape, &t));
    return t;
}

static double at(const fasc_tensor *t, int64_t a, int64_t b, int64_t c, int64_t d)
{
    double value = NAN;
    const int64_t index[4] = {a, b, c, d};
    CHECK_OK(fasc_tensor_get(t, index, &value));
    return value;
}

static void put(fasc_tensor *t, int64_t a, int64_t b, int64_t c, int64_t d, double value)
{
    int64_t n = a * t->stride[0] + b * t->stride[1] + c * t->stride[2];
    n += t->rank == 4 ? d * t->stride[3] : 0;
    fasc_store_element(t->data + n * (int64_t)fasc_dtype_size(t->dtype), t->dtype, value);
}

/* All six outputs of a problem in float64. */
typedef struct answers {
    fasc_tensor *q, *k, *v;
    fasc_attention_args args;
} answers;

static answers answers_new(fasc_dtype dtype, int64_t batch, int64_t hq, int64_t hk, int64_t nq,
                           int64_t nk, int64_t dims)
{
    answers x = {.args = {.size = sizeof x.args, .kernel.name = "reference"}};
    x.args.q = x.q = tensor(dtype, 4, batch, hq, nq, dims);
    x.args.k = x.k = tensor(dtype, 4, batch, hk, nk, dims);
    x.args.v = x.v = tensor(dtype, 4, batch, hk, nk, dims);
    CHECK_OK(fasc_tensor_randn(x.q, 1, 0, 0, 1));
    CHECK_OK(fasc_tensor_randn(x.k, 2, 0, 0, 1));
    CHECK_OK(fasc_tensor_randn(x.v, 3, 0, 0, 1));
    x.args.out = tensor(FASC_F64, 4, batch, hq, nq, dims);
    x.args.lse = tensor(FASC_F64, 3, batch, hq, nq, 0);
    x.args.row_max = tensor(FASC_F64, 3, batch, hq, nq, 0);
    x.args.logits = tensor(FASC_F64, 4, batch, hq, nq, nk);
    x.args.masked = tensor(FASC_F64, 4, batch, hq, nq, nk);
    x.args.probs = tensor(FASC_F64, 4, batch, hq, nq, nk);
    return x;
}

static void answers_free(answers *x)
{
    fasc_tensor *all[] = {x->q,           x->k,           x->v,
                          x->args.out,    x->args.lse,    x->args.row_max,
                          x->args.logits, x->args.masked, x->args.probs};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fasc_tensor_free(all[i]);
    }
}

static bool near(double x, double y)
{
    return x == y || fabs(x - y) <= 1e-12 * (1 + fabs(y));
}

/* The definition, one query at a time, straight from the text of fasc.h. */
static bool sees(const fasc_attention_args *a, int64_t i, int64_t j, int64_t nq, int64_t nk)
{
    int64_t place = a->align == FASC_ALIGN_TOP_LEFT ? i : i + nk - nq;
    bool window = !a->has_window || ((a->window_left < 0 || j >= place - a->window_left) &&
                                     (a->window_right < 0 || j <= place + a->window_right));
    return (!a->causal || j <= place) && window;
}

static void check_query(const answers *x, int64_t b, int64_t h, int64_t i)
{
    const fasc_attention_args *a = &x->args;
    int64_t nq = x->q->shape[2], nk = x->k->shape[2], dims = x->q->shape[3];
    int64_t hk = h / (x->q->shape[1] / x->k->shape[1]);
    double scale = a->has_scale ? a->sm_scale : 1 / sqrt((double)dims);
    double *s = malloc((size_t)nk * sizeof *s), largest = -INFINITY, sum = 0;
    for (int64_t j = 0; j < nk; j++) {
        double dot = 0;
        for (int64_t d = 0; d < dims; d++) {
            dot += at(x->q, b, h, i, d) * at(x->k, b, hk, j, d);
        }
        double logit = scale * dot;
        CHECK(near(at(a->logits, b, h, i, j), logit), "%g, expected %g", at(a->logits, b, h, i, j),
              logit);
        s[j] = sees(a, i, j, nq, nk) ? logit : -INFINITY;
        CHECK(near(at(a->masked, b, h, i, j), s[j]), "%g, expected %g", at(a->masked, b, h, i, j),
              s[j]);
        largest = fmax(largest, s[j]);
    }
    for (int64_t j = 0; j < nk; j++) {
        sum += s[j] == -INFINITY ? 0 : exp(s[j] - largest);
    }
    for (int64_t j = 0; j < nk; j++) {
        s[j] = s[j] == -INFINITY ? 0 : exp(s[j] - largest) / sum;
        CHECK(near(at(a->probs, b, h, i, j), s[j]), "%g, expected %g", at(a->probs, b, h, i, j),
              s[j]);
    }
    double lse = sum > 0 ? largest + log(sum) : -INFINITY;
    CHECK(near(at(a->lse, b, h, i, 0), lse), "%g, expected %g", at(a->lse, b, h, i, 0), lse);
    CHECK(near(at(a->row_max, b, h, i, 0), largest), "%g, expected %g", at(a->row_max, b, h, i, 0),
          largest);
    for (int64_t d = 0; d < dims; d++) {
        double out = 0;
        for (int64_t j = 0; j < nk; j++) {
            out += s[j] * at(x->v, b, hk, j, d);
        }
        CHECK(near(at(a->out, b, h, i, d), out), "%g, expected %g", at(a->out, b, h, i, d), out);
    }
    free(s);
}

static void check_answers(answers *x)
{
    fasc_check_result result = {.size = sizeof result};
    CHECK_OK(fasc_attention(&x->args, NULL));
    for (int64_t b = 0; b < x->q->shape[0]; b++) {
        for (int64_t h = 0; h < x->q->shape[1]; h++) {
            for (int64_t i = 0; i < x->q->shape[2]; i++) {
                check_query(x, b, h, i);
            }
        }
    }
    CHECK_OK(fasc_attention_check(&x->args, NULL, 0, &result));
    CHECK(result.entry_count == 6, "%d entries", result.entry_count);
    for (int n = 0; n < result.entry_count; n++) {
        CHECK(result.entry[n].failed == 0 && result.entry[n].max_share < 1e-3, "%s: share %g",
              result.entry[n].name, result.entry[n].max_share);
    }
}

static void the_reference_is_the_definition(void)
{
    static const fasc_dtype DTYPE[] = {FASC_F16, FASC_BF16, FASC_F32, FASC_F64};
    for (size_t n = 0; n < sizeof DTYPE / sizeof *DTYPE; n++) {
        answers x = answers_new(DTYPE[n], 2, 4, 2, 5, 7, 3);
        check_answers(&x);
        answers_free(&x);
    }
}

static void every_band_is_the_definition(void)
{
    static const int64_t LENGTH[][2] = {{1, 1}, {6, 6}, {3, 9}, {9, 3}};
    static const int64_t WINDOW[][2] = {{-1, -1}, {0, 0}, {2, -1}, {-1, 1}, {1, 2}};
    for (size_t n = 0; n < sizeof LENGTH / sizeof *LENGTH; n++) {
        for (int options = 0; options < 20; options++) {
            answers x = answers_new(FASC_F64, 1, 1, 1, LENGTH[n][0], LENGTH[n][1], 4);
            x.args.causal = options & 1;
            x.args.align = options >> 1 & 1;
            x.args.has_window = options >> 2 > 0;
            x.args.window_left = WINDOW[options >> 2][0];
            x.args.window_right = WINDOW[options >> 2][1];
            x.args.has_scale = 1;
            x.args.sm_scale = -0.7;
            check_answers(&x);
            answers_free(&x);
        }
    }
}

/* The number of failures that the check finds in one output. */
static int64_t failures(const answers *x, const char *name)
{
    fasc_check_result result = {.size = sizeof result};
    CHECK_OK(fasc_attention_check(&x->args, NULL, 0, &result));
    for (int n = 0; n < result.entry_count; n++) {
        if (strcmp(result.entry[n].name, name) == 0) {
            return result.entry[n].failed;
        }
    }
    return -1;
}

static void the_check_finds_a_wrong_element(void)
{
    static const double WRONG[] = {1.0, NAN, INFINITY, -INFINITY, 1e-4};
    answers x = answers_new(FASC_F32, 1, 2, 1, 4, 5, 8);
    CHECK_OK(fasc_attention(&x.args, NULL));
    struct {
        const char *name;
        fasc_tensor *t;
    } output[] = {{"out", x.args.out},       {"lse", x.args.lse},       {"row_max", x.args.row_max},
                  {"logits", x.args.logits}, {"masked", x.args.masked}, {"probs", x.args.probs}};
    for (size_t n = 0; n < sizeof output / sizeof *output; n++) {
        for (size_t w = 0; w < sizeof WRONG / sizeof *WRONG; w++) {
            double right = at(output[n].t, 0, 1, 2, 3);
            put(output[n].t, 0, 1, 2, 3, right + WRONG[w]);
            CHECK(failures(&x, output[n].name) == 1, "%s off by %g: %lld failures", output[n].name,
                  WRONG[w], (long long)failures(&x, output[n].name));
            put(output[n].t, 0, 1, 2, 3, right);
            CHECK(failures(&x, output[n].name) == 0, "%s", output[n].name);
        }
    }
    answers_free(&x);
}

static void the_check_names_the_worst_element_and_takes_rows(void)
{
    answers x = answers_new(FASC_F32, 1, 2, 1, 4, 5, 8);
    fasc_check_result result = {.size = sizeof result};
    const int64_t others[] = {0, 1, 3}, with[] = {2}, beyond[] = {4};
    CHECK_OK(fasc_attention(&x.args, NULL));
    put(x.args.logits, 0, 1, 2, 3, 100.0);
    CHECK_OK(fasc_attention_check(&x.args, others, 3, &result));
    CHECK(result.rows == 6 && result.entry[3].failed == 0, "%lld rows, %lld failed",
          (long long)result.rows, (long long)result.entry[3].failed);
    CHECK_OK(fasc_attention_check(&x.args, with, 1, &result));
    const fasc_check_entry *e = &result.entry[3];
    CHECK(e->failed == 1 && e->worst[1] == 1 && e->worst[2] == 2 && e->worst[3] == 3 &&
              e->worst_value == 100.0 && e->count == 10,
          "failed %lld at %lld,%lld,%lld", (long long)e->failed, (long long)e->worst[1],
          (long long)e->worst[2], (long long)e->worst[3]);
    CHECK_FAIL(fasc_attention_check(&x.args, beyond, 1, &result), FASC_EINVAL,
               "attention_check: rows[0]: 4 is not in 0 to 3");
    CHECK_FAIL(fasc_attention_check(&x.args, with, 0, &result), FASC_EINVAL,
               "attention_check: row_count: is 0, must be >= 1");
    answers_free(&x);
}

static void f16_overflow_is_what_rounding_gives(void)
{
    fasc_tensor *q = tensor(FASC_F16, 4, 1, 1, 1, 1), *k = tensor(FASC_F16, 4, 1, 1, 1, 1);
    fasc_tensor *logits = tensor(FASC_F16, 4, 1, 1, 1, 1);
    fasc_check_result result = {.size = sizeof result};
    fasc_attention_args args = {
        .size = sizeof args, .q = q, .k = k, .logits = logits, .kernel.name = "reference"};
    put(q, 0, 0, 0, 0, 65504);
    put(k, 0, 0, 0, 0, 1.0009765625);
    CHECK_OK(fasc_attention(&args, NULL));
    CHECK(at(logits, 0, 0, 0, 0) == INFINITY, "%g", at(logits, 0, 0, 0, 0));
    CHECK_OK(fasc_attention_check(&args, NULL, 0, &result));
    CHECK(result.entry[0].failed == 0, "share %g", result.entry[0].max_share);
    fasc_tensor_free(q);
    fasc_tensor_free(k);
    fasc_tensor_free(logits);
}

TEST_MAIN(the_reference_is_the_definition, every_band_is_the_definition,
          the_check_finds_a_wrong_element, the_check_names_the_worst_element_and_takes_rows,
          f16_overflow_is_what_rounding_gives)
