/* Maps as cells and cells as colours: the calls that pictures are made of. */
#include <math.h>
#include <stdbool.h>

#include "pictures.h"

static fasc_tensor *tensor_of(fasc_dtype dtype, int32_t rank, const int64_t *shape,
                              const void *values)
{
    fasc_device *cpu;
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_device_open("cpu", &cpu));
    CHECK_OK(fasc_tensor_empty(cpu, dtype, rank, shape, &t));
    if (values) {
        memcpy(fasc_tensor_data(t), values, (size_t)fasc_tensor_numel(t) * fasc_dtype_size(dtype));
    } else {
        CHECK_OK(fasc_tensor_fill(t, 0));
    }
    return t;
}

static fasc_tensor *map_of(int64_t rows, int64_t cols, const float *values)
{
    return tensor_of(FASC_F32, 2, (const int64_t[]){rows, cols}, values);
}

static bool same(double a, double b, double tolerance)
{
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tolerance;
}

static void check_values(const fasc_tensor *t, const double *expected, const char *what)
{
    for (int64_t i = 0; i < fasc_tensor_numel(t); i++) {
        double got = fasc_tensor_dtype(t) == FASC_F64 ? ((double *)fasc_tensor_data(t))[i]
                                                      : (double)((float *)fasc_tensor_data(t))[i];
        CHECK(same(got, expected[i], 1e-6), "%s: %g at %lld, not %g", what, got, (long long)i,
              expected[i]);
    }
}

/* ---- pooling -------------------------------------------------------------------------- */

static void cells_and_sums_of_a_small_map(void)
{
    static const struct {
        fasc_pool pool;
        double cells[4];
    } CASE[] = {
        {FASC_POOL_MAX, {0.5, -(double)INFINITY, 0.75, 0.25}},
        {FASC_POOL_MASS, {0.75, -(double)INFINITY, 0.75, 0.25}},
        {FASC_POOL_MEAN, {0.5, -(double)INFINITY, 0.375, 0.25}},
        {FASC_POOL_EXTREME, {0.5, -(double)INFINITY, 0.75, 0.25}},
    };
    const float values[] = {0.5f, 9, 9, 0.5f, 0.5f, 9, 0, 0.75f, 0.25f};
    const double sums[] = {1, 1.25, 0.25};
    const double entropies[] = {0.5 * log(2), log(2), -0.75 * log(0.75) - 0.25 * log(0.25)};
    fasc_tensor *t = map_of(3, 3, values), *cells = map_of(2, 2, NULL);
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        fasc_tensor *sum = tensor_of(FASC_F64, 1, (const int64_t[]){3}, NULL);
        fasc_tensor *entropy = tensor_of(FASC_F32, 1, (const int64_t[]){3}, NULL);
        fasc_pool_info info = {.size = sizeof info};
        fasc_pool_args a = {.size = sizeof a,
                            .pool = CASE[i].pool,
                            .pool_rows = 2,
                            .pool_cols = 2,
                            .causal = 1,
                            .map = t,
                            .cells = cells,
                            .col_sum = sum,
                            .entropy = entropy};
        CHECK_OK(fasc_map_pool(&a, &info));
        check_values(cells, CASE[i].cells, "cells");
        check_values(sum, sums, "col_sum");
        check_values(entropy, entropies, "entropy");
        CHECK(info.masked_count == 3 && info.nan_count == 0 && info.lowest == 0,
              "%lld masked, lowest %g", (long long)info.masked_count, info.lowest);
        CHECK_OK(fasc_map_pool(&a, NULL));
        const double twice[] = {2, 2.5, 0.5};
        check_values(sum, twice, "col_sum is added to");
        fasc_tensor_free(sum);
        fasc_tensor_free(entropy);
    }
    fasc_tensor_free(t);
    fasc_tensor_free(cells);
}

static void the_extreme_keeps_its_sign(void)
{
    const float values[] = {-3, 2, 1, 4, -4, NAN};
    const double expected[] = {-3, 4, (double)NAN};
    fasc_tensor *t = map_of(1, 6, values), *cells = map_of(1, 3, NULL);
    fasc_pool_args a = {
        .size = sizeof a, .pool = FASC_POOL_EXTREME, .pool_cols = 2, .map = t, .cells = cells};
    CHECK_OK(fasc_map_pool(&a, NULL));
    check_values(cells, expected, "cells");
    fasc_tensor_free(t);
    fasc_tensor_free(cells);
}

static void a_difference_is_masked_where_both_are(void)
{
    const float x[] = {1, -INFINITY, -INFINITY, 2}, y[] = {0.25f, -INFINITY, 1, -INFINITY};
    const double expected[] = {0.75, -(double)INFINITY, -(double)INFINITY, (double)INFINITY};
    fasc_tensor *a = map_of(1, 4, x), *b = map_of(1, 4, y), *cells = map_of(1, 4, NULL);
    fasc_pool_args args = {.size = sizeof args, .map = a, .minus = b, .cells = cells};
    CHECK_OK(fasc_map_pool(&args, NULL));
    check_values(cells, expected, "cells");
    fasc_tensor_free(a);
    fasc_tensor_free(b);
    fasc_tensor_free(cells);
}

/* Sums must not depend on threads: each column is added row after row. */
static void threads_do_not_show(void)
{
    const int64_t n = 1500;
    fasc_tensor *t = map_of(n, n, NULL), *cells = map_of(15, 15, NULL);
    double first[1500];
    CHECK_OK(fasc_tensor_rand(t, 1, 0, 0, 1));
    for (int32_t threads = 1; threads <= 3; threads++) {
        fasc_tensor *sum = tensor_of(FASC_F64, 1, &n, NULL);
        fasc_pool_args a = {.size = sizeof a,
                            .pool_rows = 100,
                            .pool_cols = 100,
                            .map = t,
                            .cells = cells,
                            .col_sum = sum};
        CHECK_OK(fasc_set_num_threads(threads));
        CHECK_OK(fasc_map_pool(&a, NULL));
        if (threads == 1) {
            memcpy(first, fasc_tensor_data(sum), sizeof first);
        }
        CHECK(memcmp(first, fasc_tensor_data(sum), sizeof first) == 0, "%d threads", threads);
        fasc_tensor_free(sum);
    }
    CHECK_OK(fasc_set_num_threads(0));
    fasc_tensor_free(t);
    fasc_tensor_free(cells);
}

/* ---- colours ---------------------------------------------------------------------------- */

static void ranges_leave_out_what_is_asked(void)
{
    double low, high;
    fasc_tensor *t = map_of(1, 1000, NULL);
    float *x = fasc_tensor_data(t);
    for (int i = 0; i < 1000; i++) {
        x[i] = (float)((i * 387) % 1000);
    }
    CHECK_OK(fasc_map_range(t, 0, &low, &high));
    CHECK(low == 0 && high == 999, "%g to %g", low, high);
    CHECK_OK(fasc_map_range(t, 0.01, &low, &high));
    CHECK(low == 10 && high == 989, "%g to %g", low, high);
    x[0] = NAN;
    x[387] = INFINITY;
    x[774] = -INFINITY;
    CHECK_OK(fasc_map_range(t, 0, &low, &high));
    CHECK(isfinite(low) && isfinite(high), "%g to %g", low, high);
    CHECK_FAIL(fasc_map_range(t, 0.5, &low, &high), FASC_EINVAL, "cut: 0.5, must be at least 0");
    CHECK_OK(fasc_tensor_fill(t, (double)NAN));
    CHECK_OK(fasc_map_range(t, 0.1, &low, &high));
    CHECK(low > high, "%g to %g", low, high);
    fasc_tensor_free(t);
}

static void colors_are_numbers_of_the_palette(void)
{
    const float values[] = {0, 0.01f, 0.1f, 1, 2, NAN, -INFINITY, INFINITY};
    const uint8_t linear[] = {0, 3, 25, 252, 252, 254, 253, 252};
    const uint8_t logarithmic[] = {0, 0, 126, 252, 252, 254, 253, 252};
    uint8_t got[8], palette[3 * FASC_PALETTE];
    fasc_tensor *t = map_of(1, 8, values);
    CHECK_OK(fasc_map_paint(t, FASC_SCALE_LINEAR, 0, 1, got));
    CHECK(memcmp(got, linear, sizeof got) == 0, "linear: %d %d %d %d", got[0], got[1], got[2],
          got[3]);
    CHECK_OK(fasc_map_paint(t, FASC_SCALE_LOG, 0.01, 1, got));
    CHECK(memcmp(got, logarithmic, sizeof got) == 0, "log: %d %d %d %d", got[0], got[1], got[2],
          got[3]);
    CHECK_OK(fasc_map_paint(t, FASC_SCALE_LINEAR, 1, 1, got));
    CHECK(got[0] == 0 && got[3] == 126 && got[4] == 252, "%d %d %d", got[0], got[3], got[4]);
    CHECK_OK(fasc_colormap_palette(FASC_MAP_DIVERGING, palette));
    CHECK(memcmp(palette + 3 * 126, "\xf6\xf6\xf6", 3) == 0, "the middle is %02x%02x%02x",
          palette[378], palette[379], palette[380]);
    CHECK(memcmp(palette + 3 * FASC_COLOR_MASKED, "\xb4\xb4\xb4\xff\x00\xff", 6) == 0, "%02x",
          palette[3 * FASC_COLOR_MASKED]);
    CHECK_FAIL(fasc_colormap_palette(0, palette), FASC_EINVAL, "colormap: 0 is not in 1 to 4");
    CHECK_FAIL(fasc_map_paint(t, 3, 0, 1, got), FASC_EINVAL, "scale: 3 is not in");
    CHECK_FAIL(fasc_map_paint(t, FASC_SCALE_LOG, 0, 1, got), FASC_EINVAL, "begin above 0");
    CHECK_FAIL(fasc_map_paint(t, FASC_SCALE_LINEAR, 1, 0, got), FASC_EINVAL, "range: {1, 0}");
    fasc_tensor_free(t);
}

/* ---- pictures row by row ------------------------------------------------------------------ */

static void rows_with_a_palette_come_back(void)
{
    enum { WIDTH = 37, HEIGHT = 300 };
    uint8_t palette[3 * FASC_PALETTE], pixels[WIDTH * HEIGHT];
    const char *path = test_path("rows.png");
    fasc_png *png;
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        pixels[i] = (uint8_t)(i * 7 % FASC_PALETTE);
    }
    CHECK_OK(fasc_colormap_palette(FASC_MAP_MAGMA, palette));
    CHECK_OK(fasc_png_open(path, WIDTH, HEIGHT, palette, 0, NULL, &png));
    CHECK_OK(fasc_png_rows(png, 100, pixels));
    CHECK_OK(fasc_png_rows(png, 0, NULL));
    CHECK_FAIL(fasc_png_rows(png, 201, pixels), FASC_EINVAL, "rows: 201, but 200 of 300");
    CHECK_OK(fasc_png_rows(png, 200, pixels + 100 * WIDTH));
    CHECK_OK(fasc_png_close(png));
    picture p = read_picture(path);
    CHECK(p.width == WIDTH && p.height == HEIGHT, "%d x %d", p.width, p.height);
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        CHECK(memcmp(p.pixels + (size_t)i * 3, palette + 3 * pixels[i], 3) == 0, "pixel %d", i);
    }
    free(p.pixels);
}

static void a_picture_without_all_rows_leaves_no_file(void)
{
    const uint8_t pixels[6] = {0};
    const char *path = test_path("part.png");
    fasc_png *png;
    CHECK_OK(fasc_png_open(path, 2, 2, NULL, 0, NULL, &png));
    CHECK_OK(fasc_png_rows(png, 1, pixels));
    CHECK_FAIL(fasc_png_close(png), FASC_EINVAL, "png_open: 1 of 2 rows are missing");
    CHECK(access(path, F_OK) != 0, "%s exists", path);
    CHECK_OK(fasc_png_close(NULL));
    CHECK_FAIL(fasc_png_open(path, 0, 2, NULL, 0, NULL, &png), FASC_EINVAL, "0 x 2 pixels");
    CHECK_FAIL(fasc_png_open(path, 2, 2, NULL, 0, NULL, NULL), FASC_EINVAL, "png: is NULL");
    CHECK_FAIL(fasc_png_open("/nonexistent/x.png", 2, 2, NULL, 0, NULL, &png), FASC_EIO, "No such");
}

static void wrong_arguments_are_refused(void)
{
    fasc_tensor *t = map_of(4, 4, NULL), *cells = map_of(2, 2, NULL), *flat = map_of(1, 4, NULL);
    fasc_tensor *f16 = tensor_of(FASC_F16, 2, (const int64_t[]){2, 2}, NULL);
    const fasc_pool_args good = {
        .size = sizeof good, .pool_rows = 2, .pool_cols = 2, .map = t, .cells = cells};
    fasc_pool_args a;
#define REFUSE(text, ...)                                                                          \
    do {                                                                                           \
        a = good;                                                                                  \
        __VA_ARGS__;                                                                               \
        CHECK_FAIL(fasc_map_pool(&a, NULL), FASC_EINVAL, "map_pool: " text);                       \
    } while (0)
    REFUSE("args: size is 3", a.size = 3);
    REFUSE("map: is NULL", a.map = NULL);
    REFUSE("cells: is NULL", a.cells = NULL);
    REFUSE("cells: f16 [2,2] on cpu, must be f32 [2,2] on cpu", a.cells = f16);
    REFUSE("cells: f32 [2,2] on cpu, must be f32 [1,2]", a.pool_rows = 4);
    REFUSE("pool: 5 is not in 1 to 4", a.pool = 5);
    REFUSE("cells of -1 x 2 elements", a.pool_rows = -1);
    REFUSE("causal: 2", a.causal = 2);
    REFUSE("minus: shape [1,4] differs from map's [4,4]", a.minus = flat);
    REFUSE("col_sum: f32 [2,2]", a.col_sum = cells);
    CHECK_OK(fasc_map_pool(&good, NULL));
    fasc_tensor_free(t);
    fasc_tensor_free(cells);
    fasc_tensor_free(flat);
    fasc_tensor_free(f16);
}

TEST_MAIN(cells_and_sums_of_a_small_map, the_extreme_keeps_its_sign,
          a_difference_is_masked_where_both_are, threads_do_not_show,
          ranges_leave_out_what_is_asked, colors_are_numbers_of_the_palette,
          rows_with_a_palette_come_back, a_picture_without_all_rows_leaves_no_file,
          wrong_arguments_are_refused)
