/* simd.h - a vector of floats as wide as the instruction set that the including file is compiled
 * for (16, 8 or 4 lanes), and what attention does with it. For *_portable.c, *_avx2.c and
 * *_avx512.c alone; written with the compiler's vector types, and intrinsics where those have no
 * word for it. */
#ifndef FASC_CPU_SIMD_H
#define FASC_CPU_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(LANES * 4), may_alias));
typedef float vec_anywhere __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), may_alias));
typedef uint32_t uvec __attribute__((vector_size(LANES * 4), may_alias));

static inline vec vec_load(const float *p)
{
    return *(const vec_anywhere *)p;
}

static inline void vec_store(float *p, vec a)
{
    *(vec_anywhere *)p = a;
}

static inline vec vec_set(float x)
{
    return x - (vec){0};
}

/* The larger, lane by lane; b where either is NaN. */
static inline vec vec_max(vec a, vec b)
{
#if defined(__AVX512F__)
    return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
    return _mm256_max_ps(a, b);
#else
    vec r;
    for (int i = 0; i < LANES; i++) {
        r[i] = a[i] > b[i] ? a[i] : b[i];
    }
    return r;
#endif
}

/* a in the lanes where mask is all ones, b where it is 0. */
static inline vec vec_select(ivec mask, vec a, vec b)
{
    return (vec)(((ivec)a & mask) | ((ivec)b & ~mask));
}

static inline float vec_sum(vec a)
{
    float r[LANES];
    vec_store(r, a);
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            r[i] += r[i + half];
        }
    }
    return r[0];
}

static inline float vec_max_lane(vec a)
{
    float r = a[0];
    for (int i = 1; i < LANES; i++) {
        r = a[i] > r ? a[i] : r;
    }
    return r;
}

static inline ivec vec_lane_numbers(void)
{
    ivec r;
    for (int i = 0; i < LANES; i++) {
        r[i] = i;
    }
    return r;
}

/* ---- exponential --------------------------------------------------------------------
 * 2^t = 2^n 2^f with n an integer; 2^f by a polynomial of relative error below 1e-7, minimax with
 * the constant term held at 1, so that 2^0 is 1. NaN gives NaN, -inf gives 0. */

#define VEC_LOG2E 0x1.715476p0f

static inline vec vec_polynomial(vec f, float c5, float c4, float c3, float c2, float c1)
{
    vec p = vec_set(c5) * f + vec_set(c4);
    p = p * f + vec_set(c3);
    p = p * f + vec_set(c2);
    p = p * f + vec_set(c1);
    return p * f + vec_set(1.0f);
}

#if defined(__AVX512F__)

/* With f in [0, 1); results below 2^-126 are subnormal, rounded once. */
static inline vec vec_exp2_gradual(vec t)
{
    vec f = _mm512_reduce_ps(t, 0x01); /* t - floor(t) */
    vec p = vec_polynomial(f, 0x1.e974fcp-10f, 0x1.277854p-7f, 0x1.c91ce6p-5f, 0x1.ebdb56p-3f,
                           0x1.62e4bap-1f);
    return _mm512_scalef_ps(p, t); /* p 2^floor(t) */
}

static inline vec vec_exp2(vec t)
{
    return vec_exp2_gradual(t);
}

#else

/* Adding this rounds to an integer and leaves it in the lowest bits. */
#define VEC_ROUND 0x1.8p23f

/* f in [-1/2, 1/2]. */
static inline vec vec_exp2_fraction(vec f)
{
    return vec_polynomial(f, 0x1.5bba14p-10f, 0x1.3cea88p-7f, 0x1.c6b752p-5f, 0x1.ebf9bcp-3f,
                          0x1.62e42ap-1f);
}

/* For t < 128; results below 2^-126 are 0. */
static inline vec vec_exp2(vec t)
{
    t = vec_max(vec_set(-127.0f), t);
    vec rounded = t + vec_set(VEC_ROUND);
    vec p = vec_exp2_fraction(t - (rounded - vec_set(VEC_ROUND)));
    return p * (vec)(((uvec)rounded << 23) + (uvec)vec_set(1.0f));
}

/* The same with results below 2^-126 subnormal, rounded once. */
static inline vec vec_exp2_gradual(vec t)
{
    t = vec_max(vec_set(-160.0f), t);
    vec rounded = t + vec_set(VEC_ROUND);
    vec p = vec_exp2_fraction(t - (rounded - vec_set(VEC_ROUND)));
    ivec n = (ivec)rounded - (ivec)vec_set(VEC_ROUND);
    ivec half = n >> 1;
    vec first = (vec)((uvec)(half + 127) << 23), second = (vec)((uvec)(n - half + 127) << 23);
    return p * first * second;
}

#endif

/* ---- transposition -------------------------------------------------------------------- */

/* LANES rows of LANES floats become columns, in place. */
static inline void vec_transpose(vec r[LANES])
{
#if defined(__AVX512F__)
    vec t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) { /* quarters of 128 bits: pairs, then pairs of pairs */
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
    }
#elif defined(__AVX2__)
    vec t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    memcpy(r, t, sizeof t);
#else
    vec t[4];
    for (int i = 0; i < 4; i++) {
        t[i] = (vec){r[0][i], r[1][i], r[2][i], r[3][i]};
    }
    memcpy(r, t, sizeof t);
#endif
}

/* Stores past the caches; p is aligned to a vector. */
static inline void vec_stream(float *p, vec a)
{
#if defined(__AVX512F__)
    _mm512_stream_ps(p, a);
#elif defined(__AVX2__)
    _mm256_stream_ps(p, a);
#else
    *(vec *)p = a;
#endif
}

/* Streamed stores become visible to other threads before later ones. */
static inline void vec_stream_end(void)
{
#if defined(__AVX2__)
    _mm_sfence();
#endif
}

#endif
