/* tile_avx2.c - tile.h for avx2. */
#define OPS fasc_tile_avx2
#include "cpu/tile_kernels.h"
