/* history.c - the lines of earlier prompts, kept in a file of plain lines. Each line is appended at
 * once, so that several prompts share the file and a killed one loses nothing. */
#include <errno.h>
#include <histedit.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host.h"

enum { LINES_KEPT = 2000 };

static History *lines;
static char path[PATH_MAX]; /* "" = nothing is kept */

/* Nobody else's business. */
static FILE *open_private(const char *name, const char *mode)
{
    FILE *file = fopen(name, mode);
    if (file) {
        fchmod(fileno(file), 0600);
    }
    return file;
}

/* Sets path to $XDG_STATE_HOME/fasc/history, made where it is missing, or to "" and says why. */
static void find_path(void)
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
    snprintf(path, sizeof path, "%s/history", folder);
    errno = host_make_folders(folder);
    FILE *file = errno ? NULL : open_private(path, "a");
    if (!file) {
        fprintf(stderr, HOST_NAME ": no history is kept: %s: %s\n", path, strerror(errno));
        path[0] = '\0';
        return;
    }
    fclose(file);
}

/* Enters the file's lines, the oldest first. Returns how many there are. */
static int load(void)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    int count = 0;
    while (file && getline(&line, &size, file) > 0) {
        HistEvent event;
        line[strcspn(line, "\n")] = '\0';
        history(lines, &event, H_ENTER, line);
        count++;
    }
    free(line);
    if (file) {
        fclose(file);
    }
    return count;
}

/* Writes what is remembered in place of a file that has grown too long. */
static void rewrite(void)
{
    char fresh[PATH_MAX + 8];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = open_private(fresh, "w");
    if (!file) {
        return;
    }
    HistEvent event;
    for (int r = history(lines, &event, H_LAST); r >= 0; r = history(lines, &event, H_PREV)) {
        fprintf(file, "%s\n", event.str);
    }
    if (fclose(file) == 0) {
        rename(fresh, path);
    }
}

void host_history_open(struct editline *edit)
{
    HistEvent event;
    lines = history_init();
    if (!lines) {
        return;
    }
    history(lines, &event, H_SETSIZE, LINES_KEPT);
    history(lines, &event, H_SETUNIQUE, 1);
    find_path();
    if (path[0] && load() > 2 * LINES_KEPT) {
        rewrite();
    }
    el_set(edit, EL_HIST, history, lines);
}

void host_history_add(const char *line)
{
    HistEvent event;
    if (!lines) {
        return;
    }
    history(lines, &event, H_ENTER, line);
    FILE *file = path[0] ? open_private(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s\n", line);
        fclose(file);
    }
}

void host_history_close(void)
{
    if (lines) {
        history_end(lines);
        lines = NULL;
    }
}
