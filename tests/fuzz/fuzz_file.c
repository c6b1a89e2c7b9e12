/* fuzz_file.c - any bytes as a file: it is refused, or all that it offers can be read. Built by
 * clang with -DFASC_FUZZ=ON (see CMakeLists.txt); run as
 *
 *     build/fuzz/bin/fuzz_file -max_len=4096 -dict=tests/fuzz/file.dict CORPUS_DIR
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fasc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "%s: %s\n", what, fasc_last_error());
        abort();
    }
}

static void read_all(fasc_file *file)
{
    const char *key, *value;
    for (int32_t i = 0; i < fasc_file_tensor_count(file); i++) {
        fasc_file_tensor info = {.size = sizeof info};
        fasc_tensor *t = NULL;
        fasc_status status = fasc_file_tensor_info(file, i, &info);
        check(status == FASC_OK && info.name, "a tensor is listed without a description");
        status = fasc_file_read(file, i, &t);
        check(status == (info.dtype ? FASC_OK : FASC_EUNSUPPORTED), "a tensor is not read");
        if (t) {
            fasc_summary summary = {.size = sizeof summary};
            check(fasc_tensor_summarize(t, &summary) == FASC_OK, "its elements cannot be seen");
        }
        fasc_tensor_free(t);
    }
    for (int32_t i = 0; fasc_file_metadata(file, i, &key, &value) == FASC_OK; i++) {
        check(key && value, "metadata is listed without text");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    fasc_file *file = NULL;
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        fasc_set_num_threads(1);
    }
    check(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size, "no file");
    fasc_status status = fasc_file_open(path, &file);
    check(status == FASC_OK || status == FASC_EFORMAT || status == FASC_EUNSUPPORTED,
          "opening failed for another reason than the file");
    if (status == FASC_OK) {
        read_all(file);
        fasc_file_close(file);
    }
    return 0;
}
