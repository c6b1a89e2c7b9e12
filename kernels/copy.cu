// copy.cu - one tensor to another of the same shape, converted; the host picks the entry point:
//
//   copy_vectors   both have rows in memory in the order of counting: 16 bytes a load and a
//                  store (or more, where the two sizes differ)
//   copy_tiles     the fastest dimension differs (a transpose): 32 x 32 tiles through shared
//                  memory, so that reads and writes both run along memory
//   copy_elements  any other strides
//
// data[0] is the source, data[1] the destination.
//
// Macros: SOURCE, TARGET (any dtype; equal ones move bits).

#include "tensor.cuh"

template <class To, class From> struct Convert {
    static __device__ __forceinline__ To of(From x)
    {
        return convert<To>(x);
    }
};
template <class T> struct Convert<T, T> {
    static __device__ __forceinline__ T of(T x)
    {
        return x;
    }
};

__device__ __forceinline__ TARGET converted(SOURCE x)
{
    return Convert<TARGET, SOURCE>::of(x);
}

// Elements of a vector: 16 bytes of the smaller type.
constexpr int VECTOR = 16 / (sizeof(SOURCE) < sizeof(TARGET) ? sizeof(SOURCE) : sizeof(TARGET));

template <class T> struct alignas(16) Vector {
    T x[VECTOR];
};

// The walk's last dimension counts vectors: `inner` elements of which the last vector may hold
// fewer.
extern "C" __global__ void copy_vectors(const __grid_constant__ fasc_copy_params p)
{
    for (int64_t n = thread_number(); n < p.walk.count; n += thread_count()) {
        Place o = place_of(p.walk, p.walk.rank, n);
        const SOURCE *src = (const SOURCE *)p.walk.data[0] + o.at[0];
        TARGET *dst = (TARGET *)p.walk.data[1] + o.at[1];
        int64_t left = p.inner - o.last * VECTOR;
        if (left >= VECTOR) {
            Vector<SOURCE> in = *(const Vector<SOURCE> *)src;
            Vector<TARGET> out;
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                out.x[i] = converted(in.x[i]);
            }
            *(Vector<TARGET> *)dst = out;
        } else {
#pragma unroll 1
            for (int i = 0; i < (int)left; i++) {
                dst[i] = converted(src[i]);
            }
        }
    }
}

extern "C" __global__ void copy_elements(const __grid_constant__ fasc_copy_params p)
{
    for (int64_t n = thread_number(); n < p.walk.count; n += thread_count()) {
        Place o = place_of(p.walk, p.walk.rank, n);
        ((TARGET *)p.walk.data[1])[o.at[1]] = converted(((const SOURCE *)p.walk.data[0])[o.at[0]]);
    }
}

// The source runs along dimension rank - 2, the destination along rank - 1. The walk's dimensions
// before these two are `count` matrices. Blocks of 32 x 8 threads.
extern "C" __global__ void copy_tiles(const __grid_constant__ fasc_copy_params p)
{
    constexpr int TILE = 32, STEP = 8;
    __shared__ SOURCE tile[TILE][TILE + 1];
    int r = p.walk.rank - 2, c = p.walk.rank - 1;
    int64_t rows = p.walk.shape[r], columns = p.walk.shape[c];
    int64_t tiles_across = (columns + TILE - 1) / TILE;
    int64_t tiles = (rows + TILE - 1) / TILE * tiles_across;
    int x = threadIdx.x % TILE, y = threadIdx.x / TILE;
    for (int64_t n = blockIdx.x; n < tiles * p.walk.count; n += gridDim.x) {
        Place o = {{0, 0}, 0};
        if (r > 0) {
            o = place_of(p.walk, r, n / tiles);
        }
        const SOURCE *src = (const SOURCE *)p.walk.data[0] + o.at[0];
        TARGET *dst = (TARGET *)p.walk.data[1] + o.at[1];
        int64_t row0 = n % tiles / tiles_across * TILE, column0 = n % tiles % tiles_across * TILE;
        for (int i = y; i < TILE; i += STEP) {
            if (row0 + x < rows && column0 + i < columns) {
                tile[i][x] =
                    src[(row0 + x) * p.walk.stride[0][r] + (column0 + i) * p.walk.stride[0][c]];
            }
        }
        __syncthreads();
        for (int i = y; i < TILE; i += STEP) {
            if (row0 + i < rows && column0 + x < columns) {
                dst[(row0 + i) * p.walk.stride[1][r] + (column0 + x) * p.walk.stride[1][c]] =
                    converted(tile[x][i]);
            }
        }
        __syncthreads();
    }
}
