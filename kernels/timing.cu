// timing.cu - what measuring needs on the device: a gate that keeps the stream waiting while the
// host queues what is to be timed, and a reader that fills the caches with other data.

#include "common.cuh"
#include "params.h"

__device__ __forceinline__ uint64_t nanoseconds()
{
    uint64_t t;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
    return t;
}

// One thread waits until the host opens the gate, but never longer than told: the host may itself
// be waiting for room in the queue.
extern "C" __global__ void hold(const __grid_constant__ fasc_hold_params p)
{
    uint64_t start = nanoseconds();
    while (*p.release == 0 && nanoseconds() - start < p.most_nanoseconds) {
        __nanosleep(200);
    }
}

// Reads a buffer larger than L2 and writes nothing, so that no dirty line is left to be written
// back inside the timed region.
extern "C" __global__ void flush(const __grid_constant__ fasc_flush_params p)
{
    const uint4 *data = (const uint4 *)p.data;
    uint32_t sum = 0;
    int64_t first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    for (int64_t i = first; i < p.bytes / 16; i += (int64_t)gridDim.x * blockDim.x) {
        uint4 x = data[i];
        sum |= x.x | x.y | x.z | x.w;
    }
    if (sum == 0x12345678u) {
        *p.sink = 1;
    }
}
