/* flash_second.h - what flash's second passes share: they compute scores again, group of queries by
 * group, and with each row's maximum and sum known from the first pass every probability is final
 * at once. Groups are the same whatever the number of threads, and sums are taken in the order of
 * the queries, so that the bits depend on neither. */
#ifndef FASC_CPU_FLASH_SECOND_H
#define FASC_CPU_FLASH_SECOND_H

#include "cpu/flash.h"

/* Queries after which float32 sums move on to float64 ones: equal numbers, as uniform attention
 * has, are all rounded to one side, so that no more than some 32 may be added up. Sums of columns
 * have a lane for each of 4 queries and more. */
enum { FLASH_FLUSH_COLUMNS = 128, FLASH_FLUSH_DIAGONALS = 32 };

typedef struct flash_second {
    flash_scratch scratch;
    float *m, *log2_sum; /* of the group at hand: width */
    int width;
} flash_second;

/* Lends memory at base (NULL: to learn the size); returns the bytes taken. */
int64_t flash_second_lend(const flash_job *job, int64_t queries, char *base, flash_second *second);

/* The group of queries from `first` on, before `last`, loaded. */
flash_group flash_second_group(const flash_job *job, int64_t b, int64_t h, int64_t first,
                               int64_t last, flash_second *second);

/* Scores of the tile's keys that the group sees, [*begin, *end), hidden ones and those of spare
 * lanes as -inf; they begin at scratch.s + (*begin - keys->begin) * width, which is returned. */
float *flash_second_scores(const flash_job *job, const flash_group *g, const flash_keys *keys,
                           int64_t *begin, int64_t *end, flash_second *second);

/* They become probabilities in place. */
void flash_second_probs(const flash_job *job, float *s, int64_t keys, const flash_second *second);

#endif
