// reducer_topk.cuh - the largest scores of each of a warp's 16 rows and their columns, as a reducer
// passes the columns by. Accumulators lie as softmax.cuh says; scores are raw, in rising order of
// what they are worth; a hidden one is -inf and never kept.
//
// `floor` is a score that as many kept ones reach as are wanted: what is not above it is dropped at
// the cost of one comparison. The order is total (a larger score first, then a lower column), so
// the result does not depend on who came first. A score that equals the floor at the start of a
// tile or piece of columns loses to it: all kept columns are lower.
//
// LaneTopK, for few: each lane keeps the best of its own columns, sorted; lanes meet only for the
// floor and at the end. QuadTopK, for many: a row's best lie over the registers of its quad, in no
// order, and the quad's lanes insert together.
#pragma once

#include "reducer_tiles.cuh"

constexpr int NO_COLUMN = 1 << 30; // and above: an empty slot

__device__ __forceinline__ bool beats(float a, int column_a, float b, int column_b)
{
    return a > b || (a == b && column_a < column_b);
}

// x[e] of WIDTH registers (8 or 16) without an address.
template <int WIDTH> __device__ __forceinline__ float pick(const float *x, int e)
{
    float y[8];
#pragma unroll
    for (int n = 0; n < WIDTH / 2; n++) {
        y[n] = e & 1 ? x[2 * n + 1] : x[2 * n];
    }
#pragma unroll
    for (int n = 0; n < WIDTH / 4; n++) {
        y[n] = e & 2 ? y[2 * n + 1] : y[2 * n];
    }
    y[0] = e & 4 ? y[1] : y[0];
    if (WIDTH == 8) {
        return y[0];
    }
    y[1] = e & 4 ? y[3] : y[2];
    return e & 8 ? y[1] : y[0];
}

// Bit e of the result: some lane's s[i + e] of 16 is above its row's floor.
__device__ __forceinline__ uint32_t find_hits(const float *s, const float (&floor)[2])
{
    bool any = false;
#pragma unroll
    for (int e = 0; e < 16; e++) {
        any = any || s[e] > floor[(e >> 1) & 1];
    }
    if (!__any_sync(FULL_MASK, any)) {
        return 0;
    }
    uint32_t hits = 0;
#pragma unroll
    for (int e = 0; e < 16; e++) {
        hits |= s[e] > floor[(e >> 1) & 1] ? 1u << e : 0u;
    }
    return __reduce_or_sync(FULL_MASK, hits);
}

// Stores the entry that is number `rank` of its row.
__device__ __forceinline__ void store_best(const fasc_reducer_params &p, const Item &t, int row,
                                           int rank, float x, int column)
{
    if (row >= p.row_end || rank >= p.k) {
        return;
    }
    const bool empty = column >= NO_COLUMN;
    if (p.values.data) {
        ((float *)
             p.values.data)[output_at(p.values, t.batch, t.head, row) + rank * p.values.stride[3]] =
            empty ? -INFINITY_F32 : x;
    }
    if (p.keys.data) {
        ((int *)p.keys.data)[output_at(p.keys, t.batch, t.head, row) + rank * p.keys.stride[3]] =
            empty ? -1 : column;
    }
}

template <int KEPT> struct LaneTopK {
    float value[2][KEPT], floor[2];
    int column[2][KEPT];

    __device__ __forceinline__ void start(int lane)
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            floor[half] = -INFINITY_F32;
#pragma unroll
            for (int n = 0; n < KEPT; n++) {
                value[half][n] = -INFINITY_F32;
                column[half][n] = NO_COLUMN + (lane & 3) * KEPT + n;
            }
        }
    }

    // Columns come in rising order, so an equal score that is there stays before x. -inf changes
    // nothing.
    template <int HALF> __device__ __forceinline__ void insert(float x, int j)
    {
#pragma unroll
        for (int n = KEPT - 1; n > 0; n--) {
            const bool after = x > value[HALF][n - 1], here = x > value[HALF][n];
            column[HALF][n] = after ? column[HALF][n - 1] : here ? j : column[HALF][n];
            value[HALF][n] = fmaxf(value[HALF][n], fminf(x, value[HALF][n - 1]));
        }
        column[HALF][0] = x > value[HALF][0] ? j : column[HALF][0];
        value[HALF][0] = fmaxf(value[HALF][0], x);
    }

    // Of WIDTH scores a half, those above the floor, one of each half a round: as many rounds as
    // the lane with most of them has.
    template <int WIDTH> __device__ __forceinline__ void add_piece(const float *s, int first)
    {
        float x[2][WIDTH];
        uint32_t hits[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint32_t part[4] = {0, 0, 0, 0}; // four chains, for the latency of one
#pragma unroll
            for (int n = 0; n < WIDTH; n++) {
                x[half][n] = s[4 * (n >> 1) + 2 * half + (n & 1)];
                part[n % 4] |= x[half][n] > floor[half] ? 1u << n : 0u;
            }
            hits[half] = (part[0] | part[1]) | (part[2] | part[3]);
        }
#pragma unroll 1
        while (__any_sync(FULL_MASK, (hits[0] | hits[1]) != 0)) {
            const int m = __ffs(hits[0]) - 1, n = __ffs(hits[1]) - 1;
            insert<0>(hits[0] ? pick<WIDTH>(x[0], m) : -INFINITY_F32,
                      first + 8 * (m >> 1) + (m & 1));
            insert<1>(hits[1] ? pick<WIDTH>(x[1], n) : -INFINITY_F32,
                      first + 8 * (n >> 1) + (n & 1));
            hits[0] &= hits[0] - 1;
            hits[1] &= hits[1] - 1;
        }
    }

    // KEPT scores of a row are at least: a lane's last; the half-way one of two lanes, the lesser
    // of theirs; the quarter-way one of all four.
    __device__ __forceinline__ void raise()
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float one = value[half][KEPT - 1], two = value[half][KEPT / 2 - 1];
            float four = value[half][KEPT / 4 - 1];
            two = fminf(two, __shfl_xor_sync(FULL_MASK, two, 1));
            four = fminf(four, __shfl_xor_sync(FULL_MASK, four, 1));
            one = fmaxf(fmaxf(one, two), __shfl_xor_sync(FULL_MASK, one, 1));
            four = fminf(four, __shfl_xor_sync(FULL_MASK, four, 2));
            one = fmaxf(one, __shfl_xor_sync(FULL_MASK, one, 2));
            floor[half] = fmaxf(one, four);
        }
    }

    // A tile of scores; `first` is the lane's first column.
    template <int N> __device__ __forceinline__ void add(const float (&s)[N], int first, int lane)
    {
        (void)lane;
        constexpr int WIDTH = N % 32 == 0 ? 16 : 8; // of a half, at once
        static_assert(N % (2 * WIDTH) == 0, "whole pieces");
        bool hit = false;
#pragma unroll
        for (int i = 0; i < N; i += 2 * WIDTH) {
            float top[2][2]; // two chains a half
#pragma unroll
            for (int half = 0; half < 2; half++) {
                top[half][0] = s[i + 2 * half];
                top[half][1] = s[i + 2 * half + 1];
#pragma unroll
                for (int e = 4; e < 2 * WIDTH; e += 4) {
                    top[half][0] = fmaxf(top[half][0], s[i + e + 2 * half]);
                    top[half][1] = fmaxf(top[half][1], s[i + e + 2 * half + 1]);
                }
            }
            const bool any =
                fmaxf(top[0][0], top[0][1]) > floor[0] || fmaxf(top[1][0], top[1][1]) > floor[1];
            if (__any_sync(FULL_MASK, any)) {
                add_piece<WIDTH>(s + i, first + 2 * i);
                hit = true;
            }
        }
        if (hit) {
            raise();
        }
    }

    // Sorted, scores times `unit`; `row` is the lane's first. Empty slots are -inf and column -1.
    __device__ __forceinline__ void finish(const fasc_reducer_params &p, const Item &t, int row,
                                           float unit, int lane)
    {
        (void)lane;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int rank[KEPT];
#pragma unroll
            for (int n = 0; n < KEPT; n++) {
                rank[n] = n;
            }
#pragma unroll 1
            for (int other = 1; other < 4; other++) {
#pragma unroll
                for (int n = 0; n < KEPT; n++) {
                    float x = __shfl_xor_sync(FULL_MASK, value[half][n], other);
                    int j = __shfl_xor_sync(FULL_MASK, column[half][n], other);
#pragma unroll
                    for (int m = 0; m < KEPT; m++) {
                        rank[m] += beats(x, j, value[half][m], column[half][m]);
                    }
                }
            }
#pragma unroll
            for (int n = 0; n < KEPT; n++) {
                store_best(p, t, row + 8 * half, rank[n], value[half][n] * unit, column[half][n]);
            }
        }
    }
};

template <int PLACES> struct QuadTopK {
    float value[2][PLACES], floor[2];
    int column[2][PLACES], floor_column[2];

    __device__ __forceinline__ void start(int lane)
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
#pragma unroll
            for (int n = 0; n < PLACES; n++) {
                value[half][n] = -INFINITY_F32;
                column[half][n] = NO_COLUMN + (lane & 3) * PLACES + n;
            }
            floor[half] = -INFINITY_F32;
            floor_column[half] = NO_COLUMN + 4 * PLACES - 1;
        }
    }

    // The quad's lanes call together, with the same score and column; `take`: it replaces the
    // floor.
    template <int HALF> __device__ __forceinline__ void insert(float x, int j, bool take)
    {
#pragma unroll
        for (int n = 0; n < PLACES; n++) {
            bool here = take && column[HALF][n] == floor_column[HALF];
            value[HALF][n] = here ? x : value[HALF][n];
            column[HALF][n] = here ? j : column[HALF][n];
        }
        float least = value[HALF][0];
        int at = column[HALF][0];
#pragma unroll
        for (int n = 1; n < PLACES; n++) {
            bool lower = beats(least, at, value[HALF][n], column[HALF][n]);
            least = lower ? value[HALF][n] : least;
            at = lower ? column[HALF][n] : at;
        }
#pragma unroll
        for (int other = 1; other < 4; other *= 2) {
            float theirs = __shfl_xor_sync(FULL_MASK, least, other);
            int their_column = __shfl_xor_sync(FULL_MASK, at, other);
            bool lower = beats(least, at, theirs, their_column);
            least = lower ? theirs : least;
            at = lower ? their_column : at;
        }
        floor[HALF] = least;
        floor_column[HALF] = at;
    }

    // All lanes of the warp: those whose score x, of column j, beats their row's floor put it in.
    template <int HALF> __device__ __forceinline__ void offer(float x, int j, int lane)
    {
        bool hidden = x == -INFINITY_F32; // as an empty slot is
        uint32_t who =
            __ballot_sync(FULL_MASK, !hidden && beats(x, j, floor[HALF], floor_column[HALF]));
        while (who) { // the lowest lane of each quad
            uint32_t mine = who >> (lane & 28) & 15;
            int from = (lane & 28) + (mine ? __ffs(mine) - 1 : 0);
            float score = __shfl_sync(FULL_MASK, x, from);
            int at = __shfl_sync(FULL_MASK, j, from);
            insert<HALF>(score, at, mine && beats(score, at, floor[HALF], floor_column[HALF]));
            uint32_t above =
                (who << 1 & 0xeeeeeeeeu) | (who << 2 & 0xccccccccu) | (who << 3 & 0x88888888u);
            who &= above;
        }
    }

    // A tile of scores, -inf where they are hidden; `first` is the lane's first column.
    template <int N> __device__ __forceinline__ void add(const float (&s)[N], int first, int lane)
    {
        static_assert(N % 16 == 0, "32 columns at a time");
#pragma unroll
        for (int i = 0; i < N; i += 16) {
            uint32_t hits = find_hits(s + i, floor);
#pragma unroll 1
            while (hits) {
                int e = __ffs(hits) - 1;
                hits &= hits - 1;
                float x = pick<16>(s + i, e);
                int j = first + 2 * i + 8 * (e >> 2) + (e & 1);
                if (e & 2) {
                    offer<1>(x, j, lane);
                } else {
                    offer<0>(x, j, lane);
                }
            }
        }
    }

    // Sorted, scores times `unit`; `row` is the lane's first. Empty slots are -inf and column -1.
    __device__ __forceinline__ void finish(const fasc_reducer_params &p, const Item &t, int row,
                                           float unit, int lane)
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int rank[PLACES] = {};
#pragma unroll 1
            for (int other = 0; other < 4; other++) {
#pragma unroll
                for (int n = 0; n < PLACES; n++) {
                    float x = __shfl_xor_sync(FULL_MASK, value[half][n], other);
                    int j = __shfl_xor_sync(FULL_MASK, column[half][n], other);
#pragma unroll
                    for (int m = 0; m < PLACES; m++) {
                        rank[m] += beats(x, j, value[half][m], column[half][m]);
                    }
                }
            }
#pragma unroll
            for (int n = 0; n < PLACES; n++) {
                store_best(p, t, row + 8 * half, rank[n], value[half][n] * unit, column[half][n]);
            }
        }
    }
};

// The one for 4 SLOTS scores a row.
template <int PLACES, bool FEW> struct TopKOf {
    typedef QuadTopK<PLACES> type;
};
template <int PLACES> struct TopKOf<PLACES, true> {
    typedef LaneTopK<4 * PLACES> type;
};
typedef TopKOf<SLOTS, (SLOTS <= 4)>::type TopK; // macro: SLOTS
