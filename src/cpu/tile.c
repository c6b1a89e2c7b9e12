/* tile.c - the tile functions of an instruction set. */
#include "cpu/tile.h"

const fasc_tile_ops *fasc_tile_ops_for(fasc_isa isa, bool thin)
{
    static const fasc_tile_ops *const OPS[FASC_ISA_COUNT][2] = {
        [FASC_ISA_PORTABLE] = {&fasc_tile_portable, &fasc_tile_thin_portable},
        [FASC_ISA_AVX2] = {&fasc_tile_avx2, &fasc_tile_thin_avx2},
        [FASC_ISA_AVX512] = {&fasc_tile_avx512, &fasc_tile_thin_avx512},
    };
    return OPS[isa][thin];
}
