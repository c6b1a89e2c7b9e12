/* walk.c - runs of a tensor's elements in row-major order. */
#include "cpu/walk.h"

#include "dtype.h"

fasc_walk fasc_walk_over(const fasc_tensor *t)
{
    fasc_walk w = {.data = t->data, .dtype = t->dtype, .rank = 0};
    for (int32_t i = 0; i < t->rank; i++) {
        if (t->shape[i] == 1) {
            continue;
        }
        int32_t last = w.rank - 1;
        if (last >= 0 && w.stride[last] % t->shape[i] == 0 &&
            w.stride[last] / t->shape[i] == t->stride[i]) {
            w.shape[last] *= t->shape[i];
            w.stride[last] = t->stride[i];
        } else {
            w.shape[w.rank] = t->shape[i];
            w.stride[w.rank++] = t->stride[i];
        }
    }
    if (w.rank == 0) {
        w.shape[0] = w.stride[0] = w.rank = 1;
    }
    return w;
}

/* Where a walk stands: the offset of its element, and how many follow on the same row. */
typedef struct place {
    int64_t index[FASC_MAX_RANK], offset;
} place;

static place find(const fasc_walk *w, int64_t n)
{
    place p = {.offset = 0};
    for (int32_t i = w->rank - 1; i >= 0; i--) {
        p.index[i] = n % w->shape[i];
        p.offset += p.index[i] * w->stride[i];
        n /= w->shape[i];
    }
    return p;
}

/* Moves on by at most the rest of a row. */
static void move(const fasc_walk *w, place *p, int64_t n)
{
    int32_t i = w->rank - 1;
    p->index[i] += n;
    p->offset += n * w->stride[i];
    while (i > 0 && p->index[i] == w->shape[i]) {
        p->offset += w->stride[i - 1] - w->shape[i] * w->stride[i];
        p->index[i] = 0;
        p->index[--i]++;
    }
}

/* Runs ROW on each piece of a row: `at` its address, `done` the elements before it, `m` its size.
 */
#define EACH_ROW(ROW)                                                                              \
    do {                                                                                           \
        int32_t inner_ = walk->rank - 1;                                                           \
        int64_t stride = walk->stride[inner_], size_ = (int64_t)fasc_dtype_size(walk->dtype), m;   \
        place p_ = find(walk, first);                                                              \
        for (int64_t done = 0; done < n; done += m) {                                              \
            char *at = walk->data + p_.offset * size_;                                             \
            m = walk->shape[inner_] - p_.index[inner_];                                            \
            m = m < n - done ? m : n - done;                                                       \
            ROW;                                                                                   \
            move(walk, &p_, m);                                                                    \
        }                                                                                          \
    } while (0)

void fasc_walk_load_f64(const fasc_walk *walk, int64_t first, int64_t n, double *dst)
{
    EACH_ROW(fasc_load_f64(dst + done, at, walk->dtype, stride, m));
}

void fasc_walk_store_f32(const fasc_walk *walk, int64_t first, int64_t n, const float *src)
{
    EACH_ROW(fasc_store_f32(at, walk->dtype, stride, src + done, m));
}

void fasc_walk_store_f64(const fasc_walk *walk, int64_t first, int64_t n, const double *src)
{
    EACH_ROW(fasc_store_f64(at, walk->dtype, stride, src + done, m));
}
