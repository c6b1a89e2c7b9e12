/* linear_sums.h - sums of logits in linear time: sum_j scale q_i . k_j = scale q_i . (sum_j k_j),
 * and for columns likewise with the sum of the queries. The keys that a query sees are a window
 * that moves along with it, so that the sums of a band are had by additions alone. Holds where no
 * mask adds to or hides single pairs. */
#ifndef FASC_CPU_LINEAR_SUMS_H
#define FASC_CPU_LINEAR_SUMS_H

#include "cpu/attention.h"

/* True if the problem wants row_sum or col_sum_logits and the formula gives them within bounded
 * memory. */
bool fasc_linear_sums_apply(const fasc_problem *problem);

/* Bytes of one thread, aligned; and work items, each of which run serves. */
int64_t fasc_linear_sums_bytes(const fasc_problem *problem);
int64_t fasc_linear_sums_count(const fasc_problem *problem);
void fasc_linear_sums_run(const fasc_problem *problem, int64_t number, char *base, fasc_stop *stop);

#endif
