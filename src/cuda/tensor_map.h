/* tensor_map.h - Hopper's tensor maps: what the copy engine is told about a tensor. */
#ifndef FASC_CUDA_TENSOR_MAP_H
#define FASC_CUDA_TENSOR_MAP_H

#include "backend.h"

#include "sm90_params.h"

/* Whether a map can hold a rank-4 tensor of 16-bit elements whose rows are cut to `columns` of
 * them: rows and base at multiples of 16 bytes, nothing empty, no broadcast, strides below 2^40
 * bytes. */
bool fasc_tensor_map_can(const fasc_tensor *t, int64_t columns);

/* Boxes of 64 columns x box_rows, with the 128-byte swizzle. fasc_tensor_map_can holds. */
fasc_status fasc_tensor_map_make(const fasc_tensor *t, int64_t columns, int32_t box_rows,
                                 fasc_tensor_map *map);

/* The same for stores of rows of panels, 128 bytes wide: five dimensions, the columns of a panel
 * and the panels of a row apart, in boxes of box_rows rows of `panels` panels. The map holds each
 * row's whole panels; it stays as it is where there are none. */
fasc_status fasc_tensor_map_make_panels(const fasc_tensor *t, int32_t panels, int32_t box_rows,
                                        fasc_tensor_map *map);

/* A map of t's elements from base on, of five dimensions, the innermost first; strides in elements,
 * bytes a multiple of 16 but for the innermost. */
fasc_status fasc_tensor_map_make_any(const fasc_tensor *t, void *base, const int64_t *shape,
                                     const int64_t *stride, const int32_t *box,
                                     fasc_tensor_map *map);

#endif
