// linear.cu - sums of logits in linear time. A row's sum over the columns that it sees is
//
//   sum_c scale x_r . y_c = scale x_r . (sum of the y_c that it sees)
//
// and under a band those columns are a range, whose ends move by one from row to row: rows that are
// neighbours share most of it, whose sum comes from prefix sums over tiles. Rows are queries and
// columns keys (row_sum), or the other way round (col_sum_logits).
//
//   linear_tiles  float64 sums of y over tiles of 64 columns, and whether y has NaN or infinities
//   linear_scan   their prefix sums, in place
//   linear_rows   a warp takes 16 rows
//
// Prefixes are float64, so that their differences keep what a window's sum needs; what 16 rows do
// not share is added in float32, and nothing is ever taken away. Where y is not finite, differences
// would carry NaN to rows that do not see it: there each row adds up what it sees. Geometry as in
// reducer_params.h; no mask tensor.
//
// Macros: FASC_BF16 (0, 1).

#include "flash_common.cuh"
#include "linear_params.h"

constexpr int TILE = FASC_LINEAR_TILE, WARPS = 4, ROWS = 16;

__device__ __forceinline__ const uint16_t *column_head(const fasc_linear_params &p, int64_t head)
{
    return (const uint16_t *)p.columns + head / p.column_heads * p.column_stride[0] +
           head % p.column_heads * p.column_stride[1];
}

__device__ __forceinline__ double *prefix_of(const fasc_linear_params &p, int64_t head, int tile)
{
    return p.prefix + (head * (p.tiles + 1) + tile) * p.head_dim;
}

extern "C" __global__ void __launch_bounds__(256)
    linear_tiles(const __grid_constant__ fasc_linear_params p)
{
    const int64_t head = blockIdx.x / p.tiles;
    const int tile = (int)(blockIdx.x - head * p.tiles),
              end = min((tile + 1) * TILE, p.columns_count);
    const uint16_t *y = column_head(p, head);
    for (int d = threadIdx.x; d < p.head_dim; d += blockDim.x) {
        float part[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 8
        for (int c = tile * TILE; c < end; c++) {
            part[c & 3] += element_to_float(y[c * p.column_stride[2] + d]);
        }
        const double sum = ((double)part[0] + part[1]) + ((double)part[2] + part[3]);
        prefix_of(p, head, tile + 1)[d] = sum;
        if (!(sum - sum == 0.0)) {
            p.spoilt[head] = 1;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
    linear_scan(const __grid_constant__ fasc_linear_params p)
{
    const int64_t head = blockIdx.x;
    for (int d = threadIdx.x; d < p.head_dim; d += blockDim.x) {
        double sum = 0.0;
        prefix_of(p, head, 0)[d] = 0.0;
#pragma unroll 8
        for (int tile = 1; tile <= p.tiles; tile++) {
            double *at = prefix_of(p, head, tile) + d;
            sum += *at;
            *at = sum;
        }
    }
}

// The columns [first, end) that a row sees; first = end when there are none. From a row to the next
// both ends move by at most one.
struct Range {
    int first, end;
};

__device__ __forceinline__ Range range_of(const fasc_linear_params &p, int row)
{
    int64_t first = p.column_begin, end = p.column_end;
    if (p.banded) {
        first = min(max(first, row + p.lo), (int64_t)p.column_end);
        end = min(end, row + p.hi + 1);
    }
    return {(int)first, (int)max(first, end)};
}

// A lane's elements of a row: pairs lane, lane + 32, ...
constexpr int PAIRS = 4;

struct Sum {
    float x[2 * PAIRS];
};

__device__ __forceinline__ void take(const fasc_linear_params &p, Sum &s, const uint16_t *y,
                                     int64_t column, float factor, int lane)
{
#pragma unroll
    for (int n = 0; n < PAIRS; n++) {
        const int d = 2 * (lane + 32 * n);
        if (d < p.head_dim) {
            const uint32_t pair = *(const uint32_t *)(y + column * p.column_stride[2] + d);
            s.x[2 * n] = fma_f32(factor, element_to_float((uint16_t)pair), s.x[2 * n]);
            s.x[2 * n + 1] =
                fma_f32(factor, element_to_float((uint16_t)(pair >> 16)), s.x[2 * n + 1]);
        }
    }
}

// Begins with the sum of a range's columns: of its whole tiles by their prefixes, subtracted in
// float64, and of the others one by one.
__device__ __forceinline__ void begin_sum(const fasc_linear_params &p, Sum &s, const uint16_t *y,
                                          int64_t head, Range range, int lane)
{
    const int first = (range.first + TILE - 1) / TILE, end = max(range.end / TILE, first);
    const double *low = prefix_of(p, head, first), *high = prefix_of(p, head, end);
#pragma unroll
    for (int n = 0; n < 2 * PAIRS; n++) {
        const int d = 2 * (lane + 32 * (n / 2)) + n % 2;
        s.x[n] = d < p.head_dim ? (float)(high[d] - low[d]) : 0.0f;
    }
#pragma unroll 8
    for (int c = range.first; c < min(first * TILE, range.end); c++) {
        take(p, s, y, c, 1.0f, lane);
    }
#pragma unroll 8
    for (int c = end * TILE; c < range.end; c++) {
        take(p, s, y, c, 1.0f, lane);
    }
}

__device__ __forceinline__ float dot(const fasc_linear_params &p, const Sum &s, const uint16_t *x,
                                     int64_t row, int lane)
{
    float sum = 0.0f;
#pragma unroll
    for (int n = 0; n < PAIRS; n++) {
        const int d = 2 * (lane + 32 * n);
        if (d < p.head_dim) {
            const uint32_t pair = *(const uint32_t *)(x + row * p.row_stride[2] + d);
            sum = fma_f32(element_to_float((uint16_t)pair), s.x[2 * n], sum);
            sum = fma_f32(element_to_float((uint16_t)(pair >> 16)), s.x[2 * n + 1], sum);
        }
    }
    return sum;
}

// Rows [row0, row0 + ROWS), each by itself.
__device__ __noinline__ void sum_in_full(const fasc_linear_params &p, float (&total)[ROWS],
                                         const uint16_t *x, const uint16_t *y, int row0, int lane)
{
#pragma unroll 1
    for (int row = row0; row < min(row0 + ROWS, p.row_end); row++) {
        const Range range = range_of(p, row);
        Sum sum = {};
        for (int c = range.first; c < range.end; c++) {
            take(p, sum, y, c, 1.0f, lane);
        }
        float here = range.end > range.first ? dot(p, sum, x, row, lane) : 0.0f;
#pragma unroll
        for (int n = 0; n < ROWS; n++) {
            total[n] += row0 + n == row ? here : 0.0f;
        }
    }
}

// The same for rows that share columns, all of them finite, in two steps of which most bands need
// one: what the later rows see beyond a sum, from the first row on, and what the earlier ones see
// before it, from the last row back. Sums only grow: a large column that left a range would leave
// its rounding. The next column is loaded without asking, times 0 where a row does not see it.
__device__ __forceinline__ void sum_from(const fasc_linear_params &p, float (&total)[ROWS], Sum sum,
                                         const uint16_t *x, const uint16_t *y, int row0, int end,
                                         int lane)
{
#pragma unroll
    for (int n = 0; n < ROWS; n++) {
        const int row = min(row0 + n, p.row_end - 1);
        if (p.banded) {
            const int next = range_of(p, row).end;
            take(p, sum, y, min(end, p.column_end - 1), next > end ? 1.0f : 0.0f, lane);
            end = next;
        }
        total[n] += dot(p, sum, x, row, lane);
    }
}

__device__ __noinline__ void sum_before(const fasc_linear_params &p, float (&total)[ROWS], Sum sum,
                                        const uint16_t *x, const uint16_t *y, int row0, int first,
                                        int lane)
{
#pragma unroll
    for (int n = ROWS - 1; n >= 0; n--) {
        const int row = min(row0 + n, p.row_end - 1), next = range_of(p, row).first;
        take(p, sum, y, max(first - 1, p.column_begin), next < first ? 1.0f : 0.0f, lane);
        first = next;
        total[n] += dot(p, sum, x, row, lane);
    }
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1)
    linear_rows(const __grid_constant__ fasc_linear_params p)
{
    const int lane = threadIdx.x % 32;
    const int64_t pieces = (p.row_end - p.row_begin + ROWS - 1) / ROWS;
    const int64_t number = blockIdx.x * (int64_t)WARPS + threadIdx.x / 32;
    const int64_t flat = number / pieces;
    if (flat >= (int64_t)p.batch * p.heads) {
        return;
    }
    const int64_t batch = flat / p.heads, head = flat - batch * p.heads;
    const int row0 = p.row_begin + (int)(number - flat * pieces) * ROWS;
    const uint16_t *x =
        (const uint16_t *)p.rows + batch * p.row_stride[0] + head / p.row_group * p.row_stride[1];
    float total[ROWS] = {};
    for (int repeat = 0; repeat < p.column_repeat; repeat++) {
        const int64_t from =
            batch * p.column_heads + head / p.column_group * p.column_repeat + repeat;
        const uint16_t *y = column_head(p, from);
        const Range begin = range_of(p, row0);
        const Range last = range_of(p, min(row0 + ROWS, p.row_end) - 1);
        const Range shared = {last.first, begin.end};
        if (p.spoilt[from] || shared.first >= shared.end) { // or ranges are short
            sum_in_full(p, total, x, y, row0, lane);
            continue;
        }
        Sum sum;
        begin_sum(p, sum, y, from, shared, lane);
        if (last.end > shared.end || begin.first == shared.first) {
            sum_from(p, total, sum, x, y, row0, shared.end, lane);
            sum = {};
        }
        if (begin.first < shared.first) {
            sum_before(p, total, sum, x, y, row0, shared.first, lane);
        }
    }
#pragma unroll
    for (int n = 0; n < ROWS; n++) {
        float all = warp_sum(total[n]);
        if (lane == 0 && row0 + n < p.row_end) {
            p.sum[batch * p.sum_stride[0] + head * p.sum_stride[1] +
                  (row0 + n - p.row_begin) * p.sum_stride[2]] = (float)(p.scale * all);
        }
    }
}
