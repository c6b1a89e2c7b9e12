/* nvrtc.h - one embedded source file to one cubin. Needs no GPU and no driver. */
#ifndef FASC_CUDA_NVRTC_H
#define FASC_CUDA_NVRTC_H

#include "backend.h"
#include "embedded.h"

/* Options of every source, beside its architecture and its macros. */
#define FASC_NVRTC_OPTIONS                                                                         \
    "--std=c++17 --device-as-default-execution-space --generate-line-info --ptxas-options=-v"

enum { FASC_KERNEL_HEADERS = 64 };

/* The embedded headers that a source includes, itself or through others, in the order met. Returns
 * how many; a compilation is given these alone, so that nothing else can be part of it. */
int fasc_kernel_headers(const struct fasc_embedded *source,
                        const struct fasc_embedded *list[FASC_KERNEL_HEADERS]);

/* What NVRTC made of a source: both are malloc'ed; cubin NULL = it does not compile. */
typedef struct fasc_nvrtc_result {
    void *cubin;
    size_t cubin_bytes;
    char *log; /* the front end's and ptxas's lines */
} fasc_nvrtc_result;

/* "13.0"; opens NVRTC. */
fasc_status fasc_nvrtc_version(char text[16]);

/* FASC_EINVAL unless this NVRTC compiles for that compute capability (80, 90, ...). */
fasc_status fasc_nvrtc_knows(int compute);

/* The embedded file of that path ("kernels/naive.cu"); NULL = none. */
const struct fasc_embedded *fasc_embedded_kernel(const char *path);

/* Compiles source for arch ("sm_90a"); macros are "A=1 B=f16". FASC_OK also when the source does
 * not compile: then there is no cubin and the log says why. */
fasc_status fasc_nvrtc_compile(const struct fasc_embedded *source, const char *macros,
                               const char *arch, fasc_nvrtc_result *result);

#endif
