/* launch.c - queueing kernels, and what the driver thinks of a launch. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cuda/module.h"

enum { SMEM_WITHOUT_ASKING = 48 * 1024 };

/* Above 48 KB a kernel must be told on each device how much shared memory it may ask for. What one
 * thread has raised, another must not lower. */
static fasc_status allow_smem(fasc_cuda_device *d, fasc_cuda_function *f, size_t smem)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    atomic_int *allowed = &f->smem_allowed[d->ordinal];
    if (smem <= SMEM_WITHOUT_ASKING || (int)smem <= atomic_load(allowed)) {
        return FASC_OK;
    }
    if ((int64_t)smem > d->smem_per_block) {
        return fasc_fail(FASC_EUNSUPPORTED,
                         "%s: %s needs %zu bytes of shared memory a block, %s has %lld", d->name,
                         f->name, smem, d->arch, (long long)d->smem_per_block);
    }
    fasc_status status = FASC_OK;
    pthread_mutex_lock(&lock);
    if ((int)smem > atomic_load(allowed)) {
        status = fasc_cuda_check(d,
                                 cudaFuncSetAttribute((const void *)f->kernel,
                                                      cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                      (int)smem),
                                 "cudaFuncSetAttribute");
        if (status == FASC_OK) {
            atomic_store(allowed, (int)smem);
        }
    }
    pthread_mutex_unlock(&lock);
    return status;
}

fasc_status fasc_cuda_run_kernel(fasc_cuda_device *d, cudaStream_t stream,
                                 const fasc_cuda_launch *launch, const void *params)
{
    fasc_cuda_function *f;
    fasc_status status =
        fasc_cuda_function_get(d, launch->source, launch->macros, launch->entry, &f);
    if (status == FASC_OK) {
        status = allow_smem(d, f, launch->smem);
    }
    if (status != FASC_OK) {
        return status;
    }
    if (launch->blocks < 1 || launch->blocks > 0x7fffffff) {
        return fasc_fail(FASC_EUNSUPPORTED, "%s: %s: %lld blocks do not fit in a launch", d->name,
                         f->name, (long long)launch->blocks);
    }
    void *arguments[] = {(void *)(uintptr_t)params};
    cudaLaunchConfig_t config = {
        .gridDim = {(unsigned)launch->blocks, 1, 1},
        .blockDim = {(unsigned)launch->threads, 1, 1},
        .dynamicSmemBytes = launch->smem,
        .stream = stream,
    };
    fasc_cuda_note_launch(d, f->name, config.gridDim.x, config.blockDim.x, launch->smem);
    return fasc_cuda_check(d, cudaLaunchKernelExC(&config, (const void *)f->kernel, arguments),
                           f->name);
}

fasc_status fasc_cuda_inspect_launch(fasc_cuda_device *d, const fasc_cuda_launch *launch,
                                     fasc_compile_report *report)
{
    fasc_cuda_function *f;
    int blocks = 0;
    fasc_status status =
        fasc_cuda_function_get(d, launch->source, launch->macros, launch->entry, &f);
    if (status == FASC_OK) {
        status = allow_smem(d, f, launch->smem);
    }
    if (status == FASC_OK) {
        status =
            fasc_cuda_check(d,
                            cudaOccupancyMaxActiveBlocksPerMultiprocessor(
                                &blocks, (const void *)f->kernel, launch->threads, launch->smem),
                            "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
    }
    if (status != FASC_OK) {
        return status;
    }
    *report = f->unit->report;
    for (int i = 0; i < report->function_count; i++) {
        fasc_function_report *row = &report->function[i];
        if (strcmp(row->name, launch->entry) == 0) {
            row->threads = launch->threads;
            row->smem_dynamic = (int32_t)launch->smem;
            row->blocks_per_unit = blocks;
            row->occupancy = (double)blocks * launch->threads / d->threads_per_unit;
        }
    }
    return FASC_OK;
}

int64_t fasc_cuda_blocks_for(const fasc_cuda_device *d, int64_t n, int64_t each)
{
    enum { ROUNDS = 32 }; /* enough blocks to even out, few enough to start quickly */
    int64_t wanted = (n + each - 1) / each, most = (int64_t)d->units * ROUNDS;
    return wanted < most ? wanted : most;
}
