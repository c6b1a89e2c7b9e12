/* tile_portable.c - tile.h for whatever the compiler targets. */
#define GROUPS fasc_tile_portable
#define THIN   fasc_tile_thin_portable
#include "cpu/tile_kernels.h"
