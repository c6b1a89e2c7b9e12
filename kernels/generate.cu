// generate.cu - tensors from nothing: a value, a ramp, random numbers. Written once, in row-major
// order of the elements whatever the strides are.
//
// A thread makes four consecutive elements, which is what one Philox call gives. The bits are those
// of the CPU: every floating-point operation is one correctly rounded step, named as such, so that
// the compiler finds nothing to contract.
//
// Macros: ELEMENT (any dtype), RANDOM (1: with random numbers, for floating dtypes).

#include "tensor.cuh"

#include "philox.h"
#include "sm90_tma.cuh"

struct alignas(4 * sizeof(ELEMENT)) Quad {
    ELEMENT x[4];
};

// Calls make(n, x) for the quads of elements n .. n + 3 that are this thread's, and stores them.
template <class Make>
__device__ __forceinline__ void generate(const fasc_generate_params &p, Make make)
{
    const fasc_walk_params &walk = p.walk;
    ELEMENT *out = (ELEMENT *)walk.data[0];
    bool aligned = ((uint64_t)out & (sizeof(Quad) - 1)) == 0;
    bool whole = walk.rank == 1 && walk.stride[0][0] == 1 && aligned;
    for (int64_t n = 4 * thread_number(); n < walk.count; n += 4 * thread_count()) {
        Quad quad;
        make(n, quad.x);
        if (whole && n + 4 <= walk.count) {
            *(Quad *)(out + n) = quad;
            continue;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (n + i < walk.count) {
                out[place_of(walk, walk.rank, n + i).at[0]] = quad.x[i];
            }
        }
    }
}

extern "C" __global__ void fill(const __grid_constant__ fasc_generate_params p)
{
    ELEMENT value = from_double<ELEMENT>(p.a);
    generate(p, [=](int64_t, ELEMENT *x) { x[0] = x[1] = x[2] = x[3] = value; });
}

#if __CUDA_ARCH__ >= 900
// The same for neighbouring elements from a 16-byte boundary on: a tile of the value in shared
// memory, from where the copy engine writes it out again and again, which is faster than any store.
// One thread issues; the last bytes, less than 16, go by ordinary stores.
extern "C" __global__ void fill_bulk(const __grid_constant__ fasc_generate_params p)
{
    constexpr int BYTES = 16384, COUNT = BYTES / sizeof(ELEMENT);
    __shared__ alignas(128) ELEMENT tile[COUNT];
    ELEMENT value = from_double<ELEMENT>(p.a);
    for (int i = threadIdx.x; i < COUNT; i += blockDim.x) {
        tile[i] = value;
    }
    fence_proxy_async();
    __syncthreads();
    ELEMENT *out = (ELEMENT *)p.walk.data[0];
    int64_t whole = p.walk.count * sizeof(ELEMENT) / 16 * 16;
    if (threadIdx.x == 0) {
        for (int64_t at = (int64_t)blockIdx.x * BYTES; at < whole;
             at += (int64_t)gridDim.x * BYTES) {
            int64_t left = whole - at;
            bulk_store((char *)out + at, shared_address(tile),
                       (uint32_t)(left < BYTES ? left : BYTES));
        }
        tma_commit();
        tma_wait_all();
    } else if (blockIdx.x == 0) {
        int64_t i = whole / sizeof(ELEMENT) + threadIdx.x - 1;
        if (i < p.walk.count) {
            out[i] = value;
        }
    }
}
#endif

extern "C" __global__ void arange(const __grid_constant__ fasc_generate_params p)
{
    generate(p, [&](int64_t n, ELEMENT *x) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            x[i] = from_double<ELEMENT>(__dadd_rn(p.a, __dmul_rn((double)(n + i), p.b)));
        }
    });
}

#if RANDOM
__device__ __forceinline__ void words_of(const fasc_generate_params &p, int64_t n, uint32_t *word)
{
    uint64_t call = (uint64_t)n / 4;
    fasc_philox(p.seed, (uint32_t)call, (uint32_t)(call >> 32), (uint32_t)p.stream,
                (uint32_t)(p.stream >> 32), word);
}

extern "C" __global__ void uniform(const __grid_constant__ fasc_generate_params p)
{
    float lo = (float)p.a, range = (float)p.b;
    generate(p, [&](int64_t n, ELEMENT *x) {
        uint32_t word[4];
        words_of(p, n, word);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            x[i] = convert<ELEMENT>(__fmaf_rn(fasc_uniform(word[i]), range, lo));
        }
    });
}

extern "C" __global__ void normal(const __grid_constant__ fasc_generate_params p)
{
    float mean = (float)p.a, deviation = (float)p.b;
    generate(p, [&](int64_t n, ELEMENT *x) {
        uint32_t word[4];
        float z[4];
        words_of(p, n, word);
        fasc_normal_pair(word[0], word[1], &z[0], &z[1]);
        fasc_normal_pair(word[2], word[3], &z[2], &z[3]);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            x[i] = convert<ELEMENT>(__fmaf_rn(z[i], deviation, mean));
        }
    });
}
#endif
