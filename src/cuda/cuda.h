/* cuda.h - the rooms of the CUDA backend and what they share: a device, its errors, its memory, its
 * kernels' launches. Put together in backend.c. */
#ifndef FASC_CUDA_H
#define FASC_CUDA_H

#include <cuda_runtime_api.h>

#include "backend.h"

/* ---- a device ------------------------------------------------------------ */

enum { FASC_CUDA_MAX_DEVICES = 64 };

/* The kernels use what sm_80 brought: bf16, cp.async, mma.m16n8k16. */
#define FASC_CUDA_OLDEST_COMPUTE 80

typedef struct fasc_cuda_pool fasc_cuda_pool;
typedef struct fasc_cuda_staging fasc_cuda_staging;
typedef struct fasc_cublas fasc_cublas;
typedef struct fasc_cuda_clock fasc_cuda_clock;

typedef struct fasc_cuda_device {
    int ordinal;
    char name[32]; /* "cuda:0" */
    char arch[16]; /* what kernels are compiled for: "sm_90a" */
    int compute;   /* 90 */
    int units, threads_per_unit;
    int64_t l2_bytes, smem_per_block, smem_per_unit, memory_bytes;
    cudaStream_t stream; /* orders all work that names no other */
    cudaEvent_t link;    /* stream.c */
    fasc_cuda_pool *pool;
    fasc_cuda_staging *staging;
    fasc_cublas *cublas;
    fasc_cuda_clock *clock;
    struct nvml_device *nvml; /* nvml.c */
} fasc_cuda_device;

static inline fasc_cuda_device *fasc_cuda_of(fasc_device *device)
{
    return device->impl;
}

/* device.c: makes the device current on this thread; returns which was, for leave. */
int fasc_cuda_enter(fasc_cuda_device *d);
void fasc_cuda_leave(int previous);

fasc_status fasc_cuda_count(int32_t *count);
fasc_status fasc_cuda_open(fasc_device *device);
fasc_status fasc_cuda_info(fasc_device *device, fasc_device_info *info);
fasc_status fasc_cuda_synchronize(fasc_device *device);

/* backend.c: this thread's last message, and whether to stop, as libfasc keeps them. */
const char *fasc_cuda_last_error(void);
bool fasc_cuda_canceled(void);

/* ---- errors (error.c) ---------------------------------------------------- */

/* FASC_OK, or FASC_EDEVICE with the call and the runtime's words. An error that spoils the device
 * for good is told once with the kernels launched last; later calls say only that it is unusable.
 */
fasc_status fasc_cuda_check(fasc_cuda_device *d, cudaError_t error, const char *call);

/* Remembers a launch for that message. kernel must live on. */
void fasc_cuda_note_launch(fasc_cuda_device *d, const char *kernel, unsigned grid, unsigned block,
                           size_t smem);

/* ---- memory (memory.c) --------------------------------------------------- */

fasc_status fasc_cuda_pool_new(fasc_cuda_device *d);

/* Does it keep blocks, or is it turned off? */
bool fasc_cuda_pool_keeps(const fasc_cuda_device *d);

/* A block for work on `stream` (NULL = the device's own): it may have been used by earlier work on
 * that stream, and by none other that is still running. Given back with the same bytes and stream,
 * possibly while queued work uses it. FASC_ENOMEM says asked and free bytes. 256-byte aligned. */
fasc_status fasc_cuda_block_take(fasc_cuda_device *d, size_t bytes, cudaStream_t stream,
                                 void **data);
void fasc_cuda_block_return(fasc_cuda_device *d, void *data, size_t bytes, cudaStream_t stream);

/* Memory for one call's work on `stream`, taken before that work and given back behind it: a block,
 * or, where the stream is being captured, memory that the graph owns and takes at each replay. */
typedef struct fasc_cuda_scratch {
    void *data;
    size_t bytes;
    bool of_graph;
} fasc_cuda_scratch;

fasc_status fasc_cuda_scratch_take(fasc_cuda_device *d, size_t bytes, cudaStream_t stream,
                                   fasc_cuda_scratch *scratch);
fasc_status fasc_cuda_scratch_return(fasc_cuda_device *d, const fasc_cuda_scratch *scratch,
                                     cudaStream_t stream);

fasc_status fasc_cuda_alloc(fasc_device *device, size_t bytes, void **data);
void fasc_cuda_release(fasc_device *device, void *data, size_t bytes);
fasc_status fasc_cuda_memory(fasc_device *device, int64_t *cached, int64_t *free, int64_t *total);
fasc_status fasc_cuda_trim(fasc_device *device);

/* ---- transfers (transfer.c) ---------------------------------------------- */

fasc_status fasc_cuda_staging_new(fasc_cuda_device *d);
fasc_status fasc_cuda_upload(fasc_device *device, void *dst, const void *src, size_t bytes);
fasc_status fasc_cuda_download(fasc_device *device, void *dst, const void *src, size_t bytes);

/* ---- kernels (module.c, launch.c) ---------------------------------------- */

/* One entry point of a compiled configuration. */
typedef struct fasc_cuda_function fasc_cuda_function;

/* source "kernels/naive.cu", macros "ELEMENT=f16", entry "naive_scores"; compiled and loaded on
 * first use, then found in a table. FASC_EDEVICE with the compiler's words when it does not
 * compile. */
fasc_status fasc_cuda_function_get(fasc_cuda_device *d, const char *source, const char *macros,
                                   const char *entry, fasc_cuda_function **function);

typedef struct fasc_cuda_launch {
    const char *source, *macros, *entry;
    int64_t blocks; /* along x */
    int threads;
    size_t smem; /* dynamic, bytes */
} fasc_cuda_launch;

/* Queues a kernel whose one parameter is the struct at `params`. */
fasc_status fasc_cuda_run_kernel(fasc_cuda_device *d, cudaStream_t stream,
                                 const fasc_cuda_launch *launch, const void *params);

/* Its compile report, with this launch's shape and occupancy in the entry's row. */
fasc_status fasc_cuda_inspect_launch(fasc_cuda_device *d, const fasc_cuda_launch *launch,
                                     fasc_compile_report *report);

/* Blocks for n elements at `each` a block, no more than fill the device some times over; kernels
 * loop over the rest. */
int64_t fasc_cuda_blocks_for(const fasc_cuda_device *d, int64_t n, int64_t each);

/* ---- streams (stream.c) -------------------------------------------------- */

bool fasc_cuda_is_capturing(cudaStream_t stream);
/* A graph that outlives the call, so that its memory cannot be the pool's; the sampling loop's
 * graphs do not. */
bool fasc_cuda_is_captured_by_caller(cudaStream_t stream);

/* The stream that a call asked for; NULL, and every call on a thread that is sampling, means the
 * device's own. */
cudaStream_t fasc_cuda_stream_for(const fasc_cuda_device *d, void *asked);
void fasc_cuda_set_sampling(bool sampling);

/* Around work on a stream. Where fasc owns memory that the work uses (`owned`), the device's own
 * stream and the caller's wait for one another, so that the pool's order holds; not while
 * capturing, when that order is the caller's to keep. */
fasc_status fasc_cuda_stream_begin(fasc_cuda_device *d, cudaStream_t stream, bool owned);
fasc_status fasc_cuda_stream_end(fasc_cuda_device *d, cudaStream_t stream, bool owned);

/* ---- tensors (elementwise.c, reduce.c, matmul.c) ------------------------- */

fasc_status fasc_cuda_copy(const fasc_tensor *src, fasc_tensor *dst);
fasc_status fasc_cuda_copy_on(fasc_cuda_device *d, cudaStream_t stream, const fasc_tensor *src,
                              const fasc_tensor *dst);
fasc_status fasc_cuda_fill(fasc_tensor *t, double value);
fasc_status fasc_cuda_arange(fasc_tensor *t, double start, double step);
fasc_status fasc_cuda_rand(fasc_tensor *t, const fasc_rand_spec *spec);
fasc_status fasc_cuda_summarize(const fasc_tensor *t, fasc_summary *summary);
fasc_status fasc_cuda_compare(const fasc_tensor *a, const fasc_tensor *b,
                              fasc_difference *difference);
fasc_status fasc_cuda_matmul(const fasc_matmul_args *args);

/* "f16"; the name that kernels know the dtype by. */
const char *fasc_cuda_dtype_name(fasc_dtype dtype);
size_t fasc_cuda_dtype_size(fasc_dtype dtype);

/* ---- attention (attention.c) --------------------------------------------- */

bool fasc_cuda_kernel(fasc_device *device, int32_t i, fasc_kernel_info *info);
fasc_status fasc_cuda_plan(fasc_device *device, const fasc_problem *problem,
                           fasc_attention_plan *plan);
fasc_status fasc_cuda_run(fasc_device *device, const fasc_problem *problem,
                          const fasc_attention_plan *plan);
fasc_status fasc_cuda_inspect(fasc_device *device, const fasc_problem *problem,
                              const fasc_attention_plan *plan, int32_t index,
                              fasc_compile_report *report, int32_t *count);

/* ---- compiling without a device (precompile.c), measuring (sample.c, nvml.c) -------- */

fasc_status fasc_cuda_precompile(const char *archs, int32_t index, fasc_compile_report *report,
                                 int32_t *count);
fasc_status fasc_cuda_sample(fasc_device *device, fasc_sample *sample);
fasc_status fasc_cuda_state(fasc_device *device, fasc_device_state *state);

#endif
