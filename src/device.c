/* device.c - the registry of backends and devices. The CPU's backend is part of the library; the
 * GPU's is a plugin, libfasc_cuda.so, opened when a device of it is first named. */
#include "device.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "validate.h"

enum { MAX_DEVICES = 64 };

static struct {
    pthread_mutex_t lock;
    const fasc_backend *cuda;             /* NULL until the plugin is open */
    fasc_device *device[1 + MAX_DEVICES]; /* the CPU, then the GPUs by index */
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the plugin -------------------------------------------------------------- */

static const fasc_core CORE = {FASC_BACKEND_VERSION, fasc_vfail, fasc_last_error,
                               fasc_cancel_requested};

/* $FASC_CUDA_PLUGIN, or libfasc_cuda.so in the folder that this code was loaded from. */
static void plugin_path(char *path, size_t size)
{
    const char *wanted = getenv("FASC_CUDA_PLUGIN");
    if (wanted && *wanted) {
        snprintf(path, size, "%s", wanted);
        return;
    }
    Dl_info here;
    const char *file = dladdr(&registry, &here) && here.dli_fname ? here.dli_fname : "";
    const char *slash = strrchr(file, '/');
    int folder = slash ? (int)(slash - file) + 1 : 0;
    snprintf(path, size, "%.*s%slibfasc_cuda.so", folder, file, folder ? "" : "./");
}

static fasc_status open_plugin(const fasc_backend **backend)
{
    char path[PATH_MAX];
    plugin_path(path, sizeof path);
    if (access(path, F_OK) != 0) {
        return fasc_fail(FASC_ENODEVICE, "cuda: %s not found (built without the CUDA Toolkit?)",
                         path);
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return fasc_fail(FASC_ENODEVICE, "cuda: %s", dlerror());
    }
    /* dlsym gives an object pointer where a function's is meant; POSIX has them alike. */
    union {
        void *object;
        fasc_backend_entry call;
    } entry = {.object = dlsym(library, FASC_BACKEND_ENTRY)};
    const fasc_backend *found = entry.object ? entry.call(&CORE) : NULL;
    if (found && found->version == FASC_BACKEND_VERSION) {
        *backend = found;
        return FASC_OK;
    }
    fasc_status status =
        !entry.object
            ? fasc_fail(FASC_ENODEVICE, "cuda: %s is no fasc backend: it has no symbol %s", path,
                        FASC_BACKEND_ENTRY)
        : found
            ? fasc_fail(FASC_ENODEVICE, "cuda: %s has backend version %u, this library needs %u",
                        path, found->version, FASC_BACKEND_VERSION)
            : fasc_fail(FASC_ENODEVICE, "cuda: %s refused this library's version %u", path,
                        FASC_BACKEND_VERSION);
    dlclose(library);
    return status;
}

/* With the lock held. */
static fasc_status find_locked(const char *name, const fasc_backend **backend)
{
    if (strcmp(name, "cpu") == 0) {
        *backend = &fasc_cpu_backend;
        return FASC_OK;
    }
    fasc_status status = registry.cuda ? FASC_OK : open_plugin(&registry.cuda);
    *backend = registry.cuda;
    return status;
}

fasc_status fasc_backend_find(const char *name, const fasc_backend **backend)
{
    if (strcmp(name, "cpu") != 0 && strcmp(name, "cuda") != 0) {
        return fasc_fail(FASC_EINVAL, "backend: '%s' is not one of cpu, cuda", name);
    }
    pthread_mutex_lock(&registry.lock);
    fasc_status status = find_locked(name, backend);
    pthread_mutex_unlock(&registry.lock);
    return status;
}

/* ---- opening ----------------------------------------------------------------- */

/* Splits "cpu", "cuda" or "cuda:N". */
static fasc_status parse_name(const char *name, const char **backend, int32_t *index)
{
    *index = 0;
    if (strcmp(name, "cpu") == 0) {
        *backend = "cpu";
        return FASC_OK;
    }
    if (strncmp(name, "cuda", 4) == 0) {
        const char *digits = name + 5;
        size_t length = name[4] == ':' ? strspn(digits, "0123456789") : 0;
        *backend = "cuda";
        if (name[4] == 0) {
            return FASC_OK;
        }
        if (length > 0 && length < 6 && digits[length] == 0) {
            *index = (int32_t)strtol(digits, NULL, 10);
            return FASC_OK;
        }
    }
    return fasc_fail(FASC_EINVAL, "device_open: name: '%s' is not one of auto, cpu, cuda, cuda:N",
                     name);
}

/* Whatever keeps a backend from counting: none of its devices can be used. */
static fasc_status count_devices(const fasc_backend *backend, int32_t *count)
{
    fasc_status status = backend->count(count);
    if (status != FASC_OK) {
        *count = 0;
        return fasc_fail(FASC_ENODEVICE, "%s", fasc_last_error());
    }
    *count = *count < MAX_DEVICES ? *count : MAX_DEVICES;
    return FASC_OK;
}

static fasc_status check_index(const fasc_backend *backend, int32_t index)
{
    int32_t count;
    fasc_status status = count_devices(backend, &count);
    if (status != FASC_OK) {
        return status;
    }
    if (index >= count) {
        return fasc_fail(FASC_ENODEVICE, "%s:%d: no such device, there %s %d", backend->name, index,
                         count == 1 ? "is" : "are", count);
    }
    return FASC_OK;
}

/* With the lock held. */
static fasc_status new_device(const fasc_backend *backend, int32_t index, fasc_device **device)
{
    fasc_status status = check_index(backend, index);
    fasc_device *d = status == FASC_OK ? calloc(1, sizeof *d) : NULL;
    if (status == FASC_OK && !d) {
        status = fasc_fail(FASC_ENOMEM, "device_open: no memory for a device's record of %zu bytes",
                           sizeof *d);
    }
    if (status != FASC_OK) {
        return status;
    }
    d->backend = backend;
    d->index = index;
    if (backend == &fasc_cpu_backend) {
        snprintf(d->name, sizeof d->name, "cpu");
    } else {
        snprintf(d->name, sizeof d->name, "%s:%d", backend->name, index);
    }
    status = backend->open(d);
    if (status != FASC_OK) {
        free(d);
        return status;
    }
    *device = d;
    return FASC_OK;
}

static fasc_status open_named(const char *name, fasc_device **device)
{
    const char *backend_name;
    const fasc_backend *backend;
    int32_t index;
    fasc_status status = parse_name(name, &backend_name, &index);
    if (status != FASC_OK) {
        return status;
    }
    pthread_mutex_lock(&registry.lock);
    bool cpu = strcmp(backend_name, "cpu") == 0;
    fasc_device **slot = index < MAX_DEVICES ? &registry.device[cpu ? 0 : 1 + index] : NULL;
    if (!slot || !*slot) {
        status = find_locked(backend_name, &backend);
        if (status == FASC_OK) {
            fasc_device *made = NULL;
            status = new_device(backend, index, &made);
            if (status == FASC_OK) {
                *slot = made;
            }
        }
    }
    if (status == FASC_OK) {
        *device = *slot;
    }
    pthread_mutex_unlock(&registry.lock);
    return status;
}

fasc_status fasc_device_open(const char *name, fasc_device **device)
{
    fasc_status status = fasc_check_pointer("device_open", "device", device);
    if (status != FASC_OK) {
        return status;
    }
    if (name && strcmp(name, "auto") != 0) {
        return open_named(name, device);
    }
    return open_named("cuda", device) == FASC_OK ? FASC_OK : open_named("cpu", device);
}

/* ---- asking ------------------------------------------------------------------ */

const char *fasc_device_name(const fasc_device *device)
{
    return device->name;
}

fasc_status fasc_device_get_info(fasc_device *device, fasc_device_info *info)
{
    fasc_status status = fasc_check_pointer("device_get_info", "device", device);
    if (status == FASC_OK) {
        status = fasc_check_struct("device_get_info", "info", info, sizeof *info);
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_device_info found = {.size = sizeof found, .index = device->index};
    snprintf(found.name, sizeof found.name, "%s", device->name);
    status = device->backend->info(device, &found);
    if (status == FASC_OK) {
        *info = found;
    }
    return status;
}

fasc_status fasc_device_get_state(fasc_device *device, fasc_device_state *state)
{
    fasc_status status = fasc_check_pointer("device_get_state", "device", device);
    if (status == FASC_OK) {
        status = fasc_check_struct("device_get_state", "state", state, sizeof *state);
    }
    if (status != FASC_OK) {
        return status;
    }
    if (!device->backend->state) {
        return fasc_fail(FASC_EUNSUPPORTED, "device_get_state: %s tells no clock and no power",
                         device->name);
    }
    fasc_device_state found = {.size = sizeof found};
    status = device->backend->state(device, &found);
    if (status == FASC_OK) {
        *state = found;
    }
    return status;
}

fasc_status fasc_device_count(const char *backend, int32_t *count)
{
    const fasc_backend *found;
    int32_t n = 0;
    fasc_status status = fasc_check_pointer("device_count", "backend", backend);
    if (status == FASC_OK) {
        status = fasc_check_pointer("device_count", "count", count);
    }
    if (status == FASC_OK) {
        status = fasc_backend_find(backend, &found);
    }
    if (status == FASC_OK) {
        status = count_devices(found, &n);
    }
    if (status == FASC_OK || status == FASC_ENODEVICE) {
        *count = n;
    }
    return status;
}

fasc_status fasc_device_synchronize(fasc_device *device)
{
    fasc_status status = fasc_check_pointer("device_synchronize", "device", device);
    return status == FASC_OK ? device->backend->synchronize(device) : status;
}
