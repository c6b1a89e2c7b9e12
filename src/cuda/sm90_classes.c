/* sm90_classes.c - classes of rows of scores: how many there are, and the copy engine's maps of
 * them. */
#include "cuda/sm90_classes.h"

#include "cuda/tensor_map.h"

enum { ALIGN = FASC_SM90_ALIGN };

static int64_t gcd(int64_t a, int64_t b)
{
    return b == 0 ? a : gcd(b, a % b);
}

/* The stride of a dimension; 0 where there is nothing to step to. */
static int64_t step(const fasc_tensor *t, int dimension)
{
    return t->shape[dimension] > 1 ? t->stride[dimension] : 0;
}

/* Whether all heads start at the phase of the first. */
static bool heads_alike(const fasc_tensor *t)
{
    return step(t, 0) % ALIGN == 0 && step(t, 1) % ALIGN == 0;
}

/* Rows from the first to the last, if all heads' rows are of one numbering; else 0. */
static int64_t rows_in_all(const fasc_tensor *t)
{
    const int64_t row = t->stride[2];
    if (step(t, 0) % row != 0 || step(t, 1) % row != 0) {
        return 0;
    }
    return (t->shape[0] - 1) * (step(t, 0) / row) + (t->shape[1] - 1) * (step(t, 1) / row) +
           t->shape[2];
}

int32_t fasc_sm90_classes_of(const fasc_tensor *t)
{
    const int64_t row = step(t, 2), too_far = (int64_t)1 << 39;
    if (t->dtype == FASC_F32 || (t->shape[3] > 1 && t->stride[3] != 1) || row < t->shape[3] ||
        row >= too_far / ALIGN || step(t, 0) < 0 || step(t, 1) < 0 || step(t, 0) >= too_far ||
        step(t, 1) >= too_far || (uintptr_t)t->data % 2 != 0) {
        return 0;
    }
    const int64_t count = ALIGN / gcd(row, ALIGN), in_all = rows_in_all(t);
    const bool regular = heads_alike(t) || (in_all > 0 && in_all < INT32_MAX);
    return regular && t->shape[2] >= count ? (int32_t)count : 0;
}

int64_t fasc_sm90_classes_tiles(int64_t seqlen_q, int32_t classes, int32_t block_m)
{
    const int64_t rows = seqlen_q / classes, longer = seqlen_q % classes;
    const int64_t tiles = (rows + block_m - 1) / block_m;
    return tiles * classes + (rows % block_m == 0 ? longer : 0);
}

/* Queries of the classes that have `rows` each: column, row of a class, class, head, batch. */
static fasc_status q_map(const fasc_tensor *q, int64_t rows, int64_t classes, int64_t count,
                         int32_t block_m, fasc_tensor_map *map)
{
    if (rows == 0 || classes == 0) {
        return FASC_OK; /* no block asks for it */
    }
    const int64_t shape[5] = {q->shape[3], rows, classes, q->shape[1], q->shape[0]};
    const int64_t stride[5] = {1, count * step(q, 2), step(q, 2), step(q, 1), step(q, 0)};
    const int32_t box[5] = {64, block_m, 1, 1, 1};
    return fasc_tensor_map_make_any(q, q->data, shape, stride, box, map);
}

fasc_status fasc_sm90_classes_make(const fasc_tensor *scores, const fasc_tensor *q, int32_t block_m,
                                   int32_t panels, fasc_sm90_classes *x)
{
    const int64_t count = fasc_sm90_classes_of(scores), row = scores->stride[2];
    const int64_t rows = scores->shape[2] / count;
    const bool apart = heads_alike(scores);
    const int64_t in_all = apart ? scores->shape[2] : rows_in_all(scores);
    while (1 << x->shift < count) {
        x->shift++;
    }
    x->longer = (int32_t)(scores->shape[2] % count);
    x->tops = rows % block_m == 0 ? x->longer : 0;
    x->heads_apart = apart;
    x->batch_rows = apart ? 0 : (int32_t)(step(scores, 0) / row);
    x->head_rows = apart ? 0 : (int32_t)(step(scores, 1) / row);

    fasc_status status = q_map(q, rows + 1, x->longer, count, block_m, &x->q_map[0]);
    if (status == FASC_OK) {
        status = q_map(q, rows, count, count, block_m, &x->q_map[1]);
    }
    /* Whole panels alone are stored through these, so that no edge matters. */
    const int64_t shape[5] = {64, scores->shape[3] / 64 + 2, (in_all + count - 1) / count,
                              apart ? scores->shape[1] : 1, apart ? scores->shape[0] : 1};
    const int64_t stride[5] = {1, 64, count * row, step(scores, 1), step(scores, 0)};
    const int32_t box[5] = {64, panels, 16, 1, 1};
    for (int64_t i = 0; i < count && status == FASC_OK; i++) {
        const uintptr_t at = (uintptr_t)scores->data + (uintptr_t)(i * row * 2);
        status = fasc_tensor_map_make_any(scores, (void *)(at - at % (2 * ALIGN)), shape, stride,
                                          box, &x->scores_map[i]);
    }
    return status;
}
