/* test_cuda_threads.c - several threads call the GPU's kernels at once, on tensors of their own and
 * on streams of their own, which share the device's pool, its event and the compiled kernels. */
#include <cuda_runtime_api.h>

#include "cuda.h"
#include "threads.h"

int main(void)
{
    static const char *const KERNELS[] = {"naive", "blas", "flash", NULL};
    fasc_device *device = gpu_or_skip();
    thread_work work[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        cudaStream_t stream = NULL; /* the first thread takes the device's own */
        cudaError_t error =
            i == 0 ? cudaSuccess : cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        CHECK(error == cudaSuccess, "%s", cudaGetErrorString(error));
        work[i] = (thread_work){device, FASC_F16, KERNELS, stream, i};
    }
    run_threads(work);
    for (int i = 1; i < THREADS; i++) {
        CHECK(cudaStreamDestroy(work[i].stream) == cudaSuccess, "a stream's work failed");
    }
    return test_failures ? 1 : 0;
}
