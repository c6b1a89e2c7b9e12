/* element.h - elements of files that fasc has no dtype for, but a wider one that holds each of
 * their values exactly: small and unsigned integers, and floats of 8 bits. */
#ifndef FASC_IO_ELEMENT_H
#define FASC_IO_ELEMENT_H

#include "fasc.h"

typedef enum fasc_element {
    FASC_ELEMENT_SAME, /* the dtype's own bytes */
    FASC_ELEMENT_I8,   /* read as i32 */
    FASC_ELEMENT_I16,
    FASC_ELEMENT_U16,
    FASC_ELEMENT_U32,  /* read as i64 */
    FASC_ELEMENT_U64,  /* read as i64, which holds half of them */
    FASC_ELEMENT_E4M3, /* read as f16; no infinities, one NaN and its negative */
    FASC_ELEMENT_E5M2  /* read as f16, whose upper byte it is */
} fasc_element;

/* Bytes of one in the file; of the dtype for FASC_ELEMENT_SAME. */
size_t fasc_element_size(fasc_element element, fasc_dtype dtype);

/* Converts n little-endian elements (not SAME) to the dtype they are read as. Returns the first
 * that it cannot hold; n = all are there. */
int64_t fasc_element_widen(fasc_element element, const void *src, int64_t n, void *dst);

#endif
