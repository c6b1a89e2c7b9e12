/* test_threads.c - several threads call the CPU's kernels at once, on tensors of their own. */
#include "threads.h"

int main(void)
{
    static const char *const KERNELS[] = {"reference", "naive", "blas", "flash", NULL};
    thread_work work[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        work[i] = (thread_work){.dtype = FASC_F32, .kernels = KERNELS, .number = i};
        CHECK_OK(fasc_device_open("cpu", &work[i].device));
    }
    run_threads(work);
    return test_failures ? 1 : 0;
}
