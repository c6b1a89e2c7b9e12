/* test_matmul.c - matrix products against sums written out: dtypes, strides, batches, errors. */
#include <stdlib.h>

#include "dtype.h"
#include "test.h"

static fasc_device *cpu(void)
{
    fasc_device *device = NULL;
    CHECK_OK(fasc_device_open("cpu", &device));
    return device;
}

static fasc_tensor *tensor(fasc_dtype dtype, int32_t rank, const int64_t *shape,
                           const int64_t *stride, uint64_t seed)
{
    fasc_tensor *t = NULL, *view = NULL;
    int64_t span = 1;
    for (int32_t i = 0; stride && i < rank; i++) {
        span += (shape[i] - 1) * stride[i];
    }
    CHECK_OK(fasc_tensor_empty(cpu(), dtype, stride ? 1 : rank, stride ? &span : shape, &t));
    CHECK_OK(fasc_tensor_randn(t, seed, 0, 0, 1));
    if (stride) { /* a view, which the random numbers' own check of strides does not see */
        CHECK_OK(fasc_tensor_view(t, 0, rank, shape, stride, &view));
        fasc_tensor_free(t);
        return view;
    }
    return t;
}

/* Element (row, column) of matrix number n of a batch like out's. */
static double at(const fasc_tensor *t, const fasc_tensor *out, int64_t n, int64_t row,
                 int64_t column)
{
    int64_t where = row * t->stride[t->rank - 2] + column * t->stride[t->rank - 1];
    for (int32_t back = 3; back <= out->rank; back++) {
        int64_t index = n % out->shape[out->rank - back];
        n /= out->shape[out->rank - back];
        if (back <= t->rank && t->shape[t->rank - back] > 1) {
            where += index * t->stride[t->rank - back];
        }
    }
    return fasc_load_element(t->data + where * (int64_t)fasc_dtype_size(t->dtype), t->dtype);
}

/* out = alpha a b, within what the dtypes' rounding and float32 sums allow. Frees them. */
static void check_product(fasc_tensor *a, fasc_tensor *b, fasc_tensor *out, double alpha)
{
    fasc_matmul_args args = {.size = sizeof args, .a = a, .b = b, .out = out, .alpha = alpha};
    double unit = out->dtype == FASC_F16    ? 0x1p-11
                  : out->dtype == FASC_BF16 ? 0x1p-8
                  : out->dtype == FASC_F32  ? 0x1p-24
                                            : 0x1p-53;
    double sum_unit = a->dtype == FASC_F64 ? 0x1p-48 : 0x1p-19;
    int64_t rows = out->shape[out->rank - 2], columns = out->shape[out->rank - 1];
    int64_t inner = a->shape[a->rank - 1], wrong = 0;
    CHECK_OK(fasc_matmul(&args));
    for (int64_t n = 0; n < out->numel / (rows * columns); n++) {
        for (int64_t i = 0; i < rows * columns; i++) {
            double sum = 0, size = 0;
            for (int64_t k = 0; k < inner; k++) {
                double term = at(a, out, n, i / columns, k) * at(b, out, n, k, i % columns);
                sum += term;
                size += fabs(term);
            }
            double factor = alpha == 0 ? 1 : alpha;
            double error = fabs(at(out, out, n, i / columns, i % columns) - factor * sum);
            wrong += !(error <= unit * fabs(factor * sum) + sum_unit * fabs(factor) * size + 1e-8);
        }
    }
    CHECK(wrong == 0, "%lld of %lld elements are wrong (%s, %s)", (long long)wrong,
          (long long)out->numel, fasc_dtype_name(a->dtype), fasc_dtype_name(out->dtype));
    fasc_tensor_free(a);
    fasc_tensor_free(b);
    fasc_tensor_free(out);
}

static void every_dtype(void)
{
    static const fasc_dtype DTYPE[][2] = {
        {FASC_F16, FASC_F16}, {FASC_F16, FASC_F32}, {FASC_BF16, FASC_BF16}, {FASC_BF16, FASC_F32},
        {FASC_F32, FASC_F32}, {FASC_F64, FASC_F64}, {FASC_F64, FASC_F32}};
    const int64_t a_shape[] = {2, 3, 17, 40}, b_shape[] = {2, 3, 40, 9}, shape[] = {2, 3, 17, 9};
    for (size_t n = 0; n < sizeof DTYPE / sizeof *DTYPE; n++) {
        fasc_tensor *a = tensor(DTYPE[n][0], 4, a_shape, NULL, 1);
        fasc_tensor *b = tensor(DTYPE[n][0], 4, b_shape, NULL, 2);
        fasc_tensor *out = tensor(DTYPE[n][1], 4, shape, NULL, 3);
        check_product(a, b, out, n % 2 ? -0.5 : 0);
    }
}

/* Strides of a 2 x rows x columns tensor. */
static void strides(int kind, int64_t rows, int64_t columns, int64_t *stride)
{
    int64_t down = kind == 1 ? 1 : kind == 2 ? columns * 2 + 3 : columns;
    int64_t across = kind == 1 ? rows : kind == 2 ? 2 : 1;
    stride[0] = rows * columns * 2 + rows * 3 + 8;
    stride[1] = kind == 3 ? 0 : down; /* every row is the first */
    stride[2] = across;
}

static void every_layout(void)
{
    const int64_t a_shape[] = {2, 5, 7}, b_shape[] = {2, 7, 6}, shape[] = {2, 5, 6};
    for (int kinds = 0; kinds < 4 * 4 * 3; kinds++) {
        int64_t a_stride[3], b_stride[3], stride[3];
        strides(kinds % 4, 5, 7, a_stride);
        strides(kinds / 4 % 4, 7, 6, b_stride);
        strides(kinds / 16, 5, 6, stride);
        fasc_tensor *a = tensor(FASC_F32, 3, a_shape, a_stride, 1);
        fasc_tensor *b = tensor(FASC_F32, 3, b_shape, b_stride, 2);
        fasc_tensor *out = tensor(FASC_F32, 3, shape, stride, 3);
        check_product(a, b, out, 2);
    }
}

static void b_broadcasts(void)
{
    const int64_t a_shape[] = {3, 2, 4, 5}, shape[] = {3, 2, 4, 6};
    const int64_t b_shape[][4] = {{3, 1, 5, 6}, {1, 2, 5, 6}, {2, 5, 6, 0}, {1, 5, 6, 0}, {5, 6}};
    const int32_t b_rank[] = {4, 4, 3, 3, 2};
    for (int n = 0; n < 5; n++) {
        fasc_tensor *a = tensor(FASC_F32, 4, a_shape, NULL, 1);
        fasc_tensor *b = tensor(FASC_F32, b_rank[n], b_shape[n], NULL, 2);
        fasc_tensor *out = tensor(FASC_F32, 4, shape, NULL, 3);
        check_product(a, b, out, 0);
    }
}

static void odd_sizes(void)
{
    static const int64_t SIZE[][3] = {{1, 1, 1},   {1, 300, 1},   {1, 7, 130},
                                      {130, 1, 7}, {65, 129, 33}, {3, 4200, 2050}};
    for (size_t n = 0; n < sizeof SIZE / sizeof *SIZE; n++) {
        const int64_t m = SIZE[n][0], k = SIZE[n][1], c = SIZE[n][2];
        const int64_t a_shape[] = {m, k}, b_shape[] = {k, c}, shape[] = {m, c};
        fasc_tensor *a = tensor(FASC_F32, 2, a_shape, NULL, 1);
        fasc_tensor *b = tensor(FASC_F32, 2, b_shape, NULL, 2);
        fasc_tensor *out = tensor(FASC_F32, 2, shape, NULL, 3);
        check_product(a, b, out, 0);
    }
}

static void canceled(void)
{
    const int64_t shape[] = {8, 8};
    fasc_tensor *a = tensor(FASC_F32, 2, shape, NULL, 1), *b = tensor(FASC_F32, 2, shape, NULL, 2);
    fasc_tensor *out = tensor(FASC_F32, 2, shape, NULL, 3);
    fasc_matmul_args args = {.size = sizeof args, .a = a, .b = b, .out = out};
    fasc_cancel();
    CHECK_FAIL(fasc_matmul(&args), FASC_ECANCELED, "matmul: canceled");
    fasc_cancel_clear();
    CHECK_OK(fasc_matmul(&args));
    fasc_tensor_free(a);
    fasc_tensor_free(b);
    fasc_tensor_free(out);
}

static void sums_of_no_terms_are_0(void)
{
    const int64_t a_shape[] = {2, 0}, b_shape[] = {0, 3}, shape[] = {2, 3};
    fasc_tensor *a = tensor(FASC_F32, 2, a_shape, NULL, 1);
    fasc_tensor *b = tensor(FASC_F32, 2, b_shape, NULL, 2);
    fasc_tensor *out = tensor(FASC_F32, 2, shape, NULL, 3);
    check_product(a, b, out, 0);
}

static void arguments_are_checked(void)
{
    const int64_t square[] = {4, 4}, wide[] = {4, 5}, batch[] = {2, 4, 4}, none[] = {4, 0};
    fasc_tensor *a = tensor(FASC_F32, 2, square, NULL, 1),
                *b = tensor(FASC_F32, 2, square, NULL, 2);
    fasc_tensor *out = tensor(FASC_F32, 2, square, NULL, 3),
                *w = tensor(FASC_F32, 2, wide, NULL, 4);
    fasc_tensor *h = tensor(FASC_F16, 2, square, NULL, 5), *p = tensor(FASC_F32, 3, batch, NULL, 6);
    fasc_tensor *z = tensor(FASC_F32, 2, none, NULL, 7),
                *flat = tensor(FASC_F32, 1, square, NULL, 8);
    fasc_tensor *number = NULL;
    const struct {
        const fasc_tensor *a, *b;
        fasc_tensor *out;
        double alpha;
        const char *text;
    } wrong[] = {
        {NULL, b, out, 0, "matmul: a: is NULL"},
        {a, NULL, out, 0, "matmul: b: is NULL"},
        {a, b, NULL, 0, "matmul: out: is NULL"},
        {flat, b, out, 0, "matmul: a: shape [4] has rank 1, must be >= 2"},
        {a, h, out, 0, "matmul: b: dtype f16 differs from a's f32"},
        {w, b, out, 0, "matmul: b: 4 rows differ from a's 5 columns"},
        {a, b, out, NAN, "matmul: alpha: is nan, must be finite"},
        {a, p, out, 0, "matmul: b: batch of shape [2,4,4] does not broadcast to a's [4,4]"},
        {a, b, w, 0, "matmul: out: shape [4,5], must be [4,4]"},
        {a, b, h, 0, "matmul: out: dtype f16, must be f32"},
        {a, b, a, 0, "matmul: out: shares memory with a"},
        {a, z, out, 0, "matmul: out: shape [4,4], must be [4,0]"},
    };
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        fasc_matmul_args args = {.size = sizeof args,
                                 .a = wrong[n].a,
                                 .b = wrong[n].b,
                                 .out = wrong[n].out,
                                 .alpha = wrong[n].alpha};
        CHECK_FAIL(fasc_matmul(&args), FASC_EINVAL, wrong[n].text);
    }
    CHECK_OK(fasc_tensor_empty(cpu(), FASC_I32, 2, square, &number));
    fasc_matmul_args args = {.size = sizeof args, .a = number, .b = b, .out = out};
    CHECK_FAIL(fasc_matmul(&args), FASC_EINVAL,
               "matmul: a: dtype i32 is not one of f16, bf16, f32, f64");
    args.size = 3;
    CHECK_FAIL(fasc_matmul(&args), FASC_EINVAL, "matmul: args: size is 3");
    fasc_tensor *all[] = {a, b, out, w, h, p, z, flat, number};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++) {
        fasc_tensor_free(all[n]);
    }
}

TEST_MAIN(every_dtype, every_layout, b_broadcasts, odd_sizes, sums_of_no_terms_are_0, canceled,
          arguments_are_checked)
