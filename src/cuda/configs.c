/* configs.c - every configuration that ships, written out. A kernel family adds a block of rows
 * here for each set of macros that its planner can choose. */
#include "cuda/configs.h"

#define COPY_TO(source, target)                                                                    \
    {                                                                                              \
        "kernels/copy.cu", "SOURCE=" source " TARGET=" target, NULL                                \
    }
#define COPY_FROM(source)                                                                          \
    COPY_TO(source, "f16"), COPY_TO(source, "bf16"), COPY_TO(source, "f32"),                       \
        COPY_TO(source, "f64"), COPY_TO(source, "i32"), COPY_TO(source, "i64"),                    \
        COPY_TO(source, "u8")
#define SOFTMAX(threads, items)                                                                    \
    {"kernels/softmax.cu", "THREADS=" threads " ITEMS=" items " MASK=0", NULL},                    \
    {                                                                                              \
        "kernels/softmax.cu", "THREADS=" threads " ITEMS=" items " MASK=1", NULL                   \
    }

/* clang-format off */
static const fasc_cuda_config CONFIG[] = {
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

    SOFTMAX("32", "1"), SOFTMAX("32", "4"), SOFTMAX("128", "2"), SOFTMAX("128", "4"),
    SOFTMAX("256", "4"), SOFTMAX("512", "4"), SOFTMAX("512", "0"),

    {"kernels/repair.cu", "ELEMENT=f16", NULL},
    {"kernels/repair.cu", "ELEMENT=bf16", NULL},
    {"kernels/repair.cu", "ELEMENT=f32", NULL},
    {"kernels/hide.cu", "", NULL},
};
/* clang-format on */

const fasc_cuda_config *fasc_cuda_config_at(int32_t i)
{
    return i >= 0 && i < (int32_t)(sizeof CONFIG / sizeof *CONFIG) ? &CONFIG[i] : NULL;
}
