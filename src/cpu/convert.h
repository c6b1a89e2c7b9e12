/* convert.h - contiguous conversion between f32 and the 16-bit formats, one table for each
 * instruction set. All tables give the same bits (a NaN's payload aside). */
#ifndef FASC_CPU_CONVERT_H
#define FASC_CPU_CONVERT_H

#include "cpu/isa.h"

typedef struct fasc_convert {
    void (*f16_to_f32)(float *dst, const uint16_t *src, int64_t n);
    void (*f32_to_f16)(uint16_t *dst, const float *src, int64_t n);
    void (*bf16_to_f32)(float *dst, const uint16_t *src, int64_t n);
    void (*f32_to_bf16)(uint16_t *dst, const float *src, int64_t n);
} fasc_convert;

/* NULL for an instruction set that this build does not hold. */
const fasc_convert *fasc_convert_for(fasc_isa isa);

extern const fasc_convert fasc_convert_portable;
#if defined(__x86_64__)
extern const fasc_convert fasc_convert_avx2, fasc_convert_avx512;
#endif

/* ---- one element, in integer and exact arithmetic -------------------------- */

static inline uint32_t fasc_bits(float x)
{
    union {
        float f;
        uint32_t u;
    } pun = {.f = x};
    return pun.u;
}

static inline float fasc_from_bits(uint32_t bits)
{
    union {
        uint32_t u;
        float f;
    } pun = {.u = bits};
    return pun.f;
}

static inline float fasc_widen_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;
    uint32_t normal = (rest << 13) + (112u << 23);
    uint32_t special = (rest << 13) | 0x7f800000u; /* infinity and NaN */
    uint32_t tiny = fasc_bits((float)(int32_t)rest * 0x1p-24f);
    uint32_t bits = rest >= 0x7c00u ? special : rest < 0x400u ? tiny : normal;
    return fasc_from_bits(sign | bits);
}

static inline uint16_t fasc_narrow_f16(float x)
{
    uint32_t bits = fasc_bits(x), sign = (bits >> 16) & 0x8000u, rest = bits & 0x7fffffffu;
    /* A carry out of the mantissa moves the exponent on, up to infinity. */
    uint32_t normal = (rest - (112u << 23) + 0xfffu + ((rest >> 13) & 1u)) >> 13;
    /* Below 2^-14 the result counts units of 2^-24, which is what 0.5f's last bit is worth. */
    uint32_t tiny = fasc_bits(fasc_from_bits(rest) + 0.5f) - fasc_bits(0.5f);
    uint32_t half = rest > 0x7f800000u    ? 0x7e00u
                    : rest >= 0x477ff000u ? 0x7c00u /* 65520 and more */
                    : rest < 0x38800000u  ? tiny
                                          : normal;
    return (uint16_t)(sign | half);
}

static inline float fasc_widen_bf16(uint16_t b)
{
    return fasc_from_bits((uint32_t)b << 16);
}

static inline uint16_t fasc_narrow_bf16(float x)
{
    uint32_t bits = fasc_bits(x);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t nan = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

#endif
