/* Heatmaps: each picture is decoded again and compared, cell by cell, with what pooling, scale and
 * colour map say it must show. */
#include <stdbool.h>

#include "io/colormap.h"
#include "pictures.h"

#define GREY    0xb4b4b4u
#define MAGENTA 0xff00ffu
#define FIRST   0x440154u /* viridis's ends */
#define LAST    0xfde725u

static fasc_tensor *map_of(int64_t rows, int64_t cols, const float *values)
{
    fasc_device *cpu;
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_device_open("cpu", &cpu));
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 2, (const int64_t[]){rows, cols}, &t));
    if (values) {
        memcpy(fasc_tensor_data(t), values, (size_t)(rows * cols) * sizeof *values);
    }
    return t;
}

static unsigned color(int32_t colormap, double t)
{
    fasc_rgb c = fasc_colormap_at(colormap, fasc_color_number(t) / (FASC_COLORS - 1.0));
    return (unsigned)c.r << 16 | (unsigned)c.g << 8 | c.b;
}

static fasc_heatmap_args args_for(const fasc_tensor *map)
{
    return (fasc_heatmap_args){.size = sizeof(fasc_heatmap_args), .map = map};
}

/* Draws and reads back. */
static picture draw(const fasc_heatmap_args *args, fasc_heatmap_info *info)
{
    const char *path = test_path("map.png");
    *info = (fasc_heatmap_info){.size = sizeof *info};
    CHECK_OK(fasc_heatmap_png(args, path, 0, NULL, info));
    picture p = read_picture(path);
    CHECK(p.width == info->width && p.height == info->height, "%d x %d, info says %d x %d", p.width,
          p.height, info->width, info->height);
    return p;
}

/* ---- colours ------------------------------------------------------------------------ */

/* CIE L* of an sRGB colour. */
static double lightness(unsigned rgb)
{
    static const double WEIGHT[] = {0.2126729, 0.7151522, 0.0721750};
    double y = 0;
    for (int i = 0; i < 3; i++) {
        double c = (rgb >> (16 - 8 * i) & 0xff) / 255.0;
        y += WEIGHT[i] * (c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4));
    }
    return y > 0.008856 ? 116 * cbrt(y) - 16 : 903.3 * y;
}

static int channel_distance(unsigned a, unsigned b)
{
    int most = 0;
    for (int shift = 0; shift <= 16; shift += 8) {
        int d = abs((int)(a >> shift & 0xff) - (int)(b >> shift & 0xff));
        most = d > most ? d : most;
    }
    return most;
}

/* Published colours of viridis, most of them between our control points. */
static void viridis_is_viridis(void)
{
    static const struct {
        int index;
        unsigned rgb;
    } POINT[] = {{0, 0x440154},   {51, 0x414487},  {77, 0x34608d}, {128, 0x21918c},
                 {204, 0x7ad151}, {233, 0xc5e021}, {255, 0xfde725}};
    for (size_t i = 0; i < sizeof POINT / sizeof *POINT; i++) {
        unsigned got = color(FASC_MAP_VIRIDIS, POINT[i].index / 255.0);
        CHECK(channel_distance(got, POINT[i].rgb) <= 1, "%d: %06x, not %06x", POINT[i].index, got,
              POINT[i].rgb);
    }
    for (int i = 1; i <= 1000; i++) {
        double before = lightness(color(FASC_MAP_VIRIDIS, (i - 1) / 1000.0));
        double here = lightness(color(FASC_MAP_VIRIDIS, i / 1000.0));
        CHECK(here > before - 0.35, "lightness falls from %g to %g at %d", before, here, i);
    }
}

/* Equal distances from the middle are equally light, and lighter the nearer they are. */
static void diverging_is_symmetric_about_its_lightest_point(void)
{
    for (int i = 0; i <= 500; i++) {
        double blue = lightness(color(FASC_MAP_DIVERGING, 0.5 - i / 1000.0));
        double red = lightness(color(FASC_MAP_DIVERGING, 0.5 + i / 1000.0));
        double expected = 97 - (97 - 32) * i / 500.0;
        CHECK(fabs(blue - red) < 1.2, "L* %g and %g at %d", blue, red, i);
        CHECK(fabs(blue - expected) < 1.2, "L* %g, not %g at %d", blue, expected, i);
    }
    unsigned blue = color(FASC_MAP_DIVERGING, 0), red = color(FASC_MAP_DIVERGING, 1);
    CHECK((blue & 0xff) > 2 * (blue >> 16) && (red >> 16) > 2 * (red & 0xff), "%06x %06x", blue,
          red);
}

static void no_value_looks_like_masked_or_nan(void)
{
    for (int32_t map = FASC_MAP_VIRIDIS; map <= FASC_MAP_CIVIDIS; map++) {
        for (int i = 0; i <= 1000; i++) {
            unsigned c = color(map, i / 1000.0);
            CHECK(channel_distance(c, GREY) >= 20, "map %d at %d is %06x", map, i, c);
            CHECK(channel_distance(c, MAGENTA) >= 100, "map %d at %d is %06x", map, i, c);
        }
    }
}

/* ---- cells ---------------------------------------------------------------------------- */

static void masked_nan_zero_and_infinite_cells_all_differ(void)
{
    const float values[] = {0.0f, -INFINITY, NAN, 1.0f, INFINITY, 0.5f};
    fasc_tensor *t = map_of(2, 3, values);
    fasc_heatmap_args args = args_for(t);
    for (args.scale = FASC_SCALE_LOG; args.scale <= FASC_SCALE_LINEAR; args.scale++) {
        fasc_heatmap_info info;
        picture p = draw(&args, &info);
        CHECK(pixel(&p, 0, 0) == FIRST, "P = 0 is %06x", pixel(&p, 0, 0));
        CHECK(pixel(&p, 1, 0) == GREY, "masked is %06x", pixel(&p, 1, 0));
        CHECK(pixel(&p, 2, 0) == MAGENTA, "NaN is %06x", pixel(&p, 2, 0));
        CHECK(pixel(&p, 0, 1) == LAST && pixel(&p, 1, 1) == LAST, "1 is %06x, infinity %06x",
              pixel(&p, 0, 1), pixel(&p, 1, 1));
        CHECK(info.nan_count == 1 && info.masked_count == 1, "%lld NaN, %lld masked",
              (long long)info.nan_count, (long long)info.masked_count);
        CHECK(info.high == 1, "high %g", info.high);
        free(p.pixels);
    }
    fasc_tensor_free(t);
}

static void the_linear_scale_spans_the_values(void)
{
    const float values[] = {-1, 0, 1, 3};
    fasc_tensor *t = map_of(1, 4, values);
    fasc_heatmap_args args = args_for(t);
    fasc_heatmap_info info;
    picture p = draw(&args, &info);
    for (int x = 0; x < 4; x++) {
        unsigned expected = color(FASC_MAP_VIRIDIS, ((double)values[x] + 1) / 4);
        CHECK(pixel(&p, x, 0) == expected, "%d: %06x, not %06x", x, pixel(&p, x, 0), expected);
    }
    CHECK(info.low == -1 && info.high == 3, "%g to %g", info.low, info.high);
    free(p.pixels);
    args.has_range = 1;
    args.low = 0;
    args.high = 2;
    p = draw(&args, &info);
    CHECK(pixel(&p, 0, 0) == FIRST && pixel(&p, 1, 0) == FIRST && pixel(&p, 3, 0) == LAST,
          "outside of the range: %06x %06x", pixel(&p, 0, 0), pixel(&p, 3, 0));
    CHECK(pixel(&p, 2, 0) == color(FASC_MAP_VIRIDIS, 0.5), "%06x", pixel(&p, 2, 0));
    free(p.pixels);
    fasc_tensor_free(t);
}

static void the_log_scale_runs_from_the_floor_to_the_largest(void)
{
    const float values[] = {0.0f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 0.1f, 1.0f};
    fasc_tensor *t = map_of(1, 7, values);
    fasc_heatmap_args args = args_for(t);
    fasc_heatmap_info info;
    args.scale = FASC_SCALE_LOG;
    picture p = draw(&args, &info);
    for (int x = 0; x < 7; x++) {
        double place = x < 2 ? 0 : (x - 2) / 4.0;
        CHECK(channel_distance(pixel(&p, x, 0), color(FASC_MAP_VIRIDIS, place)) <= 1, "%g: %06x",
              (double)values[x], pixel(&p, x, 0));
    }
    CHECK(info.low == 1e-4 && info.high == 1, "%g to %g", info.low, info.high);
    free(p.pixels);
    args.floor = 0.1;
    p = draw(&args, &info);
    CHECK(pixel(&p, 5, 0) == FIRST && info.low == 0.1, "%06x", pixel(&p, 5, 0));
    free(p.pixels);
    fasc_tensor_free(t);
}

static void the_diverging_map_is_white_at_0(void)
{
    const float values[] = {-4, -2, 0, 1, -INFINITY};
    fasc_tensor *t = map_of(1, 5, values);
    fasc_heatmap_args args = args_for(t);
    fasc_heatmap_info info;
    args.colormap = FASC_MAP_DIVERGING;
    picture p = draw(&args, &info);
    CHECK(info.low == -4 && info.high == 4, "%g to %g", info.low, info.high);
    CHECK(pixel(&p, 0, 0) == color(FASC_MAP_DIVERGING, 0), "%06x", pixel(&p, 0, 0));
    CHECK(pixel(&p, 1, 0) == color(FASC_MAP_DIVERGING, 0.25), "%06x", pixel(&p, 1, 0));
    CHECK(pixel(&p, 2, 0) == 0xf6f6f6, "%06x", pixel(&p, 2, 0));
    CHECK(pixel(&p, 3, 0) == color(FASC_MAP_DIVERGING, 0.625), "%06x", pixel(&p, 3, 0));
    CHECK(pixel(&p, 4, 0) == GREY, "%06x", pixel(&p, 4, 0));
    free(p.pixels);
    fasc_tensor_free(t);
}

/* All masked, all NaN, all equal, all zero: nothing to span, and still a picture. */
static void maps_without_a_range_are_drawn(void)
{
    static const struct {
        float value;
        unsigned linear, logarithmic;
    } FLAT[] = {
        {-INFINITY, GREY, GREY}, {NAN, MAGENTA, MAGENTA}, {0.5f, 0, LAST}, {0.0f, 0, FIRST}};
    for (size_t i = 0; i < sizeof FLAT / sizeof *FLAT; i++) {
        const float values[] = {FLAT[i].value, FLAT[i].value, FLAT[i].value, FLAT[i].value};
        fasc_tensor *t = map_of(2, 2, values);
        fasc_heatmap_args args = args_for(t);
        fasc_heatmap_info info;
        for (args.scale = FASC_SCALE_LOG; args.scale <= FASC_SCALE_LINEAR; args.scale++) {
            unsigned expected = args.scale == FASC_SCALE_LOG ? FLAT[i].logarithmic : FLAT[i].linear;
            expected = expected ? expected : color(FASC_MAP_VIRIDIS, 0.5);
            picture p = draw(&args, &info);
            CHECK(pixel(&p, 1, 1) == expected, "all %g: %06x, not %06x", (double)FLAT[i].value,
                  pixel(&p, 1, 1), expected);
            CHECK(isfinite(info.low) && isfinite(info.high), "%g to %g", info.low, info.high);
            free(p.pixels);
        }
        fasc_tensor_free(t);
    }
}

static void causal_masks_what_lies_past_the_diagonal(void)
{
    static const int64_t SHAPE[][2] = {{4, 4}, {2, 5}, {5, 2}, {1, 3}};
    for (size_t n = 0; n < sizeof SHAPE / sizeof *SHAPE; n++) {
        int64_t rows = SHAPE[n][0], cols = SHAPE[n][1];
        for (int32_t align = FASC_ALIGN_BOTTOM_RIGHT; align <= FASC_ALIGN_TOP_LEFT; align++) {
            fasc_tensor *t = map_of(rows, cols, NULL);
            fasc_heatmap_args args = args_for(t);
            fasc_heatmap_info info;
            int64_t shift = align == FASC_ALIGN_TOP_LEFT ? 0 : cols - rows, masked = 0;
            /* NaN where nothing is visible: it must neither be seen nor counted. */
            float *x = fasc_tensor_data(t);
            for (int64_t i = 0; i < rows * cols; i++) {
                x[i] = i % cols <= i / cols + shift ? 1.0f : NAN;
            }
            args.causal = 1;
            args.align = align;
            picture p = draw(&args, &info);
            for (int64_t i = 0; i < rows * cols; i++) {
                bool visible = i % cols <= i / cols + shift;
                masked += !visible;
                unsigned got = pixel(&p, (int)(i % cols), (int)(i / cols));
                CHECK((got == GREY) == !visible && got != MAGENTA,
                      "%lld x %lld align %d: %06x at %lld", (long long)rows, (long long)cols, align,
                      got, (long long)i);
            }
            CHECK(info.masked_count == masked && info.nan_count == 0, "%lld masked, %lld NaN",
                  (long long)info.masked_count, (long long)info.nan_count);
            free(p.pixels);
            fasc_tensor_free(t);
        }
    }
}

/* ---- pooling -------------------------------------------------------------------------- */

/* What a cell must hold, computed one cell at a time in float64. */
static double expected_cell(const float *x, int64_t rows, int64_t cols, const fasc_heatmap_args *a,
                            const fasc_heatmap_info *info, int64_t r, int64_t c)
{
    int64_t row_end = (r + 1) * info->pool_rows < rows ? (r + 1) * info->pool_rows : rows;
    int64_t col_end = (c + 1) * info->pool_cols < cols ? (c + 1) * info->pool_cols : cols;
    int64_t first = r * info->pool_rows, seen = 0;
    double sum = 0, most = -INFINITY;
    for (int64_t i = first; i < row_end; i++) {
        for (int64_t j = c * info->pool_cols; j < col_end; j++) {
            double v = (double)x[i * cols + j];
            if (v == -INFINITY || (a->causal && j > i + cols - rows)) {
                continue;
            }
            if (isnan(v)) {
                return NAN;
            }
            seen++;
            sum += v;
            most = v > most ? v : most;
        }
    }
    return seen == 0                   ? -INFINITY
           : a->pool == FASC_POOL_MAX  ? most
           : a->pool == FASC_POOL_MASS ? sum / (double)(row_end - first)
                                       : sum / (double)seen;
}

static void check_pooling(const fasc_tensor *t, const fasc_heatmap_args *args)
{
    fasc_heatmap_info info;
    const int64_t *shape = fasc_tensor_shape(t);
    picture p = draw(args, &info);
    int wrong = 0;
    for (int y = 0; y < p.height; y++) {
        for (int x = 0; x < p.width; x++) {
            double v = expected_cell(fasc_tensor_data(t), shape[0], shape[1], args, &info, y, x);
            unsigned expected = isnan(v)         ? MAGENTA
                                : v == -INFINITY ? GREY
                                                 : color(FASC_MAP_VIRIDIS, v);
            /* Sums in another order may move a value across the edge of a colour. */
            if (channel_distance(pixel(&p, x, y), expected) > (args->pool != FASC_POOL_MAX)) {
                wrong++;
            }
        }
    }
    CHECK(wrong == 0, "%lld x %lld in %d x %d, pool %d: %d cells differ", (long long)shape[0],
          (long long)shape[1], p.height, p.width, args->pool, wrong);
    free(p.pixels);
}

/* Odd sizes, masked and NaN elements, and a map larger than the band that is in memory at a time.
 */
static void pooled_cells_hold_their_rectangles(void)
{
    static const int64_t SHAPE[][3] = {{64, 64, 8},    {67, 131, 16}, {131, 67, 16},
                                       {100, 100, 99}, {5, 300, 20},  {2100, 2500, 37}};
    for (size_t n = 0; n < sizeof SHAPE / sizeof *SHAPE; n++) {
        int64_t rows = SHAPE[n][0], cols = SHAPE[n][1];
        fasc_tensor *t = map_of(rows, cols, NULL);
        float *x = fasc_tensor_data(t);
        CHECK_OK(fasc_tensor_rand(t, 7, n, 0.0, 1.0));
        for (int64_t i = 0; i < rows * cols; i += 11) {
            x[i] = i % 5 == 0 ? -INFINITY : x[i];
        }
        for (int64_t j = 0; j < cols && j < 30; j++) {
            x[j] = -INFINITY; /* whole cells of them, where cells are one row high */
        }
        x[rows * cols / 2] = NAN;
        fasc_heatmap_args args = args_for(t);
        args.max_size = (int32_t)SHAPE[n][2];
        args.has_range = 1;
        args.high = 1;
        for (args.pool = FASC_POOL_MAX; args.pool <= FASC_POOL_MEAN; args.pool++) {
            for (args.causal = 0; args.causal <= 1; args.causal++) {
                check_pooling(t, &args);
            }
        }
        fasc_tensor_free(t);
    }
}

/* A single hot element survives max pooling, a column keeps its share of mass: cells of 64 x 64
 * over a sink column of 0.6 and one needle of 0.9. */
static void needles_survive_max_and_sinks_survive_mass(void)
{
    const int64_t n = 2048, tile = 64;
    fasc_tensor *t = map_of(n, n, NULL);
    float *x = fasc_tensor_data(t);
    static const struct {
        int32_t pool;
        double sink, needle;
    } KEPT[] = {{FASC_POOL_MAX, 0.6, 0.9},
                {FASC_POOL_MASS, 0.6, 0.9 / 64},
                {FASC_POOL_MEAN, 0.6 / 64, 0.9 / 4096}};
    CHECK_OK(fasc_tensor_fill(t, 0.0));
    for (int64_t i = 0; i < n; i++) {
        x[i * n] = 0.6f;
    }
    x[1000 * n + 500] = 0.9f;
    for (size_t i = 0; i < sizeof KEPT / sizeof *KEPT; i++) {
        fasc_heatmap_args args = args_for(t);
        fasc_heatmap_info info;
        args.pool = KEPT[i].pool;
        args.max_size = (int32_t)(n / tile);
        args.has_range = 1;
        args.high = 1;
        picture p = draw(&args, &info);
        unsigned sink = color(FASC_MAP_VIRIDIS, KEPT[i].sink);
        unsigned needle = color(FASC_MAP_VIRIDIS, KEPT[i].needle);
        CHECK(channel_distance(pixel(&p, 0, 3), sink) <= 1, "pool %d: sink %06x, not %06x",
              args.pool, pixel(&p, 0, 3), sink);
        CHECK(channel_distance(pixel(&p, 500 / 64, 1000 / 64), needle) <= 1,
              "pool %d: needle %06x, not %06x", args.pool, pixel(&p, 500 / 64, 1000 / 64), needle);
        free(p.pixels);
    }
    fasc_tensor_free(t);
}

static void both_sides_are_pooled_alike_until_one_is_short(void)
{
    static const struct {
        int64_t rows, cols;
        int32_t max_size, pool_rows, pool_cols;
    } CASE[] = {
        {1024, 1024, 1024, 1, 1}, {1025, 1024, 1024, 2, 2}, {512, 2048, 512, 4, 4},
        {100, 2048, 512, 1, 4},   {16, 2048, 128, 1, 16},   {2048, 1, 128, 16, 1},
        {200, 2048, 128, 3, 16},  {1, 1, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        fasc_tensor *t = map_of(CASE[i].rows, CASE[i].cols, NULL);
        fasc_heatmap_args args = args_for(t);
        fasc_heatmap_info info;
        CHECK_OK(fasc_tensor_fill(t, 1.0));
        args.max_size = CASE[i].max_size;
        picture p = draw(&args, &info);
        CHECK(info.pool_rows == CASE[i].pool_rows && info.pool_cols == CASE[i].pool_cols,
              "%lld x %lld: %d x %d", (long long)CASE[i].rows, (long long)CASE[i].cols,
              info.pool_rows, info.pool_cols);
        CHECK(p.width <= args.max_size && p.height <= args.max_size, "%d x %d", p.width, p.height);
        free(p.pixels);
        fasc_tensor_free(t);
    }
}

/* ---- sources and settings ----------------------------------------------------------------- */

static void dtype_and_strides_do_not_show(void)
{
    const int64_t shape[] = {3, 4};
    fasc_tensor *t = map_of(3, 4, NULL), *turned, *back;
    CHECK_OK(fasc_tensor_arange(t, 0.0, 1.0));
    CHECK_OK(fasc_heatmap_png(&(fasc_heatmap_args){.size = sizeof(fasc_heatmap_args), .map = t},
                              test_path("f32.png"), 0, NULL, NULL));
    for (int32_t dtype = FASC_F16; dtype <= FASC_U8; dtype++) {
        fasc_tensor *other;
        CHECK_OK(fasc_tensor_empty(fasc_tensor_device(t), (fasc_dtype)dtype, 2, shape, &other));
        CHECK_OK(fasc_tensor_copy(t, other));
        fasc_heatmap_args args = args_for(other);
        CHECK_OK(fasc_heatmap_png(&args, test_path("other.png"), 0, NULL, NULL));
        CHECK(same_bytes(test_path("f32.png"), test_path("other.png")), "dtype %d differs", dtype);
        fasc_tensor_free(other);
    }
    CHECK_OK(fasc_tensor_empty_strided(fasc_tensor_device(t), FASC_F32, 2, shape,
                                       (const int64_t[]){2, 10}, &turned));
    CHECK_OK(fasc_tensor_copy(t, turned));
    fasc_heatmap_args args = args_for(turned);
    CHECK_OK(fasc_heatmap_png(&args, test_path("other.png"), 0, NULL, NULL));
    CHECK(same_bytes(test_path("f32.png"), test_path("other.png")), "strides show");
    CHECK_OK(fasc_tensor_view(t, 0, 2, (const int64_t[]){4, 3}, (const int64_t[]){1, 4}, &back));
    args.map = back;
    fasc_heatmap_info info;
    picture p = draw(&args, &info);
    CHECK(pixel(&p, 2, 0) == color(FASC_MAP_VIRIDIS, 8 / 11.0), "%06x", pixel(&p, 2, 0));
    free(p.pixels);
    fasc_tensor_free(t);
    fasc_tensor_free(turned);
    fasc_tensor_free(back);
}

static void threads_and_repetition_do_not_show(void)
{
    fasc_tensor *t = map_of(700, 900, NULL);
    fasc_heatmap_args args = args_for(t);
    CHECK_OK(fasc_tensor_rand(t, 3, 0, 0.0, 1.0));
    args.max_size = 128;
    args.pool = FASC_POOL_MASS;
    for (int32_t threads = 1; threads <= 4; threads++) {
        CHECK_OK(fasc_set_num_threads(threads));
        CHECK_OK(
            fasc_heatmap_png(&args, test_path(threads == 1 ? "1.png" : "n.png"), 0, NULL, NULL));
        CHECK(threads == 1 || same_bytes(test_path("1.png"), test_path("n.png")),
              "%d threads differ", threads);
    }
    CHECK_OK(fasc_set_num_threads(0));
    fasc_tensor_free(t);
}

static void cells_are_squares_of_pixels(void)
{
    const float values[] = {0, 1, 2, 3, 4, 5};
    fasc_tensor *t = map_of(2, 3, values);
    fasc_heatmap_args args = args_for(t);
    fasc_heatmap_info info;
    args.cell = 4;
    picture p = draw(&args, &info);
    CHECK(p.width == 12 && p.height == 8, "%d x %d", p.width, p.height);
    for (int i = 0; i < 12 * 8; i++) {
        int x = i % 12, y = i / 12;
        unsigned expected = color(FASC_MAP_VIRIDIS, (y / 4 * 3 + x / 4) / 5.0);
        CHECK(pixel(&p, x, y) == expected, "%d, %d: %06x", x, y, pixel(&p, x, y));
    }
    free(p.pixels);
    fasc_tensor_free(t);
}

static void the_picture_says_how_it_was_made(void)
{
    static const char *const EXPECTED[] = {
        "tensor",   "layers.3.probs", "shape",   "200 queries x 300 keys",
        "scale",    "log 0.001 to 1", "pooling", "mass of 3 x 4",
        "colormap", "viridis",        "causal",  "bottom_right"};
    const char *const text[] = {"tensor", "layers.3.probs"}, *path = test_path("says.png");
    char software[32];
    int international;
    fasc_tensor *t = map_of(200, 300, NULL);
    fasc_heatmap_args args = args_for(t);
    CHECK_OK(fasc_tensor_fill(t, 0.25));
    args.scale = FASC_SCALE_LOG;
    args.has_range = 1;
    args.low = 1e-3;
    args.high = 1;
    args.pool = FASC_POOL_MASS;
    args.max_size = 75;
    args.causal = 1;
    CHECK_OK(fasc_heatmap_png(&args, path, 1, text, NULL));
    for (size_t i = 0; i < sizeof EXPECTED / sizeof *EXPECTED; i += 2) {
        char *value = read_text(path, EXPECTED[i], &international);
        CHECK(value && strcmp(value, EXPECTED[i + 1]) == 0, "%s: %s", EXPECTED[i],
              value ? value : "missing");
        free(value);
    }
    snprintf(software, sizeof software, "fasc %s", fasc_version());
    char *value = read_text(path, "Software", &international);
    CHECK(value && strcmp(value, software) == 0, "%s", value ? value : "missing");
    free(value);
    fasc_tensor_free(t);
}

static void wrong_arguments_are_refused(void)
{
    const float values[] = {0, 1, -3, 2};
    fasc_tensor *t = map_of(2, 2, values), *flat, *none = map_of(0, 2, NULL);
    const char *path = test_path("never.png");
    fasc_heatmap_args good = args_for(t), a;
    CHECK_OK(fasc_tensor_reshape(t, 1, (const int64_t[]){4}, &flat));
#define REFUSE(status, text, ...)                                                                  \
    do {                                                                                           \
        a = good;                                                                                  \
        __VA_ARGS__;                                                                               \
        CHECK_FAIL(fasc_heatmap_png(&a, path, 0, NULL, NULL), status, text);                       \
    } while (0)
    REFUSE(FASC_EINVAL, "args: size is 3", a.size = 3);
    REFUSE(FASC_EINVAL, "map: is NULL", a.map = NULL);
    REFUSE(FASC_EINVAL, "map: shape [4], must be rank 2", a.map = flat);
    REFUSE(FASC_EINVAL, "map: shape [0,2], must be rank 2 and not empty", a.map = none);
    REFUSE(FASC_EINVAL, "pool: 5 is not in 1 to 4", a.pool = 5);
    REFUSE(FASC_EINVAL, "scale: -1 is not in 1 to 2", a.scale = -1);
    REFUSE(FASC_EINVAL, "colormap: 5 is not in 1 to 4", a.colormap = 5);
    REFUSE(FASC_EINVAL, "max_size: -5", a.max_size = -5);
    REFUSE(FASC_EINVAL, "cell: -1", a.cell = -1);
    REFUSE(FASC_EINVAL, "align: 2", a.align = 2);
    REFUSE(FASC_EINVAL, "range: {2, 1}, must be finite and rise", a.has_range = 1, a.low = 2,
           a.high = 1);
    REFUSE(FASC_EINVAL, "must be finite", a.has_range = 1, a.low = (double)NAN, a.high = 1);
    REFUSE(FASC_EINVAL, "must be finite", a.has_range = 1, a.high = (double)INFINITY);
    REFUSE(FASC_EINVAL, "range: low 0, must be above 0", a.scale = FASC_SCALE_LOG, a.has_range = 1,
           a.high = 1);
    REFUSE(FASC_EINVAL, "the diverging map is centred on 0, which a log scale",
           a.scale = FASC_SCALE_LOG, a.colormap = FASC_MAP_DIVERGING);
    REFUSE(FASC_EINVAL, "range: {-1, 2}, must be {-x, x}", a.colormap = FASC_MAP_DIVERGING,
           a.has_range = 1, a.low = -1, a.high = 2);
    REFUSE(FASC_EINVAL, "floor: -1", a.scale = FASC_SCALE_LOG, a.floor = -1);
    REFUSE(FASC_EINVAL, "the map holds -3, and a log scale needs values >= 0",
           a.scale = FASC_SCALE_LOG);
    CHECK(access(path, F_OK) != 0, "%s exists", path);
    /* The negative element is masked here, so that it is not the log scale's business. */
    a = good;
    a.scale = FASC_SCALE_LOG;
    ((float *)fasc_tensor_data(t))[1] = -3;
    ((float *)fasc_tensor_data(t))[2] = 0;
    a.causal = 1;
    CHECK_OK(fasc_heatmap_png(&a, path, 0, NULL, NULL));
    CHECK_FAIL(fasc_heatmap_png(&a, "/nonexistent/x.png", 0, NULL, NULL), FASC_EIO,
               "heatmap: /nonexistent/x.png: No such");
    fasc_tensor_free(t);
    fasc_tensor_free(flat);
    fasc_tensor_free(none);
}

TEST_MAIN(viridis_is_viridis, diverging_is_symmetric_about_its_lightest_point,
          no_value_looks_like_masked_or_nan, masked_nan_zero_and_infinite_cells_all_differ,
          the_linear_scale_spans_the_values, the_log_scale_runs_from_the_floor_to_the_largest,
          the_diverging_map_is_white_at_0, maps_without_a_range_are_drawn,
          causal_masks_what_lies_past_the_diagonal, pooled_cells_hold_their_rectangles,
          needles_survive_max_and_sinks_survive_mass,
          both_sides_are_pooled_alike_until_one_is_short, dtype_and_strides_do_not_show,
          threads_and_repetition_do_not_show, cells_are_squares_of_pixels,
          the_picture_says_how_it_was_made, wrong_arguments_are_refused)
