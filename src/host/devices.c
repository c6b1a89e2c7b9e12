/* devices.c - what --list-devices prints: a line for each device, or why a backend has none. */
#include <stdio.h>
#include <string.h>

#include "fasc.h"
#include "host.h"

static const char *const BACKENDS[] = {"cpu", "cuda"};

static double gib(int64_t bytes)
{
    return (double)bytes / (1024.0 * 1024.0 * 1024.0);
}

/* The library's messages begin with the backend's name, and so does the line already. */
static void print_reason(const char *name, const char *what, const char *message)
{
    const char *colon = strstr(message, ": ");
    bool repeats = colon && strncmp(message, name, (size_t)(colon - message)) == 0;
    printf("%-7s %s: %s\n", name, what, repeats ? colon + 2 : message);
}

static fasc_status print_device(const char *name)
{
    fasc_device *device;
    fasc_device_info info = {.size = sizeof info};
    fasc_status status = fasc_device_open(name, &device);
    if (status == FASC_OK) {
        status = fasc_device_get_info(device, &info);
    }
    if (status != FASC_OK) {
        return status;
    }
    printf("%-7s %s, %s, %d %s, %.1f GiB (%.1f free)", info.name, info.model, info.arch, info.units,
           info.driver[0]    ? "SMs"
           : info.units == 1 ? "thread"
                             : "threads",
           gib(info.memory_total), gib(info.memory_free));
    if (info.driver[0]) {
        printf(", driver %s", info.driver);
    }
    printf(", %s\n", info.runtime);
    return FASC_OK;
}

int host_list_devices(void)
{
    int result = 0;
    for (size_t i = 0; i < sizeof BACKENDS / sizeof *BACKENDS; i++) {
        int32_t count = 0;
        fasc_status status = fasc_device_count(BACKENDS[i], &count);
        if (status != FASC_OK) {
            print_reason(BACKENDS[i], "not usable", fasc_last_error());
            continue;
        }
        for (int32_t n = 0; n < count; n++) {
            char name[64];
            snprintf(name, sizeof name, n == 0 ? "%s" : "%s:%d", BACKENDS[i], n);
            if (print_device(name) != FASC_OK) {
                print_reason(name, "failed", fasc_last_error());
                result = HOST_FAILED;
            }
        }
    }
    return result;
}
