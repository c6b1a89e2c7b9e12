// sm90_consumer.cuh - a consumer warpgroup of flash_sm90: 64 query rows, from products to results.
//
// A tile's keys are walked from the last one down. walk_overlap and walk_pingpong are the two
// schedules of the walk that makes O; the others need no V.
#pragma once

#include "sm90_mbarrier.cuh"
#include "sm90_probabilities.cuh"
#include "sm90_results.cuh"
#include "sm90_statistics.cuh"
#include "sm90_stores.cuh"
#include "sm90_wgmma.cuh"
#include "softmax.cuh"
#include "topk_records.cuh"

// Taking turns to issue products: warpgroup `group` waits for its turn, then hands it on. The first
// turn of all is warpgroup 0's (see consume). Where the overlap's products are long (head_dim >
// 128), turns do not pay.
constexpr bool TURNS = WANT_OUT && CONSUMERS > 1 &&
                       (SCHEDULE == FASC_SCHEDULE_PINGPONG || HEAD_DIM <= 128);

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
    const fasc_flash_sm90_params &p;
    const fasc_flash_params &f;
    Barriers barriers;
    CountingRing<STAGES> k, v;
    ScoreStore scores;
    RowStatistics statistics;
    RecordTopK<FASC_TOPK_FEW, FASC_TOPK_FEW_LENGTH> best;
    int group, lane, row0; // warpgroup; first row of the warp within the tile
    uint64_t q_descriptor, k_descriptor, v_descriptor;
    float scale, c; // of logits, without its sign; of logits in base 2
    bool negate;
    uint32_t lists; // the warp's, of top-k

    // ---- products ----

    // Issues S = Q K^T for the K tile in the ring's current stage.
    __device__ __forceinline__ void issue_qk(float (&s)[S_REGISTERS]) const
    {
        const uint64_t tile = wgmma_advance(k_descriptor, k.index() * KV_BYTES);
#pragma unroll
        for (int step = 0; step < QK_STEPS; step++) {
            uint64_t a = wgmma_advance(q_descriptor, step / 4 * BLOCK_M * 128 + step % 4 * 32);
            uint64_t b = wgmma_advance(tile, step / 4 * BLOCK_N * 128 + step % 4 * 32);
            if (step == 0) {
                Wgmma<BLOCK_N>::first(s, a, b);
            } else {
                Wgmma<BLOCK_N>::add(s, a, b);
            }
        }
    }

    // Issues O += P V.
    __device__ __forceinline__ void issue_pv(float (&o)[O_REGISTERS],
                                             const uint32_t (&pairs)[S_REGISTERS / 2]) const
    {
        const uint64_t tile = wgmma_advance(v_descriptor, v.index() * KV_BYTES);
#pragma unroll
        for (int step = 0; step < BLOCK_N / 16; step++) {
            Wgmma<V_COLUMNS>::add_from_registers(o, pairs[4 * step], pairs[4 * step + 1],
                                                 pairs[4 * step + 2], pairs[4 * step + 3],
                                                 wgmma_advance(tile, step * 2048));
        }
    }

    __device__ __forceinline__ void wait_k() const
    {
        mbarrier_wait(barriers.k_full(k.index()), k.parity(), FASC_BARRIER_K_FULL, p.watchdog);
    }

    __device__ __forceinline__ void wait_v() const
    {
        mbarrier_wait(barriers.v_full(v.index()), v.parity(), FASC_BARRIER_V_FULL, p.watchdog);
    }

    __device__ __forceinline__ void release_k()
    {
        if (lane == 0) {
            mbarrier_arrive(barriers.k_empty(k.index()));
        }
        k.advance();
    }

    __device__ __forceinline__ void release_v()
    {
        if (lane == 0) {
            mbarrier_arrive(barriers.v_empty(v.index()));
        }
        v.advance();
    }

    __device__ __forceinline__ void release_q() const
    {
        __syncwarp();
        if (lane == 0) {
            mbarrier_arrive(barriers.q_empty());
        }
    }

    // S = Q K^T, complete.
    __device__ __forceinline__ void product_qk(float (&s)[S_REGISTERS])
    {
        wait_k();
        wgmma_fence();
        issue_qk(s);
        wgmma_commit();
        wgmma_wait<0>();
        hold_registers(s);
        release_k();
    }

    // ---- what happens to a tile of S ----

    // For wait_for: three warpgroups whose S and O take 128 of 160 registers need the order.
    __device__ __forceinline__ uint32_t nothing() const
    {
        return CONSUMERS == 3 && HEAD_DIM > 64 && STORES ? p.nothing : 0;
    }

    // The lane's first column of key tile j, and the first of its two rows.
    __device__ __forceinline__ int column_of(const Tile &t, int j) const
    {
        return first_key(t, j) + 2 * (lane & 3);
    }

    __device__ __forceinline__ int row_of(const Tile &t) const
    {
        return row_at(p, t, row0 + (lane >> 2));
    }

    // Whether every row of the block sees all of key tile j.
    __device__ __forceinline__ bool is_full(const Tile &t, int j) const
    {
        const int begin = first_key(t, j);
        return begin + BLOCK_N - 1 <= t.full_last &&
               ((MASK == FASC_MASK_NONE && !CLASSES) || begin >= t.full_first);
    }

    // What the lane's rows see of key tile j, within keys [begin, end).
    __device__ __forceinline__ Visible visible(const Tile &t, int j, int begin, int end) const
    {
        Visible v;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = row_of(t) + (8 * half << row_shift(p)), first = begin, last = end - 1;
            if (MASK == FASC_MASK_BAND) {
                first = max(first, row + band_edge(f.lo));
                last = min(last, row + band_edge(f.hi));
            }
            v.first[half] = first - column_of(t, j);
            v.last[half] = last - column_of(t, j);
        }
        return v;
    }

    // Puts `hidden` where a row does not see a key.
    __device__ __forceinline__ void mask(const Tile &t, int j, float (&s)[S_REGISTERS],
                                         float hidden) const
    {
        const Tile here = scores.places().with_full(t);
        if (!is_full(here, j)) {
            softmax_mask(s, visible(here, j, 0, f.seqlen_k), hidden);
        }
    }

    __device__ __forceinline__ void add_row_sum(const Tile &t, int j, const float (&s)[S_REGISTERS])
    {
        const int begin = f.statistics.key_begin, end = f.statistics.key_end;
        if (!f.statistics.row_sum) {
            return;
        }
        if (is_full(t, j) && j * BLOCK_N >= begin && (j + 1) * BLOCK_N <= end) {
            statistics_sum<true>(statistics, s, Visible{});
        } else {
            statistics_sum<false>(statistics, s, visible(t, j, begin, end));
        }
    }

    // The online softmax with the statistics of rows.
    __device__ __forceinline__ void softmax_and_statistics(const Tile &t, int j,
                                                           float (&s)[S_REGISTERS], RowState &r,
                                                           float (&factor)[2])
    {
        const float was[2] = {r.max[0], r.max[1]};
        softmax_update_max(r, factor, s, c);
        statistics_rise(statistics, s, r, was, factor, column_of(t, j), c);
        float distance[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            distance[half] =
                (float)(row_of(t) + 8 * half + f.seqlen_k - f.seqlen_q - column_of(t, j));
        }
        statistics_exponentials(statistics, s, r, factor, distance, c);
    }

    // The online softmax, and the row's largest scores.
    __device__ __forceinline__ void softmax_and_topk(const Tile &t, int j, float (&s)[S_REGISTERS],
                                                     RowState &r, float (&factor)[2])
    {
        float top[2];
        if (t.end - 1 - j < looks_of(t)) {
            best.look(s, top);
        } else {
            best.add(s, j, true, top);
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            softmax_rise(r, factor, half, fmaxf_nan(r.max[half], top[half]), c);
        }
        softmax_exponentials(s, r, factor, c, nothing());
    }

    // The tiles that top-k has only looked at.
    __device__ __forceinline__ void walk_looked_at(const Tile &t)
    {
#pragma unroll 1
        for (int look = 0; look < looks_of(t); look++) {
            const int j = t.end - 1 - look;
            float s[S_REGISTERS], top[2];
            best.make_room<S_REGISTERS>(lane);
            product_qk(s);
            if (negate) {
                softmax_negate(s);
            }
            if (scale == 0.0f) {
                softmax_zero(s);
            }
            mask(t, j, s, -INFINITY_F32);
            best.add(s, j, false, top);
        }
    }

    // Stores, masks, and turns S into 2^(s c - max c); what came before is worth `factor` of what
    // it was.
    __device__ __forceinline__ void softmax(const Tile &t, int j, float (&s)[S_REGISTERS],
                                            RowState &r, float (&factor)[2])
    {
        if (negate) {
            softmax_negate(s);
        }
        if (SCORES == FASC_SCORES_LOGITS) {
            scores.store(t, j, s, scale);
        }
        if ((SCORES == FASC_SCORES_MASKED || STATISTICS || TOPK) && scale == 0.0f) {
            softmax_zero(s); // the logits are zeros, and a hidden -inf must not be multiplied by 0
        }
        if (STATISTICS) {
            add_row_sum(t, j, s);
        }
        mask(t, j, s, -INFINITY_F32);
        if (SCORES == FASC_SCORES_MASKED) {
            scores.store(t, j, s, scale == 0.0f ? 1.0f : scale);
        }
        if (STATISTICS) {
            softmax_and_statistics(t, j, s, r, factor);
        } else if (TOPK) {
            softmax_and_topk(t, j, s, r, factor);
        } else if (WANT_OUT || WANT_STATS || SCORES == FASC_SCORES_PROBS) {
            softmax_update_max(r, factor, s, c);
            softmax_exponentials(s, r, factor, c, nothing());
        }
        if (DROPOUT) {
            drop_weights(f.dropout, s, t.batch * f.heads_q + t.head, t.row0 + row0, column_of(t, j),
                         lane);
        }
    }

    // Turns S into final probabilities.
    __device__ __forceinline__ void probabilities(const Tile &t, int j, float (&s)[S_REGISTERS],
                                                  const float (&log2_sum)[2]) const
    {
        if (negate) {
            softmax_negate(s);
        }
        final_probabilities<SCORES_F32 || FASC_BF16>(s, log2_sum, c,
                                                     nothing()); // bf16: f32's range
        mask(t, j, s, 0.0f);
    }

    // S to the weights that P V takes, and `factor`: what O so far is worth under them.
    __device__ __forceinline__ void weights(const Tile &t, int j, float (&s)[S_REGISTERS],
                                            RowState &r, const float (&log2_sum)[2],
                                            float (&factor)[2])
    {
        if (SCORES == FASC_SCORES_PROBS) {
            probabilities(t, j, s, log2_sum);
        } else {
            softmax(t, j, s, r, factor);
        }
    }

    __device__ __forceinline__ void pack_weights(const Tile &t, int j,
                                                 const float (&s)[S_REGISTERS],
                                                 uint32_t (&pairs)[S_REGISTERS / 2])
    {
#pragma unroll
        for (int i = 0; i < S_REGISTERS / 2; i++) {
            pairs[i] = pack_16(s[2 * i], s[2 * i + 1]);
        }
        if (SCORES == FASC_SCORES_PROBS) {
            if (SCORES_F32) {
                scores.store(t, j, s, 1.0f);
            } else {
                scores.store_packed(t, j, pairs);
            }
        }
    }

    // ---- walks over the key tiles ----

    // Key tiles [begin, end): only the scores.
    __device__ __forceinline__ void walk_logits(const Tile &t, int begin, int end)
    {
        for (int j = end - 1; j >= begin; j--) {
            float s[S_REGISTERS];
            product_qk(s);
            scores.store(t, j, s, negate ? -scale : scale);
        }
    }

    // The visible tiles, without V: row statistics, and scores unless they need the statistics.
    __device__ __forceinline__ void walk_statistics(const Tile &t, RowState &r)
    {
        for (int j = t.end - 1; j >= t.begin; j--) {
            float s[S_REGISTERS], factor[2];
            product_qk(s);
            softmax(t, j, s, r, factor);
        }
    }

    // The visible tiles, without V: P.
    __device__ __forceinline__ void walk_probabilities(const Tile &t, const float (&log2_sum)[2])
    {
        for (int j = t.end - 1; j >= t.begin; j--) {
            float s[S_REGISTERS];
            product_qk(s);
            probabilities(t, j, s, log2_sum);
            scores.store(t, j, s, 1.0f);
        }
    }

    // Where the key tiles end that the warpgroup sees, of those that its block does; one at least.
    __device__ __forceinline__ int seen_end(const Tile &t) const
    {
        if (!CLASSES || MASK == FASC_MASK_NONE || SCORES != FASC_SCORES_LOGITS) {
            return t.end;
        }
        return max(min(scores.places().with_full(t).end, t.end), t.begin + 1);
    }

    // Key tiles [begin, t.end), which other warpgroups of the block see: only the scores, and this
    // one's part in the barriers.
    __device__ __forceinline__ void walk_unseen(const Tile &t, int begin)
    {
        constexpr bool PINGPONG = SCHEDULE == FASC_SCHEDULE_PINGPONG;
#pragma unroll 1
        for (int j = t.end - 1; j >= begin; j--) {
            float s[S_REGISTERS];
            if (!PINGPONG) {
                turn_wait(group);
            }
            wait_k();
            wgmma_fence();
            issue_qk(s);
            wgmma_commit();
            turn_pass(group);
            wgmma_wait<0>();
            hold_registers(s);
            release_k();
            scores.store(t, j, s, negate ? -scale : scale);
            wait_v();
            if (PINGPONG) {
                turn_wait(group);
            }
            release_v();
        }
    }

    // The visible tiles with V. At least one. last_use: no product needs Q afterwards.
    __device__ __forceinline__ void walk_overlap(const Tile &t, RowState &r,
                                                 const float (&log2_sum)[2],
                                                 float (&o)[O_REGISTERS], bool last_use)
    {
        float s[S_REGISTERS], factor[2];
        uint32_t pairs[S_REGISTERS / 2];
        const int end = seen_end(t);
        if (CLASSES) {
            walk_unseen(t, end);
        }
        product_qk(s);
        weights(t, end - 1, s, r, log2_sum, factor);
        pack_weights(t, end - 1, s, pairs);
        if (end - 1 > t.begin) {
            wait_k();
        }
#pragma unroll 1
        for (int j = end - 2; j >= t.begin; j--) {
            turn_wait(group);
            wgmma_fence();
            issue_qk(s);
            wgmma_commit();
            wait_v();
            issue_pv(o, pairs);
            wgmma_commit();
            turn_pass(group);
            wgmma_wait<1>();
            hold_registers(s);
            release_k();
            weights(t, j, s, r, log2_sum, factor);
            hold_registers(s);
            if (j > t.begin) { // a basic block of its own: ptxas would move the wait below above
                wait_k();      // the softmax
            }
            wgmma_wait<0>();
            hold_registers(o);
            hold_registers(s);
            release_v();
            pack_weights(t, j, s, pairs);
            if (SCORES != FASC_SCORES_PROBS) {
                softmax_rescale(o, factor);
            }
            if (TOPK) {
                best.make_room<S_REGISTERS>(lane);
            }
        }
        if (last_use) {
            release_q();
        }
        wait_v();
        wgmma_fence();
        issue_pv(o, pairs);
        wgmma_commit();
        wgmma_wait<0>();
        hold_registers(o);
        release_v();
    }

    __device__ __forceinline__ void walk_pingpong(const Tile &t, RowState &r,
                                                  const float (&log2_sum)[2],
                                                  float (&o)[O_REGISTERS], bool last_use)
    {
        turn_wait(group);
        const int end = seen_end(t);
        if (CLASSES) {
            walk_unseen(t, end);
        }
#pragma unroll 1
        for (int j = end - 1; j >= t.begin; j--) {
            float s[S_REGISTERS], factor[2];
            uint32_t pairs[S_REGISTERS / 2];
            wait_k();
            wgmma_fence();
            issue_qk(s);
            wgmma_commit();
            turn_pass(group);
            wgmma_wait<0>();
            hold_registers(s);
            release_k();
            weights(t, j, s, r, log2_sum, factor);
            pack_weights(t, j, s, pairs);
            if (SCORES != FASC_SCORES_PROBS) {
                softmax_rescale(o, factor);
            }
            if (TOPK) {
                best.make_room<S_REGISTERS>(lane);
            }
            wait_v();
            turn_wait(group);
            wgmma_fence();
            issue_pv(o, pairs);
            wgmma_commit();
            wgmma_wait<0>();
            hold_registers(o);
            release_v();
        }
        turn_pass(group);
        if (last_use) {
            release_q();
        }
    }

    // ---- a tile ----

    // O's rows, finished, to memory. Rows that a hidden key's NaN or infinity spoilt are summed
    // again.
    __device__ __forceinline__ void finish_out(const Tile &t, float (&o)[O_REGISTERS],
                                               const RowState &r, const float (&log2_sum)[2])
    {
        float lse2[2];
#pragma unroll
        for (int half = 0; half < 2; half++) { // a row that sees nothing is 0, and finite
            lse2[half] = r.max[half] == -INFINITY_F32 ? 0.0f : log2_sum[half];
        }
        const Tile here = scores.placed(t);
        const int row = row_at(p, here, row0);
        const bool leaves_out = MASK == FASC_MASK_BAND && (f.banded || DROPOUT);
        const uint32_t spoilt = leaves_out ? spoilt_rows(o, lse2) : 0;
        scores.drain();
        store_out(p, here, row0, o, scores.batch, lane);
        if (MASK == FASC_MASK_BAND) {
            repair_tile(f, here.batch, here.head, row, spoilt, lse2, 1 << row_shift(p));
        }
    }

    // A tile that has no rows for this warpgroup: its part in the barriers, as in walk_pingpong.
    __device__ __forceinline__ void idle(const Tile &t)
    {
        static_assert(!IDLES || SCHEDULE == FASC_SCHEDULE_PINGPONG, "whose turns these are");
        if (SCORES == FASC_SCORES_PROBS) {
            for (int j = t.begin; j < t.end; j++) {
                wait_k();
                release_k();
            }
        }
        for (int j = end_key_tile(t) - 1; j >= first_key_tile(t); j--) {
            const bool with_v = WANT_OUT && j >= t.begin && j < t.end;
            if (with_v && j == t.end - 1) {
                turn_wait(group);
            }
            wait_k();
            release_k();
            if (with_v) {
                turn_pass(group);
                wait_v();
                turn_wait(group);
                release_v();
            }
            if (with_v && j == t.begin) {
                turn_pass(group);
            }
        }
        release_q();
    }

    // Rows of one class lie far apart: what a warpgroup sees is much less than what its block does.
    __device__ __forceinline__ void keep(const Tile &t) const
    {
        Tile own = t;
        if (CLASSES && MASK == FASC_MASK_BAND) {
            const int last = min(row_at(p, t, group * 64 + 63), f.seqlen_q - 1);
            see(p, own, row_at(p, t, group * 64), last);
        }
        scores.places().keep(own, lane);
    }

    __device__ __forceinline__ void tile(const Tile &t)
    {
        if (IDLES && row_at(p, t, group * 64) >= t.row1) {
            idle(t);
            return;
        }
        scores.start();
        keep(t);
        RowState r;
        softmax_start(r);
        statistics_start(statistics);
        if (TOPK) {
            const int warp = row0 / 16;
            best.start(lists,
                       p.topk.room +
                           (blockIdx.x * CONSUMER_WARPS + warp) * FASC_TOPK_ROOM(FASC_TOPK_FEW),
                       lane);
        }
        float o[O_REGISTERS], log2_sum[2];
#pragma unroll
        for (int i = 0; i < O_REGISTERS; i++) {
            o[i] = 0.0f;
        }
        const bool any = t.end > t.begin;
        const bool logits_below = first_key_tile(t) < t.begin;
        if (SCORES == FASC_SCORES_LOGITS) {
            walk_logits(t, t.end, end_key_tile(t));
        }
        if (!WANT_OUT || SCORES == FASC_SCORES_PROBS) {
            walk_statistics(t, r);
            softmax_finish(r, log2_sum, c);
        }
        if (!WANT_OUT) {
            if (SCORES == FASC_SCORES_PROBS) {
                walk_probabilities(t, log2_sum);
            }
        } else if (any) {
            if (SCHEDULE == FASC_SCHEDULE_OVERLAP) {
                walk_overlap(t, r, log2_sum, o, !logits_below && !TOPK);
            } else {
                walk_pingpong(t, r, log2_sum, o, !logits_below && !TOPK);
            }
            walk_looked_at(t);
        }
        if (SCORES == FASC_SCORES_LOGITS) {
            walk_logits(t, first_key_tile(t), t.begin);
        }
        if (!WANT_OUT || !any || logits_below || TOPK) {
            release_q();
        }
        if (WANT_OUT && SCORES != FASC_SCORES_PROBS) {
            softmax_finish(r, log2_sum, c);
            float factor[2];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                factor[half] = r.max[half] == -INFINITY_F32 ? 0.0f : 1.0f / r.sum[half];
                factor[half] *= DROPOUT ? f.dropout.keep_scale : 1.0f;
            }
            softmax_rescale(o, factor);
        }
        if (WANT_OUT || WANT_STATS || SCORES == FASC_SCORES_PROBS) {
            store_statistics(p, scores.placed(t), row0, r, log2_sum, scale, lane);
        }
        if (STATISTICS) {
            store_row_statistics(f.statistics, t, t.row0 + row0, f.seqlen_q, r, statistics, scale,
                                 lane);
        }
        if (TOPK) {
            best.finish(p.topk, t.batch, t.head, row_of(t), f.seqlen_q, scale, lane);
        }
        if (WANT_OUT) {
            finish_out(t, o, r, log2_sum);
        }
    }
};

// Consumer warp `warp`: tiles until there are no more.
__device__ __forceinline__ void consume(const fasc_flash_sm90_params &p, uint32_t smem,
                                        Barriers barriers, int warp, int lane)
{
    const int group = warp / 4;
    const float scale = p.flash.scale;
    Consumer consumer = {p,
                         p.flash,
                         barriers,
                         CountingRing<STAGES>(0),
                         CountingRing<STAGES>(0),
                         {p, smem + STAGE_AT + warp * STAGE_BYTES, 0, warp * 16, lane, 0},
                         {},
                         {},
                         group,
                         lane,
                         warp * 16,
                         wgmma_descriptor(smem + Q_AT + group * 64 * 128, 0),
                         wgmma_descriptor(smem + K_AT, 0),
                         wgmma_descriptor(smem + V_AT, BLOCK_N * 128),
                         fabs_f32(scale),
                         softmax_scale_log2(scale),
                         scale < 0.0f,
                         smem + LISTS_AT + warp * LIST_BYTES};
    if (group == CONSUMERS - 1) {
        turn_pass(group); // the first turn is warpgroup 0's
    }
    uint32_t q_parity = 0;
    while (true) {
        mbarrier_wait(barriers.q_full(), q_parity, FASC_BARRIER_Q_FULL, p.watchdog);
        q_parity ^= 1;
        int index = __shfl_sync(FULL_MASK, (int)load_shared_4(smem + TILE_AT), 0);
        if (index < 0) {
            break;
        }
        consumer.tile(tile_at(p, index));
    }
    if (STORES_BY_TMA && lane == 0) {
        tma_wait_all();
    }
}
