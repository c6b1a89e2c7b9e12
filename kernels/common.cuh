// common.cuh - what every kernel here uses: fixed-width types, element types and their conversions,
// fast exponentials, and warp reductions. Kernels include no CUDA header: NVRTC knows the
// language's built-ins, and conversions are PTX.
#pragma once

typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;

#define FULL_MASK 0xffffffffu

// ---- bits -------------------------------------------------------------------

__device__ __forceinline__ uint32_t float_bits(float x)
{
    return __float_as_uint(x);
}

__device__ __forceinline__ float bits_float(uint32_t x)
{
    return __uint_as_float(x);
}

#define INFINITY_F32 __uint_as_float(0x7f800000u)
#define NAN_F32      __uint_as_float(0x7fffffffu)

// ---- 16-bit floats ----------------------------------------------------------
// All conversions round to nearest even; subnormals, infinities and NaN are kept.

__device__ __forceinline__ float f16_to_f32(uint16_t bits)
{
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

__device__ __forceinline__ uint16_t f32_to_f16(float x)
{
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

__device__ __forceinline__ float bf16_to_f32(uint16_t bits)
{
    return bits_float((uint32_t)bits << 16);
}

__device__ __forceinline__ uint16_t f32_to_bf16(float x)
{
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

// Two floats as one register of two 16-bit numbers, `lo` in the low half.
__device__ __forceinline__ uint32_t f32x2_to_f16x2(float lo, float hi)
{
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(hi), "f"(lo));
    return pair;
}

__device__ __forceinline__ uint32_t f32x2_to_bf16x2(float lo, float hi)
{
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(hi), "f"(lo));
    return pair;
}

// ---- element types ----------------------------------------------------------
// A configuration names one (-DELEMENT=bf16); to_float and from_float<T> convert.

struct f16 {
    uint16_t bits;
};
struct bf16 {
    uint16_t bits;
};
typedef float f32;
typedef double f64;
typedef int32_t i32;
typedef int64_t i64;
typedef uint8_t u8;

__device__ __forceinline__ float to_float(f16 x)
{
    return f16_to_f32(x.bits);
}

__device__ __forceinline__ float to_float(bf16 x)
{
    return bf16_to_f32(x.bits);
}

__device__ __forceinline__ float to_float(float x)
{
    return x;
}

template <class T> __device__ __forceinline__ T from_float(float x);

template <> __device__ __forceinline__ f16 from_float<f16>(float x)
{
    return {f32_to_f16(x)};
}

template <> __device__ __forceinline__ bf16 from_float<bf16>(float x)
{
    return {f32_to_bf16(x)};
}

template <> __device__ __forceinline__ float from_float<float>(float x)
{
    return x;
}

// ---- arithmetic -------------------------------------------------------------

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;

__device__ __forceinline__ float fma_f32(float a, float b, float c)
{
    return __fmaf_rn(a, b, c);
}

__device__ __forceinline__ float fabs_f32(float x)
{
    return bits_float(float_bits(x) & 0x7fffffffu);
}

// 2^x, relative error below 2^-22; 0 for -inf. Results under 2^-126 become 0: for weights that end
// in 16 bits or in a sum.
__device__ __forceinline__ float exp2_approx(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// The same with subnormal results: for probabilities stored as f32.
__device__ __forceinline__ float exp2_subnormal(float x)
{
    float y;
    asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// log2(x), absolute error below 2^-22 near 1, relative elsewhere; -inf for 0.
__device__ __forceinline__ float log2_approx(float x)
{
    float y;
    asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// The larger of two; NaN if either is.
__device__ __forceinline__ float fmaxf_nan(float a, float b)
{
    float m;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(m) : "f"(a), "f"(b));
    return m;
}

// ---- memory -----------------------------------------------------------------

// The 32-bit address that PTX wants for shared memory.
__device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

// ---- reductions: every lane (every thread) gets the result, always in the same order

template <class T> __device__ __forceinline__ T warp_sum(T x)
{
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) {
        x += __shfl_xor_sync(FULL_MASK, x, lane);
    }
    return x;
}

// NaN wins.
__device__ __forceinline__ float warp_max(float x)
{
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) {
        x = fmaxf_nan(x, __shfl_xor_sync(FULL_MASK, x, lane));
    }
    return x;
}

// Over a block of WIDTH threads (a multiple of 32, at most 1024); `room` is 32 elements of shared
// memory.
template <int WIDTH> __device__ __forceinline__ float block_sum(float x, float *room)
{
    x = warp_sum(x);
    if (WIDTH == 32) {
        return x;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        room[threadIdx.x / 32] = x;
    }
    __syncthreads();
    return warp_sum(threadIdx.x % 32 < WIDTH / 32 ? room[threadIdx.x % 32] : 0.0f);
}

template <int WIDTH> __device__ __forceinline__ float block_max(float x, float *room)
{
    x = warp_max(x);
    if (WIDTH == 32) {
        return x;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        room[threadIdx.x / 32] = x;
    }
    __syncthreads();
    return warp_max(threadIdx.x % 32 < WIDTH / 32 ? room[threadIdx.x % 32] : -INFINITY_F32);
}
