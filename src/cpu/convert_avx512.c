/* convert_avx512.c - conversion loops with AVX-512, sixteen elements at a time; masks take the
 * rest. (VCVTNEPS2BF16 is not used: it flushes subnormals to zero.) */
#include "cpu/convert.h"

#if defined(__AVX512F__)
#include <immintrin.h>

static __mmask16 first(int64_t n)
{
    return n >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1u);
}

static void f16_to_f32(float *dst, const uint16_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first(n - i);
        _mm512_mask_storeu_ps(dst + i, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, src + i)));
    }
}

static void f32_to_f16(uint16_t *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first(n - i);
        __m512 x = _mm512_maskz_loadu_ps(m, src + i);
        _mm256_mask_storeu_epi16(dst + i, m, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
}

static void bf16_to_f32(float *dst, const uint16_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first(n - i);
        __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, src + i));
        _mm512_mask_storeu_epi32(dst + i, m, _mm512_slli_epi32(wide, 16));
    }
}

static void f32_to_bf16(uint16_t *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = first(n - i);
        __m512 x = _mm512_maskz_loadu_ps(m, src + i);
        __m512i bits = _mm512_castps_si512(x), high = _mm512_srli_epi32(bits, 16);
        __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
        __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        __m512i nan = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
        __m512i half = _mm512_mask_mov_epi32(_mm512_srli_epi32(rounded, 16),
                                             _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), nan);
        _mm256_mask_storeu_epi16(dst + i, m, _mm512_cvtepi32_epi16(half));
    }
}

const fasc_convert fasc_convert_avx512 = {f16_to_f32, f32_to_f16, bf16_to_f32, f32_to_bf16};
#endif
