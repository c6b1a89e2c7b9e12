/* signals.c - SIGINT: the first asks running code to stop, a second ends the process.
 *
 * Three kinds of code stop in three ways. C loops of the library poll the cancel flag. Lua code in
 * the interpreter meets a hook at its next instruction, which raises an error that the script may
 * catch. LuaJIT's compiled loops never look at hooks and their state cannot be taken from outside;
 * so a timer looks at where the Lua thread is, and if that is compiled code, time and again, and no
 * hook has run meanwhile, it ends the process in an orderly way: a thread in compiled code is
 * inside no C call, so files can be flushed. */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <lauxlib.h>

#include "fasc.h"
#include "host.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid /* glibc names it so only from some version on */
#endif

enum { TICK_MS = 20, TICKS_TO_END = 20 };

static lua_State *running;
static timer_t watch;
static volatile sig_atomic_t interrupts, compiled_ticks;

/* ---- ending -------------------------------------------------------------------- */

static void say_and_end(const char *text, size_t length)
{
    if (write(STDERR_FILENO, text, length) < 0) {
        /* nobody reads it: end all the same */
    }
    _exit(HOST_INTERRUPTED);
}

#define SAY_AND_END(text) say_and_end(text, sizeof text - 1)

/* ---- compiled loops ------------------------------------------------------------- */

/* The address that the thread was at; NULL where this is not known how to find. */
static void *program_counter(const void *context)
{
    const mcontext_t *machine = &((const ucontext_t *)context)->uc_mcontext;
#if defined(__x86_64__)
    return (void *)machine->gregs[REG_RIP];
#elif defined(__aarch64__)
    return (void *)machine->pc;
#else
    (void)machine;
    return NULL;
#endif
}

/* Code of a program or library has a file; code that LuaJIT made has none. */
static bool is_compiled_lua(void *address)
{
    Dl_info info;
    return address && dladdr(address, &info) == 0;
}

static void on_tick(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    if (is_compiled_lua(program_counter(context)) && ++compiled_ticks == TICKS_TO_END) {
        fflush(NULL);
        SAY_AND_END(HOST_NAME ": interrupted in a compiled loop\n");
    }
}

static void set_watch(long interval_ms)
{
    struct timespec interval = {.tv_nsec = interval_ms * 1000000};
    timer_settime(watch, 0, &(struct itimerspec){interval, interval}, NULL);
}

/* ---- the interpreter -------------------------------------------------------------- */

static int interrupted_tostring(lua_State *L)
{
    lua_getfield(L, 1, "message");
    return 1;
}

/* What stop_hook raises where the library's errors are not loaded: the same fields, made here. */
static void push_interrupted(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "ECANCELED");
    lua_setfield(L, -2, "status");
    luaL_where(L, 0);
    lua_pushliteral(L, "interrupted");
    lua_concat(L, 2);
    lua_setfield(L, -2, "message");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, interrupted_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_setmetatable(L, -2);
}

/* Runs at the interpreter's next instruction. Raises the error that a cancelled call of the library
 * raises, so that scripts catch both in one place; and since it comes before the script sees such a
 * call's result, there is one error for one Ctrl-C. */
static void stop_hook(lua_State *L, lua_Debug *where)
{
    (void)where;
    lua_sethook(L, NULL, 0, 0);
    set_watch(0);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "fasc.errors");
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "raise");
        lua_pushliteral(L, "ECANCELED");
        lua_pushliteral(L, "interrupted");
        lua_call(L, 2, 0);
    }
    push_interrupted(L);
    lua_error(L);
}

/* ---- the signal --------------------------------------------------------------------- */

static void on_interrupt(int number)
{
    (void)number;
    if (interrupts++ > 0) {
        SAY_AND_END(HOST_NAME ": interrupted twice\n");
    }
    fasc_cancel();
    lua_sethook(running, stop_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    compiled_ticks = 0;
    set_watch(TICK_MS);
}

void host_signals_install(lua_State *L)
{
    /* Without SA_RESTART: a read from a terminal ends too. */
    struct sigaction interrupt = {.sa_handler = on_interrupt};
    struct sigaction tick = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    event.sigev_notify_thread_id = gettid();
    running = L;
    timer_create(CLOCK_MONOTONIC, &event, &watch);
    sigaction(SIGRTMIN, &tick, NULL);
    sigaction(SIGINT, &interrupt, NULL);
}

bool host_interrupted(void)
{
    return interrupts > 0;
}

void host_interrupt_clear(void)
{
    interrupts = 0;
    set_watch(0);
    lua_sethook(running, NULL, 0, 0);
    fasc_cancel_clear();
}
