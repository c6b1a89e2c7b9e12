/* convert_portable.c - conversion loops in plain C, and the table of tables. */
#include "cpu/convert.h"

static void f16_to_f32(float *restrict dst, const uint16_t *restrict src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        dst[i] = fasc_widen_f16(src[i]);
    }
}

static void f32_to_f16(uint16_t *restrict dst, const float *restrict src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        dst[i] = fasc_narrow_f16(src[i]);
    }
}

static void bf16_to_f32(float *restrict dst, const uint16_t *restrict src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        dst[i] = fasc_widen_bf16(src[i]);
    }
}

static void f32_to_bf16(uint16_t *restrict dst, const float *restrict src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        dst[i] = fasc_narrow_bf16(src[i]);
    }
}

const fasc_convert fasc_convert_portable = {f16_to_f32, f32_to_f16, bf16_to_f32, f32_to_bf16};

const fasc_convert *fasc_convert_for(fasc_isa isa)
{
    static const fasc_convert *const TABLE[FASC_ISA_COUNT] = {
        [FASC_ISA_PORTABLE] = &fasc_convert_portable,
#if defined(__x86_64__)
        [FASC_ISA_AVX2] = &fasc_convert_avx2,
        [FASC_ISA_AVX512] = &fasc_convert_avx512,
#endif
    };
    return TABLE[isa];
}
