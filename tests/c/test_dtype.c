/* test_dtype.c - element types: names, and conversions against an exact method of their own. */
#include "dtype.h"

#include <stdlib.h>

#include "cpu/convert.h"
#include "test.h"

static void names_and_sizes(void)
{
    static const struct {
        fasc_dtype dtype;
        const char *name, *other;
        size_t size;
    } ROW[] = {
        {FASC_F16, "f16", "float16", 2}, {FASC_BF16, "bf16", "bfloat16", 2},
        {FASC_F32, "f32", "float32", 4}, {FASC_F64, "f64", "float64", 8},
        {FASC_I32, "i32", "int32", 4},   {FASC_I64, "i64", "int64", 8},
        {FASC_U8, "u8", "uint8", 1},     {FASC_F16, "f16", "half", 2},
        {FASC_F32, "f32", "float", 4},   {FASC_F64, "f64", "double", 8},
    };
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
        fasc_dtype dtype = 0;
        CHECK(strcmp(fasc_dtype_name(ROW[i].dtype), ROW[i].name) == 0, "%s", ROW[i].name);
        CHECK(fasc_dtype_size(ROW[i].dtype) == ROW[i].size, "%s", ROW[i].name);
        CHECK_OK(fasc_dtype_parse(ROW[i].name, &dtype));
        CHECK(dtype == ROW[i].dtype, "%s gives %d", ROW[i].name, (int)dtype);
        CHECK_OK(fasc_dtype_parse(ROW[i].other, &dtype));
        CHECK(dtype == ROW[i].dtype, "%s gives %d", ROW[i].other, (int)dtype);
    }
    CHECK(fasc_dtype_name((fasc_dtype)0) == NULL && fasc_dtype_name((fasc_dtype)8) == NULL,
          "named");
    CHECK(fasc_dtype_size((fasc_dtype)0) == 0 && fasc_dtype_size((fasc_dtype)99) == 0, "sized");
}

static void a_wrong_name_gets_a_hint(void)
{
    fasc_dtype dtype = FASC_U8;
    CHECK_FAIL(fasc_dtype_parse("fp16", &dtype), FASC_EINVAL, "did you mean 'f16'?");
    CHECK_FAIL(fasc_dtype_parse("bfloat61", &dtype), FASC_EINVAL, "did you mean 'bfloat16'?");
    CHECK_FAIL(fasc_dtype_parse("flaot", &dtype), FASC_EINVAL, "did you mean 'float'?");
    CHECK_FAIL(fasc_dtype_parse("F32", &dtype), FASC_EINVAL, "did you mean 'f32'?");
    CHECK_FAIL(fasc_dtype_parse("complex128", &dtype), FASC_EINVAL,
               "'complex128' is not one of f16, bf16, f32, f64, i32, i64, u8");
    CHECK(strstr(fasc_last_error(), "mean") == NULL, "%s", fasc_last_error());
    CHECK_FAIL(fasc_dtype_parse("", &dtype), FASC_EINVAL, "'' is not one of");
    CHECK_FAIL(fasc_dtype_parse(NULL, &dtype), FASC_EINVAL, "name: is NULL");
    CHECK(dtype == FASC_U8, "touched by a failure");
}

/* ---- an exact method --------------------------------------------------------- */

/* A 16-bit format, by its mantissa's bits. */
typedef struct format {
    const char *name;
    int mantissa, bias;
    uint16_t infinity;
    float (*widen)(uint16_t bits);
    uint16_t (*from_f32)(float x);
    uint16_t (*from_f64)(double x);
} format;

static const format F16 = {"f16",          10, 15, 0x7c00, fasc_f16_to_f32, fasc_f32_to_f16,
                           fasc_f64_to_f16};
static const format BF16 = {"bf16",          7, 127, 0x7f80, fasc_bf16_to_f32, fasc_f32_to_bf16,
                            fasc_f64_to_bf16};

/* What the bits stand for, from the definition; `infinity` stands for the power of two that would
 * come next, which is where rounding puts the bound. */
static double value_of(const format *f, uint16_t bits)
{
    int exponent = bits >> f->mantissa, fraction = bits & ((1 << f->mantissa) - 1);
    int implied = exponent > 0 ? 1 << f->mantissa : 0;
    return ldexp(implied + fraction, (exponent > 0 ? exponent : 1) - f->bias - f->mantissa);
}

/* The nearest number, ties to the even one: x lies between two neighbours, found by bisection. */
static uint16_t nearest(const format *f, double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0, low = 0, high = f->infinity;
    double a = fabs(x);
    if (a >= value_of(f, high)) {
        return sign | high;
    }
    while (high - low > 1) {
        uint16_t middle = (uint16_t)((low + high) / 2);
        if (value_of(f, middle) <= a) {
            low = middle;
        } else {
            high = middle;
        }
    }
    double half_way = (value_of(f, low) + value_of(f, high)) / 2; /* exact in float64 */
    bool up = a > half_way || (a == half_way && low % 2 == 1);
    return sign | (up ? high : low);
}

static void check_narrowing(const format *f, double x)
{
    uint16_t wanted = nearest(f, x), from_f64 = f->from_f64(x);
    CHECK(from_f64 == wanted, "%s of %a: %04x, not %04x", f->name, x, from_f64, wanted);
    float narrow = (float)x;
    wanted = nearest(f, narrow);
    uint16_t from_f32 = f->from_f32(narrow);
    CHECK(from_f32 == wanted, "%s of %a: %04x, not %04x", f->name, narrow, from_f32, wanted);
}

static void every_pattern_round_trips(const format *f)
{
    for (uint32_t i = 0; i < 0x10000; i++) {
        uint16_t bits = (uint16_t)i, rest = bits & 0x7fff;
        float wide = f->widen(bits);
        if (rest > f->infinity) {
            CHECK(isnan(wide) && isnan(f->widen(f->from_f32(wide))), "%s %04x", f->name, bits);
            CHECK(isnan(f->widen(f->from_f64(wide))), "%s %04x", f->name, bits);
            continue;
        }
        double value = rest == f->infinity ? INFINITY : value_of(f, rest);
        CHECK((double)wide == (bits & 0x8000 ? -value : value), "%s %04x gives %a, not %a", f->name,
              bits, wide, value);
        CHECK(!!signbit(wide) == bits >> 15, "%s %04x: sign", f->name, bits);
        CHECK(f->from_f32(wide) == bits, "%s %04x: back from f32", f->name, bits);
        CHECK(f->from_f64((double)wide) == bits, "%s %04x: back from f64", f->name, bits);
    }
}

/* Half way between neighbours, and next to there in f32 and in f64: where two roundings would go
 * wrong. */
static void ties_and_their_neighbours(const format *f)
{
    for (uint16_t bits = 0; bits < f->infinity; bits++) {
        double tie = (value_of(f, bits) + value_of(f, (uint16_t)(bits + 1))) / 2;
        float tie_f32 = (float)tie;
        double x[] = {tie,
                      nextafter(tie, 0),
                      nextafter(tie, INFINITY),
                      (double)nextafterf(tie_f32, 0),
                      (double)nextafterf(tie_f32, INFINITY),
                      value_of(f, bits)};
        for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
            check_narrowing(f, x[i]);
            check_narrowing(f, -x[i]);
        }
    }
    static const double EDGE[] = {
        0.0,      0x1p-1074, 0x1p-149,       0x1p-126,       1e300,      INFINITY,
        65519.99, 65520.0,   0x1.fffffep127, 0x1.ff7fffp127, 0x1.ffp127, 0x1.fffffffffp127};
    for (size_t i = 0; i < sizeof EDGE / sizeof *EDGE; i++) {
        check_narrowing(f, EDGE[i]);
        check_narrowing(f, -EDGE[i]);
    }
}

static uint32_t random_state = 1;

static uint32_t random_bits(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state ^ (random_state >> 15);
}

static void random_numbers_round_to_nearest(const format *f)
{
    for (int i = 0; i < 200000; i++) {
        uint32_t bits = random_bits();
        /* Half of them within the format's range. */
        int exponent = i % 2 ? (int)(bits >> 23 & 255) - 127 : (int)(bits >> 23 & 63) - 40;
        double x = ldexp(1.0 + (bits & 0x7fffff) * 0x1p-23, exponent);
        check_narrowing(f, x);
        check_narrowing(f, -x * (1 + 0x1p-30));
    }
}

static void f16_is_exact(void)
{
    every_pattern_round_trips(&F16);
    ties_and_their_neighbours(&F16);
    random_numbers_round_to_nearest(&F16);
}

static void bf16_is_exact(void)
{
    every_pattern_round_trips(&BF16);
    ties_and_their_neighbours(&BF16);
    random_numbers_round_to_nearest(&BF16);
}

static void nan_stays_nan(void)
{
    static const uint32_t PATTERN[] = {0x7fc00000, 0x7f800001, 0xff800001, 0x7fffffff,
                                       0xffffffff, 0x7f80ffff, 0x7fbfffff};
    for (size_t i = 0; i < sizeof PATTERN / sizeof *PATTERN; i++) {
        float x = fasc_from_bits(PATTERN[i]);
        CHECK(isnan(fasc_f16_to_f32(fasc_f32_to_f16(x))), "%08x", PATTERN[i]);
        CHECK(isnan(fasc_bf16_to_f32(fasc_f32_to_bf16(x))), "%08x", PATTERN[i]);
        CHECK(isnan(fasc_f16_to_f32(fasc_f64_to_f16((double)x))), "%08x", PATTERN[i]);
        CHECK(isnan(fasc_bf16_to_f32(fasc_f64_to_bf16((double)x))), "%08x", PATTERN[i]);
    }
}

/* ---- instruction sets -------------------------------------------------------- */

enum { COUNT = 65536, MARGIN = 64 };

static bool same_f32(float a, float b)
{
    return (isnan(a) && isnan(b)) || fasc_bits(a) == fasc_bits(b);
}

static bool same_half(uint16_t a, uint16_t b, uint16_t infinity)
{
    bool both_nan = (a & 0x7fff) > infinity && (b & 0x7fff) > infinity;
    return both_nan || a == b;
}

static void compare_widening(fasc_isa isa)
{
    static uint16_t in[COUNT];
    static float out[COUNT], wanted[COUNT];
    const fasc_convert *c = fasc_convert_for(isa), *portable = &fasc_convert_portable;
    for (int i = 0; i < COUNT; i++) {
        in[i] = (uint16_t)i;
    }
    c->f16_to_f32(out, in, COUNT);
    portable->f16_to_f32(wanted, in, COUNT);
    for (int i = 0; i < COUNT; i++) {
        CHECK(same_f32(out[i], wanted[i]), "%s f16 %04x", fasc_isa_name(isa), i);
    }
    c->bf16_to_f32(out, in, COUNT);
    portable->bf16_to_f32(wanted, in, COUNT);
    for (int i = 0; i < COUNT; i++) {
        CHECK(same_f32(out[i], wanted[i]), "%s bf16 %04x", fasc_isa_name(isa), i);
    }
}

static void compare_narrowing(fasc_isa isa)
{
    static float in[COUNT];
    static uint16_t out[COUNT], wanted[COUNT];
    const fasc_convert *c = fasc_convert_for(isa), *portable = &fasc_convert_portable;
    for (int round = 0; round < 16; round++) {
        for (int i = 0; i < COUNT; i++) {
            /* Whole range, then around f16's subnormals and overflow. */
            uint32_t bits = random_bits();
            in[i] = fasc_from_bits(round % 2 ? bits : (bits & 0x8fffffff) + 0x30000000);
        }
        c->f32_to_f16(out, in, COUNT);
        portable->f32_to_f16(wanted, in, COUNT);
        for (int i = 0; i < COUNT; i++) {
            CHECK(same_half(out[i], wanted[i], 0x7c00), "%s f16 of %a: %04x, not %04x",
                  fasc_isa_name(isa), in[i], out[i], wanted[i]);
        }
        c->f32_to_bf16(out, in, COUNT);
        portable->f32_to_bf16(wanted, in, COUNT);
        for (int i = 0; i < COUNT; i++) {
            CHECK(same_half(out[i], wanted[i], 0x7f80), "%s bf16 of %a: %04x, not %04x",
                  fasc_isa_name(isa), in[i], out[i], wanted[i]);
        }
    }
}

/* Short and unaligned rows: all of the row and nothing beside it. */
static void compare_tails(fasc_isa isa)
{
    const fasc_convert *c = fasc_convert_for(isa);
    for (int n = 0; n <= MARGIN - 8; n++) {
        for (int shift = 0; shift < 4; shift++) {
            uint16_t half[MARGIN + 8], back[MARGIN + 8];
            float wide[MARGIN + 8];
            for (int i = 0; i < MARGIN + 8; i++) {
                half[i] = (uint16_t)(0x3c00 + i);
                back[i] = 7;
                wide[i] = -1;
            }
            c->f16_to_f32(wide + shift, half + shift, n);
            c->f32_to_f16(back + shift, wide + shift, n);
            for (int i = 0; i < MARGIN + 8; i++) {
                bool inside = i >= shift && i < shift + n;
                CHECK(wide[i] == (inside ? fasc_f16_to_f32(half[i]) : -1), "%s n %d at %d",
                      fasc_isa_name(isa), n, i);
                CHECK(back[i] == (inside ? half[i] : 7), "%s n %d at %d", fasc_isa_name(isa), n, i);
                back[i] = 7;
                wide[i] = -1;
            }
            c->bf16_to_f32(wide + shift, half + shift, n);
            c->f32_to_bf16(back + shift, wide + shift, n);
            for (int i = 0; i < MARGIN + 8; i++) {
                bool inside = i >= shift && i < shift + n;
                CHECK(wide[i] == (inside ? fasc_bf16_to_f32(half[i]) : -1), "%s n %d at %d",
                      fasc_isa_name(isa), n, i);
                CHECK(back[i] == (inside ? half[i] : 7), "%s n %d at %d", fasc_isa_name(isa), n, i);
            }
        }
    }
}

static void every_instruction_set_gives_the_same_bits(void)
{
    for (int isa = 0; isa <= (int)fasc_cpu_isa(); isa++) {
        compare_widening((fasc_isa)isa);
        compare_narrowing((fasc_isa)isa);
        compare_tails((fasc_isa)isa);
    }
}

/* ---- elements and rows ------------------------------------------------------- */

static void integers_truncate_and_saturate(void)
{
    static const struct {
        double x;
        int32_t i32;
        int64_t i64;
        uint8_t u8;
    } ROW[] = {
        {0.9, 0, 0, 0},
        {-0.9, 0, 0, 0},
        {-1.5, -1, -1, 0},
        {254.99, 254, 254, 254},
        {255.5, 255, 255, 255},
        {1e6, 1000000, 1000000, 255},
        {2147483647.5, INT32_MAX, 2147483647, 255},
        {2147483648.0, INT32_MAX, 2147483648, 255},
        {-2147483648.5, INT32_MIN, -2147483648, 0},
        {-2147483650.0, INT32_MIN, -2147483650, 0},
        {0x1p62, INT32_MAX, (int64_t)1 << 62, 255},
        {0x1p63, INT32_MAX, INT64_MAX, 255},
        {-0x1p63, INT32_MIN, INT64_MIN, 0},
        {-1e300, INT32_MIN, INT64_MIN, 0},
        {INFINITY, INT32_MAX, INT64_MAX, 255},
        {-INFINITY, INT32_MIN, INT64_MIN, 0},
        {NAN, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
        int32_t i32;
        int64_t i64;
        uint8_t u8;
        fasc_store_element(&i32, FASC_I32, ROW[i].x);
        fasc_store_element(&i64, FASC_I64, ROW[i].x);
        fasc_store_element(&u8, FASC_U8, ROW[i].x);
        CHECK(i32 == ROW[i].i32, "i32 of %g is %d", ROW[i].x, i32);
        CHECK(i64 == ROW[i].i64, "i64 of %g is %lld", ROW[i].x, (long long)i64);
        CHECK(u8 == ROW[i].u8, "u8 of %g is %d", ROW[i].x, u8);
    }
}

static void rows_agree_with_elements(void)
{
    enum { N = 300, STRIDE = 3 };
    static const fasc_dtype DTYPE[] = {FASC_F16, FASC_BF16, FASC_F32, FASC_F64,
                                       FASC_I32, FASC_I64,  FASC_U8};
    double values[N], f64[N];
    float f32[N], narrow[N];
    char memory[N * STRIDE * 8];
    for (int i = 0; i < N; i++) {
        values[i] = i % 29 == 28 ? NAN : ldexp((i * 37 % 101) - 50.25, i % 25 - 12);
        narrow[i] = (float)values[i];
    }
    for (size_t d = 0; d < sizeof DTYPE / sizeof *DTYPE; d++) {
        for (int64_t stride = 1; stride <= STRIDE; stride += 2) {
            size_t size = fasc_dtype_size(DTYPE[d]), step = (size_t)stride * size;
            double element;
            fasc_store_f64(memory, DTYPE[d], stride, values, N);
            fasc_load_f64(f64, memory, DTYPE[d], stride, N);
            fasc_load_f32(f32, memory, DTYPE[d], stride, N);
            for (int i = 0; i < N; i++) {
                char one[8];
                fasc_store_element(one, DTYPE[d], values[i]);
                element = fasc_load_element(one, DTYPE[d]);
                CHECK(memcmp(one, memory + (size_t)i * step, size) == 0, "%s store of %g",
                      fasc_dtype_name(DTYPE[d]), values[i]);
                CHECK(f64[i] == element || isnan(element), "%s load", fasc_dtype_name(DTYPE[d]));
                CHECK(f32[i] == (float)element || isnan(element), "%s load of %g",
                      fasc_dtype_name(DTYPE[d]), element);
            }
            fasc_store_f32(memory, DTYPE[d], stride, narrow, N);
            fasc_load_f64(f64, memory, DTYPE[d], stride, N);
            for (int i = 0; i < N; i++) {
                char one[8];
                fasc_store_element(one, DTYPE[d], (double)narrow[i]);
                element = fasc_load_element(one, DTYPE[d]);
                CHECK(f64[i] == element || (isnan(element) && isnan(f64[i])), "%s store of f32 %g",
                      fasc_dtype_name(DTYPE[d]), narrow[i]);
            }
        }
    }
}

TEST_MAIN(names_and_sizes, a_wrong_name_gets_a_hint, f16_is_exact, bf16_is_exact, nan_stays_nan,
          every_instruction_set_gives_the_same_bits, integers_truncate_and_saturate,
          rows_agree_with_elements)
