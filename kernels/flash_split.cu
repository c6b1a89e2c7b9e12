// flash_split.cu - attention of few queries over many keys (decoding): the keys are split among
// blocks, each gives a part, and a second kernel joins them. f16 or bf16 in, float32 between.
//
// Rows: the query heads of a group read the same keys, so that row r of a key head stands for query
// r % seqlen_q of head r / seqlen_q of its group. A block takes ROWS = 16 ROW_WARPS rows and the
// key tiles of its split; K and V are thus read once for a whole group.
//
// Keys: BLOCK_N = 16 WARPS a step, STAGES steps in flight by cp.async. A warp has 16 rows, and
// 16 ROW_WARPS keys of each step, with a softmax of its own over the keys it meets; the block joins
// its warps at the end. The order in which products take keys is free: here a lane gets LANE_KEYS
// neighbouring ones of 16, so that its scores leave in one piece.
//
// Parts: of a row and a split the largest raw score, sums of weights under it (fasc_row_totals),
// and the weighted sum of V. A split in which a row sees nothing has -inf, zeros, and weighs
// nothing.
//
// Scores: a split stores those of its own tiles; with `logits` the walk goes over all keys, else
// over those that some query sees. P needs the LSE of all splits: split_join.cu makes it.
//
// Macros: FASC_BF16 (0, 1), HEAD_DIM (64, 128, 256), WARPS, ROW_WARPS (1, 2, 4; divides WARPS),
// STAGES (at least 2), EXTRAS (0, 1: scores, statistics of rows beyond LSE and maximum, a mask
// tensor, dropout).

#include "flash_common.cuh"
#include "sm80_mma.cuh"
#include "softmax.cuh"
#include "split_extras.cuh"
#include "split_params.h"
#include "split_rows.cuh"

constexpr int THREADS = 32 * WARPS;
constexpr int ROWS = 16 * ROW_WARPS;
constexpr int KEY_WARPS = WARPS / ROW_WARPS; // that share rows
constexpr int BLOCK_N = 16 * WARPS;
constexpr int KEYS = 16 * ROW_WARPS; // of a warp in a step
constexpr int NT = KEYS / 8;
constexpr int DT = HEAD_DIM / 8;
constexpr int CHUNKS = HEAD_DIM / 8;   // 16-byte chunks of a row
constexpr int STEP = THREADS / CHUNKS; // rows that all threads load at once
constexpr int TILE_BYTES = BLOCK_N * HEAD_DIM * 2;
constexpr int PITCH = HEAD_DIM + 4;      // of a row of float32 in shared memory, in numbers
constexpr bool KEEP_Q = HEAD_DIM <= 128; // in registers

constexpr int PLACES_AT = ROWS * HEAD_DIM * 2 + 2 * STAGES * TILE_BYTES;

static_assert(PLACES_AT + EXTRAS * ROWS * sizeof(RowPlace) ==
                      FASC_SPLIT_TILES_BYTES(HEAD_DIM, WARPS, ROW_WARPS, STAGES, EXTRAS) &&
                  KEY_WARPS * ROWS * (sizeof(fasc_row_totals) + PITCH * 4) ==
                      FASC_SPLIT_ROOM_BYTES(HEAD_DIM, WARPS),
              "the host's formula");

// Where chunk `chunk` of a key's row lies in a tile: see key_swizzle.
__device__ __forceinline__ uint32_t key_offset(int key, int chunk)
{
    return (chunk >> 3) * BLOCK_N * 128 + key * 128 +
           (((chunk & 7) ^ key_swizzle<LANE_KEYS>(key)) << 4);
}

// ---- loads --------------------------------------------------------------------

// The block's rows of Q into their tile; zero where there are none.
__device__ __forceinline__ void load_q(uint32_t tile, const fasc_flash_params &p, const Rows &rows)
{
    const uint32_t sign = p.scale < 0.0f ? 0x80008000u : 0; // largest raw score = largest S
    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
        const int n = i / CHUNKS, chunk = i % CHUNKS;
        uint32_t x[4] = {0, 0, 0, 0};
        if (n < rows.count && chunk * 8 < p.head_dim) {
            const uint16_t *from = (const uint16_t *)p.q + rows.batch * p.q_stride[0] +
                                   head_of(p, rows, n) * p.q_stride[1] +
                                   query_of(p, rows, n) * p.q_stride[2] + chunk * 8;
#pragma unroll
            for (int e = 0; e < 4; e++) {
                x[e] = ((const uint32_t *)from)[e] ^ sign;
            }
        }
        store_shared_16(tile + tile_offset(ROWS, n, chunk), x);
    }
}

// Where a thread reads: its chunk of the first of its rows in the next tile.
struct Source {
    const uint16_t *k, *v;
    int row; // in the tile; past all rows where the chunk is beyond head_dim
};

__device__ __forceinline__ Source source_of(const fasc_flash_params &p, const Rows &rows, int key)
{
    const int row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
    return {(const uint16_t *)p.k + rows.batch * p.k_stride[0] + rows.head_k * p.k_stride[1] +
                (int64_t)(key + row) * p.k_stride[2] + chunk * 8,
            (const uint16_t *)p.v + rows.batch * p.v_stride[0] + rows.head_k * p.v_stride[1] +
                (int64_t)(key + row) * p.v_stride[2] + chunk * 8,
            chunk * 8 < p.head_dim ? row : 1 << 30};
}

// BLOCK_N keys of K or V into a tile, the first `keys` from memory: the rest is zero. `to` is the
// thread's place in the tile.
template <bool WHOLE>
__device__ __forceinline__ void load_tile(uint32_t to, const uint16_t *from, int64_t stride,
                                          int row, int keys)
{
    static_assert((STEP & (STEP - 1)) == 0 && BLOCK_N % STEP == 0, "a tile is whole steps");
#pragma unroll
    for (int n = 0; n < BLOCK_N / STEP; n++) {
        // a swizzle is made of bits of the row, so that of a sum without carries is one of parts
        cp_async_16((to ^ key_swizzle<LANE_KEYS>(n * STEP) << 4) + n * STEP * 128, from,
                    WHOLE || row < keys - n * STEP ? 16 : 0);
        from += STEP * stride;
    }
}

// The next tile of K, and of V where O is wanted, into buffers at `to`.
__device__ __forceinline__ void load_tiles(const fasc_flash_params &p, Source &x, uint32_t k_tile,
                                           uint32_t v_tile, int key0)
{
    const int keys = p.seqlen_k - key0;
    if (keys >= BLOCK_N && p.head_dim == HEAD_DIM) {
        load_tile<true>(k_tile, x.k, p.k_stride[2], x.row, keys);
        if (p.out) {
            load_tile<true>(v_tile, x.v, p.v_stride[2], x.row, keys);
        }
    } else {
        load_tile<false>(k_tile, x.k, p.k_stride[2], x.row, keys);
        if (p.out) {
            load_tile<false>(v_tile, x.v, p.v_stride[2], x.row, keys);
        }
    }
    x.k += BLOCK_N * p.k_stride[2];
    x.v += BLOCK_N * p.v_stride[2];
}

// ---- a step ---------------------------------------------------------------------

struct State {
    RowState softmax;
    float o[4 * DT];
    int first[2], last[2]; // keys that the lane's two rows see
    RowStatistics statistics;
};

// A warp's share of a block.
struct Share {
    int lane, row, key; // its first row and key
};

typedef uint32_t QFragments[KEEP_Q ? HEAD_DIM / 16 : 1][4];

__device__ __forceinline__ void load_q_fragment(uint32_t (&a)[4], uint32_t q_tile, const Share &x,
                                                int kk)
{
    ldmatrix_x4(a, q_tile + tile_offset(ROWS, x.row + (x.lane & 15), 2 * kk + (x.lane >> 4)));
}

// Raw scores of the warp's keys.
__device__ __forceinline__ void product_qk(float (&s)[4 * NT], const QFragments &q, uint32_t q_tile,
                                           uint32_t k_tile, const Share &x)
{
#pragma unroll
    for (int i = 0; i < 4 * NT; i++) {
        s[i] = 0.0f;
    }
    // lanes 8..15 and 24..31 bring the second half of 16 columns, lanes from 16 on the tile after
    const int key = x.key + (x.lane >> 1 & 3) * LANE_KEYS + (x.lane & 1) + (x.lane >> 4) * 2;
#pragma unroll(KEEP_Q ? HEAD_DIM / 16 : 4)
    for (int kk = 0; kk < HEAD_DIM / 16; kk++) {
        uint32_t a[4], k[4];
        if constexpr (KEEP_Q) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                a[e] = q[kk][e];
            }
        } else {
            load_q_fragment(a, q_tile, x, kk);
        }
#pragma unroll
        for (int np = 0; np < NT / 2; np++) {
            ldmatrix_x4(k, k_tile + key_offset(key + 16 * np, 2 * kk + (x.lane >> 3 & 1)));
            mma_16816(s + 8 * np, a, k[0], k[1]);
            mma_16816(s + 8 * np + 4, a, k[2], k[3]);
        }
    }
}

// O += P V of the warp's keys.
__device__ __forceinline__ void product_pv(float (&o)[4 * DT], const float (&s)[4 * NT],
                                           uint32_t v_tile, const Share &x)
{
#pragma unroll
    for (int kk = 0; kk < NT / 2; kk++) {
        const float *w = s + 8 * kk;
        const uint32_t a[4] = {pack_16(w[0], w[1]), pack_16(w[2], w[3]), pack_16(w[4], w[5]),
                               pack_16(w[6], w[7])};
        const int key =
            x.key + 16 * kk + (x.lane >> 1 & 3) * LANE_KEYS + (x.lane & 1) + (x.lane >> 3 & 1) * 2;
#pragma unroll
        for (int dp = 0; dp < DT / 2; dp++) {
            uint32_t v[4];
            ldmatrix_x4_trans(v, v_tile + key_offset(key, 2 * dp + (x.lane >> 4)));
            mma_16816(&o[8 * dp], a, v[0], v[1]);
            mma_16816(&o[8 * dp + 4], a, v[2], v[3]);
        }
    }
}

__device__ __forceinline__ void step(State &w, const fasc_split_params &sp, const QFragments &q,
                                     uint32_t q_tile, uint32_t k_tile, uint32_t v_tile,
                                     const RowPlace *places, const Share &x, int key0)
{
    const fasc_flash_params &p = sp.flash;
    const RowPlace *place = places + x.row + (x.lane >> 2);  // of the lane's first row
    const int key = key0 + x.key + LANE_KEYS * (x.lane & 3); // its first key
    float s[4 * NT], factor[2];
    product_qk(s, q, q_tile, k_tile, x);
    if (EXTRAS) {
        extras_scores(w.statistics, sp, place, key, s);
    } else {
        const Visible visible = {{w.first[0] - key, w.first[1] - key},
                                 {w.last[0] - key, w.last[1] - key}};
        softmax_mask<LaneColumns>(s, visible);
    }
    if (EXTRAS && has_statistics(p)) {
        extras_softmax(w.statistics, p, place, w.softmax, factor, s, key);
    } else {
        softmax_update_max(w.softmax, factor, s, p.unit_log2);
        softmax_exponentials(s, w.softmax, factor, p.unit_log2);
    }
    if (!p.out) {
        return;
    }
    if (EXTRAS && p.dropout.threshold) {
        extras_drop(p.dropout, place, key, s);
    }
    if (__any_sync(FULL_MASK, factor[0] != 1.0f || factor[1] != 1.0f)) {
        softmax_rescale(w.o, factor);
    }
    product_pv(w.o, s, v_tile, x);
}

// ---- the end of a block -----------------------------------------------------------

// Joins the warps through shared memory, and stores the block's parts.
__device__ __forceinline__ void store_parts(const fasc_split_params &sp, const Rows &rows, State &w,
                                            char *room, const Share &x, int split)
{
    const fasc_flash_params &p = sp.flash;
    const int warp = threadIdx.x / 32, lane = x.lane;
    const int first =
        warp / ROW_WARPS * ROWS + x.row + (lane >> 2); // a place for each row and warp
    fasc_row_totals *totals = (fasc_row_totals *)room;
    float *o = (float *)(room + KEY_WARPS * ROWS * sizeof(fasc_row_totals));
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float max = w.softmax.max[half], sum = quad_sum(w.softmax.sum[half]);
        const fasc_row_totals row = EXTRAS ? quad_totals(w.statistics, half, max, sum)
                                           : fasc_row_totals{max, sum, 0.0f, 0.0f, 0.0f, NO_KEY};
        if ((lane & 3) == 0) {
            totals[first + 8 * half] = row;
        }
    }
#pragma unroll
    for (int i = 0; i < 4 * DT; i++) {
        const int row = first + 8 * (i >> 1 & 1);
        o[row * PITCH + FragmentColumns::of(i) + 2 * (lane & 3)] = w.o[i];
    }
    __syncthreads();
    for (int n = warp; n < rows.count; n += WARPS) {
        fasc_row_totals all = {totals[n].max, 0.0f, 0.0f, 0.0f, 0.0f, NO_KEY};
#pragma unroll
        for (int other = 1; other < KEY_WARPS; other++) {
            all.max = fmaxf_nan(all.max, totals[other * ROWS + n].max);
        }
        float factor[KEY_WARPS];
#pragma unroll
        for (int other = 0; other < KEY_WARPS; other++) {
            const fasc_row_totals part = totals[other * ROWS + n];
            factor[other] = weight_under(part.max, all.max, p.unit_log2);
            if (EXTRAS) {
                totals_join(all, part, p.unit_log2);
            } else {
                all.sum = fma_f32(factor[other], part.sum, all.sum);
            }
        }
        const int64_t part = number_of(p, rows, n) * sp.splits + split;
        if (lane == 0) {
            sp.totals[part] = all;
        }
        for (int col = lane; p.out && col < p.head_dim; col += 32) {
            float sum = 0.0f;
#pragma unroll
            for (int other = 0; other < KEY_WARPS; other++) {
                sum = fma_f32(factor[other], o[(other * ROWS + n) * PITCH + col], sum);
            }
            sp.parts[part * p.head_dim + col] = sum;
        }
    }
}

// Left to itself, ptxas takes registers for three blocks a multiprocessor where that seems to do:
// it then spills some here for sm_120.
#if EXTRAS && HEAD_DIM == 64 && ROW_WARPS == 4
#define BOUNDS THREADS, 2
#else
#define BOUNDS THREADS
#endif

// Block number -> (split, row tile, key head, batch), splits side by side.
extern "C" __global__ void __launch_bounds__(BOUNDS)
    fasc_flash_split(const __grid_constant__ fasc_split_params sp)
{
    extern __shared__ __align__(1024) char smem[];
    const fasc_flash_params &p = sp.flash;
    const int warp = threadIdx.x / 32;
    Share x = {(int)threadIdx.x % 32, warp % ROW_WARPS * 16, warp / ROW_WARPS * KEYS};
    const int all = p.group * p.seqlen_q, tiles = (all + ROWS - 1) / ROWS;
    const int heads_k = p.heads_q / p.group;
    int number = blockIdx.x;
    const int split = number % sp.splits;
    number /= sp.splits;
    Rows rows;
    rows.first = number % tiles * ROWS;
    rows.count = min(ROWS, all - rows.first);
    number /= tiles;
    rows.head_k = number % heads_k;
    rows.batch = number / heads_k;

    State w;
    softmax_start(w.softmax);
#pragma unroll
    for (int i = 0; i < 4 * DT; i++) {
        w.o[i] = 0.0f;
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int n = x.row + (x.lane >> 2) + 8 * half;
        w.first[half] = 0;
        w.last[half] = -1;
        if (n < rows.count) {
            visible_keys(p, query_of(p, rows, n), &w.first[half], &w.last[half]);
        }
    }
    if (EXTRAS) {
        statistics_start(w.statistics);
        if (threadIdx.x < ROWS) {
            ((RowPlace *)(smem + PLACES_AT))[threadIdx.x] = row_place(sp, rows, threadIdx.x);
        }
    }
    const int begin = sp.begin + split * sp.tiles, end = min(begin + sp.tiles, sp.end);
    const uint32_t q_tile = shared_address(smem), k_tiles = q_tile + ROWS * HEAD_DIM * 2,
                   v_tiles = k_tiles + STAGES * TILE_BYTES;
    // the thread's place in a tile
    const uint32_t to = key_offset(threadIdx.x / CHUNKS, threadIdx.x % CHUNKS);
    Source source = source_of(p, rows, begin * BLOCK_N);
    load_q(q_tile, p, rows);
    uint32_t into = 0, from = 0; // buffers, in bytes
    auto after = [](uint32_t buffer) {
        return buffer == (STAGES - 1) * TILE_BYTES ? 0 : buffer + TILE_BYTES;
    };
    auto load = [&](int j) {
        if (j < end) {
            load_tiles(p, source, k_tiles + into + to, v_tiles + into + to, j * BLOCK_N);
        }
        into = after(into);
        cp_async_commit();
    };
#pragma unroll
    for (int ahead = 0; ahead < STAGES - 1; ahead++) {
        load(begin + ahead);
    }
    __syncthreads();
    QFragments q;
#pragma unroll
    for (int kk = 0; kk < HEAD_DIM / 16 && KEEP_Q; kk++) {
        load_q_fragment(q[KEEP_Q ? kk : 0], q_tile, x, kk);
    }
#pragma unroll 1
    for (int j = begin; j < end; j++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads(); // this step has arrived for all, and the one before is done with
        load(j + STAGES - 1);
        asm volatile("" : "+r"(x.lane)); // addresses are made in each step, not kept
        step(w, sp, q, q_tile, k_tiles + from, v_tiles + from, (const RowPlace *)(smem + PLACES_AT),
             x, j * BLOCK_N);
        from = after(from);
    }
    cp_async_wait<0>();
    __syncthreads();
    store_parts(sp, rows, w, smem, x, split);
}
