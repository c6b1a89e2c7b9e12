/* dtype.c - element types: names, sizes, and conversion of one element or of a row. */
#include "dtype.h"

#include <math.h>
#include <string.h>

#include "cpu/convert.h"
#include "names.h"
#include "validate.h"

/* ---- names ---------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t size;
} DTYPE[] = {
    [FASC_F16] = {"f16", 2}, [FASC_BF16] = {"bf16", 2}, [FASC_F32] = {"f32", 4},
    [FASC_F64] = {"f64", 8}, [FASC_I32] = {"i32", 4},   [FASC_I64] = {"i64", 8},
    [FASC_U8] = {"u8", 1},
};

static const struct {
    const char *name;
    fasc_dtype dtype;
} SPELLING[] = {
    {"f16", FASC_F16},       {"bf16", FASC_BF16},   {"f32", FASC_F32},     {"f64", FASC_F64},
    {"i32", FASC_I32},       {"i64", FASC_I64},     {"u8", FASC_U8},       {"float16", FASC_F16},
    {"bfloat16", FASC_BF16}, {"float32", FASC_F32}, {"float64", FASC_F64}, {"half", FASC_F16},
    {"float", FASC_F32},     {"double", FASC_F64},  {"int32", FASC_I32},   {"int64", FASC_I64},
    {"uint8", FASC_U8},
};
enum { SPELLINGS = sizeof SPELLING / sizeof *SPELLING };

static bool is_dtype(fasc_dtype dtype)
{
    return dtype >= FASC_F16 && dtype <= FASC_U8;
}

const char *fasc_dtype_name(fasc_dtype dtype)
{
    return is_dtype(dtype) ? DTYPE[dtype].name : NULL;
}

size_t fasc_dtype_size(fasc_dtype dtype)
{
    return is_dtype(dtype) ? DTYPE[dtype].size : 0;
}

fasc_status fasc_dtype_parse(const char *name, fasc_dtype *dtype)
{
    fasc_status status = fasc_check_pointer("dtype_parse", "name", name);
    if (status == FASC_OK) {
        status = fasc_check_pointer("dtype_parse", "dtype", dtype);
    }
    if (status != FASC_OK) {
        return status;
    }
    const char *names[SPELLINGS];
    for (int i = 0; i < SPELLINGS; i++) {
        if (strcmp(name, SPELLING[i].name) == 0) {
            *dtype = SPELLING[i].dtype;
            return FASC_OK;
        }
        names[i] = SPELLING[i].name;
    }
    const char *nearest = fasc_nearest_name(name, names, SPELLINGS);
    return fasc_fail(
        FASC_EINVAL, "dtype_parse: '%s' is not one of f16, bf16, f32, f64, i32, i64, u8%s%s%s",
        name, nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

/* ---- one element ----------------------------------------------------------- */

float fasc_f16_to_f32(uint16_t bits)
{
    return fasc_widen_f16(bits);
}

uint16_t fasc_f32_to_f16(float x)
{
    return fasc_narrow_f16(x);
}

float fasc_bf16_to_f32(uint16_t bits)
{
    return fasc_widen_bf16(bits);
}

uint16_t fasc_f32_to_bf16(float x)
{
    return fasc_narrow_bf16(x);
}

/* f64 to f32 rounded to odd: truncated, with the last bit set if anything was cut off. A second
 * rounding, to nearest and at least two bits shorter, then gives what one rounding would have. */
static float round_to_odd(double x)
{
    float f = (float)x;
    double back = (double)f;
    if (back == x || x != x) {
        return f;
    }
    uint32_t bits = fasc_bits(f);
    return fasc_from_bits((fabs(back) > fabs(x) ? bits - 1u : bits) | 1u);
}

uint16_t fasc_f64_to_f16(double x)
{
    return fasc_narrow_f16(round_to_odd(x));
}

uint16_t fasc_f64_to_bf16(double x)
{
    return fasc_narrow_bf16(round_to_odd(x));
}

static int64_t saturate(double x, double low, double high, int64_t lowest, int64_t highest)
{
    return x != x ? 0 : x <= low ? lowest : x >= high ? highest : (int64_t)x;
}

static int32_t to_i32(double x)
{
    return (int32_t)saturate(x, INT32_MIN, INT32_MAX, INT32_MIN, INT32_MAX);
}

static int64_t to_i64(double x)
{
    return saturate(x, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX);
}

static uint8_t to_u8(double x)
{
    return (uint8_t)saturate(x, 0, UINT8_MAX, 0, UINT8_MAX);
}

double fasc_load_element(const void *p, fasc_dtype dtype)
{
    double x = 0;
    fasc_load_f64(&x, p, dtype, 1, 1);
    return x;
}

void fasc_store_element(void *p, fasc_dtype dtype, double x)
{
    fasc_store_f64(p, dtype, 1, &x, 1);
}

/* ---- rows ------------------------------------------------------------------ */

/* dst[i * dst_stride] = CONVERT(src[i * src_stride]) */
#define EACH(dst_type, dst_stride, src_type, src_stride, CONVERT)                                  \
    do {                                                                                           \
        dst_type *to_ = (dst_type *)dst;                                                           \
        const src_type *from_ = (const src_type *)src;                                             \
        for (int64_t i_ = 0; i_ < n; i_++) {                                                       \
            to_[i_ * (dst_stride)] = CONVERT(from_[i_ * (src_stride)]);                            \
        }                                                                                          \
    } while (0)

#define TO_F32(x) ((float)(x))
#define TO_F64(x) ((double)(x))

void fasc_load_f32(float *dst, const void *src, fasc_dtype dtype, int64_t stride, int64_t n)
{
    const fasc_convert *convert = fasc_convert_for(fasc_cpu_isa());
    switch (dtype) {
    case FASC_F16:
        if (stride == 1) {
            convert->f16_to_f32(dst, src, n);
        } else {
            EACH(float, 1, uint16_t, stride, fasc_widen_f16);
        }
        break;
    case FASC_BF16:
        if (stride == 1) {
            convert->bf16_to_f32(dst, src, n);
        } else {
            EACH(float, 1, uint16_t, stride, fasc_widen_bf16);
        }
        break;
    case FASC_F32:
        if (stride == 1) {
            memcpy(dst, src, (size_t)n * sizeof *dst);
        } else {
            EACH(float, 1, float, stride, TO_F32);
        }
        break;
    case FASC_F64:
        EACH(float, 1, double, stride, TO_F32);
        break;
    case FASC_I32:
        EACH(float, 1, int32_t, stride, TO_F32);
        break;
    case FASC_I64:
        EACH(float, 1, int64_t, stride, TO_F32);
        break;
    case FASC_U8:
        EACH(float, 1, uint8_t, stride, TO_F32);
        break;
    }
}

void fasc_store_f32(void *dst, fasc_dtype dtype, int64_t stride, const float *src, int64_t n)
{
    const fasc_convert *convert = fasc_convert_for(fasc_cpu_isa());
    switch (dtype) {
    case FASC_F16:
        if (stride == 1) {
            convert->f32_to_f16(dst, src, n);
        } else {
            EACH(uint16_t, stride, float, 1, fasc_narrow_f16);
        }
        break;
    case FASC_BF16:
        if (stride == 1) {
            convert->f32_to_bf16(dst, src, n);
        } else {
            EACH(uint16_t, stride, float, 1, fasc_narrow_bf16);
        }
        break;
    case FASC_F32:
        if (stride == 1) {
            memcpy(dst, src, (size_t)n * sizeof *src);
        } else {
            EACH(float, stride, float, 1, TO_F32);
        }
        break;
    case FASC_F64:
        EACH(double, stride, float, 1, TO_F64);
        break;
    case FASC_I32:
        EACH(int32_t, stride, float, 1, to_i32);
        break;
    case FASC_I64:
        EACH(int64_t, stride, float, 1, to_i64);
        break;
    case FASC_U8:
        EACH(uint8_t, stride, float, 1, to_u8);
        break;
    }
}

/* The 16-bit formats on their way to float64, through exact float32. */
static void load_f64_from_half(double *dst, const uint16_t *src, fasc_dtype dtype, int64_t stride,
                               int64_t n)
{
    float part[256];
    for (int64_t i = 0; i < n; i += 256) {
        int64_t m = n - i < 256 ? n - i : 256;
        fasc_load_f32(part, src + i * stride, dtype, stride, m);
        for (int64_t j = 0; j < m; j++) {
            dst[i + j] = (double)part[j];
        }
    }
}

void fasc_load_f64(double *dst, const void *src, fasc_dtype dtype, int64_t stride, int64_t n)
{
    switch (dtype) {
    case FASC_F16:
    case FASC_BF16:
        load_f64_from_half(dst, src, dtype, stride, n);
        break;
    case FASC_F32:
        EACH(double, 1, float, stride, TO_F64);
        break;
    case FASC_F64:
        EACH(double, 1, double, stride, TO_F64);
        break;
    case FASC_I32:
        EACH(double, 1, int32_t, stride, TO_F64);
        break;
    case FASC_I64:
        EACH(double, 1, int64_t, stride, TO_F64);
        break;
    case FASC_U8:
        EACH(double, 1, uint8_t, stride, TO_F64);
        break;
    }
}

void fasc_store_f64(void *dst, fasc_dtype dtype, int64_t stride, const double *src, int64_t n)
{
    switch (dtype) {
    case FASC_F16:
        EACH(uint16_t, stride, double, 1, fasc_f64_to_f16);
        break;
    case FASC_BF16:
        EACH(uint16_t, stride, double, 1, fasc_f64_to_bf16);
        break;
    case FASC_F32:
        EACH(float, stride, double, 1, TO_F32);
        break;
    case FASC_F64:
        EACH(double, stride, double, 1, TO_F64);
        break;
    case FASC_I32:
        EACH(int32_t, stride, double, 1, to_i32);
        break;
    case FASC_I64:
        EACH(int64_t, stride, double, 1, to_i64);
        break;
    case FASC_U8:
        EACH(uint8_t, stride, double, 1, to_u8);
        break;
    }
}
