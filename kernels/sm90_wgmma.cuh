// sm90_wgmma.cuh - Hopper's matrix product: a warpgroup (4 warps) multiplies 64 x 16 by 16 x N and
// adds to float accumulators in its registers, asynchronously.
//
// A comes from shared memory or from registers, B from shared memory; both are 16-bit (f16, or bf16
// with FASC_BF16 = 1). What lies in shared memory is named by a 64-bit descriptor, see below.
//
// The accumulator of m64nN: warp w of the four holds rows 16w..16w+15; in it, register i of lane l
// is row l/4 + 8 ((i >> 1) & 1), column 8 (i >> 2) + 2 (l & 3) + (i & 1). Packed in pairs,
// registers 8k..8k+7 are the A fragment of columns 16k..16k+15, in order: a product's result is the
// next product's A without a shuffle.
//
// Order: wgmma_fence before the first product and after ordinary code wrote accumulators or A
// registers; wgmma_commit closes a group; wgmma_wait<n> leaves the n newest groups in flight. Until
// then nothing may touch their registers: hold_registers after the wait keeps the compiler from
// moving uses above it.
#pragma once

#include "common.cuh"

#if FASC_BF16
#define WGMMA_TYPES ".f32.bf16.bf16 "
#else
#define WGMMA_TYPES ".f32.f16.f16 "
#endif

__device__ __forceinline__ void wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}

__device__ __forceinline__ void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}

template <int PENDING> __device__ __forceinline__ void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(PENDING) : "memory");
}

template <int N> __device__ __forceinline__ void hold_registers(float (&x)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        asm volatile("" : "+f"(x[i])::"memory");
    }
}

// ---- descriptors
// ---------------------------------------------------------------------------------- Tiles lie as
// the copy engine writes boxes of 64 columns (128 bytes) with the 128-byte swizzle: panels of
// `rows` x 128 bytes, each starting at a multiple of 1024. Bits 0-13 address / 16, 16-29 leading
// offset / 16, 32-45 stride offset / 16 (8 rows: 1024 bytes), 62-63 swizzle (1 = 128 bytes).

// `leading` bytes from one panel to the next; it matters only when a product crosses panels (V).
__device__ __forceinline__ uint64_t wgmma_descriptor(uint32_t smem, uint32_t leading)
{
    return (uint64_t)((smem & 0x3ffff) >> 4) | (uint64_t)(leading >> 4) << 16 |
           (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

// The same, `bytes` further (a multiple of 16).
__device__ __forceinline__ uint64_t wgmma_advance(uint64_t descriptor, uint32_t bytes)
{
    return descriptor + (bytes >> 4);
}

// ---- the instruction, for each N that is used
// --------------------------------------------------------- Operand lists are long, so they are put
// together from pieces: WGMMA_T(t) names operands 10t..10t+9, and WGMMA_F8 binds eight
// accumulators.
#define WGMMA_T(t)                                                                                 \
    "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define WGMMA_T0 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,"
#define WGMMA_16 WGMMA_T0 "%10,%11,%12,%13,%14,%15"
#define WGMMA_32 WGMMA_T0 WGMMA_T(1) WGMMA_T(2) "%30,%31"
#define WGMMA_40 WGMMA_T0 WGMMA_T(1) WGMMA_T(2) "%30,%31,%32,%33,%34,%35,%36,%37,%38,%39"
#define WGMMA_48 WGMMA_T0 WGMMA_T(1) WGMMA_T(2) WGMMA_T(3) "%40,%41,%42,%43,%44,%45,%46,%47"
#define WGMMA_56 WGMMA_T0 WGMMA_T(1) WGMMA_T(2) WGMMA_T(3) WGMMA_T(4) "%50,%51,%52,%53,%54,%55"
#define WGMMA_60 WGMMA_T0 WGMMA_T(1) WGMMA_T(2) WGMMA_T(3) WGMMA_T(4) WGMMA_T(5)
#define WGMMA_64 WGMMA_60 "%60,%61,%62,%63"
#define WGMMA_72 WGMMA_60 WGMMA_T(6) "%70,%71"
#define WGMMA_80 WGMMA_60 WGMMA_T(6) "%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define WGMMA_88 WGMMA_60 WGMMA_T(6) WGMMA_T(7) "%80,%81,%82,%83,%84,%85,%86,%87"
#define WGMMA_96 WGMMA_60 WGMMA_T(6) WGMMA_T(7) WGMMA_T(8) "%90,%91,%92,%93,%94,%95"
#define WGMMA_128                                                                                  \
    WGMMA_60 WGMMA_T(6) WGMMA_T(7) WGMMA_T(8) WGMMA_T(9) WGMMA_T(10)                               \
        WGMMA_T(11) "%120,%121,%122,%123,%124,%125,%126,%127"

#define WGMMA_F8(c, i)                                                                             \
    c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3]), c(d[i + 4]), c(d[i + 5]), c(d[i + 6]),         \
        c(d[i + 7])
#define WGMMA_B16(c) WGMMA_F8(c, 0), WGMMA_F8(c, 8)
#define WGMMA_B32(c) WGMMA_B16(c), WGMMA_F8(c, 16), WGMMA_F8(c, 24)
#define WGMMA_B40(c) WGMMA_B32(c), WGMMA_F8(c, 32)
#define WGMMA_B48(c) WGMMA_B40(c), WGMMA_F8(c, 40)
#define WGMMA_B56(c) WGMMA_B48(c), WGMMA_F8(c, 48)
#define WGMMA_B64(c) WGMMA_B56(c), WGMMA_F8(c, 56)
#define WGMMA_B72(c) WGMMA_B64(c), WGMMA_F8(c, 64)
#define WGMMA_B80(c) WGMMA_B72(c), WGMMA_F8(c, 72)
#define WGMMA_B88(c) WGMMA_B80(c), WGMMA_F8(c, 80)
#define WGMMA_B96(c) WGMMA_B88(c), WGMMA_F8(c, 88)
#define WGMMA_B128(c)                                                                              \
    WGMMA_B96(c), WGMMA_F8(c, 96), WGMMA_F8(c, 104), WGMMA_F8(c, 112), WGMMA_F8(c, 120)

#define WGMMA_IN_OUT "+f"
#define WGMMA_OUT    "=f"

// d (64 x N) += a (64 x 16) b: first overwrites d. From shared memory both are K-major (rows of
// 16-bit columns along the product's sum); from_registers takes A's four registers, and B as it
// lies in V: rows along the sum; first_rows and add_rows take A's registers and a K-major B.
template <int N> struct Wgmma;

// N, registers of d (N / 2), and the numbers of the operands behind them.
#define WGMMA_SHAPE(N, R, o0, o1, o2, o3, o4)                                                      \
    template <> struct Wgmma<N> {                                                                  \
        static __device__ __forceinline__ void first(float (&d)[R], uint64_t a, uint64_t b)        \
        {                                                                                          \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16" WGMMA_TYPES "{" WGMMA_##R    \
                         "}, %" #o0 ", %" #o1 ", 0, 1, 1, 0, 0;\n"                                 \
                         : WGMMA_B##R(WGMMA_OUT)                                                   \
                         : "l"(a), "l"(b));                                                        \
        }                                                                                          \
        static __device__ __forceinline__ void add(float (&d)[R], uint64_t a, uint64_t b)          \
        {                                                                                          \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16" WGMMA_TYPES "{" WGMMA_##R    \
                         "}, %" #o0 ", %" #o1 ", 1, 1, 1, 0, 0;\n"                                 \
                         : WGMMA_B##R(WGMMA_IN_OUT)                                                \
                         : "l"(a), "l"(b));                                                        \
        }                                                                                          \
        static __device__ __forceinline__ void add_from_registers(float (&d)[R], uint32_t a0,      \
                                                                  uint32_t a1, uint32_t a2,        \
                                                                  uint32_t a3, uint64_t b)         \
        {                                                                                          \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16" WGMMA_TYPES "{" WGMMA_##R    \
                         "}, {%" #o0 ", %" #o1 ", %" #o2 ", %" #o3 "}, %" #o4 ", 1, 1, 1, 1;\n"    \
                         : WGMMA_B##R(WGMMA_IN_OUT)                                                \
                         : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b));                            \
        }                                                                                          \
        static __device__ __forceinline__ void first_rows(float (&d)[R], const uint32_t (&a)[4],   \
                                                          uint64_t b)                              \
        {                                                                                          \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16" WGMMA_TYPES "{" WGMMA_##R    \
                         "}, {%" #o0 ", %" #o1 ", %" #o2 ", %" #o3 "}, %" #o4 ", 0, 1, 1, 0;\n"    \
                         : WGMMA_B##R(WGMMA_OUT)                                                   \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                    \
        }                                                                                          \
        static __device__ __forceinline__ void add_rows(float (&d)[R], const uint32_t (&a)[4],     \
                                                        uint64_t b)                                \
        {                                                                                          \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16" WGMMA_TYPES "{" WGMMA_##R    \
                         "}, {%" #o0 ", %" #o1 ", %" #o2 ", %" #o3 "}, %" #o4 ", 1, 1, 1, 0;\n"    \
                         : WGMMA_B##R(WGMMA_IN_OUT)                                                \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                    \
        }                                                                                          \
    };

WGMMA_SHAPE(32, 16, 16, 17, 18, 19, 20)
WGMMA_SHAPE(64, 32, 32, 33, 34, 35, 36)
WGMMA_SHAPE(80, 40, 40, 41, 42, 43, 44)
WGMMA_SHAPE(96, 48, 48, 49, 50, 51, 52)
WGMMA_SHAPE(112, 56, 56, 57, 58, 59, 60)
WGMMA_SHAPE(128, 64, 64, 65, 66, 67, 68)
WGMMA_SHAPE(144, 72, 72, 73, 74, 75, 76)
WGMMA_SHAPE(160, 80, 80, 81, 82, 83, 84)
WGMMA_SHAPE(176, 88, 88, 89, 90, 91, 92)
WGMMA_SHAPE(192, 96, 96, 97, 98, 99, 100)
WGMMA_SHAPE(256, 128, 128, 129, 130, 131, 132)
