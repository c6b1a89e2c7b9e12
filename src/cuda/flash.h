/* flash.h - what the host sides of the flash kernels share: which problems they take, where their
 * inputs and outputs lie, and the launches that several kinds of scores take. */
#ifndef FASC_CUDA_FLASH_H
#define FASC_CUDA_FLASH_H

#include "cuda/attention.h"

#include "flash_params.h"
#include "topk_params.h"

/* Whether flash can serve the problem on any architecture; if not, `why` says so. */
bool fasc_flash_can(const fasc_problem *problem, char *why, size_t room);

/* Statistics of rows that flash kernels sum as scores pass by. */
#define FASC_FLASH_ROW_STATISTICS                                                                  \
    (FASC_WANT(ENTROPY) | FASC_WANT(MEAN_DISTANCE) | FASC_WANT(ROW_SUM) | FASC_WANT(ROW_ARGMAX))

/* ---- launches ------------------------------------------------------------ */

/* A launch stores one kind of scores; the first also gives out, lse and row_max. */
typedef struct fasc_flash_pass {
    int32_t scores; /* FASC_SCORES_... */
    const fasc_tensor *to;
    bool first;
} fasc_flash_pass;

/* The index-th pass of a problem; false past the last. */
bool fasc_flash_pass_at(const fasc_problem *problem, int32_t index, fasc_flash_pass *pass);

/* ---- inputs -------------------------------------------------------------- */

/* Inputs whose rows cannot be loaded in 16-byte pieces (a column stride, odd strides, a base that
 * is not aligned) are copied first: their places in the workspace, FASC_FLASH_IN_PLACE for those
 * that need none. */
#define FASC_FLASH_IN_PLACE SIZE_MAX
typedef struct fasc_flash_copies {
    size_t q, k, v;
    size_t bytes; /* of workspace, a multiple of FASC_CUDA_ALIGN */
} fasc_flash_copies;

fasc_flash_copies fasc_flash_copies_of(const fasc_problem *problem);

/* Queues those copies; q, k and v then are what a kernel reads. */
typedef struct fasc_flash_inputs {
    fasc_tensor q, k, v; /* v.data is NULL where out is not wanted */
} fasc_flash_inputs;

fasc_status fasc_flash_prepare(const fasc_cuda_call *call, fasc_flash_inputs *inputs);

/* ---- parameters ---------------------------------------------------------- */

/* The parameters of one pass; `section` is left to the caller. */
fasc_flash_params fasc_flash_params_of(const fasc_problem *problem, const fasc_flash_inputs *inputs,
                                       const fasc_flash_pass *pass);

/* Where the largest scores of each row go. */
fasc_topk_params fasc_topk_params_of(const fasc_problem *problem);

/* Query heads whose keys and values fit in half of the L2 cache together; at least one group. */
int32_t fasc_flash_section(const fasc_cuda_device *d, const fasc_problem *problem);

/* True when rows of t start at multiples of 16 bytes and lie without gaps. */
bool fasc_flash_vector_rows(const fasc_tensor *t);

/* Add to plan->config what goes another way than the fastest: copies and stores of q, k, v and out
 * by element; further launches; the last both of these, and scores stored by element. */
void fasc_flash_describe_tensors(const fasc_problem *problem, fasc_attention_plan *plan);
void fasc_flash_describe_launches(const fasc_problem *problem, fasc_attention_plan *plan);
void fasc_flash_describe(const fasc_problem *problem, fasc_attention_plan *plan);

#endif
