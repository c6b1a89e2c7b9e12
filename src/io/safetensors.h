/* safetensors.h - the format's dtypes, as the reader and the writer both know them. */
#ifndef FASC_IO_SAFETENSORS_H
#define FASC_IO_SAFETENSORS_H

#include "element.h"

#define FASC_SAFETENSORS_MAX_HEADER 100000000 /* bytes; the format's own limit */
#define FASC_SAFETENSORS_METADATA   "__metadata__"

typedef struct fasc_safetensors_dtype {
    const char *name;
    int32_t bits;  /* of one element */
    int32_t dtype; /* fasc_dtype that holds it; 0 = none */
    fasc_element element;
} fasc_safetensors_dtype;

/* NULL for a name that the format does not have. */
const fasc_safetensors_dtype *fasc_safetensors_dtype_named(const char *name);

/* How the format calls one of ours. */
const char *fasc_safetensors_dtype_name(fasc_dtype dtype);

#endif
