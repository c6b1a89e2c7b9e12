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
    int64_t heads;  /* query heads of an item, all of one key head; above 1 only for queries so few
                       that a query tile holds those of several heads */
    bool softmax;   /* anything but logits and masked is wanted */
    bool keep_rows; /* probs is wanted: S of whole rows is kept until their sums are known, and P
                       has a place of its own */
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
    float *p;      /* (block_n, width); s without keep_rows */
    float *k;      /* (block_n, head_dim): keys that are not contiguous float32 */
    float *v;      /* (block_n, head_dim) */
    float *mask;   /* (width, block_n), as it lies in memory */
    float *mask_t; /* (block_n, width) */
} flash_scratch;

/* Lends out memory at base (which may be NULL: to learn the size) and returns the bytes taken. */
int64_t flash_scratch_lend(const flash_job *job, char *base, flash_scratch *scratch);

/* The queries [first, first + count) of heads [h, h + heads), which share a key head, and the keys
 * that any of them needs. */
typedef struct flash_item {
    int64_t b, h, heads, first, count;
    int64_t begin, end; /* keys */
} flash_item;

/* A group of an item's queries: those that tiles hold side by side. */
typedef struct flash_group {
    int64_t b, h, first, count;
    int width;
    float *q_t, *o_t, *m, *sum;
    float *s;                   /* its first key's row, with keep_rows; else the tile */
    int64_t begin, end;         /* keys that some query sees */
    int64_t all_begin, all_end; /* keys that every query sees */
} flash_group;

/* All of one item: scores and statistics stored, out stored. */
void flash_item_run(const flash_job *job, const flash_item *item, flash_scratch *scratch);

/* ---- flash_scores.c ------------------------------------------------------------------ */

/* Stores s (keys, width), keys from `key` on, as columns [key, key + keys) of the group's rows of a
 * tensor of scores. rows: scratch. */
void flash_store_scores(const flash_job *job, fasc_tensor *t, const flash_group *g, int64_t key,
                        int64_t keys, const float *s, float *rows);

/* Sets columns [begin, end) of the group's rows to value. */
void flash_fill_scores(const flash_job *job, fasc_tensor *t, const flash_group *g, int64_t begin,
                       int64_t end, float value);

#endif
