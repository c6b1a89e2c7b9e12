// tensor.cuh - elements of any dtype as float64 or float32, and where element n of a strided tensor
// lies.
#pragma once

#include "common.cuh"
#include "params.h"

// ---- conversions ------------------------------------------------------------
// Every pair of dtypes meets in float32 where that holds both exactly, else in float64; narrowing
// from float64 rounds once. Integers: truncated and saturated, NaN gives 0.

__device__ __forceinline__ double to_double(f16 x)
{
    return (double)to_float(x);
}

__device__ __forceinline__ double to_double(bf16 x)
{
    return (double)to_float(x);
}

template <class T> __device__ __forceinline__ double to_double(T x)
{
    return (double)x;
}

// float64 rounded to odd: towards zero, then the last bit set if anything was cut off. A second
// rounding, to nearest and at least two bits shorter, gives what a single one would have.
__device__ __forceinline__ float round_to_odd(double x)
{
    float f = __double2float_rz(x);
    return (double)f == x || x != x ? f : bits_float(float_bits(f) | 1u);
}

template <class T> __device__ __forceinline__ T from_double(double x);

template <> __device__ __forceinline__ f16 from_double<f16>(double x)
{
    return from_float<f16>(round_to_odd(x));
}

template <> __device__ __forceinline__ bf16 from_double<bf16>(double x)
{
    return from_float<bf16>(round_to_odd(x));
}

template <> __device__ __forceinline__ f32 from_double<f32>(double x)
{
    return __double2float_rn(x);
}

template <> __device__ __forceinline__ f64 from_double<f64>(double x)
{
    return x;
}

template <> __device__ __forceinline__ i32 from_double<i32>(double x)
{
    return x != x ? 0 : x <= -0x1p31 ? -0x7fffffff - 1 : x >= 0x1p31 ? 0x7fffffff : (i32)x;
}

template <> __device__ __forceinline__ i64 from_double<i64>(double x)
{
    return x != x         ? 0
           : x <= -0x1p63 ? -0x7fffffffffffffffll - 1
           : x >= 0x1p63  ? 0x7fffffffffffffffll
                          : (i64)x;
}

template <> __device__ __forceinline__ u8 from_double<u8>(double x)
{
    return x != x || x <= 0.0 ? 0 : x >= 255.0 ? 255 : (u8)x;
}

template <class T> struct fits_float {
    static constexpr bool value = false; // f64, i32, i64
};
template <> struct fits_float<f16> {
    static constexpr bool value = true;
};
template <> struct fits_float<bf16> {
    static constexpr bool value = true;
};
template <> struct fits_float<f32> {
    static constexpr bool value = true;
};

template <class To, class From> __device__ __forceinline__ To convert(From x)
{
    if constexpr (fits_float<From>::value && fits_float<To>::value) {
        return from_float<To>(to_float(x));
    } else {
        return from_double<To>(to_double(x));
    }
}

// One element whose dtype is known at run time only.
__device__ __forceinline__ double load_double(const void *data, int32_t dtype, int64_t at)
{
    switch (dtype) {
    case FASC_DTYPE_F16:
        return to_double(((const f16 *)data)[at]);
    case FASC_DTYPE_BF16:
        return to_double(((const bf16 *)data)[at]);
    case FASC_DTYPE_F32:
        return to_double(((const f32 *)data)[at]);
    case FASC_DTYPE_F64:
        return ((const f64 *)data)[at];
    case FASC_DTYPE_I32:
        return to_double(((const i32 *)data)[at]);
    case FASC_DTYPE_I64:
        return to_double(((const i64 *)data)[at]);
    default:
        return to_double(((const u8 *)data)[at]);
    }
}

// ---- places -----------------------------------------------------------------

// Where element n of both tensors of a walk lies, counting dimensions [0, rank), and which place it
// has in the last of them.
struct Place {
    int64_t at[2], last;
};

template <class Index>
__device__ __forceinline__ Place unravel(const fasc_walk_params &walk, int rank, Index n)
{
    Place place = {{0, 0}, (int64_t)n};
#pragma unroll 1
    for (int dim = rank - 1; dim > 0; dim--) {
        Index extent = (Index)walk.shape[dim], outer = n / extent, i = n - outer * extent;
        place.at[0] += (int64_t)i * walk.stride[0][dim];
        place.at[1] += (int64_t)i * walk.stride[1][dim];
        place.last = dim == rank - 1 ? (int64_t)i : place.last;
        n = outer;
    }
    place.at[0] += (int64_t)n * walk.stride[0][0];
    place.at[1] += (int64_t)n * walk.stride[1][0];
    return place;
}

// Division by 64-bit numbers is slow: 32-bit ones serve while there are few enough elements.
__device__ __forceinline__ Place place_of(const fasc_walk_params &walk, int rank, int64_t n)
{
    return walk.count <= 0x7fffffff ? unravel<uint32_t>(walk, rank, (uint32_t)n)
                                    : unravel<uint64_t>(walk, rank, (uint64_t)n);
}

// Element n is this thread's first; the next lies `threads in the grid` further.
__device__ __forceinline__ int64_t thread_number()
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ int64_t thread_count()
{
    return (int64_t)gridDim.x * blockDim.x;
}
