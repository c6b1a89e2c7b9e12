/* flash.h - the parts of the flash kernel: flash.c (plan, sharing out), flash_item.c (one query
 * tile against all its key tiles), flash_scores.c (scores leave the tiles), flash_rows.c (what is
 * known of a row once its keys are through), flash_split.c (keys in parts, and their merging),
 * flash_columns.c and flash_diagonals.c (second passes, which know each row's softmax). */
#ifndef FASC_CPU_FLASH_H
#define FASC_CPU_FLASH_H

#include "cpu/attention.h"
#include "cpu/tile.h"

/* What holds for the whole call. */
typedef struct flash_job {
    const fasc_problem *problem;
    const fasc_tile_ops *ops;
    int64_t block_m, block_n;
    int width;     /* queries of a full group: block_m is a multiple of it */
    int64_t heads; /* query heads of an item, all of one key head; above 1 only for queries so few
                      that a query tile holds those of several heads */
    int64_t first, last; /* queries that the first pass covers: [first, last) */
    int64_t splits;      /* parts of the keys, worked on apart */
    bool softmax;        /* anything but scores and their largest is wanted */
    bool keep_rows; /* probs is stored by the first pass: S of whole rows is kept until their sums
                       are known, and P has a place of its own */
    bool entropy, distance, row_sum, argmax; /* what else a row's state holds */
    bool forward, columns, tiles, diagonals; /* passes */
    bool late_probs;           /* probs is stored by the pass over columns, since keys are split */
    bool linear;               /* row_sum and col_sum_logits come by the linear formula */
    float *m_of, *log2_sum_of; /* of every row, (B, Hq, Nq), for the second passes; NULL without */
    float *partial;            /* states of split rows */
    bool kept;                 /* columns come out of the first pass (flash_kept.c) */
    int64_t slots;
    float *slot; /* of items in flight */
    double *column_sum;
    float *column_max;
    fasc_stop *stop;
} flash_job;

/* One thread's scratch; tiles as in tile.h. A query tile is block_m / width groups. */
typedef struct flash_scratch {
    float *rows;   /* (width, head_dim or block_n): rows as they lie in memory */
    float *q_t;    /* groups of (head_dim, width) */
    float *o_t;    /* groups of (head_dim, width) */
    float *max;    /* width */
    float *alpha;  /* width */
    float *s;      /* (block_n, width), or groups of (seqlen_k, width) with keep_rows */
    float *p;      /* (block_n, width); s without keep_rows */
    float *k;      /* (block_n, head_dim): keys that are not contiguous float32 */
    float *v;      /* (block_n, head_dim) */
    float *mask;   /* (width, block_n), as it lies in memory */
    float *mask_t; /* (block_n, width) */
    /* of each query of the tile: block_m */
    float *m;       /* running maximum */
    float *sum;     /* of exp(S - m) */
    float *t, *d;   /* as in tile.h; NULL where not kept, like those that follow */
    float *row_sum; /* of S over the key range */
    float *best;    /* the largest S, and its key */
    int32_t *at;
    float *top; /* (block_m, k): the largest, and their keys */
    int32_t *top_at;
    float *tile_m; /* with kept: (key tiles, block_m): the running maximum after each */
    float *column_sum, *column_max; /* with kept: (block_n, lanes) */
    float *joined;                  /* with kept: block_n */
} flash_scratch;

/* Lends out memory at base (which may be NULL: to learn the size) and returns the bytes taken. */
int64_t flash_scratch_lend(const flash_job *job, char *base, flash_scratch *scratch);

/* Takes n floats; with nothing behind them while only the size is asked for. */
static inline float *flash_take(char *base, int64_t *used, int64_t n)
{
    float *floats = base ? (float *)(base + *used) : NULL;
    *used += fasc_aligned(n * (int64_t)sizeof *floats);
    return floats;
}

/* The queries [first, first + count) of heads [h, h + heads), which share a key head, and the keys
 * that any of them needs. */
typedef struct flash_item {
    int64_t b, h, heads, first, count;
    int64_t begin, end;             /* keys */
    int64_t whole_begin, whole_end; /* with those of all splits */
    int64_t split;
    int64_t slot; /* with kept */
} flash_item;

/* A group of an item's queries: those that tiles hold side by side. */
typedef struct flash_group {
    int64_t b, h, first, count;
    int width;
    int64_t place; /* of its first query in the query tile's arrays */
    float *q_t, *o_t;
    float *s;                   /* its first key's row, with keep_rows; else the tile */
    int64_t begin, end;         /* keys that some query sees */
    int64_t all_begin, all_end; /* keys that every query sees */
} flash_group;

/* A tile of keys. */
typedef struct flash_keys {
    int64_t begin, end;
    const float *k, *v;
    int64_t k_ld, v_ld;
} flash_keys;

/* All of one item: scores and statistics stored, out stored. */
void flash_item_run(const flash_job *job, const flash_item *item, flash_scratch *scratch);

/* Rows [begin, end) of head (b, hk) as float32 rows: in place, or copied to buffer. */
const float *flash_rows_of(const fasc_tensor *t, int64_t b, int64_t hk, int64_t begin, int64_t end,
                           float *buffer, int64_t *ld);

/* q_t = scale Q^T; lanes beyond the last query are 0. */
void flash_load_queries(const flash_job *job, const flash_group *g, float *rows);

/* Which keys a group's queries see. */
void flash_group_bounds(const fasc_problem *p, flash_group *g);

/* Hides keys [begin, end), whose scores begin at s, from the queries that do not see them. */
void flash_hide(const flash_job *job, const flash_group *g, int64_t begin, int64_t end, float *s,
                flash_scratch *scratch);

/* ---- flash_scores.c ------------------------------------------------------------------ */

/* Stores s (keys, width), keys from `key` on, as columns [key, key + keys) of the group's rows of a
 * tensor of scores. rows: scratch. */
void flash_store_scores(const flash_job *job, fasc_tensor *t, const flash_group *g, int64_t key,
                        int64_t keys, const float *s, float *rows);

/* Where columns [key, key + keys) of the group's rows begin, if they may leave while values are
 * weighed (ops->values_carrying); else NULL. */
float *flash_carried(const flash_job *job, const fasc_tensor *t, const flash_group *g, int64_t key,
                     int64_t keys);

/* Sets columns [begin, end) of the group's rows to value. */
void flash_fill_scores(const flash_job *job, fasc_tensor *t, const flash_group *g, int64_t begin,
                       int64_t end, float value);

/* ---- flash_rows.c ---------------------------------------------------------------------- */

/* What is known of a row. */
typedef struct flash_row {
    float m, sum, t, d, row_sum;
    int32_t at;
    const float *top;
    const int32_t *top_at;
} flash_row;

/* Begins the state of a group's queries. */
void flash_rows_begin(const flash_job *job, const flash_group *g, flash_scratch *scratch);

/* Takes in the scores of keys [begin, end), hidden ones as -inf. */
void flash_rows_meet(const flash_job *job, const flash_group *g, int64_t begin, int64_t end,
                     const float *s, flash_scratch *scratch);

/* Query x of a group. */
flash_row flash_row_at(const flash_job *job, const flash_group *g, int64_t x,
                       const flash_scratch *scratch);

/* Stores all that row (b, h, i) has told. */
void flash_row_store(const flash_job *job, int64_t b, int64_t h, int64_t i, const flash_row *row);

/* The largest logit of each head, once all rows are through. */
void flash_store_max_logit(const flash_job *job);

/* ---- flash_split.c ---------------------------------------------------------------------- */

/* How many parts to split the keys in, for so many items and threads. */
int64_t flash_splits_of(const fasc_problem *problem, int64_t items, int64_t block_n);

/* The part of its keys that an item works on. */
void flash_split_item(const flash_job *job, flash_item *item);

/* Floats that all partial states take. */
int64_t flash_partial_floats(const flash_job *job);

/* Keeps a group's state as partial state of its split. out: its rows of o, (width, head_dim). */
void flash_split_keep(const flash_job *job, const flash_item *item, const flash_group *g,
                      const flash_scratch *scratch);

/* Joins the parts of row n of all that the first pass covers, and stores it. floats: scratch. */
void flash_split_merge(const flash_job *job, int64_t n, float *floats);
int64_t flash_merge_floats(const flash_job *job);

/* ---- flash_kept.c ------------------------------------------------------------------------ */

/* True if column sums and maxima of P can come out of the first pass. */
bool flash_kept_applies(const flash_job *job);

/* Lends what all threads share, for so many items in all; sets job->slots. */
int64_t flash_kept_lend(flash_job *job, int64_t items, char *base);
int64_t flash_kept_slots(const flash_job *job, int64_t items);

/* An item whose groups have met all their keys leaves its columns in its slot. */
void flash_kept_item(const flash_job *job, const flash_item *item, const flash_group *group,
                     int64_t groups, flash_scratch *scratch);

/* Joins the columns that an item left; unit `number` of the count is one thread's. */
int64_t flash_kept_join_count(const flash_job *job);
void flash_kept_join(const flash_job *job, const flash_item *item, int64_t number);

void flash_kept_clear(const flash_job *job);
void flash_kept_store(const flash_job *job);

/* ---- second passes ---------------------------------------------------------------------- */

/* Each serves work item `number` of its count. */
int64_t flash_columns_count(const flash_job *job, bool tiles);
void flash_columns_run(const flash_job *job, bool tiles, int64_t number, char *base);
int64_t flash_columns_bytes(const flash_job *job);

int64_t flash_diagonals_count(const flash_job *job);
void flash_diagonals_run(const flash_job *job, int64_t number, char *base);
int64_t flash_diagonals_bytes(const flash_job *job);

#endif
