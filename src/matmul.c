/* matmul.c - checking a matrix product's arguments, then handing it to the device's backend. */
#include <inttypes.h>
#include <math.h>

#include "backend.h"
#include "dtype.h"
#include "validate.h"

static fasc_status check_operand(const char *name, const fasc_tensor *t)
{
    char text[192];
    fasc_status status = fasc_check_pointer("matmul", name, t);
    if (status) {
        return status;
    }
    if (!fasc_dtype_is_float(t->dtype)) {
        return fasc_fail(FASC_EINVAL, "matmul: %s: dtype %s is not one of f16, bf16, f32, f64",
                         name, fasc_dtype_name(t->dtype));
    }
    if (t->rank < 2) {
        return fasc_fail(FASC_EINVAL, "matmul: %s: shape %s has rank %" PRId32 ", must be >= 2",
                         name, fasc_shape_text(t->rank, t->shape, text, sizeof text), t->rank);
    }
    return FASC_OK;
}

/* b's batch dimensions, counted from the right, equal a's, are 1, or are absent. */
static fasc_status check_batch(const fasc_tensor *a, const fasc_tensor *b)
{
    char a_text[192], b_text[192];
    bool fits = b->rank <= a->rank;
    for (int32_t n = 3; fits && n <= b->rank; n++) {
        int64_t size = b->shape[b->rank - n];
        fits = size == 1 || size == a->shape[a->rank - n];
    }
    return fits
               ? FASC_OK
               : fasc_fail(FASC_EINVAL, "matmul: b: batch of shape %s does not broadcast to a's %s",
                           fasc_shape_text(b->rank, b->shape, b_text, sizeof b_text),
                           fasc_shape_text(a->rank, a->shape, a_text, sizeof a_text));
}

static fasc_status check_out(const fasc_tensor *a, const fasc_tensor *b, const fasc_tensor *out)
{
    char given[192], wanted[192];
    int64_t shape[FASC_MAX_RANK];
    bool same = out->rank == a->rank;
    for (int32_t i = 0; i < a->rank; i++) {
        shape[i] = i == a->rank - 1 ? b->shape[b->rank - 1] : a->shape[i];
        same = same && out->shape[i] == shape[i];
    }
    if (!same) {
        return fasc_fail(FASC_EINVAL, "matmul: out: shape %s, must be %s",
                         fasc_shape_text(out->rank, out->shape, given, sizeof given),
                         fasc_shape_text(a->rank, shape, wanted, sizeof wanted));
    }
    if (out->dtype != a->dtype && out->dtype != FASC_F32) {
        return fasc_fail(FASC_EINVAL, "matmul: out: dtype %s, must be %sf32",
                         fasc_dtype_name(out->dtype),
                         a->dtype == FASC_F16    ? "f16 or "
                         : a->dtype == FASC_BF16 ? "bf16 or "
                         : a->dtype == FASC_F64  ? "f64 or "
                                                 : "");
    }
    if (out->numel > 0 && (out->data == a->data || out->data == b->data)) {
        return fasc_fail(FASC_EINVAL, "matmul: out: shares memory with %s",
                         out->data == a->data ? "a" : "b");
    }
    return fasc_check_writable("matmul", "out", out);
}

static fasc_status check_device(const char *name, const fasc_tensor *t, const fasc_tensor *a)
{
    return t->storage->device == a->storage->device
               ? FASC_OK
               : fasc_fail(FASC_EINVAL, "matmul: %s: is on %s, a is on %s", name,
                           fasc_device_name(t->storage->device),
                           fasc_device_name(a->storage->device));
}

static fasc_status check(const fasc_matmul_args *args)
{
    fasc_status status;
    const fasc_tensor *a, *b;
    if ((status = fasc_check_struct("matmul", "args", args, sizeof *args)) ||
        (status = check_operand("a", args->a)) || (status = check_operand("b", args->b)) ||
        (status = fasc_check_pointer("matmul", "out", args->out))) {
        return status;
    }
    a = args->a;
    b = args->b;
    if (b->dtype != a->dtype) {
        return fasc_fail(FASC_EINVAL, "matmul: b: dtype %s differs from a's %s",
                         fasc_dtype_name(b->dtype), fasc_dtype_name(a->dtype));
    }
    if (b->shape[b->rank - 2] != a->shape[a->rank - 1]) {
        return fasc_fail(FASC_EINVAL,
                         "matmul: b: %" PRId64 " rows differ from a's %" PRId64 " columns",
                         b->shape[b->rank - 2], a->shape[a->rank - 1]);
    }
    if (!isfinite(args->alpha)) {
        return fasc_fail(FASC_EINVAL, "matmul: alpha: is %g, must be finite", args->alpha);
    }
    if ((status = check_batch(a, b)) || (status = check_out(a, b, args->out)) ||
        (status = check_device("b", b, a))) {
        return status;
    }
    return check_device("out", args->out, a);
}

fasc_status fasc_matmul(const fasc_matmul_args *args)
{
    fasc_status status = check(args);
    if (status || args->out->numel == 0) {
        return status;
    }
    if (args->a->numel == 0) { /* sums of no terms */
        return fasc_tensor_fill(args->out, 0.0);
    }
    return args->out->storage->device->backend->matmul(args);
}
