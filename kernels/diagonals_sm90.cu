// diagonals_sm90.cu - sums of P or S along the diagonals of the scores, for Hopper (sm_90a). The
// idea is that of diagonals.cu: a block walks down a stripe, each accumulator stays on one diagonal
// over the whole walk. diagonals_join.cu adds the two parts of each.
//
// A step is 64 queries, keys 64 a + stripe WIDTH and on, WIDTH of them, 128 for each of CONSUMERS
// warpgroups. The next step's keys are these but for 64: keys go round a ring of chunks of 64, of
// which a step loads one. So a step reads 64 queries and 64 keys for 64 x WIDTH scores.
//
// Roles: warp 0's first lane loads by TMA; warpgroups 1 and on consume. A warpgroup reads the
// step's queries into registers (ldmatrix), multiplies them with its two chunks, and adds up the
// first while the second's product runs.
//
// Shared memory, from a multiple of 1024 on: K [CHUNKS][panels][64] | Q [STAGES][panels][64]
// | barriers; at the end the sums, over K and Q. Panels as in flash_sm90.cu.
//
// Macros: FASC_BF16 (0, 1), HEAD_DIM (multiple of 64), CONSUMERS, CHUNKS, STAGES, REDUCE
// (FASC_REDUCE_SUM for P, FASC_REDUCE_LOGITS for S).

#include "flash_common.cuh"

#include "diagonals_sm90_params.h"
#include "reducer_fragment.cuh"
#include "sm80_mma.cuh"
#include "sm90_mbarrier.cuh"
#include "sm90_tma.cuh"
#include "sm90_wgmma.cuh"

constexpr int TILE = FASC_DIAGONALS_TILE;
constexpr int ACROSS = 2 * CONSUMERS; // chunks of a step
constexpr int WIDTH = ACROSS * TILE, PITCH = WIDTH + 1;
constexpr int THREADS = 128 * (CONSUMERS + 1);
constexpr int CONSUMER_WARPS = 4 * CONSUMERS;
constexpr int PRODUCER_REGISTERS = 40;
constexpr int CONSUMER_REGISTERS = 232;
constexpr int PANELS = HEAD_DIM / 64;
constexpr int STEPS = HEAD_DIM / 16;
constexpr int CHUNK_BYTES = PANELS * TILE * 128;
constexpr int ROWS_AT = CHUNKS * CHUNK_BYTES;
constexpr int BARRIERS_AT = ROWS_AT + STAGES * CHUNK_BYTES;
constexpr int SMEM_BYTES = BARRIERS_AT + 16 * (CHUNKS + STAGES);
constexpr bool PROBS = REDUCE == FASC_REDUCE_SUM;

static_assert(CHUNKS > ACROSS && CONSUMERS == 2 && HEAD_DIM % 64 == 0, "shape");
static_assert(SMEM_BYTES <= 232448 && TILE * PITCH * 4 <= BARRIERS_AT, "shared memory");
static_assert(SMEM_BYTES == FASC_DIAGONALS_SM90_SMEM_BYTES(HEAD_DIM, CHUNKS, STAGES),
              "the host's formula");

struct Pipes {
    uint32_t at; // full and empty of each chunk, then of each stage of queries

    __device__ __forceinline__ uint32_t full(uint32_t n) const
    {
        return at + 16 * n;
    }
    __device__ __forceinline__ uint32_t empty(uint32_t n) const
    {
        return at + 16 * n + 8;
    }
};

// A block's walk: query tiles [begin, end) whose keys' range holds some.
struct Walk {
    int batch, head, stripe; // stripe: of WIDTH keys
    int begin, end;
};

__device__ __forceinline__ Walk this_walk(const fasc_diagonals_params &p)
{
    Walk w;
    const int flat = blockIdx.x / p.walks;
    w.batch = flat / p.heads;
    w.head = flat - w.batch * p.heads;
    w.stripe = p.first + (int)(blockIdx.x % p.walks);
    const int ahead = w.stripe * ACROSS; // chunks
    w.begin = max(p.q0 / TILE, p.k0 / TILE - ahead - (ACROSS - 1));
    w.end = min((p.q1 - 1) / TILE, (p.k1 - 1) / TILE - ahead) + 1;
    return w;
}

// One thread.
__device__ __forceinline__ void produce(const fasc_diagonals_sm90_params &params, const Walk &w,
                                        uint32_t smem, Pipes pipes)
{
    Ring<CHUNKS> keys(1);
    Ring<STAGES> rows(1);
    const int first = w.begin + w.stripe * ACROSS; // chunk
    const int chunks = w.end - w.begin + ACROSS - 1;
    for (int n = 0; n < chunks; n++) {
        mbarrier_wait(pipes.empty(keys.index), keys.parity, FASC_BARRIER_COLUMNS_EMPTY,
                      params.watchdog);
        const uint32_t full = pipes.full(keys.index), to = smem + keys.index * CHUNK_BYTES;
        mbarrier_arrive_expect(full, CHUNK_BYTES);
#pragma unroll
        for (int panel = 0; panel < PANELS; panel++) {
            tma_load(to + panel * TILE * 128, &params.k_map, full, panel * 64, (first + n) * TILE,
                     w.head / params.sums.group, w.batch, L2_EVICT_LAST);
        }
        keys.advance();
        if (n < ACROSS - 1) {
            continue;
        }
        mbarrier_wait(pipes.empty(CHUNKS + rows.index), rows.parity, FASC_BARRIER_ROWS_EMPTY,
                      params.watchdog);
        const uint32_t rows_full = pipes.full(CHUNKS + rows.index);
        mbarrier_arrive_expect(rows_full, CHUNK_BYTES);
#pragma unroll
        for (int panel = 0; panel < PANELS; panel++) {
            tma_load(smem + ROWS_AT + rows.index * CHUNK_BYTES + panel * TILE * 128, &params.q_map,
                     rows_full, panel * 64, (w.begin + n - (ACROSS - 1)) * TILE, w.head, w.batch,
                     L2_EVICT_LAST);
        }
        rows.advance();
    }
}

// ---- a consumer warpgroup ---------------------------------------------------

struct Consumer {
    const fasc_diagonals_params &p;
    const Walk &w;
    uint32_t *watchdog;
    uint32_t smem;
    Pipes pipes;
    Ring<CHUNKS> keys; // the first of the warpgroup's two chunks
    Ring<STAGES> rows;
    int group, warp, lane; // warp: of the warpgroup's four
    const float *offset;   // of the head's queries

    __device__ __forceinline__ void load_rows(uint32_t (&a)[STEPS][4])
    {
        mbarrier_wait(pipes.full(CHUNKS + rows.index), rows.parity, FASC_BARRIER_ROWS_FULL,
                      watchdog);
        const uint32_t tile = smem + ROWS_AT + rows.index * CHUNK_BYTES;
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            load_fragment(
                a[step], tile + tile_offset(TILE, warp * 16 + (lane & 15), 2 * step + (lane >> 4)));
        }
        rows.advance();
    }

    // Issues S of the queries with a chunk.
    __device__ __forceinline__ void issue(float (&s)[TILE / 2], const uint32_t (&a)[STEPS][4],
                                          const Ring<CHUNKS> &at) const
    {
        mbarrier_wait(pipes.full(at.index), at.parity, FASC_BARRIER_COLUMNS_FULL, watchdog);
        const uint64_t tile = wgmma_descriptor(smem + at.index * CHUNK_BYTES, 0);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            const uint64_t b = wgmma_advance(tile, step / 4 * TILE * 128 + step % 4 * 32);
            if (step == 0) {
                Wgmma<TILE>::first_rows(s, a[step], b);
            } else {
                Wgmma<TILE>::add_rows(s, a[step], b);
            }
        }
        wgmma_commit();
    }

    // The lane's first query of query tile a.
    __device__ __forceinline__ int row_of(int a) const
    {
        return a * TILE + warp * 16 + (lane >> 2);
    }

    // -LSE of the lane's queries in tile a, in base 2.
    __device__ __forceinline__ void load_offsets(float (&shift)[2], int a) const
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = row_of(a) + 8 * half;
            shift[half] = PROBS && row >= p.q0 && row < p.q1 ? offset[row] : -INFINITY_F32;
        }
    }

    // Adds up what chunk `chunk` gives with query tile a.
    template <bool CUT>
    __device__ __forceinline__ void add(float (&total)[TILE / 2], const float (&s)[TILE / 2], int a,
                                        int chunk, const float (&shift)[2]) const
    {
        const float c = p.scale * LOG2_E;
#pragma unroll
        for (int i = 0; i < TILE / 2; i++) {
            const int half = (i >> 1) & 1, row = row_of(a) + 8 * half;
            const int key = chunk * TILE + 2 * (lane & 3) + 8 * (i >> 2) + (i & 1);
            float x = PROBS ? exp2_approx(fma_f32(s[i], c, shift[half])) : s[i] * p.scale;
            if (CUT) {
                x = row >= p.q0 && row < p.q1 && key >= p.k0 && key < p.k1 ? x : 0.0f;
            }
            total[i] += x;
        }
    }

    __device__ __forceinline__ void reduce(float (&total)[TILE / 2], const float (&s)[TILE / 2],
                                           int a, int chunk, const float (&shift)[2]) const
    {
        if (a * TILE < p.q0 || (a + 1) * TILE > p.q1 || chunk * TILE < p.k0 ||
            (chunk + 1) * TILE > p.k1) {
            add<true>(total, s, a, chunk, shift);
        } else {
            add<false>(total, s, a, chunk, shift);
        }
    }

    __device__ __forceinline__ void walk(float (&low)[TILE / 2], float (&high)[TILE / 2])
    {
        for (int n = 0; n < 2 * group; n++) { // chunks that others alone need
            if (lane == 0) {
                mbarrier_arrive(pipes.empty(keys.index));
            }
            keys.advance();
        }
        float ahead[2];
        if (w.begin < w.end) {
            load_offsets(ahead, w.begin);
        }
#pragma unroll 1
        for (int a = w.begin; a < w.end; a++) {
            uint32_t rows_of[STEPS][4];
            float s[TILE / 2], t[TILE / 2];
            const float shift[2] = {ahead[0], ahead[1]};
            const int chunk = a + w.stripe * ACROSS + 2 * group;
            Ring<CHUNKS> second = keys;
            second.advance();
            const uint32_t stage = rows.index;
            load_rows(rows_of);
            issue(s, rows_of, keys);
            issue(t, rows_of, second);
            if (a + 1 < w.end) {
                load_offsets(ahead, a + 1);
            }
            wgmma_wait<1>();
            hold_registers(s);
            if (lane == 0) { // the product has read the keys, and the queries in registers
                mbarrier_arrive(pipes.empty(CHUNKS + stage));
                mbarrier_arrive(pipes.empty(keys.index));
            }
            reduce(low, s, a, chunk, shift);
            wgmma_wait<0>();
            hold_registers(t);
            reduce(high, t, a, chunk + 1, shift);
            keys = second;
        }
    }
};

// ---- the end of a walk ------------------------------------------------------

__device__ __forceinline__ void meet()
{
    asm volatile("barrier.cta.sync 1, %0;\n" ::"n"(128 * CONSUMERS) : "memory");
}

// Sums each diagonal of the block's 64 x WIDTH totals. All consumers call.
__device__ __forceinline__ void finish(const fasc_diagonals_params &p, const Walk &w, float *sums,
                                       const float (&low)[TILE / 2], const float (&high)[TILE / 2],
                                       int group, int warp, int lane)
{
    meet(); // nobody reads keys any more
#pragma unroll
    for (int i = 0; i < TILE / 2; i++) {
        const int r = warp * 16 + (lane >> 2) + 8 * ((i >> 1) & 1);
        float *at = sums + r * PITCH + group * 128 + 8 * (i >> 2) + 2 * (lane & 3) + (i & 1);
        at[0] = low[i];
        at[TILE] = high[i];
    }
    meet();
    const int64_t flat = (int64_t)w.batch * p.heads + w.head;
    const int thread = group * 128 + warp * 32 + lane;
    for (int n = thread - (TILE - 1); n < WIDTH; n += 128 * CONSUMERS) { // column - row
        const int64_t entry = p.seqlen_k - 1 - ((int64_t)w.stripe * WIDTH + n);
        if (entry < 0 || entry >= p.entries) {
            continue;
        }
        float sum = 0.0f;
        for (int r = max(0, -n); r < min(TILE, WIDTH - n); r++) {
            sum += sums[r * PITCH + r + n];
        }
        const int64_t part = n >= 0 ? 0 : (int64_t)p.batch * p.heads;
        p.parts[(part + flat) * p.entries + entry] = sum;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    diagonals_sm90(const __grid_constant__ fasc_diagonals_sm90_params params)
{
    extern __shared__ __align__(1024) uint8_t shared_memory[];
    const fasc_diagonals_params &p = params.sums;
    const uint32_t smem = shared_address(shared_memory);
    const Pipes pipes = {smem + BARRIERS_AT};
    const int warp = __shfl_sync(FULL_MASK, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const Walk w = this_walk(p);

    if (warp == 0 && lane == 0) {
        for (int n = 0; n < CHUNKS + STAGES; n++) {
            mbarrier_init(pipes.full(n), 1);
            mbarrier_init(pipes.empty(n), CONSUMER_WARPS);
        }
        mbarrier_init_fence();
        tma_prefetch_map(&params.q_map);
        tma_prefetch_map(&params.k_map);
    }
    __syncthreads();
    if (warp < 4) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(PRODUCER_REGISTERS));
        if (warp == 0 && lane == 0 && w.begin < w.end) {
            produce(params, w, smem, pipes);
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(CONSUMER_REGISTERS));
        const int group = warp / 4 - 1;
        const float *offset =
            PROBS ? p.offset + ((int64_t)w.batch * p.heads + w.head) * p.offset_pitch : nullptr;
        Consumer consumer = {
            p,        w,    params.watchdog, smem, pipes, Ring<CHUNKS>(0), Ring<STAGES>(0), group,
            warp % 4, lane, offset};
        float low[TILE / 2], high[TILE / 2];
#pragma unroll
        for (int i = 0; i < TILE / 2; i++) {
            low[i] = high[i] = 0.0f;
        }
        consumer.walk(low, high);
        finish(p, w, (float *)shared_memory, low, high, group, warp % 4, lane);
    }
}
