/* gemm.h - matrix products by cuBLAS, said in row-major terms. */
#ifndef FASC_CUDA_GEMM_H
#define FASC_CUDA_GEMM_H

#include "cuda/cuda.h"

/* A matrix whose element (r, c) lies at data + r * row + c * column; the next of a batch `batch`
 * further. All in elements. */
typedef struct fasc_operand {
    void *data;
    int64_t row, column, batch;
} fasc_operand;

/* C (m, n) = alpha A (m, k) B (k, n), `count` of them; float32 accumulation, float64 for f64. */
typedef struct fasc_gemm {
    fasc_dtype dtype, c_dtype; /* of A and B; of C: the same or f32 */
    int64_t m, n, k, count;
    double alpha;
    fasc_operand a, b, c;
} fasc_gemm;

/* Whether cuBLAS can read (or write) a rows x columns matrix as it lies: neighbours in one
 * direction, no overlap in the other. Anything else must be copied first. */
bool fasc_operand_fits(const fasc_operand *o, int64_t rows, int64_t columns);

/* Bytes of cuBLAS's own workspace, which a session brings. */
size_t fasc_cublas_workspace(const fasc_cuda_device *d);

/* Between begin and end the calling thread has the device's cuBLAS to itself, on this stream and
 * with this workspace (256-byte aligned). begin opens the library when it is first needed. */
fasc_status fasc_cublas_begin(fasc_cuda_device *d, cudaStream_t stream, void *workspace);
void fasc_cublas_end(fasc_cuda_device *d);

/* Queues the products; every operand fits. */
fasc_status fasc_cublas_gemm(fasc_cuda_device *d, const fasc_gemm *g);

#endif
