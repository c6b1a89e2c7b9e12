/* attention.h - what the CPU's attention kernels share: the kernel table's row and small helpers.
 */
#ifndef FASC_CPU_ATTENTION_H
#define FASC_CPU_ATTENTION_H

#include "backend.h"
#include "cpu/isa.h"

typedef struct fasc_attention_kernel {
    const char *name, *summary, *supports;
    bool tiled; /* honours block_m and block_n */
    bool isa;   /* has a path for each instruction set */
    bool splits, dropout;
    uint32_t outputs; /* FASC_WANT of each that it computes */
    /* Why it cannot serve the problem, as words after its name; NULL if it can. */
    const char *(*refuses)(const fasc_problem *problem);
    /* Fills block_m, block_n, threads, config and workspace_bytes; kernel and arch are set. */
    fasc_status (*plan)(const fasc_problem *problem, fasc_attention_plan *plan);
    /* workspace: plan->workspace_bytes at a multiple of FASC_CPU_ALIGN. */
    fasc_status (*run)(const fasc_problem *problem, const fasc_attention_plan *plan,
                       char *workspace);
} fasc_attention_kernel;

extern const fasc_attention_kernel fasc_cpu_reference, fasc_cpu_naive, fasc_cpu_blas,
    fasc_cpu_flash;

/* ---- sizes ---------------------------------------------------------------------- */

enum { FASC_CPU_ALIGN = 64 };

static inline int64_t fasc_aligned(int64_t bytes)
{
    return (bytes + FASC_CPU_ALIGN - 1) / FASC_CPU_ALIGN * FASC_CPU_ALIGN;
}

static inline int64_t fasc_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- threads ---------------------------------------------------------------------- */

/* Threads for so many independent units of work. */
int32_t fasc_cpu_threads(int64_t units);

/* Shared by the threads of a loop: any of them sees fasc_cancel(), all of them stop. */
typedef struct fasc_stop {
    atomic_bool stopped;
} fasc_stop;

static inline bool fasc_stopped(fasc_stop *stop)
{
    if (fasc_cancel_requested()) {
        atomic_store_explicit(&stop->stopped, true, memory_order_relaxed);
    }
    return atomic_load_explicit(&stop->stopped, memory_order_relaxed);
}

static inline fasc_status fasc_stop_status(const char *call, fasc_stop *stop)
{
    return atomic_load(&stop->stopped) ? fasc_fail(FASC_ECANCELED, "%s: canceled", call) : FASC_OK;
}

#endif
