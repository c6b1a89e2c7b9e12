/* attention.c - the CPU's attention kernels: their table, the choice among them, and the
 * workspace they run in. */
#include "cpu/attention.h"

#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "memory.h"
#include "names.h"

/* Best first: the first that does not refuse serves a problem that names no kernel. */
static const fasc_attention_kernel *const KERNELS[] = {
    &fasc_cpu_flash,
    &fasc_cpu_blas,
    &fasc_cpu_naive,
    &fasc_cpu_reference,
};

enum { KERNEL_COUNT = sizeof KERNELS / sizeof *KERNELS };

static const fasc_attention_kernel *find(const char *name)
{
    for (int i = 0; i < KERNEL_COUNT; i++) {
        if (strcmp(KERNELS[i]->name, name) == 0) {
            return KERNELS[i];
        }
    }
    return NULL;
}

bool fasc_cpu_kernel(fasc_device *device, int32_t i, fasc_kernel_info *info)
{
    (void)device;
    if (i < 0 || i >= KERNEL_COUNT) {
        return false;
    }
    *info = (fasc_kernel_info){.size = sizeof *info};
    snprintf(info->name, sizeof info->name, "%s", KERNELS[i]->name);
    snprintf(info->arch, sizeof info->arch, "%s",
             KERNELS[i]->isa ? fasc_isa_name(fasc_cpu_isa()) : "portable");
    snprintf(info->summary, sizeof info->summary, "%s", KERNELS[i]->summary);
    snprintf(info->supports, sizeof info->supports, "%s", KERNELS[i]->supports);
    return true;
}

/* ---- choosing -------------------------------------------------------------------- */

/* Why a kernel cannot serve the problem, as words after its name; NULL if it can. */
static const char *refusal_of(const fasc_attention_kernel *kernel, const fasc_problem *problem,
                              char *room, size_t size)
{
    const char *refusal = kernel->refuses(problem), *beyond;
    if (refusal) {
        return refusal;
    }
    if ((beyond = fasc_unserved(problem, kernel->outputs))) {
        snprintf(room, size, "does not compute %s", beyond);
        return room;
    }
    return problem->dropout && !kernel->dropout ? "has no dropout" : NULL;
}

/* The first kernel that takes the problem, named in a refusal; NULL if none does. */
static const fasc_attention_kernel *first_that_can(const fasc_problem *problem)
{
    char room[64];
    for (int i = 0; i < KERNEL_COUNT; i++) {
        if (!refusal_of(KERNELS[i], problem, room, sizeof room)) {
            return KERNELS[i];
        }
    }
    return NULL;
}

static fasc_status choose(const fasc_problem *problem, const fasc_attention_kernel **chosen,
                          char *reason, size_t size)
{
    const char *name = problem->args->kernel.name;
    char room[64];
    const fasc_attention_kernel *first = first_that_can(problem);
    if (name || !first) {
        const fasc_attention_kernel *kernel = name ? find(name) : KERNELS[0];
        if (!kernel) {
            return fasc_fail(FASC_EINVAL, "attention: kernel: unknown name '%s'", name);
        }
        const char *refusal = refusal_of(kernel, problem, room, sizeof room);
        if (refusal) {
            return fasc_fail(FASC_EUNSUPPORTED, "attention: kernel: %s %s; %s can", kernel->name,
                             refusal, first ? first->name : "no kernel on cpu");
        }
        *chosen = kernel;
        snprintf(reason, size, "asked for by name");
        return FASC_OK;
    }
    *chosen = first;
    if (first == KERNELS[0]) {
        snprintf(reason, size, "the fastest: %s", first->summary);
    } else {
        snprintf(reason, size, "%s %s", KERNELS[0]->name,
                 refusal_of(KERNELS[0], problem, room, sizeof room));
    }
    return FASC_OK;
}

/* ---- configuration ----------------------------------------------------------------- */

static fasc_status choose_arch(const fasc_attention_kernel *kernel, const char *wanted, char *arch,
                               size_t size)
{
    static const char *const ARCHS[] = {"portable", "avx2", "avx512"};
    fasc_isa isa = kernel->isa ? fasc_cpu_isa() : FASC_ISA_PORTABLE;
    if (wanted) {
        if (!fasc_isa_parse(wanted, &isa)) {
            const char *nearest = fasc_nearest_name(wanted, ARCHS, FASC_ISA_COUNT);
            return fasc_fail(
                FASC_EINVAL,
                "attention: kernel.arch: '%s' is not one of portable, avx2, avx512%s%s", wanted,
                nearest ? "; did you mean " : "", nearest ? nearest : "");
        }
        if (!kernel->isa && isa != FASC_ISA_PORTABLE) {
            return fasc_fail(FASC_EUNSUPPORTED,
                             "attention: kernel.arch: %s is plain C and has no %s path",
                             kernel->name, wanted);
        }
        if (isa > fasc_cpu_isa_best()) {
            return fasc_fail(FASC_EUNSUPPORTED,
                             "attention: kernel.arch: this processor has no %s; its best is %s",
                             wanted, fasc_isa_name(fasc_cpu_isa_best()));
        }
    }
    snprintf(arch, size, "%s", fasc_isa_name(isa));
    return FASC_OK;
}

static fasc_status check_config(const fasc_attention_kernel *kernel,
                                const fasc_kernel_config *config)
{
    const struct {
        const char *name;
        int32_t value;
        bool known;
    } setting[] = {
        {"block_m", config->block_m, kernel->tiled},
        {"block_n", config->block_n, kernel->tiled},
        {"stages", config->stages, false},
        {"warps", config->warps, false},
        {"splits", config->splits > 1 ? config->splits : 0, kernel->splits},
    };
    for (size_t i = 0; i < sizeof setting / sizeof *setting; i++) {
        if (setting[i].value != 0 && !setting[i].known) {
            return fasc_fail(FASC_EUNSUPPORTED,
                             "attention: kernel.%s: %s on cpu has no such setting", setting[i].name,
                             kernel->name);
        }
    }
    return FASC_OK;
}

fasc_status fasc_cpu_plan(fasc_device *device, const fasc_problem *problem,
                          fasc_attention_plan *plan)
{
    (void)device;
    fasc_status status;
    const fasc_attention_kernel *kernel = NULL;
    const fasc_kernel_config *config = &problem->args->kernel;
    if ((status = choose(problem, &kernel, plan->reason, sizeof plan->reason)) ||
        (status = check_config(kernel, config)) ||
        (status = choose_arch(kernel, config->arch, plan->arch, sizeof plan->arch))) {
        return status;
    }
    snprintf(plan->kernel, sizeof plan->kernel, "%s", kernel->name);
    plan->splits = 1;
    return kernel->plan(problem, plan);
}

/* ---- running ------------------------------------------------------------------------- */

/* A caller's workspace need not be aligned: plans ask for FASC_CPU_ALIGN bytes more than they
 * use. */
static char *align(void *workspace)
{
    uintptr_t at = (uintptr_t)workspace;
    return (char *)workspace + (FASC_CPU_ALIGN - at % FASC_CPU_ALIGN) % FASC_CPU_ALIGN;
}

fasc_status fasc_cpu_run(fasc_device *device, const fasc_problem *problem,
                         const fasc_attention_plan *plan)
{
    const fasc_attention_kernel *kernel = find(plan->kernel);
    if (problem->args->workspace) {
        return kernel->run(problem, plan, align(problem->args->workspace));
    }
    fasc_storage *storage;
    fasc_status status =
        fasc_storage_new("attention", device, (size_t)plan->workspace_bytes, &storage);
    if (status == FASC_OK) {
        status = kernel->run(problem, plan, align(storage->data));
        fasc_storage_release(storage);
    }
    return status;
}

int32_t fasc_cpu_threads(int64_t units)
{
    int32_t threads = fasc_num_threads();
    return units < threads ? (int32_t)units : threads;
}
