/* tensor_map.c - making tensor maps with the driver's cuTensorMapEncodeTiled, whose address the
 * runtime knows: nothing is linked against the driver. */
#include "cuda/tensor_map.h"

#include <cuda.h>
#include <stdatomic.h>
#include <string.h>

#include "cuda/cuda.h"
#include "cuda/flash.h"

_Static_assert(sizeof(fasc_tensor_map) == sizeof(CUtensorMap), "a tensor map is a CUtensorMap");

typedef CUresult (*fasc_encode)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                                const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                                const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

bool fasc_tensor_map_can(const fasc_tensor *t, int64_t columns)
{
    const int64_t too_far = (int64_t)1 << 40, size = (int64_t)fasc_cuda_dtype_size(t->dtype);
    if (columns < 1 || !fasc_flash_vector_rows(t)) {
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (t->shape[i] < 1 ||
            (t->shape[i] > 1 && (t->stride[i] <= 0 || t->stride[i] >= too_far / size))) {
            return false;
        }
    }
    return true;
}

/* The driver's function, looked up once. */
static fasc_status encoder(fasc_encode *encode)
{
    static _Atomic(fasc_encode) known;
    *encode = atomic_load_explicit(&known, memory_order_relaxed);
    if (*encode) {
        return FASC_OK;
    }
    void *function = NULL;
    enum cudaDriverEntryPointQueryResult found;
    cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                         cudaEnableDefault, &found);
    if (error != cudaSuccess || found != cudaDriverEntryPointSuccess) {
        return fasc_fail(FASC_EUNSUPPORTED,
                         "cuda: the driver has no cuTensorMapEncodeTiled: it is older than 12.0");
    }
    memcpy(encode, &function, sizeof function);
    atomic_store_explicit(&known, *encode, memory_order_relaxed);
    return FASC_OK;
}

/* Makes a map of `rank` dimensions, the innermost first; stride in bytes, of all but the innermost.
 */
static fasc_status make(const fasc_tensor *t, void *base, cuuint32_t rank, const cuuint64_t *shape,
                        const cuuint64_t *stride, const cuuint32_t *box, fasc_tensor_map *map)
{
    const cuuint32_t step[5] = {1, 1, 1, 1, 1};
    fasc_encode encode = NULL;
    fasc_status status = encoder(&encode);
    if (status != FASC_OK) {
        return status;
    }
    CUtensorMapDataType type = t->dtype == FASC_F32    ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
                               : t->dtype == FASC_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                       : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    CUresult result = encode((CUtensorMap *)map, type, rank, base, shape, stride, box, step,
                             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result != CUDA_SUCCESS) {
        return fasc_fail(FASC_EDEVICE,
                         "cuda: cuTensorMapEncodeTiled refused %lld x %lld x %lld x %lld elements "
                         "in boxes of %d x %d: error %d",
                         (long long)t->shape[0], (long long)t->shape[1], (long long)t->shape[2],
                         (long long)t->shape[3], (int)box[1], (int)box[0], (int)result);
    }
    return FASC_OK;
}

/* Shape and strides of rows, heads and batch, from the innermost out. */
static void outer(const fasc_tensor *t, cuuint64_t *shape, cuuint64_t *stride)
{
    for (int i = 0; i < 3; i++) {
        int dimension = 2 - i;
        int64_t bytes = t->stride[dimension] * (int64_t)fasc_cuda_dtype_size(t->dtype);
        shape[i] = (cuuint64_t)t->shape[dimension];
        stride[i] = t->shape[dimension] > 1 ? (cuuint64_t)bytes : 16;
    }
}

fasc_status fasc_tensor_map_make(const fasc_tensor *t, int64_t columns, int32_t box_rows,
                                 fasc_tensor_map *map)
{
    const cuuint32_t box[4] = {64, (cuuint32_t)box_rows, 1, 1};
    cuuint64_t shape[4] = {(cuuint64_t)columns}, stride[3];
    outer(t, shape + 1, stride);
    return make(t, t->data, 4, shape, stride, box, map);
}

fasc_status fasc_tensor_map_make_panels(const fasc_tensor *t, int32_t panels, int32_t box_rows,
                                        fasc_tensor_map *map)
{
    const int64_t width = 128 / (int64_t)fasc_cuda_dtype_size(t->dtype);
    const cuuint32_t box[5] = {(cuuint32_t)width, (cuuint32_t)panels, (cuuint32_t)box_rows, 1, 1};
    cuuint64_t shape[5] = {(cuuint64_t)width, (cuuint64_t)(t->shape[3] / width)}, stride[4] = {128};
    if (shape[1] == 0) {
        return FASC_OK; /* nothing that a map could hold */
    }
    outer(t, shape + 2, stride + 1);
    return make(t, t->data, 5, shape, stride, box, map);
}

fasc_status fasc_tensor_map_make_any(const fasc_tensor *t, void *base, const int64_t *shape,
                                     const int64_t *stride, const int32_t *box,
                                     fasc_tensor_map *map)
{
    const int64_t size = (int64_t)fasc_cuda_dtype_size(t->dtype);
    cuuint64_t shape_of[5], stride_of[5];
    cuuint32_t box_of[5];
    for (int i = 0; i < 5; i++) {
        shape_of[i] = (cuuint64_t)shape[i];
        stride_of[i] = shape[i] > 1 ? (cuuint64_t)(stride[i] * size) : 16;
        box_of[i] = (cuuint32_t)box[i];
    }
    return make(t, base, 5, shape_of, stride_of + 1, box_of, map);
}
