// weights.cu - the softmax between the two products of the `blas` kernel, for 16-bit inputs: P from
// Q and K. Float32 scores that lie in memory between a product and a softmax cost more, written and
// read, than making them again here, twice: once for the rows' maxima and sums, once for P. LSE and
// row_max leave on the way.
//
// A block: ROWS query rows of one head, KEYS keys at a time, 16 rows a warp by mma.sync; K comes by
// cp.async into one of two buffers while the other is multiplied. The order of keys in the product
// is such that a lane holds 8 neighbouring ones of a row, 16 bytes of P (see key_of).
//
// Shared memory: Q [ROWS] | K [2][KEYS], tiles of 64-column panels (see sm80_mma.cuh).
//
// Macros: FASC_BF16 (0, 1), HEAD_DIM (64, 128, 256: the smallest that holds the problem's).

#include "exponents.cuh"
#include "mask.cuh"
#include "scores.cuh"
#include "sm80_mma.cuh"
#include "weights_params.h"

constexpr int ROWS = FASC_WEIGHTS_ROWS, KEYS = FASC_WEIGHTS_KEYS, THREADS = FASC_WEIGHTS_THREADS;
constexpr int STEPS = HEAD_DIM / 16, CHUNKS = HEAD_DIM / 8; // of a row: products, 16-byte pieces
constexpr int TILES = KEYS / 8, GROUPS = KEYS / 32;         // of S: 8 keys, 4 tiles
constexpr int Q_BYTES = ROWS * HEAD_DIM * 2, K_BYTES = KEYS * HEAD_DIM * 2;

static_assert(THREADS == 2 * ROWS && ROWS == KEYS, "16 rows a warp; one shape of tile");

// Where piece `chunk` of a row lies in a tile; `swizzle` is the row's, see sm80_mma.cuh.
__device__ __forceinline__ uint32_t place_of(int row, int chunk, uint32_t swizzle)
{
    return (chunk >> 3) * ROWS * 128 + row * 128 + (((chunk & 7) ^ swizzle) << 4);
}

// Queues the copy of a tile, 0 past its `rows` rows and past head_dim.
template <bool IS_K>
__device__ __forceinline__ void load_tile(uint32_t to, const uint16_t *from, int64_t stride,
                                          int64_t rows, int64_t head_dim)
{
    constexpr int STEP = THREADS / CHUNKS; // rows that all threads load at once
    const int chunk = threadIdx.x % CHUNKS;
#pragma unroll 4
    for (int row = threadIdx.x / CHUNKS; row < ROWS; row += STEP) {
        const bool inside = row < rows && chunk * 8 < head_dim;
        cp_async_16(to + place_of(row, chunk, IS_K ? key_swizzle<GROUP>(row) : row & 7),
                    inside ? from + row * stride + chunk * 8 : from, inside ? 16 : 0);
    }
}

// The first key of a lane in group g of a tile; register 4 t + 2 half + e of the group's 16 is key
// 2 t + e from there, in row lane / 4 + 8 half of the warp.
__device__ __forceinline__ int key_of(int lane, int g)
{
    return g * 32 + (lane & 3) * GROUP;
}

// s = q k^T of the warp's rows with the tile at `tile`.
__device__ __forceinline__ void product(float (&s)[4 * TILES], const uint32_t (&q)[STEPS][4],
                                        uint32_t tile, int lane)
{
    const int column = lane & 7, half = lane >> 3 & 1;
    const int key = (column >> 1) * GROUP + (lane >> 4) * 2 + (column & 1);
#pragma unroll
    for (int i = 0; i < 4 * TILES; i++) {
        s[i] = 0.0f;
    }
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        const uint32_t at = tile + place_of(key, 2 * step + half, column);
#pragma unroll
        for (int pair = 0; pair < TILES / 2; pair++) { // of tiles
            uint32_t b[4];
            ldmatrix_x4(b, at + (pair / 2 * 32 + pair % 2 * 4) * 128);
            mma_16816(&s[8 * pair], q[step], b[0], b[1]);
            mma_16816(&s[8 * pair + 4], q[step], b[2], b[3]);
        }
    }
}

// What the four lanes of a row make of their parts.
__device__ __forceinline__ void join(float &largest, float &sum)
{
    float all = fmaxf_nan(largest, __shfl_xor_sync(FULL_MASK, largest, 1));
    all = fmaxf_nan(all, __shfl_xor_sync(FULL_MASK, all, 2));
    sum = rescaled(sum, largest, offset_of(all));
    sum += __shfl_xor_sync(FULL_MASK, sum, 1);
    sum += __shfl_xor_sync(FULL_MASK, sum, 2);
    largest = all;
}

extern "C" __global__ void __launch_bounds__(THREADS, HEAD_DIM == 64 ? 4 : 2)
    softmax_weights(const __grid_constant__ fasc_attention_params p)
{
    extern __shared__ __align__(1024) char smem[];
    const int lane = threadIdx.x % 32;
    const uint32_t q_tile = shared_address(smem), k_tile = q_tile + Q_BYTES;
    const int keys = (int)p.seqlen_k;

    // Rows with the most keys under a causal mask first.
    const int64_t tiles = (p.chunk.rows + ROWS - 1) / ROWS, n = blockIdx.x / tiles;
    const int64_t row0 = (tiles - 1 - blockIdx.x % tiles) * ROWS; // of the chunk
    const RowOf first = row_of(p, n, row0);
    const int64_t rows = min((int64_t)ROWS, p.chunk.rows - row0);
    const uint16_t *k =
        (const uint16_t *)p.k.data + first.b * p.k.stride[0] + first.h / p.group * p.k.stride[1];

    // The lane's two rows: where they are, and the keys [begin, end) that they see.
    RowOf at[2];
    int64_t r[2];
    int begin[2], end[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        r[half] = row0 + threadIdx.x / 32 * 16 + lane / 4 + 8 * half;
        at[half] = row_of(p, n, r[half]);
        KeyRange seen = visible_keys(p.lo, p.hi, p.seqlen_k, at[half].i);
        begin[half] = (int)min(seen.begin, p.seqlen_k);
        end[half] = (int)max(seen.end, (int64_t)0);
    }
    // Tiles that some row of the block sees, and keys that all rows see.
    const KeyRange upper = visible_keys(p.lo, p.hi, p.seqlen_k, first.i);
    const KeyRange lower = visible_keys(p.lo, p.hi, p.seqlen_k, first.i + rows - 1);
    const int first_tile = (int)min(upper.begin, p.seqlen_k) / KEYS;
    const int last_tile = (int)((max(lower.end, (int64_t)0) + KEYS - 1) / KEYS); // past it
    const int64_t all_begin = lower.begin, all_end = upper.end;

    auto load = [&](int j) {
        load_tile<true>(k_tile + (j & 1) * K_BYTES, k + (int64_t)j * KEYS * p.k.stride[2],
                        p.k.stride[2], keys - j * KEYS, p.head_dim);
        cp_async_commit();
    };
    load_tile<false>(q_tile, (const uint16_t *)p.q.data + row_start(p.q, first), p.q.stride[2],
                     rows, p.head_dim);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    uint32_t q[STEPS][4];
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        const int row = threadIdx.x / 32 * 16 + (lane & 15);
        ldmatrix_x4(q[step], q_tile + place_of(row, 2 * step + (lane >> 4), row & 7));
    }

    // Calls visit(j, s) for the tiles that are seen, with S, -inf where a pair is hidden.
    auto walk = [&](auto visit) {
        if (first_tile < last_tile) {
            load(first_tile);
        }
#pragma unroll 1
        for (int j = first_tile; j < last_tile; j++) {
            cp_async_wait<0>();
            __syncthreads();
            if (j + 1 < last_tile) {
                load(j + 1);
            }
            float s[4 * TILES];
            product(s, q, k_tile + (j & 1) * K_BYTES, lane);
            const bool cut = j * KEYS < all_begin || (j + 1) * KEYS > all_end;
#pragma unroll
            for (int i = 0; i < 4 * TILES; i++) {
                const int half = i >> 1 & 1;
                const int key = j * KEYS + key_of(lane, i / 16) + i / 4 % 4 * 2 + (i & 1);
                s[i] *= p.scale;
                if (cut && (key < begin[half] || key >= end[half])) {
                    s[i] = -INFINITY_F32;
                }
            }
            visit(j, s);
        }
        __syncthreads(); // the buffers are free
    };

    float largest[2] = {-INFINITY_F32, -INFINITY_F32}, sum[2] = {0.0f, 0.0f};
    walk([&](int, const float(&s)[4 * TILES]) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float next = largest[half], more = 0.0f;
#pragma unroll
            for (int i = 0; i < 4 * TILES; i++) {
                next = (i >> 1 & 1) == half ? fmaxf_nan(next, s[i]) : next;
            }
            const float offset = offset_of(next);
#pragma unroll
            for (int i = 0; i < 4 * TILES; i++) {
                more += (i >> 1 & 1) == half ? exp2_approx(fma_f32(s[i], LOG2_E, -offset)) : 0.0f;
            }
            sum[half] = rescaled(sum[half], largest[half], offset) + more;
            largest[half] = next;
        }
    });
    float lse2[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        join(largest[half], sum[half]);
        lse2[half] = lse2_of(largest[half], sum[half]);
        if (r[half] < p.chunk.rows && lane % 4 == 0) {
            store_row(p.lse, at[half], lse2[half] * LN_2);
            store_row(p.row_max, at[half], largest[half]);
        }
    }
    if (!p.weights.data && !p.probs.data) {
        return;
    }

    RowStore weights[2], probs[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        weights[half] = row_store(p.weights, {0, n, r[half]});
        probs[half] = row_store(p.probs, at[half]);
    }
    auto store = [&](int j, int half, const Group &g) {
        if (r[half] < p.chunk.rows && j < keys) {
            if (p.probs.data) {
                store_group<true>(p.probs, probs[half], j, keys, g);
            }
            if (p.weights.data) {
                store_group<false>(p.weights, weights[half], j, keys, g);
            }
        }
    };
    // What no row of the block sees.
    auto clear = [&](int from, int to) {
        const Group zero = {};
#pragma unroll 1
        for (int j = from * KEYS; j < to * KEYS; j += 32) {
            store(j + key_of(lane, 0), 0, zero);
            store(j + key_of(lane, 0), 1, zero);
        }
    };
    clear(0, first_tile);
    walk([&](int j, const float(&s)[4 * TILES]) {
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                Group out;
#pragma unroll
                for (int i = 0; i < GROUP; i++) {
                    // -inf is 0 whatever the LSE: hidden, or an infinite input's
                    const float x = s[16 * g + i / 2 * 4 + 2 * half + i % 2];
                    const float power = fma_f32(x, LOG2_E, -lse2[half]);
                    out.x[i] = x == -INFINITY_F32 ? 0.0f
                               : FASC_BF16        ? exp2_subnormal(power)
                                                  : exp2_approx(power);
                }
                store(j * KEYS + key_of(lane, g), half, out);
            }
        }
    });
    clear(max(first_tile, last_tile), (keys + KEYS - 1) / KEYS);
}
