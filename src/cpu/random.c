/* random.c - random tensors: fixed chunks of the sequence, shared out among threads. */
#include "cpu/random.h"

#include "cpu/cpu.h"
#include "cpu/walk.h"
#include "dtype.h"
#include "threads.h"

enum { CHUNK = 4096 }; /* elements; a multiple of 4 */

fasc_status fasc_cpu_rand(fasc_tensor *t, const fasc_rand_spec *spec)
{
    const fasc_walk walk = fasc_walk_over(t);
    const fasc_random_run run = fasc_random_run_for(fasc_cpu_isa());
    const int64_t chunks = (t->numel + CHUNK - 1) / CHUNK;
    const bool direct = t->dtype == FASC_F32 && walk.rank == 1 && walk.stride[0] == 1;
    bool done = true;
#pragma omp parallel for schedule(static) num_threads(fasc_threads_for(t->numel * 16)) \
    reduction(&& : done)
    for (int64_t c = 0; c < chunks; c++) {
        if (!done || fasc_stop_at(c)) {
            done = false;
            continue;
        }
        float part[CHUNK];
        int64_t first = c * CHUNK, n = t->numel - first < CHUNK ? t->numel - first : CHUNK;
        bool whole = direct && n % 4 == 0;
        float *dst = whole ? (float *)(void *)t->data + first : part;
        run(spec, (uint64_t)first / 4, (int32_t)((n + 3) / 4), dst);
        if (!whole) {
            fasc_walk_store_f32(&walk, first, n, part);
        }
    }
    return done ? FASC_OK
                : fasc_fail(FASC_ECANCELED, "tensor_rand%s: canceled", spec->normal ? "n" : "");
}
