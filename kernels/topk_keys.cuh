// topk_keys.cuh - scores with their columns as keys of a total order, and sorting them: a lane's,
// and those of a quad's four lanes together.
#pragma once

#include "common.cuh"

__device__ __forceinline__ float topk_load(uint32_t at)
{
    float x;
    asm volatile("ld.shared.f32 %0, [%1];\n" : "=f"(x) : "r"(at) : "memory");
    return x;
}

__device__ __forceinline__ void topk_store(uint32_t at, float x)
{
    asm volatile("st.shared.f32 [%0], %1;\n" ::"r"(at), "f"(x) : "memory");
}

// Larger is better: the score's bits in rising order, then the column's in falling order. 0: worse
// than any.
__device__ __forceinline__ uint64_t topk_key(float x, int column)
{
    const uint32_t bits = float_bits(x + 0.0f); // not -0
    const uint32_t rising = bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000u);
    return (uint64_t)rising << 32 | (uint32_t)~column;
}

__device__ __forceinline__ float topk_score(uint64_t key)
{
    const uint32_t rising = (uint32_t)(key >> 32);
    return bits_float(rising ^ (~(uint32_t)((int32_t)rising >> 31) | 0x80000000u));
}

__device__ __forceinline__ void topk_order(uint64_t &better, uint64_t &worse)
{
    const uint64_t a = better, b = worse;
    better = a > b ? a : b;
    worse = a > b ? b : a;
}

// One step of Batcher's odd-even merge sort: runs of P keys, pairs DISTANCE apart.
template <int P, int DISTANCE, int N> __device__ __forceinline__ void topk_step(uint64_t (&key)[N])
{
#pragma unroll
    for (int n = 0; n + DISTANCE < N; n++) {
        const bool paired = n >= DISTANCE % P && (n - DISTANCE % P) % (2 * DISTANCE) < DISTANCE;
        if (paired && n / (2 * P) == (n + DISTANCE) / (2 * P)) {
            topk_order(key[n], key[n + DISTANCE]);
        }
    }
    if constexpr (DISTANCE > 1) {
        topk_step<P, DISTANCE / 2>(key);
    } else if constexpr (2 * P < N) {
        topk_step<2 * P, 2 * P>(key);
    }
}

// Sorts a lane's keys, best first.
template <int N> __device__ __forceinline__ void topk_sort(uint64_t (&key)[N])
{
    topk_step<1, 1>(key);
}

// Meets the lane `other` away: `first`, the better of each pair of keys stays, else the worse.
template <int N>
__device__ __forceinline__ void topk_meet(uint64_t (&key)[N], int other, bool first)
{
#pragma unroll
    for (int n = 0; n < N; n++) {
        const uint64_t theirs = __shfl_xor_sync(FULL_MASK, key[n], other);
        key[n] = (theirs > key[n]) == first ? theirs : key[n];
    }
}

// Sorts a lane's keys that rise and then fall, or the other way round.
template <int N> __device__ __forceinline__ void topk_settle(uint64_t (&key)[N])
{
#pragma unroll
    for (int stride = N / 2; stride > 0; stride /= 2) {
#pragma unroll
        for (int n = 0; n < N; n++) {
            if ((n & stride) == 0) {
                topk_order(key[n], key[n + stride]);
            }
        }
    }
}

template <int N> __device__ __forceinline__ void topk_flip(uint64_t (&key)[N], bool flip)
{
    const uint64_t mask = flip ? ~(uint64_t)0 : 0;
#pragma unroll
    for (int n = 0; n < N; n++) {
        key[n] ^= mask;
    }
}

// Sorts the keys of a quad, best first, lane 0's before lane 1's: a bitonic sort whose lanes sort
// what is flipped where it asks for the other direction.
template <int N> __device__ __forceinline__ void topk_sort_quad(uint64_t (&key)[N], int lane)
{
    const bool odd = lane & 1, high = lane & 2;
    topk_flip(key, odd);
    topk_sort(key);
    topk_flip(key, odd != high);
    topk_meet(key, 1, !odd);
    topk_settle(key);
    topk_flip(key, high);
    topk_meet(key, 2, !high);
    topk_meet(key, 1, !odd);
    topk_settle(key);
}
