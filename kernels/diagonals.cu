// diagonals.cu - sums of P or S along the diagonals of the scores, for every NVIDIA GPU from sm_80
// on: a block walks down one stripe of tiles, queries 64 a .., keys 64 (a + w) .. for every a.
// diagonals_join.cu adds the two parts of each diagonal.
//
// Along such a walk an accumulator element stays on one diagonal, key - query = 64 w + column -
// row: each is added up in its own register over the whole walk, and only at the end are the 64 x
// 64 of them summed diagonal by diagonal through shared memory. A diagonal crosses two stripes, w
// for column >= row and w + 1 for column < row: two parts, each written once. No atomics, one
// order. A band hides whole diagonals, so it is applied when the parts are joined; stripes that it
// hides are not walked.
//
// Shared memory: Q [STAGES][64] | K [STAGES][64] (panels as in sm80_mma.cuh); at the end the sums.
//
// Macros: FASC_BF16 (0, 1), HEAD_DIM (multiple of 64, at most 256), STAGES (1, 2), REDUCE
// (FASC_REDUCE_SUM for P, FASC_REDUCE_LOGITS for S), MASK (1: there is a mask tensor).

#define BLOCK_M 64
#define BLOCK_N 64
#define WARPS   4

#include "reducer_mma.cuh"

#include "diagonals_params.h"
#include "mask.cuh"

constexpr int TILE = FASC_DIAGONALS_TILE, PITCH = TILE + 1;
constexpr bool PROBS = REDUCE == FASC_REDUCE_SUM;

static_assert(TILE == BLOCK_M && TILE == BLOCK_N && MT == 1, "square tiles, 16 rows a warp");

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    diagonals(const __grid_constant__ fasc_diagonals_params p)
{
    extern __shared__ __align__(1024) char smem[];
    const int flat = blockIdx.x / p.walks, walk = p.first + (int)(blockIdx.x % p.walks);
    const int batch = flat / p.heads, head = flat - batch * p.heads;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const uint32_t base = shared_address(smem);
    const uint16_t *q = (const uint16_t *)p.q + batch * p.q_stride[0] + head * p.q_stride[1];
    const uint16_t *k =
        (const uint16_t *)p.k + batch * p.k_stride[0] + head / p.group * p.k_stride[1];
    const float *offset = p.offset + (int64_t)flat * p.offset_pitch;
    const float c = MASK ? LOG2_E : p.scale * LOG2_E;

    // query tiles [begin, end) whose key tile holds keys of the range
    const int begin = max(p.q0 / TILE, p.k0 / TILE - walk);
    const int end = min((p.q1 - 1) / TILE, (p.k1 - 1) / TILE - walk) + 1;
    float total[4 * NT];
#pragma unroll
    for (int i = 0; i < 4 * NT; i++) {
        total[i] = 0.0f;
    }
    auto load = [&](int a) {
        const int stage = a % STAGES;
        load_tile<TILE>(base + stage * ROW_BYTES, q, p.q_stride[2], a * TILE, p.seqlen_q,
                        p.head_dim);
        load_tile<TILE>(base + STAGES * ROW_BYTES + stage * COLUMN_BYTES, k, p.k_stride[2],
                        (a + walk) * TILE, p.seqlen_k, p.head_dim);
    };
    if (STAGES == 2 && begin < end) {
        load(begin);
        cp_async_commit();
    }
#pragma unroll 1
    for (int a = begin; a < end; a++) {
        if (STAGES == 1) {
            __syncthreads();
            load(a);
            cp_async_commit();
        }
        cp_async_wait<0>();
        __syncthreads();
        if (STAGES == 2) {
            if (a + 1 < end) {
                load(a + 1);
            }
            cp_async_commit();
        }
        const int stage = a % STAGES;
        float s[1][4 * NT];
        product(s, base + stage * ROW_BYTES, base + STAGES * ROW_BYTES + stage * COLUMN_BYTES, warp,
                lane);

        const int row = a * TILE + warp * 16 + (lane >> 2);
        const int column = (a + walk) * TILE + 2 * (lane & 3);
        const bool cut = a * TILE < p.q0 || (a + 1) * TILE > p.q1 || (a + walk) * TILE < p.k0 ||
                         (a + walk + 1) * TILE > p.k1;
        float shift[2] = {0.0f, 0.0f};
#pragma unroll
        for (int half = 0; half < 2 && PROBS; half++) {
            shift[half] = row + 8 * half < p.q1 ? offset[row + 8 * half] : -INFINITY_F32;
        }
#pragma unroll
        for (int i = 0; i < 4 * NT; i++) {
            const int half = (i >> 1) & 1;
            const int r = row + 8 * half, key = column + 8 * (i >> 2) + (i & 1);
            const bool counts = !cut || (r >= p.q0 && r < p.q1 && key >= p.k0 && key < p.k1);
            float x = s[0][i];
            if (MASK) {
                float added = -INFINITY_F32;
                if (counts) {
                    const int64_t at =
                        batch * p.mask.stride[0] + head * p.mask.stride[1] + r * p.mask.stride[2];
                    added = mask_value(p.mask, at, key);
                }
                x = added == -INFINITY_F32 ? added
                                           : fma_f32(x, p.scale, added < -2e38f ? -2e38f : added);
            }
            if (PROBS) {
                x = exp2_approx(fma_f32(x, c, shift[half]));
            } else {
                x = x == -INFINITY_F32 ? 0.0f : MASK ? x : x * p.scale;
            }
            total[i] += counts ? x : 0.0f;
        }
    }

    cp_async_wait<0>();
    __syncthreads();
    float *sums = (float *)smem;
#pragma unroll
    for (int i = 0; i < 4 * NT; i++) {
        const int r = warp * 16 + (lane >> 2) + 8 * ((i >> 1) & 1);
        sums[r * PITCH + 8 * (i >> 2) + 2 * (lane & 3) + (i & 1)] = total[i];
    }
    __syncthreads();
    // thread n: the diagonal column - row = n - 63
    const int n = (int)threadIdx.x - (TILE - 1);
    const int64_t entry = p.seqlen_k - 1 - ((int64_t)walk * TILE + n);
    if (n < TILE && entry >= 0 && entry < p.entries) {
        float sum = 0.0f;
        for (int r = max(0, -n); r < min(TILE, TILE - n); r++) {
            sum += sums[r * PITCH + r + n];
        }
        const int64_t part = n >= 0 ? 0 : (int64_t)p.batch * p.heads;
        p.parts[(part + flat) * p.entries + entry] = sum;
    }
}
