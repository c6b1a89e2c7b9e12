/* module.h - what module.c keeps of an entry point, for launch.c. */
#ifndef FASC_CUDA_MODULE_H
#define FASC_CUDA_MODULE_H

#include "cuda/cuda.h"
#include "cuda/jit.h"

struct fasc_cuda_function {
    char *name;
    cudaKernel_t kernel; /* serves every device of the architecture */
    const fasc_jit_unit *unit;
    atomic_int
        smem_allowed[FASC_CUDA_MAX_DEVICES]; /* most dynamic shared memory asked for so far */
};

#endif
