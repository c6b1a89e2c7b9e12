/* stream.h - a tensor's elements in row-major order as plain bytes, a piece at a time, wherever
 * they live and whatever their strides. */
#ifndef FASC_IO_STREAM_H
#define FASC_IO_STREAM_H

#include "backend.h"

typedef fasc_status (*fasc_sink)(void *context, const void *data, size_t bytes);

/* Hands all elements to sink, in its own dtype; stops at the first failure and returns it.
 * FASC_ECANCELED between pieces. Needs a buffer of at most 16 MiB, none for contiguous CPU
 * tensors. */
fasc_status fasc_stream(const char *call, const fasc_tensor *tensor, fasc_sink sink, void *context);

#endif
