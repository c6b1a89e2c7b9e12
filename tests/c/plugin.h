/* plugin.h - where the tests' backend (plugin.c) lies: in lib/, beside the programs' folder. */
#ifndef FASC_TEST_PLUGIN_H
#define FASC_TEST_PLUGIN_H

#include <stdlib.h>
#include <unistd.h>

#include "test.h"

/* From now on the library's CUDA backend is the tests'. */
static inline void use_test_plugin(void)
{
    static const char name[] = "/../lib/test_plugin.so";
    char path[512];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - sizeof name);
    CHECK(length > 0, "/proc/self/exe");
    path[length > 0 ? length : 0] = 0;
    char *slash = strrchr(path, '/');
    CHECK(slash != NULL, "%s", path);
    strcpy(slash ? slash : path, name);
    CHECK(setenv("FASC_CUDA_PLUGIN", path, 1) == 0, "setenv");
}

#endif
