/* options.c - the command line of fasc-bench: one table of options, from which parsing, --help and
 * the suggestion for a mistyped option follow. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <luajit.h>

#include "build_info.h"
#include "host.h"
#include "names.h"

typedef enum option_id {
    OPT_CODE,
    OPT_INTERACTIVE,
    OPT_DEVICE,
    OPT_LUA_DIR,
    OPT_TRACEBACK,
    OPT_LIST_DEVICES,
    OPT_PRECOMPILE,
    OPT_VERSION,
    OPT_HELP,
} option_id;

typedef struct option_row {
    option_id id;
    const char *name;
    const char *value; /* what its value is called; NULL = it takes none */
    const char *help;
} option_row;

static const option_row OPTIONS[] = {
    {OPT_CODE, "-e", "CODE", "run CODE (may be given several times), before the script"},
    {OPT_INTERACTIVE, "-i", NULL, "open the prompt, after CODE and the script if given"},
    {OPT_DEVICE, "--device", "NAME",
     "what fasc.device() gives: cpu, cuda, cuda:1, ...\n"
     "(default: cuda:0 when usable, else cpu)"},
    {OPT_LUA_DIR, "--lua-dir", "DIR",
     "read module fasc from DIR/fasc/init.lua and fasc.NAME from\n"
     "DIR/fasc/NAME.lua in place of the ones inside this program;\n"
     "none of those inside is used then, but for fasc.host and\n"
     "fasc.cdef, which always come from this program"},
    {OPT_TRACEBACK, "--traceback", NULL,
     "print a traceback for errors of the library too; so does\n"
     "FASC_TRACEBACK=1 in the environment"},
    {OPT_LIST_DEVICES, "--list-devices", NULL,
     "print the devices, or why there are none, and stop"},
    {OPT_PRECOMPILE, "--precompile", NULL,
     "compile every GPU kernel that ships for sm_80, sm_89, sm_90a and\n"
     "sm_120, or for what is given in place of a script: a list such as\n"
     "sm_90a,sm_80, or sample, each kernel for one of the four; print\n"
     "registers, shared memory and warnings, and stop; needs no GPU"},
    {OPT_VERSION, "--version", NULL, "print versions and stop"},
    {OPT_HELP, "--help", NULL, "print this and stop"},
};
enum { OPTION_COUNT = sizeof OPTIONS / sizeof *OPTIONS };

__attribute__((format(printf, 1, 2))) static bool usage_error(const char *format, ...)
{
    va_list list;
    fprintf(stderr, HOST_NAME ": ");
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "; see " HOST_NAME " --help\n");
    return false;
}

static bool unknown_option(const char *word)
{
    const char *names[OPTION_COUNT];
    for (int i = 0; i < OPTION_COUNT; i++) {
        names[i] = OPTIONS[i].name;
    }
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    const char *near = strlen(name) > 2 ? fasc_nearest_name(name, names, OPTION_COUNT) : NULL;
    if (near) {
        return usage_error("unknown option '%s', did you mean %s?", name, near);
    }
    return usage_error("unknown option '%s'", name);
}

/* The row that `word` names; *value is what stands behind its "=", NULL without one. */
static const option_row *find_option(const char *word, const char **value)
{
    size_t n = strcspn(word, "=");
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (strlen(OPTIONS[i].name) == n && strncmp(word, OPTIONS[i].name, n) == 0) {
            *value = word[n] ? word + n + 1 : NULL;
            return &OPTIONS[i];
        }
    }
    return NULL;
}

static void apply(host_options *o, option_id id, const char *value)
{
    switch (id) {
    case OPT_CODE:
        o->code[o->code_count++] = value;
        break;
    case OPT_INTERACTIVE:
        o->interactive = true;
        break;
    case OPT_DEVICE:
        o->device = value;
        break;
    case OPT_LUA_DIR:
        o->lua_dir = value;
        break;
    case OPT_TRACEBACK:
        o->traceback = true;
        break;
    case OPT_LIST_DEVICES:
        o->action = HOST_LIST_DEVICES;
        break;
    case OPT_PRECOMPILE:
        o->action = HOST_PRECOMPILE;
        break;
    case OPT_VERSION:
        o->action = HOST_PRINT_VERSION;
        break;
    case OPT_HELP:
        o->action = HOST_HELP;
        break;
    }
}

bool host_options_parse(host_options *o, int argc, char **argv)
{
    const char *trace = getenv("FASC_TRACEBACK");
    *o = (host_options){.argc = argc, .argv = argv};
    o->traceback = trace && *trace && strcmp(trace, "0") != 0;
    o->code = calloc((size_t)argc + 1, sizeof *o->code);
    if (!o->code) {
        fprintf(stderr, HOST_NAME ": out of memory\n");
        return false;
    }
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        const char *value;
        const option_row *row = find_option(argv[i], &value);
        if (!row) {
            return unknown_option(argv[i]);
        }
        if (value && !row->value) {
            return usage_error("option %s takes no value", row->name);
        }
        if (row->value && !value) {
            if (++i == argc) {
                return usage_error("option %s lacks its %s", row->name, row->value);
            }
            value = argv[i];
        }
        apply(o, row->id, value);
    }
    o->script = i;
    return true;
}

void host_options_print_help(void)
{
    printf(
        "Usage: " HOST_NAME " [options] [script.lua [arguments...]]\n"
        "\n"
        "Runs a Lua script with the fasc library. A word without a slash that is no file here "
        "names\n"
        "one of the scripts that come with fasc; - is the standard input. At a terminal, without\n"
        "CODE and script, it opens a prompt.\n"
        "\n"
        "Options:\n");
    for (int i = 0; i < OPTION_COUNT; i++) {
        const option_row *row = &OPTIONS[i];
        char left[32];
        snprintf(left, sizeof left, "%s %s", row->name, row->value ? row->value : "");
        const char *line = row->help;
        for (int n = 0; line; n++) {
            int length = (int)strcspn(line, "\n");
            printf("  %-16s  %.*s\n", n == 0 ? left : "", length, line);
            line = line[length] ? line + length + 1 : NULL;
        }
    }
    printf(
        "\n"
        "Exit status: 0, or what the script chose; 1 after an error; 2 when the command line is\n"
        "wrong; 130 when interrupted.\n");
}

void host_options_print_version(void)
{
    printf("fasc %s (commit %s%s, %s, %s)\n" LUAJIT_VERSION "\n", FASC_BUILD_VERSION,
           FASC_BUILD_COMMIT, FASC_BUILD_DIRTY[0] == 't' ? ", changed" : "", FASC_BUILD_TYPE,
           FASC_BUILD_COMPILER);
}
