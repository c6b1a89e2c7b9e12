/* main.c - fasc-bench: reads the command line and runs what it names. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

static int run_script(lua_State *L, const host_options *options)
{
    const char *name = options->argv[options->script];
    if (strcmp(name, "-") == 0) {
        return host_run_file(L, NULL, options);
    }
    const char *path = host_script_find(name);
    return path ? host_run_file(L, path, options) : HOST_USAGE;
}

/* Runs -e code, then the script, then the prompt, as far as each is asked for. */
static int run(lua_State *L, const host_options *options)
{
    bool has_script = options->script < options->argc;
    bool only_prompt = !has_script && options->code_count == 0;
    int status = 0;
    for (int i = 0; i < options->code_count && status == 0; i++) {
        status = host_run_code(L, options->code[i]);
    }
    if (has_script && status == 0) {
        status = run_script(L, options);
    }
    if (options->interactive || (only_prompt && isatty(STDIN_FILENO))) {
        return status == HOST_USAGE ? status : host_run_repl(L);
    }
    return only_prompt ? host_run_file(L, NULL, options) : status;
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
    if (!host_interrupted()) {
        lua_close(L); /* may wait for child processes: not after Ctrl-C */
    }
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
    } else if (options.action == HOST_LIST_DEVICES) {
        status = host_list_devices();
    } else if (options.action == HOST_PRECOMPILE) {
        status = host_precompile(options.script < argc ? argv[options.script] : NULL);
    } else {
        status = start(&options);
    }
    free(options.code);
    if (fflush(stdout) != 0 && status == 0) {
        fprintf(stderr, HOST_NAME ": stdout: %s\n", strerror(errno));
        status = HOST_FAILED;
    }
    return status;
}
