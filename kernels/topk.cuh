// topk.cuh - the largest scores of each of a warp's 16 rows and their columns, as tiles of scores
// pass by in registers. Accumulators lie as softmax.cuh says; scores are raw, in rising order of
// what they are worth; a hidden one is -inf and never kept.
//
// A row has a `floor`, the least score still wanted: what is below costs one comparison. What
// reaches it is put, by the lane that holds it, on the lane's own list in shared memory: no lane
// waits for another, and the order of columns does not matter. When some list of the warp is full
// the quad's are ranked together, the best KEPT of each row stay, spread over its four lists'
// front, and the last of them raises the floor. Keys are (score, lower column first), a total
// order: results are the same whatever came first.
//
// Lists: LENGTH entries, and one more that takes what no longer fits (and is thrown away: the
// group of scores is put again once there is room). An entry's score and column lie 128 bytes
// apart, so that a warp's lanes meet no bank twice.
#pragma once

#include "softmax.cuh"
#include "topk_keys.cuh"
#include "topk_params.h"

// The least number above x; a NaN, which raises no floor, above infinity.
__device__ __forceinline__ float topk_above(float x)
{
    const int32_t bits = (int32_t)float_bits(x);
    return bits_float((uint32_t)(x == 0.0f ? 1 : bits > 0 ? bits + 1 : bits - 1));
}

// RISING: columns come in rising order, so that a score that is no better than the kept ones is
// worse; else a score that equals the last of them may be wanted.
template <int KEPT, int LENGTH, bool RISING> struct RowTopK {
    static constexpr uint32_t SLOT = FASC_TOPK_SLOT; // [half][score, column][lane]
    static constexpr int FRONT = KEPT / 4;           // entries of a list that are kept ones
    static_assert(LENGTH > FRONT + 4, "room for a group of scores");

    uint32_t list;    // the lane's place in the warp's lists
    uint32_t next[2]; // of each half: where its next entry goes, less 256 half
    float floor[2];

    // `lists`: FASC_TOPK_BYTES(LENGTH) of the warp's own.
    __device__ __forceinline__ void start(uint32_t lists, int lane)
    {
        list = lists + 4 * lane;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            next[half] = list;
            floor[half] = -3.402823466e+38f;
        }
    }

    __device__ __forceinline__ void put(uint32_t at, float x, int column) const
    {
        topk_store(at, x);
        topk_store(at + 128, bits_float((uint32_t)column));
    }

    // The largest of the four scores of a half in group g, eight registers.
    template <int N>
    static __device__ __forceinline__ float top_of(const float (&s)[N], int g, int half)
    {
        const int i = 8 * g + 2 * half;
        return fmaxf_nan(fmaxf_nan(s[i], s[i + 1]), fmaxf_nan(s[i + 4], s[i + 5]));
    }

    // Puts a score that reaches its floor on the list.
    template <int HALF> __device__ __forceinline__ void put_wanted(float x, int column)
    {
        if (x >= floor[HALF]) {
            put(next[HALF] + 256 * HALF, x, column);
            next[HALF] = min(next[HALF] + SLOT, list + LENGTH * SLOT);
        }
    }

    __device__ __forceinline__ bool is_full() const
    {
        return next[0] == list + LENGTH * SLOT || next[1] == list + LENGTH * SLOT;
    }

    // Puts what reaches the floor of a half's scores in group g on the list; `first` is the lane's
    // first column.
    template <int HALF, int N>
    __device__ __forceinline__ void put_group(const float (&s)[N], int g, int first)
    {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int i = 8 * g + 2 * HALF + (e & 1) + 2 * (e & 2);
            put_wanted<HALF>(s[i], first + 8 * (i >> 2) + (i & 1));
        }
    }

    template <int N> __device__ __forceinline__ void add(const float (&s)[N], int first, int lane)
    {
        static_assert(N % 8 == 0 && N <= 128, "whole groups, a bit for each");
        uint32_t hits = 0; // bit 2 g + half: some score of the group reaches its floor
#pragma unroll
        for (int g = 0; g < N / 8; g++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                hits |= top_of(s, g, half) < floor[half] ? 0u : 1u << (2 * g + half);
            }
        }
        hits = __reduce_or_sync(FULL_MASK, hits);
#pragma unroll 1
        while (hits) {
            uint32_t rest = 0; // what did not fit, and all behind it
#pragma unroll
            for (int n = 0; n < N / 4; n++) {
                if (hits >> n & 1) {
                    const int half = n & 1;
                    const uint32_t before = next[half];
                    if (half) {
                        put_group<1>(s, n / 2, first);
                    } else {
                        put_group<0>(s, n / 2, first);
                    }
                    if (__any_sync(FULL_MASK, next[half] == list + LENGTH * SLOT)) {
                        next[half] = before;
                        rest = hits & (~0u << n);
                        hits = 0;
                    }
                }
            }
            if (rest) {
                settle(lane);
            }
            hits = rest;
        }
    }

    __device__ __forceinline__ void set_next(int half, uint32_t to)
    {
        next[0] = half ? next[0] : to;
        next[1] = half ? to : next[1];
    }

    __device__ __forceinline__ void raise(int half, float worst)
    {
        const float above = RISING ? topk_above(worst) : worst;
        const float least = worst == -INFINITY_F32 ? -3.402823466e+38f : above;
        floor[0] = half ? floor[0] : fmaxf(floor[0], least);
        floor[1] = half ? fmaxf(floor[1], least) : floor[1];
    }

    // Few are ranked: each lane counts what beats each of its entries, over the quad's lists. It is
    // a loop, short on purpose: instructions that run once a row come from far away.
    __device__ __forceinline__ void rank(int half, int lane)
    {
        const uint32_t at = list + 256 * half, quad = lane & 3, lane0 = at - 4 * quad;
        const uint32_t mine = ((half ? next[1] : next[0]) - list) / SLOT;
        const uint32_t most = __reduce_max_sync(FULL_MASK, mine);
        uint64_t key[LENGTH];
        uint32_t place[LENGTH];
#pragma unroll
        for (int n = 0; n < LENGTH; n++) {
            const uint32_t entry = at + n * SLOT;
            const uint64_t x = topk_key(topk_load(entry), (int)float_bits(topk_load(entry + 128)));
            key[n] = n < mine ? x : 0;
            place[n] = 0;
        }
        __syncwarp();
#pragma unroll 1
        for (uint32_t n = 0; n < 4 * most; n++) {
            const uint32_t from = n & 3, slot = n >> 2;
            const uint32_t theirs = __shfl_sync(FULL_MASK, mine, (lane & 28) + from);
            const uint32_t entry = lane0 + 4 * from + slot * SLOT;
            const uint64_t x = topk_key(topk_load(entry), (int)float_bits(topk_load(entry + 128)));
            const uint64_t other = slot < theirs ? x : 0;
#pragma unroll
            for (int m = 0; m < LENGTH; m++) {
                place[m] += other > key[m];
            }
        }
        __syncwarp();
        float worst = -INFINITY_F32;
#pragma unroll
        for (int n = 0; n < LENGTH; n++) {
            if (key[n] != 0 && place[n] < KEPT) {
                const float x = topk_score(key[n]);
                put(lane0 + place[n] % 4 * 4 + place[n] / 4 * SLOT, x, (int)~(uint32_t)key[n]);
                worst = place[n] == KEPT - 1 ? x : worst;
            }
        }
        worst = fmaxf(worst, __shfl_xor_sync(FULL_MASK, worst, 1));
        worst = fmaxf(worst, __shfl_xor_sync(FULL_MASK, worst, 2));
        raise(half, worst);
        uint32_t all = mine + __shfl_xor_sync(FULL_MASK, mine, 1);
        all += __shfl_xor_sync(FULL_MASK, all, 2);
        set_next(half, list + (min(all, (uint32_t)KEPT) + 3 - quad) / 4 * SLOT);
        __syncwarp();
    }

    // Many are sorted.
    __device__ __forceinline__ void sort(int half, int lane)
    {
        const uint32_t at = list + 256 * half, end = (half ? next[1] : next[0]) + 256 * half;
        uint64_t key[LENGTH];
#pragma unroll
        for (int n = 0; n < LENGTH; n++) {
            const uint32_t entry = at + n * SLOT;
            const uint64_t x = topk_key(topk_load(entry), (int)float_bits(topk_load(entry + 128)));
            key[n] = entry < end ? x : 0;
        }
        topk_sort_quad(key, lane);
        __syncwarp();
        const uint32_t quad = lane & 3, lane0 = at - 4 * quad;
#pragma unroll
        for (int n = 0; n < LENGTH && n < KEPT; n++) {
            const uint32_t rank = quad * LENGTH + n;
            if (rank < KEPT) {
                put(lane0 + rank % 4 * 4 + rank / 4 * SLOT, topk_score(key[n]),
                    (int)~(uint32_t)key[n]);
            }
        }
        const uint64_t last =
            __shfl_sync(FULL_MASK, key[(KEPT - 1) % LENGTH], (lane & 28) + (KEPT - 1) / LENGTH);
        raise(half, last ? topk_score(last) : -INFINITY_F32);
        const uint32_t mine = (end - at) / SLOT;
        uint32_t all = mine + __shfl_xor_sync(FULL_MASK, mine, 1);
        all += __shfl_xor_sync(FULL_MASK, all, 2);
        set_next(half, list + (min(all, (uint32_t)KEPT) + 3 - quad) / 4 * SLOT);
        __syncwarp();
    }

    // Leaves the best KEPT of a half's rows, number r on lane r % 4 of its quad in entry r / 4.
    __device__ __forceinline__ void settle_half(int half, int lane)
    {
        if constexpr (LENGTH <= 16) {
            rank(half, lane);
        } else {
            sort(half, lane);
        }
    }

    // Makes room on the lists.
    __device__ __forceinline__ void settle(int lane)
    {
#pragma unroll 1
        for (int half = 0; half < 2; half++) {
            settle_half(half, lane);
        }
    }

    __device__ __forceinline__ void store(const fasc_topk_params &p, int64_t batch, int64_t head,
                                          int row, int rank, float x, int column) const
    {
        if (rank >= p.k) {
            return;
        }
        if (p.values) {
            const int64_t *stride = p.stride[0];
            p.values[batch * stride[0] + head * stride[1] + row * stride[2] + rank * stride[3]] = x;
        }
        if (p.indices) {
            const int64_t *stride = p.stride[1];
            p.indices[batch * stride[0] + head * stride[1] + row * stride[2] + rank * stride[3]] =
                column;
        }
    }

    // Stores a row's best, scores times `unit`. `row` is the lane's first of those up to `rows`;
    // empty places are -inf and column -1.
    __device__ __forceinline__ void finish(const fasc_topk_params &p, int64_t batch, int64_t head,
                                           int row, int rows, float unit, int lane)
    {
#pragma unroll 1
        for (int half = 0; half < 2; half++) {
            const int r = row + 8 * half;
            settle_half(half, lane);
#pragma unroll 1
            for (int n = 0; n < FRONT && r < rows; n++) {
                const uint32_t entry = list + n * SLOT + 256 * half;
                const int column = (int)float_bits(topk_load(entry + 128));
                const bool empty = entry - 256 * half >= (half ? next[1] : next[0]);
                store(p, batch, head, r, 4 * n + (lane & 3),
                      empty ? -INFINITY_F32 : topk_load(entry) * unit, empty ? -1 : column);
            }
        }
    }
};
