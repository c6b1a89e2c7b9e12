// sm90_classes.cuh - rows of scores at any address, by TMA all the same (SCORE_STORE_CLASSES).
//
// TMA writes to multiples of 16 bytes, and fast where they are multiples of 32, a sector of memory:
// 16 elements. With a row stride of s elements row r starts r s elements behind row 0: how far it
// starts behind a sector's start, its phase, repeats every 16 / gcd(16, s) rows. So a block takes
// rows of one class, that many apart: one phase p for all of them. Its key tiles start at keys -p,
// BLOCK_N - p, ..., which lie at sectors' starts, and leave through a tensor map whose row stride
// is that of the class.
//
//   row r        | -p .. -1: the row before | 0 ............ BLOCK_N - p - 1 | BLOCK_N - p ...
//   key tiles    |<-------------- tile 0 --------------------------------->|<-- tile 1 ...
//
// Keys before the first load as zeros and are hidden as those behind the last are. What a warp has
// of the first and the last tile, whose edges share 16 bytes with other rows, and of the last rows
// of a head goes by plain stores.
//
// A class has a 16th of a head's rows: they fill whole blocks only where there are many. Under a
// causal mask the rows of a block are far apart, so that a warpgroup has tiles that only the others
// see (walk_unseen).
#pragma once

#include "sm90_config.cuh"

// What a launch is told.
template <bool> struct LaunchParams {
    typedef fasc_flash_sm90_params type;
};
template <> struct LaunchParams<true> {
    typedef fasc_flash_sm90_classes_params type;
};
typedef LaunchParams<CLASSES>::type Params;

__device__ __forceinline__ const fasc_flash_sm90_params &base_of(const fasc_flash_sm90_params &p)
{
    return p;
}

__device__ __forceinline__ const fasc_flash_sm90_params &
base_of(const fasc_flash_sm90_classes_params &p)
{
    return p.base;
}

__device__ __forceinline__ const fasc_sm90_classes &classes_of(const fasc_flash_sm90_params &p)
{
    return reinterpret_cast<const fasc_flash_sm90_classes_params &>(p).classes;
}

// Rows of a tile are 1 << row_shift apart.
__device__ __forceinline__ int row_shift(const fasc_flash_sm90_params &p)
{
    return CLASSES ? classes_of(p).shift : 0;
}

// First row of a head's row tile `index`, those with the last rows first. A row more than others
// have may take classes a tile of its own, the first `tops`.
__device__ __forceinline__ int first_row(const fasc_flash_sm90_params &p, int index)
{
    if (!CLASSES) {
        return (p.tiles_m - 1 - index) * BLOCK_M;
    }
    const fasc_sm90_classes &x = classes_of(p);
    const int below = (p.tiles_m - x.tops) >> x.shift; // row tiles that every class has
    const bool top = index < x.tops;
    index -= x.tops;
    const int tile = top ? below : below - 1 - (index >> x.shift);
    const int of = top ? index + x.tops : index & ((1 << x.shift) - 1);
    return of + (tile * BLOCK_M << x.shift);
}

// Elements by which the rows of `row`'s class start behind a sector's start.
__device__ __forceinline__ int phase_of(const fasc_flash_sm90_params &p, int batch, int head,
                                        int row)
{
    if (!CLASSES) {
        return 0;
    }
    const fasc_flash_params &f = p.flash;
    const uint64_t at = (uint64_t)f.scores / 2 + batch * f.scores_stride[0] +
                        head * f.scores_stride[1] + row * f.scores_stride[2];
    return (int)at & (FASC_SM90_ALIGN - 1);
}
