/* threads.c - how many threads CPU loops use. */
#include "threads.h"

#include <stdlib.h>

#include "system.h"

static atomic_int chosen; /* 0 = the default */

/* One per usable core, or what OMP_NUM_THREADS says; read once. */
static int default_threads(void)
{
    static atomic_int cached;
    int n = atomic_load(&cached);
    if (n == 0) {
        const char *wanted = getenv("OMP_NUM_THREADS");
        long number = wanted ? strtol(wanted, NULL, 10) : 0;
        n = number > 0 && number <= INT16_MAX ? (int)number : fasc_usable_cores();
        atomic_store(&cached, n);
    }
    return n;
}

fasc_status fasc_set_num_threads(int32_t n)
{
    if (n < 0 || n > INT16_MAX) {
        return fasc_fail(FASC_EINVAL, "set_num_threads: n: %d is not in 0 to %d", n, INT16_MAX);
    }
    atomic_store(&chosen, n);
    return FASC_OK;
}

int32_t fasc_num_threads(void)
{
    int n = atomic_load(&chosen);
    return n > 0 ? n : default_threads();
}

int fasc_threads_for(int64_t bytes)
{
    return bytes < 256 * 1024 ? 1 : fasc_num_threads();
}

bool fasc_stop_at(int64_t i)
{
    return i % 64 == 63 && fasc_cancel_requested();
}
