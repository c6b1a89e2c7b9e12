/* convert_avx2.c - conversion loops with F16C and AVX2, eight elements at a time. */
#include "cpu/convert.h"

#if defined(__AVX2__)
#include <immintrin.h>

static void f16_to_f32(float *dst, const uint16_t *src, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + i))));
    }
    for (; i < n; i++) {
        dst[i] = fasc_widen_f16(src[i]);
    }
}

static void f32_to_f16(uint16_t *dst, const float *src, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *)(dst + i), half);
    }
    for (; i < n; i++) {
        dst[i] = fasc_narrow_f16(src[i]);
    }
}

static void bf16_to_f32(float *dst, const uint16_t *src, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(src + i)));
        _mm256_storeu_si256((__m256i *)(dst + i), _mm256_slli_epi32(wide, 16));
    }
    for (; i < n; i++) {
        dst[i] = fasc_widen_bf16(src[i]);
    }
}

static __m256i narrow_bf16(__m256 x)
{
    __m256i bits = _mm256_castps_si256(x), high = _mm256_srli_epi32(bits, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i nan = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    __m256 is_nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    return _mm256_blendv_epi8(_mm256_srli_epi32(rounded, 16), nan, _mm256_castps_si256(is_nan));
}

static void f32_to_bf16(uint16_t *dst, const float *src, int64_t n)
{
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256i a = narrow_bf16(_mm256_loadu_ps(src + i));
        __m256i b = narrow_bf16(_mm256_loadu_ps(src + i + 8));
        /* The pack works within 128-bit halves: the permutation puts them in order. */
        __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
        _mm256_storeu_si256((__m256i *)(dst + i), packed);
    }
    for (; i < n; i++) {
        dst[i] = fasc_narrow_bf16(src[i]);
    }
}

const fasc_convert fasc_convert_avx2 = {f16_to_f32, f32_to_f16, bf16_to_f32, f32_to_bf16};
#endif
