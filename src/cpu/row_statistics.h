/* row_statistics.h - statistics for the kernels that keep whole rows: each row of S and of P, once
 * it is there, is described and added to what its head sums over queries. */
#ifndef FASC_CPU_ROW_STATISTICS_H
#define FASC_CPU_ROW_STATISTICS_H

#include "cpu/oracle_sums.h"

/* What one thread needs. A head's rows must come in order, all on one thread. */
typedef struct fasc_row_statistics {
    const fasc_problem *problem;
    float *scores;         /* seqlen_k: S of the row, whose place P takes */
    double *s, *p;         /* seqlen_k: for the sums; NULL without any */
    fasc_oracle_sums sums; /* of the head at hand */
    float *largest;        /* batch * heads_q: of each head, for max_logit; shared by all threads */
} fasc_row_statistics;

/* True if any output beyond out, lse, row_max and scores is wanted. */
bool fasc_wants_statistics(const fasc_problem *problem);

/* True if heads must be worked on whole: something sums over queries. Then with per_kv_head a key
 * head's query heads must follow one another on one thread. */
bool fasc_sums_over_queries(const fasc_problem *problem);

/* Heads that one thread takes at a time. */
int64_t fasc_heads_together(const fasc_problem *problem);

/* Lends memory of one thread at base (NULL: to learn the size), and what all share (largest). */
int64_t fasc_row_statistics_lend(const fasc_problem *problem, char *base, float *largest,
                                 fasc_row_statistics *statistics);
int64_t fasc_row_statistics_shared(const fasc_problem *problem); /* bytes of `largest` */

void fasc_row_statistics_begin(fasc_row_statistics *statistics, int64_t b, int64_t h);
/* probs: P of query i; statistics->scores holds its S. */
void fasc_row_statistics_add(fasc_row_statistics *statistics, int64_t b, int64_t h, int64_t i,
                             const float *probs, double lse);
void fasc_row_statistics_end(fasc_row_statistics *statistics, int64_t b, int64_t h);
/* Once all heads are done. */
void fasc_store_max_logit(const fasc_problem *problem, const float *largest);

/* Dropout's part: pairs that are not kept become 0, the others grow by keep_scale. */
void fasc_drop_row(const fasc_problem *problem, int64_t b, int64_t h, int64_t i, float *probs);

#endif
