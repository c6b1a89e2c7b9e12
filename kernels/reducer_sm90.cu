// reducer_sm90.cu - reductions over the scores that need a pass of their own, for Hopper (sm_90a):
// column sums and maxima of P, pooled maps of P, the largest scores of each row.
//
//   S = X Y^T, 64 rows of X a warpgroup at rest, Y streamed past; a reduction takes each tile of S
//   in registers and keeps what it needs of a row
//
// For column statistics rows are keys and columns queries (S^T = K Q^T), whose LSE the forward
// left: P = 2^(S c - LSE c'). An accumulator row then is a key, so a key's sum stays in one quad's
// registers over the whole walk: no atomics, one order, results are the same bits each time. Causal
// walks start at the first query that sees a key of the item. For top-k and pooled maps rows are
// queries and columns keys.
//
// Roles: warp 0's first lane loads everything by TMA, and offsets in bulk; warpgroups 1 and on
// consume, 64 rows each. The rows are read into registers once an item (ldmatrix),
// as the products' A operand: only Y is read again and again, and the next item's rows arrive
// meanwhile. Blocks are persistent; items are dealt out in turn or by a counter.
//
// Exponentials, at 4 a cycle and scheduler, bound this pass up to head_dim 128. Products run under
// them: the next tile's of the same warpgroup (OVERLAP), or those of the others, which TURNS keeps
// apart.
//
// Shared memory, from a multiple of 1024 on: X [BUFFERS][panels][64 CONSUMERS]
// | Y [STAGES][panels][BLOCK_N] | offsets [STAGES][BLOCK_N] | room of pooled maps | barriers | item
// numbers | lists of top-k. Panels as in flash_sm90.cu.
//
// Ideas: the key-stationary order is that of FlashAttention's backward (Dao et al., 2022).
//
// Macros: FASC_BF16 (0, 1), HEAD_DIM (multiple of 64, at most 256), BLOCK_N (multiple of 64),
// STAGES, CONSUMERS, BUFFERS, OVERLAP (0, 1), TURNS (0, 1), REDUCE (FASC_REDUCE_...), SLOTS (of
// top-k: k / 4, rounded up).

#include "reducer_fragment.cuh"
#include "reducer_pool.cuh"
#include "reducer_sm90_params.h"
#include "reducer_sums.cuh"
#include "sm80_mma.cuh"
#include "sm90_mbarrier.cuh"
#include "sm90_tma.cuh"
#include "sm90_wgmma.cuh"
#include "topk_records.cuh"

constexpr int ROWS = 64 * CONSUMERS;
constexpr int CONSUMER_WARPS = 4 * CONSUMERS;
constexpr int THREADS = 128 * (CONSUMERS + 1);
// What setmaxnreg makes of the registers at launch; with one consumer warpgroup nothing is gained.
constexpr int PRODUCER_REGISTERS = CONSUMERS == 2 ? 40 : 32;
constexpr int CONSUMER_REGISTERS = CONSUMERS == 2 ? 232 : CONSUMERS == 3 ? 160 : 112;
constexpr int PANELS = (HEAD_DIM + 63) / 64;
constexpr int STEPS = HEAD_DIM / 16;
constexpr bool TOPK = (REDUCE & FASC_REDUCE_TOPK) != 0;
constexpr bool SUMS = (REDUCE & (FASC_REDUCE_SUM | FASC_REDUCE_MAX)) != 0;

constexpr int ROW_BYTES = PANELS * ROWS * 128;
constexpr int COLUMN_BYTES = PANELS * BLOCK_N * 128;
constexpr int OFFSET_BYTES = BLOCK_N * 4;
constexpr int COLUMNS_AT = BUFFERS * ROW_BYTES;
constexpr int OFFSETS_AT = COLUMNS_AT + STAGES * COLUMN_BYTES;
constexpr int ROOM_AT = OFFSETS_AT + STAGES * OFFSET_BYTES;
constexpr int ROOM_BYTES = 64 * (BLOCK_N / 64); // of a warpgroup
constexpr int BARRIERS_AT = ROOM_AT + CONSUMERS * ROOM_BYTES;
constexpr int ITEMS_AT = BARRIERS_AT + 16 * (BUFFERS + STAGES);
constexpr int LISTS_AT = ITEMS_AT + 16; // each warp's
constexpr int LIST_BYTES = FASC_REDUCER_LISTS(REDUCE & FASC_REDUCE_TOPK, SLOTS);
constexpr int SMEM_BYTES = LISTS_AT + CONSUMER_WARPS * LIST_BYTES;

static_assert(HEAD_DIM % 64 == 0 && HEAD_DIM <= 256 && BLOCK_N % 64 == 0, "tile shape");
static_assert(SMEM_BYTES <= 232448 && BUFFERS <= 4, "shared memory");
static_assert(SMEM_BYTES == FASC_REDUCER_SM90_SMEM_BYTES(HEAD_DIM, BLOCK_N, STAGES, CONSUMERS,
                                                         BUFFERS, LIST_BYTES),
              "the host's formula");

struct Pipes {
    uint32_t at; // full and empty of each buffer of rows, then of each stage of columns

    __device__ __forceinline__ uint32_t rows_full(uint32_t buffer) const
    {
        return at + 16 * buffer;
    }
    __device__ __forceinline__ uint32_t rows_empty(uint32_t buffer) const
    {
        return at + 16 * buffer + 8;
    }
    __device__ __forceinline__ uint32_t columns_full(uint32_t stage) const
    {
        return at + 16 * (BUFFERS + stage);
    }
    __device__ __forceinline__ uint32_t columns_empty(uint32_t stage) const
    {
        return at + 16 * (BUFFERS + stage) + 8;
    }
};

// Tiles of an item that are looked at before all are passed: see RecordTopK.
__device__ __forceinline__ int looks_of(const Item &t)
{
    return TOPK ? FASC_TOPK_LOOKS(4 * SLOTS, t.end - t.begin) : 0;
}

// ---- the producer -----------------------------------------------------------

__device__ __forceinline__ void bulk_load(uint32_t smem, const void *from, uint32_t bytes,
                                          uint32_t barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];\n" ::"r"(smem),
                 "l"(from), "r"(bytes), "r"(barrier)
                 : "memory");
}

__device__ __forceinline__ int first_column_head(const fasc_reducer_params &p, const Item &t)
{
    return t.head / p.column_group * p.column_repeat;
}

// One thread. The number of an item travels with its rows; -1 ends the block's work.
__device__ __forceinline__ void produce(const fasc_reducer_sm90_params &params, uint32_t smem,
                                        Pipes pipes)
{
    const fasc_reducer_params &p = params.reduce;
    Ring<BUFFERS> rows(1);
    Ring<STAGES> columns(1);
    int index = blockIdx.x;
    while (true) {
        mbarrier_wait(pipes.rows_empty(rows.index), rows.parity, FASC_BARRIER_ROWS_EMPTY,
                      params.watchdog);
        const bool work = index < p.items;
        const uint32_t rows_full = pipes.rows_full(rows.index);
        store_shared_4(smem + ITEMS_AT + 4 * rows.index, work ? index : -1);
        if (!work) {
            mbarrier_arrive(rows_full);
            break;
        }
        const Item t = item_at<ROWS, BLOCK_N>(p, index);
        mbarrier_arrive_expect(rows_full, ROW_BYTES);
#pragma unroll
        for (int panel = 0; panel < PANELS; panel++) {
            tma_load(smem + rows.index * ROW_BYTES + panel * ROWS * 128, &params.row_map, rows_full,
                     panel * 64, t.row0, t.head / p.row_group, t.batch, L2_EVICT_FIRST);
        }
        rows.advance();
        index = p.counter ? (int)gridDim.x + atomicAdd(p.counter, 1) : index + (int)gridDim.x;
        for (int repeat = 0; repeat < p.column_repeat; repeat++) {
            const int head = first_column_head(p, t) + repeat;
            const float *offset = p.offset + (t.batch * p.column_heads + head) * p.offset_pitch;
            int j = t.begin;
            for (int step = -looks_of(t); step < t.end - t.begin; step++) {
                mbarrier_wait(pipes.columns_empty(columns.index), columns.parity,
                              FASC_BARRIER_COLUMNS_EMPTY, params.watchdog);
                const uint32_t full = pipes.columns_full(columns.index);
                const uint32_t to = smem + COLUMNS_AT + columns.index * COLUMN_BYTES;
                mbarrier_arrive_expect(full, COLUMN_BYTES + (SUMS ? OFFSET_BYTES : 0));
#pragma unroll
                for (int panel = 0; panel < PANELS; panel++) {
                    tma_load(to + panel * BLOCK_N * 128, &params.column_map, full, panel * 64,
                             j * BLOCK_N, head, t.batch, L2_EVICT_LAST);
                }
                if (SUMS) {
                    bulk_load(smem + OFFSETS_AT + columns.index * OFFSET_BYTES,
                              offset + j * BLOCK_N, OFFSET_BYTES, full);
                }
                columns.advance();
                j = j + 1 == t.end ? t.begin : j + 1;
            }
        }
    }
}

// ---- a consumer warpgroup ---------------------------------------------------

// Warpgroups take turns to issue products: products that two issue at once would end at once, and
// both would then wait for the exponentials. Barriers 1..CONSUMERS; the first turn is warpgroup
// 0's.
__device__ __forceinline__ void turn_wait(int group)
{
    if (TURNS) {
        asm volatile("barrier.cta.sync %0, 256;\n" ::"r"(1 + group) : "memory");
    }
}

__device__ __forceinline__ void turn_pass(int group)
{
    if (TURNS) {
        int next = group + 1 == CONSUMERS ? 0 : group + 1;
        asm volatile("barrier.cta.arrive %0, 256;\n" ::"r"(1 + next) : "memory");
    }
}

struct Consumer {
    const fasc_reducer_params &p;
    uint32_t *watchdog;
    uint32_t smem;
    Pipes pipes;
    Ring<BUFFERS> rows;
    Ring<STAGES> columns;
    int warp, lane;
    float c; // of logits in base 2
    RowSums sums;
    RecordTopK<4 * SLOTS, FASC_REDUCER_LENGTH(SLOTS)> best;
    PooledRow<BLOCK_N / 2> pooled;

    __device__ __forceinline__ void load_rows(uint32_t (&a)[STEPS][4])
    {
        const uint32_t tile = smem + rows.index * ROW_BYTES;
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            load_fragment(
                a[step], tile + tile_offset(ROWS, warp * 16 + (lane & 15), 2 * step + (lane >> 4)));
        }
        __syncwarp();
        if (lane == 0) {
            mbarrier_arrive(pipes.rows_empty(rows.index));
        }
        rows.advance();
    }

    __device__ __forceinline__ void wait_columns(const Ring<STAGES> &at) const
    {
        mbarrier_wait(pipes.columns_full(at.index), at.parity, FASC_BARRIER_COLUMNS_FULL, watchdog);
    }

    // Issues S of the tile in a stage.
    __device__ __forceinline__ void issue(float (&s)[BLOCK_N / 2], const uint32_t (&a)[STEPS][4],
                                          const Ring<STAGES> &at) const
    {
        const uint64_t tile = wgmma_descriptor(smem + COLUMNS_AT + at.index * COLUMN_BYTES, 0);
        turn_wait(warp / 4);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            uint64_t b = wgmma_advance(tile, step / 4 * BLOCK_N * 128 + step % 4 * 32);
            if (step == 0) {
                Wgmma<BLOCK_N>::first_rows(s, a[step], b);
            } else {
                Wgmma<BLOCK_N>::add_rows(s, a[step], b);
            }
        }
        wgmma_commit();
        turn_pass(warp / 4);
    }

    __device__ __forceinline__ void release_columns()
    {
        __syncwarp();
        if (lane == 0) {
            mbarrier_arrive(pipes.columns_empty(columns.index));
        }
    }

    __device__ __forceinline__ void reduce(const Item &t, int j, int step, float (&s)[BLOCK_N / 2])
    {
        const int row = t.row0 + warp * 16 + (lane >> 2);
        const bool cut = is_cut<BLOCK_N>(t, j);
        Visible visible = {};
        if (cut) {
            visible = visible_columns(p, row, j * BLOCK_N + 2 * (lane & 3));
        }
        if (SUMS) {
            const uint32_t offsets =
                smem + OFFSETS_AT + columns.index * OFFSET_BYTES + 8 * (lane & 3);
            if (cut) {
                sums.add<true>(s, offsets, c, visible);
            } else {
                sums.add<false>(s, offsets, c, visible);
            }
        }
        if (REDUCE & FASC_REDUCE_POOL) {
            const int thread = warp % 4 * 32 + lane, row0 = t.row0 + warp / 4 * 64;
            if (cut) {
                pooled.add<true>(s, p, t, row0, j * BLOCK_N, c, visible, thread);
            } else {
                pooled.add<false>(s, p, t, row0, j * BLOCK_N, c, visible, thread);
            }
        }
        if (REDUCE & FASC_REDUCE_TOPK) {
            if (p.scale < 0.0f) {
                softmax_negate(s);
            } else if (p.scale == 0.0f) {
                softmax_zero(s);
            }
            if (cut) {
                softmax_mask(s, visible);
            }
            float top[2];
            if (step < looks_of(t)) {
                best.look(s, top);
            } else {
                best.add(s, j, step < t.end - t.begin, top);
            }
        }
    }

    __device__ __forceinline__ void start(const Item &t)
    {
        if (SUMS) {
            sums.start();
        }
        if (REDUCE & FASC_REDUCE_TOPK) {
            const int number = blockIdx.x * CONSUMER_WARPS + warp;
            best.start(smem + LISTS_AT + warp * LIST_BYTES,
                       p.topk.room + (int64_t)number * FASC_TOPK_ROOM(4 * SLOTS), lane);
        }
        if (REDUCE & FASC_REDUCE_POOL) {
            const int row0 = t.row0 + warp / 4 * 64, thread = warp % 4 * 32 + lane;
            const float *offset = p.offset + (t.batch * p.heads + t.head) * p.offset_pitch;
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int row = t.row0 + warp * 16 + (lane >> 2) + 8 * half;
                pooled.offset[half] = row < p.row_end ? offset[row] : -INFINITY_F32;
            }
            pooled.clear(p, t, row0, 0, t.begin * (BLOCK_N / 64), thread);
            pooled.clear(p, t, row0, t.end * (BLOCK_N / 64), (p.column_end + 63) / 64, thread);
        }
    }

    __device__ __forceinline__ void finish(const Item &t)
    {
        const int row = t.row0 + warp * 16 + (lane >> 2);
        if (SUMS) {
            sums.finish(p, t, row, lane);
        }
        if (REDUCE & FASC_REDUCE_TOPK) {
            best.finish(p.topk, t.batch, t.head, row, p.row_end, fabs_f32(p.scale), lane);
        }
    }

    __device__ __forceinline__ void item(const Item &t)
    {
        uint32_t a[STEPS][4];
        load_rows(a);
        start(t);
        const int steps = (t.end - t.begin) * p.column_repeat + looks_of(t);
        int j = t.begin;
        if (OVERLAP && steps > 0) {
            float s[BLOCK_N / 2], next[BLOCK_N / 2];
            wait_columns(columns);
            issue(s, a, columns);
            wgmma_wait<0>();
            hold_registers(s);
#pragma unroll 1
            for (int step = 1; step < steps; step++) {
                Ring<STAGES> ahead = columns;
                ahead.advance();
                wait_columns(ahead);
                issue(next, a, ahead);
                reduce(t, j, step - 1, s);
                release_columns();
                wgmma_wait<0>();
                hold_registers(next);
#pragma unroll
                for (int i = 0; i < BLOCK_N / 2; i++) {
                    s[i] = next[i];
                }
                columns = ahead;
                j = j + 1 == t.end ? t.begin : j + 1;
            }
            reduce(t, j, steps - 1, s);
            release_columns();
            columns.advance();
        }
#pragma unroll 1
        for (int step = OVERLAP ? steps : 0; step < steps; step++) {
            float s[BLOCK_N / 2];
            if (TOPK) {
                best.template make_room<BLOCK_N / 2>(lane);
            }
            wait_columns(columns);
            issue(s, a, columns);
            wgmma_wait<0>();
            hold_registers(s);
            reduce(t, j, step, s);
            release_columns();
            columns.advance();
            j = j + 1 == t.end ? t.begin : j + 1;
        }
        finish(t);
    }
};

__device__ __forceinline__ void consume(const fasc_reducer_sm90_params &params, uint32_t smem,
                                        Pipes pipes, int warp, int lane)
{
    const fasc_reducer_params &p = params.reduce;
    Consumer consumer = {p,
                         params.watchdog,
                         smem,
                         pipes,
                         Ring<BUFFERS>(0),
                         Ring<STAGES>(0),
                         warp,
                         lane,
                         p.scale * LOG2_E,
                         {},
                         {},
                         {smem + ROOM_AT + warp / 4 * ROOM_BYTES, CONSUMERS + warp / 4, 0, {}}};
    if (warp / 4 == CONSUMERS - 1) {
        turn_pass(warp / 4);
    }
    while (true) {
        mbarrier_wait(pipes.rows_full(consumer.rows.index), consumer.rows.parity,
                      FASC_BARRIER_ROWS_FULL, params.watchdog);
        int index = (int)load_shared_4(smem + ITEMS_AT + 4 * consumer.rows.index);
        if (index < 0) {
            break;
        }
        consumer.item(item_at<ROWS, BLOCK_N>(p, index));
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    reducer_sm90(const __grid_constant__ fasc_reducer_sm90_params params)
{
    extern __shared__ __align__(1024) uint8_t shared_memory[];
    const uint32_t smem = shared_address(shared_memory);
    const Pipes pipes = {smem + BARRIERS_AT};
    const int warp = __shfl_sync(FULL_MASK, threadIdx.x / 32, 0), lane = threadIdx.x % 32;

    if (warp == 0 && lane == 0) {
        for (int n = 0; n < BUFFERS; n++) {
            mbarrier_init(pipes.rows_full(n), 1);
            mbarrier_init(pipes.rows_empty(n), CONSUMER_WARPS);
        }
        for (int n = 0; n < STAGES; n++) {
            mbarrier_init(pipes.columns_full(n), 1);
            mbarrier_init(pipes.columns_empty(n), CONSUMER_WARPS);
        }
        mbarrier_init_fence();
        tma_prefetch_map(&params.row_map);
        tma_prefetch_map(&params.column_map);
    }
    __syncthreads();
    if (warp < 4) {
        if (CONSUMERS > 1) {
            asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(PRODUCER_REGISTERS));
        }
        if (warp == 0 && lane == 0) {
            produce(params, smem, pipes);
        }
    } else {
        if (CONSUMERS > 1) {
            asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(CONSUMER_REGISTERS));
        }
        consume(params, smem, pipes, warp - 4, lane);
    }
}
