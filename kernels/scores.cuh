// scores.cuh - places and stores that the plain attention kernels share.
#pragma once

#include "common.cuh"
#include "params.h"

// Which row a launch is at: batch, head, query.
struct RowOf {
    int64_t b, h, i;
};

// Row r of the chunk's n-th head.
__device__ __forceinline__ RowOf row_of(const fasc_attention_params &p, int64_t n, int64_t r)
{
    int64_t head = p.chunk.head + n;
    return {head / p.heads_q, head % p.heads_q, p.chunk.row + r};
}

// Element (b, h, i, 0) of a matrix.
__device__ __forceinline__ int64_t row_start(const fasc_matrix_params &m, const RowOf &row)
{
    return row.b * m.stride[0] + row.h * m.stride[1] + row.i * m.stride[2];
}

// Rounds x to the matrix's dtype: f16, bf16 or f32.
__device__ __forceinline__ void store_element(const fasc_matrix_params &m, int64_t at, float x)
{
    if (m.dtype == FASC_DTYPE_F32) {
        ((f32 *)m.data)[at] = x;
    } else if (m.dtype == FASC_DTYPE_BF16) {
        ((bf16 *)m.data)[at] = from_float<bf16>(x);
    } else {
        ((f16 *)m.data)[at] = from_float<f16>(x);
    }
}

// ---- groups of 8 neighbouring scores ----------------------------------------

constexpr int GROUP = 8;

struct Group {
    float x[GROUP];
};

struct alignas(16) Quarter {
    uint32_t x[4];
};

// 16 bytes; STREAMED: to be written to memory soon, since nobody here reads them again.
template <bool STREAMED> __device__ __forceinline__ void store_quarter(char *to, const Quarter &q)
{
    if (STREAMED) {
        asm volatile("st.global.cs.v4.b32 [%0], {%1, %2, %3, %4};"
                     :
                     : "l"(to), "r"(q.x[0]), "r"(q.x[1]), "r"(q.x[2]), "r"(q.x[3])
                     : "memory");
    } else {
        *(Quarter *)to = q;
    }
}

// A row of a matrix that groups are stored to.
struct RowStore {
    int64_t start; // its element 0
    bool whole;    // groups in 16-byte pieces
};

__device__ __forceinline__ RowStore row_store(const fasc_matrix_params &m, const RowOf &row)
{
    int64_t start = row_start(m, row);
    uint64_t at = (uint64_t)m.data + start * (m.dtype == FASC_DTYPE_F32 ? 4 : 2);
    return {start, m.stride[3] == 1 && (at & 15) == 0};
}

// Stores a group that begins at key j, of a row of seqlen_k keys.
template <bool STREAMED, class Key>
__device__ __forceinline__ void store_group(const fasc_matrix_params &m, const RowStore &row, Key j,
                                            Key seqlen_k, const Group &g)
{
    Quarter h;
    if (!row.whole || j + GROUP > seqlen_k) {
#pragma unroll
        for (int i = 0; i < GROUP; i++) {
            if (j + i < seqlen_k) {
                store_element(m, row.start + (j + i) * m.stride[3], g.x[i]);
            }
        }
    } else if (m.dtype == FASC_DTYPE_F32) {
        char *to = (char *)((f32 *)m.data + row.start + j);
#pragma unroll
        for (int half = 0; half < 2; half++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                h.x[i] = float_bits(g.x[4 * half + i]);
            }
            store_quarter<STREAMED>(to + 16 * half, h);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            h.x[i] = m.dtype == FASC_DTYPE_F16 ? f32x2_to_f16x2(g.x[2 * i], g.x[2 * i + 1])
                                               : f32x2_to_bf16x2(g.x[2 * i], g.x[2 * i + 1]);
        }
        store_quarter<STREAMED>((char *)((uint16_t *)m.data + row.start + j), h);
    }
}

// ---- rows -------------------------------------------------------------------

__device__ __forceinline__ void store_row(const fasc_rows_params &rows, const RowOf &row, float x)
{
    if (rows.data) {
        rows.data[row.b * rows.stride[0] + row.h * rows.stride[1] + row.i * rows.stride[2]] = x;
    }
}
