/* cublas.c - cuBLAS, opened on first use; one handle a device. */
#include <cublas_v2.h>
#include <pthread.h>
#include <stdlib.h>

#include "cuda/gemm.h"
#include "cuda/library.h"

static struct {
    cublasStatus_t (*create)(cublasHandle_t *);
    cublasStatus_t (*set_stream)(cublasHandle_t, cudaStream_t);
    cublasStatus_t (*set_workspace)(cublasHandle_t, void *, size_t);
    cublasStatus_t (*set_math_mode)(cublasHandle_t, cublasMath_t);
    cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int64_t, int64_t,
                           int64_t, const void *, const void *, cudaDataType, int64_t, long long,
                           const void *, cudaDataType, int64_t, long long, const void *, void *,
                           cudaDataType, int64_t, long long, int64_t, cublasComputeType_t,
                           cublasGemmAlgo_t);
    const char *(*name)(cublasStatus_t);
} cublas;

static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;

struct fasc_cublas {
    pthread_mutex_t lock;
    cublasHandle_t handle;
};

static fasc_status check(fasc_cuda_device *d, cublasStatus_t status, const char *call)
{
    return status == CUBLAS_STATUS_SUCCESS
               ? FASC_OK
               : fasc_fail(FASC_EDEVICE, "%s: %s: %s", d->name, call, cublas.name(status));
}

static fasc_status open_cublas(void)
{
    static bool opened;
    const fasc_symbol symbols[] = {
        {"cublasCreate_v2", &cublas.create},
        {"cublasSetStream_v2", &cublas.set_stream},
        {"cublasSetWorkspace_v2", &cublas.set_workspace},
        {"cublasSetMathMode", &cublas.set_math_mode},
        {"cublasGemmStridedBatchedEx_64", &cublas.gemm},
        {"cublasGetStatusName", &cublas.name},
    };
    if (opened) {
        return FASC_OK;
    }
    fasc_status status = fasc_library_open("cublas", symbols, sizeof symbols / sizeof *symbols);
    opened = status == FASC_OK;
    return status;
}

/* Sums that a product splits among blocks must not be joined in 16 bits. */
static fasc_status new_handle(fasc_cuda_device *d, cublasHandle_t *handle)
{
    fasc_status status = check(d, cublas.create(handle), "cublasCreate");
    return status == FASC_OK
               ? check(
                     d,
                     cublas.set_math_mode(
                         *handle, (cublasMath_t)(CUBLAS_DEFAULT_MATH |
                                                 CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)),
                     "cublasSetMathMode")
               : status;
}

static fasc_status open_for(fasc_cuda_device *d)
{
    fasc_status status = FASC_OK;
    pthread_mutex_lock(&open_lock);
    if (!d->cublas) {
        status = open_cublas();
        fasc_cublas *made = status == FASC_OK ? calloc(1, sizeof *made) : NULL;
        if (status == FASC_OK && !made) {
            status = fasc_fail(FASC_ENOMEM, "%s: no memory for a cuBLAS handle", d->name);
        }
        if (status == FASC_OK) {
            enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
            cudaThreadExchangeStreamCaptureMode(&mode);
            status = new_handle(d, &made->handle);
            cudaThreadExchangeStreamCaptureMode(&mode);
        }
        if (status == FASC_OK) {
            pthread_mutex_init(&made->lock, NULL);
            d->cublas = made;
        } else {
            free(made);
        }
    }
    pthread_mutex_unlock(&open_lock);
    return status;
}

/* What NVIDIA's documentation recommends: 32 MiB from Hopper on, 4 MiB before. */
size_t fasc_cublas_workspace(const fasc_cuda_device *d)
{
    return (size_t)(d->compute >= 90 ? 32 : 4) << 20;
}

fasc_status fasc_cublas_begin(fasc_cuda_device *d, cudaStream_t stream, void *workspace)
{
    fasc_status status = open_for(d);
    if (status != FASC_OK) {
        return status;
    }
    pthread_mutex_lock(&d->cublas->lock);
    /* Setting the stream takes the workspace back, so it comes second. */
    status = check(d, cublas.set_stream(d->cublas->handle, stream), "cublasSetStream");
    if (status == FASC_OK) {
        status =
            check(d, cublas.set_workspace(d->cublas->handle, workspace, fasc_cublas_workspace(d)),
                  "cublasSetWorkspace");
    }
    if (status != FASC_OK) {
        pthread_mutex_unlock(&d->cublas->lock);
    }
    return status;
}

void fasc_cublas_end(fasc_cuda_device *d)
{
    pthread_mutex_unlock(&d->cublas->lock);
}

/* ---- products ------------------------------------------------------------ */

/* cuBLAS counts columns first. A row-major matrix with rows `row` apart is, to it, the transpose
 * with leading dimension `row`; one that runs along columns is already what it wants, transposed.
 */
static bool runs_along_rows(const fasc_operand *o, int64_t rows, int64_t columns)
{
    return (columns == 1 || o->column == 1) && (rows == 1 || o->row >= columns);
}

static bool runs_along_columns(const fasc_operand *o, int64_t rows, int64_t columns)
{
    return (rows == 1 || o->row == 1) && (columns == 1 || o->column >= rows);
}

bool fasc_operand_fits(const fasc_operand *o, int64_t rows, int64_t columns)
{
    return runs_along_rows(o, rows, columns) || runs_along_columns(o, rows, columns);
}

typedef struct side {
    cublasOperation_t operation;
    int64_t leading;
} side;

/* How cuBLAS reads a rows x columns operand as its transpose (columns x rows). */
static side side_of(const fasc_operand *o, int64_t rows, int64_t columns)
{
    if (runs_along_rows(o, rows, columns)) {
        return (side){CUBLAS_OP_N, rows == 1 ? columns : o->row};
    }
    return (side){CUBLAS_OP_T, columns == 1 ? rows : o->column};
}

static cudaDataType type_of(fasc_dtype dtype)
{
    switch (dtype) {
    case FASC_F16:
        return CUDA_R_16F;
    case FASC_BF16:
        return CUDA_R_16BF;
    case FASC_F64:
        return CUDA_R_64F;
    default:
        return CUDA_R_32F;
    }
}

static fasc_operand transposed(fasc_operand o)
{
    return (fasc_operand){o.data, o.column, o.row, o.batch};
}

fasc_status fasc_cublas_gemm(fasc_cuda_device *d, const fasc_gemm *given)
{
    fasc_gemm g = *given;
    if (!runs_along_rows(&g.c, g.m, g.n)) { /* C^T = B^T A^T */
        g.m = given->n;
        g.n = given->m;
        g.a = transposed(given->b);
        g.b = transposed(given->a);
        g.c = transposed(given->c);
    }
    /* In cuBLAS's order the product is C^T (n x m) = B^T (n x k) A^T (k x m). */
    side a = side_of(&g.a, g.m, g.k), b = side_of(&g.b, g.k, g.n);
    int64_t c_leading = g.m == 1 ? g.n : g.c.row;
    bool wide = g.dtype == FASC_F64;
    float alpha32 = (float)g.alpha, zero32 = 0;
    double alpha64 = g.alpha, zero64 = 0;
    cublasStatus_t status = cublas.gemm(
        d->cublas->handle, b.operation, a.operation, g.n, g.m, g.k,
        wide ? (const void *)&alpha64 : &alpha32, g.b.data, type_of(g.dtype), b.leading, g.b.batch,
        g.a.data, type_of(g.dtype), a.leading, g.a.batch, wide ? (const void *)&zero64 : &zero32,
        g.c.data, type_of(g.c_dtype), c_leading, g.c.batch, g.count,
        wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    return check(d, status, "cublasGemmStridedBatchedEx");
}
