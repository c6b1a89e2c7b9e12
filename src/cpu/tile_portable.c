/* tile_portable.c - tile.h for whatever the compiler targets. */
#define OPS fasc_tile_portable
#include "cpu/tile_kernels.h"
