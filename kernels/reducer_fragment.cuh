// reducer_fragment.cuh - ldmatrix that stays where it is written: it reads shared memory that
// others fill, at addresses that do not change.
#pragma once

#include "sm80_mma.cuh"

// Four 8 x 8 matrices; lane l brings the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_fragment(uint32_t (&a)[4], uint32_t at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(at)
                 : "memory");
}
