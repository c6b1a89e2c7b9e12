/* tile_move.h - transposing and filling. */
#ifndef FASC_CPU_TILE_MOVE_H
#define FASC_CPU_TILE_MOVE_H

#include "cpu/simd.h"

/* ---- transposition ------------------------------------------------------------------------- */

/* At most LANES by LANES; whole blocks, which are most, are compiled apart. */
INLINE void transpose_block(const float *src, int64_t src_ld, int64_t rows, int64_t columns,
                            float *dst, int64_t dst_ld)
{
    vec r[LANES];
    for (int i = 0; i < LANES; i++) {
        r[i] = i < rows ? vec_load(src + i * src_ld) : vec_set(0.0f);
    }
    vec_transpose(r);
    for (int c = 0; c < columns; c++) {
        if (rows < LANES) {
            memcpy(dst + c * dst_ld, &r[c], (size_t)rows * sizeof *dst);
        } else {
            vec_store(dst + c * dst_ld, r[c]);
        }
    }
}

/* LINE rows by at most LANES columns, stored past the caches: a line of memory is written whole at
 * once, or it would be written twice. */
enum { LINE = 16, VECTORS = LINE / LANES };

static void stream_block(const float *src, int64_t src_ld, int64_t columns, float *dst,
                         int64_t dst_ld)
{
    vec r[VECTORS][LANES];
    for (int v = 0; v < VECTORS; v++) {
        for (int i = 0; i < LANES; i++) {
            r[v][i] = vec_load(src + (v * LANES + i) * src_ld);
        }
        vec_transpose(r[v]);
    }
    for (int c = 0; c < columns; c++) {
        for (int v = 0; v < VECTORS; v++) {
            vec_stream(dst + c * dst_ld + v * LANES, r[v][c]);
        }
    }
}

static void tile_transpose(const float *src, int64_t src_ld, int64_t rows, int64_t columns,
                           float *dst, int64_t dst_ld, bool stream)
{
    stream = stream && (uintptr_t)dst % (LINE * sizeof *dst) == 0 && dst_ld % LINE == 0;
    for (int64_t c = 0; c < columns; c += LANES) {
        int64_t wide = columns - c < LANES ? columns - c : LANES, r = 0;
        for (; stream && r + LINE <= rows; r += LINE) {
            stream_block(src + r * src_ld + c, src_ld, wide, dst + c * dst_ld + r, dst_ld);
        }
        for (; wide == LANES && r + LANES <= rows; r += LANES) {
            transpose_block(src + r * src_ld + c, src_ld, LANES, LANES, dst + c * dst_ld + r,
                            dst_ld);
        }
        for (; r < rows; r += LANES) {
            int64_t high = rows - r < LANES ? rows - r : LANES;
            transpose_block(src + r * src_ld + c, src_ld, high, wide, dst + c * dst_ld + r, dst_ld);
        }
    }
}

/* ---- filling ------------------------------------------------------------------------------ */

static void fill(float *dst, int64_t n, float value, bool stream)
{
    int64_t i = 0;
    if (stream) {
        for (; i < n && (uintptr_t)(dst + i) % sizeof(vec) != 0; i++) {
            dst[i] = value;
        }
        for (; i + LANES <= n; i += LANES) {
            vec_stream(dst + i, vec_set(value));
        }
    }
    for (; i + LANES <= n; i += LANES) {
        vec_store(dst + i, vec_set(value));
    }
    for (; i < n; i++) {
        dst[i] = value;
    }
}

#endif
