/* system.c - cores, memory and cache sizes, read from Linux. */
#include "system.h"

#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 640 };

/* ---- small files ------------------------------------------------------------ */

/* Calls `line` on each line of a file until it returns true. */
static void each_line(const char *path, bool (*line)(char *text, void *context), void *context)
{
    char text[512];
    FILE *file = fopen(path, "re");
    if (!file) {
        return;
    }
    while (fgets(text, sizeof text, file)) {
        text[strcspn(text, "\n")] = 0;
        if (line(text, context)) {
            break;
        }
    }
    fclose(file);
}

typedef struct field {
    const char *key;
    char value[256];
} field;

static bool match_field(char *text, void *context)
{
    field *f = context;
    size_t length = strlen(f->key);
    if (strncmp(text, f->key, length) != 0) {
        return false;
    }
    snprintf(f->value, sizeof f->value, "%s", text + length + strspn(text + length, " \t:"));
    return true;
}

/* The number after `key` at the start of a line ("" = the first line); -1 if there is none ("max"
 * in a cgroup's file). */
static int64_t number_in(const char *path, const char *key)
{
    field f = {.key = key};
    each_line(path, match_field, &f);
    char *end;
    long long value = strtoll(f.value, &end, 10);
    return end == f.value ? -1 : (int64_t)value;
}

/* ---- control groups --------------------------------------------------------- */

/* This process's folder in a hierarchy: its line in /proc/self/cgroup is "id:controllers:path". */
typedef struct group {
    const char *controller; /* "" for v2's */
    char path[400];
} group;

static bool match_group(char *text, void *context)
{
    group *g = context;
    char *names = strchr(text, ':');
    char *path = names ? strchr(names + 1, ':') : NULL;
    if (!path) {
        return false;
    }
    *path++ = 0;
    bool found = false;
    char *rest = NULL;
    for (char *name = strtok_r(names + 1, ",", &rest); name && *g->controller;
         name = strtok_r(NULL, ",", &rest)) {
        found = found || strcmp(name, g->controller) == 0;
    }
    found = found || (!*g->controller && names[1] == 0);
    if (found) {
        snprintf(g->path, sizeof g->path, "%s", path);
    }
    return found;
}

/* Calls visit on the process's cgroup and on each one above it. Inside a container the own path may
 * not exist below the mount: then only the levels that do are seen. */
static void each_group(const char *mount, const char *controller,
                       void (*visit)(const char *folder, void *context), void *context)
{
    group g = {.controller = controller};
    char folder[PATH_SIZE];
    each_line("/proc/self/cgroup", match_group, &g);
    for (;;) {
        snprintf(folder, sizeof folder, "%s%s", mount, strcmp(g.path, "/") ? g.path : "");
        visit(folder, context);
        char *slash = strrchr(g.path, '/');
        if (!slash || g.path[1] == 0) {
            break;
        }
        slash[slash == g.path] = 0;
    }
}

static int64_t number_below(const char *folder, const char *name, const char *key)
{
    char path[PATH_SIZE + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return number_in(path, key);
}

typedef struct memory {
    int64_t total, available;
} memory;

static void limit_memory(memory *m, int64_t limit, int64_t used, int64_t file_pages)
{
    if (limit < 0 || used < 0) {
        return;
    }
    int64_t left = limit - used + (file_pages > 0 ? file_pages : 0);
    left = left > 0 ? left : 0;
    m->total = limit < m->total ? limit : m->total;
    m->available = left < m->available ? left : m->available;
}

static void visit_memory_v2(const char *folder, void *context)
{
    limit_memory(context, number_below(folder, "memory.max", ""),
                 number_below(folder, "memory.current", ""),
                 number_below(folder, "memory.stat", "inactive_file "));
}

static void visit_memory_v1(const char *folder, void *context)
{
    limit_memory(context, number_below(folder, "memory.limit_in_bytes", ""),
                 number_below(folder, "memory.usage_in_bytes", ""),
                 number_below(folder, "memory.stat", "total_inactive_file "));
}

static void limit_cores(int32_t *cores, int64_t quota, int64_t period)
{
    if (quota > 0 && period > 0 && (quota + period - 1) / period < *cores) {
        *cores = (int32_t)((quota + period - 1) / period);
    }
}

static void visit_cores_v2(const char *folder, void *context)
{
    char path[PATH_SIZE + 64];
    field f = {.key = ""};
    int64_t quota = -1, period = -1;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    each_line(path, match_field, &f);
    if (sscanf(f.value, "%" SCNd64 " %" SCNd64, &quota, &period) == 2) {
        limit_cores(context, quota, period);
    }
}

static void visit_cores_v1(const char *folder, void *context)
{
    limit_cores(context, number_below(folder, "cpu.cfs_quota_us", ""),
                number_below(folder, "cpu.cfs_period_us", ""));
}

/* ---- what is asked ---------------------------------------------------------- */

int32_t fasc_usable_cores(void)
{
    cpu_set_t set;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int32_t cores = online > 0 ? (int32_t)online : 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
        cores = CPU_COUNT(&set);
    }
    each_group("/sys/fs/cgroup", "", visit_cores_v2, &cores);
    each_group("/sys/fs/cgroup/cpu", "cpu", visit_cores_v1, &cores);
    return cores > 0 ? cores : 1;
}

void fasc_system_memory(int64_t *total, int64_t *available)
{
    memory m = {number_in("/proc/meminfo", "MemTotal"), number_in("/proc/meminfo", "MemAvailable")};
    m.total = m.total > 0 ? m.total * 1024 : INT64_MAX;
    m.available = m.available >= 0 ? m.available * 1024 : m.total;
    each_group("/sys/fs/cgroup", "", visit_memory_v2, &m);
    each_group("/sys/fs/cgroup/memory", "memory", visit_memory_v1, &m);
    *total = m.total;
    *available = m.available;
}

void fasc_processor_name(char *name, size_t size)
{
    field f = {.key = "model name"};
    each_line("/proc/cpuinfo", match_field, &f);
    snprintf(name, size, "%s", f.value[0] ? f.value : "unknown");
}

/* The kernel's list has one cache's size; sysconf, for machines without it, may have the sum over a
 * package's. */
int64_t fasc_last_level_cache(void)
{
    int64_t last = 0, kib;
    for (int i = 0; i < 8; i++) {
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        kib = number_in(path, "");
        last = kib * 1024 > last ? kib * 1024 : last;
    }
    if (last > 0) {
        return last;
    }
    long level3 = sysconf(_SC_LEVEL3_CACHE_SIZE), level2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return level3 > 0 ? level3 : level2 > 0 ? level2 : 0;
}
