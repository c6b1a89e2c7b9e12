/* validate.h - checks that several calls share. Each message begins "call: argument: ". */
#ifndef FASC_VALIDATE_H
#define FASC_VALIDATE_H

#include "backend.h"

/* The pointer is not NULL. */
fasc_status fasc_check_pointer(const char *call, const char *argument, const void *pointer);

/* A caller's struct is there and its `size`, which is its first member, is sizeof of the struct
 * that this library knows. */
fasc_status fasc_check_struct(const char *call, const char *argument, const void *structure,
                              size_t expected);

/* Both tensors have the same shape. */
fasc_status fasc_check_same_shape(const char *call, const char *a_name, const fasc_tensor *a,
                                  const char *b_name, const fasc_tensor *b);

/* No two elements of a tensor that is about to be written share memory: in order of stride, each
 * dimension steps past all that the smaller ones span. */
fasc_status fasc_check_writable(const char *call, const char *argument, const fasc_tensor *t);

/* "[2,3,4]" into text; returns text. */
const char *fasc_shape_text(int32_t rank, const int64_t *shape, char *text, size_t size);

#endif
