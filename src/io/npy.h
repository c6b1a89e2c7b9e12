/* npy.h - the dtypes that .npy and fasc share, as the reader and the writer both know them. */
#ifndef FASC_IO_NPY_H
#define FASC_IO_NPY_H

#include "fasc.h"

/* The code that follows the byte order in a descr ("f4") and what holds it as it is. */
typedef struct fasc_npy_dtype {
    const char *code;
    fasc_dtype dtype;
} fasc_npy_dtype;

/* Where one of ours has two codes, the first is the one that is written. */
static const fasc_npy_dtype FASC_NPY_DTYPES[] = {
    {"f2", FASC_F16}, {"f4", FASC_F32}, {"f8", FASC_F64}, {"i4", FASC_I32},
    {"i8", FASC_I64}, {"u1", FASC_U8},  {"b1", FASC_U8},
};

#define FASC_NPY_DTYPE_COUNT (sizeof FASC_NPY_DTYPES / sizeof *FASC_NPY_DTYPES)

#endif
