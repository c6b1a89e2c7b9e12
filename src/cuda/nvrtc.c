/* nvrtc.c - the run-time compiler, opened on first use. */
#include "cuda/nvrtc.h"

#include <nvrtc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/library.h"

static struct {
    nvrtcResult (*version)(int *, int *);
    nvrtcResult (*create)(nvrtcProgram *, const char *, const char *, int, const char *const *,
                          const char *const *);
    nvrtcResult (*compile)(nvrtcProgram, int, const char *const *);
    nvrtcResult (*log_size)(nvrtcProgram, size_t *);
    nvrtcResult (*log)(nvrtcProgram, char *);
    nvrtcResult (*cubin_size)(nvrtcProgram, size_t *);
    nvrtcResult (*cubin)(nvrtcProgram, char *);
    nvrtcResult (*destroy)(nvrtcProgram *);
    nvrtcResult (*arch_count)(int *);
    nvrtcResult (*archs)(int *);
    const char *(*error)(nvrtcResult);
} nvrtc;

static fasc_status open_nvrtc(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static bool opened;
    const fasc_symbol symbols[] = {
        {"nvrtcVersion", &nvrtc.version},
        {"nvrtcCreateProgram", &nvrtc.create},
        {"nvrtcCompileProgram", &nvrtc.compile},
        {"nvrtcGetProgramLogSize", &nvrtc.log_size},
        {"nvrtcGetProgramLog", &nvrtc.log},
        {"nvrtcGetCUBINSize", &nvrtc.cubin_size},
        {"nvrtcGetCUBIN", &nvrtc.cubin},
        {"nvrtcDestroyProgram", &nvrtc.destroy},
        {"nvrtcGetNumSupportedArchs", &nvrtc.arch_count},
        {"nvrtcGetSupportedArchs", &nvrtc.archs},
        {"nvrtcGetErrorString", &nvrtc.error},
    };
    pthread_mutex_lock(&lock);
    fasc_status status = FASC_OK;
    if (!opened) {
        status = fasc_library_open("nvrtc", symbols, sizeof symbols / sizeof *symbols);
        opened = status == FASC_OK;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

fasc_status fasc_nvrtc_version(char text[16])
{
    fasc_status status = open_nvrtc();
    if (status == FASC_OK) {
        int major = 0, minor = 0;
        nvrtc.version(&major, &minor);
        snprintf(text, 16, "%d.%d", major, minor);
    }
    return status;
}

fasc_status fasc_nvrtc_knows(int compute)
{
    enum { MOST = 64 };
    int known[MOST], count = 0;
    char list[8 * MOST] = "";
    fasc_status status = open_nvrtc();
    if (status != FASC_OK) {
        return status;
    }
    if (nvrtc.arch_count(&count) != NVRTC_SUCCESS || count > MOST ||
        nvrtc.archs(known) != NVRTC_SUCCESS) {
        return FASC_OK; /* compiling will tell */
    }
    for (int i = 0; i < count; i++) {
        if (known[i] == compute) {
            return FASC_OK;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, " sm_%d", known[i]);
    }
    char version[16];
    fasc_nvrtc_version(version);
    return fasc_fail(FASC_EINVAL, "precompile: archs: NVRTC %s knows no sm_%d; it knows%s", version,
                     compute, list);
}

const struct fasc_embedded *fasc_embedded_kernel(const char *path)
{
    for (const struct fasc_embedded *file = fasc_embedded_kernels; file->name; file++) {
        if (strcmp(file->name, path) == 0) {
            return file;
        }
    }
    return NULL;
}

/* ---- headers ------------------------------------------------------------- */

/* What #include calls a file: the last part of its path. */
static const char *include_name(const struct fasc_embedded *file)
{
    const char *slash = strrchr(file->name, '/');
    return slash ? slash + 1 : file->name;
}

/* The file that this line includes; NULL when it includes none, or none of ours. */
static const struct fasc_embedded *included(const char *line)
{
    static const char directive[] = "#include \"";
    if (strncmp(line, directive, sizeof directive - 1) != 0) {
        return NULL;
    }
    const char *name = line + sizeof directive - 1;
    size_t bytes = strcspn(name, "\"\n");
    for (const struct fasc_embedded *file = fasc_embedded_kernels; file->name; file++) {
        const char *known = include_name(file);
        if (strncmp(known, name, bytes) == 0 && known[bytes] == 0) {
            return file;
        }
    }
    return NULL;
}

static int add_included(const char *text, const struct fasc_embedded **list, int count)
{
    for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL) {
        const struct fasc_embedded *file = included(line);
        int i = 0;
        while (i < count && list[i] != file) {
            i++;
        }
        if (file && i == count && count < FASC_KERNEL_HEADERS) {
            list[count++] = file;
        }
    }
    return count;
}

int fasc_kernel_headers(const struct fasc_embedded *source,
                        const struct fasc_embedded *list[FASC_KERNEL_HEADERS])
{
    int count = add_included(source->text, list, 0);
    for (int i = 0; i < count; i++) {
        count = add_included(list[i]->text, list, count);
    }
    return count;
}

/* ---- options ------------------------------------------------------------- */

enum { MAX_OPTIONS = 48, OPTION_ROOM = 2048 };

typedef struct options {
    const char *list[MAX_OPTIONS];
    int count;
    char text[OPTION_ROOM];
    size_t used;
} options;

/* Adds prefix + the next `bytes` of word; false when there is no room. */
static bool add_option(options *o, const char *prefix, const char *word, size_t bytes)
{
    size_t total = strlen(prefix) + bytes + 1;
    if (o->count == MAX_OPTIONS || o->used + total > OPTION_ROOM) {
        return false;
    }
    char *at = o->text + o->used;
    snprintf(at, total, "%s%.*s", prefix, (int)bytes, word);
    o->list[o->count++] = at;
    o->used += total;
    return true;
}

/* Adds each word of a text. */
static bool add_words(options *o, const char *prefix, const char *text)
{
    for (;;) {
        text += strspn(text, " ");
        size_t bytes = strcspn(text, " ");
        if (bytes == 0) {
            return true;
        }
        if (!add_option(o, prefix, text, bytes)) {
            return false;
        }
        text += bytes;
    }
}

/* Where there is a driver, NVRTC 12.9 and newer keep cubins of their own and find them without a
 * log: the report would be empty. fasc's cache keeps both. */
static bool keeps_cubins(void)
{
    int major = 0, minor = 0;
    nvrtc.version(&major, &minor);
    return 100 * major + minor >= 1209;
}

static bool make_options(options *o, const char *macros, const char *arch)
{
    o->count = 0;
    o->used = 0;
    return add_words(o, "", FASC_NVRTC_OPTIONS) &&
           (!keeps_cubins() || add_words(o, "", "--no-cache")) &&
           add_option(o, "--gpu-architecture=", arch, strlen(arch)) && add_words(o, "-D", macros);
}

/* ---- compiling ----------------------------------------------------------- */

static fasc_status fail(const char *call, const char *source, nvrtcResult error)
{
    return fasc_fail(FASC_EDEVICE, "cuda: %s: %s: %s", source, call, nvrtc.error(error));
}

static fasc_status take_results(nvrtcProgram program, const char *source, bool compiled,
                                fasc_nvrtc_result *result)
{
    size_t log_bytes = 0, cubin_bytes = 0;
    nvrtcResult error = nvrtc.log_size(program, &log_bytes);
    if (error == NVRTC_SUCCESS && compiled) {
        error = nvrtc.cubin_size(program, &cubin_bytes);
    }
    if (error != NVRTC_SUCCESS) {
        return fail("reading sizes", source, error);
    }
    result->log = calloc(log_bytes + 1, 1);
    result->cubin = compiled ? malloc(cubin_bytes) : NULL;
    if (!result->log || (compiled && !result->cubin)) {
        return fasc_fail(FASC_ENOMEM, "cuda: %s: no memory for a cubin of %zu bytes", source,
                         cubin_bytes);
    }
    error = nvrtc.log(program, result->log);
    if (error == NVRTC_SUCCESS && compiled) {
        error = nvrtc.cubin(program, result->cubin);
    }
    result->cubin_bytes = cubin_bytes;
    return error == NVRTC_SUCCESS ? FASC_OK : fail("reading results", source, error);
}

fasc_status fasc_nvrtc_compile(const struct fasc_embedded *source, const char *macros,
                               const char *arch, fasc_nvrtc_result *result)
{
    *result = (fasc_nvrtc_result){0};
    fasc_status status = open_nvrtc();
    if (status != FASC_OK) {
        return status;
    }
    options o;
    if (!make_options(&o, macros, arch)) {
        return fasc_fail(FASC_EINVAL, "cuda: %s: too many macros: %s", source->name, macros);
    }
    const struct fasc_embedded *header[FASC_KERNEL_HEADERS];
    const char *text[FASC_KERNEL_HEADERS], *name[FASC_KERNEL_HEADERS];
    int headers = fasc_kernel_headers(source, header);
    for (int i = 0; i < headers; i++) {
        text[i] = header[i]->text;
        name[i] = include_name(header[i]);
    }
    nvrtcProgram program = NULL;
    nvrtcResult error = nvrtc.create(&program, source->text, source->name, headers, text, name);
    if (error != NVRTC_SUCCESS) {
        return fail("nvrtcCreateProgram", source->name, error);
    }
    error = nvrtc.compile(program, o.count, o.list);
    if (error == NVRTC_SUCCESS || error == NVRTC_ERROR_COMPILATION) {
        status = take_results(program, source->name, error == NVRTC_SUCCESS, result);
    } else {
        /* An unknown architecture or option: the log, if any, is more precise. */
        status = take_results(program, source->name, false, result);
        status = status != FASC_OK ? status
                                   : fasc_fail(FASC_EINVAL, "cuda: %s for %s: %s %s", source->name,
                                               arch, nvrtc.error(error), result->log);
    }
    nvrtc.destroy(&program);
    if (status != FASC_OK) {
        free(result->cubin);
        free(result->log);
        *result = (fasc_nvrtc_result){0};
    }
    return status;
}
