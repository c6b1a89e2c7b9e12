/* scripts.c - where this program lies, and the scripts that come with it.
 *
 * The folder of scripts is found from the executable, so an installed tree can be moved. A build
 * tree has a link to the source's scripts/ at the same place. FASC_SCRIPTS_FROM_BIN is that way,
 * "../share/fasc/scripts" unless the build was configured otherwise. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"
#include "names.h"

enum { MAX_SCRIPTS = 256 };

const char *host_executable(void)
{
    static char path[PATH_MAX];
    if (!path[0]) {
        ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
        path[n > 0 ? n : 0] = '\0';
    }
    return path;
}

const char *host_scripts_dir(void)
{
    static char path[PATH_MAX];
    if (!path[0]) {
        char joined[2 * PATH_MAX];
        const char *exe = host_executable();
        const char *slash = strrchr(exe, '/');
        snprintf(joined, sizeof joined, "%.*s/%s", slash ? (int)(slash - exe) : 0, exe,
                 FASC_SCRIPTS_FROM_BIN);
        if (!realpath(joined, path)) {
            snprintf(path, sizeof path, "%.*s", PATH_MAX - 1, joined);
        }
    }
    return path;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the folder's scripts without ".lua", sorted; the caller frees each. */
static int list_scripts(char **names)
{
    int count = 0;
    DIR *dir = opendir(host_scripts_dir());
    struct dirent *entry;
    while (dir && count < MAX_SCRIPTS && (entry = readdir(dir))) {
        size_t n = strlen(entry->d_name);
        if (n > 4 && strcmp(entry->d_name + n - 4, ".lua") == 0) {
            char *name = strndup(entry->d_name, n - 4);
            if (name) {
                names[count++] = name;
            }
        }
    }
    if (dir) {
        closedir(dir);
    }
    qsort(names, (size_t)count, sizeof *names, by_name);
    return count;
}

static void print_unknown(const char *word)
{
    char *names[MAX_SCRIPTS];
    int count = list_scripts(names);
    fprintf(stderr, HOST_NAME ": no script and no file named '%s'", word);
    if (count == 0) {
        fprintf(stderr, ", and no scripts in %s\n", host_scripts_dir());
        return;
    }
    const char *near = fasc_nearest_name(word, (const char *const *)names, (size_t)count);
    if (near) {
        fprintf(stderr, ", did you mean %s?", near);
    }
    fprintf(stderr, " (scripts:");
    for (int i = 0; i < count; i++) {
        fprintf(stderr, " %s", names[i]);
        free(names[i]);
    }
    fprintf(stderr, ")\n");
}

static bool ends_in_lua(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".lua") == 0;
}

const char *host_script_find(const char *name)
{
    struct stat info;
    int error = stat(name, &info) == 0 ? (S_ISDIR(info.st_mode) ? EISDIR : 0) : errno;
    if (error == 0) {
        return name;
    }
    static char path[PATH_MAX + NAME_MAX];
    bool is_path = strchr(name, '/') || name[0] == '\0', is_file_name = ends_in_lua(name);
    snprintf(path, sizeof path, "%s/%s%s", host_scripts_dir(), name, is_file_name ? "" : ".lua");
    if (!is_path && access(path, F_OK) == 0) {
        return path;
    }
    if (is_path || is_file_name) {
        fprintf(stderr, HOST_NAME ": %s: %s\n", name, strerror(error));
    } else {
        print_unknown(name);
    }
    return NULL;
}
