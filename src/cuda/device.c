/* device.c - finding, opening and describing CUDA devices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/cuda.h"

int fasc_cuda_enter(fasc_cuda_device *d)
{
    int previous = d->ordinal;
    cudaGetDevice(&previous);
    if (previous != d->ordinal) {
        cudaSetDevice(d->ordinal);
    }
    return previous;
}

void fasc_cuda_leave(int previous)
{
    int current = previous;
    cudaGetDevice(&current);
    if (current != previous) {
        cudaSetDevice(previous);
    }
}

/* ---- is there a device? -------------------------------------------------- */

fasc_status fasc_cuda_count(int32_t *count)
{
    int n = 0, driver = 0;
    cudaError_t error = cudaGetDeviceCount(&n);
    *count = 0;
    if (error == cudaSuccess) {
        *count = n;
        return n > 0 ? FASC_OK : fasc_fail(FASC_ENODEVICE, "cuda: the driver finds no GPU");
    }
    cudaGetLastError();
    cudaDriverGetVersion(&driver);
    if (driver == 0) {
        return fasc_fail(FASC_ENODEVICE, "cuda: no driver (libcuda.so.1, which comes with NVIDIA's "
                                         "driver, was not found or is not loaded)");
    }
    if (error == cudaErrorInsufficientDriver || driver < CUDART_VERSION / 1000 * 1000) {
        return fasc_fail(
            FASC_ENODEVICE,
            "cuda: driver too old: it is for CUDA %d.%d, this build needs %d.0 or newer",
            driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000);
    }
    if (error == cudaErrorNoDevice) {
        return fasc_fail(FASC_ENODEVICE, "cuda: the driver finds no GPU%s",
                         getenv("CUDA_VISIBLE_DEVICES") ? " (CUDA_VISIBLE_DEVICES is set)" : "");
    }
    return fasc_fail(FASC_ENODEVICE, "cuda: %s (%s)", cudaGetErrorString(error),
                     cudaGetErrorName(error));
}

/* ---- opening ------------------------------------------------------------- */

static fasc_status read_properties(fasc_cuda_device *d)
{
    const struct {
        enum cudaDeviceAttr attribute;
        const char *name;
    } wanted[] = {{cudaDevAttrComputeCapabilityMajor, "compute capability"},
                  {cudaDevAttrComputeCapabilityMinor, "compute capability"},
                  {cudaDevAttrMultiProcessorCount, "multiprocessors"},
                  {cudaDevAttrMaxThreadsPerMultiProcessor, "threads of a multiprocessor"},
                  {cudaDevAttrL2CacheSize, "L2 size"},
                  {cudaDevAttrMaxSharedMemoryPerBlockOptin, "shared memory of a block"},
                  {cudaDevAttrMaxSharedMemoryPerMultiprocessor, "shared memory"}};
    enum { WANTED = sizeof wanted / sizeof *wanted };
    int value[WANTED];
    for (int i = 0; i < WANTED; i++) {
        fasc_status status = fasc_cuda_check(
            d, cudaDeviceGetAttribute(&value[i], wanted[i].attribute, d->ordinal), wanted[i].name);
        if (status != FASC_OK) {
            return status;
        }
    }
    d->compute = 10 * value[0] + value[1];
    d->units = value[2];
    d->threads_per_unit = value[3];
    d->l2_bytes = value[4];
    d->smem_per_block = value[5];
    d->smem_per_unit = value[6];
    /* wgmma, TMA and setmaxnreg are in the architecture-specific set of 9.0 only. */
    snprintf(d->arch, sizeof d->arch, "sm_%d%s", d->compute, d->compute == 90 ? "a" : "");
    if (d->compute < FASC_CUDA_OLDEST_COMPUTE) {
        return fasc_fail(FASC_ENODEVICE, "%s: it is %s; fasc's kernels need sm_%d or newer",
                         d->name, d->arch, FASC_CUDA_OLDEST_COMPUTE);
    }
    return FASC_OK;
}

static fasc_status read_memory(fasc_cuda_device *d)
{
    size_t free_bytes = 0, total_bytes = 0;
    fasc_status status =
        fasc_cuda_check(d, cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
    d->memory_bytes = (int64_t)total_bytes;
    return status;
}

static fasc_status make_parts(fasc_cuda_device *d)
{
    /* An ordinary stream: work on the legacy default stream and on this one wait for one another,
     * so that a caller who passes "stream 0" (as PyTorch's default stream is) is served in order.
     */
    fasc_status status = fasc_cuda_check(d, cudaStreamCreate(&d->stream), "cudaStreamCreate");
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaEventCreateWithFlags(&d->link, cudaEventDisableTiming),
                                 "cudaEventCreate");
    }
    if (status == FASC_OK) {
        status = fasc_cuda_pool_new(d);
    }
    return status == FASC_OK ? fasc_cuda_staging_new(d) : status;
}

/* After an opening that failed, which may be tried again. */
static void free_device(fasc_cuda_device *d)
{
    if (d->link) {
        cudaEventDestroy(d->link);
    }
    if (d->stream) {
        cudaStreamDestroy(d->stream);
    }
    free(d->pool);
    free(d);
}

fasc_status fasc_cuda_open(fasc_device *device)
{
    fasc_cuda_device *d = calloc(1, sizeof *d);
    if (!d) {
        return fasc_fail(FASC_ENOMEM, "%s: no memory for its record", device->name);
    }
    d->ordinal = device->index;
    snprintf(d->name, sizeof d->name, "%s", device->name);
    int previous = 0;
    cudaGetDevice(&previous);
    fasc_status status = read_properties(d);
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaSetDevice(d->ordinal), "cudaSetDevice");
    }
    if (status == FASC_OK) {
        status = read_memory(d);
    }
    if (status == FASC_OK) {
        status = make_parts(d);
    }
    cudaSetDevice(previous);
    if (status != FASC_OK) {
        status = fasc_fail(FASC_ENODEVICE, "%s", fasc_cuda_last_error());
        free_device(d);
        return status;
    }
    device->impl = d;
    return FASC_OK;
}

/* ---- describing ---------------------------------------------------------- */

/* The kernel module says its version; where /proc has none, the CUDA version that it serves. */
static void driver_text(char *text, size_t room)
{
    int version = 0;
    cudaDriverGetVersion(&version);
    snprintf(text, room, "CUDA %d.%d", version / 1000, version % 1000 / 10);
    FILE *file = fopen("/proc/driver/nvidia/version", "r");
    char line[256];
    if (file && fgets(line, sizeof line, file)) {
        /* "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build ..."
         */
        for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
            int major, minor;
            if (sscanf(word, "%d.%d", &major, &minor) == 2) {
                snprintf(text, room, "%s", word);
                break;
            }
        }
    }
    if (file) {
        fclose(file);
    }
}

fasc_status fasc_cuda_info(fasc_device *device, fasc_device_info *info)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    int previous = fasc_cuda_enter(d);
    struct cudaDeviceProp properties;
    size_t free_bytes = 0, total_bytes = 0;
    fasc_status status = fasc_cuda_check(d, cudaGetDeviceProperties(&properties, d->ordinal),
                                         "cudaGetDeviceProperties");
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
    }
    fasc_cuda_leave(previous);
    if (status != FASC_OK) {
        return status;
    }
    snprintf(info->model, sizeof info->model, "%.127s", properties.name);
    snprintf(info->arch, sizeof info->arch, "%s", d->arch);
    driver_text(info->driver, sizeof info->driver);
    snprintf(info->runtime, sizeof info->runtime, "CUDA %d.%d", CUDART_VERSION / 1000,
             CUDART_VERSION % 1000 / 10);
    info->units = d->units;
    info->memory_free = (int64_t)free_bytes;
    info->memory_total = (int64_t)total_bytes;
    info->l2_bytes = d->l2_bytes;
    info->smem_per_block = d->smem_per_block;
    return FASC_OK;
}

fasc_status fasc_cuda_synchronize(fasc_device *device)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    int previous = fasc_cuda_enter(d);
    fasc_status status = fasc_cuda_check(d, cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    fasc_cuda_leave(previous);
    return status;
}
