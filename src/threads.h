/* threads.h - how many threads CPU loops use. */
#ifndef FASC_THREADS_H
#define FASC_THREADS_H

#include "backend.h"

/* For `#pragma omp parallel num_threads(fasc_threads_for(bytes))`: one thread for work that touches
 * so few bytes that waking others costs more, else fasc_num_threads(). */
int fasc_threads_for(int64_t bytes);

/* At step i of a long CPU loop: whether fasc_cancel() has been called. It looks at every 64th step
 * only, so that short work is never cut off. */
bool fasc_stop_at(int64_t i);

#endif
