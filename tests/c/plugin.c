/* plugin.c - a backend for the tests of the registry and of the way between devices: two "GPUs"
 * whose memory is the host's, at addresses that are moved so far away that whoever takes them for
 * the host's own crashes. $FASC_TEST_PLUGIN says how it misbehaves: "version", "refuse", "empty".
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"

#define AWAY ((uintptr_t)1 << 60)

static fasc_core core;
static fasc_backend backend;

static bool asked_for(const char *behaviour)
{
    const char *wanted = getenv("FASC_TEST_PLUGIN");
    return wanted && strcmp(wanted, behaviour) == 0;
}

static void *far(void *p)
{
    return p ? (void *)((uintptr_t)p + AWAY) : NULL;
}

static void *near(const void *p)
{
    return p ? (void *)((uintptr_t)p - AWAY) : NULL;
}

static fasc_tensor here(const fasc_tensor *t)
{
    fasc_tensor local = *t;
    local.data = near(t->data);
    return local;
}

static fasc_status fail(fasc_status status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    core.vfail(status, format, list);
    va_end(list);
    return status;
}

static fasc_status count(int32_t *n)
{
    *n = asked_for("empty") ? 0 : 2;
    return *n ? FASC_OK : fail(FASC_EDEVICE, "cuda: no driver (%s)", "a test");
}

static fasc_status open_device(fasc_device *device)
{
    device->impl = device;
    return FASC_OK;
}

static fasc_status info(fasc_device *device, fasc_device_info *found)
{
    found->units = 100 + device->index;
    return FASC_OK;
}

static fasc_status alloc(fasc_device *device, size_t bytes, void **data)
{
    void *p = NULL;
    fasc_status status = fasc_cpu_alloc(device, bytes, &p);
    *data = far(p);
    return status;
}

static void release(fasc_device *device, void *data, size_t bytes)
{
    fasc_cpu_release(device, near(data), bytes);
}

static fasc_status upload(fasc_device *device, void *dst, const void *src, size_t bytes)
{
    (void)device;
    memcpy(near(dst), src, bytes);
    return FASC_OK;
}

static fasc_status download(fasc_device *device, void *dst, const void *src, size_t bytes)
{
    (void)device;
    memcpy(dst, near(src), bytes);
    return FASC_OK;
}

static fasc_status copy(const fasc_tensor *src, fasc_tensor *dst)
{
    fasc_tensor from = here(src), to = here(dst);
    return fasc_cpu_copy(&from, &to);
}

static fasc_status fill(fasc_tensor *t, double value)
{
    fasc_tensor local = here(t);
    return fasc_cpu_fill(&local, value);
}

static fasc_status arange(fasc_tensor *t, double start, double step)
{
    fasc_tensor local = here(t);
    return fasc_cpu_arange(&local, start, step);
}

static fasc_status compare(const fasc_tensor *a, const fasc_tensor *b, fasc_difference *difference)
{
    fasc_tensor x = here(a), y = here(b);
    return fasc_cpu_compare(&x, &y, difference);
}

__attribute__((visibility("default"))) const fasc_backend *
fasc_backend_entry_v1(const fasc_core *offered);

const fasc_backend *fasc_backend_entry_v1(const fasc_core *offered)
{
    core = *offered;
    backend = fasc_cpu_backend;
    backend.version = asked_for("version") ? 99 : FASC_BACKEND_VERSION;
    backend.name = "cuda";
    backend.count = count;
    backend.open = open_device;
    backend.info = info;
    backend.alloc = alloc;
    backend.release = release;
    backend.upload = upload;
    backend.download = download;
    backend.copy = copy;
    backend.fill = fill;
    backend.arange = arange;
    backend.compare = compare;
    return asked_for("refuse") ? NULL : &backend;
}
