/* copy_row.h - one row of a copy: n elements, evenly spaced, from one dtype to another. */
#ifndef FASC_CPU_COPY_ROW_H
#define FASC_CPU_COPY_ROW_H

#include "backend.h"

typedef struct fasc_copy_row fasc_copy_row;

struct fasc_copy_row {
    fasc_dtype dst_dtype, src_dtype;
    int64_t dst_stride, src_stride; /* elements */
    bool plain;                     /* the dtypes are the same: bytes are moved as they are */
    void (*move)(const fasc_copy_row *row, char *dst, const char *src, int64_t n);
};

/* How to move rows between these dtypes: with one rounding, whichever they are. */
fasc_copy_row fasc_copy_row_for(fasc_dtype dst_dtype, int64_t dst_stride, fasc_dtype src_dtype,
                                int64_t src_stride);

#endif
