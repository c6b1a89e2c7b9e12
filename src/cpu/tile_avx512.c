/* tile_avx512.c - tile.h for avx512. */
#define GROUPS fasc_tile_avx512
#define THIN   fasc_tile_thin_avx512
#include "cpu/tile_kernels.h"
