/* philox.h - counter-based random numbers, the same bits on every backend: this file is compiled as
 * C11 for the CPU and as CUDA for the GPU, and includes nothing.
 *
 * Philox4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011. Four words from a key of two and a counter of four.
 *
 * Normal numbers: Box-Muller in float32. Each step is one correctly rounded operation (fused
 * multiply-add where it says so, never by the compiler's choice), and ln, sin and cos are the
 * polynomials below (minimax in relative error, coefficients by the Remez exchange). With u and the
 * angle as float32 has them, a normal number's relative error is below 3e-7; the largest magnitude
 * is sqrt(2 ln 2^32) = 6.66. */
#ifndef FASC_PHILOX_H
#define FASC_PHILOX_H

#if defined(__CUDACC__)
#define FASC_PHILOX       static __device__ __forceinline__
#define FASC_FMA(a, b, c) __fmaf_rn(a, b, c)
#define FASC_MUL(a, b)    __fmul_rn(a, b)
#define FASC_SUB(a, b)    __fsub_rn(a, b)
#define FASC_SQRT(a)      __fsqrt_rn(a)
#define FASC_FROM_INT(i)  __int2float_rn(i)
#define FASC_AS_UINT(x)   __float_as_uint(x)
#define FASC_AS_FLOAT(u)  __uint_as_float(u)
#else
/* Inside the functions below no product feeds a sum except through FASC_FMA, so that even a
 * compiler that may contract finds nothing to contract. */
#define FASC_PHILOX       static inline __attribute__((always_inline, unused))
#define FASC_FMA(a, b, c) __builtin_fmaf(a, b, c)
#define FASC_MUL(a, b)    ((a) * (b))
#define FASC_SUB(a, b)    ((a) - (b))
#define FASC_SQRT(a)      __builtin_sqrtf(a)
#define FASC_FROM_INT(i)  ((float)(i))
#define FASC_AS_UINT(x)                                                                            \
    (((union {                                                                                     \
         float f;                                                                                  \
         unsigned int u;                                                                           \
     }){.f = (x)})                                                                                 \
         .u)
#define FASC_AS_FLOAT(u_)                                                                          \
    (((union {                                                                                     \
         unsigned int u;                                                                           \
         float f;                                                                                  \
     }){.u = (u_)})                                                                                \
         .f)
#endif

/* ---- words ------------------------------------------------------------------ */

/* One round: multiply, exchange, add the key. The key then moves on by the Weyl constants. */
#define FASC_PHILOX_ROUND(c0, c1, c2, c3, k0, k1)                                                  \
    do {                                                                                           \
        unsigned long long p0_ = 0xD2511F53ull * (c0), p1_ = 0xCD9E8D57ull * (c2);                 \
        (c0) = (unsigned int)(p1_ >> 32) ^ (c1) ^ (k0);                                            \
        (c2) = (unsigned int)(p0_ >> 32) ^ (c3) ^ (k1);                                            \
        (c1) = (unsigned int)p1_;                                                                  \
        (c3) = (unsigned int)p0_;                                                                  \
        (k0) += 0x9E3779B9u;                                                                       \
        (k1) += 0xBB67AE85u;                                                                       \
    } while (0)

/* The four words of counter (c0, c1, c2, c3) under the key `seed` (low word, high word). The ten
 * rounds are written out so that loops over counters vectorise. */
FASC_PHILOX void fasc_philox(unsigned long long seed, unsigned int c0, unsigned int c1,
                             unsigned int c2, unsigned int c3, unsigned int word[4])
{
    unsigned int k0 = (unsigned int)seed, k1 = (unsigned int)(seed >> 32);
    FASC_PHILOX_ROUND(c0, c1, c2, c3, k0, k1);
    FASC_PHILOX_ROUND(c0, c1, c2, c3, k0, k1);
    FASC_PHILOX_ROUND(c0, c1, c2, c3, k0, k1);
    FASC_PHILOX_ROUND(c0, c1, c2, c3, k0, k1);
    FASC_PHILOX_ROUND(c0, c1, c2, c3, k0, k1);
    FASC_PHILOX_ROUND(c0, c1, c2, c3, k0, k1);
    FASC_PHILOX_ROUND(c0, c1, c2, c3, k0, k1);
    FASC_PHILOX_ROUND(c0, c1, c2, c3, k0, k1);
    FASC_PHILOX_ROUND(c0, c1, c2, c3, k0, k1);
    FASC_PHILOX_ROUND(c0, c1, c2, c3, k0, k1);
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

/* The word that decides whether dropout keeps the pair (query i, key j) of row block bh = b * Hq +
 * h: one counter serves queries r and r + 8 and keys 2c and 2c + 1, as matrix fragments lie. */
FASC_PHILOX unsigned int fasc_dropout_word(unsigned long long seed, unsigned int offset,
                                           unsigned int bh, unsigned int i, unsigned int j)
{
    unsigned int word[4];
    fasc_philox(seed, j >> 1, (i >> 4) * 8u + (i & 7u), bh, offset, word);
    return word[2u * ((i >> 3) & 1u) + (j & 1u)];
}

/* ---- numbers ---------------------------------------------------------------- */

/* In [0, 1), a multiple of 2^-24. */
FASC_PHILOX float fasc_uniform(unsigned int word)
{
    return FASC_MUL(FASC_FROM_INT((int)(word >> 8)), 0x1p-24f);
}

/* -2 ln u for u in (0, 1]: u = 2^e (1 + f) with 1 + f in [sqrt 1/2, sqrt 2), and
 * ln(1 + f) = f - f^2/2 + f^3 P(f), |relative error of the formula| < 2^-27. */
FASC_PHILOX float fasc_minus_2_ln(float u)
{
    unsigned int bits = FASC_AS_UINT(u) - 0x3f3504f3u; /* sqrt 1/2 becomes 0 */
    float e = FASC_FROM_INT((int)bits >> 23);
    float f = FASC_SUB(FASC_AS_FLOAT((bits & 0x7fffffu) + 0x3f3504f3u), 1.0f);
    float p = FASC_FMA(-0.0763452824f, f, 0.127615945f);
    p = FASC_FMA(p, f, -0.131601778f);
    p = FASC_FMA(p, f, 0.142017548f);
    p = FASC_FMA(p, f, -0.166233575f);
    p = FASC_FMA(p, f, 0.200012271f);
    p = FASC_FMA(p, f, -0.250008210f);
    p = FASC_FMA(p, f, 0.333333317f);
    p = FASC_FMA(p, f, -0.5f);
    p = FASC_FMA(p, FASC_MUL(f, f), f);
    return FASC_MUL(FASC_FMA(e, 0.693147181f, p), -2.0f);
}

/* cos and sin of 2 pi word / 2^32: the nearest quarter turn is taken off as an integer, and what
 * is left, x in [-pi/4, pi/4], goes through sin x = x + x^3 S(x^2) (2^-27) and
 * cos x = 1 - x^2/2 + x^4 C(x^2) (2^-33). */
FASC_PHILOX void fasc_cos_sin(unsigned int word, float *cosine, float *sine)
{
    unsigned int quarter = (word + 0x20000000u) >> 30;
    float x = FASC_MUL(FASC_FROM_INT((int)(word - (quarter << 30))), 1.46291808e-9f); /* 2pi/2^32 */
    float t = FASC_MUL(x, x);
    float s = FASC_FMA(-0.000195152517f, t, 0.00833216054f);
    float c = FASC_FMA(2.44331197e-5f, t, -0.00138873159f);
    s = FASC_FMA(s, t, -0.166666546f);
    c = FASC_FMA(c, t, 0.0416666457f);
    s = FASC_FMA(FASC_MUL(s, t), x, x);
    c = FASC_FMA(c, t, -0.5f);
    c = FASC_FMA(c, t, 1.0f);
    /* A quarter turn exchanges the two; the signs follow the quadrant. */
    unsigned int odd = 0u - (quarter & 1u);
    unsigned int cb = FASC_AS_UINT(c), sb = FASC_AS_UINT(s), mixed = (cb ^ sb) & odd;
    *cosine = FASC_AS_FLOAT(cb ^ mixed ^ (((quarter + 1u) & 2u) << 30));
    *sine = FASC_AS_FLOAT(sb ^ mixed ^ ((quarter & 2u) << 30));
}

/* Two standard normal numbers from two words: u = (w0 / 2 + 1/2) 2^-31 in (0, 1], angle w1. */
FASC_PHILOX void fasc_normal_pair(unsigned int w0, unsigned int w1, float *z0, float *z1)
{
    float u = FASC_FMA(FASC_FROM_INT((int)(w0 >> 1)), 0x1p-31f, 0x1p-32f);
    float radius = FASC_SQRT(fasc_minus_2_ln(u)), cosine, sine;
    fasc_cos_sin(w1, &cosine, &sine);
    *z0 = FASC_MUL(radius, cosine);
    *z1 = FASC_MUL(radius, sine);
}

#endif
