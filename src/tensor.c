/* tensor.c - the life of tensors: making, viewing, reshaping, freeing, and their properties. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "validate.h"

/* ---- layout ----------------------------------------------------------------- */

/* A shape and strides that have been checked. */
typedef struct layout {
    int32_t rank;
    int64_t shape[FASC_MAX_RANK], stride[FASC_MAX_RANK];
    int64_t numel;
    int64_t extent; /* elements from the first to one past the last; 0 when empty */
} layout;

static fasc_status too_large(const char *call, int32_t rank, const int64_t *shape)
{
    char text[192];
    return fasc_fail(FASC_EINVAL, "%s: shape: %s holds more bytes than an address can count", call,
                     fasc_shape_text(rank, shape, text, sizeof text));
}

static fasc_status check_shape(const char *call, int32_t rank, const int64_t *shape, layout *l)
{
    if (rank < 0 || rank > FASC_MAX_RANK) {
        return fasc_fail(FASC_EINVAL, "%s: rank: %d is not in 0 to %d", call, rank, FASC_MAX_RANK);
    }
    if (rank > 0 && !shape) {
        return fasc_fail(FASC_EINVAL, "%s: shape: is NULL for rank %d", call, rank);
    }
    *l = (layout){.rank = rank, .numel = 1};
    bool empty = false;
    for (int32_t i = 0; i < rank; i++) {
        if (shape[i] < 0) {
            return fasc_fail(FASC_EINVAL, "%s: shape[%d]: %" PRId64 " is negative", call, i,
                             shape[i]);
        }
        l->shape[i] = shape[i];
        empty = empty || shape[i] == 0;
    }
    for (int32_t i = 0; i < rank && !empty; i++) {
        if (__builtin_mul_overflow(l->numel, shape[i], &l->numel)) {
            return too_large(call, rank, shape);
        }
    }
    l->numel = empty ? 0 : l->numel;
    return FASC_OK;
}

/* Row-major. Dimensions of size 0 count as 1, so that strides stay positive; with them the products
 * can only overflow where no element exists, and then the strides do not matter. */
static void set_contiguous(layout *l)
{
    int64_t step = 1;
    for (int32_t i = l->rank - 1; i >= 0; i--) {
        l->stride[i] = step;
        if (__builtin_mul_overflow(step, l->shape[i] > 0 ? l->shape[i] : 1, &step)) {
            step = 1;
        }
    }
}

/* Takes the given strides, or row-major ones for NULL, and finds the extent. */
static fasc_status set_strides(const char *call, const int64_t *stride, fasc_dtype dtype, layout *l)
{
    if (stride) {
        for (int32_t i = 0; i < l->rank; i++) {
            if (stride[i] < 0) {
                return fasc_fail(FASC_EINVAL, "%s: stride[%d]: %" PRId64 " is negative", call, i,
                                 stride[i]);
            }
            l->stride[i] = stride[i];
        }
    } else {
        set_contiguous(l);
    }
    int64_t last = 0, bytes;
    for (int32_t i = 0; i < l->rank && l->numel > 0; i++) {
        int64_t reach;
        if (__builtin_mul_overflow(l->shape[i] - 1, l->stride[i], &reach) ||
            __builtin_add_overflow(last, reach, &last)) {
            return too_large(call, l->rank, l->shape);
        }
    }
    if (__builtin_add_overflow(last, 1, &last) ||
        __builtin_mul_overflow(last, (int64_t)fasc_dtype_size(dtype), &bytes)) {
        return too_large(call, l->rank, l->shape);
    }
    l->extent = l->numel > 0 ? last : 0;
    return FASC_OK;
}

static fasc_status check_layout(const char *call, fasc_dtype dtype, int32_t rank,
                                const int64_t *shape, const int64_t *stride, layout *l)
{
    if (!fasc_dtype_name(dtype)) {
        return fasc_fail(FASC_EINVAL, "%s: dtype: %d is no dtype", call, (int)dtype);
    }
    fasc_status status = check_shape(call, rank, shape, l);
    return status == FASC_OK ? set_strides(call, stride, dtype, l) : status;
}

/* ---- making ----------------------------------------------------------------- */

/* Takes over one reference to the storage, also when it fails. */
static fasc_status new_tensor(const char *call, fasc_storage *storage, char *data, fasc_dtype dtype,
                              const layout *l, fasc_tensor **tensor)
{
    fasc_tensor *t = malloc(sizeof *t);
    if (!t) {
        fasc_storage_release(storage);
        return fasc_fail(FASC_ENOMEM, "%s: no memory for a tensor's record of %zu bytes", call,
                         sizeof *t);
    }
    *t = (fasc_tensor){.storage = storage,
                       .data = l->numel > 0 ? data : NULL,
                       .dtype = dtype,
                       .rank = l->rank,
                       .numel = l->numel};
    memcpy(t->shape, l->shape, sizeof t->shape);
    memcpy(t->stride, l->stride, sizeof t->stride);
    *tensor = t;
    return FASC_OK;
}

static fasc_status check_target(const char *call, const fasc_device *device, fasc_tensor **tensor)
{
    fasc_status status = fasc_check_pointer(call, "device", device);
    return status == FASC_OK ? fasc_check_pointer(call, "tensor", tensor) : status;
}

static fasc_status make(const char *call, fasc_device *device, fasc_dtype dtype, int32_t rank,
                        const int64_t *shape, const int64_t *stride, fasc_tensor **tensor)
{
    layout l;
    fasc_storage *storage = NULL;
    fasc_status status = check_target(call, device, tensor);
    if (status == FASC_OK) {
        status = check_layout(call, dtype, rank, shape, stride, &l);
    }
    if (status == FASC_OK) {
        size_t bytes = (size_t)l.extent * fasc_dtype_size(dtype);
        status = fasc_storage_new(call, device, bytes, &storage);
    }
    if (status == FASC_OK) {
        status = new_tensor(call, storage, storage->data, dtype, &l, tensor);
    }
    return status;
}

fasc_status fasc_tensor_empty(fasc_device *device, fasc_dtype dtype, int32_t rank,
                              const int64_t *shape, fasc_tensor **tensor)
{
    return make("tensor_empty", device, dtype, rank, shape, NULL, tensor);
}

fasc_status fasc_tensor_empty_strided(fasc_device *device, fasc_dtype dtype, int32_t rank,
                                      const int64_t *shape, const int64_t *stride,
                                      fasc_tensor **tensor)
{
    if (rank > 0 && !stride) {
        return fasc_check_pointer("tensor_empty_strided", "stride", stride);
    }
    return make("tensor_empty_strided", device, dtype, rank, shape, stride, tensor);
}

fasc_status fasc_tensor_wrap(fasc_device *device, fasc_dtype dtype, int32_t rank,
                             const int64_t *shape, const int64_t *stride, void *data,
                             fasc_tensor **tensor)
{
    const char *call = "tensor_wrap";
    layout l;
    fasc_storage *storage = NULL;
    fasc_status status = check_target(call, device, tensor);
    if (status == FASC_OK) {
        status = check_layout(call, dtype, rank, shape, stride, &l);
    }
    if (status == FASC_OK && l.numel > 0) {
        status = fasc_check_pointer(call, "data", data);
    }
    if (status == FASC_OK && (uintptr_t)data % fasc_dtype_size(dtype) != 0) {
        status = fasc_fail(FASC_EINVAL, "%s: data: %p is not a multiple of %s's %zu bytes", call,
                           data, fasc_dtype_name(dtype), fasc_dtype_size(dtype));
    }
    if (status == FASC_OK) {
        size_t bytes = (size_t)l.extent * fasc_dtype_size(dtype);
        status = fasc_storage_wrap(call, device, data, bytes, &storage);
    }
    if (status == FASC_OK) {
        status = new_tensor(call, storage, data, dtype, &l, tensor);
    }
    return status;
}

/* ---- views ------------------------------------------------------------------ */

static fasc_status check_base(const char *call, const fasc_tensor *base, fasc_tensor **tensor)
{
    fasc_status status = fasc_check_pointer(call, "base", base);
    return status == FASC_OK ? fasc_check_pointer(call, "tensor", tensor) : status;
}

static fasc_status share(const char *call, const fasc_tensor *base, char *data, const layout *l,
                         fasc_tensor **tensor)
{
    fasc_storage_retain(base->storage);
    return new_tensor(call, base->storage, data, base->dtype, l, tensor);
}

fasc_status fasc_tensor_view(const fasc_tensor *base, int64_t offset, int32_t rank,
                             const int64_t *shape, const int64_t *stride, fasc_tensor **tensor)
{
    const char *call = "tensor_view";
    layout l;
    fasc_status status = check_base(call, base, tensor);
    if (status == FASC_OK) {
        status = check_layout(call, base->dtype, rank, shape, stride, &l);
    }
    if (status != FASC_OK) {
        return status;
    }
    if (offset < 0) {
        return fasc_fail(FASC_EINVAL, "%s: offset: %" PRId64 " is negative", call, offset);
    }
    /* What lies behind base's first element: a view of an empty tensor can only be empty. */
    int64_t room = 0, size = (int64_t)fasc_dtype_size(base->dtype);
    if (base->numel > 0) {
        room = ((char *)base->storage->data + base->storage->bytes - base->data) / size;
    }
    if (l.numel > 0 && (offset >= room || l.extent > room - offset)) {
        return fasc_fail(
            FASC_EINVAL,
            "%s: offset %" PRId64 " and %" PRId64
            " elements from there pass the end of base's storage, which holds %" PRId64,
            call, offset, l.extent, room);
    }
    return share(call, base, l.numel > 0 ? base->data + offset * size : NULL, &l, tensor);
}

/* Finds strides that give base's elements, in row-major order, another shape. Each run of base's
 * dimensions that is evenly spaced as a whole must be filled exactly by some of the new ones. */
static bool reshape_strides(const fasc_tensor *base, layout *l)
{
    int64_t shape[FASC_MAX_RANK], stride[FASC_MAX_RANK];
    int32_t n = 0, to = l->rank - 1;
    for (int32_t i = 0; i < base->rank; i++) {
        if (base->shape[i] != 1) {
            shape[n] = base->shape[i];
            stride[n++] = base->stride[i];
        }
    }
    for (int32_t i = n - 1; i >= 0; i--) {
        int64_t run = shape[i], step = stride[i], filled = 1;
        while (i > 0 && stride[i - 1] % run == 0 && stride[i - 1] / run == step) {
            run *= shape[--i];
        }
        while (to >= 0 && (filled < run || l->shape[to] == 1)) {
            if (__builtin_mul_overflow(filled, step, &l->stride[to])) {
                l->stride[to] = step; /* a dimension of size 1: any stride serves */
            }
            filled *= l->shape[to--];
        }
        if (filled != run) {
            return false;
        }
    }
    while (to >= 0) {
        l->stride[to--] = 1;
    }
    return true;
}

fasc_status fasc_tensor_reshape(const fasc_tensor *base, int32_t rank, const int64_t *shape,
                                fasc_tensor **tensor)
{
    const char *call = "tensor_reshape";
    char from[192], to[192];
    layout l;
    fasc_status status = check_base(call, base, tensor);
    if (status == FASC_OK) {
        status = check_shape(call, rank, shape, &l);
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_shape_text(base->rank, base->shape, from, sizeof from);
    fasc_shape_text(rank, shape, to, sizeof to);
    if (l.numel != base->numel) {
        return fasc_fail(FASC_EINVAL,
                         "%s: shape: %s has %" PRId64 " elements, base's %s has %" PRId64, call, to,
                         l.numel, from, base->numel);
    }
    if (l.numel == 0) {
        set_contiguous(&l);
    } else if (!reshape_strides(base, &l)) {
        return fasc_fail(
            FASC_EINVAL,
            "%s: shape: %s cannot be a view of base's %s, whose strides are not evenly "
            "spaced there; copy it first",
            call, to, from);
    }
    return share(call, base, base->data, &l, tensor);
}

void fasc_tensor_free(fasc_tensor *tensor)
{
    if (tensor) {
        fasc_storage_release(tensor->storage);
        free(tensor);
    }
}

/* ---- properties ------------------------------------------------------------- */

int32_t fasc_tensor_rank(const fasc_tensor *tensor)
{
    return tensor->rank;
}

const int64_t *fasc_tensor_shape(const fasc_tensor *tensor)
{
    return tensor->shape;
}

const int64_t *fasc_tensor_stride(const fasc_tensor *tensor)
{
    return tensor->stride;
}

fasc_dtype fasc_tensor_dtype(const fasc_tensor *tensor)
{
    return tensor->dtype;
}

fasc_device *fasc_tensor_device(const fasc_tensor *tensor)
{
    return tensor->storage->device;
}

int64_t fasc_tensor_numel(const fasc_tensor *tensor)
{
    return tensor->numel;
}

_Bool fasc_tensor_is_contiguous(const fasc_tensor *tensor)
{
    int64_t step = 1;
    for (int32_t i = tensor->rank - 1; i >= 0 && tensor->numel > 0; i--) {
        if (tensor->shape[i] != 1 && tensor->stride[i] != step) {
            return false;
        }
        step *= tensor->shape[i];
    }
    return true;
}

void *fasc_tensor_data(const fasc_tensor *tensor)
{
    return tensor->data;
}
