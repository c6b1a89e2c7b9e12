// reducer_tiles.cuh - how the work of a reducer is cut into items (a tile of rows of one head) and
// which columns an item visits.
#pragma once

#include "flash_common.cuh"
#include "reducer_params.h"
#include "softmax.cuh"

struct Item {
    int batch, head, row0;
    int begin, end;            // column tiles [begin, end) that some row sees
    int full_first, full_last; // columns that every row sees
};

// The band's edges as ints: no sequence is longer than 2^30.
__device__ __forceinline__ int band_edge(int64_t edge)
{
    const int64_t far = 1 << 30;
    return (int)max(-far, min(edge, far));
}

// Gives the item rows [row0, row0 + rows), and the columns that they see.
template <int COLUMNS>
__device__ __forceinline__ void set_rows(const fasc_reducer_params &p, Item &t, int row0, int rows)
{
    int row1 = min(row0 + rows, p.row_end) - 1;
    int first = p.column_begin, last = p.column_end - 1;
    t.row0 = row0;
    t.full_first = first;
    t.full_last = last;
    if (p.banded) {
        int lo = band_edge(p.lo), hi = band_edge(p.hi);
        first = max(first, row0 + lo);
        last = min(last, row1 + hi);
        t.full_first = max(t.full_first, row1 + lo);
        t.full_last = min(t.full_last, row0 + hi);
    }
    bool empty = last < first;
    t.begin = empty ? 0 : first / COLUMNS;
    t.end = empty ? 0 : last / COLUMNS + 1;
}

// Item number `index`: heads in sections, and in a section the rows that see most first, over all
// its heads.
template <int ROWS, int COLUMNS>
__device__ __forceinline__ Item item_at(const fasc_reducer_params &p, int index)
{
    int section = index / (p.section * p.tiles);
    int rest = index - section * p.section * p.tiles;
    int heads = min(p.section, p.batch * p.heads - section * p.section);
    int tile = rest / heads;
    int head = section * p.section + rest - tile * heads;
    Item t;
    t.batch = head / p.heads;
    t.head = head - t.batch * p.heads;
    set_rows<COLUMNS>(p, t, p.row_begin + (p.last_first ? p.tiles - 1 - tile : tile) * ROWS, ROWS);
    return t;
}

// Whether some row of the item does not see all of the tile's columns.
template <int COLUMNS> __device__ __forceinline__ bool is_cut(const Item &t, int tile)
{
    return tile * COLUMNS < t.full_first || (tile + 1) * COLUMNS - 1 > t.full_last;
}

// The columns that a lane's two rows (row and row + 8) see, from its first column on.
__device__ __forceinline__ Visible visible_columns(const fasc_reducer_params &p, int row,
                                                   int column)
{
    Visible v;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int first = p.column_begin, last = p.column_end - 1;
        if (p.banded) {
            first = max(first, row + 8 * half + band_edge(p.lo));
            last = min(last, row + 8 * half + band_edge(p.hi));
        }
        v.first[half] = first - column;
        v.last[half] = last - column;
    }
    return v;
}

__device__ __forceinline__ bool sees(const Visible &v, int i)
{
    int column = 8 * (i >> 2) + (i & 1), half = (i >> 1) & 1;
    return column >= v.first[half] && column <= v.last[half];
}

__device__ __forceinline__ int64_t output_at(const fasc_reducer_output &o, int64_t batch,
                                             int64_t head, int64_t row)
{
    return batch * o.stride[0] + head * o.stride[1] + row * o.stride[2];
}
