// exponents.cuh - what exponentials of scores are taken against, for kernels whose scores are final
// (scaled and masked): maxima and sums that grow, and the LSE that comes of them, in powers of two.
#pragma once

#include "common.cuh"

// What exponents are taken against: the maximum in powers of two, rounded once; 0 where nothing is
// visible, so that -inf stays what it is.
__device__ __forceinline__ float offset_of(float largest)
{
    return largest == -INFINITY_F32 ? 0.0f : __fmul_rn(largest, LOG2_E);
}

// A sum against the maximum `largest`, against another offset.
__device__ __forceinline__ float rescaled(float sum, float largest, float offset)
{
    return largest == -INFINITY_F32 ? 0.0f : sum * exp2_approx(offset_of(largest) - offset);
}

// LSE in powers of two.
__device__ __forceinline__ float lse2_of(float largest, float sum)
{
    return largest == -INFINITY_F32 ? largest : offset_of(largest) + log2_approx(sum);
}
