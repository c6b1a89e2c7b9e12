/* atomic_write.c - a file that appears whole or not at all. */
#include "atomic_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

struct fasc_atomic_file {
    const char *call;
    char *path; /* where it will stand, links followed */
    char *temporary;
    FILE *stream;
};

static fasc_status io_error(const char *call, const char *path, int error)
{
    char shown[256];
    return fasc_fail(FASC_EIO, "%s: %s: %s", call, fasc_escape(shown, sizeof shown, path),
                     strerror(error));
}

static void discard(fasc_atomic_file *file)
{
    if (file->stream) {
        fclose(file->stream);
    }
    if (file->temporary) {
        unlink(file->temporary);
    }
    free(file->temporary);
    free(file->path);
    free(file);
}

/* A new file beside the path, under a name that no other process or thread uses. */
static fasc_status create(fasc_atomic_file *file, const char *path, mode_t mode, bool exists)
{
    static atomic_uint serial;
    size_t room = strlen(file->path) + 48;
    char *name = malloc(room);
    int fd = -1;
    if (!name) {
        return io_error(file->call, path, ENOMEM);
    }
    do {
        snprintf(name, room, "%s.tmp-%ld-%u", file->path, (long)getpid(),
                 atomic_fetch_add(&serial, 1));
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EEXIST);
    if (fd < 0) {
        int error = errno;
        free(name);
        return io_error(file->call, path, error);
    }
    file->temporary = name;
    if (exists && fchmod(fd, mode & 0777) != 0) {
        int error = errno;
        close(fd);
        return io_error(file->call, path, error);
    }
    file->stream = fdopen(fd, "wb");
    if (!file->stream) {
        close(fd);
        return io_error(file->call, path, ENOMEM);
    }
    return FASC_OK;
}

fasc_status fasc_atomic_open(const char *call, const char *path, fasc_atomic_file **file)
{
    struct stat st;
    char shown[256];
    if (!path || !*path) {
        return fasc_fail(FASC_EINVAL, "%s: path: is %s", call, path ? "empty" : "NULL");
    }
    bool exists = stat(path, &st) == 0;
    if (exists && !S_ISREG(st.st_mode)) {
        return fasc_fail(FASC_EIO, "%s: %s: is %s, not a regular file", call,
                         fasc_escape(shown, sizeof shown, path),
                         S_ISDIR(st.st_mode) ? "a directory" : "a device, pipe or socket");
    }
    fasc_atomic_file *f = calloc(1, sizeof *f);
    if (!f) {
        return io_error(call, path, ENOMEM);
    }
    f->call = call;
    f->path = exists ? realpath(path, NULL) : strdup(path);
    fasc_status status =
        f->path ? create(f, path, st.st_mode, exists) : io_error(call, path, errno);
    if (status != FASC_OK) {
        discard(f);
        return status;
    }
    *file = f;
    return FASC_OK;
}

fasc_status fasc_atomic_write(fasc_atomic_file *file, const void *data, size_t bytes)
{
    if (bytes > 0 && fwrite(data, 1, bytes, file->stream) != bytes) {
        return io_error(file->call, file->path, errno);
    }
    return FASC_OK;
}

FILE *fasc_atomic_stream(fasc_atomic_file *file)
{
    return file->stream;
}

fasc_status fasc_atomic_close(fasc_atomic_file *file, fasc_status status)
{
    if (status == FASC_OK) {
        /* What is still buffered may be what finds the disk full. */
        int failed = fclose(file->stream);
        file->stream = NULL;
        if (failed || rename(file->temporary, file->path) != 0) {
            status = io_error(file->call, file->path, errno);
        } else {
            free(file->temporary);
            file->temporary = NULL;
        }
    }
    discard(file);
    return status;
}
