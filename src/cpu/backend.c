/* backend.c - the CPU backend: its table of functions, and what it says about the processor. */
#include <cblas.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/isa.h"
#include "system.h"

static fasc_status count(int32_t *n)
{
    *n = 1;
    return FASC_OK;
}

static fasc_status open_cpu(fasc_device *device)
{
    (void)device;
    return fasc_cpu_isa_check();
}

/* "OpenBLAS 0.3.21": the first two words of its configuration. */
static void blas_name(char *text, size_t size)
{
    const char *config = openblas_get_config();
    size_t first = strcspn(config, " ");
    size_t length = first + (config[first] ? 1 + strcspn(config + first + 1, " ") : 0);
    snprintf(text, size, "%.*s", (int)length, config);
}

static fasc_status info(fasc_device *device, fasc_device_info *found)
{
    (void)device;
    fasc_processor_name(found->model, sizeof found->model);
    snprintf(found->arch, sizeof found->arch, "%s", fasc_isa_name(fasc_cpu_isa()));
    blas_name(found->runtime, sizeof found->runtime);
    found->units = fasc_num_threads();
    found->l2_bytes = fasc_last_level_cache();
    fasc_system_memory(&found->memory_total, &found->memory_free);
    return FASC_OK;
}

static fasc_status synchronize(fasc_device *device)
{
    (void)device;
    return FASC_OK;
}

static fasc_status move(fasc_device *device, void *dst, const void *src, size_t bytes)
{
    (void)device;
    memcpy(dst, src, bytes);
    return FASC_OK;
}

const fasc_backend fasc_cpu_backend = {
    .version = FASC_BACKEND_VERSION,
    .name = "cpu",
    .count = count,
    .open = open_cpu,
    .info = info,
    .synchronize = synchronize,
    .alloc = fasc_cpu_alloc,
    .release = fasc_cpu_release,
    .memory = fasc_cpu_memory,
    .trim = fasc_cpu_trim,
    .upload = move,
    .download = move,
    .copy = fasc_cpu_copy,
    .fill = fasc_cpu_fill,
    .arange = fasc_cpu_arange,
    .rand = fasc_cpu_rand,
    .summarize = fasc_cpu_summarize,
    .compare = fasc_cpu_compare,
    .matmul = fasc_cpu_matmul,
    .kernel = fasc_cpu_kernel,
    .plan = fasc_cpu_plan,
    .run = fasc_cpu_run,
    .sample = fasc_cpu_sample,
};
