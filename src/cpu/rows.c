/* rows.c - storing, masking and examining rows of attention's tensors. */
#include "cpu/rows.h"

#include <math.h>
#include <string.h>

void fasc_store_row(fasc_tensor *t, int64_t b, int64_t h, int64_t i, const float *values)
{
    if (t) {
        fasc_store_f32(fasc_row(t, b, h, i), t->dtype, t->stride[3], values, t->shape[3]);
    }
}

void fasc_store_statistics(const fasc_problem *problem, int64_t b, int64_t h, int64_t i,
                           float largest, double sum)
{
    const fasc_attention_args *args = problem->args;
    if (args->lse) {
        *(float *)fasc_row(args->lse, b, h, i) =
            sum == 0 ? -INFINITY : (float)((double)largest + log(sum));
    }
    if (args->row_max) {
        *(float *)fasc_row(args->row_max, b, h, i) =
            isnan(sum) && largest != INFINITY ? NAN : largest;
    }
}

/* ---- the mask -------------------------------------------------------------------------- */

static const char *mask_at(const fasc_problem *p, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const int64_t *stride = p->mask_stride;
    int64_t at = b * stride[0] + h * stride[1] + i * stride[2] + j * stride[3];
    return (const char *)p->mask_data + at * (int64_t)fasc_dtype_size(p->mask_dtype);
}

void fasc_mask_load_f32(const fasc_problem *problem, int64_t b, int64_t h, int64_t i, int64_t begin,
                        int64_t end, float *dst)
{
    fasc_load_f32(dst, mask_at(problem, b, h, i, begin), problem->mask_dtype,
                  problem->mask_stride[3], end - begin);
    for (int64_t j = 0; problem->mask_dtype == FASC_U8 && j < end - begin; j++) {
        dst[j] = dst[j] == 0 ? -INFINITY : 0.0f;
    }
}

void fasc_mask_load_f64(const fasc_problem *problem, int64_t b, int64_t h, int64_t i, int64_t begin,
                        int64_t end, double *dst)
{
    fasc_load_f64(dst, mask_at(problem, b, h, i, begin), problem->mask_dtype,
                  problem->mask_stride[3], end - begin);
    for (int64_t j = 0; problem->mask_dtype == FASC_U8 && j < end - begin; j++) {
        dst[j] = dst[j] == 0 ? -INFINITY : 0.0;
    }
}

void fasc_hide_row(const fasc_problem *problem, int64_t b, int64_t h, int64_t i, float *scores,
                   float *mask)
{
    int64_t begin, end;
    fasc_visible_range(problem, i, &begin, &end);
    for (int64_t j = 0; j < begin; j++) {
        scores[j] = -INFINITY;
    }
    for (int64_t j = end; j < problem->seqlen_k; j++) {
        scores[j] = -INFINITY;
    }
    if (problem->mask_data) {
        fasc_mask_load_f32(problem, b, h, i, begin, end, mask);
        for (int64_t j = begin; j < end; j++) {
            float added = mask[j - begin];
            scores[j] = added == -INFINITY ? -INFINITY : scores[j] + added;
        }
    }
}

/* ---- values ------------------------------------------------------------------------------ */

bool fasc_all_finite(const float *data, int64_t ld, int64_t rows, int64_t columns)
{
    const uint32_t exponent = 0x7f800000u; /* all ones in NaN and infinities */
    uint32_t found = 0;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            uint32_t bits;
            memcpy(&bits, data + i * ld + j, sizeof bits);
            found |= (bits & exponent) == exponent;
        }
    }
    return !found;
}
