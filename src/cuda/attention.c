/* attention.c - the CUDA attention kernels: their table, the choice among them, and a call's stream
 * and workspace. */
#include "cuda/attention.h"

#include <stdio.h>
#include <string.h>

#include "cuda/reducers.h"

/* Best first. */
static const fasc_cuda_attention *const KERNELS[] = {
    &fasc_cuda_flash_sm90,
    &fasc_cuda_flash_sm80,
    &fasc_cuda_blas,
    &fasc_cuda_naive,
};

enum { KERNEL_COUNT = sizeof KERNELS / sizeof *KERNELS };

static const char *arch_of(const fasc_cuda_attention *kernel, const fasc_cuda_device *d)
{
    return kernel->arch ? kernel->arch : d->arch;
}

bool fasc_cuda_kernel(fasc_device *device, int32_t i, fasc_kernel_info *info)
{
    if (i < 0 || i >= KERNEL_COUNT) {
        return false;
    }
    const fasc_cuda_attention *kernel = KERNELS[i];
    *info = (fasc_kernel_info){.size = sizeof *info};
    snprintf(info->name, sizeof info->name, "%s", kernel->name);
    snprintf(info->arch, sizeof info->arch, "%s", arch_of(kernel, fasc_cuda_of(device)));
    snprintf(info->summary, sizeof info->summary, "%s", kernel->summary);
    snprintf(info->supports, sizeof info->supports, "%s", kernel->supports);
    return true;
}

/* What a kernel computes of a problem by itself. */
static uint32_t outputs_of(const fasc_cuda_attention *kernel, const fasc_problem *problem)
{
    return kernel->outputs | (kernel->fuses ? kernel->fuses(problem) : 0);
}

/* ---- choosing ------------------------------------------------------------ */

static bool settings_known(const fasc_cuda_attention *kernel, const fasc_kernel_config *config,
                           char *why, size_t room)
{
    const struct {
        const char *name;
        int32_t value;
        bool known;
    } setting[] = {{"block_m", config->block_m, kernel->block_m},
                   {"block_n", config->block_n, kernel->block_n},
                   {"stages", config->stages, kernel->stages},
                   {"warps", config->warps, kernel->warps},
                   {"splits", config->splits > 1 ? config->splits : 0, kernel->splits}};
    for (size_t i = 0; i < sizeof setting / sizeof *setting; i++) {
        if (setting[i].value != 0 && !setting[i].known) {
            snprintf(why, room, "has no setting %s", setting[i].name);
            return false;
        }
    }
    return true;
}

/* Whether a kernel can serve the problem with settings of its own; if not, why. */
static bool can(const fasc_cuda_attention *kernel, const fasc_cuda_device *d,
                const fasc_problem *problem, char *why, size_t room)
{
    uint32_t served = outputs_of(kernel, problem);
    if (fasc_problem_has_f64(problem)) {
        snprintf(why, room, "computes in float32 and serves no f64");
        return false;
    }
    if (kernel->passes && problem->wanted & ~served) {
        served |= fasc_reducers_serve(problem, why, room);
    }
    const char *beyond = fasc_unserved(problem, served);
    if (beyond) {
        if (!*why) {
            snprintf(why, room, "does not compute %s", beyond);
        }
        return false;
    }
    if (problem->dropout && !kernel->dropout) {
        snprintf(why, room, "has no dropout");
        return false;
    }
    fasc_cuda_shares shares;
    fasc_reducers_share(d, problem, outputs_of(kernel, problem), arch_of(kernel, d), &shares);
    return !kernel->can || kernel->can(d, &shares.forward, why, room);
}

/* Whether a kernel is what the configuration names and can serve; if not, why. */
static bool serves(const fasc_cuda_attention *kernel, const fasc_cuda_device *d,
                   const fasc_problem *problem, char *why, size_t room)
{
    const fasc_kernel_config *config = &problem->args->kernel;
    if (config->arch && strcmp(config->arch, arch_of(kernel, d)) != 0) {
        snprintf(why, room, "is compiled for %s, not %s", arch_of(kernel, d), config->arch);
        return false;
    }
    return settings_known(kernel, config, why, room) && can(kernel, d, problem, why, room);
}

/* Whether a kernel other than the first that serves is the better one for this problem. */
static bool is_preferred(const fasc_cuda_attention *kernel, const fasc_cuda_device *d,
                         const fasc_problem *problem)
{
    char why[160] = "";
    const char *name = problem->args->kernel.name;
    if (!kernel->prefers || (name && strcmp(name, kernel->name) != 0) ||
        !serves(kernel, d, problem, why, sizeof why)) {
        return false;
    }
    fasc_cuda_shares shares;
    fasc_reducers_share(d, problem, outputs_of(kernel, problem), arch_of(kernel, d), &shares);
    return kernel->prefers(d, &shares.forward);
}

/* The preferred kernel of that name (any when NULL), else the first that serves. Refusals before it
 * go to `refused`. */
static const fasc_cuda_attention *choose(const fasc_cuda_device *d, const fasc_problem *problem,
                                         char *refused, size_t room)
{
    const char *name = problem->args->kernel.name;
    size_t used = 0;
    refused[0] = 0;
    for (int i = 0; i < KERNEL_COUNT; i++) {
        if (is_preferred(KERNELS[i], d, problem)) {
            return KERNELS[i];
        }
    }
    for (int i = 0; i < KERNEL_COUNT; i++) {
        const fasc_cuda_attention *kernel = KERNELS[i];
        char why[160] = "";
        if (name && strcmp(name, kernel->name) != 0) {
            continue;
        }
        if (serves(kernel, d, problem, why, sizeof why)) {
            return kernel;
        }
        if (used < room) {
            used += (size_t)snprintf(refused + used, room - used, "%s%s %s %s", used ? "; " : "",
                                     kernel->name, arch_of(kernel, d), why);
        }
    }
    return NULL;
}

/* Which kernel could do it, were it asked for: for the message of a refusal. */
static const char *alternative(const fasc_cuda_device *d, const fasc_problem *problem)
{
    for (int i = 0; i < KERNEL_COUNT; i++) {
        char why[160] = "";
        if (can(KERNELS[i], d, problem, why, sizeof why)) {
            return KERNELS[i]->name;
        }
    }
    return "none on this device; the cpu's reference";
}

fasc_status fasc_cuda_plan(fasc_device *device, const fasc_problem *problem,
                           fasc_attention_plan *plan)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    char refused[512];
    const fasc_cuda_attention *kernel = choose(d, problem, refused, sizeof refused);
    if (!kernel) {
        return fasc_fail(FASC_EUNSUPPORTED, "attention: kernel: %s; can: %s", refused,
                         alternative(d, problem));
    }
    snprintf(plan->kernel, sizeof plan->kernel, "%s", kernel->name);
    snprintf(plan->arch, sizeof plan->arch, "%s", arch_of(kernel, d));
    plan->splits = 1;
    snprintf(plan->reason, sizeof plan->reason, "%.200s%s",
             *refused                     ? refused
             : problem->args->kernel.name ? "asked for by name"
                                          : "the fastest here: ",
             *refused || problem->args->kernel.name ? "" : kernel->summary);
    fasc_cuda_shares shares;
    fasc_reducers_share(d, problem, outputs_of(kernel, problem), plan->arch, &shares);
    fasc_status status = shares.forward.wanted ? kernel->plan(d, &shares.forward, plan) : FASC_OK;
    size_t passes = fasc_reducers_workspace(d, &shares);
    if (passes > 0) {
        plan->workspace_bytes =
            (int64_t)(fasc_cuda_aligned((size_t)plan->workspace_bytes) + passes + FASC_CUDA_ALIGN);
    }
    fasc_reducers_describe(d, &shares, plan);
    return status;
}

static const fasc_cuda_attention *planned(const fasc_cuda_device *d,
                                          const fasc_attention_plan *plan)
{
    for (int i = 0; i < KERNEL_COUNT; i++) {
        if (strcmp(plan->kernel, KERNELS[i]->name) == 0 &&
            strcmp(plan->arch, arch_of(KERNELS[i], d)) == 0) {
            return KERNELS[i];
        }
    }
    return NULL;
}

/* ---- running ------------------------------------------------------------- */

static bool owns_memory(const fasc_attention_args *args)
{
#define TENSOR(number, name, shape) args->name,
    const fasc_tensor *tensor[] = {args->q, args->k, args->v, args->mask, FASC_OUTPUTS(TENSOR)};
#undef TENSOR
    for (size_t i = 0; i < sizeof tensor / sizeof *tensor; i++) {
        if (tensor[i] && tensor[i]->storage->owned) {
            return true;
        }
    }
    return false;
}

/* The caller's workspace, or scratch. */
static fasc_status take_workspace(fasc_cuda_device *d, const fasc_problem *problem,
                                  const fasc_attention_plan *plan, cudaStream_t stream,
                                  fasc_cuda_scratch *scratch, char **workspace)
{
    void *at = problem->args->workspace;
    *scratch = (fasc_cuda_scratch){0};
    if (!at) {
        fasc_status status =
            fasc_cuda_scratch_take(d, (size_t)plan->workspace_bytes, stream, scratch);
        if (status != FASC_OK) {
            return fasc_fail(status, "attention: workspace of %s: %s", plan->kernel,
                             fasc_cuda_last_error());
        }
        at = scratch->data;
    }
    *workspace = (char *)(fasc_cuda_aligned((size_t)(uintptr_t)at));
    return FASC_OK;
}

/* The kernel, then the passes, whose workspace lies behind the kernel's. */
static fasc_status run_all(const fasc_cuda_attention *kernel, const fasc_cuda_call *call)
{
    fasc_cuda_shares shares;
    fasc_reducers_share(call->d, call->problem, outputs_of(kernel, call->problem), call->plan->arch,
                        &shares);
    size_t passes = fasc_reducers_workspace(call->d, &shares);
    size_t before =
        passes == 0 ? 0 : (size_t)call->plan->workspace_bytes - FASC_CUDA_ALIGN - passes;
    fasc_reducers_place(call->d, &shares, call->workspace + before);
    fasc_status status = FASC_OK;
    if (shares.forward.wanted) {
        fasc_cuda_call forward = *call;
        forward.problem = &shares.forward;
        status = kernel->run(&forward);
    }
    return status == FASC_OK
               ? fasc_reducers_run(call->d, &shares, call->workspace + before, call->stream)
               : status;
}

fasc_status fasc_cuda_run(fasc_device *device, const fasc_problem *problem,
                          const fasc_attention_plan *plan)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    const fasc_cuda_attention *kernel = planned(d, plan);
    cudaStream_t stream = fasc_cuda_stream_for(d, problem->args->stream);
    bool owned = owns_memory(problem->args);
    fasc_cuda_scratch scratch;
    fasc_cuda_call call = {d, problem, plan, stream, NULL};
    int previous = fasc_cuda_enter(d);
    fasc_status status = take_workspace(d, problem, plan, stream, &scratch, &call.workspace);
    if (status == FASC_OK) {
        status = fasc_cuda_stream_begin(d, stream, owned);
        if (status == FASC_OK) {
            status = run_all(kernel, &call);
        }
        fasc_status ended = fasc_cuda_stream_end(d, stream, owned);
        status = status == FASC_OK ? ended : status;
        ended = fasc_cuda_scratch_return(d, &scratch, stream);
        status = status == FASC_OK ? ended : status;
    }
    fasc_cuda_leave(previous);
    return status;
}

/* ---- reports ------------------------------------------------------------- */

/* Launch `index` of the kernel, then of the passes. */
static bool stage_at(const fasc_cuda_attention *kernel, const fasc_cuda_device *d,
                     const fasc_cuda_shares *shares, const fasc_attention_plan *plan, int32_t index,
                     fasc_cuda_stage *stage)
{
    int32_t count = 0;
    while (shares->forward.wanted && kernel->stage(d, &shares->forward, plan, count, stage)) {
        if (count++ == index) {
            return true;
        }
    }
    return index >= count && fasc_reducers_stage(d, shares, index - count, stage);
}

fasc_status fasc_cuda_inspect(fasc_device *device, const fasc_problem *problem,
                              const fasc_attention_plan *plan, int32_t index,
                              fasc_compile_report *report, int32_t *count)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    const fasc_cuda_attention *kernel = planned(d, plan);
    fasc_cuda_stage stage;
    fasc_cuda_shares shares;
    fasc_reducers_share(d, problem, outputs_of(kernel, problem), plan->arch, &shares);
    *count = 0;
    while (stage_at(kernel, d, &shares, plan, *count, &stage)) {
        ++*count;
    }
    if (!report) {
        return FASC_OK;
    }
    if (index < 0 || !stage_at(kernel, d, &shares, plan, index, &stage)) {
        return fasc_fail(FASC_EINVAL, "attention_inspect: index: %d is not below the count, %d",
                         (int)index, (int)*count);
    }
    int previous = fasc_cuda_enter(d);
    fasc_status status = fasc_cuda_inspect_launch(d, &stage.launch, report);
    fasc_cuda_leave(previous);
    return status;
}
