/* system.h - what this process may use of the machine: cores and memory, as the scheduler's
 * affinity and the control groups (v1 and v2) allow. */
#ifndef FASC_SYSTEM_H
#define FASC_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

/* Cores by affinity, or by the cgroup's CPU quota (rounded up) where that is fewer; at least 1. */
int32_t fasc_usable_cores(void);

/* Bytes of memory in all, and bytes that can be had now without pushing anything out. */
void fasc_system_memory(int64_t *total, int64_t *available);

/* The processor's name as /proc/cpuinfo has it, "unknown" where it does not say. */
void fasc_processor_name(char *name, size_t size);

/* Bytes of the last-level cache; 0 = unknown. */
int64_t fasc_last_level_cache(void);

#endif
