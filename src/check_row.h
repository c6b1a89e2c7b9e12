/* check_row.h - one row of each output, and sums over rows, compared with the oracle's, under the
 * bounds of fasc.h. */
#ifndef FASC_CHECK_ROW_H
#define FASC_CHECK_ROW_H

#include "cpu/oracle.h"
#include "cpu/oracle_sums.h"
#include "problem.h"

typedef struct fasc_row_check {
    const fasc_problem *problem;
    const fasc_oracle_row *row; /* computed, with bounds */
    int64_t b, h, i;
    double *values; /* scratch: max(seqlen_k, head_dim) */
} fasc_row_check;

/* Compares query i's part of an output, which lies at row `at` of the tensor (on the CPU). */
void fasc_check_row(const fasc_row_check *check, fasc_output_number output, const fasc_tensor *t,
                    int64_t at, fasc_check_entry *entry);

/* True for outputs that sum over queries, which fasc_check_sum compares. */
bool fasc_check_is_sum(fasc_output_number output);

/* Compares a complete sum of head `head` (fasc_oracle_sums_head) with its output. */
void fasc_check_sum(const fasc_problem *problem, const fasc_oracle_sum *sum, const fasc_tensor *t,
                    int64_t b, int64_t head, fasc_check_entry *entry);

/* FASC_OUTPUT_COUNT entries with their names and nothing compared; and what one thread found
 * joined to the whole, whichever thread comes first. */
void fasc_check_entries_begin(fasc_check_entry *entry);
void fasc_check_entries_merge(fasc_check_entry *all, const fasc_check_entry *mine);

#endif
