/* tile.h - the arithmetic of attention on tiles that stay in the cache, in one version for each
 * instruction set (tile_portable.c, tile_avx2.c, tile_avx512.c).
 *
 * A tile is transposed: keys (or head dimensions) go down, and a group of queries goes across, one
 * query to a vector lane. So scores are K times Q^T with a broadcast of K as it lies in memory, P
 * V likewise with V as it lies, and the softmax of 16 queries is vertical arithmetic on one vector:
 * nothing is packed, and nothing is reduced across lanes. `width` is how many queries a group has
 * room for, one of the widths that fasc_tile_width returns; rows of a tile are `width` floats apart
 * and aligned to FASC_CPU_ALIGN bytes. */
#ifndef FASC_CPU_TILE_H
#define FASC_CPU_TILE_H

#include "cpu/isa.h"

/* The running state of an online softmax, of each query of a group. */
typedef struct fasc_tile_softmax {
    float *m, *sum, *alpha; /* as in `softmax` below */
    float *t;               /* sum of exp(S - m) (S - m), for the entropy; NULL: not kept */
    float *d;               /* sum of exp(S - m) (i' - j), for the mean distance; NULL: not kept */
    float place;            /* i' - j of the first query and the tile's first key */
} fasc_tile_softmax;

/* Which pairs dropout keeps (fasc_dropout_word in philox.h). */
typedef struct fasc_tile_drop {
    uint64_t seed;
    uint32_t offset, bh, threshold;
    uint32_t query; /* the group's first */
    int64_t key;    /* the tile's first */
} fasc_tile_drop;

typedef struct fasc_tile_ops {
    int lanes; /* floats of a vector */
    int group; /* the most queries of a group */

    /* dst[c][r] = src[r][c] for r < rows, c < columns. Reads whole vectors of src, so its rows have
     * room for a multiple of `lanes`. stream: bypass the caches where dst is aligned for it. */
    void (*transpose)(const float *src, int64_t src_ld, int64_t rows, int64_t columns, float *dst,
                      int64_t dst_ld, bool stream);

    /* s (keys, width) = K Q^T, K being (keys, dims) and q_t (dims, width). Raises max[width] to the
     * largest of each column; a NaN is passed over. */
    void (*scores)(const float *k, int64_t k_ld, int64_t keys, int64_t dims, const float *q_t,
                   int width, float *s, float *max);

    /* s = -inf where query x does not see key j: unless first + j <= x <= last + j. */
    void (*hide)(float *s, int64_t keys, int width, int32_t first, int32_t last);

    /* s += mask (keys, width), -inf where mask is. */
    void (*add_mask)(float *s, const float *mask, int64_t keys, int width);

    /* What `scores` does to max, for a tile that was changed since. */
    void (*raise_max)(const float *s, int64_t keys, int width, float *max);

    /* One step of the online softmax: with m the running maximum before the tile and max after it,
     * p (keys, width) = exp(s - max), alpha = exp(m - max), sum = sum alpha + (column sums of p),
     * m = max. p may be s. */
    void (*softmax)(const float *s, float *p, int64_t keys, int width, const float *max, float *m,
                    float *sum, float *alpha);

    /* o (dims, width) = o alpha + V^T p, V being (keys, dims). */
    void (*values)(const float *v, int64_t v_ld, int64_t keys, int64_t dims, const float *p,
                   int width, const float *alpha, float *o);

    /* `values` of a full group, while its `group` rows of keys floats go from `from` to `to`, past
     * the caches: among multiply-adds stores cost less than by themselves. dims is 16 to 256, a
     * power of 2; keys are a multiple of 16; `to` begins lines of memory. NULL: cannot. */
    void (*values_carrying)(const float *v, int64_t v_ld, int64_t keys, int64_t dims,
                            const float *p, const float *alpha, float *o, const float *from,
                            int64_t from_ld, float *to, int64_t to_ld);

    /* o /= sum in place; 0 where sum is 0. */
    void (*normalise)(float *o, int64_t dims, int width, const float *sum);

    /* s = exp(s - m) / 2^log2_sum in place, with subnormal results; 0 where s is -inf. */
    void (*probs)(float *s, int64_t keys, int width, const float *m, const float *log2_sum);

    /* `softmax` that keeps t or d or both as well, and subnormal exponentials. */
    void (*softmax_more)(const float *s, float *p, int64_t keys, int width, const float *max,
                         const fasc_tile_softmax *state);

    /* p = 0 where dropout does not keep the pair. */
    void (*drop)(float *p, int64_t keys, int width, const fasc_tile_drop *drop);

    /* Along keys, for each query x; hidden scores (-inf) take no part. The first key is number
     * `key`. add_scores: sum[x] += the column. argmax: raises best[x] to the first of the column's
     * largest, at[x] its key. topk: the same with the k largest, values and at (width, k) in
     * descending order, equals by ascending key. */
    void (*add_scores)(const float *s, int64_t keys, int width, float *sum);
    void (*argmax)(const float *s, int64_t keys, int width, int32_t key, float *best, int32_t *at);
    void (*topk)(const float *s, int64_t keys, int width, int32_t key, int64_t k, float *values,
                 int32_t *at);

    /* Along queries: sum and max are (keys, lanes), lane by lane, so that their lanes are left to
     * join. A NaN makes max NaN. add_diagonals: diagonal[x - j] += s[j][x]. blank: s = -inf from
     * query `count` on, where a group has no more. */
    void (*add_columns)(const float *s, int64_t keys, int width, float *sum);
    void (*raise_columns)(const float *p, int64_t keys, int width, float *max);
    void (*add_diagonals)(const float *s, int64_t keys, int width, float *diagonal);
    /* The same of p[j][x] factor[x] with p >= 0; a p of 0 stays 0 whatever its factor. */
    void (*add_scaled)(const float *p, int64_t keys, int width, const float *factor, float *sum);
    void (*raise_scaled)(const float *p, int64_t keys, int width, const float *factor, float *max);
    /* Joins lanes: out[j] = their sum, or maximum, in sums of `keys` rows (room for whole vectors
     * of rows in both). */
    void (*join_sums)(const float *sum, int64_t keys, float *out);
    void (*join_maxima)(const float *max, int64_t keys, float *out);
    void (*blank)(float *s, int64_t keys, int width, int64_t count);

    /* dst = value, n times. stream as above. */
    void (*fill)(float *dst, int64_t n, float value, bool stream);

    /* Rows as they lie in memory, for kernels that keep whole rows: the largest of n (a NaN is
     * passed over); the sum of exp(s - max), which row_exp leaves in s; and s = exp(s - max) /
     * 2^log2_sum as above. */
    float (*row_max)(const float *s, int64_t n);
    float (*row_sum)(const float *s, int64_t n, float max);
    float (*row_exp)(float *s, int64_t n, float max);
    void (*row_probs)(float *s, int64_t n, float max, float log2_sum);

    /* Ends streamed stores of this thread. */
    void (*stream_end)(void);
} fasc_tile_ops;

extern const fasc_tile_ops fasc_tile_portable, fasc_tile_avx2, fasc_tile_avx512;
extern const fasc_tile_ops fasc_tile_thin_portable, fasc_tile_thin_avx2, fasc_tile_thin_avx512;

/* thin: groups of one query each, for problems with few (see tile_thin.h). */
const fasc_tile_ops *fasc_tile_ops_for(fasc_isa isa, bool thin);

/* The narrowest group that holds so many queries (at most ops->group): lanes times a power of 2. */
static inline int fasc_tile_width(const fasc_tile_ops *ops, int64_t queries)
{
    int width = ops->lanes;
    while (width < queries && width < ops->group) {
        width *= 2;
    }
    return width;
}

#endif
