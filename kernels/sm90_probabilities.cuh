// sm90_probabilities.cuh - scores of rows whose LSE is known to probabilities, those of spoilt rows
// too: where NaN or an infinite score makes the LSE NaN.
#pragma once

#include "softmax.cuh"

// Where a row's LSE is NaN, a score of -inf has the probability 0 and all others have NaN. Makes
// them so under a sum of 0 in place of the NaN.
template <int N> __device__ __forceinline__ void spoil_rows(float (&s)[N], float (&log2_sum)[2])
{
    const bool fine[2] = {log2_sum[0] == log2_sum[0], log2_sum[1] == log2_sum[1]};
    if (fine[0] && fine[1]) {
        return;
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int half = (i >> 1) & 1;
        s[i] = fine[half] || s[i] == -INFINITY_F32 ? s[i] : log2_sum[half];
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        log2_sum[half] = fine[half] ? log2_sum[half] : 0.0f;
    }
}

// s = 2^(s c - log2_sum): probabilities, final. SUBNORMAL, nothing: see softmax_normalized.
template <bool SUBNORMAL, int N>
__device__ __forceinline__ void final_probabilities(float (&s)[N], const float (&log2_sum)[2],
                                                    float c, uint32_t nothing)
{
    float sum[2] = {log2_sum[0], log2_sum[1]};
    spoil_rows(s, sum);
    softmax_normalized<SUBNORMAL>(s, sum, c, nothing);
}
