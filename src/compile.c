/* compile.c - reports on kernels that a backend compiles at run time. */
#include "device.h"
#include "problem.h"
#include "validate.h"

static fasc_status check_results(const char *call, const fasc_compile_report *report,
                                 const int32_t *count)
{
    fasc_status status = fasc_check_pointer(call, "count", count);
    return status == FASC_OK && report ? fasc_check_struct(call, "report", report, sizeof *report)
                                       : status;
}

fasc_status fasc_precompile(const char *archs, int32_t index, fasc_compile_report *report,
                            int32_t *count)
{
    const fasc_backend *cuda;
    fasc_status status = check_results("precompile", report, count);
    if (status != FASC_OK) {
        return status;
    }
    if (fasc_backend_find("cuda", &cuda) != FASC_OK || !cuda->precompile) {
        return fasc_fail(FASC_EUNSUPPORTED, "precompile: %s",
                         cuda ? "this backend compiles nothing" : fasc_last_error());
    }
    return cuda->precompile(archs, index, report, count);
}

fasc_status fasc_attention_inspect(const fasc_attention_args *args, int32_t index,
                                   fasc_compile_report *report, int32_t *count)
{
    fasc_attention_plan plan = {.size = sizeof plan};
    fasc_problem problem;
    fasc_status status;
    if ((status = check_results("attention_inspect", report, count)) ||
        (status = fasc_attention_query(args, &plan)) ||
        (status = fasc_problem_from_args("attention_inspect", args, false, &problem))) {
        return status;
    }
    fasc_device *device = args->q->storage->device;
    if (!device->backend->inspect) {
        return fasc_fail(FASC_EUNSUPPORTED,
                         "attention_inspect: the kernels of %s are not compiled at run time",
                         device->name);
    }
    return device->backend->inspect(device, &problem, &plan, index, report, count);
}
