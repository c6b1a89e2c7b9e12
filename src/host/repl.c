/* repl.c - the prompt's C half: lines from libedit at a terminal, from stdin otherwise, the history
 * file, and the key that completes. What a line means is decided in lua/fasc/repl.lua, which is
 * handed a table with
 *
 *   terminal        boolean   lines come from a person
 *   read(prompt, complete)    -> line | nil, "interrupted" | nil; complete(text before the cursor)
 *                             gives the text to insert, and a text to show
 *   remember(line)            adds it to the history
 *   call(fn)        -> true, results... | false, text to print (nil: nothing to say)
 */
#include <histedit.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>
#include <luajit.h>

#include "host.h"

enum { HISTORY_LINES = 2000, COMPLETE = 2 };

typedef struct line_editor {
    lua_State *L;
    EditLine *edit; /* NULL: stdin is no terminal */
    History *history;
    char history_path[PATH_MAX]; /* "" = not kept */
    const char *prompt;
} line_editor;

static line_editor editor;

/* ---- history ----------------------------------------------------------------- */

/* $XDG_STATE_HOME/fasc/history, its folders made; "" if there is no place for it. */
static void find_history(char *path, size_t size)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char folder[PATH_MAX - 16];
    path[0] = '\0';
    if (state && state[0] == '/') {
        snprintf(folder, sizeof folder, "%s/fasc", state);
    } else if (home && home[0] == '/') {
        snprintf(folder, sizeof folder, "%s/.local/state/fasc", home);
    } else {
        return;
    }
    if (host_make_folders(folder) == 0) {
        snprintf(path, size, "%s/history", folder);
    }
}

/* Enters the file's lines, the oldest first. Returns how many there are. */
static int load_history(void)
{
    FILE *file = fopen(editor.history_path, "r");
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    int lines = 0;
    while (file && (length = getline(&line, &size, file)) > 0) {
        HistEvent event;
        line[length - 1] = '\0';
        history(editor.history, &event, H_ENTER, line);
        lines++;
    }
    free(line);
    if (file) {
        fclose(file);
    }
    return lines;
}

/* Writes what is remembered in place of a file that has grown too long. */
static void rewrite_history(void)
{
    char fresh[PATH_MAX + 8];
    snprintf(fresh, sizeof fresh, "%s.new", editor.history_path);
    FILE *file = fopen(fresh, "w");
    HistEvent event;
    if (!file) {
        return;
    }
    fchmod(fileno(file), 0600);
    for (int r = history(editor.history, &event, H_LAST); r >= 0;
         r = history(editor.history, &event, H_PREV)) {
        fprintf(file, "%s\n", event.str);
    }
    if (fclose(file) == 0) {
        rename(fresh, editor.history_path);
    }
}

static void open_history(void)
{
    HistEvent event;
    editor.history = history_init();
    find_history(editor.history_path, sizeof editor.history_path);
    if (!editor.history) {
        return;
    }
    history(editor.history, &event, H_SETSIZE, HISTORY_LINES);
    history(editor.history, &event, H_SETUNIQUE, 1);
    if (editor.history_path[0] && load_history() > 2 * HISTORY_LINES) {
        rewrite_history();
    }
    el_set(editor.edit, EL_HIST, history, editor.history);
}

/* Each line is appended at once, so that several prompts share the file and none loses a line. */
static int editor_remember(lua_State *L)
{
    const char *line = luaL_checkstring(L, 1);
    HistEvent event;
    if (editor.history) {
        history(editor.history, &event, H_ENTER, line);
    }
    FILE *file = editor.history_path[0] ? fopen(editor.history_path, "a") : NULL;
    if (file) {
        fchmod(fileno(file), 0600);
        fprintf(file, "%s\n", line);
        fclose(file);
    }
    return 0;
}

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
    open_history();
    el_source(editor.edit, NULL); /* the user's ~/.editrc */
}

static void close_editor(void)
{
    if (editor.history) {
        history_end(editor.history);
    }
    if (editor.edit) {
        el_end(editor.edit);
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

static int editor_call(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    bool ok = host_protected_call(L, 0, LUA_MULTRET) == 0;
    if (host_interrupted()) {
        host_interrupt_clear();
    }
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
