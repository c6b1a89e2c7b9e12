/* isa.c - choosing the CPU's instruction set, once per process. */
#include "cpu/isa.h"

#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const NAME[FASC_ISA_COUNT] = {"portable", "avx2", "avx512"};

const char *fasc_isa_name(fasc_isa isa)
{
    return NAME[isa];
}

bool fasc_isa_parse(const char *name, fasc_isa *isa)
{
    for (int i = 0; i < FASC_ISA_COUNT; i++) {
        if (strcmp(name, NAME[i]) == 0) {
            *isa = (fasc_isa)i;
            return true;
        }
    }
    return false;
}

#if defined(__x86_64__)
/* clang's __builtin_cpu_supports does not know it. */
static bool has_f16c(void)
{
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}
#endif

fasc_isa fasc_cpu_isa_best(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        return FASC_ISA_AVX512;
    }
    if (avx2) {
        return FASC_ISA_AVX2;
    }
#endif
    return FASC_ISA_PORTABLE;
}

fasc_status fasc_cpu_isa_check(void)
{
    const char *wanted = getenv("FASC_CPU");
    if (!wanted || !*wanted) {
        return FASC_OK;
    }
    fasc_isa best = fasc_cpu_isa_best();
    for (int i = 0; i < FASC_ISA_COUNT; i++) {
        if (strcmp(wanted, NAME[i]) == 0) {
            return i <= (int)best ? FASC_OK
                                  : fasc_fail(FASC_EINVAL,
                                              "FASC_CPU: this processor has no %s; its best is %s",
                                              wanted, NAME[best]);
        }
    }
    return fasc_fail(FASC_EINVAL, "FASC_CPU: '%s' is not one of portable, avx2, avx512", wanted);
}

fasc_isa fasc_cpu_isa(void)
{
    static atomic_int chosen = -1;
    int isa = atomic_load(&chosen);
    if (isa < 0) {
        isa = fasc_cpu_isa_best();
        const char *wanted = getenv("FASC_CPU");
        for (int i = 0; wanted && i < isa; i++) {
            if (strcmp(wanted, NAME[i]) == 0) {
                isa = i;
            }
        }
        atomic_store(&chosen, isa);
    }
    return (fasc_isa)isa;
}
