/* npy.h - the dtypes that .npy and fasc share, and the header that stands before the data, as the
 * readers and the writers of .npy and .npz know them. */
#ifndef FASC_IO_NPY_H
#define FASC_IO_NPY_H

#include "backend.h"
#include "element.h"

/* The code that follows the byte order in a descr ("f4") and what holds it. */
typedef struct fasc_npy_dtype {
    const char *code;
    fasc_dtype dtype;
    fasc_element element;
} fasc_npy_dtype;

/* Where one of ours has several codes, the first is the one that is written. */
static const fasc_npy_dtype FASC_NPY_DTYPES[] = {
    {"f2", FASC_F16, FASC_ELEMENT_SAME}, {"f4", FASC_F32, FASC_ELEMENT_SAME},
    {"f8", FASC_F64, FASC_ELEMENT_SAME}, {"i4", FASC_I32, FASC_ELEMENT_SAME},
    {"i8", FASC_I64, FASC_ELEMENT_SAME}, {"u1", FASC_U8, FASC_ELEMENT_SAME},
    {"b1", FASC_U8, FASC_ELEMENT_SAME},  {"i1", FASC_I32, FASC_ELEMENT_I8},
    {"i2", FASC_I32, FASC_ELEMENT_I16},  {"u2", FASC_I32, FASC_ELEMENT_U16},
    {"u4", FASC_I64, FASC_ELEMENT_U32},  {"u8", FASC_I64, FASC_ELEMENT_U64},
};

#define FASC_NPY_DTYPE_COUNT (sizeof FASC_NPY_DTYPES / sizeof *FASC_NPY_DTYPES)

/* Room for the header of any tensor: eight dimensions of 19 digits stay well below. */
#define FASC_NPY_HEADER 512

/* Writes the header of version 1.0, padded to a multiple of 64 bytes, and its length. `call` begins
 * the message where the format lacks the dtype; `what` names the tensor in it. */
fasc_status fasc_npy_write_header(const char *call, const char *what, const fasc_tensor *tensor,
                                  char out[FASC_NPY_HEADER], size_t *length);

#endif
