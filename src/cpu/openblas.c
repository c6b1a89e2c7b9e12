/* openblas.c - lending and restoring OpenBLAS's thread count. */
#include "cpu/openblas.h"

#include <cblas.h>
#include <pthread.h>

static struct {
    pthread_mutex_t lock;
    int inside; /* callers between enter and leave */
    int found;  /* the count to restore */
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

void fasc_openblas_enter(int threads)
{
    pthread_mutex_lock(&state.lock);
    if (state.inside++ == 0) {
        state.found = openblas_get_num_threads();
        openblas_set_num_threads(threads);
    } else {
        openblas_set_num_threads(1);
    }
    pthread_mutex_unlock(&state.lock);
}

void fasc_openblas_leave(void)
{
    pthread_mutex_lock(&state.lock);
    if (--state.inside == 0) {
        openblas_set_num_threads(state.found);
    }
    pthread_mutex_unlock(&state.lock);
}
