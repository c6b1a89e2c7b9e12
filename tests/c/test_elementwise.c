/* test_elementwise.c - copy between all dtypes and layouts, fill, arange, summarize and compare on
 * the CPU, against the same thing done one element at a time. */
#include <stdlib.h>

#include "cpu/summary.h"
#include "dtype.h"
#include "test.h"

static fasc_device *cpu;
static const fasc_dtype DTYPE[] = {FASC_F16, FASC_BF16, FASC_F32, FASC_F64,
                                   FASC_I32, FASC_I64,  FASC_U8};
enum { DTYPES = sizeof DTYPE / sizeof *DTYPE };

static void open_cpu(void)
{
    CHECK_OK(fasc_device_open("cpu", &cpu));
}

static fasc_tensor *strided(fasc_dtype dtype, int32_t rank, const int64_t *shape,
                            const int64_t *stride)
{
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty_strided(cpu, dtype, rank, shape, stride, &t));
    return t;
}

static fasc_tensor *dense(fasc_dtype dtype, int32_t rank, const int64_t *shape)
{
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(cpu, dtype, rank, shape, &t));
    return t;
}

/* The address of the element with row-major number n. */
static char *place(const fasc_tensor *t, int64_t n)
{
    int64_t offset = 0;
    for (int32_t i = t->rank - 1; i >= 0; i--) {
        offset += n % t->shape[i] * t->stride[i];
        n /= t->shape[i];
    }
    return t->data + offset * (int64_t)fasc_dtype_size(t->dtype);
}

static double value_at(const fasc_tensor *t, int64_t n)
{
    return fasc_load_element(place(t, n), t->dtype);
}

/* ---- copying ------------------------------------------------------------------ */

/* Storage is filled with this byte first; what lies between a tensor's elements keeps it. */
enum { GAP = 0xa5 };

static bool gaps_untouched(const fasc_tensor *t)
{
    size_t size = fasc_dtype_size(t->dtype), bytes = t->storage->bytes;
    unsigned char *used = calloc(bytes, 1);
    for (int64_t n = 0; n < t->numel; n++) {
        memset(used + (place(t, n) - (char *)t->storage->data), 1, size);
    }
    bool untouched = true;
    for (size_t i = 0; i < bytes; i++) {
        untouched = untouched && (used[i] || ((unsigned char *)t->storage->data)[i] == GAP);
    }
    free(used);
    return untouched;
}

/* Numbers of all sizes and signs that the dtype can hold, NaN and infinities among them. */
static void set_varied(fasc_tensor *t)
{
    for (int64_t n = 0; n < t->numel; n++) {
        double x = ldexp((double)(n * 7919 % 2003) - 1000.5, (int)(n * 31 % 60) - 40);
        x = n % 53 == 7 ? NAN : n % 53 == 8 ? INFINITY : n % 53 == 9 ? -INFINITY : x;
        fasc_store_element(place(t, n), t->dtype, x);
    }
}

/* dst holds src, element by element. */
static void check_copied(const fasc_tensor *src, const fasc_tensor *dst, const char *what)
{
    size_t size = fasc_dtype_size(dst->dtype);
    int64_t wrong = 0;
    for (int64_t n = 0; n < src->numel; n++) {
        char wanted[8];
        if (src->dtype == dst->dtype) {
            memcpy(wanted, place(src, n), size);
        } else {
            fasc_store_element(wanted, dst->dtype, value_at(src, n));
        }
        double x = fasc_load_element(wanted, dst->dtype);
        wrong += memcmp(wanted, place(dst, n), size) != 0 && !(x != x && isnan(value_at(dst, n)));
    }
    CHECK(wrong == 0, "%s, %s to %s: %lld of %lld elements", what, fasc_dtype_name(src->dtype),
          fasc_dtype_name(dst->dtype), (long long)wrong, (long long)src->numel);
    CHECK(gaps_untouched(dst), "%s, %s to %s: wrote beside it", what, fasc_dtype_name(src->dtype),
          fasc_dtype_name(dst->dtype));
}

static void check_copy(fasc_dtype from, fasc_dtype to, int32_t rank, const int64_t *shape,
                       const int64_t *src_stride, const int64_t *dst_stride, const char *what)
{
    fasc_tensor *src = strided(from, rank, shape, src_stride);
    fasc_tensor *dst = strided(to, rank, shape, dst_stride);
    memset(src->storage->data, 0, src->storage->bytes);
    memset(dst->storage->data, GAP, dst->storage->bytes);
    set_varied(src);
    CHECK_OK(fasc_tensor_copy(src, dst));
    check_copied(src, dst, what);
    fasc_tensor_free(src);
    fasc_tensor_free(dst);
}

static void copy_converts_every_dtype_in_every_layout(void)
{
    static const int64_t SHAPE[] = {3, 5, 70};
    static const struct {
        const char *name;
        int64_t stride[3];
    } LAYOUT[] = {
        {"dense", {350, 70, 1}},     {"rows and columns exchanged", {350, 1, 5}},
        {"last first", {1, 210, 3}}, {"every second", {700, 140, 2}},
        {"padded", {500, 80, 1}},
    };
    enum { LAYOUTS = sizeof LAYOUT / sizeof *LAYOUT };
    static const int64_t BROADCAST[] = {0, 70, 1}, SCALAR[] = {0, 0, 0};
    for (int from = 0; from < DTYPES; from++) {
        for (int to = 0; to < DTYPES; to++) {
            for (int s = 0; s < LAYOUTS; s++) {
                for (int d = 0; d < LAYOUTS; d++) {
                    char what[96];
                    snprintf(what, sizeof what, "%s to %s", LAYOUT[s].name, LAYOUT[d].name);
                    check_copy(DTYPE[from], DTYPE[to], 3, SHAPE, LAYOUT[s].stride, LAYOUT[d].stride,
                               what);
                }
                check_copy(DTYPE[from], DTYPE[to], 3, SHAPE, BROADCAST, LAYOUT[s].stride,
                           "a broadcast dimension");
                check_copy(DTYPE[from], DTYPE[to], 3, SHAPE, SCALAR, LAYOUT[s].stride,
                           "one element");
            }
        }
    }
}

/* Past the sizes at which rows are cut, tiled, and shared among threads. */
static void large_copies_on_any_number_of_threads(void)
{
    static const int64_t LONG[] = {300001}, ONE[] = {1}, TWO[] = {2};
    static const int64_t WIDE[] = {2, 333, 517};
    static const int64_t ROWS[] = {333 * 517, 517, 1}, COLUMNS[] = {333 * 517, 1, 333};
    for (int threads = 1; threads <= 5; threads += 2) {
        CHECK_OK(fasc_set_num_threads(threads));
        check_copy(FASC_F32, FASC_F32, 1, LONG, ONE, ONE, "long");
        check_copy(FASC_F32, FASC_F16, 1, LONG, ONE, ONE, "long");
        check_copy(FASC_F16, FASC_BF16, 1, LONG, TWO, ONE, "long");
        check_copy(FASC_U8, FASC_F64, 1, LONG, ONE, TWO, "long");
        check_copy(FASC_F32, FASC_F32, 3, WIDE, ROWS, COLUMNS, "transposed");
        check_copy(FASC_F16, FASC_F32, 3, WIDE, COLUMNS, ROWS, "transposed");
        check_copy(FASC_F64, FASC_F64, 3, WIDE, COLUMNS, COLUMNS, "both transposed");
    }
    CHECK_OK(fasc_set_num_threads(0));
}

static void ranks_up_to_eight(void)
{
    static const int64_t SHAPE[] = {2, 3, 1, 2, 3, 2, 1, 3},
                         FORWARD[] = {1, 2, 6, 6, 12, 36, 72, 72};
    static const int64_t BACKWARD[] = {108, 36, 36, 18, 6, 3, 3, 1};
    check_copy(FASC_F32, FASC_F32, 8, SHAPE, FORWARD, BACKWARD, "rank 8");
    check_copy(FASC_F32, FASC_F64, 8, SHAPE, BACKWARD, FORWARD, "rank 8");
    check_copy(FASC_I32, FASC_F16, 0, SHAPE, FORWARD, FORWARD, "rank 0");
}

/* An integer to the nearest with `bits` significant bits, ties to even, in integer arithmetic. */
static double nearest_integer(int64_t x, int bits)
{
    uint64_t size = x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
    int cut = 0;
    while (size >> cut >> bits) {
        cut++;
    }
    if (cut > 0) {
        uint64_t rest = size & (((uint64_t)1 << cut) - 1), half = (uint64_t)1 << (cut - 1);
        size >>= cut;
        size += rest > half || (rest == half && size % 2 == 1);
    }
    double value = ldexp((double)size, cut);
    return x < 0 ? -value : value;
}

static void i64_is_rounded_once(void)
{
    static int64_t x[4000];
    int n = 0;
    for (int shift = 0; shift < 62; shift++) {
        for (int low = -3; low <= 3; low++) {
            for (int odd = 0; odd < 4; odd++) {
                /* Around half way between two neighbours in bf16 (8 bits) and f32 (24 bits). */
                int64_t lead = (int64_t)1 << shift;
                x[n++] = lead + (shift > 9 ? ((int64_t)(2 * odd + 1) << (shift - 8)) : odd) + low;
                x[n++] =
                    -(lead + (shift > 26 ? ((int64_t)(2 * odd + 1) << (shift - 24)) : odd) + low);
            }
        }
    }
    x[n++] = INT64_MAX;
    x[n++] = INT64_MIN;
    const int64_t shape[] = {n};
    static const struct {
        fasc_dtype dtype;
        int bits;
        double most;
    } TO[] = {{FASC_F16, 11, 65520},
              {FASC_BF16, 8, INFINITY},
              {FASC_F32, 24, INFINITY},
              {FASC_F64, 53, INFINITY}};
    fasc_tensor *src = NULL;
    CHECK_OK(fasc_tensor_wrap(cpu, FASC_I64, 1, shape, NULL, x, &src));
    for (size_t t = 0; t < sizeof TO / sizeof *TO; t++) {
        fasc_tensor *dst = dense(TO[t].dtype, 1, shape);
        CHECK_OK(fasc_tensor_copy(src, dst));
        for (int i = 0; i < n; i++) {
            double wanted = nearest_integer(x[i], TO[t].bits);
            wanted = fabs(wanted) >= TO[t].most ? copysign(INFINITY, wanted) : wanted;
            CHECK(value_at(dst, i) == wanted, "%s of %lld: %.17g, not %.17g",
                  fasc_dtype_name(TO[t].dtype), (long long)x[i], value_at(dst, i), wanted);
        }
        fasc_tensor_free(dst);
    }
    fasc_tensor_free(src);
}

static void integers_keep_all_their_bits(void)
{
    int64_t x[] = {INT64_MAX, INT64_MIN, ((int64_t)1 << 53) + 1, INT32_MAX, (int64_t)INT32_MAX + 1,
                   -1,        256};
    int64_t wide[7] = {0};
    int32_t i32[7] = {0};
    uint8_t u8[7] = {0};
    const int64_t shape[] = {7}, one[] = {1};
    fasc_tensor *src = NULL, *a = NULL, *b = NULL, *c = NULL;
    CHECK_OK(fasc_tensor_wrap(cpu, FASC_I64, 1, shape, one, x, &src));
    CHECK_OK(fasc_tensor_wrap(cpu, FASC_I64, 1, shape, one, wide, &a));
    CHECK_OK(fasc_tensor_wrap(cpu, FASC_I32, 1, shape, one, i32, &b));
    CHECK_OK(fasc_tensor_wrap(cpu, FASC_U8, 1, shape, one, u8, &c));
    CHECK_OK(fasc_tensor_copy(src, a));
    CHECK_OK(fasc_tensor_copy(src, b));
    CHECK_OK(fasc_tensor_copy(src, c));
    static const int32_t I32[] = {INT32_MAX, INT32_MIN, INT32_MAX, INT32_MAX, INT32_MAX, -1, 256};
    static const uint8_t U8[] = {255, 0, 255, 255, 255, 0, 255};
    CHECK(memcmp(x, wide, sizeof x) == 0, "i64 changed");
    CHECK(memcmp(I32, i32, sizeof I32) == 0, "i32 %d", i32[0]);
    CHECK(memcmp(U8, u8, sizeof U8) == 0, "u8 %d", u8[0]);
    fasc_tensor_free(src);
    fasc_tensor_free(a);
    fasc_tensor_free(b);
    fasc_tensor_free(c);
}

static fasc_tensor *view_of(const fasc_tensor *base, int64_t offset, int32_t rank,
                            const int64_t *shape, const int64_t *stride)
{
    fasc_tensor *view = NULL;
    CHECK_OK(fasc_tensor_view(base, offset, rank, shape, stride, &view));
    return view;
}

/* As if the source had been read whole before the first element was written. */
static void overlapping_copies_read_first(void)
{
    enum { N = 50 };
    const int64_t all[] = {N, N}, row[] = {N * N - 1}, turned[] = {1, N}, left[] = {N, N / 2};
    const int64_t rows[] = {N, 1};
    fasc_tensor *t = dense(FASC_F32, 2, all), *wanted = dense(FASC_F32, 2, all);
    fasc_difference d = {.size = sizeof d};

    CHECK_OK(fasc_tensor_arange(t, 0, 1));
    fasc_tensor *from = view_of(t, 0, 1, row, NULL), *to = view_of(t, 1, 1, row, NULL);
    CHECK_OK(fasc_tensor_copy(from, to));
    CHECK(value_at(t, 0) == 0 && value_at(t, 1) == 0 && value_at(t, N * N - 1) == N * N - 2, "%g",
          value_at(t, N * N - 1));
    fasc_tensor_free(from);
    fasc_tensor_free(to);

    CHECK_OK(fasc_tensor_arange(t, 0, 1));
    from = view_of(t, 0, 2, all, turned);
    CHECK_OK(fasc_tensor_copy(from, wanted));
    CHECK_OK(fasc_tensor_copy(from, t));
    CHECK_OK(fasc_tensor_compare(t, wanted, &d));
    CHECK(d.max_abs == 0, "transposed in place: %g at %lld", d.max_abs, (long long)d.max_abs_index);
    fasc_tensor_free(from);

    CHECK_OK(fasc_tensor_arange(t, 0, 1));
    from = view_of(t, 0, 2, left, rows);
    to = view_of(t, N / 2, 2, left, rows);
    CHECK_OK(fasc_tensor_copy(from, to));
    CHECK_OK(fasc_tensor_compare(from, to, &d));
    CHECK(d.max_abs == 0 && value_at(t, N - 1) == N / 2 - 1, "columns: %g", d.max_abs);
    CHECK_OK(fasc_tensor_copy(to, to));
    CHECK_OK(fasc_tensor_compare(from, to, &d));
    CHECK(d.max_abs == 0, "onto itself: %g", d.max_abs);
    fasc_tensor_free(from);
    fasc_tensor_free(to);
    fasc_tensor_free(t);
    fasc_tensor_free(wanted);
}

static void wrong_copies_are_refused(void)
{
    const int64_t shape[] = {4, 6}, other[] = {6, 4}, flat[] = {24}, none[] = {0, 1},
                  half[] = {3, 1};
    fasc_tensor *a = dense(FASC_F32, 2, shape), *b = dense(FASC_F32, 2, other);
    fasc_tensor *c = dense(FASC_F32, 1, flat), *d = strided(FASC_F32, 2, shape, none);
    fasc_tensor *e = strided(FASC_F32, 2, shape, half);
    CHECK_FAIL(fasc_tensor_copy(a, b), FASC_EINVAL,
               "tensor_copy: dst: shape [6,4] differs from src's [4,6]");
    CHECK_FAIL(fasc_tensor_copy(a, c), FASC_EINVAL, "dst: shape [24] differs from src's [4,6]");
    CHECK_FAIL(fasc_tensor_copy(a, d), FASC_EINVAL,
               "tensor_copy: dst: stride[0] is 0, so elements share memory and cannot be written");
    CHECK_FAIL(fasc_tensor_copy(a, e), FASC_EINVAL, "dst: stride[0] is 3");
    CHECK_FAIL(fasc_tensor_fill(d, 1), FASC_EINVAL, "tensor_fill: tensor: stride[0] is 0");
    CHECK_FAIL(fasc_tensor_copy(NULL, a), FASC_EINVAL, "tensor_copy: src: is NULL");
    CHECK_FAIL(fasc_tensor_copy(a, NULL), FASC_EINVAL, "tensor_copy: dst: is NULL");
    fasc_tensor_free(a);
    fasc_tensor_free(b);
    fasc_tensor_free(c);
    fasc_tensor_free(d);
    fasc_tensor_free(e);
}

/* ---- filling ------------------------------------------------------------------ */

static void fill_rounds_and_saturates(void)
{
    static const double VALUE[] = {0, -0.0, 1, -1.5, 0.1, 300, 1e5, -1e10, 1e300, INFINITY, NAN};
    const int64_t shape[] = {3, 41}, stride[] = {2, 9};
    for (int d = 0; d < DTYPES; d++) {
        for (size_t v = 0; v < sizeof VALUE / sizeof *VALUE; v++) {
            char wanted[8];
            size_t size = fasc_dtype_size(DTYPE[d]);
            fasc_tensor *t = strided(DTYPE[d], 2, shape, stride);
            memset(t->storage->data, GAP, t->storage->bytes);
            fasc_store_element(wanted, DTYPE[d], VALUE[v]);
            CHECK_OK(fasc_tensor_fill(t, VALUE[v]));
            for (int64_t n = 0; n < t->numel; n++) {
                CHECK(memcmp(wanted, place(t, n), size) == 0, "%s %g at %lld",
                      fasc_dtype_name(DTYPE[d]), VALUE[v], (long long)n);
            }
            CHECK(gaps_untouched(t), "%s: wrote beside it", fasc_dtype_name(DTYPE[d]));
            fasc_tensor_free(t);
        }
    }
}

static void large_fills_and_ranges(void)
{
    const int64_t shape[] = {1000003};
    for (int threads = 1; threads <= 3; threads++) {
        CHECK_OK(fasc_set_num_threads(threads));
        for (int d = 0; d < DTYPES; d++) {
            fasc_tensor *t = dense(DTYPE[d], 1, shape);
            fasc_summary s = {.size = sizeof s};
            CHECK_OK(fasc_tensor_fill(t, 3));
            CHECK_OK(fasc_tensor_summarize(t, &s));
            CHECK(s.min == 3 && s.max == 3 && s.sum == 3000009, "%s: %g to %g",
                  fasc_dtype_name(DTYPE[d]), s.min, s.max);
            CHECK_OK(fasc_tensor_arange(t, -7, 0.25));
            for (int64_t n = 0; n < shape[0]; n += 997) {
                char wanted[8];
                fasc_store_element(wanted, DTYPE[d], -7 + 0.25 * (double)n);
                CHECK(memcmp(wanted, place(t, n), fasc_dtype_size(DTYPE[d])) == 0, "%s at %lld",
                      fasc_dtype_name(DTYPE[d]), (long long)n);
            }
            fasc_tensor_free(t);
        }
    }
    CHECK_OK(fasc_set_num_threads(0));
}

/* ---- summarize ---------------------------------------------------------------- */

static fasc_tensor *wrapped(fasc_dtype dtype, int64_t n, void *data)
{
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_wrap(cpu, dtype, 1, &n, NULL, data, &t));
    return t;
}

static fasc_summary summary_of(const fasc_tensor *t)
{
    fasc_summary s = {.size = sizeof s};
    CHECK_OK(fasc_tensor_summarize(t, &s));
    return s;
}

static void summaries_count_what_is_not_finite(void)
{
    float mixed[] = {1, NAN, -2, INFINITY, 5, -INFINITY, NAN, 0.5f, 0}, nothing[] = {NAN, NAN};
    float infinite[] = {INFINITY, INFINITY};
    fasc_tensor *t = wrapped(FASC_F32, 9, mixed);
    fasc_summary s = summary_of(t);
    CHECK(s.count == 9 && s.nan_count == 2 && s.inf_count == 2, "%lld NaN, %lld inf",
          (long long)s.nan_count, (long long)s.inf_count);
    CHECK(s.min == -INFINITY && s.max == INFINITY, "%g to %g", s.min, s.max);
    CHECK(s.sum == 4.5 && s.mean == 0.9, "sum %g, mean %g", s.sum, s.mean);
    fasc_tensor_free(t);
    t = wrapped(FASC_F32, 2, nothing);
    s = summary_of(t);
    CHECK(s.nan_count == 2 && isnan(s.min) && isnan(s.max) && isnan(s.mean) && s.sum == 0, "%g",
          s.min);
    fasc_tensor_free(t);
    t = wrapped(FASC_F32, 2, infinite);
    s = summary_of(t);
    CHECK(s.inf_count == 2 && s.min == INFINITY && isnan(s.mean) && s.sum == 0, "%g", s.mean);
    fasc_tensor_free(t);
}

static void summaries_do_not_depend_on_threads(void)
{
    const int64_t shape[] = {517, 901};
    fasc_tensor *t = dense(FASC_F32, 2, shape);
    CHECK_OK(fasc_tensor_randn(t, 3, 0, 0.1, 1e3));
    CHECK_OK(fasc_set_num_threads(1));
    fasc_summary one = summary_of(t);
    long double sum = 0;
    for (int64_t n = 0; n < t->numel; n++) {
        sum += (long double)value_at(t, n);
    }
    CHECK(fabs(one.sum - (double)sum) < 1e-6, "%.17g, not %.17g", one.sum, (double)sum);
    for (int threads = 2; threads <= 7; threads++) {
        CHECK_OK(fasc_set_num_threads(threads));
        fasc_summary more = summary_of(t);
        CHECK(memcmp(&one, &more, sizeof one) == 0, "%d threads: %.17g, not %.17g", threads,
              more.sum, one.sum);
    }
    CHECK_OK(fasc_set_num_threads(0));
    fasc_tensor_free(t);
}

static void every_instruction_set_summarizes_alike(void)
{
    enum { N = 1024 };
    double x[N], y[N];
    for (int i = 0; i < N; i++) {
        x[i] = i % 97 == 5 ? NAN : i % 89 == 7 ? INFINITY : sin(i) * ldexp(1, i % 40);
        y[i] = i % 101 == 5 ? NAN : i % 89 == 7 ? INFINITY : x[i] * (1 + i * 1e-6);
    }
    for (int isa = 0; isa <= (int)fasc_cpu_isa(); isa++) {
        const fasc_summary_loops *a = fasc_summary_loops_for(FASC_ISA_PORTABLE);
        const fasc_summary_loops *b = fasc_summary_loops_for((fasc_isa)isa);
        fasc_summary_lanes s = {.sum = {0}}, t = s;
        fasc_difference_lanes d = {.max_abs = {0}}, e = d;
        a->summarize(&s, x, N);
        b->summarize(&t, x, N);
        a->compare(&d, x, y, N);
        b->compare(&e, x, y, N);
        CHECK(memcmp(&s, &t, sizeof s) == 0, "%s", fasc_isa_name((fasc_isa)isa));
        CHECK(memcmp(&d, &e, sizeof d) == 0, "%s", fasc_isa_name((fasc_isa)isa));
    }
}

/* ---- compare ------------------------------------------------------------------ */

static fasc_difference difference_of(const fasc_tensor *a, const fasc_tensor *b)
{
    fasc_difference d = {.size = sizeof d};
    CHECK_OK(fasc_tensor_compare(a, b, &d));
    return d;
}

static void comparisons_tell_gaps_from_mismatches(void)
{
    enum { N = 9 };
    static const struct {
        float a[N], b[N];
        int64_t mismatch, index;
        double max_abs, max_rel;
    } ROW[] = {
        {{0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 1, 2, 3, 4, 5, 6, 7, 8}, 0, 0, 0, 0},
        {{0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 1, 2, 4, 4, 5, 5, 7, 8}, 0, 3, 1, 0.25},
        {{0, 1, 2, 3, 4, 5, 6, 7, 8}, {9, 1, 2, 3, 4, 5, 8, 7, 8}, 0, 0, 9, 1},
        {{1, NAN, INFINITY, -INFINITY, 1, 1, 1, 1, 1},
         {1, NAN, INFINITY, -INFINITY, 1, 1, 1, 1, 3},
         0,
         8,
         2,
         2.0 / 3},
        {{1, NAN, INFINITY, -INFINITY, 1, 1, 1, 1, 9},
         {1, 2, -INFINITY, 1, NAN, INFINITY, 0, 1, 1},
         5,
         1,
         8,
         8},
    };
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
        float x[N], y[N];
        memcpy(x, ROW[i].a, sizeof x);
        memcpy(y, ROW[i].b, sizeof y);
        fasc_tensor *a = wrapped(FASC_F32, N, x), *b = wrapped(FASC_F32, N, y);
        fasc_difference d = difference_of(a, b);
        CHECK(d.count == N && d.mismatch == ROW[i].mismatch, "row %zu: %lld mismatches", i,
              (long long)d.mismatch);
        CHECK(d.max_abs == ROW[i].max_abs && d.max_abs_index == ROW[i].index, "row %zu: %g at %lld",
              i, d.max_abs, (long long)d.max_abs_index);
        CHECK(d.max_rel == ROW[i].max_rel, "row %zu: %g", i, d.max_rel);
        fasc_tensor_free(a);
        fasc_tensor_free(b);
    }
}

static void the_worst_pair_is_found_in_large_tensors(void)
{
    const int64_t shape[] = {700, 500}, turned[] = {1, 700};
    static const int64_t AT[] = {0, 1023, 1024, 65535, 65536, 200000, 349999};
    fasc_tensor *a = dense(FASC_F32, 2, shape), *b = strided(FASC_F64, 2, shape, turned);
    CHECK_OK(fasc_tensor_rand(a, 1, 0, 0, 1));
    for (size_t i = 0; i < sizeof AT / sizeof *AT; i++) {
        for (int threads = 1; threads <= 3; threads++) {
            CHECK_OK(fasc_set_num_threads(threads));
            CHECK_OK(fasc_tensor_copy(a, b));
            *(double *)(void *)place(b, AT[i]) += 3;
            fasc_difference d = difference_of(a, b);
            CHECK(d.max_abs_index == AT[i] && fabs(d.max_abs - 3) < 1e-6, "%g at %lld, not %lld",
                  d.max_abs, (long long)d.max_abs_index, (long long)AT[i]);
            *(double *)(void *)place(b, AT[i]) = NAN;
            d = difference_of(a, b);
            CHECK(d.mismatch == 1 && d.max_abs_index == AT[i], "mismatch at %lld, not %lld",
                  (long long)d.max_abs_index, (long long)AT[i]);
        }
    }
    CHECK_OK(fasc_set_num_threads(0));
    fasc_tensor_free(a);
    fasc_tensor_free(b);
}

static void comparisons_need_equal_shapes(void)
{
    const int64_t shape[] = {2, 3}, other[] = {3, 2};
    fasc_tensor *a = dense(FASC_F32, 2, shape), *b = dense(FASC_F32, 2, other);
    fasc_difference d = {.size = sizeof d};
    CHECK_FAIL(fasc_tensor_compare(a, b, &d), FASC_EINVAL,
               "tensor_compare: b: shape [3,2] differs from a's [2,3]");
    d.size = 0;
    CHECK_FAIL(fasc_tensor_compare(a, a, &d), FASC_EINVAL, "difference: size is 0, must be ");
    fasc_tensor_free(a);
    fasc_tensor_free(b);
}

/* ---- cancelling --------------------------------------------------------------- */

static void long_work_can_be_canceled(void)
{
    const int64_t large[] = {16 << 20}, small[] = {1000};
    fasc_tensor *t = dense(FASC_F32, 1, large), *half = dense(FASC_F16, 1, large);
    fasc_tensor *few = dense(FASC_F32, 1, small);
    fasc_summary s = {.size = sizeof s};
    fasc_difference d = {.size = sizeof d};
    CHECK_OK(fasc_tensor_fill(t, 0));
    CHECK_OK(fasc_tensor_fill(half, 0));
    CHECK_OK(fasc_set_num_threads(2)); /* each has much to do, however many cores there are */
    fasc_cancel();
    CHECK_FAIL(fasc_tensor_randn(t, 0, 0, 0, 1), FASC_ECANCELED, "tensor_randn: canceled");
    CHECK_FAIL(fasc_tensor_rand(t, 0, 0, 0, 1), FASC_ECANCELED, "tensor_rand: canceled");
    CHECK_FAIL(fasc_tensor_copy(half, t), FASC_ECANCELED, "tensor_copy: canceled");
    CHECK_FAIL(fasc_tensor_arange(t, 0, 1), FASC_ECANCELED, "tensor_arange: canceled");
    CHECK_FAIL(fasc_tensor_summarize(t, &s), FASC_ECANCELED, "tensor_summarize: canceled");
    CHECK_FAIL(fasc_tensor_compare(t, half, &d), FASC_ECANCELED, "tensor_compare: canceled");
    CHECK_OK(fasc_tensor_randn(few, 0, 0, 0, 1)); /* over before anyone would look */
    fasc_cancel_clear();
    CHECK_OK(fasc_tensor_copy(half, t));
    CHECK_OK(fasc_set_num_threads(0));
    fasc_tensor_free(t);
    fasc_tensor_free(half);
    fasc_tensor_free(few);
}

TEST_MAIN(open_cpu, copy_converts_every_dtype_in_every_layout,
          large_copies_on_any_number_of_threads, ranks_up_to_eight, i64_is_rounded_once,
          integers_keep_all_their_bits, overlapping_copies_read_first, wrong_copies_are_refused,
          fill_rounds_and_saturates, large_fills_and_ranges, summaries_count_what_is_not_finite,
          summaries_do_not_depend_on_threads, every_instruction_set_summarizes_alike,
          comparisons_tell_gaps_from_mismatches, the_worst_pair_is_found_in_large_tensors,
          comparisons_need_equal_shapes, long_work_can_be_canceled)
