/* signals.c - SIGINT: the first asks running code to stop, a second ends the process. */
#include <signal.h>
#include <unistd.h>

#include <lauxlib.h>

#include "fasc.h"
#include "host.h"

static lua_State *running;
static volatile sig_atomic_t interrupts;

/* Runs inside the interpreter at its next call, return or instruction. Raises the error that a
 * cancelled call of the library raises, so that scripts catch both in one place. */
static void stop_hook(lua_State *L, lua_Debug *where)
{
    (void)where;
    lua_sethook(L, NULL, 0, 0);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "fasc.errors");
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "raise");
        lua_pushliteral(L, "ECANCELED");
        lua_pushliteral(L, "interrupted");
        lua_call(L, 2, 0);
    }
    luaL_error(L, "interrupted");
}

static void on_interrupt(int number)
{
    (void)number;
    if (interrupts++ > 0) {
        _exit(HOST_INTERRUPTED);
    }
    fasc_cancel();
    lua_sethook(running, stop_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

void host_signals_install(lua_State *L)
{
    /* Without SA_RESTART: a read from a terminal ends too. */
    struct sigaction action = {.sa_handler = on_interrupt};
    running = L;
    sigaction(SIGINT, &action, NULL);
}

bool host_interrupted(void)
{
    return interrupts > 0;
}

void host_interrupt_clear(void)
{
    interrupts = 0;
    fasc_cancel_clear();
    lua_sethook(running, NULL, 0, 0);
}
