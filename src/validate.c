/* validate.c - checks that several calls share. */
#include "validate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

fasc_status fasc_check_pointer(const char *call, const char *argument, const void *pointer)
{
    return pointer ? FASC_OK : fasc_fail(FASC_EINVAL, "%s: %s: is NULL", call, argument);
}

fasc_status fasc_check_struct(const char *call, const char *argument, const void *structure,
                              size_t expected)
{
    uint32_t size;
    if (!structure) {
        return fasc_fail(FASC_EINVAL, "%s: %s: is NULL", call, argument);
    }
    memcpy(&size, structure, sizeof size);
    return size == expected ? FASC_OK
                            : fasc_fail(FASC_EINVAL, "%s: %s: size is %" PRIu32 ", must be %zu",
                                        call, argument, size, expected);
}

const char *fasc_shape_text(int32_t rank, const int64_t *shape, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int32_t i = 0; i < rank && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, i ? ",%" PRId64 : "%" PRId64, shape[i]);
    }
    if (used < size) {
        snprintf(text + used, size - used, "]");
    }
    return text;
}

fasc_status fasc_check_same_shape(const char *call, const char *a_name, const fasc_tensor *a,
                                  const char *b_name, const fasc_tensor *b)
{
    char a_text[192], b_text[192];
    if (a->rank == b->rank && memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0) {
        return FASC_OK;
    }
    return fasc_fail(FASC_EINVAL, "%s: %s: shape %s differs from %s's %s", call, b_name,
                     fasc_shape_text(b->rank, b->shape, b_text, sizeof b_text), a_name,
                     fasc_shape_text(a->rank, a->shape, a_text, sizeof a_text));
}

fasc_status fasc_check_writable(const char *call, const char *argument, const fasc_tensor *t)
{
    bool done[FASC_MAX_RANK] = {false};
    int64_t span = 0; /* from the first to the last element of the dimensions done */
    for (int32_t n = 0; n < t->rank && t->numel > 0; n++) {
        int32_t next = -1;
        for (int32_t i = 0; i < t->rank; i++) {
            if (!done[i] && (next < 0 || t->stride[i] < t->stride[next])) {
                next = i;
            }
        }
        done[next] = true;
        if (t->shape[next] == 1) {
            continue;
        }
        if (t->stride[next] <= span) {
            return fasc_fail(FASC_EINVAL,
                             "%s: %s: stride[%d] is %" PRId64
                             ", so elements share memory and cannot be written",
                             call, argument, next, t->stride[next]);
        }
        span += (t->shape[next] - 1) * t->stride[next];
    }
    return FASC_OK;
}
