// sm90_producer.cuh - the thread of flash_sm90 that loads Q, K and V by TMA and deals out tiles.
#pragma once

#include "sm90_mbarrier.cuh"
#include "sm90_tiles.cuh"
#include "sm90_tma.cuh"

struct Producer {
    const fasc_flash_sm90_params &p;
    uint32_t smem;
    Barriers barriers;
    CountingRing<STAGES> k, v;

    __device__ __forceinline__ void load_q(const Tile &t) const
    {
        mbarrier_arrive_expect(barriers.q_full(), Q_BYTES);
#pragma unroll
        for (int panel = 0; panel < PANELS; panel++) {
            const uint32_t to = smem + Q_AT + panel * BLOCK_M * 128;
            if (CLASSES) {
                const fasc_sm90_classes &x = classes_of(p);
                const int of = t.row0 & ((1 << x.shift) - 1);
                tma_load(to, &x.q_map[of < x.longer ? 0 : 1], barriers.q_full(), panel * 64,
                         t.row0 >> x.shift, of, t.head, t.batch, L2_EVICT_FIRST);
            } else {
                tma_load(to, &p.q_map, barriers.q_full(), panel * 64, t.row0, t.head, t.batch,
                         L2_EVICT_FIRST);
            }
        }
    }

    __device__ __forceinline__ void load_k(const Tile &t, int head_k, int j)
    {
        mbarrier_wait(barriers.k_empty(k.index()), k.parity(), FASC_BARRIER_K_EMPTY, p.watchdog);
        uint32_t full = barriers.k_full(k.index()), to = smem + K_AT + k.index() * KV_BYTES;
        mbarrier_arrive_expect(full, KV_BYTES);
#pragma unroll
        for (int panel = 0; panel < PANELS; panel++) {
            tma_load(to + panel * BLOCK_N * 128, &p.k_map, full, panel * 64, first_key(t, j),
                     head_k, t.batch, L2_EVICT_LAST);
        }
        k.advance();
    }

    __device__ __forceinline__ void load_v(const Tile &t, int head_k, int j)
    {
        mbarrier_wait(barriers.v_empty(v.index()), v.parity(), FASC_BARRIER_V_EMPTY, p.watchdog);
        uint32_t full = barriers.v_full(v.index()), to = smem + V_AT + v.index() * KV_BYTES;
        mbarrier_arrive_expect(full, KV_BYTES);
#pragma unroll
        for (int panel = 0; panel < PANELS; panel++) {
            tma_load(to + panel * BLOCK_N * 128, &p.v_map, full, panel * 64, first_key(t, j),
                     head_k, t.batch, L2_EVICT_LAST);
        }
        v.advance();
    }

    // A tile's K and V in the order that consumers take them: K0 K1 V0 K2 V1 ...
    __device__ __forceinline__ void load_keys(const Tile &t)
    {
        const int head_k = t.head / p.flash.group;
        if (SCORES == FASC_SCORES_PROBS) { // the first walk needs K alone
            for (int j = t.end - 1; j >= t.begin; j--) {
                load_k(t, head_k, j);
            }
        }
        int first = first_key_tile(t), v_tile = -1; // V's tile that the next K comes before
        for (int j = end_key_tile(t) - 1; j >= first; j--) {
            load_k(t, head_k, j);
            if (WANT_OUT) {
                if (v_tile >= 0) {
                    load_v(t, head_k, v_tile);
                }
                v_tile = j >= t.begin && j < t.end ? j : -1;
            }
        }
        if (WANT_OUT && v_tile >= 0) {
            load_v(t, head_k, v_tile);
        }
        for (int look = 0; look < looks_of(t); look++) {
            load_k(t, head_k, t.end - 1 - look);
        }
    }
};

// One thread. The number of the next tile travels with Q's full barrier; -1 ends the block's work.
__device__ __forceinline__ void produce(const fasc_flash_sm90_params &p, uint32_t smem,
                                        Barriers barriers)
{
    Producer producer = {p, smem, barriers, CountingRing<STAGES>(1), CountingRing<STAGES>(1)};
    uint32_t q_parity = 1;
    int index = blockIdx.x;
    while (true) {
        mbarrier_wait(barriers.q_empty(), q_parity, FASC_BARRIER_Q_EMPTY, p.watchdog);
        q_parity ^= 1;
        bool work = index < p.tiles;
        store_shared_4(smem + TILE_AT, work ? index : -1);
        if (!work) {
            mbarrier_arrive(barriers.q_full());
            break;
        }
        Tile t = tile_at(p, index);
        producer.load_q(t);
        int next =
            p.tile_counter ? (int)gridDim.x + atomicAdd(p.tile_counter, 1) : index + (int)gridDim.x;
        producer.load_keys(t);
        index = next;
    }
}
