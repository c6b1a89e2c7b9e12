// flash_sm80.cu - attention with scores for every NVIDIA GPU from sm_80 on.
//
//   S = scale Q K^T,  P = softmax(S) over the visible keys,  O = P V
//
// in one pass over the keys, with S stored on the way when it is wanted. f16 or bf16 in, float32
// accumulation. Query i sees key j iff i + lo <= j <= i + hi and j < Nk.
//
// Tile: a block owns BLOCK_M query rows of one (batch, head) and walks the keys BLOCK_N at a time.
// Each of its WARPS warps owns MT = BLOCK_M / (16 WARPS) row tiles of 16 and all BLOCK_N keys of a
// step: S, P and O never leave the warp's registers. Two row tiles a warp halve what K and V cost
// in shared-memory reads.
//
// Loads: all threads copy Q once and K, V tiles with cp.async (16 bytes; zero beyond the ends and
// beyond head_dim). STAGES = 1 keeps one K and one V buffer and hides each load under the other's
// product; STAGES = 2 loads whole steps ahead and needs one barrier a step.
//
// Softmax: base 2, scale log2(e) in one FFMA. O is rescaled only when some row's maximum has grown.
// Exponentials of 16 keys come just before the product that takes them, so that they run beside the
// product of the 16 keys before.
//
// Scores: the order of keys in both products is chosen such that each lane holds 16 neighbouring
// bytes of a row of scores (LANE_KEYS), which it stores from its registers. Tiles that no query of
// the block sees: `logits` still takes Q K^T there; `masked` and `probs` are filled without it.
// `probs` walks the visible keys twice: once for the row statistics, once for P and P V.
//
// Masks: only tiles that the band or the end of the keys cuts are masked. There, NaN and infinities
// of V reach rows that do not see them (0 * inf): such rows are found at the end and summed again.
//
// Order: blocks are numbered so that one section's heads (K and V fit in L2) run together, rows
// with the most visible keys first.
//
// Registers are what limits the tile. Uniform numbers are therefore parameters or lie in uniform
// registers, what a thread needs once a step lies in shared memory (KEPT_...), and what only rare
// paths need is made there again.
//
// Shared memory: Q [BLOCK_M] | K [STAGES][BLOCK_N] | V [STAGES][BLOCK_N] (tiles of 64-column
// panels, see sm80_mma.cuh) | KEPT numbers a thread, and
// some of the block. O leaves through Q's place.
//
// Ideas: FlashAttention-2 (Dao, 2023) for the loop and the work split.
//
// Macros: FASC_BF16 (0, 1), HEAD_DIM (multiple of 16), BLOCK_M, BLOCK_N (multiple of 32), STAGES,
// WARPS, SCORES (FASC_SCORES_...), SCORES_F32 (0, 1), SHIFTED (0, 1: rows of scores may begin
// anywhere, else those that are not made of 16-byte pieces are slow), WANT_OUT (0, 1), EXTRAS (0,
// 1: a mask tensor, dropout; and `out` may be NULL although WANT_OUT), STATISTICS (0, 1: the rest
// of a row's, see row_statistics.cuh; with EXTRAS, without scores).

#define DROPOUT EXTRAS

#include "flash_common.cuh"
#include "flash_params.h"
#include "flash_repair.cuh"
#include "mask.cuh"
#include "philox.h"
#include "row_statistics.cuh"
#include "sm80_block.cuh"
#include "sm80_loads.cuh"
#include "sm80_mma.cuh"
#include "sm80_products.cuh"
#include "sm80_stores.cuh"
#include "softmax.cuh"

// The buffer of key tile j.
__device__ __forceinline__ uint32_t buffer(int j)
{
    return (uint32_t)j % STAGES;
}

struct LaneColumns {
    __device__ static constexpr int of(int i)
    {
        return key_of(i);
    }
};

// Hides the columns of the tile at key0 that a row does not see.
__device__ __forceinline__ void hide(float (&s)[4 * NT], const fasc_flash_params &p, Block b,
                                     int mt, int key0)
{
    // The first row is fetched, or at least not seen through: what is made of it would be kept over
    // the walk. Which of the two, as registers have come out best.
    if (STAGES == 1 || SCORES == FASC_SCORES_LOGITS) {
        b.row0 = kept_row0(b);
    } else {
        asm volatile("" : "+r"(b.row0));
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int first, last;
        visible_keys(p, fragment_row(b, mt, half), &first, &last);
        first -= key0 + lane_key(b);
        last -= key0 + lane_key(b);
#pragma unroll
        for (int i = 0; i < 4 * NT; i++) {
            if ((i >> 1 & 1) == half) {
                s[i] = key_of(i) >= first && key_of(i) <= last ? s[i] : -INFINITY_F32;
            }
        }
    }
}

// Turns raw scores of the tile at key0 into S with what the mask tensor adds: in units of S from
// here on (with a negative scale Q is negated, and |scale| used, everywhere). What it adds is held
// above -2e38, so that S in powers of two stays finite. What it does not hide of keys `counted` is
// summed.
__device__ __forceinline__ void add_mask(float (&s)[4 * NT], RowStatistics &x,
                                         const Visible &counted, const fasc_flash_params &p,
                                         const Block &b, int mt, int key0)
{
    const Block from = this_block(p);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = fragment_row(b, mt, half);
        const int64_t at =
            from.batch * p.mask.stride[0] + from.head * p.mask.stride[1] + row * p.mask.stride[2];
#pragma unroll
        for (int nt = 0; nt < NT; nt++) {
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const int i = 4 * nt + 2 * half + e, key = key0 + lane_key(b) + key_of(i);
                if (row < p.seqlen_q && key < p.seqlen_k) {
                    const float added = mask_value(p.mask, at, key);
                    s[i] = added == -INFINITY_F32
                               ? -INFINITY_F32
                               : fma_f32(s[i], fabs_f32(p.scale), added < -2e38f ? -2e38f : added);
                    if (STATISTICS && added != -INFINITY_F32 && key_of(i) >= counted.first[half] &&
                        key_of(i) <= counted.last[half]) {
                        x.sum[half] += s[i];
                    }
                }
            }
        }
    }
}

// The columns of the tile at key0 that count in a row's sum of scores, from this lane's first one.
__device__ __forceinline__ Visible counted_keys(const fasc_flash_params &p, const Block &b, int mt,
                                                int key0)
{
    Visible v;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        visible_keys(p, fragment_row(b, mt, half), &v.first[half], &v.last[half]);
        v.first[half] = max(v.first[half], p.statistics.key_begin) - key0 - lane_key(b);
        v.last[half] = min(v.last[half], p.statistics.key_end - 1) - key0 - lane_key(b);
    }
    return v;
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

// The largest of a row's scores in this tile and of `max`.
__device__ __forceinline__ float tile_max(const float (&s)[4 * NT], float max, int half)
{
    // two chains, for the latency of one
    float even = fmaxf_nan(max, s[2 * half]), odd = s[2 * half + 1];
#pragma unroll
    for (int i = 4 + 2 * half; i < 4 * NT; i += 4) {
        even = fmaxf_nan(even, s[i]);
        odd = fmaxf_nan(odd, s[i + 1]);
    }
    return quad_max(fmaxf_nan(even, odd));
}

// P of 16 keys, not yet divided by its sum: packed for the second product, and added to the sum.
template <int N>
__device__ __forceinline__ void exponentials(float (&s)[N], RowState &r, const float (&offset)[2],
                                             float c, int kk, uint32_t (&a)[4])
{
#pragma unroll
    for (int n = 0; n < 4; n++) {
        const int i = 8 * kk + 2 * n, half = n & 1;
        s[i] = exp2_approx(fma_f32(s[i], c, -offset[half]));
        s[i + 1] = exp2_approx(fma_f32(s[i + 1], c, -offset[half]));
        r.sum[half] += s[i] + s[i + 1];
        a[n] = pack_16(s[i], s[i + 1]);
    }
}

// The same with what weights add to statistics; distance is that of the lane's first key.
template <int N>
__device__ __forceinline__ void
exponentials_and_statistics(float (&s)[N], RowState &r, RowStatistics &x, const float (&offset)[2],
                            const float (&distance)[2], float c, int kk, uint32_t (&a)[4])
{
#pragma unroll
    for (int n = 0; n < 4; n++) {
        const int i = 8 * kk + 2 * n, half = n & 1;
#pragma unroll
        for (int e = i; e < i + 2; e++) {
            const float exponent = fma_f32(s[e], c, -offset[half]);
            s[e] = exp2_approx(exponent);
            r.sum[half] += s[e];
            statistics_add(x, half, exponent, s[e], distance[half] - (float)key_of(e));
        }
        a[n] = pack_16(s[i], s[i + 1]);
    }
}

// Drops pairs of P, packed for the product of 16 keys from kk on: each pair of two keys and two
// rows is one call of the generator.
__device__ __forceinline__ void drop(uint32_t (&a)[4], const fasc_flash_params &p, const Block &b,
                                     int head, int mt, int key0, int kk)
{
    const uint32_t row = kept_row0(b) + (b.warp * MT + mt) * 16;
#pragma unroll
    for (int n = 0; n < 2; n++) {
        const uint32_t key = key0 + lane_key(b) + key_of(8 * kk + 4 * n);
        uint32_t word[4];
        fasc_philox(p.dropout.seed, key >> 1, row / 2 + (b.lane >> 2), head, p.dropout.offset,
                    word);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            a[2 * n + half] &= (word[2 * half] >= p.dropout.threshold ? 0xffffu : 0) |
                               (word[2 * half + 1] >= p.dropout.threshold ? 0xffff0000u : 0);
        }
    }
}

// One walk over the key tiles. FIRST_OF_TWO: only the rows' maxima and sums (first half of
// `probs`); else everything, and for `probs` lse2 holds the rows' LSE in powers of two.
template <bool FIRST_OF_TWO>
__device__ __forceinline__ void
walk(const fasc_flash_params &p, const Block &b, const TileRange &range, RowState (&rows)[MT],
     RowStatistics (&statistics)[MT], float (&o)[MT][4 * OUT_TILES], const float (&lse2)[MT][2])
{
    constexpr bool NORMALIZED = !FIRST_OF_TWO && SCORES == FASC_SCORES_PROBS;
    constexpr bool USE_V = !FIRST_OF_TWO && WANT_OUT;
    // `logits` are wanted everywhere, all else only where a query sees keys.
    const int begin = SCORES == FASC_SCORES_LOGITS ? 0 : range.begin;
    auto is_there = [&](int j) {
        return SCORES == FASC_SCORES_LOGITS ? j * BLOCK_N < p.seqlen_k : j < range.end;
    };
    const bool use_v = USE_V && (!EXTRAS || p.out);
    const bool softmax = STATISTICS || use_v || SCORES == FASC_SCORES_PROBS || p.lse || p.row_max;
    const float c = p.unit_log2;

    // What some query of the block sees; only `logits` walk over more.
    auto is_seen = [&](int j) {
        if (SCORES != FASC_SCORES_LOGITS) {
            return true;
        }
        const TileRange r = kept_range(b);
        return j >= r.begin && j < r.end;
    };
    auto load = [&](int which, uint32_t tile, int64_t stride, int j) {
        const uint64_t at = kept(b, KEPT_TILE);
        const uint16_t *from = (const uint16_t *)kept(b, which);
        load_tile<BLOCK_N, true>(tile + buffer(j) * KV_BYTES + (uint32_t)at,
                                 from + (int64_t)(j * BLOCK_N) * stride, (int)(at >> 32), stride,
                                 p.seqlen_k - j * BLOCK_N);
    };
    auto load_k = [&](int j) { load(KEPT_K, b.k_tile, p.k_stride[2], j); };
    auto load_v = [&](int j) {
        if (use_v && is_seen(j)) {
            load(KEPT_V, b.v_tile, p.v_stride[2], j);
        }
    };
    // Stores S of tile j as it is wanted, and hides what is not seen.
    auto finish_s = [&](float(&s)[MT][4 * NT], int j) {
        const int key0 = j * BLOCK_N;
        if (SCORES == FASC_SCORES_LOGITS) {
            store_scores(p, b, key0, 0,
                         [&](int mt, int i) { return s[mt][i] * fabs_f32(p.scale); });
        }
        if (STATISTICS && p.scale == 0.0f) { // no maximum among what is all the same
#pragma unroll
            for (int mt = 0; mt < MT; mt++) {
                softmax_zero(s[mt]);
            }
        }
        if (EXTRAS && p.mask.data) {
#pragma unroll
            for (int mt = 0; mt < MT; mt++) {
                const Block at = renewed(b);
                const Visible counted = STATISTICS ? counted_keys(p, at, mt, key0) : Visible();
                add_mask(s[mt], statistics[mt], counted, p, at, mt, key0);
            }
        } else if (STATISTICS && p.statistics.row_sum) {
#pragma unroll
            for (int mt = 0; mt < MT; mt++) {
                statistics_sum<LaneColumns>(statistics[mt], s[mt],
                                            counted_keys(p, renewed(b), mt, key0));
            }
        }
        const TileRange r = kept_range(b);
        if (j < r.full_begin || j >= r.full_end) {
#pragma unroll
            for (int mt = 0; mt < MT; mt++) {
                hide(s[mt], p, renewed(b), mt, key0);
            }
        }
        if (SCORES == FASC_SCORES_MASKED) {
            // a hidden -inf stays what it is under any scale
            store_scores(p, b, key0, kept_range(b).begin * BLOCK_N, [&](int mt, int i) {
                return s[mt][i] == -INFINITY_F32 ? -INFINITY_F32 : s[mt][i] * p.unit;
            });
        }
    };
    // Takes S into the maxima, and brings what there is so far under them.
    auto maxima = [&](float(&s)[MT][4 * NT], int j) {
        float max[MT][2];
        bool grown = false;
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                max[mt][half] = tile_max(s[mt], rows[mt].max[half], half);
                // written so that a NaN counts as growth
                grown = grown || !((max[mt][half] - rows[mt].max[half]) * c <= p.slack);
            }
        }
        if (!__any_sync(FULL_MASK, grown)) {
            return;
        }
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            float factor[2];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                factor[half] = exp2_approx(__fmul_rn(rows[mt].max[half], c) -
                                           softmax_offset(max[mt][half], c));
            }
            if constexpr (STATISTICS) {
                const RowState risen = {{max[mt][0], max[mt][1]},
                                        {rows[mt].sum[0], rows[mt].sum[1]}};
                statistics_rise<LaneColumns, false>(statistics[mt], s[mt], risen, rows[mt].max,
                                                    factor, j * BLOCK_N + lane_key(renewed(b)), c);
            }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                rows[mt].sum[half] *= factor[half];
                rows[mt].max[half] = max[mt][half];
            }
            if (use_v) {
                softmax_rescale(o[mt], factor);
            }
        }
    };
    // S of tile j to P, and O += P V.
    auto weigh = [&](float(&s)[MT][4 * NT], int j) {
        const Block at = renewed(b);
        float offset[MT][2], distance[MT][2];
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            if constexpr (STATISTICS) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    distance[mt][half] = (float)(fragment_row(at, mt, half) + p.seqlen_k -
                                                 p.seqlen_q - j * BLOCK_N - lane_key(at));
                }
            }
            offset[mt][0] = softmax_offset(rows[mt].max[0], c);
            offset[mt][1] = softmax_offset(rows[mt].max[1], c);
            if constexpr (NORMALIZED) {
                probabilities(s[mt], lse2[mt], c);
            }
        }
#pragma unroll
        for (int kk = 0; kk < BLOCK_N / 16; kk++) {
            uint32_t a[MT][4];
#pragma unroll
            for (int mt = 0; mt < MT; mt++) {
                if constexpr (NORMALIZED) {
#pragma unroll
                    for (int n = 0; n < 4; n++) {
                        a[mt][n] = pack_16(s[mt][8 * kk + 2 * n], s[mt][8 * kk + 2 * n + 1]);
                    }
                } else if constexpr (STATISTICS) {
                    exponentials_and_statistics(s[mt], rows[mt], statistics[mt], offset[mt],
                                                distance[mt], c, kk, a[mt]);
                } else {
                    exponentials(s[mt], rows[mt], offset[mt], c, kk, a[mt]);
                }
            }
            if (EXTRAS && p.dropout.threshold) {
                const int head = kept_head(b);
#pragma unroll
                for (int mt = 0; mt < MT; mt++) {
                    drop(a[mt], p, at, head, mt, j * BLOCK_N, kk);
                }
            }
            if (use_v) {
                product_pv(o, a, at, b.v_tile + buffer(j) * KV_BYTES, kk);
            }
        }
        if constexpr (NORMALIZED) {
            store_scores(p, b, j * BLOCK_N, kept_range(b).begin * BLOCK_N,
                         [&](int mt, int i) { return s[mt][i]; });
        }
    };

    __syncthreads(); // the buffers are free: a walk before this one has ended
#pragma unroll
    for (int ahead = 0; ahead < (STAGES > 1 ? STAGES - 1 : 1); ahead++) {
        if (is_there(begin + ahead)) {
            load_k(begin + ahead);
            if (STAGES > 1) {
                load_v(begin + ahead);
            }
        }
        cp_async_commit();
    }
#pragma unroll 1
    for (int j = begin; is_there(j); j++) {
        const uint32_t k_tile = b.k_tile + buffer(j) * KV_BYTES;

        // K (and V, with several stages) of this step has arrived for all threads, and what the
        // step before it read is free.
        if (STAGES > 1) {
            cp_async_wait<(STAGES > 1 ? STAGES - 2 : 0)>();
            __syncthreads();
            if (is_there(j + STAGES - 1)) {
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
        if (STAGES == 1) { // K's buffer is free
            __syncthreads();
            if (is_there(j + 1)) {
                load_k(j + 1);
            }
            cp_async_commit();
        }
        finish_s(s, j);
        if (!is_seen(j) || !softmax) {
            continue;
        }
        if constexpr (!NORMALIZED) {
            maxima(s, j);
        }
        if (STAGES == 1) {
            cp_async_wait<1>();
            __syncthreads();
        }
        weigh(s, j);
    }
    if (SCORES != FASC_SCORES_NONE && !FIRST_OF_TWO) {
        const int end =
            SCORES == FASC_SCORES_LOGITS ? (p.seqlen_k + BLOCK_N - 1) / BLOCK_N : kept_range(b).end;
        if (SCORES == FASC_SCORES_LOGITS || kept_range(b).begin < end) {
            finish_scores(p, b, end * BLOCK_N);
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
    b.kept = b.k_tile + KV_BUFFERS * KV_BYTES;
    const TileRange range = tile_range(p, b.row0);

    RowState rows[MT];
    RowStatistics statistics[MT];
    float o[MT][4 * OUT_TILES], lse2[MT][2], inverse[MT][2];
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
        softmax_start(rows[mt]);
        statistics_start(statistics[mt]);
#pragma unroll
        for (int i = 0; i < 4 * OUT_TILES; i++) {
            o[mt][i] = 0.0f;
        }
    }
    keep_range(p, b, range);
    const int row = thread_row(p.head_dim);
    keep(b, KEPT_K, (uint64_t)thread_start(p.k, p.k_stride, b.batch, b.head_k));
    keep(b, KEPT_V, (uint64_t)thread_start(p.v, p.v_stride, b.batch, b.head_k));
    keep(b, KEPT_TILE, (uint64_t)row << 32 | thread_place<BLOCK_N, true>());
    if (SCORES != FASC_SCORES_NONE) {
        keep(b, KEPT_SCORES, (uint64_t)scores_start(p, b));
    }
    load_tile<BLOCK_M, false>(b.q_tile + thread_place<BLOCK_M, false>(),
                              thread_start(p.q, p.q_stride, b.batch, b.head) +
                                  (int64_t)b.row0 * p.q_stride[2],
                              row, p.q_stride[2], p.seqlen_q - b.row0);
    if (p.scale < 0.0f) { // then the largest raw score would not be the largest S
        cp_async_commit();
        cp_async_wait<0>();
        negate_tile<BLOCK_M>(b.q_tile + thread_place<BLOCK_M, false>());
    }
    if (SCORES == FASC_SCORES_MASKED || SCORES == FASC_SCORES_PROBS) {
        float hidden = SCORES == FASC_SCORES_MASKED ? -INFINITY_F32 : 0.0f;
        fill_scores(p, b, 0, range.begin * BLOCK_N, hidden);
        fill_scores(p, b, range.end * BLOCK_N, p.seqlen_k, hidden);
    }

    walk<SCORES == FASC_SCORES_PROBS>(p, b, range, rows, statistics, o, lse2);

    Block again = this_block(p); // so that nothing of it is kept during the walk
    again.q_tile = b.q_tile;
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
        softmax_finish(rows[mt], lse2[mt], p.unit_log2);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = fragment_row(again, mt, half);
            const bool empty = rows[mt].max[half] == -INFINITY_F32;
            if constexpr (STATISTICS) {
                const fasc_row_totals totals =
                    quad_totals(statistics[mt], half, rows[mt].max[half], rows[mt].sum[half]);
                if (row < p.seqlen_q && (again.lane & 3) == 0) {
                    store_totals(p.statistics, again.batch, again.head, row, totals, p.unit);
                }
            }
            if (row < p.seqlen_q && (again.lane & 3) == 0) {
                if (p.lse) {
                    p.lse[again.batch * p.lse_stride[0] + again.head * p.lse_stride[1] +
                          row * p.lse_stride[2]] = lse2[mt][half] * LN_2;
                }
                if (p.row_max) {
                    p.row_max[again.batch * p.row_max_stride[0] + again.head * p.row_max_stride[1] +
                              row * p.row_max_stride[2]] =
                        empty ? -INFINITY_F32 : rows[mt].max[half] * p.unit;
                }
            }
            lse2[mt][half] = empty ? 0.0f : lse2[mt][half];
            inverse[mt][half] = SCORES == FASC_SCORES_PROBS ? 1.0f
                                : empty                     ? 0.0f
                                                            : 1.0f / rows[mt].sum[half];
            inverse[mt][half] =
                EXTRAS ? inverse[mt][half] * p.dropout.keep_scale : inverse[mt][half];
        }
    }
    if constexpr (SCORES == FASC_SCORES_PROBS) {
        walk<false>(p, b, range, rows, statistics, o, lse2);
    }
    if (WANT_OUT && (!EXTRAS || p.out)) {
        uint32_t spoilt[MT];
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            spoilt[mt] = p.banded || p.mask.data || (EXTRAS && p.dropout.threshold)
                             ? spoilt_rows(o[mt], lse2[mt])
                             : 0;
        }
        store_out(p, again, o, inverse);
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            const Block at = this_block(p); // again, so that it takes no registers in the walk
            repair_tile(p, at.batch, at.head, at.row0 + (at.warp * MT + mt) * 16, spoilt[mt],
                        lse2[mt]);
        }
    }
}
