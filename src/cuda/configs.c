/* configs.c - every configuration that ships. A kernel family adds rows here for each set of macros
 * that its planner can choose. */
#include "cuda/configs.h"

#include <stdatomic.h>
#include <stdio.h>

#include "cuda/diagonals.h"
#include "cuda/flash_sm80.h"
#include "cuda/flash_sm90.h"
#include "cuda/flash_split.h"
#include "cuda/reducer_pass.h"

#include "flash_params.h"

#define COPY_TO(source, target)                                                                    \
    {                                                                                              \
        "kernels/copy.cu", "SOURCE=" source " TARGET=" target, NULL                                \
    }
#define COPY_FROM(source)                                                                          \
    COPY_TO(source, "f16"), COPY_TO(source, "bf16"), COPY_TO(source, "f32"),                       \
        COPY_TO(source, "f64"), COPY_TO(source, "i32"), COPY_TO(source, "i64"),                    \
        COPY_TO(source, "u8")
#define SOFTMAX(threads, rows, items)                                                              \
    {"kernels/softmax.cu", "THREADS=" threads " ROWS=" rows " ITEMS=" items " EXTRAS=0", NULL},    \
    {                                                                                              \
        "kernels/softmax.cu", "THREADS=" threads " ROWS=" rows " ITEMS=" items " EXTRAS=1", NULL   \
    }

/* clang-format off */
static const struct {
    const char *source, *macros, *arch;
} CONFIG[] = {
    {"kernels/generate.cu", "ELEMENT=f16 RANDOM=1", NULL},
    {"kernels/generate.cu", "ELEMENT=bf16 RANDOM=1", NULL},
    {"kernels/generate.cu", "ELEMENT=f32 RANDOM=1", NULL},
    {"kernels/generate.cu", "ELEMENT=f64 RANDOM=1", NULL},
    {"kernels/generate.cu", "ELEMENT=i32 RANDOM=0", NULL},
    {"kernels/generate.cu", "ELEMENT=i64 RANDOM=0", NULL},
    {"kernels/generate.cu", "ELEMENT=u8 RANDOM=0", NULL},

    COPY_FROM("f16"), COPY_FROM("bf16"), COPY_FROM("f32"), COPY_FROM("f64"),
    COPY_FROM("i32"), COPY_FROM("i64"), COPY_FROM("u8"),

    {"kernels/reduce.cu", "", NULL},
    {"kernels/timing.cu", "", NULL},

    {"kernels/naive.cu", "ELEMENT=f16", NULL},
    {"kernels/naive.cu", "ELEMENT=bf16", NULL},
    {"kernels/naive.cu", "ELEMENT=f32", NULL},

    SOFTMAX("32", "4", "1"), SOFTMAX("32", "4", "2"), SOFTMAX("64", "1", "2"),
    SOFTMAX("128", "1", "2"), SOFTMAX("256", "1", "2"), SOFTMAX("512", "1", "2"),
    SOFTMAX("512", "1", "4"), SOFTMAX("256", "1", "0"),

    {"kernels/repair.cu", "ELEMENT=f16", NULL},
    {"kernels/repair.cu", "ELEMENT=bf16", NULL},
    {"kernels/repair.cu", "ELEMENT=f32", NULL},
    {"kernels/hide.cu", "", NULL},

    {"kernels/statistics.cu", "", NULL},
    {"kernels/reducer_offsets.cu", "", NULL},
    {"kernels/diagonals_join.cu", "", NULL},
    {"kernels/linear.cu", "FASC_BF16=0", NULL},
    {"kernels/linear.cu", "FASC_BF16=1", NULL},
};
/* clang-format on */

/* What flash_sm80's planner can choose, for any GPU. */
static bool sm80_config(int32_t i, fasc_cuda_config *config)
{
    config->source = "kernels/flash_sm80.cu";
    config->arch = NULL;
    return fasc_sm80_macros_at(i, &config->first, &config->last, config->macros,
                               sizeof config->macros);
}

/* Counted once: --precompile asks for each configuration by its number. */
static int32_t sm80_count(void)
{
    static atomic_int known;
    int32_t count = atomic_load(&known);
    if (count == 0) {
        fasc_cuda_config config;
        while (sm80_config(count, &config)) {
            count++;
        }
        atomic_store(&known, count);
    }
    return count;
}

/* What flash_sm90's planner can choose, for Hopper alone. */
static bool sm90_config(int32_t i, fasc_cuda_config *config)
{
    config->source = "kernels/flash_sm90.cu";
    config->arch = "sm_90a";
    return fasc_sm90_macros_at(i, config->macros, sizeof config->macros);
}

bool fasc_cuda_config_at(int32_t i, fasc_cuda_config *config)
{
    const int32_t written = sizeof CONFIG / sizeof *CONFIG;
    if (i < 0) {
        return false;
    }
    *config = (fasc_cuda_config){.last = 0};
    if (i >= written) {
        const int32_t sm80 = sm80_count(), reducers = fasc_reducer_config_count();
        i -= written;
        if (sm80_config(i, config)) {
            return true;
        }
        config->first = config->last = 0;
        i -= sm80;
        if (fasc_split_config_at(i, config)) {
            return true;
        }
        i -= fasc_split_config_count();
        if (i < reducers) {
            fasc_reducer_config_at(i, config);
            return true;
        }
        i -= reducers;
        if (i < FASC_DIAGONALS_CONFIGS) {
            fasc_diagonals_config_at(i, config);
            return true;
        }
        return sm90_config(i - FASC_DIAGONALS_CONFIGS, config);
    }
    config->source = CONFIG[i].source;
    config->arch = CONFIG[i].arch;
    snprintf(config->macros, sizeof config->macros, "%s", CONFIG[i].macros);
    return true;
}
