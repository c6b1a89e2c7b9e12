/* jit.h - configurations compiled at run time. A configuration is an embedded source file, macros
 * and an architecture; each is compiled once in a process, from the disk cache when it is there. */
#ifndef FASC_CUDA_JIT_H
#define FASC_CUDA_JIT_H

#include "backend.h"

/* A compiled configuration; lives as long as the process. */
typedef struct fasc_jit_unit {
    void *cubin; /* NULL = it does not compile */
    size_t cubin_bytes;
    fasc_compile_report report;
} fasc_jit_unit;

/* source: "kernels/naive.cu"; macros: "ELEMENT=f16 THREADS=256". FASC_OK also when the source does
 * not compile or breaks a rule: report.failed and report.message say so. May be called from any
 * thread; two that ask for one configuration compile it once. */
fasc_status fasc_jit_compile(const char *source, const char *macros, const char *arch,
                             const fasc_jit_unit **unit);

#endif
