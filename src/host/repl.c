/* repl.c - the prompt's C half: lines from libedit at a terminal, from stdin otherwise, and the key
 * that completes. What a line means is decided in lua/fasc/repl.lua, which is handed a table with
 *
 *   terminal        boolean   lines come from a person
 *   read(prompt, complete)    -> line | nil, "interrupted" | nil; complete(text before the cursor)
 *                             gives the text to insert, and a text to show
 *   remember(line)            adds it to the history
 *   call(fn)        -> true, results... | false, text to print (nil: nothing to say)
 */
#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <lauxlib.h>
#include <luajit.h>

#include "host.h"

enum { COMPLETE = 2 };

typedef struct line_editor {
    lua_State *L;
    EditLine *edit; /* NULL: stdin is no terminal */
    const char *prompt;
} line_editor;

static line_editor editor;

/* ---- completion --------------------------------------------------------------- */

/* TAB. While a line is read, the function that completes is at index COMPLETE of editor_read. */
static unsigned char complete(EditLine *edit, int key)
{
    (void)key;
    lua_State *L = editor.L;
    const LineInfo *line = el_line(edit);
    int top = lua_gettop(L);
    unsigned char action = CC_ERROR;

    lua_pushvalue(L, COMPLETE);
    lua_pushlstring(L, line->buffer, (size_t)(line->cursor - line->buffer));
    if (lua_pcall(L, 1, 2, 0) == 0) {
        const char *insert = lua_tostring(L, -2), *list = lua_tostring(L, -1);
        if (insert && *insert && el_insertstr(edit, insert) == 0) {
            action = CC_REFRESH;
        } else if (list && *list) {
            printf("\n%s\n", list);
            fflush(stdout);
            action = CC_REDISPLAY;
        }
    }
    lua_settop(L, top);
    return action;
}

static char *prompt_text(EditLine *edit)
{
    (void)edit;
    return (char *)editor.prompt;
}

static void open_editor(void)
{
    static const char *const ARROW[][2] = {{"\\e[A", "ed-search-prev-history"},
                                           {"\\eOA", "ed-search-prev-history"},
                                           {"\\e[B", "ed-search-next-history"},
                                           {"\\eOB", "ed-search-next-history"}};
    editor.edit = el_init(HOST_NAME, stdin, stdout, stderr);
    if (!editor.edit) {
        return;
    }
    el_set(editor.edit, EL_EDITOR, "emacs");
    el_set(editor.edit, EL_SIGNAL, 1); /* gives the terminal back before our handlers run */
    el_set(editor.edit, EL_PROMPT, prompt_text);
    el_set(editor.edit, EL_ADDFN, "fasc-complete", "Complete a name", complete);
    el_set(editor.edit, EL_BIND, "^I", "fasc-complete", NULL);
    el_set(editor.edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    for (size_t i = 0; i < sizeof ARROW / sizeof *ARROW; i++) { /* lines that hold what is typed */
        el_set(editor.edit, EL_BIND, ARROW[i][0], ARROW[i][1], NULL);
    }
    host_history_open(editor.edit);
    el_source(editor.edit, NULL); /* the user's ~/.editrc */
}

static void close_editor(void)
{
    if (editor.edit) {
        el_end(editor.edit);
        host_history_close();
    }
    editor = (line_editor){0};
}

/* ---- lines -------------------------------------------------------------------- */

static int push_line(lua_State *L, const char *line, size_t length)
{
    if (length > 0 && line[length - 1] == '\n') {
        length--;
    }
    lua_pushlstring(L, line, length);
    return 1;
}

static int editor_read(lua_State *L)
{
    editor.prompt = luaL_checkstring(L, 1);
    luaL_checktype(L, COMPLETE, LUA_TFUNCTION);
    host_interrupt_clear();
    if (editor.edit) {
        int length;
        const char *line = el_gets(editor.edit, &length);
        if (!host_interrupted() && line && length > 0) {
            return push_line(L, line, (size_t)length);
        }
        putchar('\n');
    } else {
        char *line = NULL;
        size_t size;
        ssize_t length = getline(&line, &size, stdin);
        if (length >= 0) {
            push_line(L, line, (size_t)length);
        }
        free(line);
        if (length >= 0) {
            return 1;
        }
    }
    lua_pushnil(L);
    if (!host_interrupted()) {
        return 1;
    }
    host_interrupt_clear();
    lua_pushliteral(L, "interrupted");
    return 2;
}

static int editor_remember(lua_State *L)
{
    host_history_add(luaL_checkstring(L, 1));
    return 0;
}

static int editor_call(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    bool ok = host_protected_call(L, 0, LUA_MULTRET) == 0;
    host_interrupt_clear();
    lua_pushboolean(L, ok);
    lua_insert(L, 1);
    return lua_gettop(L);
}

int host_run_repl(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"read", editor_read}, {"remember", editor_remember}, {"call", editor_call}, {NULL, NULL}};
    /* A hook, and so Ctrl-C, never reaches a compiled loop. */
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    editor.L = L;
    if (isatty(STDIN_FILENO)) {
        open_editor();
    }
    lua_getglobal(L, "require");
    lua_pushliteral(L, "fasc.repl");
    int status = host_protected_call(L, 1, 1);
    if (status == 0) {
        lua_getfield(L, -1, "run");
        lua_newtable(L);
        luaL_register(L, NULL, functions);
        lua_pushboolean(L, editor.edit != NULL);
        lua_setfield(L, -2, "terminal");
        status = host_protected_call(L, 1, 0);
    }
    status = status == 0 ? 0 : host_errors_report(L);
    close_editor();
    return status;
}
