/* tensor_ops.c - filling, moving and looking at tensors: checks, and the way between devices. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dtype.h"
#include "validate.h"

static const fasc_backend *backend_of(const fasc_tensor *t)
{
    return t->storage->device->backend;
}

static fasc_status check_target(const char *call, const fasc_tensor *t)
{
    fasc_status status = fasc_check_pointer(call, "tensor", t);
    return status == FASC_OK ? fasc_check_writable(call, "tensor", t) : status;
}

/* ---- filling ---------------------------------------------------------------- */

fasc_status fasc_tensor_fill(fasc_tensor *tensor, double value)
{
    fasc_status status = check_target("tensor_fill", tensor);
    if (status == FASC_OK && tensor->numel > 0) {
        status = backend_of(tensor)->fill(tensor, value);
    }
    return status;
}

fasc_status fasc_tensor_arange(fasc_tensor *tensor, double start, double step)
{
    fasc_status status = check_target("tensor_arange", tensor);
    if (status == FASC_OK && tensor->numel > 0) {
        status = backend_of(tensor)->arange(tensor, start, step);
    }
    return status;
}

static fasc_status random_numbers(const char *call, fasc_tensor *t, const fasc_rand_spec *spec)
{
    fasc_status status = check_target(call, t);
    if (status == FASC_OK && !fasc_dtype_is_float(t->dtype)) {
        status = fasc_fail(FASC_EINVAL, "%s: tensor: dtype %s is not one of f16, bf16, f32, f64",
                           call, fasc_dtype_name(t->dtype));
    }
    if (status == FASC_OK && t->numel > 0) {
        status = backend_of(t)->rand(t, spec);
    }
    return status;
}

fasc_status fasc_tensor_rand(fasc_tensor *tensor, uint64_t seed, uint64_t stream, double lo,
                             double hi)
{
    if (!isfinite((float)lo) || !isfinite((float)hi - (float)lo) || !(lo <= hi)) {
        return fasc_fail(FASC_EINVAL, "tensor_rand: lo, hi: %g, %g are not finite with lo <= hi",
                         lo, hi);
    }
    fasc_rand_spec spec = {.seed = seed, .stream = stream, .a = (float)lo, .b = (float)hi};
    return random_numbers("tensor_rand", tensor, &spec);
}

fasc_status fasc_tensor_randn(fasc_tensor *tensor, uint64_t seed, uint64_t stream, double mean,
                              double std)
{
    if (!isfinite((float)mean) || !isfinite((float)std) || !(std >= 0)) {
        return fasc_fail(FASC_EINVAL,
                         "tensor_randn: mean, std: %g, %g are not finite with std >= 0", mean, std);
    }
    fasc_rand_spec spec = {
        .seed = seed, .stream = stream, .normal = true, .a = (float)mean, .b = (float)std};
    return random_numbers("tensor_randn", tensor, &spec);
}

/* ---- copying ---------------------------------------------------------------- */

/* Bytes from a tensor's first element to the end of its last. */
static size_t byte_extent(const fasc_tensor *t)
{
    int64_t last = 0;
    for (int32_t i = 0; i < t->rank; i++) {
        last += (t->shape[i] - 1) * t->stride[i];
    }
    return ((size_t)last + 1) * fasc_dtype_size(t->dtype);
}

static bool overlap(const fasc_tensor *a, const fasc_tensor *b)
{
    uintptr_t a_begin = (uintptr_t)a->data, b_begin = (uintptr_t)b->data;
    return a_begin < b_begin + byte_extent(b) && b_begin < a_begin + byte_extent(a);
}

static bool same_elements(const fasc_tensor *a, const fasc_tensor *b)
{
    size_t bytes = (size_t)a->rank * sizeof *a->stride;
    return a->data == b->data && a->dtype == b->dtype && memcmp(a->stride, b->stride, bytes) == 0;
}

static fasc_status copy(const fasc_tensor *src, fasc_tensor *dst);

/* Contiguous memory of t's shape, for elements on their way. */
static fasc_status stage(const fasc_tensor *t, fasc_device *device, fasc_dtype dtype,
                         fasc_tensor **made)
{
    fasc_status status = fasc_tensor_empty(device, dtype, t->rank, t->shape, made);
    return status == FASC_OK ? status
                             : fasc_fail(status, "tensor_copy: staging: %s", fasc_last_error());
}

/* A contiguous copy of src on a device, as dtype. */
static fasc_status duplicate(const fasc_tensor *src, fasc_device *device, fasc_dtype dtype,
                             fasc_tensor **made)
{
    fasc_tensor *t = NULL;
    fasc_status status = stage(src, device, dtype, &t);
    if (status == FASC_OK) {
        status = copy(src, t);
    }
    if (status != FASC_OK) {
        fasc_tensor_free(t);
        return status;
    }
    *made = t;
    return FASC_OK;
}

/* Through a copy of the source, so that no element is overwritten before it is read. */
static fasc_status copy_through(const fasc_tensor *src, fasc_tensor *dst, fasc_device *device)
{
    fasc_tensor *aside = NULL;
    fasc_status status = duplicate(src, device, src->dtype, &aside);
    if (status == FASC_OK) {
        status = copy(aside, dst);
    }
    fasc_tensor_free(aside);
    return status;
}

static fasc_status copy_on_device(const fasc_tensor *src, fasc_tensor *dst)
{
    if (same_elements(src, dst)) {
        return FASC_OK;
    }
    if (overlap(src, dst)) {
        return copy_through(src, dst, src->storage->device);
    }
    return backend_of(src)->copy(src, dst);
}

/* Between the CPU and another device contiguous bytes travel, of the smaller of the two dtypes. */
static fasc_status transfer(const fasc_tensor *src, fasc_tensor *dst)
{
    fasc_device *from = src->storage->device, *to = dst->storage->device;
    fasc_dtype wire =
        fasc_dtype_size(src->dtype) <= fasc_dtype_size(dst->dtype) ? src->dtype : dst->dtype;
    fasc_tensor *sent = NULL, *received = NULL;
    fasc_status status = FASC_OK;
    bool src_ready = src->dtype == wire && fasc_tensor_is_contiguous(src);
    bool dst_ready = dst->dtype == wire && fasc_tensor_is_contiguous(dst);
    if (!src_ready) {
        status = duplicate(src, from, wire, &sent);
    }
    if (status == FASC_OK && !dst_ready) {
        status = stage(dst, to, wire, &received);
    }
    if (status == FASC_OK) {
        const void *out = src_ready ? src->data : sent->data;
        void *in = dst_ready ? dst->data : received->data;
        size_t bytes = (size_t)src->numel * fasc_dtype_size(wire);
        status = from->backend == &fasc_cpu_backend ? to->backend->upload(to, in, out, bytes)
                                                    : from->backend->download(from, in, out, bytes);
    }
    if (status == FASC_OK && !dst_ready) {
        status = copy_on_device(received, dst);
    }
    fasc_tensor_free(sent);
    fasc_tensor_free(received);
    return status;
}

/* Tensors of one shape, not empty. */
static fasc_status copy(const fasc_tensor *src, fasc_tensor *dst)
{
    fasc_device *from = src->storage->device, *to = dst->storage->device;
    if (from == to) {
        return copy_on_device(src, dst);
    }
    if (from->backend == &fasc_cpu_backend || to->backend == &fasc_cpu_backend) {
        return transfer(src, dst);
    }
    fasc_device *cpu = NULL;
    fasc_status status = fasc_device_open("cpu", &cpu);
    return status == FASC_OK ? copy_through(src, dst, cpu) : status;
}

fasc_status fasc_tensor_copy(const fasc_tensor *src, fasc_tensor *dst)
{
    const char *call = "tensor_copy";
    fasc_status status = fasc_check_pointer(call, "src", src);
    if (status == FASC_OK) {
        status = fasc_check_pointer(call, "dst", dst);
    }
    if (status == FASC_OK) {
        status = fasc_check_same_shape(call, "src", src, "dst", dst);
    }
    if (status == FASC_OK) {
        status = fasc_check_writable(call, "dst", dst);
    }
    if (status == FASC_OK && src->numel > 0) {
        status = copy(src, dst);
    }
    return status;
}

/* ---- looking ---------------------------------------------------------------- */

fasc_status fasc_tensor_get(const fasc_tensor *tensor, const int64_t *index, double *value)
{
    const char *call = "tensor_get";
    fasc_status status = fasc_check_pointer(call, "tensor", tensor);
    if (status == FASC_OK) {
        status = fasc_check_pointer(call, "value", value);
    }
    if (status == FASC_OK && tensor->rank > 0) {
        status = fasc_check_pointer(call, "index", index);
    }
    if (status != FASC_OK) {
        return status;
    }
    int64_t offset = 0;
    for (int32_t i = 0; i < tensor->rank; i++) {
        if (index[i] < 0 || index[i] >= tensor->shape[i]) {
            return fasc_fail(FASC_EINVAL,
                             "%s: index[%d]: %" PRId64 " is outside dimension %d of size %" PRId64,
                             call, i, index[i], i, tensor->shape[i]);
        }
        offset += index[i] * tensor->stride[i];
    }
    size_t size = fasc_dtype_size(tensor->dtype);
    int64_t element;
    fasc_device *device = tensor->storage->device;
    status =
        device->backend->download(device, &element, tensor->data + offset * (int64_t)size, size);
    if (status == FASC_OK) {
        *value = fasc_load_element(&element, tensor->dtype);
    }
    return status;
}

fasc_status fasc_tensor_summarize(const fasc_tensor *tensor, fasc_summary *summary)
{
    const char *call = "tensor_summarize";
    fasc_status status = fasc_check_pointer(call, "tensor", tensor);
    if (status == FASC_OK) {
        status = fasc_check_struct(call, "summary", summary, sizeof *summary);
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_summary found = {.size = sizeof found, .min = NAN, .max = NAN, .mean = NAN};
    if (tensor->numel > 0) {
        status = backend_of(tensor)->summarize(tensor, &found);
    }
    if (status == FASC_OK) {
        *summary = found;
    }
    return status;
}

/* On one device where they share it, else on the CPU, with what is elsewhere copied there. */
static fasc_status compare(const fasc_tensor *a, const fasc_tensor *b, fasc_difference *difference)
{
    if (a->storage->device == b->storage->device) {
        return backend_of(a)->compare(a, b, difference);
    }
    fasc_device *cpu = NULL;
    fasc_tensor *a_here = NULL, *b_here = NULL;
    fasc_status status = fasc_device_open("cpu", &cpu);
    if (status == FASC_OK && a->storage->device != cpu) {
        status = duplicate(a, cpu, a->dtype, &a_here);
    }
    if (status == FASC_OK && b->storage->device != cpu) {
        status = duplicate(b, cpu, b->dtype, &b_here);
    }
    if (status == FASC_OK) {
        status = cpu->backend->compare(a_here ? a_here : a, b_here ? b_here : b, difference);
    }
    fasc_tensor_free(a_here);
    fasc_tensor_free(b_here);
    return status;
}

fasc_status fasc_tensor_compare(const fasc_tensor *a, const fasc_tensor *b,
                                fasc_difference *difference)
{
    const char *call = "tensor_compare";
    fasc_status status = fasc_check_pointer(call, "a", a);
    if (status == FASC_OK) {
        status = fasc_check_pointer(call, "b", b);
    }
    if (status == FASC_OK) {
        status = fasc_check_struct(call, "difference", difference, sizeof *difference);
    }
    if (status == FASC_OK) {
        status = fasc_check_same_shape(call, "a", a, "b", b);
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_difference found = {.size = sizeof found, .max_abs_index = -1};
    if (a->numel > 0) {
        status = compare(a, b, &found);
    }
    if (status == FASC_OK) {
        *difference = found;
    }
    return status;
}
