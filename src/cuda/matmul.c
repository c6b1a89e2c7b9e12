/* matmul.c - the matrix product on tensors: batch dimensions become cuBLAS's one, and operands that
 * cuBLAS cannot read as they lie are copied first. */
#include "cuda/attention.h"
#include "cuda/gemm.h"

/* ---- batches ------------------------------------------------------------- */

/* The batch dimensions with the strides of a, b and c in each; b's are 0 where it is broadcast. */
typedef struct batches {
    int32_t rank;
    int64_t shape[FASC_MAX_RANK], stride[3][FASC_MAX_RANK];
} batches;

static batches batches_of(const fasc_tensor *a, const fasc_tensor *b, const fasc_tensor *c)
{
    batches all = {0};
    for (int32_t i = 0; i < a->rank - 2; i++) {
        int32_t j = i - (a->rank - b->rank); /* b's dimension, counted from the right as a's */
        int64_t b_stride = j >= 0 && b->shape[j] != 1 ? b->stride[j] : 0;
        int64_t extent = a->shape[i], stride[3] = {a->stride[i], b_stride, c->stride[i]};
        if (extent == 1) {
            continue;
        }
        int32_t last = all.rank - 1;
        bool merges = last >= 0;
        for (int n = 0; n < 3 && merges; n++) {
            merges = all.stride[n][last] == extent * stride[n];
        }
        last = merges ? last : all.rank++;
        all.shape[last] = merges ? all.shape[last] * extent : extent;
        for (int n = 0; n < 3; n++) {
            all.stride[n][last] = stride[n];
        }
    }
    return all;
}

/* One b for all, and rows that run on from one product to the next: a single taller product. */
static void join_rows(fasc_gemm *g)
{
    fasc_operand a = g->a, c = g->c;
    if (g->m == 1) { /* the distance to a next row is free to choose */
        a.row = a.batch;
        c.row = c.batch;
    }
    int64_t rows = g->m * g->count;
    if (g->b.batch == 0 && a.batch == g->m * a.row && c.batch == g->m * c.row &&
        fasc_operand_fits(&a, rows, g->k) && fasc_operand_fits(&c, rows, g->n)) {
        g->a = a;
        g->c = c;
        g->m = rows;
        g->count = 1;
    }
}

/* Takes the longest dimension out for cuBLAS; the others are looped over. */
static void take_longest(batches *all, fasc_gemm *g)
{
    int32_t longest = 0;
    for (int32_t i = 1; i < all->rank; i++) {
        longest = all->shape[i] > all->shape[longest] ? i : longest;
    }
    g->count = 1;
    g->a.batch = g->b.batch = g->c.batch = 0;
    if (all->rank == 0) {
        return;
    }
    int32_t last = --all->rank;
    g->count = all->shape[longest];
    g->a.batch = all->stride[0][longest];
    g->b.batch = all->stride[1][longest];
    g->c.batch = all->stride[2][longest];
    all->shape[longest] = all->shape[last];
    for (int n = 0; n < 3; n++) {
        all->stride[n][longest] = all->stride[n][last];
    }
    join_rows(g);
}

static void *offset(void *data, int64_t elements, fasc_dtype dtype)
{
    return (char *)data + elements * (int64_t)fasc_cuda_dtype_size(dtype);
}

static fasc_status run_all(fasc_cuda_device *d, const batches *rest, const fasc_gemm *g)
{
    int64_t index[FASC_MAX_RANK] = {0};
    fasc_gemm one = *g;
    for (;;) {
        int64_t at[3] = {0, 0, 0};
        for (int32_t i = 0; i < rest->rank; i++) {
            for (int n = 0; n < 3; n++) {
                at[n] += index[i] * rest->stride[n][i];
            }
        }
        one.a.data = offset(g->a.data, at[0], g->dtype);
        one.b.data = offset(g->b.data, at[1], g->dtype);
        one.c.data = offset(g->c.data, at[2], g->c_dtype);
        fasc_status status = fasc_cublas_gemm(d, &one);
        if (status != FASC_OK) {
            return status;
        }
        int32_t i = rest->rank - 1;
        for (; i >= 0 && ++index[i] == rest->shape[i]; i--) {
            index[i] = 0;
        }
        if (i < 0) {
            return FASC_OK;
        }
    }
}

/* ---- operands ------------------------------------------------------------ */

static fasc_operand operand_of(const fasc_tensor *t)
{
    return (fasc_operand){t->data, t->stride[t->rank - 2], t->stride[t->rank - 1], 0};
}

static bool fits(const fasc_tensor *t)
{
    fasc_operand o = operand_of(t);
    return fasc_operand_fits(&o, t->shape[t->rank - 2], t->shape[t->rank - 1]);
}

/* A contiguous tensor of the same shape over `data`. */
static fasc_tensor contiguous(const fasc_tensor *t, fasc_dtype dtype, void *data)
{
    fasc_tensor made = fasc_cuda_contiguous(t, data);
    made.dtype = dtype;
    return made;
}

/* Bytes for copies of what does not fit, which lie behind cuBLAS's own. */
typedef struct room {
    size_t a, b, c, total;
} room;

static size_t copy_bytes(const fasc_tensor *t, fasc_dtype dtype)
{
    size_t bytes = (size_t)t->numel * fasc_cuda_dtype_size(dtype);
    return fits(t) && t->dtype == dtype ? 0 : (bytes + 255) / 256 * 256;
}

/* cuBLAS writes f64 products as f64 alone. */
static fasc_dtype product_dtype(const fasc_matmul_args *args)
{
    return args->a->dtype == FASC_F64 ? FASC_F64 : args->out->dtype;
}

static room room_for(const fasc_cuda_device *d, const fasc_matmul_args *args)
{
    room r = {copy_bytes(args->a, args->a->dtype), copy_bytes(args->b, args->b->dtype),
              copy_bytes(args->out, product_dtype(args)), fasc_cublas_workspace(d)};
    r.total += r.a + r.b + r.c;
    return r;
}

static fasc_status multiply(fasc_cuda_device *d, const fasc_matmul_args *args, cudaStream_t stream,
                            const room *r, char *workspace)
{
    char *at = workspace + fasc_cublas_workspace(d);
    fasc_tensor a = r->a ? contiguous(args->a, args->a->dtype, at) : *args->a;
    fasc_tensor b = r->b ? contiguous(args->b, args->b->dtype, at + r->a) : *args->b;
    fasc_tensor c =
        r->c ? contiguous(args->out, product_dtype(args), at + r->a + r->b) : *args->out;
    fasc_status status = r->a ? fasc_cuda_copy_on(d, stream, args->a, &a) : FASC_OK;
    if (status == FASC_OK && r->b) {
        status = fasc_cuda_copy_on(d, stream, args->b, &b);
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_gemm g = {.dtype = a.dtype,
                   .c_dtype = c.dtype,
                   .m = a.shape[a.rank - 2],
                   .n = b.shape[b.rank - 1],
                   .k = a.shape[a.rank - 1],
                   .alpha = args->alpha == 0 ? 1.0 : args->alpha,
                   .a = operand_of(&a),
                   .b = operand_of(&b),
                   .c = operand_of(&c)};
    batches rest = batches_of(&a, &b, &c);
    take_longest(&rest, &g);
    status = fasc_cublas_begin(d, stream, workspace);
    if (status == FASC_OK) {
        status = run_all(d, &rest, &g);
        fasc_cublas_end(d);
    }
    return status == FASC_OK && r->c ? fasc_cuda_copy_on(d, stream, &c, args->out) : status;
}

fasc_status fasc_cuda_matmul(const fasc_matmul_args *args)
{
    fasc_cuda_device *d = fasc_cuda_of(args->out->storage->device);
    cudaStream_t stream = fasc_cuda_stream_for(d, args->stream);
    bool owned = args->a->storage->owned || args->b->storage->owned || args->out->storage->owned;
    room r = room_for(d, args);
    fasc_cuda_scratch workspace;
    int previous = fasc_cuda_enter(d);
    fasc_status status = fasc_cuda_scratch_take(d, r.total, stream, &workspace);
    if (status != FASC_OK) {
        fasc_cuda_leave(previous);
        return fasc_fail(status, "matmul: workspace: %s", fasc_cuda_last_error());
    }
    status = fasc_cuda_stream_begin(d, stream, owned);
    if (status == FASC_OK) {
        status = multiply(d, args, stream, &r, workspace.data);
    }
    fasc_status ended = fasc_cuda_stream_end(d, stream, owned);
    status = status == FASC_OK ? ended : status;
    ended = fasc_cuda_scratch_return(d, &workspace, stream);
    fasc_cuda_leave(previous);
    return status == FASC_OK ? ended : status;
}
