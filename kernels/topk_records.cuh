// topk_records.cuh - top-k of a warp's rows with nothing in a tile's way: neither branches nor
// other lanes. Scores go by eight columns of a lane's two rows at a time, four registers. Where one
// of them reaches its floor all four are recorded, in memory of the lane's own, to be put on the
// lists of topk.cuh when there are many or at the end.
//
// The floor: a lane knows the KEPT / 4 largest of its columns' tops (of some columns each); the
// least that the quad's four lanes so know is reached by KEPT scores. So that it is good from the
// start some tiles are only looked at first (look), and passed again at the end.
#pragma once

#include "topk.cuh"

template <int KEPT, int LENGTH> struct RecordTopK {
    typedef RowTopK<KEPT, LENGTH, false> Rows;
    static constexpr int KNOWN = KEPT / 4;
    static constexpr int RECORDS = FASC_TOPK_RECORDS(KEPT);
    static constexpr int BYTES = 32; // four scores, the number of their eight columns

    Rows rows;
    float best[2][KNOWN]; // tops, the largest first
    uint64_t first, next; // the lane's records, and the place of its next one

    __device__ __forceinline__ void start(uint32_t lists, char *room, int lane)
    {
        rows.start(lists, lane);
#pragma unroll
        for (int n = 0; n < KNOWN; n++) {
            best[0][n] = best[1][n] = -INFINITY_F32;
        }
        first = next = (uint64_t)(room + lane * RECORDS * BYTES);
    }

    __device__ __forceinline__ void know(int half, float top)
    {
        const float x = fmaxf(top, -INFINITY_F32); // not a NaN
#pragma unroll
        for (int n = KNOWN - 1; n > 0; n--) {
            best[half][n] = fmaxf(best[half][n], fminf(best[half][n - 1], x));
        }
        best[half][0] = fmaxf(best[half][0], x);
    }

    __device__ __forceinline__ void raise()
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float least = best[half][KNOWN - 1];
            least = fminf(least, __shfl_xor_sync(FULL_MASK, least, 1));
            least = fminf(least, __shfl_xor_sync(FULL_MASK, least, 2));
            rows.floor[half] = fmaxf(rows.floor[half], least);
        }
    }

    // A tile that will be passed again: tops of 4 scores each, or where many are known, which takes
    // its time, of 16.
    template <int N> __device__ __forceinline__ void look(const float (&s)[N], float (&top)[2])
    {
        constexpr int JOINED = KNOWN <= 4 ? 1 : 4;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            top[half] = -INFINITY_F32;
            float x = -INFINITY_F32;
#pragma unroll
            for (int g = 0; g < N / 8; g++) {
                const float of = Rows::top_of(s, g, half);
                top[half] = fmaxf_nan(top[half], of);
                x = fmaxf(x, of);
                if (g % JOINED == JOINED - 1) {
                    know(half, x);
                    x = -INFINITY_F32;
                }
            }
        }
        raise();
    }

    // Makes room for a tile of N scores a lane; before each add.
    template <int N> __device__ __forceinline__ void make_room(int lane)
    {
        if (__any_sync(FULL_MASK, next - first > (RECORDS - N / 4) * BYTES)) {
            drain(lane);
        }
    }

    // A tile, number `tile` of the row; `fresh`: not looked at before. `top`: the lane's largest.
    template <int N>
    __device__ __forceinline__ void add(const float (&s)[N], int tile, bool fresh, float (&top)[2])
    {
        static_assert(N / 4 < RECORDS && N % 4 == 0, "room");
        top[0] = top[1] = -INFINITY_F32;
#pragma unroll
        for (int b = 0; b < N / 4; b++) {
            const float *x = s + 4 * b;
            const float t0 = fmaxf_nan(x[0], x[1]), t1 = fmaxf_nan(x[2], x[3]);
            top[0] = fmaxf_nan(top[0], t0);
            top[1] = fmaxf_nan(top[1], t1);
            if (!(t0 < rows.floor[0] && t1 < rows.floor[1])) {
                asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};\n" ::"l"(next), "f"(x[0]),
                             "f"(x[1]), "f"(x[2]), "f"(x[3])
                             : "memory");
                asm volatile("st.global.s32 [%0], %1;\n" ::"l"(next + 16), "r"(tile * (N / 4) + b)
                             : "memory");
                next += BYTES;
            }
        }
        if (fresh) {
            know(0, top[0]);
            know(1, top[1]);
            raise();
        }
    }

    // Puts what is recorded, and still wanted, on the lists. Records are fetched four at a time.
    __device__ __forceinline__ void drain(int lane)
    {
        const uint32_t mine = (uint32_t)(next - first) / BYTES;
        const uint32_t most = __reduce_max_sync(FULL_MASK, mine);
        float fetched[4][4] = {};
        int number[4] = {};
#pragma unroll 1
        for (uint32_t r = 0; r < most;) {
            const uint32_t i = r & 3;
            if (i == 0) {
#pragma unroll
                for (uint32_t n = 0; n < 4; n++) {
                    if (r + n < mine) {
                        fetch(fetched[n], number[n], first + (r + n) * BYTES);
                    }
                }
            }
            float x[4];
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const float low = i & 1 ? fetched[1][e] : fetched[0][e];
                const float high = i & 1 ? fetched[3][e] : fetched[2][e];
                x[e] = r < mine ? (i & 2 ? high : low) : -INFINITY_F32;
            }
            const int low = i & 1 ? number[1] : number[0], high = i & 1 ? number[3] : number[2];
            const int column = (i & 2 ? high : low) * 8 + 2 * (lane & 3);
            const uint32_t before[2] = {rows.next[0], rows.next[1]};
            rows.template put_wanted<0>(x[0], column);
            rows.template put_wanted<0>(x[1], column + 1);
            rows.template put_wanted<1>(x[2], column);
            rows.template put_wanted<1>(x[3], column + 1);
            if (__any_sync(FULL_MASK, rows.is_full())) {
                rows.next[0] = before[0];
                rows.next[1] = before[1];
                rows.settle(lane);
            } else {
                r++;
            }
        }
        next = first;
    }

    static __device__ __forceinline__ void fetch(float (&x)[4], int &number, uint64_t at)
    {
        asm volatile("ld.global.v4.f32 {%0, %1, %2, %3}, [%4];\n"
                     : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3])
                     : "l"(at)
                     : "memory");
        asm volatile("ld.global.s32 %0, [%1];\n" : "=r"(number) : "l"(at + 16) : "memory");
    }

    __device__ __forceinline__ void finish(const fasc_topk_params &p, int64_t batch, int64_t head,
                                           int row, int end, float unit, int lane)
    {
        drain(lane);
        rows.finish(p, batch, head, row, end, unit, lane);
    }
};
