/* status.c - status names, this thread's error message, cancellation. */
#include <stdio.h>
#include <string.h>

#include "backend.h"

static const char *const STATUS_NAME[] = {
    [FASC_OK] = "FASC_OK",
    [FASC_EINVAL] = "FASC_EINVAL",
    [FASC_EUNSUPPORTED] = "FASC_EUNSUPPORTED",
    [FASC_ENOMEM] = "FASC_ENOMEM",
    [FASC_EPRESSURE] = "FASC_EPRESSURE",
    [FASC_EIO] = "FASC_EIO",
    [FASC_EFORMAT] = "FASC_EFORMAT",
    [FASC_ECANCELED] = "FASC_ECANCELED",
    [FASC_ENODEVICE] = "FASC_ENODEVICE",
    [FASC_EDEVICE] = "FASC_EDEVICE",
    [FASC_EINTERNAL] = "FASC_EINTERNAL",
};

static _Thread_local char last_error[1024];
static atomic_bool cancel_flag;

const char *fasc_status_name(fasc_status status)
{
    size_t i = (size_t)status;
    return i < sizeof STATUS_NAME / sizeof *STATUS_NAME ? STATUS_NAME[i] : "unknown status";
}

const char *fasc_last_error(void)
{
    return last_error;
}

fasc_status fasc_vfail(fasc_status status, const char *format, va_list list)
{
    /* Built aside: an argument may be the message that is being replaced. */
    char text[sizeof last_error];
    vsnprintf(text, sizeof text, format, list);
    memcpy(last_error, text, sizeof text);
    return status;
}

fasc_status fasc_fail(fasc_status status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fasc_vfail(status, format, list);
    va_end(list);
    return status;
}

void fasc_cancel(void)
{
    atomic_store_explicit(&cancel_flag, true, memory_order_relaxed);
}

void fasc_cancel_clear(void)
{
    atomic_store_explicit(&cancel_flag, false, memory_order_relaxed);
}

_Bool fasc_cancel_requested(void)
{
    return atomic_load_explicit(&cancel_flag, memory_order_relaxed);
}
