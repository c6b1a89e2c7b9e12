/* oracle_sums.h - what attention's outputs gather over the queries of a head (columns, diagonals,
 * tiles, the largest logit), in float64: row after row in order, so that the bits depend on nothing
 * else. For the reference kernel, and with bounds for fasc_attention_check. */
#ifndef FASC_CPU_ORACLE_SUMS_H
#define FASC_CPU_ORACLE_SUMS_H

#include "cpu/oracle.h"

enum { FASC_ORACLE_SUMS = 8 }; /* such outputs */

/* One output's sums of the head at hand. */
typedef struct fasc_oracle_sum {
    fasc_output_number output;
    int64_t count; /* elements */
    double *value;
    double *bound; /* the same sum, or maximum, of what each term may be off by; NULL without */
    double *loose; /* sums of S: not 0 where a visible pair's S is infinite or NaN; NULL likewise */
} fasc_oracle_sum;

typedef struct fasc_oracle_sums {
    const fasc_problem *problem;
    int count;
    fasc_oracle_sum sum[FASC_ORACLE_SUMS];
} fasc_oracle_sums;

/* Doubles that the lending takes from an array. */
int64_t fasc_oracle_sums_size(const fasc_problem *problem, bool bounds);
fasc_oracle_sums fasc_oracle_sums_lend(const fasc_problem *problem, bool bounds, double *doubles);

/* Clears what begins with head (b, h): with per_kv_head columns go on through a group, and the
 * largest logit goes on through the batch. */
void fasc_oracle_sums_begin(fasc_oracle_sums *sums, int64_t b, int64_t h);

/* Adds query i of head h to sum number n. */
void fasc_oracle_sums_add(fasc_oracle_sums *sums, int n, int64_t h, int64_t i,
                          const fasc_oracle_row *row);

/* True if sum n is complete once head (b, h) has been added; then its elements are those of the
 * output's head fasc_oracle_sums_head(). Turns tiles' masses into means. */
bool fasc_oracle_sums_end(fasc_oracle_sums *sums, int n, int64_t b, int64_t h);
int64_t fasc_oracle_sums_head(const fasc_problem *problem, fasc_output_number output, int64_t h);

/* Address of element x of head (b, head) of such an output. */
char *fasc_oracle_sums_at(const fasc_problem *problem, fasc_output_number output,
                          const fasc_tensor *t, int64_t b, int64_t head, int64_t x);

#endif
