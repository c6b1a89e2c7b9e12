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
// Parts: of row r and split s the largest raw score, the sum of weights under it, and the weighted
// sum of V. A split in which a row sees nothing has -inf, 0, 0 and weighs nothing.
//
// Macros: FASC_BF16 (0, 1), HEAD_DIM (multiple of 64), WARPS, STAGES (at least 2).

#include "flash_common.cuh"
#include "flash_repair.cuh"
#include "mask.cuh"
#include "sm80_mma.cuh"
#include "softmax.cuh"
#include "split_params.h"

constexpr int THREADS = 32 * WARPS;
constexpr int ROWS = 16;
constexpr int BLOCK_N = 16 * WARPS;
constexpr int DT = HEAD_DIM / 8;
constexpr int CHUNKS = HEAD_DIM / 8; // 16-byte chunks of a row
constexpr int TILE_BYTES = BLOCK_N * HEAD_DIM * 2;
constexpr int PITCH = HEAD_DIM + 4; // of a row of float32 in shared memory, in numbers

static_assert(ROWS * HEAD_DIM * 2 + 2 * STAGES * TILE_BYTES ==
                      FASC_SPLIT_TILES_BYTES(HEAD_DIM, WARPS, STAGES) &&
                  WARPS * ROWS * (2 + PITCH) * 4 == FASC_SPLIT_ROOM_BYTES(HEAD_DIM, WARPS),
              "the host's formula");

// ---- where rows lie -----------------------------------------------------------

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
    int64_t mask[2];       // where their rows of the mask tensor begin
};

// S of the warp's 16 keys at key0, hidden keys -inf: raw products, or S itself with a mask tensor.
__device__ __forceinline__ void scores(float (&s)[8], const fasc_flash_params &p, const State &w,
                                       uint32_t q_tile, uint32_t k_tile, int warp, int lane,
                                       int key0)
{
#pragma unroll
    for (int i = 0; i < 8; i++) {
        s[i] = 0.0f;
    }
    const int row = 16 * warp + (lane & 7) + (lane >> 4) * 8;
#pragma unroll
    for (int kk = 0; kk < HEAD_DIM / 16; kk++) {
        uint32_t a[4], k[4];
        ldmatrix_x4(a, q_tile + tile_offset(ROWS, lane & 15, 2 * kk + (lane >> 4)));
        ldmatrix_x4(k, k_tile + tile_offset(BLOCK_N, row, 2 * kk + (lane >> 3 & 1)));
        mma_16816(s, a, k[0], k[1]);
        mma_16816(s + 4, a, k[2], k[3]);
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int half = i >> 1 & 1, key = key0 + 8 * (i >> 2) + 2 * (lane & 3) + (i & 1);
        const bool seen = key >= w.first[half] && key <= w.last[half];
        if (p.mask.data && seen) {
            const float added = mask_value(p.mask, w.mask[half], key);
            s[i] = added == -INFINITY_F32
                       ? added
                       : fma_f32(s[i], fabs_f32(p.scale), added < -2e38f ? -2e38f : added);
        }
        s[i] = seen ? s[i] : -INFINITY_F32;
    }
}

__device__ __forceinline__ void step(State &w, const fasc_flash_params &p, uint32_t q_tile,
                                     uint32_t k_tile, uint32_t v_tile, int warp, int lane, int key0)
{
    float s[8], factor[2];
    scores(s, p, w, q_tile, k_tile, warp, lane, key0 + 16 * warp);
    softmax_update_max(w.softmax, factor, s, p.unit_log2);
    if (__any_sync(FULL_MASK, factor[0] != 1.0f || factor[1] != 1.0f)) {
        softmax_rescale(w.o, factor);
    }
    softmax_exponentials(s, w.softmax, factor, p.unit_log2);
    const uint32_t a[4] = {pack_16(s[0], s[1]), pack_16(s[2], s[3]), pack_16(s[4], s[5]),
                           pack_16(s[6], s[7])};
    const int row = 16 * warp + (lane & 15);
#pragma unroll
    for (int dp = 0; dp < DT / 2; dp++) {
        uint32_t v[4];
        ldmatrix_x4_trans(v, v_tile + tile_offset(BLOCK_N, row, 2 * dp + (lane >> 4)));
        mma_16816(&w.o[8 * dp], a, v[0], v[1]);
        mma_16816(&w.o[8 * dp + 4], a, v[2], v[3]);
    }
}

// ---- the end of a block -----------------------------------------------------------

// Joins the warps through shared memory, and stores the block's parts.
__device__ __forceinline__ void store_parts(const fasc_split_params &sp, const Rows &rows, State &w,
                                            float *room, int warp, int lane, int split)
{
    const fasc_flash_params &p = sp.flash;
    float *max = room, *sum = room + WARPS * ROWS, *o = room + 2 * WARPS * ROWS;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float total = quad_sum(w.softmax.sum[half]);
        if ((lane & 3) == 0) {
            max[warp * ROWS + (lane >> 2) + 8 * half] = w.softmax.max[half];
            sum[warp * ROWS + (lane >> 2) + 8 * half] = total;
        }
    }
#pragma unroll
    for (int i = 0; i < 4 * DT; i++) {
        const int row = (lane >> 2) + 8 * (i >> 1 & 1),
                  col = 8 * (i >> 2) + 2 * (lane & 3) + (i & 1);
        o[(warp * ROWS + row) * PITCH + col] = w.o[i];
    }
    __syncthreads();
    for (int n = warp; n < rows.count; n += WARPS) {
        float most = max[n];
#pragma unroll
        for (int other = 1; other < WARPS; other++) {
            most = fmaxf_nan(most, max[other * ROWS + n]);
        }
        float factor[WARPS], total = 0.0f;
#pragma unroll
        for (int other = 0; other < WARPS; other++) {
            const float own = max[other * ROWS + n];
            factor[other] = own == -INFINITY_F32 ? 0.0f
                                                 : exp2_approx(softmax_offset(own, p.unit_log2) -
                                                               softmax_offset(most, p.unit_log2));
            total += factor[other] * sum[other * ROWS + n];
        }
        const int64_t part = number_of(p, rows, n) * sp.splits + split;
        if (lane == 0) {
            sp.sums[2 * part] = most;
            sp.sums[2 * part + 1] = total;
        }
        for (int col = lane; col < p.head_dim; col += 32) {
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
        w.mask[half] = 0;
        if (n < rows.count) {
            const int query = query_of(p, rows, n);
            visible_keys(p, query, &w.first[half], &w.last[half]);
            w.mask[half] = rows.batch * p.mask.stride[0] + head_of(p, rows, n) * p.mask.stride[1] +
                           query * p.mask.stride[2];
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
            load_tile(v_tiles + buffer, v, p.v_stride[2], j * BLOCK_N, p);
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
        step(w, p, q_tile, k_tiles + buffer, v_tiles + buffer, warp, lane, j * BLOCK_N);
    }
    cp_async_wait<0>();
    __syncthreads();
    store_parts(sp, rows, w, (float *)smem, warp, lane, split);
}

// ---- the parts of a row -------------------------------------------------------------

// One warp a row: out, lse and row_max from its parts.
extern "C" __global__ void __launch_bounds__(128)
    fasc_flash_join(const __grid_constant__ fasc_split_params sp)
{
    const fasc_flash_params &p = sp.flash;
    const int lane = threadIdx.x & 31;
    const int64_t number = (int64_t)blockIdx.x * 4 + (threadIdx.x >> 5);
    if (number >= (int64_t)p.batch * p.heads_q * p.seqlen_q) {
        return;
    }
    const int query = (int)(number % p.seqlen_q), head = (int)(number / p.seqlen_q % p.heads_q),
              batch = (int)(number / p.seqlen_q / p.heads_q);
    const float *sums = sp.sums + 2 * number * sp.splits;
    const float *parts = sp.parts + number * sp.splits * p.head_dim;
    float most = -INFINITY_F32;
    for (int s = lane; s < sp.splits; s += 32) {
        most = fmaxf_nan(most, sums[2 * s]);
    }
    most = warp_max(most);
    const float offset = softmax_offset(most, p.unit_log2);
    float total = 0.0f, x[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (int s = 0; s < sp.splits; s++) {
        const float own = sums[2 * s];
        if (own == -INFINITY_F32) {
            continue;
        }
        const float factor = exp2_approx(softmax_offset(own, p.unit_log2) - offset);
        total = fma_f32(factor, sums[2 * s + 1], total);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            if (lane + 32 * n < p.head_dim) {
                x[n] = fma_f32(factor, parts[s * p.head_dim + lane + 32 * n], x[n]);
            }
        }
    }
    const bool empty = most == -INFINITY_F32;
    const float lse2 = empty ? -INFINITY_F32 : offset + log2_approx(total);
    if (lane == 0 && p.lse) {
        p.lse[batch * p.lse_stride[0] + head * p.lse_stride[1] + query * p.lse_stride[2]] =
            lse2 * LN_2;
    }
    if (lane == 0 && p.row_max) {
        p.row_max[batch * p.row_max_stride[0] + head * p.row_max_stride[1] +
                  query * p.row_max_stride[2]] = empty ? -INFINITY_F32 : most * p.unit;
    }
    if (!p.out) {
        return;
    }
    const int64_t at = batch * p.out_stride[0] + head * p.out_stride[1] + query * p.out_stride[2];
    bool finite = true;
#pragma unroll
    for (int n = 0; n < 8; n++) {
        const int col = lane + 32 * n;
        const float value = empty ? 0.0f : x[n] / total;
        finite = finite && fabs_f32(value) < INFINITY_F32;
        if (col < p.head_dim && p.out_f32) {
            ((float *)p.out)[at + col * p.out_stride[3]] = value;
        } else if (col < p.head_dim) {
            ((uint16_t *)p.out)[at + col * p.out_stride[3]] = float_to_element(value);
        }
    }
    // a hidden key's NaN in V met weight 0 (see flash_repair.cuh)
    if ((p.banded || p.mask.data) && !__all_sync(FULL_MASK, finite) &&
        fabs_f32(lse2) < INFINITY_F32) {
        __syncwarp();
        repair_row(p, batch, head, query, lse2);
    }
}
