// reducer_sm80.cu - reductions over the scores that need a pass of their own, for every NVIDIA GPU
// from sm_80 on: what reducer_sm90.cu does, on mma.sync and cp.async, and what that leaves: mask
// tensors, pooled tiles of any edge, sums of masked logits.
//
//   S = X Y^T, rows of X at rest in shared memory, Y streamed past
//
// Tile: a block owns BLOCK_M rows of one head (whole tiles of a pooled map, where that is made),
// each of its WARPS warps MT = BLOCK_M / (16 WARPS) times 16 of them, and walks the columns BLOCK_N
// at a time, STAGES deep. Results of a row stay in registers; those of pooled tiles are added up in
// the output itself, by the one block that owns them: no atomics, one order.
//
// Shared memory: X [BLOCK_M] | Y [STAGES][BLOCK_N] (panels as in sm80_mma.cuh)
// | offsets [STAGES][BLOCK_N] | P of a step, for pooled maps, BLOCK_M rows of BLOCK_N + 1 floats,
// and a sum and a maximum of each row's part of each pooled tile; or the lists of top-k.
//
// Macros: FASC_BF16 (0, 1), HEAD_DIM (multiple of 64, at most 256), BLOCK_M, BLOCK_N (multiple of
// 32), STAGES, WARPS, REDUCE (FASC_REDUCE_...), SLOTS (of top-k: k / 4, rounded up), MASK (1: there
// is a mask tensor).

#include "mask.cuh"
#include "reducer_mma.cuh"
#include "reducer_sums.cuh"
#include "topk.cuh"

constexpr bool SUMS = (REDUCE & (FASC_REDUCE_SUM | FASC_REDUCE_MAX)) != 0;
constexpr bool OFFSETS = SUMS;
constexpr bool POOLS = (REDUCE & FASC_REDUCE_POOL) != 0;
constexpr int COLUMNS_AT = ROW_BYTES;
constexpr int OFFSETS_AT = COLUMNS_AT + STAGES * COLUMN_BYTES;
constexpr int WEIGHTS_AT = OFFSETS_AT + STAGES * BLOCK_N * 4;
constexpr int WEIGHTS_PITCH = BLOCK_N + 1;
constexpr int PARTS = BLOCK_N + 2; // most pooled columns that a step touches
constexpr int POOL_BYTES = BLOCK_M * (WEIGHTS_PITCH * 4 + PARTS * 8);

constexpr int LISTS_AT = WEIGHTS_AT + (POOLS ? POOL_BYTES : 0);
constexpr int LIST_BYTES = FASC_REDUCER_LISTS(REDUCE & FASC_REDUCE_TOPK, SLOTS);

static_assert(LISTS_AT + BLOCK_M / 16 * LIST_BYTES ==
                  FASC_REDUCER_SM80_SMEM_BYTES(HEAD_DIM, BLOCK_M, BLOCK_N, STAGES, POOLS,
                                               LIST_BYTES),
              "the host's formula");

// ---- S ----------------------------------------------------------------------

// Raw products become S with what the mask tensor adds, -inf where it hides.
__device__ __forceinline__ void add_mask(const fasc_reducer_params &p, float (&s)[4 * NT],
                                         int batch, int head, int row, int column)
{
    const int64_t base = batch * p.mask.stride[0] + head * p.mask.stride[1];
#pragma unroll
    for (int i = 0; i < 4 * NT; i++) {
        const int r = row + 8 * ((i >> 1) & 1), c = column + 8 * (i >> 2) + (i & 1);
        float added = -INFINITY_F32;
        if (r < p.row_end && c < p.column_end) {
            added = mask_value(p.mask, base + r * p.mask.stride[2], c);
        }
        s[i] = added == -INFINITY_F32 ? added
                                      : fma_f32(s[i], p.scale, added < -2e38f ? -2e38f : added);
    }
}

// ---- pooled maps ------------------------------------------------------------

// What this block knows of the pooled rows that it owns. Rows of more than BLOCK_M queries are
// walked in several items' worth of rows by one block.
struct Pooled {
    float *weights; // P of a step
    float *parts;   // [BLOCK_M][PARTS] pairs: sum, max
};

__device__ __forceinline__ float *pooled_at(const fasc_reducer_output &o, const Item &t, int a,
                                            int b)
{
    return (float *)o.data + output_at(o, t.batch, t.head, a) + b * o.stride[3];
}

// Adds the step's P, rows [row0, row0 + rows) and columns [column, column + BLOCK_N), to the
// output.
__device__ __forceinline__ void pool_step(const fasc_reducer_params &p, const Item &t,
                                          const Pooled &pooled, int row0, int rows, int column)
{
    const int tile = p.pool, first = column / tile;
    const int end = min(column + BLOCK_N, p.column_end), cells = (end - 1) / tile - first + 1;
    __syncthreads();
    for (int n = threadIdx.x; n < rows * cells; n += THREADS) {
        const int r = n / cells, cell = n - r * cells;
        const int from = max((first + cell) * tile, column) - column;
        const int to = min((first + cell + 1) * tile, end) - column;
        float sum = 0.0f, largest = 0.0f;
        for (int c = from; c < to; c++) {
            float x = pooled.weights[r * WEIGHTS_PITCH + c];
            sum += x;
            largest = fmaxf_nan(largest, x);
        }
        pooled.parts[2 * (r * PARTS + cell)] = sum;
        pooled.parts[2 * (r * PARTS + cell) + 1] = largest;
    }
    __syncthreads();
    const int top = row0 / tile, down = (row0 + rows - 1) / tile - top + 1;
    for (int n = threadIdx.x; n < down * cells; n += THREADS) {
        const int a = n / cells, cell = n - a * cells;
        const int from = max((top + a) * tile, row0) - row0;
        const int to = min((top + a + 1) * tile, row0 + rows) - row0;
        float sum = 0.0f, largest = 0.0f;
        for (int r = from; r < to; r++) {
            sum += pooled.parts[2 * (r * PARTS + cell)];
            largest = fmaxf_nan(largest, pooled.parts[2 * (r * PARTS + cell) + 1]);
        }
        if (p.pool_mass.data) {
            *pooled_at(p.pool_mass, t, top + a, first + cell) += sum;
        }
        if (p.pool_max.data) {
            float *at = pooled_at(p.pool_max, t, top + a, first + cell);
            *at = fmaxf_nan(*at, largest);
        }
    }
}

// Sets the block's pooled rows [a0, a1) to 0; turns their sums into means.
__device__ __forceinline__ void pool_clear(const fasc_reducer_params &p, const Item &t, int a0,
                                           int a1)
{
    const int across = (p.column_end + p.pool - 1) / p.pool;
    for (int64_t n = threadIdx.x; n < (int64_t)(a1 - a0) * across; n += THREADS) {
        const int a = a0 + (int)(n / across), b = (int)(n % across);
        if (p.pool_mass.data) {
            *pooled_at(p.pool_mass, t, a, b) = 0.0f;
        }
        if (p.pool_max.data) {
            *pooled_at(p.pool_max, t, a, b) = 0.0f;
        }
    }
    __syncthreads();
}

__device__ __forceinline__ void pool_means(const fasc_reducer_params &p, const Item &t, int a0,
                                           int a1)
{
    const int across = (p.column_end + p.pool - 1) / p.pool;
    __syncthreads();
    for (int64_t n = threadIdx.x; n < (int64_t)(a1 - a0) * across; n += THREADS) {
        const int a = a0 + (int)(n / across), b = (int)(n % across);
        const int queries = min(p.pool, p.row_end - a * p.pool);
        if (p.pool_mass.data) {
            *pooled_at(p.pool_mass, t, a, b) /= (float)queries;
        }
    }
}

// ---- the walk ---------------------------------------------------------------

// A warp's place: shared memory, and the row tile that it works on.
struct Place {
    int warp, lane, row0;
    uint32_t rows, columns;
};

// A lane's row `half` of its row tile mt.
__device__ __forceinline__ int row_at(const Place &b, int mt, int half)
{
    return b.row0 + (b.warp * MT + mt) * 16 + (b.lane >> 2) + 8 * half;
}

struct Reduction {
    RowSums sums[MT];
    float logits[MT][2];
    RowTopK<4 * SLOTS, FASC_REDUCER_LENGTH(SLOTS), true> best[MT];
};

// Rows [t.row0, t.row0 + rows) past all their columns.
__device__ __forceinline__ void walk(const fasc_reducer_params &p, Place &b, const Item &t,
                                     int rows, Reduction &red, const Pooled &pooled)
{
    const uint32_t offsets = b.rows + OFFSETS_AT;
    const int tiles = t.end - t.begin, steps = tiles * p.column_repeat;
    const float c = MASK ? LOG2_E : p.scale * LOG2_E;
    const uint16_t *x = (const uint16_t *)p.rows + t.batch * p.row_stride[0] +
                        t.head / p.row_group * p.row_stride[1];
    const int column_head0 = t.head / p.column_group * p.column_repeat;

    auto load = [&](int step) {
        const int head = column_head0 + step / tiles, j = t.begin + step % tiles;
        const uint16_t *y =
            (const uint16_t *)p.columns + t.batch * p.column_stride[0] + head * p.column_stride[1];
        const int stage = step % STAGES;
        load_tile<BLOCK_N>(b.columns + stage * COLUMN_BYTES, y, p.column_stride[2], j * BLOCK_N,
                           p.column_end, p.head_dim);
        if (OFFSETS && threadIdx.x < BLOCK_N / 4) {
            const float *from =
                p.offset + (t.batch * p.column_heads + head) * p.offset_pitch + j * BLOCK_N;
            cp_async_16(offsets + stage * BLOCK_N * 4 + threadIdx.x * 16, from + threadIdx.x * 4,
                        16);
        }
    };

    __syncthreads(); // a walk before this one has read its rows
    load_tile<BLOCK_M>(b.rows, x, p.row_stride[2], t.row0, min(p.row_end, t.row0 + rows),
                       p.head_dim);
    float row_offset[MT][2] = {};
    if (POOLS) {
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int row = row_at(b, mt, half);
                row_offset[mt][half] =
                    row < min(p.row_end, t.row0 + rows)
                        ? p.offset[(t.batch * p.heads + t.head) * p.offset_pitch + row]
                        : -INFINITY_F32;
            }
        }
    }
#pragma unroll
    for (int ahead = 0; ahead < STAGES - 1; ahead++) {
        if (ahead < steps) {
            load(ahead);
        }
        cp_async_commit();
    }
#pragma unroll 1
    for (int step = 0; step < steps; step++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (step + STAGES - 1 < steps) {
            load(step + STAGES - 1);
        }
        cp_async_commit();
        const int j = t.begin + step % tiles, stage = step % STAGES;
        const int column = j * BLOCK_N + 2 * (b.lane & 3);
        const bool cut = is_cut<BLOCK_N>(t, j);
        float s[MT][4 * NT];
        product(s, b.rows, b.columns + stage * COLUMN_BYTES, b.warp, b.lane);
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            const int row = row_at(b, mt, 0);
            Visible visible = {};
            if (cut) {
                visible = visible_columns(p, row, column);
            }
            if (MASK) {
                add_mask(p, s[mt], t.batch, p.rows_are_keys ? column_head0 + step / tiles : t.head,
                         row, column);
            }
            if (SUMS) {
                const uint32_t at = offsets + stage * BLOCK_N * 4 + 8 * (b.lane & 3);
                if (cut) {
                    red.sums[mt].add<true>(s[mt], at, c, visible);
                } else {
                    red.sums[mt].add<false>(s[mt], at, c, visible);
                }
            }
            if (REDUCE & FASC_REDUCE_LOGITS) {
                float part[2] = {0.0f, 0.0f};
#pragma unroll
                for (int i = 0; i < 4 * NT; i++) {
                    bool counts = (!cut || sees(visible, i)) && s[mt][i] != -INFINITY_F32;
                    part[(i >> 1) & 1] += counts ? (MASK ? s[mt][i] : s[mt][i] * p.scale) : 0.0f;
                }
                red.logits[mt][0] += part[0];
                red.logits[mt][1] += part[1];
            }
            if (POOLS) {
#pragma unroll
                for (int i = 0; i < 4 * NT; i++) {
                    const int half = (i >> 1) & 1;
                    float w = exp2_approx(fma_f32(s[mt][i], c, row_offset[mt][half]));
                    w = !cut || sees(visible, i) ? w : 0.0f;
                    const int r = row + 8 * half - t.row0, at = 8 * (i >> 2) + (i & 1);
                    pooled.weights[r * WEIGHTS_PITCH + at + 2 * (b.lane & 3)] = w;
                }
            }
            if (REDUCE & FASC_REDUCE_TOPK) {
                if (!MASK && p.scale < 0.0f) {
                    softmax_negate(s[mt]);
                } else if (!MASK && p.scale == 0.0f) {
                    softmax_zero(s[mt]);
                }
                if (cut) {
                    softmax_mask(s[mt], visible);
                }
                red.best[mt].add(s[mt], column, b.lane);
            }
        }
        if (POOLS) {
            pool_step(p, t, pooled, t.row0, min(p.row_end - t.row0, rows), j * BLOCK_N);
        }
    }
    cp_async_wait<0>();
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    reducer_sm80(const __grid_constant__ fasc_reducer_params p)
{
    extern __shared__ __align__(1024) char smem[];
    Place b = {};
    b.warp = threadIdx.x >> 5;
    b.lane = threadIdx.x & 31;
    b.rows = shared_address(smem);
    b.columns = b.rows + COLUMNS_AT;
    const Pooled pooled = {(float *)(smem + WEIGHTS_AT),
                           (float *)(smem + WEIGHTS_AT) + BLOCK_M * WEIGHTS_PITCH};
    Reduction red;

    // Rows of an item: BLOCK_M, or for a pooled map whole tiles of it, which may take several
    // walks.
    const int rows = !POOLS ? BLOCK_M : p.pool <= BLOCK_M ? BLOCK_M / p.pool * p.pool : p.pool;
    Item t = item_at<1, BLOCK_N>(p, blockIdx.x);
    const int tile = t.row0 - p.row_begin, first_row = p.row_begin + tile * rows;
    const int end_row = min(first_row + rows, p.row_end);
    if (POOLS) {
        pool_clear(p, t, first_row / p.pool, (end_row - 1) / p.pool + 1);
    }
    for (int row0 = first_row; row0 < end_row; row0 += BLOCK_M) {
        const int part = min(BLOCK_M, end_row - row0);
        set_rows<BLOCK_N>(p, t, row0, part);
        b.row0 = row0;
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            red.sums[mt].start();
            if (REDUCE & FASC_REDUCE_TOPK) {
                red.best[mt].start(b.rows + LISTS_AT + (b.warp * MT + mt) * LIST_BYTES, b.lane);
            }
            red.logits[mt][0] = red.logits[mt][1] = 0.0f;
        }
        walk(p, b, t, part, red, pooled);
    }
    if (POOLS) {
        pool_means(p, t, first_row / p.pool, (end_row - 1) / p.pool + 1);
    }
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
        const int row = row_at(b, mt, 0);
        if (SUMS) {
            red.sums[mt].finish(p, t, row, b.lane);
        }
        if (REDUCE & FASC_REDUCE_TOPK) {
            red.best[mt].finish(p.topk, t.batch, t.head, row, p.row_end,
                                MASK ? 1.0f : fabs_f32(p.scale), b.lane);
        }
        if (REDUCE & FASC_REDUCE_LOGITS) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float total = quad_sum(red.logits[mt][half]);
                if (row + 8 * half < p.row_end && (b.lane & 3) == 0) {
                    ((float *)p.sum
                         .data)[output_at(p.sum, t.batch, t.head, row + 8 * half - p.row_begin)] =
                        total;
                }
            }
        }
    }
}
