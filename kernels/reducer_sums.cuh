// reducer_sums.cuh - sum and maximum of the probabilities in each of a warp's 16 rows, as a reducer
// passes the columns by. Accumulators lie as softmax.cuh says.
#pragma once

#include "reducer_tiles.cuh"

__device__ __forceinline__ void load_shared_pair(float &a, float &b, uint32_t at)
{
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];\n" : "=f"(a), "=f"(b) : "r"(at) : "memory");
}

// A tile is summed by itself first: short sums round less than one long one.
struct RowSums {
    float sum[2], max[2];

    __device__ __forceinline__ void start()
    {
        sum[0] = sum[1] = max[0] = max[1] = 0.0f;
    }

    // Takes P = 2^(s c + offset) of a tile; `offsets`, in shared memory, start at the lane's first
    // column. CUT: not all of it is visible.
    template <bool CUT, int N>
    __device__ __forceinline__ void add(const float (&s)[N], uint32_t offsets, float c,
                                        const Visible &visible)
    {
        float part[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int i = 0; i < N; i += 4) {
            float offset[2];
            load_shared_pair(offset[0], offset[1], offsets + 8 * i);
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float x = exp2_approx(fma_f32(s[i + e], c, offset[e & 1]));
                if (CUT) {
                    x = sees(visible, i + e) ? x : 0.0f;
                }
                if (REDUCE & FASC_REDUCE_SUM) {
                    part[e] += x;
                }
                if (REDUCE & FASC_REDUCE_MAX) {
                    max[e >> 1] = fmaxf_nan(max[e >> 1], x);
                }
            }
        }
        sum[0] += part[0] + part[1];
        sum[1] += part[2] + part[3];
    }

    // `row` is the lane's first.
    __device__ __forceinline__ void finish(const fasc_reducer_params &p, const Item &t, int row,
                                           int lane)
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float total = quad_sum(sum[half]), largest = quad_max(max[half]);
            int r = row + 8 * half;
            if (r >= p.row_end || (lane & 3) != 0) {
                continue;
            }
            if ((REDUCE & FASC_REDUCE_SUM) && p.sum.data) {
                ((float *)p.sum.data)[output_at(p.sum, t.batch, t.head, r - p.row_begin)] = total;
            }
            if ((REDUCE & FASC_REDUCE_MAX) && p.max.data) {
                ((float *)p.max.data)[output_at(p.max, t.batch, t.head, r - p.row_begin)] = largest;
            }
        }
    }
};
