/* flash.h - the parts of the flash kernel: flash.c (plan, sharing out), flash_item.c (one query
 * tile against all its key tiles), flash_scores.c (scores leave the tiles). */
#ifndef FASC_CPU_FLASH_H
#define FASC_CPU_FLASH_H

#include "cpu/attention.h"
#include "cpu/tile.h"

/* What holds for the whole call. */
typedef struct flash_job {
    const fasc_problem *problem;
    const fasc_tile_ops *ops;
    int64_t block_m, block_n;
    int width;      /* queries of a full group: block_m is a multiple of it */
    bool softmax;   /* anything but logits and masked is wanted */
    bool separate;  /* P has a place of its own, since S is still needed */
    bool keep_rows; /* S of the whole row is kept until its LSE is known: probs is wanted */
    fasc_stop *stop;
} flash_job;

/* One thread's scratch; tiles as in tile.h. A query tile is block_m / width groups. */
typedef struct flash_scratch {
    float *rows;   /* (width, head_dim or block_n): rows as they lie in memory */
    float *q_t;    /* groups of (head_dim, width) */
    float *o_t;    /* groups of (head_dim, width) */
    float *m;      /* block_m: running maximum */
    float *sum;    /* block_m */
    float *max;    /* width */
    float *alpha;  /* width */
    float *s;      /* (block_n, width), or groups of (seqlen_k, width) with keep_rows */
    float *p;      /* (block_n, width); s without `separate` */
    float *k;      /* (block_n, head_dim): keys that are not contiguous float32 */
    float *v;      /* (block_n, head_dim) */
    float *mask;   /* (width, block_n), as it lies in memory */
    float *mask_t; /* (block_n, width) */
} flash_scratch;

/* Lends out memory at base (which may be NULL: to learn the size) and returns the bytes taken. */
int64_t flash_scratch_lend(const flash_job *job, char *base, flash_scratch *scratch);

/* Some queries of one head, and the keys that any of them needs. */
typedef struct flash_item {
    int64_t b, h, first, count; /* queries [first, first + count) */
    int64_t begin, end;         /* keys */
} flash_item;

/* All of one item: scores and statistics stored, out stored. */
void flash_item_run(const flash_job *job, const flash_item *item, flash_scratch *scratch);

/* ---- flash_scores.c ------------------------------------------------------------------ */

/* Stores s (keys, width), keys from `key` on, as columns [key, key + keys) of the rows
 * [first, first + count) of head (b, h) of a tensor of scores. */
void flash_store_scores(const flash_job *job, fasc_tensor *t, const flash_item *item, int64_t first,
                        int64_t count, int64_t key, int64_t keys, int width, const float *s,
                        float *rows);

/* Sets columns [begin, end) of the item's rows to value. */
void flash_fill_scores(const flash_job *job, fasc_tensor *t, const flash_item *item, int64_t begin,
                       int64_t end, float value);

#endif
