// sm80_mma.cuh - the Ampere building blocks as one function each: cp.async, ldmatrix, mma, and the
// swizzled shared-memory tile that makes ldmatrix free of bank conflicts.
#pragma once

#include "common.cuh"

// ---- shared-memory tile -----------------------------------------------------
// A tile of `rows` x D 16-bit elements lies in panels of 64 columns: panel p holds rows of 128
// bytes, and the 16-byte chunk c of row r sits at place c ^ (r & 7). Eight rows of one chunk, which
// is what one ldmatrix reads, then fall in eight different bank groups.
__device__ __forceinline__ uint32_t tile_offset(int rows, int row, int chunk)
{
    return (chunk >> 3) * rows * 128 + row * 128 + (((chunk & 7) ^ (row & 7)) << 4);
}

// The same for K and V, whose rows are not read in order: row r sits at c ^ key_swizzle(r), which
// differs among the eight rows of one matrix (see LANE_KEYS).
template <int LANE_KEYS> __device__ __forceinline__ uint32_t key_swizzle(uint32_t row)
{
    return (row & 1) | (row / LANE_KEYS & 3) << 1;
}

// ---- cp.async ---------------------------------------------------------------
// 16 bytes from global to shared memory; `bytes` of them are read, the rest is zero.
__device__ __forceinline__ void cp_async_16(uint32_t smem, const void *global, int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(smem), "l"(global),
                 "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void cp_async_commit()
{
    asm volatile("cp.async.commit_group;\n" ::: "memory");
}

template <int PENDING> __device__ __forceinline__ void cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;\n" ::"n"(PENDING) : "memory");
}

// ---- ldmatrix ---------------------------------------------------------------
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], uint32_t smem)
{
    asm("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
        : "r"(smem));
}

__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t smem)
{
    asm("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
        : "r"(smem));
}

// ---- mma.m16n8k16 -----------------------------------------------------------
// d += a b in float32. Lane l holds of d: rows l/4 (d0, d1) and l/4 + 8 (d2, d3), columns 2(l%4)
// and the next; of a: (row, k) = (l/4, 2(l%4)), (row + 8, k), (row, k + 8), (row + 8, k + 8); of b:
// rows k = 2(l%4) and 8 further, column l/4.
__device__ __forceinline__ void mma_16816(float *d, const uint32_t (&a)[4], uint32_t b0,
                                          uint32_t b1)
{
#if FASC_BF16
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
#else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
#endif
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
