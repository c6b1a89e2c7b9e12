// flash_common.cuh - one-line device functions that the flash kernels share: 16-bit conversions
// (f16 or bf16 by FASC_BF16), base-2 exponential and logarithm, shared and global accesses by
// width.
#pragma once

#include "common.cuh"
#include "flash_params.h"

// ---- 16-bit elements --------------------------------------------------------

__device__ __forceinline__ float element_to_float(uint16_t x)
{
    return FASC_BF16 ? bf16_to_f32(x) : f16_to_f32(x);
}

__device__ __forceinline__ uint16_t float_to_element(float x)
{
    return FASC_BF16 ? f32_to_bf16(x) : f32_to_f16(x);
}

// Two floats rounded to nearest even and packed, `lo` in the low half.
__device__ __forceinline__ uint32_t pack_16(float lo, float hi)
{
    return FASC_BF16 ? f32x2_to_bf16x2(lo, hi) : f32x2_to_f16x2(lo, hi);
}

// ---- visibility -------------------------------------------------------------

// The keys [first, last] that a row sees, clamped to the keys there are; empty: first > last.
__device__ __forceinline__ void visible_keys(const fasc_flash_params &p, int row, int *first,
                                             int *last)
{
    int64_t lo = row + p.lo, hi = row + p.hi;
    *first = lo > 0 ? (int)min(lo, (int64_t)p.seqlen_k) : 0;
    *last = hi < p.seqlen_k - 1 ? (int)max(hi, (int64_t)-1) : p.seqlen_k - 1;
}

// ---- memory -----------------------------------------------------------------

__device__ __forceinline__ void load_shared_16(uint32_t (&x)[4], uint32_t at)
{
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at)
                 : "memory");
}

__device__ __forceinline__ void store_shared_16(uint32_t at, const uint32_t (&x)[4])
{
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};\n" ::"r"(at), "r"(x[0]), "r"(x[1]),
                 "r"(x[2]), "r"(x[3])
                 : "memory");
}

__device__ __forceinline__ void store_shared_8(uint32_t at, float x0, float x1)
{
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};\n" ::"r"(at), "f"(x0), "f"(x1) : "memory");
}

__device__ __forceinline__ void store_shared_4(uint32_t at, uint32_t x)
{
    asm volatile("st.shared.b32 [%0], %1;\n" ::"r"(at), "r"(x) : "memory");
}

__device__ __forceinline__ uint16_t load_shared_2(uint32_t at)
{
    uint16_t x;
    asm volatile("ld.shared.u16 %0, [%1];\n" : "=h"(x) : "r"(at) : "memory");
    return x;
}

// Streaming: written once, not read again here.
__device__ __forceinline__ void store_global_16(void *to, const uint32_t (&x)[4])
{
    asm volatile("st.global.cs.v4.b32 [%0], {%1, %2, %3, %4};\n" ::"l"(to), "r"(x[0]), "r"(x[1]),
                 "r"(x[2]), "r"(x[3])
                 : "memory");
}
