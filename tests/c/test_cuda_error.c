/* test_cuda_error.c - an error that spoils the device: told once, with the kernel and its launch's
 * shape, and named by every later call. A program of its own, since nothing on the GPU works after
 * it. */
#include "cuda.h"
#include "test.h"

/* No address that was ever allocated. */
static fasc_tensor *wild_tensor(fasc_device *device)
{
    const int64_t shape[] = {1024};
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_wrap(device, FASC_F32, 1, shape, NULL, (void *)(uintptr_t)0x600, &t));
    return t;
}

int main(void)
{
    fasc_device *device = gpu_or_skip();
    const int64_t shape[] = {64};
    fasc_tensor *good = NULL, *wild = wild_tensor(device);
    CHECK_OK(fasc_tensor_empty(device, FASC_F32, 1, shape, &good));
    CHECK_OK(fasc_tensor_fill(good, 3.0));
    CHECK_OK(fasc_device_synchronize(device));
    CHECK_OK(
        fasc_tensor_fill(wild, 1.0)); /* queued: comes to light when the device is waited for */
    CHECK_FAIL(fasc_device_synchronize(device), FASC_EDEVICE, "cuda:0: a kernel failed: ");
    CHECK(strstr(fasc_last_error(), "fill<<<") != NULL, "no launch in '%s'", fasc_last_error());
    CHECK_FAIL(fasc_device_synchronize(device), FASC_EDEVICE, "unusable since an earlier error");
    CHECK_FAIL(fasc_tensor_fill(good, 2.0), FASC_EDEVICE, "start a new process");
    fasc_tensor_free(wild);
    fasc_tensor_free(good);
    return test_failures ? 1 : 0;
}
