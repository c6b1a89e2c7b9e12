/* backend.c - the CUDA backend's table, and the one symbol that libfasc looks for. */
#include "cuda/cuda.h"

static const fasc_core *core;

fasc_status fasc_fail(fasc_status status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    core->vfail(status, format, list);
    va_end(list);
    return status;
}

const char *fasc_cuda_last_error(void)
{
    return core->last_error();
}

bool fasc_cuda_canceled(void)
{
    return core->cancel_requested();
}

static const fasc_backend BACKEND = {
    .version = FASC_BACKEND_VERSION,
    .name = "cuda",
    .count = fasc_cuda_count,
    .open = fasc_cuda_open,
    .info = fasc_cuda_info,
    .synchronize = fasc_cuda_synchronize,
    .alloc = fasc_cuda_alloc,
    .release = fasc_cuda_release,
    .memory = fasc_cuda_memory,
    .trim = fasc_cuda_trim,
    .upload = fasc_cuda_upload,
    .download = fasc_cuda_download,
    .copy = fasc_cuda_copy,
    .fill = fasc_cuda_fill,
    .arange = fasc_cuda_arange,
    .rand = fasc_cuda_rand,
    .summarize = fasc_cuda_summarize,
    .compare = fasc_cuda_compare,
    .matmul = fasc_cuda_matmul,
    .kernel = fasc_cuda_kernel,
    .plan = fasc_cuda_plan,
    .run = fasc_cuda_run,
    .precompile = fasc_cuda_precompile,
    .inspect = fasc_cuda_inspect,
    .sample = fasc_cuda_sample,
    .state = fasc_cuda_state,
};

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const fasc_backend *
fasc_backend_entry_v1(const fasc_core *given);

const fasc_backend *fasc_backend_entry_v1(const fasc_core *given)
{
    if (given->version != FASC_BACKEND_VERSION) {
        return NULL;
    }
    core = given;
    return &BACKEND;
}
