/* copy_row.c - moving and converting rows of elements. */
#include "cpu/copy_row.h"

#include <string.h>

#include "dtype.h"

enum { BUFFER = 1024 }; /* elements on their way from one dtype to another */

#define MOVE(type)                                                                                 \
    do {                                                                                           \
        type *to_ = (type *)(void *)dst;                                                           \
        const type *from_ = (const type *)(const void *)src;                                       \
        int64_t ds_ = row->dst_stride, ss_ = row->src_stride;                                      \
        for (int64_t i_ = 0; i_ < n; i_++) {                                                       \
            to_[i_ * ds_] = from_[i_ * ss_];                                                       \
        }                                                                                          \
    } while (0)

#define SPLAT(type)                                                                                \
    do {                                                                                           \
        type *to_ = (type *)(void *)dst, value_;                                                   \
        memcpy(&value_, src, sizeof value_);                                                       \
        for (int64_t i_ = 0; i_ < n; i_++) {                                                       \
            to_[i_] = value_;                                                                      \
        }                                                                                          \
    } while (0)

#define BY_SIZE(DO)                                                                                \
    switch (fasc_dtype_size(row->dst_dtype)) {                                                     \
    case 1:                                                                                        \
        DO(uint8_t);                                                                               \
        break;                                                                                     \
    case 2:                                                                                        \
        DO(uint16_t);                                                                              \
        break;                                                                                     \
    case 4:                                                                                        \
        DO(uint32_t);                                                                              \
        break;                                                                                     \
    default:                                                                                       \
        DO(uint64_t);                                                                              \
    }

static void row_same(const fasc_copy_row *row, char *dst, const char *src, int64_t n)
{
    if (row->dst_stride == 1 && row->src_stride == 1) {
        memcpy(dst, src, (size_t)n * fasc_dtype_size(row->dst_dtype));
    } else if (row->dst_stride == 1 && row->src_stride == 0) {
        BY_SIZE(SPLAT)
    } else {
        BY_SIZE(MOVE)
    }
}

/* Calls STEP for parts of at most BUFFER elements: `to` and `from` are their addresses, m their
 * number. */
#define IN_PARTS(STEP)                                                                             \
    do {                                                                                           \
        int64_t dst_bytes_ = row->dst_stride * (int64_t)fasc_dtype_size(row->dst_dtype);           \
        int64_t src_bytes_ = row->src_stride * (int64_t)fasc_dtype_size(row->src_dtype);           \
        for (int64_t i_ = 0; i_ < n; i_ += BUFFER) {                                               \
            int64_t m = n - i_ < BUFFER ? n - i_ : BUFFER;                                         \
            char *to = dst + i_ * dst_bytes_;                                                      \
            const char *from = src + i_ * src_bytes_;                                              \
            STEP;                                                                                  \
        }                                                                                          \
    } while (0)

/* Among f16, bf16 and f32: float32 holds all of them. */
static void row_f32(const fasc_copy_row *row, char *dst, const char *src, int64_t n)
{
    if (row->dst_dtype == FASC_F32 && row->dst_stride == 1) {
        fasc_load_f32((float *)(void *)dst, src, row->src_dtype, row->src_stride, n);
    } else if (row->src_dtype == FASC_F32 && row->src_stride == 1) {
        fasc_store_f32(dst, row->dst_dtype, row->dst_stride, (const float *)(const void *)src, n);
    } else {
        float part[BUFFER];
        IN_PARTS(fasc_load_f32(part, from, row->src_dtype, row->src_stride, m);
                 fasc_store_f32(to, row->dst_dtype, row->dst_stride, part, m));
    }
}

static void row_f64(const fasc_copy_row *row, char *dst, const char *src, int64_t n)
{
    double part[BUFFER];
    IN_PARTS(fasc_load_f64(part, from, row->src_dtype, row->src_stride, m);
             fasc_store_f64(to, row->dst_dtype, row->dst_stride, part, m));
}

/* An i64 as a float64 that a narrower float can be rounded from as if from the i64: bits past the
 * 53 that fit are cut off and leave a 1 in the last place. */
static double round_to_odd(int64_t x)
{
    const int64_t fits = (int64_t)1 << 53;
    if (x >= -fits && x <= fits) {
        return (double)x;
    }
    int64_t rest = x & 2047;
    return (double)(x - rest + (rest != 0 ? 1024 : 0));
}

static void row_i64_to_float(const fasc_copy_row *row, char *dst, const char *src, int64_t n)
{
    double part[BUFFER];
    IN_PARTS(for (int64_t i = 0; i < m; i++) {
        part[i] = round_to_odd(((const int64_t *)(const void *)from)[i * row->src_stride]);
    } fasc_store_f64(to, row->dst_dtype, row->dst_stride, part, m));
}

static int64_t load_integer(const char *p, fasc_dtype dtype)
{
    return dtype == FASC_I64   ? *(const int64_t *)(const void *)p
           : dtype == FASC_I32 ? *(const int32_t *)(const void *)p
                               : *(const uint8_t *)p;
}

static void store_integer(char *p, fasc_dtype dtype, int64_t x)
{
    if (dtype == FASC_I64) {
        *(int64_t *)(void *)p = x;
    } else if (dtype == FASC_I32) {
        *(int32_t *)(void *)p = (int32_t)(x < INT32_MIN   ? INT32_MIN
                                          : x > INT32_MAX ? INT32_MAX
                                                          : x);
    } else {
        *(uint8_t *)p = (uint8_t)(x < 0 ? 0 : x > UINT8_MAX ? UINT8_MAX : x);
    }
}

static void row_integers(const fasc_copy_row *row, char *dst, const char *src, int64_t n)
{
    int64_t dst_bytes = row->dst_stride * (int64_t)fasc_dtype_size(row->dst_dtype);
    int64_t src_bytes = row->src_stride * (int64_t)fasc_dtype_size(row->src_dtype);
    for (int64_t i = 0; i < n; i++) {
        store_integer(dst + i * dst_bytes, row->dst_dtype,
                      load_integer(src + i * src_bytes, row->src_dtype));
    }
}

fasc_copy_row fasc_copy_row_for(fasc_dtype dst_dtype, int64_t dst_stride, fasc_dtype src_dtype,
                                int64_t src_stride)
{
    bool dst_float = fasc_dtype_is_float(dst_dtype), src_float = fasc_dtype_is_float(src_dtype);
    bool wide = dst_dtype == FASC_F64 || src_dtype == FASC_F64;
    fasc_copy_row row = {dst_dtype, src_dtype, dst_stride, src_stride, dst_dtype == src_dtype,
                         row_f64};
    if (row.plain) {
        row.move = row_same;
    } else if (dst_float && src_float && !wide) {
        row.move = row_f32;
    } else if (!dst_float && !src_float) {
        row.move = row_integers;
    } else if (src_dtype == FASC_I64 && !wide) {
        row.move = row_i64_to_float;
    }
    return row;
}
