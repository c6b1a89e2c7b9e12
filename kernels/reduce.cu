// reduce.cu - looking at tensors: a summary of one, the differences of two. Any dtypes, any
// strides; arithmetic in float64.
//
// Two launches: every block takes a fixed share of the elements and leaves its partial result, then
// one block puts those together in order. Shares and order depend on the count alone, so results
// repeat.

#include "tensor.cuh"

constexpr int THREADS = 256;

// Puts the threads' partial results together, in a fixed tree; thread 0 has the block's.
template <class Partial> __device__ __forceinline__ Partial block_merge(Partial mine)
{
    __shared__ Partial room[THREADS];
    room[threadIdx.x] = mine;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            merge(room[threadIdx.x], room[threadIdx.x + half]);
        }
    }
    __syncthreads();
    return room[0];
}

// What the last launch does with all partial results: thread t takes t, t + THREADS, ...
template <class Partial>
__device__ __forceinline__ void merge_blocks(const fasc_reduce_params &p, Partial none)
{
    Partial *partial = (Partial *)p.partial, mine = none;
    for (int i = threadIdx.x; i < p.blocks; i += THREADS) {
        merge(mine, partial[i]);
    }
    mine = block_merge(mine);
    if (threadIdx.x == 0) {
        partial[0] = mine;
    }
}

__device__ __forceinline__ bool is_nan(double x)
{
    return x != x;
}

__device__ __forceinline__ bool is_finite(double x)
{
    return x - x == 0.0;
}

// ---- summary ----------------------------------------------------------------

__device__ __forceinline__ fasc_summary_partial no_summary()
{
    double infinity = __longlong_as_double(0x7ff0000000000000ll);
    return {0, 0, infinity, -infinity, 0.0};
}

__device__ __forceinline__ void merge(fasc_summary_partial &a, const fasc_summary_partial &b)
{
    a.nan_count += b.nan_count;
    a.inf_count += b.inf_count;
    a.min = b.min < a.min ? b.min : a.min;
    a.max = b.max > a.max ? b.max : a.max;
    a.sum += b.sum;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    summarize_blocks(const __grid_constant__ fasc_reduce_params p)
{
    fasc_summary_partial mine = no_summary();
    for (int64_t n = thread_number(); n < p.walk.count; n += thread_count()) {
        double x =
            load_double(p.walk.data[0], p.walk.dtype[0], place_of(p.walk, p.walk.rank, n).at[0]);
        bool nan = is_nan(x), finite = is_finite(x);
        mine.nan_count += nan;
        mine.inf_count += !nan && !finite;
        mine.min = x < mine.min ? x : mine.min;
        mine.max = x > mine.max ? x : mine.max;
        mine.sum += finite ? x : 0.0;
    }
    mine = block_merge(mine);
    if (threadIdx.x == 0) {
        ((fasc_summary_partial *)p.partial)[blockIdx.x] = mine;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    summarize_all(const __grid_constant__ fasc_reduce_params p)
{
    merge_blocks(p, no_summary());
}

// ---- difference -------------------------------------------------------------

__device__ __forceinline__ fasc_difference_partial no_difference()
{
    return {0, 0x7fffffffffffffffll, 0, -1.0, 0.0};
}

__device__ __forceinline__ void merge(fasc_difference_partial &a, const fasc_difference_partial &b)
{
    a.mismatch += b.mismatch;
    a.first_mismatch = min(a.first_mismatch, b.first_mismatch);
    a.max_rel = b.max_rel > a.max_rel ? b.max_rel : a.max_rel;
    // Of equally bad pairs the first counts.
    bool worse = b.max_abs > a.max_abs || (b.max_abs == a.max_abs && b.worst < a.worst);
    a.worst = worse ? b.worst : a.worst;
    a.max_abs = worse ? b.max_abs : a.max_abs;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    compare_blocks(const __grid_constant__ fasc_reduce_params p)
{
    fasc_difference_partial mine = no_difference();
    for (int64_t n = thread_number(); n < p.walk.count; n += thread_count()) {
        Place place = place_of(p.walk, p.walk.rank, n);
        double a = load_double(p.walk.data[0], p.walk.dtype[0], place.at[0]);
        double b = load_double(p.walk.data[1], p.walk.dtype[1], place.at[1]);
        if (is_finite(a) && is_finite(b)) {
            double difference = a > b ? a - b : b - a, size = b < 0.0 ? -b : b;
            double relative = size > 0.0 ? difference / size : 0.0;
            merge(mine, fasc_difference_partial{0, mine.first_mismatch, n, difference, relative});
        } else if (a != b && !(is_nan(a) && is_nan(b))) {
            mine.mismatch++;
            mine.first_mismatch = min(mine.first_mismatch, n);
        }
    }
    mine = block_merge(mine);
    if (threadIdx.x == 0) {
        ((fasc_difference_partial *)p.partial)[blockIdx.x] = mine;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    compare_all(const __grid_constant__ fasc_reduce_params p)
{
    merge_blocks(p, no_difference());
}
