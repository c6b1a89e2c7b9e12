/* version.c - what this library is: versions, the build's record, and struct sizes. */
#include <cblas.h>
#include <jansson.h>
#include <png.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "backend.h"
#include "build_info.h"

const char *fasc_version(void)
{
    return FASC_BUILD_VERSION;
}

uint32_t fasc_abi_version(void)
{
    return FASC_ABI_VERSION;
}

static char build_info[1024];

static void write_build_info(void)
{
    json_t *info = json_pack(
        "{ss ss sb ss ss s{ss ss ss}}", "version", FASC_BUILD_VERSION, "commit", FASC_BUILD_COMMIT,
        "dirty", strcmp(FASC_BUILD_DIRTY, "true") == 0, "compiler", FASC_BUILD_COMPILER,
        "build_type", FASC_BUILD_TYPE, "libraries", "openblas", openblas_get_config(), "libpng",
        png_get_libpng_ver(NULL), "jansson", jansson_version_str());
    size_t length = json_dumpb(info, build_info, sizeof build_info - 1, JSON_COMPACT);
    build_info[length < sizeof build_info ? length : 0] = 0;
    json_decref(info);
}

const char *fasc_build_info(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, write_build_info);
    return build_info;
}

size_t fasc_struct_size(const char *name)
{
#define ROW(type)                                                                                  \
    {                                                                                              \
#type, sizeof(type)                                                                        \
    }
    static const struct {
        const char *name;
        size_t size;
    } STRUCT[] = {
        ROW(fasc_device_info),     ROW(fasc_memory_stats),   ROW(fasc_summary),
        ROW(fasc_difference),      ROW(fasc_matmul_args),    ROW(fasc_kernel_config),
        ROW(fasc_attention_args),  ROW(fasc_attention_plan), ROW(fasc_kernel_info),
        ROW(fasc_check_entry),     ROW(fasc_check_result),   ROW(fasc_copy_args),
        ROW(fasc_timing_options),  ROW(fasc_timing),         ROW(fasc_file_tensor),
        ROW(fasc_function_report), ROW(fasc_compile_report), ROW(fasc_heatmap_args),
        ROW(fasc_heatmap_info),    ROW(fasc_pool_args),      ROW(fasc_pool_info),
        ROW(fasc_device_state),
    };
    for (size_t i = 0; name && i < sizeof STRUCT / sizeof *STRUCT; i++) {
        if (strcmp(name, STRUCT[i].name) == 0) {
            return STRUCT[i].size;
        }
    }
    return 0;
}
