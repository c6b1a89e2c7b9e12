// mask.cuh - which keys a query sees. All structural masks are one band (query i sees key j iff
// i + lo <= j <= i + hi); a mask tensor may hide more, or add to the score.
#pragma once

#include "common.cuh"
#include "params.h"

// Keys [begin, end) that row i sees as far as the band goes; empty when begin >= end.
struct KeyRange {
    int64_t begin, end;
};

__device__ __forceinline__ KeyRange visible_keys(int64_t lo, int64_t hi, int64_t seqlen_k,
                                                 int64_t i)
{
    return {max(i + lo, (int64_t)0), min(i + hi + 1, seqlen_k)};
}

// What the mask tensor adds to the score of pair (i, j): -inf hides it. `row` is its element (b, h,
// i, 0).
__device__ __forceinline__ float mask_value(const fasc_matrix_params &mask, int64_t row, int64_t j)
{
    int64_t at = row + j * mask.stride[3];
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

// S of a pair from its logit: with what the mask adds, or -inf where it is hidden.
__device__ __forceinline__ float masked_score(const fasc_matrix_params &mask, KeyRange keys,
                                              int64_t row, int64_t j, float logit)
{
    if (j < keys.begin || j >= keys.end) {
        return -INFINITY_F32;
    }
    float added = mask.data ? mask_value(mask, row, j) : 0.0f;
    return added == -INFINITY_F32 ? added : mask.data ? logit + added : logit;
}

// Not the same as a score above -inf: an infinite input can make a visible score -inf.
__device__ __forceinline__ bool is_visible(const fasc_matrix_params &mask, KeyRange keys,
                                           int64_t row, int64_t j)
{
    return j >= keys.begin && j < keys.end &&
           !(mask.data && mask_value(mask, row, j) == -INFINITY_F32);
}
