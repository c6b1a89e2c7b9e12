/* cache.c - the files of the kernel cache. An entry: 8 bytes of magic, the payload's size, its
 * SHA-256, the payload. */
#include "cuda/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cuda/sha256.h"

typedef struct entry_head {
    char magic[8];
    uint64_t bytes;
    uint8_t digest[32];
} entry_head;

static const char MAGIC[8] = "fascjit1";

static void make_head(entry_head *head, const void *data, size_t bytes)
{
    memcpy(head->magic, MAGIC, sizeof MAGIC);
    head->bytes = bytes;
    fasc_sha256 sha;
    fasc_sha256_begin(&sha);
    fasc_sha256_add(&sha, data, bytes);
    fasc_sha256_end(&sha, head->digest);
}

/* False when the environment names no place. XDG: a path that is not absolute is to be ignored. */
static bool cache_folder(char *path, size_t room)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (xdg && xdg[0] == '/') {
        return (size_t)snprintf(path, room, "%s/fasc", xdg) < room;
    }
    return home && home[0] == '/' && (size_t)snprintf(path, room, "%s/.cache/fasc", home) < room;
}

/* mkdir -p; false with errno set. */
static bool make_folder(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        int rc = mkdir(path, 0700);
        *slash = '/';
        if (rc != 0 && errno != EEXIST && errno != EROFS && errno != EACCES) {
            return false;
        }
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static bool read_all(int fd, void *data, size_t bytes)
{
    for (char *at = data; bytes > 0;) {
        ssize_t n = read(fd, at, bytes);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return false;
        }
        at += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool write_all(int fd, const void *data, size_t bytes)
{
    for (const char *at = data; bytes > 0;) {
        ssize_t n = write(fd, at, bytes);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        at += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

fasc_cache_state fasc_cache_load(const char *key, void **data, size_t *bytes)
{
    char folder[3072], path[4096];
    if (!cache_folder(folder, sizeof folder)) {
        return FASC_CACHE_MISS;
    }
    snprintf(path, sizeof path, "%s/%s.cubin", folder, key);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return FASC_CACHE_MISS;
    }
    entry_head head, expected;
    struct stat st;
    fasc_cache_state state = FASC_CACHE_DAMAGED;
    void *payload = NULL;
    if (fstat(fd, &st) == 0 && read_all(fd, &head, sizeof head) &&
        st.st_size >= (off_t)sizeof head && head.bytes == (uint64_t)st.st_size - sizeof head &&
        (payload = malloc(head.bytes + 1)) && read_all(fd, payload, head.bytes)) {
        make_head(&expected, payload, head.bytes);
        state = memcmp(&head, &expected, sizeof head) == 0 ? FASC_CACHE_HIT : FASC_CACHE_DAMAGED;
    }
    close(fd);
    if (state == FASC_CACHE_HIT) {
        *data = payload;
        *bytes = head.bytes;
    } else {
        free(payload);
    }
    return state;
}

bool fasc_cache_store(const char *key, const void *data, size_t bytes, char *why, size_t room)
{
    char folder[3072], path[4096], temporary[4096];
    if (!cache_folder(folder, sizeof folder)) {
        snprintf(why, room, "neither XDG_CACHE_HOME nor HOME names a folder");
        return false;
    }
    if (!make_folder(folder)) {
        snprintf(why, room, "%s: %s", folder, strerror(errno));
        return false;
    }
    snprintf(path, sizeof path, "%s/%s.cubin", folder, key);
    snprintf(temporary, sizeof temporary, "%s/.new-XXXXXX", folder);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        snprintf(why, room, "%s: %s", folder, strerror(errno));
        return false;
    }
    entry_head head;
    make_head(&head, data, bytes);
    bool written = write_all(fd, &head, sizeof head) && write_all(fd, data, bytes);
    int error = errno;
    if (close(fd) != 0 && written) {
        written = false;
        error = errno;
    }
    if (written && rename(temporary, path) != 0) {
        written = false;
        error = errno;
    }
    if (!written) {
        unlink(temporary);
        snprintf(why, room, "%s: %s", folder, strerror(error));
    }
    return written;
}
