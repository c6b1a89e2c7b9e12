/* precompile.c - what --precompile does: compiles every shipped GPU configuration, a few at a time,
 * and prints what the compiler says of each. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fasc.h"
#include "host.h"

enum { MOST_WORKERS = 16 };

/* One configuration: its report, or why there is none. */
typedef struct row {
    bool done;
    fasc_status status;
    fasc_compile_report report;
    char error[1024];
} row;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *archs;
    row *rows;
    int32_t count, next;
} work = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *compile_rows(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&work.lock);
    while (work.next < work.count) {
        int32_t index = work.next++, count;
        row *r = &work.rows[index];
        pthread_mutex_unlock(&work.lock);
        r->report.size = sizeof r->report;
        r->status = fasc_precompile(work.archs, index, &r->report, &count);
        if (r->status != FASC_OK) {
            snprintf(r->error, sizeof r->error, "%s", fasc_last_error());
        }
        pthread_mutex_lock(&work.lock);
        r->done = true;
        pthread_cond_broadcast(&work.changed);
    }
    pthread_mutex_unlock(&work.lock);
    return NULL;
}

static int start_workers(pthread_t *thread)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int wanted = cores < 1 ? 1 : cores > MOST_WORKERS ? MOST_WORKERS : (int)cores, started = 0;
    while (started < wanted && pthread_create(&thread[started], NULL, compile_rows, NULL) == 0) {
        started++;
    }
    return started;
}

/* A line for each function, then the message, indented. Returns whether the row is a failure. */
static bool print_row(const row *r)
{
    if (r->status != FASC_OK) {
        printf("%s\n", r->error);
        return true;
    }
    const fasc_compile_report *report = &r->report;
    for (int32_t i = 0; i < report->function_count; i++) {
        const fasc_function_report *f = &report->function[i];
        printf("%-7s %-24s %-40s %-18s %3d regs %5d B smem %3d B spilled %4d B stack\n",
               report->arch, report->source, report->macros, f->name, f->registers, f->smem_static,
               f->spill_bytes, f->stack_bytes);
    }
    if (report->function_count == 0) {
        printf("%-7s %-24s %-40s\n", report->arch, report->source, report->macros);
    }
    for (const char *line = report->message; *line;) {
        int length = (int)strcspn(line, "\n");
        printf("        %s: %.*s\n", report->failed ? "failed" : "note", length, line);
        line += length + (line[length] == '\n');
    }
    return report->failed != 0;
}

static int print_rows(void)
{
    int failed = 0, compiled = 0;
    double seconds = 0, longest = 0;
    for (int32_t i = 0; i < work.count; i++) {
        row *r = &work.rows[i];
        pthread_mutex_lock(&work.lock);
        while (!r->done) {
            pthread_cond_wait(&work.changed, &work.lock);
        }
        pthread_mutex_unlock(&work.lock);
        failed += print_row(r);
        compiled += r->status == FASC_OK && strcmp(r->report.cache, "hit") != 0;
        seconds += r->report.seconds;
        longest = r->report.seconds > longest ? r->report.seconds : longest;
        fflush(stdout);
    }
    printf("compiling them takes %.0f s of one core, the longest %.1f s\n", seconds, longest);
    printf("%d configurations: %d compiled, %d from the cache, %d failed\n", (int)work.count,
           compiled, (int)work.count - compiled, failed);
    return failed;
}

int host_precompile(const char *archs)
{
    pthread_t thread[MOST_WORKERS];
    int32_t count;
    fasc_status status = fasc_precompile(archs, 0, NULL, &count);
    if (status != FASC_OK) {
        fprintf(stderr, HOST_NAME ": %s\n", fasc_last_error());
        return status == FASC_EINVAL ? HOST_USAGE : HOST_FAILED;
    }
    work.archs = archs;
    work.count = count;
    work.rows = calloc((size_t)count, sizeof *work.rows);
    int workers = work.rows ? start_workers(thread) : 0;
    if (workers == 0) {
        fprintf(stderr, HOST_NAME ": --precompile: out of memory or threads\n");
        free(work.rows);
        return HOST_FAILED;
    }
    int failed = print_rows();
    for (int i = 0; i < workers; i++) {
        pthread_join(thread[i], NULL);
    }
    free(work.rows);
    return failed ? HOST_FAILED : 0;
}
