// softmax.cuh - masks and the online softmax on a warp's 16 rows of scores, as matrix products
// leave them.
//
// Both mma.sync m16n8 and a warp's part of wgmma m64nN lay the accumulator out so: register i of
// lane l is row l/4 + 8 ((i >> 1) & 1), column 8 (i >> 2) + 2 (l & 3) + (i & 1). A lane thus holds
// two rows, here called half 0 and 1, and the four lanes of a quad share a row.
//
// Scores stay raw (Q K^T); exponentials are 2^(s c - m c) with c = |scale| log2(e), one
// multiply-add each. The running maximum m is raw too, and the running sum is the lane's own part
// until softmax_finish.
#pragma once

#include "common.cuh"

struct RowState {
    float max[2]; // over the columns so far, the same in the quad's lanes; -inf = no visible column
                  // yet
    float sum[2]; // of 2^(s c - max c), over this lane's columns
};

__device__ __forceinline__ void softmax_start(RowState &r)
{
    r.max[0] = r.max[1] = -INFINITY_F32;
    r.sum[0] = r.sum[1] = 0.0f;
}

__device__ __forceinline__ float quad_max(float x)
{
    x = fmaxf_nan(x, __shfl_xor_sync(FULL_MASK, x, 1));
    return fmaxf_nan(x, __shfl_xor_sync(FULL_MASK, x, 2));
}

__device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(FULL_MASK, x, 1);
    return x + __shfl_xor_sync(FULL_MASK, x, 2);
}

// Columns that a row sees, counted from this lane's first one: [first, last], empty when first >
// last.
struct Visible {
    int first[2], last[2];
};

// Columns as accumulators have them: how far register i's lies from the lane's first one. A kernel
// that takes them in another order has a type of its own.
struct FragmentColumns {
    __device__ static constexpr int of(int i)
    {
        return 8 * (i >> 2) + (i & 1);
    }
};

// `hidden` where a column is not visible.
template <class Columns = FragmentColumns, int N>
__device__ __forceinline__ void softmax_mask(float (&s)[N], const Visible &v,
                                             float hidden = -INFINITY_F32)
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        int column = Columns::of(i), half = (i >> 1) & 1;
        s[i] = column >= v.first[half] && column <= v.last[half] ? s[i] : hidden;
    }
}

// m c, rounded: what exponents are taken against. Never fused into the subtraction that uses it:
// every place must see the same number, or a factor for an unchanged maximum would not be 1, and
// the error would grow with every step.
__device__ __forceinline__ float softmax_offset(float max, float c)
{
    return max == -INFINITY_F32 ? 0.0f : __fmul_rn(max, c);
}

// Takes `top`, which is no less than the maximum, for the maximum of this lane's columns of a half.
__device__ __forceinline__ void softmax_rise(RowState &r, float (&factor)[2], int half, float top,
                                             float c)
{
    const float max = quad_max(top);
    factor[half] = exp2_approx(__fmul_rn(r.max[half], c) - softmax_offset(max, c));
    r.max[half] = max;
}

// Takes N / 2 columns a row into the maximum; factor = what sums and outputs so far are worth under
// it.
template <int N>
__device__ __forceinline__ void softmax_update_max(RowState &r, float (&factor)[2],
                                                   const float (&s)[N], float c)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        // two chains, for the latency of one
        float even = fmaxf_nan(r.max[half], s[2 * half]), odd = s[2 * half + 1];
#pragma unroll
        for (int i = 4 + 2 * half; i < N; i += 4) {
            even = fmaxf_nan(even, s[i]);
            odd = fmaxf_nan(odd, s[i + 1]);
        }
        softmax_rise(r, factor, half, fmaxf_nan(even, odd), c);
    }
}

// x, but not before `after` is known; `nothing` is 0, which the compiler must not know. Where
// registers are few it keeps exponentials in order, so that packed weights can take the place of
// scores that are done with. With a plain 0 it costs nothing.
__device__ __forceinline__ float wait_for(float x, float after, uint32_t nothing)
{
    return bits_float(float_bits(x) | (float_bits(after) & nothing));
}

// s = 2^(s c - max c), and its sum. nothing: see wait_for.
template <int N>
__device__ __forceinline__ void softmax_exponentials(float (&s)[N], RowState &r,
                                                     const float (&factor)[2], float c,
                                                     uint32_t nothing = 0)
{
    float offset[2], odd[2] = {0.0f, 0.0f};
#pragma unroll
    for (int half = 0; half < 2; half++) {
        offset[half] = softmax_offset(r.max[half], c);
        r.sum[half] *= factor[half];
    }
    offset[0] = wait_for(offset[0], offset[1], nothing);
#pragma unroll
    for (int i = 0; i < N; i += 2) {
        int half = (i >> 1) & 1;
        s[i] = exp2_approx(fma_f32(s[i], c, -offset[half]));
        s[i + 1] = exp2_approx(fma_f32(s[i + 1], c, -offset[half]));
        r.sum[half] += s[i];
        odd[half] += s[i + 1];
    }
    r.sum[0] += odd[0];
    r.sum[1] += odd[1];
}

template <int N>
__device__ __forceinline__ void softmax_rescale(float (&o)[N], const float (&factor)[2])
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        o[i] *= factor[(i >> 1) & 1];
    }
}

// Completes the sums over the quad; log2_sum = log2 sum_j 2^(s_j c) of each row, -inf for one that
// sees nothing.
__device__ __forceinline__ void softmax_finish(RowState &r, float (&log2_sum)[2], float c)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        r.sum[half] = quad_sum(r.sum[half]);
        log2_sum[half] = r.max[half] == -INFINITY_F32
                             ? -INFINITY_F32
                             : softmax_offset(r.max[half], c) + log2_approx(r.sum[half]);
    }
}

// s = 2^(s c - log2_sum): probabilities, final. SUBNORMAL keeps those under 2^-126.
template <bool SUBNORMAL, int N>
__device__ __forceinline__ void softmax_normalized(float (&s)[N], const float (&log2_sum)[2],
                                                   float c, uint32_t nothing = 0)
{
    float offset[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        offset[half] = log2_sum[half] == -INFINITY_F32 ? 0.0f : -log2_sum[half];
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (i % 8 == 0 && i > 0) {
            offset[0] = wait_for(offset[0], s[i - 1], nothing);
            offset[1] = wait_for(offset[1], s[i - 1], nothing);
        }
        float x = fma_f32(s[i], c, offset[(i >> 1) & 1]);
        s[i] = SUBNORMAL ? exp2_subnormal(x) : exp2_approx(x);
    }
}

// A negative scale turns the order of the scores: they are negated, and |scale| is used.
template <int N> __device__ __forceinline__ void softmax_negate(float (&s)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        s[i] = -s[i];
    }
}

// 0 s: for a scale of 0, where -inf will stand for hidden columns.
template <int N> __device__ __forceinline__ void softmax_zero(float (&s)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        s[i] *= 0.0f;
    }
}

// c for a scale. 0 would turn the -inf of masked scores into NaN; the smallest normal number serves
// as well.
__device__ __forceinline__ float softmax_scale_log2(float scale)
{
    return max(fabs_f32(scale) * LOG2_E, 1.17549435e-38f);
}
