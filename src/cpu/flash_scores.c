/* flash_scores.c - scores leave flash's tiles: turned back to rows, converted where the output is
 * not float32. */
#include "cpu/flash.h"
#include "cpu/rows.h"

/* Scores that no cache will hold until someone reads them are written past the caches. */
#define STREAM_BYTES ((double)((int64_t)8 << 20))

static bool worth_streaming(const fasc_tensor *t)
{
    return (double)t->numel * (double)fasc_dtype_size(t->dtype) > STREAM_BYTES;
}

static bool float_rows(const fasc_tensor *t)
{
    return t->dtype == FASC_F32 && t->stride[3] == 1;
}

float *flash_carried(const flash_job *job, const fasc_tensor *t, const flash_group *g, int64_t key,
                     int64_t keys)
{
    enum { LINE = 16 }; /* floats */
    int64_t dims = job->problem->head_dim;
    bool shape = dims >= 16 && dims <= 256 && (dims & (dims - 1)) == 0 && keys % LINE == 0 &&
                 g->count == job->ops->group;
    if (!shape || !job->ops->values_carrying || !float_rows(t) || !worth_streaming(t)) {
        return NULL;
    }
    float *to = (float *)fasc_row(t, g->b, g->h, g->first) + key;
    return (uintptr_t)to % (LINE * sizeof *to) == 0 && t->stride[2] % LINE == 0 ? to : NULL;
}

void flash_store_scores(const flash_job *job, fasc_tensor *t, const flash_group *g, int64_t key,
                        int64_t keys, const float *s, float *rows)
{
    int64_t size = (int64_t)fasc_dtype_size(t->dtype);
    char *dst = fasc_row(t, g->b, g->h, g->first) + key * t->stride[3] * size;
    if (float_rows(t)) {
        job->ops->transpose(s, g->width, keys, g->count, (float *)dst, t->stride[2],
                            worth_streaming(t));
        return;
    }
    job->ops->transpose(s, g->width, keys, g->count, rows, job->block_n, false);
    for (int64_t x = 0; x < g->count; x++) {
        fasc_store_f32(dst + x * t->stride[2] * size, t->dtype, t->stride[3],
                       rows + x * job->block_n, keys);
    }
}

void flash_fill_scores(const flash_job *job, fasc_tensor *t, const flash_group *g, int64_t begin,
                       int64_t end, float value)
{
    enum { CHUNK = 512 };
    float constant[CHUNK];
    int64_t size = (int64_t)fasc_dtype_size(t->dtype);
    job->ops->fill(constant, CHUNK, value, false);
    for (int64_t x = 0; x < g->count && begin < end; x++) {
        char *row = fasc_row(t, g->b, g->h, g->first + x);
        if (float_rows(t)) {
            job->ops->fill((float *)row + begin, end - begin, value, worth_streaming(t));
            continue;
        }
        for (int64_t j = begin; j < end; j += CHUNK) {
            fasc_store_f32(row + j * t->stride[3] * size, t->dtype, t->stride[3], constant,
                           fasc_least(CHUNK, end - j));
        }
    }
}
