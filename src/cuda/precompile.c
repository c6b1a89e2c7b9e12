/* precompile.c - compiling what ships without a GPU: the configurations times the architectures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/configs.h"
#include "cuda/cuda.h"
#include "cuda/jit.h"

/* Where something is compiled when no architecture is named. */
#define ALL_ARCHS FASC_CUDA_HOMES ",sm_89,sm_120"

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

/* "sm_80", "sm_90a": whether NVRTC knows the number is for NVRTC to say. */
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
        any = true;
    }
    return any && !*at ? FASC_OK
                       : fasc_fail(FASC_EINVAL, "precompile: archs: '%s' is not a list such as %s",
                                   list, ALL_ARCHS);
}

static bool contains(const char *list, const char *arch)
{
    char at_arch[16];
    while (next_arch(&list, at_arch)) {
        if (strcmp(at_arch, arch) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a configuration is compiled for arch: where it can be when the caller named the
 * architectures, else at its homes. */
static bool is_wanted(const fasc_cuda_config *config, const char *arch, bool named)
{
    int compute = atoi(arch + strlen("sm_"));
    if (config->last && (compute < config->first || compute > config->last)) {
        return false;
    }
    if (named) {
        return !config->arch || strcmp(config->arch, arch) == 0;
    }
    return contains(config->home ? config->home : FASC_CUDA_HOMES, arch);
}

/* Number `index` of the products into *found; *count: how many there are. */
static bool find(const char *archs, bool named, int32_t index, char arch[16],
                 fasc_cuda_config *found, int32_t *count)
{
    fasc_cuda_config config;
    char at_arch[16];
    bool is_there = false;
    *count = 0;
    while (next_arch(&archs, at_arch)) {
        for (int32_t i = 0; fasc_cuda_config_at(i, &config); i++) {
            if (!is_wanted(&config, at_arch, named)) {
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
    bool named = archs != NULL;
    archs = named ? archs : ALL_ARCHS;
    fasc_status status = check_archs(archs);
    if (status != FASC_OK) {
        return status;
    }
    fasc_cuda_config config;
    bool is_there = find(archs, named, index, arch, &config, count);
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
