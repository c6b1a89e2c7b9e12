/* nvml.c - how a GPU runs at this moment: clock, power, temperature, and what holds its clock down.
 * NVML comes with the driver; its header often does not, so what is used of it is declared here. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cuda/cuda.h"

typedef struct nvml_device *nvml_handle;

enum { NVML_OK = 0, NVML_SENSOR_GPU = 0, NVML_CLOCK_SM = 1, NVML_CLOCK_MEMORY = 2 };

static struct {
    pthread_mutex_t lock;
    bool tried;
    char reason[256]; /* why it cannot be used; "" if it can */
    int (*init)(void);
    int (*handle)(const char *bus, nvml_handle *device);
    int (*clock)(nvml_handle device, int domain, unsigned *mhz);
    int (*clock_max)(nvml_handle device, int domain, unsigned *mhz);
    int (*power)(nvml_handle device, unsigned *milliwatts);
    int (*power_max)(nvml_handle device, unsigned *milliwatts);
    int (*temperature)(nvml_handle device, int sensor, unsigned *celsius);
    int (*reasons)(nvml_handle device, unsigned long long *bits);
    const char *(*error)(int result);
} nvml = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* NVML's bits of what holds a clock down. Idling and clocks that somebody set are none. */
static const struct {
    unsigned long long bit;
    fasc_throttle throttle;
} REASON[] = {
    {0x04, FASC_THROTTLE_POWER},    /* software power cap */
    {0x08, FASC_THROTTLE_HARDWARE}, /* hardware slowdown */
    {0x10, FASC_THROTTLE_SYNC},     /* sync boost */
    {0x20, FASC_THROTTLE_THERMAL},  /* software thermal slowdown */
    {0x40, FASC_THROTTLE_THERMAL},  /* hardware thermal slowdown */
    {0x80, FASC_THROTTLE_HARDWARE}, /* power brake */
};

static void open_nvml(void)
{
    const struct {
        const char *name;
        void *slot;
    } symbols[] = {
        {"nvmlInit_v2", &nvml.init},
        {"nvmlDeviceGetHandleByPciBusId_v2", &nvml.handle},
        {"nvmlDeviceGetClockInfo", &nvml.clock},
        {"nvmlDeviceGetMaxClockInfo", &nvml.clock_max},
        {"nvmlDeviceGetPowerUsage", &nvml.power},
        {"nvmlDeviceGetEnforcedPowerLimit", &nvml.power_max},
        {"nvmlDeviceGetTemperature", &nvml.temperature},
        {"nvmlDeviceGetCurrentClocksThrottleReasons", &nvml.reasons},
        {"nvmlErrorString", &nvml.error},
    };
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(nvml.reason, sizeof nvml.reason,
                 "NVML (libnvidia-ml.so.1), which comes with NVIDIA's driver, was not found");
        return;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *function = dlsym(library, symbols[i].name);
        if (!function) {
            snprintf(nvml.reason, sizeof nvml.reason, "NVML (libnvidia-ml.so.1) has no %s",
                     symbols[i].name);
            return;
        }
        memcpy(symbols[i].slot, &function, sizeof function);
    }
    int result = nvml.init();
    if (result != NVML_OK) {
        snprintf(nvml.reason, sizeof nvml.reason, "NVML: %s", nvml.error(result));
    }
}

static fasc_status find_device(fasc_cuda_device *d)
{
    char bus[32];
    fasc_status status =
        fasc_cuda_check(d, cudaDeviceGetPCIBusId(bus, sizeof bus, d->ordinal), "its bus");
    pthread_mutex_lock(&nvml.lock);
    if (!nvml.tried) {
        nvml.tried = true;
        open_nvml();
    }
    pthread_mutex_unlock(&nvml.lock);
    if (status == FASC_OK && *nvml.reason) {
        return fasc_fail(FASC_EUNSUPPORTED, "%s: %s", d->name, nvml.reason);
    }
    if (status == FASC_OK) {
        nvml_handle found = NULL;
        int result = nvml.handle(bus, &found);
        if (result != NVML_OK) {
            return fasc_fail(FASC_EUNSUPPORTED, "%s: NVML does not know it: %s", d->name,
                             nvml.error(result));
        }
        d->nvml = found;
    }
    return status;
}

/* What a GPU refuses to tell stays 0. */
static void ask(double *number, double unit, int result, unsigned value)
{
    *number = result == NVML_OK ? unit * value : 0.0;
}

fasc_status fasc_cuda_state(fasc_device *device, fasc_device_state *state)
{
    fasc_cuda_device *d = fasc_cuda_of(device);
    fasc_status status = d->nvml ? FASC_OK : find_device(d);
    if (status != FASC_OK) {
        return status;
    }
    nvml_handle h = d->nvml;
    unsigned value = 0;
    int result = nvml.clock(h, NVML_CLOCK_SM, &value);
    ask(&state->clock_mhz, 1.0, result, value);
    result = nvml.clock_max(h, NVML_CLOCK_SM, &value);
    ask(&state->clock_max_mhz, 1.0, result, value);
    result = nvml.clock(h, NVML_CLOCK_MEMORY, &value);
    ask(&state->memory_clock_mhz, 1.0, result, value);
    result = nvml.power(h, &value);
    ask(&state->power_watts, 1e-3, result, value);
    result = nvml.power_max(h, &value);
    ask(&state->power_max_watts, 1e-3, result, value);
    result = nvml.temperature(h, NVML_SENSOR_GPU, &value);
    ask(&state->temperature, 1.0, result, value);
    unsigned long long bits = 0;
    state->throttle = 0;
    if (nvml.reasons(h, &bits) == NVML_OK) {
        for (size_t i = 0; i < sizeof REASON / sizeof *REASON; i++) {
            state->throttle |= bits & REASON[i].bit ? (int32_t)REASON[i].throttle : 0;
        }
    }
    state->size = sizeof *state;
    return FASC_OK;
}
