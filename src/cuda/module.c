/* module.c - compiled configurations loaded into the driver, and their entry points in a table that
 * a launch finds in a fraction of a microsecond. A library serves every device of its architecture.
 */
#include "cuda/module.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct row {
    struct row *next;
    uint64_t hash;
    fasc_cuda_function function;
    char *source, *macros, *arch;
} row;

enum { BUCKETS = 1024 };

static struct {
    pthread_mutex_t lock;
    row *bucket[BUCKETS];
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* FNV-1a over the strings and their ends. */
static uint64_t hash_of(const char *const *text, int count)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < count; i++) {
        for (const char *c = text[i];; c++) {
            hash = (hash ^ (uint8_t)*c) * 0x100000001b3u;
            if (!*c) {
                break;
            }
        }
    }
    return hash;
}

static row *find(uint64_t hash, const char *source, const char *macros, const char *arch,
                 const char *entry)
{
    row *r = table.bucket[hash % BUCKETS];
    while (r && (r->hash != hash || strcmp(r->function.name, entry) != 0 ||
                 strcmp(r->macros, macros) != 0 || strcmp(r->source, source) != 0 ||
                 strcmp(r->arch, arch) != 0)) {
        r = r->next;
    }
    return r;
}

/* Loading may need calls that a capture on another stream of this thread forbids. */
static fasc_status load(fasc_cuda_device *d, const fasc_jit_unit *unit, const char *entry,
                        cudaKernel_t *kernel)
{
    enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    cudaLibrary_t library;
    cudaThreadExchangeStreamCaptureMode(&mode);
    fasc_status status =
        fasc_cuda_check(d, cudaLibraryLoadData(&library, unit->cubin, NULL, NULL, 0, NULL, NULL, 0),
                        "cudaLibraryLoadData");
    if (status == FASC_OK) {
        status = fasc_cuda_check(d, cudaLibraryGetKernel(kernel, library, entry),
                                 "cudaLibraryGetKernel");
    }
    cudaThreadExchangeStreamCaptureMode(&mode);
    return status == FASC_OK ? status
                             : fasc_fail(status, "%s of %s %s: %s", entry, unit->report.source,
                                         unit->report.macros, fasc_cuda_last_error());
}

static void free_row(row *r)
{
    if (r) {
        free(r->source);
        free(r->macros);
        free(r->arch);
        free(r->function.name);
        free(r);
    }
}

static fasc_status make_row(fasc_cuda_device *d, const char *source, const char *macros,
                            const char *entry, row **made)
{
    const fasc_jit_unit *unit;
    fasc_status status = fasc_jit_compile(source, macros, d->arch, &unit);
    if (status != FASC_OK) {
        return status;
    }
    if (!unit->cubin) {
        return fasc_fail(FASC_EDEVICE, "cuda: %s with %s does not compile for %s: %s", source,
                         macros, d->arch, unit->report.message);
    }
    row *r = calloc(1, sizeof *r);
    cudaKernel_t kernel = NULL;
    if (!r || !(r->source = strdup(source)) || !(r->macros = strdup(macros)) ||
        !(r->arch = strdup(d->arch)) || !(r->function.name = strdup(entry))) {
        free_row(r);
        return fasc_fail(FASC_ENOMEM, "cuda: no memory for the kernel %s", entry);
    }
    status = load(d, unit, entry, &kernel);
    if (status != FASC_OK) {
        free_row(r);
        return status;
    }
    r->function.kernel = kernel;
    r->function.unit = unit;
    *made = r;
    return FASC_OK;
}

fasc_status fasc_cuda_function_get(fasc_cuda_device *d, const char *source, const char *macros,
                                   const char *entry, fasc_cuda_function **function)
{
    const char *const text[] = {source, macros, d->arch, entry};
    uint64_t hash = hash_of(text, 4);
    fasc_status status = FASC_OK;
    pthread_mutex_lock(&table.lock);
    row *r = find(hash, source, macros, d->arch, entry);
    if (!r) {
        /* Compiling takes long: others may launch meanwhile. */
        pthread_mutex_unlock(&table.lock);
        row *made = NULL;
        status = make_row(d, source, macros, entry, &made);
        pthread_mutex_lock(&table.lock);
        if (status == FASC_OK) {
            r = find(hash, source, macros, d->arch, entry);
            if (!r) {
                made->hash = hash;
                made->next = table.bucket[hash % BUCKETS];
                table.bucket[hash % BUCKETS] = r = made;
            } else {
                free_row(made); /* another thread was first; the library stays loaded, harmlessly */
            }
        }
    }
    pthread_mutex_unlock(&table.lock);
    *function = r ? &r->function : NULL;
    return status;
}
