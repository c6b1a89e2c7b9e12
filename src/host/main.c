/* main.c - fasc-bench: reads the command line and runs what it names. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* Runs -e code, then the script or stdin. */
static int run(lua_State *L, const host_options *options)
{
    int status = 0;
    for (int i = 0; i < options->code_count && status == 0; i++) {
        status = host_run_code(L, options->code[i]);
    }
    bool has_script = options->script < options->argc;
    if (status != 0 || (!has_script && options->code_count > 0)) {
        return status;
    }
    const char *path = NULL;
    if (has_script && strcmp(options->argv[options->script], "-") != 0) {
        path = host_script_find(options->argv[options->script]);
        if (!path) {
            return HOST_USAGE;
        }
    }
    return host_run_file(L, path, options);
}

static int start(const host_options *options)
{
    lua_State *L = host_lua_open(options);
    if (!L) {
        fprintf(stderr, HOST_NAME ": cannot start Lua: out of memory\n");
        return HOST_FAILED;
    }
    host_errors_always_trace(options->traceback);
    host_signals_install(L);
    int status = run(L, options);
    lua_close(L);
    return status;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    host_options options;
    int status = 0;
    if (!host_options_parse(&options, argc, argv)) {
        status = HOST_USAGE;
    } else if (options.action == HOST_HELP) {
        host_options_print_help();
    } else if (options.action == HOST_PRINT_VERSION) {
        host_options_print_version();
    } else {
        status = start(&options);
    }
    free(options.code);
    return status;
}
