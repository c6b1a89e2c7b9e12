/* attention.c - the attention entry points: check, plan on the backend of q's device, run. */
#include <inttypes.h>
#include <string.h>

#include "backend.h"
#include "names.h"
#include "problem.h"
#include "validate.h"

enum { MOST_KERNELS = 16 };

/* The kernel's name, if given, is one that the device has. */
static fasc_status check_kernel_name(fasc_device *device, const char *name)
{
    fasc_kernel_info info[MOST_KERNELS];
    const char *names[MOST_KERNELS];
    size_t count = 0;
    char list[256] = "";
    if (!name) {
        return FASC_OK;
    }
    while (count < MOST_KERNELS && device->backend->kernel(device, (int32_t)count, &info[count])) {
        names[count] = info[count].name;
        if (strcmp(name, names[count]) == 0) {
            return FASC_OK;
        }
        if (!strstr(list, names[count])) {
            strncat(list, count ? ", " : "", sizeof list - strlen(list) - 1);
            strncat(list, names[count], sizeof list - strlen(list) - 1);
        }
        count++;
    }
    const char *nearest = fasc_nearest_name(name, names, count);
    return nearest
               ? fasc_fail(FASC_EINVAL, "attention: kernel: unknown name '%s'; did you mean '%s'?",
                           name, nearest)
               : fasc_fail(FASC_EINVAL, "attention: kernel: unknown name '%s'; %s has %s", name,
                           device->name, list);
}

static double tensor_bytes(const fasc_tensor *t)
{
    return t ? (double)t->numel * (double)fasc_dtype_size(t->dtype) : 0.0;
}

/* What the outputs need at least, whichever kernel makes them. */
static void count_work(const fasc_problem *p, fasc_attention_plan *plan)
{
    const fasc_attention_args *args = p->args;
    double heads = (double)p->batch * (double)p->heads_q;
    double visible = fasc_problem_visible_pairs(p);
    double scored = args->logits ? (double)p->seqlen_q * (double)p->seqlen_k : visible;
    double product = 2.0 * (double)p->head_dim * heads;
    plan->flops = product * (scored + (args->out ? visible : 0.0));
    plan->bytes = tensor_bytes(args->q) + tensor_bytes(args->k) + tensor_bytes(args->mask) +
                  (args->out ? tensor_bytes(args->v) : 0.0);
    for (int i = 0; i < FASC_OUTPUT_COUNT; i++) {
        plan->bytes += tensor_bytes(fasc_output_tensor(args, &fasc_outputs[i]));
    }
}

static fasc_status prepare(const fasc_attention_args *args, fasc_problem *problem,
                           fasc_attention_plan *plan)
{
    fasc_status status = fasc_problem_from_args("attention", args, false, problem);
    if (status) {
        return status;
    }
    fasc_device *device = args->q->storage->device;
    *plan = (fasc_attention_plan){.size = sizeof *plan};
    if ((status = check_kernel_name(device, args->kernel.name)) ||
        (status = device->backend->plan(device, problem, plan))) {
        return status;
    }
    if (args->workspace && args->workspace_bytes < plan->workspace_bytes) {
        return fasc_fail(FASC_EINVAL,
                         "attention: workspace: has %" PRId64 " bytes, %s needs %" PRId64,
                         args->workspace_bytes, plan->kernel, plan->workspace_bytes);
    }
    count_work(problem, plan);
    return FASC_OK;
}

fasc_status fasc_attention_query(const fasc_attention_args *args, fasc_attention_plan *plan)
{
    fasc_problem problem;
    fasc_attention_plan made;
    fasc_status status = fasc_check_struct("attention", "plan", plan, sizeof *plan);
    if (status || (status = prepare(args, &problem, &made))) {
        return status;
    }
    *plan = made;
    return FASC_OK;
}

fasc_status fasc_attention(const fasc_attention_args *args, fasc_attention_plan *plan)
{
    fasc_problem problem;
    fasc_attention_plan made;
    fasc_status status =
        plan ? fasc_check_struct("attention", "plan", plan, sizeof *plan) : FASC_OK;
    if (status || (status = prepare(args, &problem, &made))) {
        return status;
    }
    fasc_device *device = args->q->storage->device;
    if ((status = device->backend->run(device, &problem, &made))) {
        return status;
    }
    if (plan) {
        *plan = made;
    }
    return FASC_OK;
}

fasc_status fasc_kernel_describe(fasc_device *device, int32_t index, fasc_kernel_info *info)
{
    fasc_status status;
    fasc_kernel_info found = {.size = sizeof found};
    if ((status = fasc_check_pointer("kernel_describe", "device", device)) ||
        (status = fasc_check_struct("kernel_describe", "info", info, sizeof *info))) {
        return status;
    }
    if (index < 0 || !device->backend->kernel(device, index, &found)) {
        return fasc_fail(FASC_EINVAL, "kernel_describe: index: %" PRId32 " is no kernel of %s",
                         index, device->name);
    }
    found.size = sizeof found;
    *info = found;
    return FASC_OK;
}
