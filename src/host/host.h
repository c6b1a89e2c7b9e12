/* host.h - the parts of fasc-bench, in the order in which a run meets them: the command line, the
 * folder of scripts, the Lua state and its fasc.* modules, errors, SIGINT. */
#ifndef FASC_HOST_H
#define FASC_HOST_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#define HOST_NAME "fasc-bench"

/* Exit statuses beside 0 and those that scripts choose. */
enum { HOST_FAILED = 1, HOST_USAGE = 2, HOST_INTERRUPTED = 130 };

/* ---- options.c: the command line ------------------------------------------- */

typedef enum host_action {
    HOST_RUN,
    HOST_HELP,
    HOST_PRINT_VERSION,
    HOST_LIST_DEVICES,
    HOST_PRECOMPILE
} host_action;

typedef struct host_options {
    host_action action;
    const char *device;  /* --device; NULL = the library's choice */
    const char *lua_dir; /* --lua-dir; NULL = the embedded modules */
    bool interactive;    /* -i */
    bool traceback;      /* --traceback, or FASC_TRACEBACK set and not 0 */
    int code_count;      /* -e, in order */
    const char **code;   /* points into argv; owned */
    int script;          /* index in argv of the script's name; argc without one */
    int argc;
    char **argv;
} host_options;

/* Reads argv. On a mistake prints one line with a hint and returns false. */
bool host_options_parse(host_options *options, int argc, char **argv);

void host_options_print_help(void);
void host_options_print_version(void);

/* ---- precompile.c: --precompile ---------------------------------------------- */

/* Compiles what ships for the GPU architectures ("sm_90a,sm_80"; NULL = those that choose it
 * first) and prints what came of it. Returns the exit status. */
int host_precompile(const char *archs);

/* ---- scripts.c: the executable's surroundings -------------------------------- */

/* This executable's path; "" if the system does not say. */
const char *host_executable(void);

/* The folder of the scripts that come with fasc, installed or of the source tree. */
const char *host_scripts_dir(void);

/* Turns the script's name as given into a path to open: a file's name stays as it is; a bare
 * word (no slash, no .lua, no such file) is looked up in the folder of scripts. Returns NULL
 * after printing why, with the known names, if there is none. Valid until the next call. */
const char *host_script_find(const char *name);

/* ---- lua_state.c, modules.c, host_module.c: Lua ------------------------------ */

/* A state with the standard libraries, `arg` and the fasc.* searcher. NULL: no memory. */
lua_State *host_lua_open(const host_options *options);

/* Run a chunk in a protected call and report its failure. The result is the exit status. path
 * NULL = stdin. Arguments of the script are pushed as `...`. */
int host_run_code(lua_State *L, const char *code);
int host_run_file(lua_State *L, const char *path, const host_options *options);

/* Puts a searcher for fasc, fasc.* and fasc.cdef behind package.preload (see modules.c), and
 * preloads fasc.host (see host_module.c). They may raise Lua errors. */
void host_modules_install(lua_State *L, const host_options *options);
void host_module_install(lua_State *L, const host_options *options);

/* Push an embedded file's text (nil: there is none of that name); the list of their names. */
int host_push_source(lua_State *L, const char *name);
int host_push_source_names(lua_State *L);

/* Makes a folder and those above it where they are missing. Returns 0 or an errno. */
int host_make_folders(const char *path);

/* ---- errors.c: what a failed script prints ----------------------------------- */

/* Calls the function below its nargs arguments, as lua_pcall does, with a message handler that
 * turns the error into the text to print; its traceback ends at this call. Returns lua_pcall's
 * status; on failure the text (or nil, for a failure that has nothing to say) is on top of the
 * stack. */
int host_protected_call(lua_State *L, int nargs, int nresults);

/* Whether errors of the library come with a traceback as well. */
void host_errors_always_trace(bool always);

/* Prints the text on top of the stack, pops it, and gives the exit status of such an end. */
int host_errors_report(lua_State *L);

/* ---- signals.c: SIGINT -------------------------------------------------------- */

/* From now on SIGINT asks L's running code to stop: fasc_cancel() for C, a hook for Lua. A second
 * one ends the process. */
void host_signals_install(lua_State *L);

/* Has SIGINT arrived since the last clear? */
bool host_interrupted(void);
void host_interrupt_clear(void);

/* ---- repl.c, history.c: the prompt ----------------------------------------------- */

/* Reads lines at the prompt, or from stdin, until it ends. Returns the exit status. */
int host_run_repl(lua_State *L);

/* The prompt's history: open gives it to a line editor, with the lines of earlier prompts. */
struct editline;
void host_history_open(struct editline *edit);
void host_history_add(const char *line);
void host_history_close(void);

/* ---- devices.c --------------------------------------------------------------------- */

/* Prints every device, or why there is none. Returns the exit status. */
int host_list_devices(void);

#endif
