// flash_split.cu - attention of few queries over many keys (decoding): the keys are split among
// blocks, each gives a part, and a second kernel joins them. f16 or bf16 in, float32 between.
//
// Rows: the query heads of a group read the same keys, so that row r of a key head stands for query
// r % seqlen_q of head r / seqlen_q of its group. A block takes 16 rows, which is one tile of mma,
// and the key tiles of its split; K and V are thus read once for a whole group.
//
// Keys: BLOCK_N = 16 WARPS a step, 16 for each warp, STAGES steps in flight by cp.async. Every warp
// has a softmax of its own over the keys it meets; the block joins its warps at the end.
//
// Parts: of a row and a split the largest raw score, sums of weights under it (fasc_row_totals),
// and the weighted sum of V. A split in which a row sees nothing has -inf, zeros, and weighs
// nothing.
//
// Scores: a split stores those of its own tiles; with `logits` the walk goes over all keys, else
// over those that some query sees. P needs the LSE of all splits: split_join.cu makes it.
//
// Macros: FASC_BF16 (0, 1), HEAD_DIM (multiple of 64), WARPS, STAGES (at least 2), EXTRAS (0, 1:
// scores, statistics of rows beyond LSE and maximum, a mask tensor, dropout).

#include "flash_common.cuh"
#include "sm80_mma.cuh"
#include "softmax.cuh"
#include "split_extras.cuh"
#include "split_params.h"
#include "split_rows.cuh"

constexpr int THREADS = 32 * WARPS;
constexpr int ROWS = 16;
constexpr int BLOCK_N = 16 * WARPS;
constexpr int DT = HEAD_DIM / 8;
constexpr int CHUNKS = HEAD_DIM / 8; // 16-byte chunks of a row
constexpr int TILE_BYTES = BLOCK_N * HEAD_DIM * 2;
constexpr int PITCH = HEAD_DIM + 4; // of a row of float32 in shared memory, in numbers

constexpr int PLACES_AT = ROWS * HEAD_DIM * 2 + 2 * STAGES * TILE_BYTES;

static_assert(PLACES_AT + EXTRAS * ROWS * sizeof(RowPlace) ==
                      FASC_SPLIT_TILES_BYTES(HEAD_DIM, WARPS, STAGES, EXTRAS) &&
                  WARPS * ROWS * (sizeof(fasc_row_totals) + PITCH * 4) ==
                      FASC_SPLIT_ROOM_BYTES(HEAD_DIM, WARPS),
              "the host's formula");

// ---- loads --------------------------------------------------------------------

// The block's rows of Q into a tile of 16; zero where there are none.
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

// Keys [key0, key0 + BLOCK_N) of K or V into a tile; zero past the last key and past head_dim.
__device__ __forceinline__ void load_tile(uint32_t tile, const uint16_t *base, int64_t stride,
                                          int key0, const fasc_flash_params &p)
{
#pragma unroll
    for (int n = 0; n < BLOCK_N * CHUNKS / THREADS; n++) {
        const int i = threadIdx.x + n * THREADS, row = i / CHUNKS, chunk = i % CHUNKS;
        const bool inside = key0 + row < p.seqlen_k && chunk * 8 < p.head_dim;
        const uint16_t *from = base + (inside ? (key0 + row) * stride + chunk * 8 : 0);
        cp_async_16(tile + tile_offset(BLOCK_N, row, chunk), from, inside ? 16 : 0);
    }
}

// ---- a step ---------------------------------------------------------------------

struct State {
    RowState softmax;
    float o[4 * DT];
    int first[2], last[2]; // keys that the lane's two rows see
    RowStatistics statistics;
};

// Raw scores of the warp's 16 keys.
__device__ __forceinline__ void product_qk(float (&s)[8], uint32_t q_tile, uint32_t k_tile,
                                           int warp, int lane)
{
#pragma unroll
    for (int i = 0; i < 8; i++) {
        s[i] = 0.0f;
    }
    const int row = 16 * warp + (lane & 7) + (lane >> 4) * 8;
#pragma unroll(HEAD_DIM > 128 ? 4 : HEAD_DIM / 16) // registers
    for (int kk = 0; kk < HEAD_DIM / 16; kk++) {
        uint32_t a[4], k[4];
        ldmatrix_x4(a, q_tile + tile_offset(ROWS, lane & 15, 2 * kk + (lane >> 4)));
        ldmatrix_x4(k, k_tile + tile_offset(BLOCK_N, row, 2 * kk + (lane >> 3 & 1)));
        mma_16816(s, a, k[0], k[1]);
        mma_16816(s + 4, a, k[2], k[3]);
    }
}

// O += P V of the warp's 16 keys.
__device__ __forceinline__ void product_pv(float (&o)[4 * DT], const float (&s)[8], uint32_t v_tile,
                                           int warp, int lane)
{
    const uint32_t a[4] = {pack_16(s[0], s[1]), pack_16(s[2], s[3]), pack_16(s[4], s[5]),
                           pack_16(s[6], s[7])};
    const int row = 16 * warp + (lane & 15);
#pragma unroll
    for (int dp = 0; dp < DT / 2; dp++) {
        uint32_t v[4];
        ldmatrix_x4_trans(v, v_tile + tile_offset(BLOCK_N, row, 2 * dp + (lane >> 4)));
        mma_16816(&o[8 * dp], a, v[0], v[1]);
        mma_16816(&o[8 * dp + 4], a, v[2], v[3]);
    }
}

__device__ __forceinline__ void step(State &w, const fasc_split_params &sp, uint32_t q_tile,
                                     uint32_t k_tile, uint32_t v_tile, const RowPlace *places,
                                     int warp, int lane, int key0)
{
    const fasc_flash_params &p = sp.flash;
    const RowPlace *place = places + (lane >> 2);      // of the first row
    const int key = key0 + 16 * warp + 2 * (lane & 3); // the lane's first
    float s[8], factor[2];
    product_qk(s, q_tile, k_tile, warp, lane);
    if (EXTRAS) {
        if (!extras_scores(w.statistics, sp, place, key, s)) {
            return;
        }
        extras_softmax(w.statistics, p, place, w.softmax, factor, s, key);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int half = i >> 1 & 1, j = key + FragmentColumns::of(i);
            s[i] = j >= w.first[half] && j <= w.last[half] ? s[i] : -INFINITY_F32;
        }
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
    product_pv(w.o, s, v_tile, warp, lane);
}

// ---- the end of a block -----------------------------------------------------------

// Joins the warps through shared memory, and stores the block's parts.
__device__ __forceinline__ void store_parts(const fasc_split_params &sp, const Rows &rows, State &w,
                                            char *room, int warp, int lane, int split)
{
    const fasc_flash_params &p = sp.flash;
    fasc_row_totals *totals = (fasc_row_totals *)room;
    float *o = (float *)(room + WARPS * ROWS * sizeof(fasc_row_totals));
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float max = w.softmax.max[half], sum = quad_sum(w.softmax.sum[half]);
        const fasc_row_totals x = EXTRAS ? quad_totals(w.statistics, half, max, sum)
                                         : fasc_row_totals{max, sum, 0.0f, 0.0f, 0.0f, NO_KEY};
        if ((lane & 3) == 0) {
            totals[warp * ROWS + (lane >> 2) + 8 * half] = x;
        }
    }
#pragma unroll
    for (int i = 0; i < 4 * DT; i++) {
        const int row = (lane >> 2) + 8 * (i >> 1 & 1);
        o[(warp * ROWS + row) * PITCH + FragmentColumns::of(i) + 2 * (lane & 3)] = w.o[i];
    }
    __syncthreads();
    for (int n = warp; n < rows.count; n += WARPS) {
        fasc_row_totals all = {totals[n].max, 0.0f, 0.0f, 0.0f, 0.0f, NO_KEY};
#pragma unroll
        for (int other = 1; other < WARPS; other++) {
            all.max = fmaxf_nan(all.max, totals[other * ROWS + n].max);
        }
        float factor[WARPS];
#pragma unroll
        for (int other = 0; other < WARPS; other++) {
            const fasc_row_totals x = totals[other * ROWS + n];
            factor[other] = weight_under(x.max, all.max, p.unit_log2);
            if (EXTRAS) {
                totals_join(all, x, p.unit_log2);
            } else {
                all.sum = fma_f32(factor[other], x.sum, all.sum);
            }
        }
        const int64_t part = number_of(p, rows, n) * sp.splits + split;
        if (lane == 0) {
            sp.totals[part] = all;
        }
        for (int col = lane; p.out && col < p.head_dim; col += 32) {
            float x = 0.0f;
#pragma unroll
            for (int other = 0; other < WARPS; other++) {
                x = fma_f32(factor[other], o[(other * ROWS + n) * PITCH + col], x);
            }
            sp.parts[part * p.head_dim + col] = x;
        }
    }
}

// Block number -> (split, row tile, key head, batch), splits side by side.
extern "C" __global__ void __launch_bounds__(THREADS)
    fasc_flash_split(const __grid_constant__ fasc_split_params sp)
{
    extern __shared__ __align__(1024) char smem[];
    const fasc_flash_params &p = sp.flash;
    const int warp = threadIdx.x >> 5;
    int lane = threadIdx.x & 31;
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
        const int n = (lane >> 2) + 8 * half;
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
    const uint16_t *k =
        (const uint16_t *)p.k + rows.batch * p.k_stride[0] + rows.head_k * p.k_stride[1];
    const uint16_t *v =
        (const uint16_t *)p.v + rows.batch * p.v_stride[0] + rows.head_k * p.v_stride[1];
    load_q(q_tile, p, rows);
    auto load = [&](int j) {
        if (j < end) {
            const int buffer = j % STAGES * TILE_BYTES;
            load_tile(k_tiles + buffer, k, p.k_stride[2], j * BLOCK_N, p);
            if (p.out) {
                load_tile(v_tiles + buffer, v, p.v_stride[2], j * BLOCK_N, p);
            }
        }
        cp_async_commit();
    };
#pragma unroll
    for (int ahead = 0; ahead < STAGES - 1; ahead++) {
        load(begin + ahead);
    }
#pragma unroll 1
    for (int j = begin; j < end; j++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads(); // this step has arrived for all, and the one before is done with
        load(j + STAGES - 1);
        const int buffer = j % STAGES * TILE_BYTES;
        asm volatile("" : "+r"(lane)); // addresses are made in each step, not kept
        step(w, sp, q_tile, k_tiles + buffer, v_tiles + buffer,
             (const RowPlace *)(smem + PLACES_AT), warp, lane, j * BLOCK_N);
    }
    cp_async_wait<0>();
    __syncthreads();
    store_parts(sp, rows, w, smem, warp, lane, split);
}
