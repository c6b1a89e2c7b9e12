/* files.h - a folder of their own for the tests that write files, and words to look at it. */
#ifndef FASC_TEST_FILES_H
#define FASC_TEST_FILES_H

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

static char test_folder[] = "/tmp/fasc-test-XXXXXX";

static inline void remove_test_folder(void)
{
    DIR *dir = opendir(test_folder);
    struct dirent *entry;
    char path[512];
    while (dir && (entry = readdir(dir))) {
        snprintf(path, sizeof path, "%s/%.255s", test_folder, entry->d_name);
        remove(path);
    }
    if (dir) {
        closedir(dir);
    }
    rmdir(test_folder);
}

/* "FOLDER/name"; valid as long as the program runs, which uses at most 64 names. The folder goes
 * when it ends. */
static inline const char *test_path(const char *name)
{
    static char paths[64][320];
    char path[320];
    size_t i = 0;
    if (!paths[0][0]) {
        CHECK(mkdtemp(test_folder) != NULL, "cannot make %s", test_folder);
        atexit(remove_test_folder);
    }
    snprintf(path, sizeof path, "%s/%.255s", test_folder, name);
    while (i < 63 && paths[i][0] && strcmp(paths[i], path) != 0) {
        i++;
    }
    return strcpy(paths[i], path);
}

static inline const char *write_bytes(const char *name, const void *bytes, size_t count)
{
    const char *path = test_path(name);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, count, f) == count, "cannot write %s", path);
    if (f) {
        fclose(f);
    }
    return path;
}

/* A file's bytes, to be freed; *count = -1 where there is none. */
static inline unsigned char *read_bytes(const char *path, long *count)
{
    FILE *f = fopen(path, "rb");
    unsigned char *bytes = NULL;
    *count = -1;
    if (f) {
        fseek(f, 0, SEEK_END);
        *count = ftell(f);
        rewind(f);
        bytes = malloc((size_t)*count + 1);
        if (fread(bytes, 1, (size_t)*count, f) != (size_t)*count) {
            *count = -1;
        }
        fclose(f);
    }
    return bytes;
}

/* A file that makes a wrong claim, and what is said of it. */
typedef struct refused_file {
    const char *name; /* what is wrong */
    const char *header;
    size_t data; /* bytes behind the header */
    const char *message;
} refused_file;

/* Opening the file that make(header, data) writes fails with the message, its path and an offset.
 */
static inline void check_refused(const refused_file *list, size_t count,
                                 const char *(*make)(const char *header, size_t data))
{
    for (const refused_file *r = list; r < list + count; r++) {
        fasc_file *file = NULL;
        const char *path = make(r->header, r->data);
        fasc_status status = fasc_file_open(path, &file);
        const char *message = fasc_last_error();
        CHECK(status == FASC_EFORMAT, "%s: %s", r->name, fasc_status_name(status));
        CHECK(strstr(message, r->message), "%s: '%s' lacks '%s'", r->name, message, r->message);
        CHECK(strstr(message, path) && strstr(message, ": byte "),
              "%s: '%s' names no path or no offset", r->name, message);
        fasc_file_close(file);
    }
}

static inline int same_bytes(const char *a, const char *b)
{
    long m, n;
    unsigned char *x = read_bytes(a, &m), *y = read_bytes(b, &n);
    int same = m >= 0 && m == n && memcmp(x, y, (size_t)m) == 0;
    free(x);
    free(y);
    return same;
}

/* Files in the test folder: what a failed write left behind would show here. */
static inline int count_files(void)
{
    DIR *dir = opendir(test_folder);
    int count = 0;
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        count += entry->d_name[0] != '.';
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

/* A full disk: no file of this process may grow past `bytes`; RLIM_INFINITY ends it. */
static inline void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
}

/* From here on the process can get `bytes` more memory than it has; 0 ends it. An allocation by a
 * file's promise then fails instead of costing nothing until it is touched. AddressSanitizer
 * reserves address space as it runs, so there the limit is left alone. */
static inline void limit_memory(rlim_t bytes)
{
#ifndef __SANITIZE_ADDRESS__
    struct rlimit limit;
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%lu", &pages) == 1, "cannot read /proc/self/statm");
    if (f) {
        fclose(f);
    }
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = bytes ? (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + bytes : limit.rlim_max;
    setrlimit(RLIMIT_AS, &limit);
#else
    (void)bytes;
#endif
}

#endif
