/* report.c - the lines of a compiler log that matter, as numbers and as a short message. */
#include "cuda/report.h"

#include <stdio.h>
#include <string.h>

/* ptxas notes that mean a slow kernel; it prints some of them as mere information. */
static const char *const SLOW[] = {"serialized", "setmaxnreg"};

static bool has(const char *line, size_t bytes, const char *text)
{
    return memmem(line, bytes, text, strlen(text)) != NULL;
}

static void add_line(fasc_compile_report *report, const char *line, size_t bytes)
{
    size_t used = strlen(report->message), room = sizeof report->message - used;
    snprintf(report->message + used, room, "%s%.*s", used ? "\n" : "", (int)bytes, line);
}

static void start_function(fasc_compile_report *report, const char *name)
{
    size_t most = sizeof report->function / sizeof *report->function;
    if ((size_t)report->function_count == most) {
        report->failed = 1;
        add_line(report, "more functions than a report holds", 34);
        return;
    }
    fasc_function_report *f = &report->function[report->function_count++];
    *f = (fasc_function_report){0};
    snprintf(f->name, sizeof f->name, "%.*s", (int)strcspn(name, "'"), name);
}

/* ptxas's own lines: "Compiling entry function 'f' for 'sm_90a'", then
 * "N bytes stack frame, N bytes spill stores, N bytes spill loads" (for f and what it calls), then
 * "Used N registers, used N barriers, N bytes smem". */
static void read_numbers(fasc_compile_report *report, const char *line)
{
    static const char entry[] = "Compiling entry function '";
    const char *name = strstr(line, entry);
    if (name) {
        start_function(report, name + sizeof entry - 1);
        return;
    }
    if (report->function_count == 0) {
        return;
    }
    fasc_function_report *f = &report->function[report->function_count - 1];
    const char *stack = strstr(line, " bytes stack frame"), *used = strstr(line, "Used ");
    int frame, stores, loads, registers;
    if (stack) {
        while (stack > line && stack[-1] >= '0' && stack[-1] <= '9') {
            stack--;
        }
        if (sscanf(stack, "%d bytes stack frame, %d bytes spill stores, %d bytes spill loads",
                   &frame, &stores, &loads) == 3) {
            f->stack_bytes += frame;
            f->spill_bytes += stores + loads;
        }
    } else if (used && sscanf(used, "Used %d registers", &registers) == 1) {
        f->registers = registers;
        const char *smem = strstr(used, " bytes smem");
        while (smem && smem > used && smem[-1] >= '0' && smem[-1] <= '9') {
            smem--;
        }
        if (smem) {
            sscanf(smem, "%d", &f->smem_static);
        }
    }
}

void fasc_report_read(const char *log, bool compiled, fasc_compile_report *report)
{
    report->failed = !compiled;
    report->function_count = report->warning_count = 0;
    report->message[0] = 0;
    for (const char *line = log; *line;) {
        size_t bytes = strcspn(line, "\n");
        char copy[512];
        snprintf(copy, sizeof copy, "%.*s", (int)bytes, line);
        read_numbers(report, copy);
        bool slow = false;
        for (size_t i = 0; i < sizeof SLOW / sizeof *SLOW; i++) {
            slow = slow || has(line, bytes, SLOW[i]);
        }
        bool warning = slow || has(line, bytes, "warning") || has(line, bytes, "Performance Loss");
        if (warning || (!compiled && has(line, bytes, "error"))) {
            add_line(report, line, bytes);
        }
        report->warning_count += warning;
        report->failed |= slow;
        line += bytes + (line[bytes] == '\n');
    }
    for (int i = 0; i < report->function_count; i++) {
        if (report->function[i].spill_bytes > 0) {
            char text[128];
            int n = snprintf(text, sizeof text, "%s spills %d bytes", report->function[i].name,
                             report->function[i].spill_bytes);
            add_line(report, text, (size_t)n);
            report->failed = 1;
        }
    }
}
