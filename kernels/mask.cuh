// mask.cuh - which keys a query sees. All structural masks are one band (query i sees key j iff
// i + lo <= j <= i + hi); a mask tensor may hide more, or add to the score.
#pragma once

#include "common.cuh"
#include "params.h"

// Keys [begin, end) that row i sees as far as the band goes; empty when begin >= end.
struct KeyRange {
    int64_t begin, end;
};

__device__ __forceinline__ KeyRange visible_keys(int64_t lo, int64_t hi, int64_t seqlen_k, int64_t i)
{
    return {max(i + lo, (int64_t)0), min(i + hi + 1, seqlen_k)};
}

// What the mask tensor adds to the score at an element `at` of it: -inf hides the pair.
__device__ __forceinline__ float mask_value(const fasc_mask_params &mask, int64_t at)
{
    switch (mask.dtype) {
    case FASC_DTYPE_U8:
        return ((const u8 *)mask.data)[at] ? 0.0f : -INFINITY_F32;
    case FASC_DTYPE_F16:
        return to_float(((const f16 *)mask.data)[at]);
    case FASC_DTYPE_BF16:
        return to_float(((const bf16 *)mask.data)[at]);
    case FASC_DTYPE_F32:
        return ((const f32 *)mask.data)[at];
    default:
        return (float)((const f64 *)mask.data)[at];
    }
}
