/* cuda_stubs.h - what the CUDA planners are linked with where there is no GPU: a launch does
 * nothing. */
#ifndef FASC_TEST_CUDA_STUBS_H
#define FASC_TEST_CUDA_STUBS_H

#include "cuda/flash.h"

/* The planner needs a device's numbers only; what would run does nothing here. */
fasc_status fasc_cuda_copy_on(fasc_cuda_device *d, cudaStream_t stream, const fasc_tensor *src,
                              const fasc_tensor *dst)
{
    (void)d, (void)stream, (void)src, (void)dst;
    return FASC_OK;
}

fasc_tensor fasc_cuda_contiguous(const fasc_tensor *t, void *data)
{
    (void)data;
    return *t;
}

fasc_status fasc_cuda_run_kernel(fasc_cuda_device *d, cudaStream_t stream,
                                 const fasc_cuda_launch *launch, const void *params)
{
    (void)d, (void)stream, (void)launch, (void)params;
    return FASC_OK;
}

fasc_status fasc_cuda_check(fasc_cuda_device *d, cudaError_t error, const char *call)
{
    (void)d, (void)call;
    return error == cudaSuccess ? FASC_OK : FASC_EDEVICE;
}

const char *fasc_cuda_dtype_name(fasc_dtype dtype)
{
    return fasc_dtype_name(dtype);
}

size_t fasc_cuda_dtype_size(fasc_dtype dtype)
{
    return dtype == FASC_F32 ? 4 : 2;
}

#endif
