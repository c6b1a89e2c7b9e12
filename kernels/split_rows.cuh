// split_rows.cuh - the rows of a block of flash_split: the query heads of a group read the same
// keys, so that row r of a key head stands for query r % seqlen_q of head r / seqlen_q of its
// group.
#pragma once

#include "split_params.h"

struct Rows {
    int batch, head_k, first, count; // rows [first, first + count) of this key head are the block's
};

// Row n of the block: its query head and its query.
__device__ __forceinline__ int head_of(const fasc_flash_params &p, const Rows &rows, int n)
{
    return rows.head_k * p.group + (rows.first + n) / p.seqlen_q;
}

__device__ __forceinline__ int query_of(const fasc_flash_params &p, const Rows &rows, int n)
{
    return (rows.first + n) % p.seqlen_q;
}

// Number of a row among all, as parts are counted.
__device__ __forceinline__ int64_t number_of(const fasc_flash_params &p, const Rows &rows, int n)
{
    return ((int64_t)rows.batch * p.heads_q + head_of(p, rows, n)) * p.seqlen_q +
           query_of(p, rows, n);
}

// Element (batch, head, query, 0) of a matrix.
__device__ __forceinline__ int64_t start_of(const fasc_flash_params &p, const fasc_matrix_params &m,
                                            const Rows &rows, int n)
{
    return rows.batch * m.stride[0] + head_of(p, rows, n) * m.stride[1] +
           query_of(p, rows, n) * m.stride[2];
}

__device__ __forceinline__ void store_score(const fasc_matrix_params &m, int64_t at, float x)
{
    if (m.dtype == FASC_DTYPE_F32) {
        ((float *)m.data)[at] = x;
    } else {
        ((uint16_t *)m.data)[at] = float_to_element(x);
    }
}
