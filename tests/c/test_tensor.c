/* test_tensor.c - making tensors, views, reshaping, bounds, and what is said of wrong arguments. */
#include <stdlib.h>

#include "backend.h"
#include "test.h"

static fasc_device *cpu;

static void open_cpu(void)
{
    CHECK_OK(fasc_device_open("cpu", &cpu));
}

static fasc_tensor *counting(int32_t rank, const int64_t *shape)
{
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, rank, shape, &t));
    CHECK_OK(fasc_tensor_arange(t, 0, 1));
    return t;
}

static double at(const fasc_tensor *t, int64_t a, int64_t b, int64_t c)
{
    const int64_t index[] = {a, b, c};
    double value = NAN;
    CHECK_OK(fasc_tensor_get(t, index, &value));
    return value;
}

static void check_layout(const fasc_tensor *t, int32_t rank, const int64_t *shape,
                         const int64_t *stride, const char *what)
{
    CHECK(fasc_tensor_rank(t) == rank, "%s: rank %d", what, fasc_tensor_rank(t));
    for (int32_t i = 0; i < rank; i++) {
        CHECK(fasc_tensor_shape(t)[i] == shape[i], "%s: shape[%d] %lld", what, i,
              (long long)fasc_tensor_shape(t)[i]);
        CHECK(fasc_tensor_stride(t)[i] == stride[i], "%s: stride[%d] %lld", what, i,
              (long long)fasc_tensor_stride(t)[i]);
    }
}

/* ---- making ------------------------------------------------------------------ */

static void a_new_tensor_is_row_major_and_aligned(void)
{
    const int64_t shape[] = {2, 3, 4}, stride[] = {12, 4, 1};
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(cpu, FASC_BF16, 3, shape, &t));
    check_layout(t, 3, shape, stride, "empty");
    CHECK(fasc_tensor_numel(t) == 24, "%lld", (long long)fasc_tensor_numel(t));
    CHECK(fasc_tensor_dtype(t) == FASC_BF16, "%d", (int)fasc_tensor_dtype(t));
    CHECK(fasc_tensor_device(t) == cpu, "%s", fasc_device_name(fasc_tensor_device(t)));
    CHECK(fasc_tensor_is_contiguous(t), "not contiguous");
    CHECK((uintptr_t)fasc_tensor_data(t) % 64 == 0, "at %p", fasc_tensor_data(t));
    fasc_tensor_free(t);
    fasc_tensor_free(NULL);
}

static void ranks_zero_and_eight(void)
{
    const int64_t shape[] = {2, 1, 2, 1, 2, 1, 2, 3}, index[] = {1, 0, 1, 0, 1, 0, 1, 2};
    double value = 0;
    fasc_tensor *scalar = NULL, *t = counting(8, shape);
    CHECK_OK(fasc_tensor_get(t, index, &value));
    CHECK(value == 47, "%g", value);
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F64, 0, NULL, &scalar));
    CHECK_OK(fasc_tensor_fill(scalar, 2.5));
    CHECK_OK(fasc_tensor_get(scalar, NULL, &value));
    CHECK(value == 2.5 && fasc_tensor_numel(scalar) == 1, "%g", value);
    CHECK(fasc_tensor_is_contiguous(scalar), "not contiguous");
    fasc_tensor_free(scalar);
    fasc_tensor_free(t);
}

static void zero_sizes_are_legal(void)
{
    const int64_t shape[] = {3, 0, 5}, huge[] = {INT64_MAX, 0, INT64_MAX}, none[] = {0};
    const int64_t other[] = {0, 7};
    fasc_tensor *t = NULL, *u = NULL, *view = NULL;
    fasc_summary s = {.size = sizeof s};
    fasc_difference d = {.size = sizeof d};
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 3, shape, &t));
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F16, 3, shape, &u));
    CHECK(fasc_tensor_numel(t) == 0 && fasc_tensor_data(t) == NULL, "not empty");
    CHECK(fasc_tensor_is_contiguous(t), "not contiguous");
    CHECK_OK(fasc_tensor_fill(t, 1));
    CHECK_OK(fasc_tensor_arange(t, 0, 1));
    CHECK_OK(fasc_tensor_randn(t, 0, 0, 0, 1));
    CHECK_OK(fasc_tensor_copy(t, u));
    CHECK_OK(fasc_tensor_summarize(t, &s));
    CHECK(s.count == 0 && isnan(s.min) && isnan(s.max) && isnan(s.mean) && s.sum == 0, "%g", s.min);
    CHECK_OK(fasc_tensor_compare(t, u, &d));
    CHECK(d.count == 0 && d.max_abs_index == -1, "%lld", (long long)d.max_abs_index);
    CHECK_OK(fasc_tensor_reshape(t, 2, other, &view));
    fasc_tensor_free(view);
    CHECK_OK(fasc_tensor_view(t, 0, 1, none, NULL, &view));
    fasc_tensor_free(view);
    fasc_tensor_free(t);
    fasc_tensor_free(u);
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F64, 3, huge, &t));
    CHECK(fasc_tensor_numel(t) == 0, "%lld", (long long)fasc_tensor_numel(t));
    fasc_tensor_free(t);
}

static void strided_storage_covers_the_last_element(void)
{
    const int64_t shape[] = {3, 4}, stride[] = {2, 10}, last[] = {2, 3};
    fasc_tensor *t = NULL;
    double value = 0;
    CHECK_OK(fasc_tensor_empty_strided(cpu, FASC_F32, 2, shape, stride, &t));
    check_layout(t, 2, shape, stride, "strided");
    CHECK(t->storage->bytes == (2 * 2 + 3 * 10 + 1) * 4, "%zu bytes", t->storage->bytes);
    CHECK(!fasc_tensor_is_contiguous(t), "contiguous");
    CHECK_OK(fasc_tensor_arange(t, 1, 1));
    CHECK_OK(fasc_tensor_get(t, last, &value));
    CHECK(value == 12, "%g", value);
    CHECK(((float *)fasc_tensor_data(t))[34] == 12, "%g", ((float *)fasc_tensor_data(t))[34]);
    fasc_tensor_free(t);
}

static void wrong_shapes_and_strides_are_named(void)
{
    const int64_t bad[] = {2, -3}, wide[] = {(int64_t)1 << 32, (int64_t)1 << 31};
    const int64_t good[] = {2, 3}, down[] = {-1, 1}, far[] = {INT64_MAX, 1};
    const int64_t nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, wider[] = {INT64_MAX, INT64_MAX, 2};
    fasc_tensor *t = NULL;
    CHECK_FAIL(fasc_tensor_empty(NULL, FASC_F32, 2, good, &t), FASC_EINVAL,
               "tensor_empty: device: is NULL");
    CHECK_FAIL(fasc_tensor_empty(cpu, FASC_F32, 2, good, NULL), FASC_EINVAL,
               "tensor_empty: tensor: is NULL");
    CHECK_FAIL(fasc_tensor_empty(cpu, (fasc_dtype)12, 2, good, &t), FASC_EINVAL,
               "tensor_empty: dtype: 12 is no dtype");
    CHECK_FAIL(fasc_tensor_empty(cpu, FASC_F32, 9, nine, &t), FASC_EINVAL,
               "tensor_empty: rank: 9 is not in 0 to 8");
    CHECK_FAIL(fasc_tensor_empty(cpu, FASC_F32, -1, nine, &t), FASC_EINVAL, "rank: -1");
    CHECK_FAIL(fasc_tensor_empty(cpu, FASC_F32, 2, NULL, &t), FASC_EINVAL,
               "tensor_empty: shape: is NULL for rank 2");
    CHECK_FAIL(fasc_tensor_empty(cpu, FASC_F32, 2, bad, &t), FASC_EINVAL,
               "tensor_empty: shape[1]: -3 is negative");
    CHECK_FAIL(fasc_tensor_empty(cpu, FASC_U8, 2, wide, &t), FASC_EINVAL,
               "tensor_empty: shape: [4294967296,2147483648] holds more bytes");
    CHECK_FAIL(fasc_tensor_empty(cpu, FASC_F64, 3, wider, &t), FASC_EINVAL, "holds more bytes");
    CHECK_FAIL(fasc_tensor_empty(cpu, FASC_F64, 1, wider, &t), FASC_EINVAL, "holds more bytes");
    CHECK_FAIL(fasc_tensor_empty_strided(cpu, FASC_F32, 2, good, NULL, &t), FASC_EINVAL,
               "tensor_empty_strided: stride: is NULL");
    CHECK_FAIL(fasc_tensor_empty_strided(cpu, FASC_F32, 2, good, down, &t), FASC_EINVAL,
               "tensor_empty_strided: stride[0]: -1 is negative");
    CHECK_FAIL(fasc_tensor_empty_strided(cpu, FASC_U8, 2, good, far, &t), FASC_EINVAL,
               "holds more bytes");
    CHECK(t == NULL, "a failure gave a tensor");
}

/* ---- wrapping ---------------------------------------------------------------- */

static void a_wrapped_array_stays_the_callers(void)
{
    double memory[12];
    const int64_t shape[] = {2, 3}, stride[] = {6, 2}, zero[] = {0};
    fasc_tensor *t = NULL;
    fasc_memory_stats before = {.size = sizeof before}, after = before;
    for (int i = 0; i < 12; i++) {
        memory[i] = i;
    }
    CHECK_OK(fasc_memory_get(cpu, &before));
    CHECK_OK(fasc_tensor_wrap(cpu, FASC_F64, 2, shape, stride, memory, &t));
    CHECK_OK(fasc_memory_get(cpu, &after));
    CHECK(after.live == before.live && after.count == before.count, "counted");
    CHECK(at(t, 1, 2, 0) == 10, "%g", at(t, 1, 2, 0));
    CHECK_OK(fasc_tensor_fill(t, -1));
    CHECK(memory[0] == -1 && memory[1] == 1 && memory[10] == -1 && memory[11] == 11, "%g",
          memory[1]);
    fasc_tensor_free(t);
    CHECK_FAIL(fasc_tensor_wrap(cpu, FASC_F64, 2, shape, stride, NULL, &t), FASC_EINVAL,
               "tensor_wrap: data: is NULL");
    CHECK_FAIL(fasc_tensor_wrap(cpu, FASC_F64, 2, shape, stride, (char *)memory + 4, &t),
               FASC_EINVAL, "is not a multiple of f64's 8 bytes");
    CHECK_OK(fasc_tensor_wrap(cpu, FASC_F64, 1, zero, NULL, NULL, &t));
    fasc_tensor_free(t);
}

/* ---- views ------------------------------------------------------------------- */

static void a_view_shares_storage_and_keeps_it_alive(void)
{
    const int64_t shape[] = {4, 6}, sub[] = {2, 3}, stride[] = {6, 2};
    fasc_memory_stats s = {.size = sizeof s};
    CHECK_OK(fasc_memory_get(cpu, &s));
    const int64_t count = s.count, live = s.live;
    fasc_tensor *base = counting(2, shape), *view = NULL, *again = NULL;
    CHECK_OK(fasc_tensor_view(base, 7, 2, sub, stride, &view));
    CHECK(at(view, 0, 0, 0) == 7 && at(view, 1, 2, 0) == 17, "%g", at(view, 1, 2, 0));
    CHECK_OK(fasc_tensor_view(view, 2, 2, sub, stride, &again));
    CHECK(at(again, 1, 2, 0) == 19, "%g", at(again, 1, 2, 0));
    CHECK_OK(fasc_memory_get(cpu, &s));
    CHECK(s.count == count + 1 && s.live == live + 96, "%lld", (long long)s.live);
    fasc_tensor_free(base);
    CHECK_OK(fasc_tensor_fill(view, 5));
    CHECK(at(again, 0, 0, 0) == 5 && at(again, 1, 2, 0) == 19, "%g", at(again, 1, 2, 0));
    fasc_tensor_free(view);
    CHECK_OK(fasc_memory_get(cpu, &s));
    CHECK(s.count == count + 1, "%lld storages", (long long)s.count);
    fasc_tensor_free(again);
    CHECK_OK(fasc_memory_get(cpu, &s));
    CHECK(s.count == count && s.live == live, "%lld", (long long)s.live);
}

static void a_view_stays_inside(void)
{
    const int64_t shape[] = {4, 6}, whole[] = {24}, more[] = {25}, one[] = {1}, zero[] = {0};
    const int64_t rows[] = {4, 6}, wide[] = {7, 1}, broadcast[] = {0, 1}, huge[] = {INT64_MAX / 2};
    const int64_t five[] = {5};
    fasc_tensor *base = counting(2, shape), *view = NULL, *tail = NULL;
    CHECK_OK(fasc_tensor_view(base, 19, 1, five, NULL, &view));
    fasc_tensor_free(view);
    CHECK_OK(fasc_tensor_view(base, 0, 1, whole, NULL, &view));
    fasc_tensor_free(view);
    CHECK_OK(fasc_tensor_view(base, 23, 1, one, huge, &tail));
    CHECK_OK(fasc_tensor_view(base, 24, 1, zero, NULL, &view));
    fasc_tensor_free(view);
    CHECK_OK(fasc_tensor_view(base, 18, 2, rows, broadcast, &view));
    CHECK(at(view, 3, 5, 0) == 23, "%g", at(view, 3, 5, 0));
    fasc_tensor_free(view);
    view = NULL;
    CHECK_FAIL(fasc_tensor_view(base, 0, 1, more, NULL, &view), FASC_EINVAL,
               "tensor_view: offset 0 and 25 elements from there pass the end of base's storage, "
               "which holds 24");
    CHECK_FAIL(fasc_tensor_view(base, 24, 1, one, NULL, &view), FASC_EINVAL, "offset 24 and 1");
    CHECK_FAIL(fasc_tensor_view(base, 20, 1, five, NULL, &view), FASC_EINVAL, "offset 20 and 5");
    CHECK_FAIL(fasc_tensor_view(base, INT64_MAX, 1, one, NULL, &view), FASC_EINVAL, "pass the end");
    CHECK_FAIL(fasc_tensor_view(base, -1, 1, one, NULL, &view), FASC_EINVAL,
               "tensor_view: offset: -1 is negative");
    CHECK_FAIL(fasc_tensor_view(base, 0, 2, rows, wide, &view), FASC_EINVAL,
               "offset 0 and 27 elements");
    CHECK_FAIL(fasc_tensor_view(tail, 1, 1, one, NULL, &view), FASC_EINVAL, "which holds 1");
    CHECK_FAIL(fasc_tensor_view(NULL, 0, 1, one, NULL, &view), FASC_EINVAL,
               "tensor_view: base: is NULL");
    CHECK(view == NULL, "a failure gave a view");
    fasc_tensor_free(tail);
    fasc_tensor_free(base);
}

/* ---- reshaping --------------------------------------------------------------- */

typedef struct reshape_case {
    int32_t rank, to_rank;
    int64_t shape[5], stride[5], to[5], to_stride[5];
    bool possible;
} reshape_case;

static void reshape_gives_strides_where_they_exist(void)
{
    static const reshape_case CASE[] = {
        {2, 1, {4, 6}, {6, 1}, {24}, {1}, true},
        {1, 3, {24}, {1}, {2, 3, 4}, {12, 4, 1}, true},
        {1, 3, {24}, {1}, {1, 24, 1}, {24, 1, 1}, true},
        {2, 3, {4, 6}, {1, 4}, {2, 2, 6}, {2, 1, 4}, true},   /* transposed, first split */
        {2, 1, {4, 6}, {1, 4}, {24}, {0}, false},             /* transposed, merged */
        {2, 2, {4, 6}, {12, 1}, {2, 12}, {0}, false},         /* padded rows, merged */
        {2, 3, {4, 6}, {12, 2}, {4, 2, 3}, {12, 6, 2}, true}, /* padded rows, split */
        {3, 2, {2, 3, 4}, {24, 8, 2}, {6, 4}, {8, 2}, true},  /* every second element */
        {3, 1, {2, 3, 4}, {24, 8, 2}, {24}, {2}, true},
        {4, 3, {2, 1, 3, 1}, {3, 99, 1, 77}, {3, 1, 2}, {2, 2, 1}, true}, /* sizes of 1 */
        {2, 2, {3, 5}, {0, 1}, {3, 5}, {0, 1}, true}, /* a broadcast dimension */
        {2, 3, {6, 5}, {0, 1}, {2, 3, 5}, {0, 0, 1}, true},
        {2, 1, {3, 5}, {0, 1}, {15}, {0}, false},
        {3, 5, {1, 1, 1}, {5, 5, 5}, {1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}, true},
        {0, 2, {0}, {0}, {1, 1}, {1, 1}, true},
        {2, 0, {1, 1}, {1, 1}, {0}, {0}, true},
    };
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        const reshape_case *c = &CASE[i];
        fasc_tensor *base = NULL, *view = NULL;
        char what[32];
        snprintf(what, sizeof what, "case %zu", i);
        CHECK_OK(fasc_tensor_empty_strided(cpu, FASC_F32, c->rank, c->shape, c->stride, &base));
        fasc_status status = fasc_tensor_reshape(base, c->to_rank, c->to, &view);
        CHECK((status == FASC_OK) == c->possible, "case %zu: %s", i, fasc_last_error());
        if (status == FASC_OK) {
            check_layout(view, c->to_rank, c->to, c->to_stride, what);
            CHECK(fasc_tensor_data(view) == fasc_tensor_data(base), "case %zu", i);
        } else {
            CHECK(status == FASC_EINVAL && strstr(fasc_last_error(), "copy it first"),
                  "case %zu: %s", i, fasc_last_error());
        }
        fasc_tensor_free(view);
        fasc_tensor_free(base);
    }
}

static void reshape_counts_elements(void)
{
    const int64_t shape[] = {4, 6}, to[] = {5, 5};
    fasc_tensor *base = counting(2, shape), *view = NULL;
    CHECK_FAIL(fasc_tensor_reshape(base, 2, to, &view), FASC_EINVAL,
               "tensor_reshape: shape: [5,5] has 25 elements, base's [4,6] has 24");
    fasc_tensor_free(base);
}

static void contiguous_ignores_dimensions_of_one(void)
{
    static const struct {
        int64_t shape[3], stride[3];
        bool contiguous;
    } ROW[] = {
        {{2, 3, 4}, {12, 4, 1}, true},  {{1, 3, 4}, {999, 4, 1}, true},
        {{2, 1, 4}, {4, 999, 1}, true}, {{2, 3, 1}, {3, 1, 5}, true},
        {{2, 3, 4}, {12, 5, 1}, false}, {{2, 3, 4}, {1, 2, 6}, false},
        {{2, 3, 4}, {12, 4, 2}, false},
    };
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
        fasc_tensor *t = NULL;
        CHECK_OK(fasc_tensor_empty_strided(cpu, FASC_U8, 3, ROW[i].shape, ROW[i].stride, &t));
        CHECK(fasc_tensor_is_contiguous(t) == ROW[i].contiguous, "row %zu", i);
        fasc_tensor_free(t);
    }
}

static void get_checks_its_index(void)
{
    const int64_t shape[] = {2, 3}, high[] = {1, 3}, low[] = {-1, 0};
    double value = 42;
    fasc_tensor *t = counting(2, shape);
    CHECK_FAIL(fasc_tensor_get(t, high, &value), FASC_EINVAL,
               "tensor_get: index[1]: 3 is outside dimension 1 of size 3");
    CHECK_FAIL(fasc_tensor_get(t, low, &value), FASC_EINVAL, "index[0]: -1");
    CHECK_FAIL(fasc_tensor_get(t, NULL, &value), FASC_EINVAL, "tensor_get: index: is NULL");
    CHECK(value == 42, "touched by a failure");
    fasc_tensor_free(t);
}

TEST_MAIN(open_cpu, a_new_tensor_is_row_major_and_aligned, ranks_zero_and_eight,
          zero_sizes_are_legal, strided_storage_covers_the_last_element,
          wrong_shapes_and_strides_are_named, a_wrapped_array_stays_the_callers,
          a_view_shares_storage_and_keeps_it_alive, a_view_stays_inside,
          reshape_gives_strides_where_they_exist, reshape_counts_elements,
          contiguous_ignores_dimensions_of_one, get_checks_its_index)
