// flash_sm80.cu - attention with scores for every NVIDIA GPU from sm_80 on.
//
//   S = scale Q K^T,  P = softmax(S) over the visible keys,  O = P V
//
// in one pass over the keys, with S stored on the way when it is wanted. f16 or bf16 in, float32
// accumulation. Query i sees key j iff i + lo <= j <= i + hi and j < Nk.
//
// Tile       A block owns BLOCK_M query rows of one (batch, head) and walks the keys BLOCK_N at a
// time.
//            Each of its WARPS warps owns MT = BLOCK_M / (16 WARPS) row tiles of 16 and all BLOCK_N
//            keys of a step: S, P and O never leave the warp's registers, except for the stores.
// Loads      All threads copy Q once and K, V tiles STAGES deep with cp.async (16 bytes; zero
// beyond the
//            ends and beyond head_dim). STAGES = 1 keeps one K and one V buffer and hides each load
//            under the other's product; STAGES >= 2 loads whole steps ahead and needs one barrier a
//            step.
// Softmax    Base 2, scale log2(e) in one FFMA. The maximum that exponents are taken against
// follows the
//            true one only when that has grown by 2^8: O is then rarely rescaled (float32 has the
//            room), and all rows of a step are corrected exactly when it happens.
// Scores     Each warp passes 16 x BLOCK_N scores through its own shared memory and stores full
// 16-byte
//            pieces of rows. Tiles that no query of the block sees: `logits` still takes Q K^T
//            there; `masked` and `probs` are filled without it. `probs` walks the visible keys
//            twice: once for the row statistics, once for P and P V.
// Masked     Only tiles that the band or the end of the keys cuts are masked. There, NaN and
// infinities of tiles      V reach rows that do not see them (0 * inf): such rows are found at the
// end and summed again. Order      Blocks are numbered so that one section's heads (K and V fit in
// L2) run together, rows with
//            the most visible keys first.
//
// Shared memory: Q [BLOCK_M] | K [STAGES][BLOCK_N] | V [STAGES][BLOCK_N] | per warp 16 x BLOCK_N
// scores (as tiles of 64-column panels, see sm80_mma.cuh). O leaves through Q's place.
//
// Ideas: FlashAttention-2 (Dao, 2023) for the loop and the work split; the lazy rescale is
// FlashAttention-4's.
//
// Macros: FASC_BF16 (0, 1), HEAD_DIM (multiple of 16), BLOCK_M, BLOCK_N (multiple of 16), STAGES,
// WARPS, SCORES (FASC_SCORES_...), WANT_OUT (0, 1).

#include "flash_common.cuh"
#include "flash_params.h"
#include "flash_repair.cuh"
#include "mask.cuh"
#include "sm80_block.cuh"
#include "sm80_loads.cuh"
#include "sm80_mma.cuh"
#include "sm80_products.cuh"
#include "sm80_stores.cuh"
#include "softmax.cuh"

// What the registers of S hold: raw products, whose order a negative scale turns (they are negated
// then, and |scale| is used); with a mask tensor, S itself.
__device__ __forceinline__ float score_unit(const fasc_flash_params &p)
{
    return p.mask.data ? 1.0f : fabs_f32(p.scale);
}

// Powers of two in one of them. A scale of 0 would turn hidden -inf into NaN: the smallest normal
// number does as well.
__device__ __forceinline__ float score_log2(const fasc_flash_params &p)
{
    return fmaxf(score_unit(p) * LOG2_E, 1.17549435e-38f);
}

// The buffer of key tile j.
__device__ __forceinline__ int buffer(int j)
{
    return STAGES > 1 ? j % STAGES : 0;
}

// The columns of the tile at key0 that a lane's two rows of row tile mt see, from its first column
// on.
__device__ __forceinline__ Visible visible_columns(const fasc_flash_params &p, const Block &b,
                                                   int mt, int key0)
{
    Visible v;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        visible_keys(p, fragment_row(b, mt, half), &v.first[half], &v.last[half]);
        v.first[half] -= key0 + fragment_col(b, 0, 0);
        v.last[half] -= key0 + fragment_col(b, 0, 0);
    }
    return v;
}

// Turns raw scores of the tile at key0 into S with what the mask tensor adds: in units of S from
// here on. What it adds is held above -2e38, so that S in powers of two stays finite.
__device__ __forceinline__ void add_mask(float (&s)[4 * NT], const fasc_flash_params &p,
                                         const Block &b, int mt, int key0)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = fragment_row(b, mt, half);
        const int64_t at =
            b.batch * p.mask.stride[0] + b.head * p.mask.stride[1] + row * p.mask.stride[2];
#pragma unroll
        for (int nt = 0; nt < NT; nt++) {
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const int key = key0 + fragment_col(b, nt, e);
                float &x = s[4 * nt + 2 * half + e];
                if (row < p.seqlen_q && key < p.seqlen_k) {
                    const float added = mask_value(p.mask, at, key);
                    x = added == -INFINITY_F32
                            ? -INFINITY_F32
                            : fma_f32(x, p.scale, added < -2e38f ? -2e38f : added);
                }
            }
        }
    }
}

// P = 2^(S c - lse2) of rows whose LSE is known, 0 for hidden keys (also where the LSE is NaN).
__device__ __forceinline__ void probabilities(float (&s)[4 * NT], const float (&lse2)[2], float c)
{
#pragma unroll
    for (int i = 0; i < 4 * NT; i++) {
        float x = exp2_subnormal(fma_f32(s[i], c, -lse2[(i >> 1) & 1]));
        s[i] = s[i] == -INFINITY_F32 ? 0.0f : x;
    }
}

// One walk over the key tiles. STATISTICS: only the rows' maxima and sums (first half of `probs`);
// else everything, and for `probs` lse2 holds the rows' LSE in powers of two.
template <bool STATISTICS>
__device__ __forceinline__ void walk(const fasc_flash_params &p, const Block &b,
                                     const TileRange &range, RowState (&rows)[MT],
                                     float (&o)[MT][4 * OUT_TILES], const float (&lse2)[MT][2])
{
    constexpr bool NORMALIZED = !STATISTICS && SCORES == FASC_SCORES_PROBS;
    constexpr bool USE_V = !STATISTICS && WANT_OUT;
    // `logits` are wanted everywhere, all else only where a query sees keys.
    const int begin = SCORES == FASC_SCORES_LOGITS ? 0 : range.begin;
    const int end = SCORES == FASC_SCORES_LOGITS ? (p.seqlen_k + BLOCK_N - 1) / BLOCK_N : range.end;
    const bool softmax = WANT_OUT || SCORES == FASC_SCORES_PROBS || p.lse || p.row_max;
    const float c = score_log2(p);

    auto load_k = [&](int j) {
        const Block at = renewed(b);
        const uint16_t *k =
            (const uint16_t *)p.k + at.batch * p.k_stride[0] + at.head_k * p.k_stride[1];
        load_tile<BLOCK_N>(b.k_tile + buffer(j) * KV_BYTES, k, p.k_stride[2], j * BLOCK_N,
                           p.seqlen_k, p.head_dim);
    };
    auto load_v = [&](int j) {
        if (USE_V && j >= range.begin && j < range.end) {
            const Block at = renewed(b);
            const uint16_t *v =
                (const uint16_t *)p.v + at.batch * p.v_stride[0] + at.head_k * p.v_stride[1];
            load_tile<BLOCK_N>(b.v_tile + buffer(j) * KV_BYTES, v, p.v_stride[2], j * BLOCK_N,
                               p.seqlen_k, p.head_dim);
        }
    };

    __syncthreads(); // the buffers are free: a walk before this one has ended
#pragma unroll
    for (int ahead = 0; ahead < (STAGES > 1 ? STAGES - 1 : 1); ahead++) {
        if (begin + ahead < end) {
            load_k(begin + ahead);
            if (STAGES > 1) {
                load_v(begin + ahead);
            }
        }
        cp_async_commit();
    }
#pragma unroll 1
    for (int j = begin; j < end; j++) {
        const bool seen = j >= range.begin && j < range.end;
        const bool cut = j < range.full_begin || j >= range.full_end;
        const int key0 = j * BLOCK_N;
        const uint32_t k_tile = b.k_tile + buffer(j) * KV_BYTES,
                       v_tile = b.v_tile + buffer(j) * KV_BYTES;

        // K (and V, with several stages) of this step has arrived for all threads, and what the
        // step before it read is free.
        if (STAGES > 1) {
            cp_async_wait<(STAGES > 1 ? STAGES - 2 : 0)>();
            __syncthreads();
            if (j + STAGES - 1 < end) {
                load_k(j + STAGES - 1);
                load_v(j + STAGES - 1);
            }
        } else {
            cp_async_wait<0>();
            __syncthreads();
            load_v(j);
        }
        cp_async_commit();

        float s[MT][4 * NT];
        product_qk(s, b, k_tile);
        if (SCORES == FASC_SCORES_LOGITS) {
            store_scores(p, b, key0, [&](int mt, int i) { return s[mt][i] * p.scale; });
        }
        if (STAGES == 1) { // V has arrived, and K's buffer is free
            cp_async_wait<0>();
            __syncthreads();
            if (j + 1 < end) {
                load_k(j + 1);
            }
            cp_async_commit();
        }
        if (!seen) {
            continue;
        }
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            if (p.mask.data) {
                add_mask(s[mt], p, renewed(b), mt, key0);
            } else if (p.scale < 0.0f) {
#pragma unroll
                for (int i = 0; i < 4 * NT; i++) {
                    s[mt][i] = -s[mt][i];
                }
            }
            if (cut) {
                softmax_mask(s[mt], visible_columns(p, renewed(b), mt, key0));
            }
        }
        if (SCORES == FASC_SCORES_MASKED) {
            // a hidden -inf stays what it is under any scale
            store_scores(p, b, key0, [&](int mt, int i) {
                return s[mt][i] == -INFINITY_F32 ? -INFINITY_F32 : s[mt][i] * score_unit(p);
            });
        }
        if (!softmax) {
            continue;
        }
        uint32_t p16[MT][NT][2];
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            if constexpr (NORMALIZED) {
                probabilities(s[mt], lse2[mt], c);
            } else {
                float factor[2];
                softmax_update_max(rows[mt], factor, s[mt], c);
                if (USE_V && __any_sync(FULL_MASK, factor[0] != 1.0f || factor[1] != 1.0f)) {
                    softmax_rescale(o[mt], factor);
                }
                softmax_exponentials(s[mt], rows[mt], factor, c);
            }
#pragma unroll
            for (int nt = 0; nt < NT; nt++) {
                p16[mt][nt][0] = pack_16(s[mt][4 * nt], s[mt][4 * nt + 1]);
                p16[mt][nt][1] = pack_16(s[mt][4 * nt + 2], s[mt][4 * nt + 3]);
            }
        }
        if constexpr (NORMALIZED) {
            store_scores(p, b, key0, [&](int mt, int i) { return s[mt][i]; });
        }
        if constexpr (USE_V) {
            product_pv(o, p16, b, v_tile);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    fasc_flash_sm80(const __grid_constant__ fasc_flash_params p)
{
    extern __shared__ __align__(1024) char smem[];
    Block b = this_block(p);
    b.q_tile = shared_address(smem);
    b.k_tile = b.q_tile + Q_BYTES;
    b.v_tile = b.k_tile + STAGES * KV_BYTES;
    b.stage = b.k_tile + KV_BUFFERS * KV_BYTES + b.warp * 16 * stage_pitch(SCORES_F32 ? 4 : 2);
    const TileRange range = tile_range(p, b.row0);

    RowState rows[MT];
    float o[MT][4 * OUT_TILES], lse2[MT][2], inverse[MT][2];
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
        softmax_start(rows[mt]);
#pragma unroll
        for (int i = 0; i < 4 * OUT_TILES; i++) {
            o[mt][i] = 0.0f;
        }
    }
    const uint16_t *q = (const uint16_t *)p.q + b.batch * p.q_stride[0] + b.head * p.q_stride[1];
    load_tile<BLOCK_M>(b.q_tile, q, p.q_stride[2], b.row0, p.seqlen_q, p.head_dim);
    if (SCORES == FASC_SCORES_MASKED || SCORES == FASC_SCORES_PROBS) {
        float hidden = SCORES == FASC_SCORES_MASKED ? -INFINITY_F32 : 0.0f;
        fill_scores(p, b, 0, range.begin * BLOCK_N, hidden);
        fill_scores(p, b, range.end * BLOCK_N, p.seqlen_k, hidden);
    }

    walk<SCORES == FASC_SCORES_PROBS>(p, b, range, rows, o, lse2);

#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
        softmax_finish(rows[mt], lse2[mt], score_log2(p));
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = fragment_row(b, mt, half);
            const bool empty = rows[mt].max[half] == -INFINITY_F32;
            if (row < p.seqlen_q && (b.lane & 3) == 0) {
                if (p.lse) {
                    p.lse[b.batch * p.lse_stride[0] + b.head * p.lse_stride[1] +
                          row * p.lse_stride[2]] = lse2[mt][half] * LN_2;
                }
                if (p.row_max) {
                    p.row_max[b.batch * p.row_max_stride[0] + b.head * p.row_max_stride[1] +
                              row * p.row_max_stride[2]] =
                        empty ? -INFINITY_F32 : rows[mt].max[half] * score_unit(p);
                }
            }
            lse2[mt][half] = empty ? 0.0f : lse2[mt][half];
            inverse[mt][half] = SCORES == FASC_SCORES_PROBS ? 1.0f
                                : empty                     ? 0.0f
                                                            : 1.0f / rows[mt].sum[half];
        }
    }
    if constexpr (SCORES == FASC_SCORES_PROBS) {
        walk<false>(p, b, range, rows, o, lse2);
    }
    if constexpr (WANT_OUT) {
        uint32_t spoilt[MT];
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            spoilt[mt] = p.banded || p.mask.data ? spoilt_rows(o[mt], lse2[mt]) : 0;
        }
        store_out(p, b, o, inverse);
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            const Block at = this_block(p); // again, so that it takes no registers in the walk
            repair_tile(p, at.batch, at.head, at.row0 + (at.warp * MT + mt) * 16, spoilt[mt],
                        lse2[mt]);
        }
    }
}
