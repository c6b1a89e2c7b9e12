/* lua_state.c - the Lua state and the ways to run something in it. */
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "host.h"

/* As luajit has it: arg[0] is the script, arg[1].. its arguments, arg[-1].. what stands before. */
static void set_arg(lua_State *L, const host_options *options)
{
    lua_createtable(L, options->argc - options->script, options->script);
    for (int i = 0; i < options->argc; i++) {
        lua_pushstring(L, options->argv[i]);
        lua_rawseti(L, -2, i - options->script);
    }
    lua_setglobal(L, "arg");
}

static int initialise(lua_State *L)
{
    const host_options *options = lua_touserdata(L, 1);
    luaL_openlibs(L);
    set_arg(L, options);
    host_modules_install(L, options);
    host_module_install(L, options);
    return 0;
}

lua_State *host_lua_open(const host_options *options)
{
    lua_State *L = luaL_newstate();
    if (L && lua_cpcall(L, initialise, (void *)options) != 0) {
        lua_close(L);
        L = NULL;
    }
    return L;
}

/* Reports the message of a chunk that does not parse. */
static int report_load_error(lua_State *L)
{
    lua_pushfstring(L, "%s\n", lua_tostring(L, -1));
    lua_remove(L, -2);
    return host_errors_report(L);
}

static int run_chunk(lua_State *L, int nargs)
{
    int status = host_protected_call(L, nargs, 0) == 0 ? 0 : host_errors_report(L);
    return host_interrupted() ? HOST_INTERRUPTED : status;
}

int host_run_code(lua_State *L, const char *code)
{
    if (luaL_loadbuffer(L, code, strlen(code), "=(command line)") != 0) {
        return report_load_error(L);
    }
    return run_chunk(L, 0);
}

int host_run_file(lua_State *L, const char *path, const host_options *options)
{
    if (luaL_loadfile(L, path) != 0) {
        return report_load_error(L);
    }
    int nargs = 0;
    if (options->script < options->argc) {
        nargs = options->argc - options->script - 1;
        luaL_checkstack(L, nargs, "too many arguments");
        for (int i = options->script + 1; i < options->argc; i++) {
            lua_pushstring(L, options->argv[i]);
        }
    }
    return run_chunk(L, nargs);
}
