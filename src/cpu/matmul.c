/* matmul.c - batched matrix products by OpenBLAS: sgemm, or dgemm for f64. An operand whose
 * layout BLAS takes is used where it lies; others (f16, bf16, both strides above 1) are copied to
 * contiguous float32 one matrix at a time. Many matrices are shared out to threads, each with
 * OpenBLAS on one; few large ones are left to OpenBLAS's own threads. */
#include <cblas.h>
#include <limits.h>
#include <omp.h>

#include "cpu/cpu.h"
#include "cpu/openblas.h"
#include "dtype.h"
#include "memory.h"

/* One matrix of a batch, as BLAS wants it. */
typedef struct matrix {
    const void *data;
    CBLAS_TRANSPOSE transpose;
    int ld;
} matrix;

static fasc_dtype compute_dtype(const fasc_tensor *a)
{
    return a->dtype == FASC_F64 ? FASC_F64 : FASC_F32;
}

/* Address of matrix number n of out's batch; t's batch dimensions are counted from the right, of
 * size 1 or absent where it repeats. */
static char *matrix_data(const fasc_tensor *t, const fasc_tensor *out, int64_t n)
{
    int64_t at = 0;
    for (int32_t back = 3; back <= out->rank; back++) {
        int64_t size = out->shape[out->rank - back], index = n % size;
        n /= size;
        if (back <= t->rank && t->shape[t->rank - back] > 1) {
            at += index * t->stride[t->rank - back];
        }
    }
    return t->data + at * (int64_t)fasc_dtype_size(t->dtype);
}

/* True if BLAS can read the matrix in place. Its leading dimension must be at least the length of
 * its rows, even where there is only one. */
static bool in_place(const fasc_tensor *t, fasc_dtype dtype, matrix *m)
{
    int64_t rows = t->shape[t->rank - 2], columns = t->shape[t->rank - 1];
    int64_t down = t->stride[t->rank - 2], across = t->stride[t->rank - 1];
    int64_t ld = 0;
    if (t->dtype != dtype) {
        return false;
    }
    if ((across == 1 || columns == 1) && (down >= columns || rows == 1)) {
        m->transpose = CblasNoTrans;
        ld = down > columns ? down : columns;
    } else if ((down == 1 || rows == 1) && (across >= rows || columns == 1)) {
        m->transpose = CblasTrans;
        ld = across > rows ? across : rows;
    }
    m->ld = (int)ld;
    return ld > 0 && ld <= INT_MAX;
}

/* Copies the matrix at `data`, laid out as t's, to contiguous rows. */
static void pack(const fasc_tensor *t, const char *data, fasc_dtype dtype, void *dst)
{
    int64_t rows = t->shape[t->rank - 2], columns = t->shape[t->rank - 1];
    int64_t down = t->stride[t->rank - 2] * (int64_t)fasc_dtype_size(t->dtype);
    for (int64_t i = 0; i < rows; i++) {
        if (dtype == FASC_F64) {
            fasc_load_f64((double *)dst + i * columns, data + i * down, t->dtype,
                          t->stride[t->rank - 1], columns);
        } else {
            fasc_load_f32((float *)dst + i * columns, data + i * down, t->dtype,
                          t->stride[t->rank - 1], columns);
        }
    }
}

static void unpack(const fasc_tensor *t, char *data, fasc_dtype dtype, const void *src)
{
    int64_t rows = t->shape[t->rank - 2], columns = t->shape[t->rank - 1];
    int64_t down = t->stride[t->rank - 2] * (int64_t)fasc_dtype_size(t->dtype);
    for (int64_t i = 0; i < rows; i++) {
        if (dtype == FASC_F64) {
            fasc_store_f64(data + i * down, t->dtype, t->stride[t->rank - 1],
                           (const double *)src + i * columns, columns);
        } else {
            fasc_store_f32(data + i * down, t->dtype, t->stride[t->rank - 1],
                           (const float *)src + i * columns, columns);
        }
    }
}

/* The matrix where it lies, or packed into buffer. */
static matrix take(const fasc_tensor *t, const char *data, fasc_dtype dtype, void *buffer)
{
    matrix m = {.data = data};
    if (!in_place(t, dtype, &m)) {
        pack(t, data, dtype, buffer);
        m = (matrix){buffer, CblasNoTrans, (int)t->shape[t->rank - 1]};
    }
    return m;
}

/* Address of element (row, column). */
static const void *element(const matrix *m, fasc_dtype dtype, int64_t row, int64_t column)
{
    int64_t at = m->transpose == CblasNoTrans ? row * m->ld + column : column * m->ld + row;
    return (const char *)m->data + at * (int64_t)fasc_dtype_size(dtype);
}

/* c (+)= alpha a b for one block of the product. */
static void multiply_block(fasc_dtype dtype, double alpha, const matrix *a, const matrix *b,
                           const matrix *c, const int64_t *at, const int *size)
{
    const void *x = element(a, dtype, at[0], at[2]), *y = element(b, dtype, at[2], at[1]);
    void *z = (void *)element(c, dtype, at[0], at[1]);
    double beta = at[2] == 0 ? 0.0 : 1.0;
    if (dtype == FASC_F64) {
        cblas_dgemm(CblasRowMajor, a->transpose, b->transpose, size[0], size[1], size[2], alpha, x,
                    a->ld, y, b->ld, beta, z, c->ld);
    } else {
        cblas_sgemm(CblasRowMajor, a->transpose, b->transpose, size[0], size[1], size[2],
                    (float)alpha, x, a->ld, y, b->ld, (float)beta, z, c->ld);
    }
}

/* In blocks that take a fraction of a second each, so that fasc_cancel() is heard. */
static void multiply_blocks(fasc_dtype dtype, double alpha, const matrix *a, const matrix *b,
                            const matrix *c, const int64_t *shape)
{
    static const int64_t STEP[3] = {2048, 2048, 4096};
    int64_t at[3];
    for (at[0] = 0; at[0] < shape[0]; at[0] += STEP[0]) {
        for (at[1] = 0; at[1] < shape[1]; at[1] += STEP[1]) {
            for (at[2] = 0; at[2] < shape[2] && !fasc_cancel_requested(); at[2] += STEP[2]) {
                int size[3];
                for (int i = 0; i < 3; i++) {
                    int64_t left = shape[i] - at[i];
                    size[i] = (int)(left < STEP[i] ? left : STEP[i]);
                }
                multiply_block(dtype, alpha, a, b, c, at, size);
            }
        }
    }
}

/* Matrix number n of the batch. */
static void multiply(const fasc_matmul_args *args, int64_t n, char *buffer, const size_t *bytes)
{
    const fasc_tensor *a = args->a, *b = args->b, *out = args->out;
    fasc_dtype dtype = compute_dtype(a);
    const int64_t shape[3] = {out->shape[out->rank - 2], out->shape[out->rank - 1],
                              a->shape[a->rank - 1]};
    char *result = matrix_data(out, out, n);
    matrix ma = take(a, matrix_data(a, out, n), dtype, buffer);
    matrix mb = take(b, matrix_data(b, out, n), dtype, buffer + bytes[0]);
    matrix mc = {.data = result};
    bool direct = in_place(out, dtype, &mc) && mc.transpose == CblasNoTrans;
    if (!direct) {
        mc = (matrix){buffer + bytes[0] + bytes[1], CblasNoTrans, (int)shape[1]};
    }
    multiply_blocks(dtype, args->alpha == 0 ? 1.0 : args->alpha, &ma, &mb, &mc, shape);
    if (!direct) {
        unpack(out, result, dtype, mc.data);
    }
}

/* Bytes that one matrix of t needs when it is packed. */
static size_t packed_bytes(const fasc_tensor *t, fasc_dtype dtype)
{
    matrix m;
    if (in_place(t, dtype, &m)) {
        return 0;
    }
    size_t elements = (size_t)t->shape[t->rank - 2] * (size_t)t->shape[t->rank - 1];
    return (elements * fasc_dtype_size(dtype) + 63) / 64 * 64;
}

static fasc_status run(const fasc_matmul_args *args, int threads, int64_t batch, char *buffer,
                       const size_t *bytes)
{
    size_t each = bytes[0] + bytes[1] + bytes[2];
    atomic_bool stopped = false;
#pragma omp parallel num_threads(threads)
    {
        char *mine = buffer + (size_t)omp_get_thread_num() * each;
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < batch; n++) {
            if (!fasc_cancel_requested()) {
                multiply(args, n, mine, bytes);
            }
            if (fasc_cancel_requested()) {
                atomic_store(&stopped, true);
            }
        }
    }
    return atomic_load(&stopped) ? fasc_fail(FASC_ECANCELED, "matmul: canceled") : FASC_OK;
}

fasc_status fasc_cpu_matmul(const fasc_matmul_args *args)
{
    const fasc_tensor *a = args->a, *b = args->b, *out = args->out;
    fasc_dtype dtype = compute_dtype(a);
    int64_t rows = out->shape[out->rank - 2], columns = out->shape[out->rank - 1];
    if (rows > INT_MAX || columns > INT_MAX || a->shape[a->rank - 1] > INT_MAX) {
        return fasc_fail(FASC_EUNSUPPORTED,
                         "matmul: a matrix side is beyond the 2^31 - 1 that OpenBLAS counts to");
    }
    matrix m;
    bool direct = in_place(out, dtype, &m) && m.transpose == CblasNoTrans;
    size_t out_bytes = (size_t)rows * (size_t)columns * fasc_dtype_size(dtype);
    size_t bytes[3] = {packed_bytes(a, dtype), packed_bytes(b, dtype), direct ? 0 : out_bytes};
    int64_t batch = out->numel / (rows * columns);
    int available = fasc_num_threads();
    int threads = batch >= available ? available : 1;
    size_t total = (bytes[0] + bytes[1] + bytes[2]) * (size_t)threads;
    fasc_storage *storage;
    fasc_status status = fasc_storage_new("matmul", out->storage->device, total, &storage);
    if (status) {
        return status;
    }
    fasc_openblas_enter(threads > 1 ? 1 : available);
    status = run(args, threads, batch, storage->data, bytes);
    fasc_openblas_leave();
    fasc_storage_release(storage);
    return status;
}
