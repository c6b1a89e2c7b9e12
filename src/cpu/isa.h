/* isa.h - which instruction set the CPU paths use. A file that exists in several versions is named
 * NAME_portable.c, NAME_avx2.c, NAME_avx512.c; callers pick one by fasc_cpu_isa(). */
#ifndef FASC_CPU_ISA_H
#define FASC_CPU_ISA_H

#include "backend.h"

typedef enum fasc_isa {
    FASC_ISA_PORTABLE = 0,
    FASC_ISA_AVX2 = 1,
    FASC_ISA_AVX512 = 2,
    FASC_ISA_COUNT = 3
} fasc_isa;

/* The best set this processor has, or the one that the environment's FASC_CPU names
 * (portable|avx2|avx512); read once. An unknown name, or a set that the processor lacks, is
 * FASC_EINVAL from fasc_cpu_isa_check, which opening the device calls. */
fasc_isa fasc_cpu_isa(void);
/* The best set this processor has, whatever the environment says. */
fasc_isa fasc_cpu_isa_best(void);
fasc_status fasc_cpu_isa_check(void);
const char *fasc_isa_name(fasc_isa isa);
/* False for a name that is none of fasc_isa_name's. */
bool fasc_isa_parse(const char *name, fasc_isa *isa);

#endif
