/* embedded.h - files that the build embeds (cmake/embed.cmake): Lua sources in fasc-bench, kernel
 * sources in the CUDA backend. Tables end with a row whose name is NULL. */
#ifndef FASC_EMBEDDED_H
#define FASC_EMBEDDED_H

#include <stddef.h>

struct fasc_embedded {
    const char *name; /* path from the project's root: "lua/fasc/init.lua" */
    const char *text; /* followed by a 0 byte that size does not count */
    size_t size;
};

extern const struct fasc_embedded fasc_embedded_lua[];
extern const struct fasc_embedded fasc_embedded_kernels[];

#endif
