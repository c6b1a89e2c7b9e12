/* atomic_write.h - a file that appears whole or not at all: written beside its path under a
 * temporary name, then renamed over it. Whatever fails, the old file stays as it was and the
 * temporary one is gone. Errors are FASC_EIO: "call: PATH: reason". */
#ifndef FASC_IO_ATOMIC_WRITE_H
#define FASC_IO_ATOMIC_WRITE_H

#include <stdio.h>

#include "backend.h"

typedef struct fasc_atomic_file fasc_atomic_file;

/* call is the public call's name, for messages; it must outlive the file. A symbolic link is
 * followed, an existing file's permissions are kept, and what is no regular file is refused. */
fasc_status fasc_atomic_open(const char *call, const char *path, fasc_atomic_file **file);

fasc_status fasc_atomic_write(fasc_atomic_file *file, const void *data, size_t bytes);

/* Where its bytes go, for those who must turn back and change some. */
FILE *fasc_atomic_stream(fasc_atomic_file *file);

/* Ends the file, which takes its place if status is FASC_OK and all was written; otherwise it is
 * removed. Returns status, or what failed here. */
fasc_status fasc_atomic_close(fasc_atomic_file *file, fasc_status status);

#endif
