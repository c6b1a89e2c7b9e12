/* jit.c - from a configuration to a cubin: the table of this process, then the disk, then NVRTC. */
#include "cuda/jit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cuda/cache.h"
#include "cuda/nvrtc.h"
#include "cuda/report.h"
#include "cuda/sha256.h"

/* ---- the key ------------------------------------------------------------- */

static void add_text(fasc_sha256 *sha, const char *text)
{
    fasc_sha256_add(sha, text,
                    strlen(text) + 1); /* with its 0, so that parts cannot run together */
}

/* Everything that a cubin and its report depend on: compiler, options, architecture, macros, the
 * source and its headers. */
static fasc_status make_key(const struct fasc_embedded *source, const char *macros,
                            const char *arch, char key[65])
{
    char version[16], layout[32];
    fasc_status status = fasc_nvrtc_version(version);
    if (status != FASC_OK) {
        return status;
    }
    snprintf(layout, sizeof layout, "report of %zu bytes", sizeof(fasc_compile_report));
    fasc_sha256 sha;
    fasc_sha256_begin(&sha);
    const char *parts[] = {"fasc kernel 1", layout,       version,     FASC_NVRTC_OPTIONS, arch,
                           macros,          source->name, source->text};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        add_text(&sha, parts[i]);
    }
    const struct fasc_embedded *header[FASC_KERNEL_HEADERS];
    int headers = fasc_kernel_headers(source, header);
    for (int i = 0; i < headers; i++) {
        add_text(&sha, header[i]->name);
        add_text(&sha, header[i]->text);
    }
    uint8_t digest[32];
    fasc_sha256_end(&sha, digest);
    fasc_sha256_hex(digest, key);
    return FASC_OK;
}

/* ---- one unit ------------------------------------------------------------ */

/* On disk: the report, then the cubin. */
static bool take_entry(void *data, size_t bytes, fasc_jit_unit *unit)
{
    if (bytes <= sizeof unit->report) {
        return false;
    }
    memcpy(&unit->report, data, sizeof unit->report);
    unit->cubin_bytes = bytes - sizeof unit->report;
    unit->cubin = malloc(unit->cubin_bytes);
    if (!unit->cubin) {
        return false;
    }
    memcpy(unit->cubin, (char *)data + sizeof unit->report, unit->cubin_bytes);
    return true;
}

static void store_entry(const char *key, fasc_cache_state found, fasc_jit_unit *unit)
{
    fasc_compile_report *report = &unit->report;
    size_t bytes = sizeof *report + unit->cubin_bytes;
    char *data = malloc(bytes), why[160] = "no memory";
    snprintf(report->cache, sizeof report->cache, "hit"); /* what a later reader will find */
    bool stored = false;
    if (data) {
        memcpy(data, report, sizeof *report);
        memcpy(data + sizeof *report, unit->cubin, unit->cubin_bytes);
        stored = fasc_cache_store(key, data, bytes, why, sizeof why);
        free(data);
    }
    snprintf(report->cache, sizeof report->cache, "%s%s%s",
             stored ? "stored" : "not stored: ", stored ? "" : why,
             found == FASC_CACHE_DAMAGED ? "; the old entry was damaged" : "");
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static fasc_status build(const struct fasc_embedded *source, const char *macros, const char *arch,
                         fasc_jit_unit *unit)
{
    char key[65];
    fasc_status status = make_key(source, macros, arch, key);
    if (status != FASC_OK) {
        return status;
    }
    void *data = NULL;
    size_t bytes = 0;
    fasc_cache_state found = fasc_cache_load(key, &data, &bytes);
    if (found == FASC_CACHE_HIT) {
        bool taken = take_entry(data, bytes, unit);
        free(data);
        if (taken) {
            return FASC_OK;
        }
    }
    double start = seconds_now();
    fasc_nvrtc_result result;
    status = fasc_nvrtc_compile(source, macros, arch, &result);
    if (status != FASC_OK) {
        return status;
    }
    fasc_compile_report *report = &unit->report;
    *report = (fasc_compile_report){.size = sizeof *report, .seconds = seconds_now() - start};
    snprintf(report->source, sizeof report->source, "%s", source->name);
    snprintf(report->macros, sizeof report->macros, "%s", macros);
    snprintf(report->arch, sizeof report->arch, "%s", arch);
    fasc_report_read(result.log, result.cubin != NULL, report);
    free(result.log);
    unit->cubin = result.cubin;
    unit->cubin_bytes = result.cubin_bytes;
    if (unit->cubin) {
        store_entry(key, found, unit);
    }
    return FASC_OK;
}

/* ---- the table ----------------------------------------------------------- */

typedef struct entry {
    struct entry *next;
    char *name; /* "source|macros|arch" */
    pthread_mutex_t lock;
    bool built;
    fasc_jit_unit unit;
} entry;

static entry *find_entry(const char *source, const char *macros, const char *arch)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static entry *first;
    char name[512];
    snprintf(name, sizeof name, "%s|%s|%s", source, macros, arch);
    pthread_mutex_lock(&lock);
    entry *e = first;
    while (e && strcmp(e->name, name) != 0) {
        e = e->next;
    }
    if (!e && (e = calloc(1, sizeof *e))) {
        e->name = strdup(name);
        if (e->name) {
            pthread_mutex_init(&e->lock, NULL);
            e->next = first;
            first = e;
        } else {
            free(e);
            e = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
    return e;
}

fasc_status fasc_jit_compile(const char *source, const char *macros, const char *arch,
                             const fasc_jit_unit **unit)
{
    const struct fasc_embedded *file = fasc_embedded_kernel(source);
    if (!file) {
        return fasc_fail(FASC_EINTERNAL, "cuda: no embedded source '%s'", source);
    }
    entry *e = find_entry(source, macros, arch);
    if (!e) {
        return fasc_fail(FASC_ENOMEM, "cuda: %s: no memory", source);
    }
    pthread_mutex_lock(&e->lock);
    fasc_status status = FASC_OK;
    if (!e->built) {
        status = build(file, macros, arch, &e->unit);
        e->built = status == FASC_OK;
    }
    pthread_mutex_unlock(&e->lock);
    *unit = &e->unit;
    return status;
}
