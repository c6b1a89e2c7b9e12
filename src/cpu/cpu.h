/* cpu.h - the rooms of the CPU backend, put together in src/cpu/backend.c. */
#ifndef FASC_CPU_H
#define FASC_CPU_H

#include "backend.h"

/* src/cpu/memory.c */
fasc_status fasc_cpu_alloc(fasc_device *device, size_t bytes, void **data);
void fasc_cpu_release(fasc_device *device, void *data, size_t bytes);
fasc_status fasc_cpu_memory(fasc_device *device, int64_t *cached, int64_t *available,
                            int64_t *total);
fasc_status fasc_cpu_trim(fasc_device *device);

/* src/cpu/elementwise.c, src/cpu/random.c, src/cpu/summary.c */
fasc_status fasc_cpu_copy(const fasc_tensor *src, fasc_tensor *dst);
fasc_status fasc_cpu_fill(fasc_tensor *t, double value);
fasc_status fasc_cpu_arange(fasc_tensor *t, double start, double step);
fasc_status fasc_cpu_rand(fasc_tensor *t, const fasc_rand_spec *spec);
fasc_status fasc_cpu_summarize(const fasc_tensor *t, fasc_summary *summary);
fasc_status fasc_cpu_compare(const fasc_tensor *a, const fasc_tensor *b,
                             fasc_difference *difference);

/* src/cpu/matmul.c */
fasc_status fasc_cpu_matmul(const fasc_matmul_args *args);

/* src/cpu/attention.c: the kernel table and the choice among them */
bool fasc_cpu_kernel(fasc_device *device, int32_t i, fasc_kernel_info *info);
fasc_status fasc_cpu_plan(fasc_device *device, const fasc_problem *problem,
                          fasc_attention_plan *plan);
fasc_status fasc_cpu_run(fasc_device *device, const fasc_problem *problem,
                         const fasc_attention_plan *plan);

/* src/cpu/sample.c. To empty the caches, every thread reads twice the last-level cache's size;
 * *bytes_read: what they read, all together. */
fasc_status fasc_cpu_empty_caches(fasc_device *device, int64_t *bytes_read);
fasc_status fasc_cpu_sample(fasc_device *device, fasc_sample *sample);

#endif
