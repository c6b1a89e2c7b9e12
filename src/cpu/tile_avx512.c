/* tile_avx512.c - tile.h for avx512. */
#define OPS fasc_tile_avx512
#include "cpu/tile_kernels.h"
