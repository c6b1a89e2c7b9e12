/* library.c - finding and opening a CUDA library. */
#include "cuda/library.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAJOR = CUDART_VERSION / 1000 };

static void *open_in(const char *directory, const char *stem)
{
    char path[4096];
    for (int major = MAJOR; major >= MAJOR - 1; major--) {
        snprintf(path, sizeof path, "%s%slib%s.so.%d", directory, *directory ? "/" : "", stem,
                 major);
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (library) {
            return library;
        }
    }
    return NULL;
}

static void *open_anywhere(const char *stem)
{
    const char *home = getenv("CUDA_HOME"), *path = getenv("CUDA_PATH");
    char under_home[2048], under_path[2048];
    snprintf(under_home, sizeof under_home, "%s/lib64", home ? home : "");
    snprintf(under_path, sizeof under_path, "%s/lib64", path ? path : "");
    const char *directories[] = {getenv("FASC_CUDA_LIBRARIES"), "",
                                 home ? under_home : NULL,      path ? under_path : NULL,
                                 FASC_CUDA_TOOLKIT_LIBRARIES,   "/usr/local/cuda/lib64"};
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof directories / sizeof *directories; i++) {
        if (directories[i]) {
            library = open_in(directories[i], stem);
        }
    }
    return library;
}

fasc_status fasc_library_open(const char *stem, const fasc_symbol *symbols, size_t count)
{
    void *library = open_anywhere(stem);
    if (!library) {
        return fasc_fail(FASC_ENODEVICE,
                         "cuda: lib%s.so.%d was not found by the loader, in $CUDA_HOME/lib64 or in "
                         "/usr/local/cuda/lib64; it comes with the CUDA Toolkit "
                         "(FASC_CUDA_LIBRARIES names another folder)",
                         stem, (int)MAJOR);
    }
    for (size_t i = 0; i < count; i++) {
        void *function = dlsym(library, symbols[i].name);
        if (!function) {
            return fasc_fail(FASC_ENODEVICE, "cuda: lib%s.so has no %s: it is too old", stem,
                             symbols[i].name);
        }
        memcpy(symbols[i].slot, &function, sizeof function);
    }
    return FASC_OK;
}
