/* element.c - small integers and 8-bit floats to the dtypes that hold them. */
#include "element.h"

#include <string.h>

#include "dtype.h"

size_t fasc_element_size(fasc_element element, fasc_dtype dtype)
{
    switch (element) {
    case FASC_ELEMENT_I8:
    case FASC_ELEMENT_E4M3:
    case FASC_ELEMENT_E5M2:
        return 1;
    case FASC_ELEMENT_I16:
    case FASC_ELEMENT_U16:
        return 2;
    case FASC_ELEMENT_U32:
        return 4;
    case FASC_ELEMENT_U64:
        return 8;
    case FASC_ELEMENT_SAME:
        break;
    }
    return fasc_dtype_size(dtype);
}

/* 1 sign, 4 exponent and 3 mantissa bits; the exponent's bias is 7, f16's is 15. */
static uint16_t e4m3_to_f16(uint8_t x)
{
    uint16_t sign = (uint16_t)((x & 0x80) << 8), exponent = x >> 3 & 15, mantissa = x & 7;
    if (exponent == 15 && mantissa == 7) {
        return sign | 0x7e00;
    }
    if (exponent == 0 && mantissa != 0) { /* mantissa * 2^-9, which f16 has as a normal number */
        int shift = mantissa >= 4 ? 0 : mantissa >= 2 ? 1 : 2;
        return (uint16_t)(sign | (8 - shift) << 10 | (mantissa << (shift + 8) & 0x3ff));
    }
    return (uint16_t)(sign | (exponent || mantissa ? (exponent + 8) << 10 : 0) | mantissa << 7);
}

int64_t fasc_element_widen(fasc_element element, const void *src, int64_t n, void *dst)
{
    const uint8_t *from = src;
    size_t size = fasc_element_size(element, FASC_U8);
    int32_t *i32 = dst;
    int64_t *i64 = dst;
    uint16_t *f16 = dst;
    for (int64_t i = 0; i < n; i++, from += size) {
        uint64_t word = 0;
        memcpy(&word, from, size);
        switch (element) {
        case FASC_ELEMENT_I8:
            i32[i] = (int8_t)word;
            break;
        case FASC_ELEMENT_I16:
            i32[i] = (int16_t)word;
            break;
        case FASC_ELEMENT_U16:
            i32[i] = (int32_t)word;
            break;
        case FASC_ELEMENT_U32:
            i64[i] = (int64_t)word;
            break;
        case FASC_ELEMENT_U64:
            if (word > INT64_MAX) {
                return i;
            }
            i64[i] = (int64_t)word;
            break;
        case FASC_ELEMENT_E4M3:
            f16[i] = e4m3_to_f16((uint8_t)word);
            break;
        case FASC_ELEMENT_E5M2:
            f16[i] = (uint16_t)(word << 8);
            break;
        case FASC_ELEMENT_SAME:
            return i;
        }
    }
    return n;
}
