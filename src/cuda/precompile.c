/* precompile.c - compiling what ships without a GPU: the configurations times the architectures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/configs.h"
#include "cuda/cuda.h"
#include "cuda/jit.h"
#include "cuda/nvrtc.h"

/* What stands for the GPUs of each generation that is served. */
#define ALL_ARCHS "sm_80,sm_89,sm_90a,sm_120"
enum { ARCH_COUNT = 4 };

/* In place of a list: each configuration for one of them. */
#define SAMPLE "sample"

/* The next name of a comma-separated list into arch; false at its end. */
static bool next_arch(const char **list, char arch[16])
{
    size_t bytes = strcspn(*list, ",");
    if (bytes == 0) {
        return false;
    }
    snprintf(arch, 16, "%.*s", (int)(bytes < 15 ? bytes : 15), *list);
    *list += bytes + ((*list)[bytes] == ',');
    return true;
}

/* "sm_80", "sm_90a", and none that is too old for the kernels or unknown to NVRTC. */
static fasc_status check_archs(const char *list)
{
    char arch[16];
    const char *at = list;
    bool any = false;
    while (next_arch(&at, arch)) {
        size_t digits = strncmp(arch, "sm_", 3) == 0 ? strspn(arch + 3, "0123456789") : 0;
        const char *rest = arch + 3 + digits;
        if (digits < 2 || digits > 3 || (strcmp(rest, "") != 0 && strcmp(rest, "a") != 0)) {
            return fasc_fail(
                FASC_EINVAL,
                "precompile: archs: '%s' is not an architecture such as sm_80 or sm_90a", arch);
        }
        int compute = atoi(arch + 3);
        if (compute < FASC_CUDA_OLDEST_COMPUTE) {
            return fasc_fail(FASC_EINVAL,
                             "precompile: archs: %s: fasc's kernels need sm_%d or newer", arch,
                             FASC_CUDA_OLDEST_COMPUTE);
        }
        fasc_status status = fasc_nvrtc_knows(compute);
        if (status != FASC_OK) {
            return status;
        }
        any = true;
    }
    return any && !*at ? FASC_OK
                       : fasc_fail(FASC_EINVAL, "precompile: archs: '%s' is not a list such as %s",
                                   list, ALL_ARCHS);
}

static bool is_for(const fasc_cuda_config *config, const char *arch)
{
    int compute = atoi(arch + strlen("sm_"));
    return config->last   ? compute >= config->first && compute <= config->last
           : config->arch ? strcmp(config->arch, arch) == 0
                          : true;
}

/* The architecture of configuration i in the sample: in turns, so that neighbours (the dtypes of a
 * variant, the variants of a tile) meet different ones; where one is not for it, the next. */
static bool is_sample(const fasc_cuda_config *config, int32_t i, const char *arch)
{
    char turn[ARCH_COUNT][16];
    const char *list = ALL_ARCHS;
    for (int n = 0; n < ARCH_COUNT; n++) {
        next_arch(&list, turn[n]);
    }
    for (int32_t n = 0; n < ARCH_COUNT; n++) {
        const char *next = turn[(i + i / ARCH_COUNT + n) % ARCH_COUNT];
        if (is_for(config, next)) {
            return strcmp(next, arch) == 0;
        }
    }
    return false;
}

/* Number `index` of the products into *found; *count: how many there are. */
static bool find(const char *archs, bool sample, int32_t index, char arch[16],
                 fasc_cuda_config *found, int32_t *count)
{
    fasc_cuda_config config;
    char at_arch[16];
    bool is_there = false;
    *count = 0;
    while (next_arch(&archs, at_arch)) {
        for (int32_t i = 0; fasc_cuda_config_at(i, &config); i++) {
            if (!(sample ? is_sample(&config, i, at_arch) : is_for(&config, at_arch))) {
                continue;
            }
            if (*count == index) {
                *found = config;
                is_there = true;
                snprintf(arch, 16, "%s", at_arch);
            }
            ++*count;
        }
    }
    return is_there;
}

fasc_status fasc_cuda_precompile(const char *archs, int32_t index, fasc_compile_report *report,
                                 int32_t *count)
{
    char arch[16];
    bool sample = archs && strcmp(archs, SAMPLE) == 0;
    archs = archs && !sample ? archs : ALL_ARCHS;
    fasc_status status = check_archs(archs);
    if (status != FASC_OK) {
        return status;
    }
    fasc_cuda_config config;
    bool is_there = find(archs, sample, index, arch, &config, count);
    if (!report) {
        return FASC_OK;
    }
    if (!is_there) {
        return fasc_fail(FASC_EINVAL, "precompile: index: %d is not below the count, %d",
                         (int)index, (int)*count);
    }
    const fasc_jit_unit *unit;
    status = fasc_jit_compile(config.source, config.macros, arch, &unit);
    if (status == FASC_OK) {
        *report = unit->report;
    }
    return status;
}
