/* tile_avx2.c - tile.h for avx2. */
#define GROUPS fasc_tile_avx2
#define THIN   fasc_tile_thin_avx2
#include "cpu/tile_kernels.h"
