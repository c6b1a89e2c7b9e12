/* errors.c - what a failed script prints.
 *
 * An error of the library (fasc.errors) is a table with a status and a message: its user gave
 * something wrong, and reads the one line that it turns itself into, which says where in the script
 * and what. Any other error is a mistake in the script: its message and a traceback. A nil error
 * has nothing to say (busted ends so after it has printed its own report). */
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "host.h"

enum { TRACE_TOP = 14, TRACE_BOTTOM = 6 }; /* calls shown of a deep stack */

static bool always_trace;
static int calls_below; /* how deep the stack was where the protected call began */

void host_errors_always_trace(bool always)
{
    always_trace = always;
}

/* ---- the error value ---------------------------------------------------------- */

static bool is_library_error(lua_State *L, int index)
{
    if (!lua_istable(L, index)) {
        return false;
    }
    lua_pushliteral(L, "message");
    lua_rawget(L, index);
    lua_pushliteral(L, "status");
    lua_rawget(L, index);
    bool is = lua_isstring(L, -2) && !lua_isnil(L, -1);
    lua_pop(L, 2);
    return is;
}

static int call_tostring(lua_State *L)
{
    return luaL_callmeta(L, 1, "__tostring");
}

/* Pushes the error value as text. A __tostring that fails itself is no help, but no harm either. */
static void push_message(lua_State *L, int index)
{
    lua_pushcfunction(L, call_tostring);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) == 0 && lua_isstring(L, -1)) {
        return;
    }
    lua_pop(L, 1);
    if (lua_isstring(L, index)) {
        lua_pushvalue(L, index);
    } else {
        lua_pushfstring(L, "(the error is a %s)", luaL_typename(L, index));
    }
}

/* ---- the stack ------------------------------------------------------------------ */

static void add_call(lua_State *L, luaL_Buffer *text, lua_Debug *call)
{
    lua_getinfo(L, "Snl", call);
    if (call->what[0] == 'C') {
        if (!call->name) {
            return; /* says nothing */
        }
        lua_pushfstring(L, "    [C]: in function '%s'\n", call->name);
    } else if (call->what[0] == 'm') {
        lua_pushfstring(L, "    %s:%d: in main chunk\n", call->short_src, call->currentline);
    } else if (call->name) {
        lua_pushfstring(L, "    %s:%d: in function '%s'\n", call->short_src, call->currentline,
                        call->name);
    } else {
        lua_pushfstring(L, "    %s:%d: in function <%s:%d>\n", call->short_src, call->currentline,
                        call->short_src, call->linedefined);
    }
    luaL_addvalue(text);
}

static bool is_raising_function(lua_State *L, lua_Debug *call)
{
    lua_getinfo(L, "Sn", call);
    return call->what[0] == 'C' && call->name &&
           (strcmp(call->name, "error") == 0 || strcmp(call->name, "assert") == 0);
}

static int stack_depth(lua_State *L)
{
    lua_Debug call;
    int depth = 0;
    while (lua_getstack(L, depth, &call)) {
        depth++;
    }
    return depth;
}

/* Pushes the calls that led to the error, innermost first, one a line; not those of the host below
 * the protected call. */
static void push_traceback(lua_State *L)
{
    lua_Debug call;
    int depth = stack_depth(L) - calls_below;
    int first = lua_getstack(L, 1, &call) && is_raising_function(L, &call) ? 2 : 1;
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (int level = first; level < depth; level++) {
        if (level == first + TRACE_TOP && depth - level > TRACE_BOTTOM) {
            lua_pushfstring(L, "    ... (%d more)\n", depth - level - TRACE_BOTTOM);
            luaL_addvalue(&text);
            level = depth - TRACE_BOTTOM;
        }
        lua_getstack(L, level, &call);
        add_call(L, &text, &call);
    }
    luaL_pushresult(&text);
}

/* ---- the handler ------------------------------------------------------------------ */

/* The message handler: runs where the error was raised, with the stack still there. */
static int describe(lua_State *L)
{
    if (lua_isnil(L, 1)) {
        return 1;
    }
    push_message(L, 1);
    lua_pushliteral(L, "\n");
    if (always_trace || !is_library_error(L, 1)) {
        push_traceback(L);
        lua_concat(L, 3);
    } else {
        lua_concat(L, 2);
    }
    return 1;
}

int host_protected_call(lua_State *L, int nargs, int nresults)
{
    int base = lua_gettop(L) - nargs, outer = calls_below;
    calls_below = stack_depth(L);
    lua_pushcfunction(L, describe);
    lua_insert(L, base);
    int status = lua_pcall(L, nargs, nresults, base);
    lua_remove(L, base);
    calls_below = outer;
    return status;
}

int host_errors_report(lua_State *L)
{
    fflush(stdout);
    if (lua_isstring(L, -1)) {
        fprintf(stderr, HOST_NAME ": %s", lua_tostring(L, -1));
    }
    lua_pop(L, 1);
    return HOST_FAILED;
}
