// sm90_mbarrier.cuh - Hopper's shared-memory barriers (mbarrier) and the ring of buffers built on
// them.
//
// An mbarrier counts arrivals and bytes. Its phase completes when `count` arrivals have come and
// all bytes announced by expect_tx have landed; then the next phase begins. A waiter names the
// phase by its parity: the first phase is 0, and waiting for parity 1 on a fresh barrier passes at
// once. So a buffer has two barriers: `full` (the producer announces bytes, the copy engine
// delivers them) and `empty` (each consumer arrives when it has read the buffer). Consumers wait on
// full from parity 0, the producer waits on empty from parity 1: buffers start out empty.
//
// -DWATCHDOG=1 makes a wait that outlasts WATCHDOG_NS write its name where the host can read it,
// and trap.
#pragma once

#include "common.cuh"

#ifndef WATCHDOG
#define WATCHDOG 0
#endif
#ifndef WATCHDOG_NS
#define WATCHDOG_NS 2000000000ull
#endif

__device__ __forceinline__ void mbarrier_init(uint32_t barrier, uint32_t count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(barrier), "r"(count) : "memory");
}

// Makes the inits above visible to the copy engine; a block barrier must follow for the other
// threads.
__device__ __forceinline__ void mbarrier_init_fence()
{
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

__device__ __forceinline__ void mbarrier_arrive(uint32_t barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(barrier) : "memory");
}

// Arrives and announces bytes, fewer than 2^20, that copies will bring in this phase.
__device__ __forceinline__ void mbarrier_arrive_expect(uint32_t barrier, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(barrier),
                 "r"(bytes)
                 : "memory");
}

// True once the phase of that parity is complete; may sleep for a while before it says no.
__device__ __forceinline__ bool mbarrier_try_wait(uint32_t barrier, uint32_t parity)
{
    uint32_t done;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, p;\n"
                 "}\n"
                 : "=r"(done)
                 : "r"(barrier), "r"(parity)
                 : "memory");
    return done != 0;
}

#if WATCHDOG
__device__ __forceinline__ uint64_t global_nanoseconds()
{
    uint64_t t;
    asm volatile("mov.u64 %0, %%globaltimer;\n" : "=l"(t));
    return t;
}

// Four words for the host (mapped memory): the barrier's name, its parity, the block, the thread.
__device__ __noinline__ void watchdog_trap(volatile uint32_t *report, uint32_t name,
                                           uint32_t parity)
{
    if (report) {
        report[1] = parity;
        report[2] = blockIdx.x;
        report[3] = threadIdx.x;
        __threadfence_system();
        report[0] = name;
        __threadfence_system();
    }
    asm volatile("trap;\n");
}
#endif

// Waits for the phase of that parity. `name` and `report` serve the watchdog.
__device__ __forceinline__ void mbarrier_wait(uint32_t barrier, uint32_t parity, uint32_t name,
                                              uint32_t *report)
{
#if WATCHDOG
    uint64_t start = global_nanoseconds();
    while (!mbarrier_try_wait(barrier, parity)) {
        if (global_nanoseconds() - start > WATCHDOG_NS) {
            watchdog_trap(report, name, parity);
        }
    }
#else
    (void)name;
    (void)report;
    while (!mbarrier_try_wait(barrier, parity)) {
    }
#endif
}

// A place in a ring of SIZE buffers, and the parity of that buffer's current phase.
template <int SIZE> struct Ring {
    uint32_t index, parity;

    __device__ __forceinline__ explicit Ring(uint32_t first_parity) : index(0), parity(first_parity)
    {
    }

    __device__ __forceinline__ void advance()
    {
        index++;
        if (index == SIZE) {
            index = 0;
            parity ^= 1;
        }
    }
};

// The same in one register, for a SIZE that is a power of 2.
template <int SIZE> struct CountingRing {
    static_assert((SIZE & (SIZE - 1)) == 0, "a power of 2");
    uint32_t count;

    __device__ __forceinline__ explicit CountingRing(uint32_t first_parity)
        : count(first_parity * SIZE)
    {
    }

    __device__ __forceinline__ uint32_t index() const
    {
        return count % SIZE;
    }

    __device__ __forceinline__ uint32_t parity() const
    {
        return count / SIZE % 2;
    }

    __device__ __forceinline__ void advance()
    {
        count++;
    }
};
