/* cuda.h - for tests of the CUDA backend: where the plugin lies, and how a test that needs a GPU
 * says that there is none. */
#ifndef FASC_TEST_CUDA_H
#define FASC_TEST_CUDA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fasc.h"

enum { TEST_SKIPPED = 77 }; /* the exit status that ctest and scripts/test count as skipped */

/* The library looks for the plugin beside itself; a test program holds the library, in bin/. */
static inline void find_plugin(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    if (slash && !getenv("FASC_CUDA_PLUGIN")) {
        strcpy(slash, "/../lib/libfasc_cuda.so");
        setenv("FASC_CUDA_PLUGIN", path, 1);
    }
}

/* cuda:0, or the end of the program when there is none. */
static inline fasc_device *gpu_or_skip(void)
{
    fasc_device *device;
    find_plugin();
    if (fasc_device_open("cuda:0", &device) != FASC_OK) {
        printf("skipped: %s\n", fasc_last_error());
        exit(TEST_SKIPPED);
    }
    return device;
}

#endif
