// reducer_pool.cuh - pooled maps on Hopper: mass and maximum of each 64 x 64 tile of P. A consumer
// warpgroup owns the 64 queries of a row of tiles; its warps meet in shared memory.
//
// mass = the sum over the tile's keys, averaged over its queries.
#pragma once

#include "reducer_tiles.cuh"
#include "sm90_stmatrix.cuh"

template <int N> struct PooledRow {
    static constexpr int CELLS = N / 32; // of 64 columns, in a tile of N / 2 registers a half

    uint32_t room; // [2][4 warps][CELLS] pairs (mass, max) of this warpgroup
    int group;     // the number of its barrier, less 1
    int turn;      // which half of the room
    float offset[2];

    // Meets the warpgroup's four warps.
    __device__ __forceinline__ void meet() const
    {
        asm volatile("barrier.cta.sync %0, 128;\n" ::"r"(1 + group) : "memory");
    }

    __device__ __forceinline__ void store(const fasc_reducer_params &p, const Item &t, int row0,
                                          int cell, float mass, float largest) const
    {
        if (row0 >= p.row_end || cell * 64 >= p.column_end) {
            return;
        }
        const int queries = min(64, p.row_end - row0);
        if (p.pool_mass.data) {
            ((float *)p.pool_mass.data)[output_at(p.pool_mass, t.batch, t.head, row0 / 64) +
                                        cell * p.pool_mass.stride[3]] = mass / (float)queries;
        }
        if (p.pool_max.data) {
            ((float *)p.pool_max.data)[output_at(p.pool_max, t.batch, t.head, row0 / 64) +
                                       cell * p.pool_max.stride[3]] = largest;
        }
    }

    // Cells [begin, end) that no query sees.
    __device__ __forceinline__ void clear(const fasc_reducer_params &p, const Item &t, int row0,
                                          int begin, int end, int thread) const
    {
        for (int cell = begin + thread; cell < end; cell += 128) {
            store(p, t, row0, cell, 0.0f, 0.0f);
        }
    }

    // A tile whose first column is `column`; row0 is the warpgroup's first query.
    template <bool CUT>
    __device__ __forceinline__ void add(const float (&s)[N], const fasc_reducer_params &p,
                                        const Item &t, int row0, int column, float c,
                                        const Visible &visible, int thread)
    {
        const uint32_t at = room + turn * 4 * CELLS * 8;
#pragma unroll
        for (int cell = 0; cell < CELLS; cell++) {
            float part[4] = {0.0f, 0.0f, 0.0f, 0.0f}, largest = 0.0f;
#pragma unroll
            for (int i = 32 * cell; i < 32 * cell + 32; i++) {
                float x = exp2_approx(fma_f32(s[i], c, offset[(i >> 1) & 1]));
                if (CUT) {
                    x = sees(visible, i) ? x : 0.0f;
                }
                part[i & 3] += x;
                largest = fmaxf_nan(largest, x);
            }
            float mass = warp_sum((part[0] + part[1]) + (part[2] + part[3]));
            largest = warp_max(largest);
            if (thread % 32 == 0) {
                store_shared_8(at + (thread / 32 * CELLS + cell) * 8, mass, largest);
            }
        }
        meet();
        if (thread < CELLS) {
            float mass = 0.0f, largest = 0.0f;
#pragma unroll
            for (int warp = 0; warp < 4; warp++) {
                uint32_t from = at + (warp * CELLS + thread) * 8;
                mass += bits_float(load_shared_4(from));
                largest = fmaxf_nan(largest, bits_float(load_shared_4(from + 4)));
            }
            store(p, t, row0, column / 64 + thread, mass, largest);
        }
        turn ^= 1; // the other half is free: all have passed the meeting after it was read
    }
};
