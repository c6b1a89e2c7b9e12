/* stream.c - a tensor's elements in row-major order as plain bytes, a piece at a time. */
#include "stream.h"

#define PIECE_BYTES ((int64_t)16 << 20)

static fasc_status check_cancel(const char *call)
{
    return fasc_cancel_requested() ? fasc_fail(FASC_ECANCELED, "%s: canceled", call) : FASC_OK;
}

static fasc_status stream_memory(const char *call, const fasc_tensor *t, fasc_sink sink,
                                 void *context)
{
    int64_t bytes = t->numel * (int64_t)fasc_dtype_size(t->dtype);
    fasc_status status = FASC_OK;
    for (int64_t at = 0; at < bytes && status == FASC_OK; at += PIECE_BYTES) {
        status = check_cancel(call);
        if (status == FASC_OK) {
            int64_t n = bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES;
            status = sink(context, t->data + at, (size_t)n);
        }
    }
    return status;
}

/* Rows [begin, begin + rows) of dimension `axis`, all of the dimensions behind it, at `offset`. */
static fasc_status stream_band(const fasc_tensor *t, int32_t axis, int64_t offset, int64_t rows,
                               const fasc_tensor *buffer, fasc_sink sink, void *context)
{
    fasc_tensor *band = NULL, *piece = NULL;
    int64_t shape[FASC_MAX_RANK], numel = rows;
    int32_t rank = t->rank - axis;
    for (int32_t i = 0; i < rank; i++) {
        shape[i] = i ? t->shape[axis + i] : rows;
        numel *= i ? shape[i] : 1;
    }
    /* The buffer's first elements, in the band's shape and row-major. */
    int64_t stride[FASC_MAX_RANK], step = 1;
    for (int32_t i = rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= shape[i];
    }
    fasc_status status = fasc_tensor_view(t, offset, rank, shape, t->stride + axis, &band);
    if (status == FASC_OK) {
        status = fasc_tensor_view(buffer, 0, rank, shape, stride, &piece);
    }
    if (status == FASC_OK) {
        status = fasc_tensor_copy(band, piece);
    }
    if (status == FASC_OK) {
        status = sink(context, piece->data, (size_t)numel * fasc_dtype_size(t->dtype));
    }
    fasc_tensor_free(band);
    fasc_tensor_free(piece);
    return status;
}

/* index + 1 over the dimensions before `axis`, the last fastest; false after the last. */
static bool next_index(const fasc_tensor *t, int32_t axis, int64_t *index, int64_t *offset)
{
    for (int32_t i = axis - 1; i >= 0; i--) {
        *offset += t->stride[i];
        if (++index[i] < t->shape[i]) {
            return true;
        }
        *offset -= index[i] * t->stride[i];
        index[i] = 0;
    }
    return false;
}

fasc_status fasc_stream(const char *call, const fasc_tensor *t, fasc_sink sink, void *context)
{
    if (t->numel == 0) {
        return FASC_OK;
    }
    if (t->storage->device->backend == &fasc_cpu_backend && fasc_tensor_is_contiguous(t)) {
        return stream_memory(call, t, sink, context);
    }
    /* Bands of the outermost dimension of which one row fits a piece. */
    int64_t most = PIECE_BYTES / (int64_t)fasc_dtype_size(t->dtype), inner = 1;
    int32_t axis = t->rank > 0 ? t->rank - 1 : 0;
    while (axis > 0 && inner <= most / t->shape[axis]) {
        inner *= t->shape[axis--];
    }
    int64_t length = t->rank > 0 ? t->shape[axis] : 1;
    int64_t rows = most / inner < length ? most / inner : length;
    int64_t capacity = rows * inner, index[FASC_MAX_RANK] = {0}, outer = 0;
    fasc_device *cpu;
    fasc_tensor *buffer = NULL;
    fasc_status status = fasc_device_open("cpu", &cpu);
    if (status == FASC_OK) {
        status = fasc_tensor_empty(cpu, t->dtype, 1, &capacity, &buffer);
    }
    while (status == FASC_OK) {
        for (int64_t r = 0; r < length && status == FASC_OK; r += rows) {
            status = check_cancel(call);
            if (status == FASC_OK) {
                int64_t offset = outer + (t->rank > 0 ? r * t->stride[axis] : 0);
                int64_t n = length - r < rows ? length - r : rows;
                status = stream_band(t, axis, offset, n, buffer, sink, context);
            }
        }
        if (status != FASC_OK || !next_index(t, axis, index, &outer)) {
            break;
        }
    }
    fasc_tensor_free(buffer);
    return status;
}
