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

void flash_store_scores(const flash_job *job, fasc_tensor *t, const flash_item *item, int64_t first,
                        int64_t count, int64_t key, int64_t keys, int width, const float *s,
                        float *rows)
{
    int64_t size = (int64_t)fasc_dtype_size(t->dtype);
    char *dst = fasc_row(t, item->b, item->h, first) + key * t->stride[3] * size;
    if (t->dtype == FASC_F32 && t->stride[3] == 1) {
        job->ops->transpose(s, width, keys, count, (float *)dst, t->stride[2], worth_streaming(t));
        return;
    }
    job->ops->transpose(s, width, keys, count, rows, job->block_n, false);
    for (int64_t x = 0; x < count; x++) {
        fasc_store_f32(dst + x * t->stride[2] * size, t->dtype, t->stride[3],
                       rows + x * job->block_n, keys);
    }
}

void flash_fill_scores(const flash_job *job, fasc_tensor *t, const flash_item *item, int64_t begin,
                       int64_t end, float value)
{
    enum { CHUNK = 512 };
    float constant[CHUNK];
    int64_t size = (int64_t)fasc_dtype_size(t->dtype);
    bool direct = t->dtype == FASC_F32 && t->stride[3] == 1, stream = worth_streaming(t);
    job->ops->fill(constant, CHUNK, value, false);
    for (int64_t i = item->first; i < item->first + item->count && begin < end; i++) {
        char *row = fasc_row(t, item->b, item->h, i);
        if (direct) {
            job->ops->fill((float *)row + begin, end - begin, value, stream);
            continue;
        }
        for (int64_t j = begin; j < end; j += CHUNK) {
            fasc_store_f32(row + j * t->stride[3] * size, t->dtype, t->stride[3], constant,
                           end - j < CHUNK ? end - j : CHUNK);
        }
    }
}
