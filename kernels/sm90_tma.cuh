// sm90_tma.cuh - Hopper's copy engine (TMA): whole boxes of a tensor between global and shared
// memory.
//
// A tensor map, made by the host, holds base, shape, strides, box and swizzle. A load zero-fills
// what lies outside the tensor, a store leaves it alone: tails need no code. One thread issues.
// Loads complete on an mbarrier; stores complete in bulk groups, which belong to the thread that
// committed them.
//
// Shared memory that ordinary stores wrote is seen by the engine only after fence_proxy_async in
// each writing thread, followed by a barrier with the issuing thread.
#pragma once

#include "common.cuh"

// What the host fills in with cuTensorMapEncodeTiled: see sm90_params.h.
struct fasc_tensor_map;

// L2 policies as createpolicy would make them: keep what is read again, drop what is not.
constexpr uint64_t L2_EVICT_FIRST = 0x12F0000000000000ull;
constexpr uint64_t L2_EVICT_LAST = 0x14F0000000000000ull;

__device__ __forceinline__ void tma_prefetch_map(const fasc_tensor_map *map)
{
    asm volatile("prefetch.tensormap [%0];\n" ::"l"(map) : "memory");
}

// Coordinates from the innermost dimension out.
__device__ __forceinline__ void tma_load(uint32_t smem, const fasc_tensor_map *map,
                                         uint32_t barrier, int c0, int c1, int c2, int c3,
                                         uint64_t policy)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes."
                 "L2::cache_hint "
                 "[%0], [%1, {%3, %4, %5, %6}], [%2], %7;\n" ::"r"(smem),
                 "l"(map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "l"(policy)
                 : "memory");
}

// The same from and to maps of five dimensions.
__device__ __forceinline__ void tma_load(uint32_t smem, const fasc_tensor_map *map,
                                         uint32_t barrier, int c0, int c1, int c2, int c3, int c4,
                                         uint64_t policy)
{
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes."
                 "L2::cache_hint "
                 "[%0], [%1, {%3, %4, %5, %6, %7}], [%2], %8;\n" ::"r"(smem),
                 "l"(map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4), "l"(policy)
                 : "memory");
}

__device__ __forceinline__ void tma_store(const fasc_tensor_map *map, uint32_t smem, int c0, int c1,
                                          int c2, int c3, int c4, uint64_t policy)
{
    asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group.L2::cache_hint "
                 "[%0, {%2, %3, %4, %5, %6}], [%1], %7;\n" ::"l"(map),
                 "r"(smem), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4), "l"(policy)
                 : "memory");
}

// Neighbouring bytes, without a map: all three are multiples of 16.
__device__ __forceinline__ void bulk_store(void *out, uint32_t smem, uint32_t bytes)
{
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;\n" ::"l"(out),
                 "r"(smem), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void tma_commit()
{
    asm volatile("cp.async.bulk.commit_group;\n" ::: "memory");
}

// Until at most PENDING of this thread's newest groups still read shared memory.
template <int PENDING> __device__ __forceinline__ void tma_wait_read()
{
    asm volatile("cp.async.bulk.wait_group.read %0;\n" ::"n"(PENDING) : "memory");
}

// Until all of this thread's groups are written.
__device__ __forceinline__ void tma_wait_all()
{
    asm volatile("cp.async.bulk.wait_group 0;\n" ::: "memory");
}

__device__ __forceinline__ void fence_proxy_async()
{
    asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}
