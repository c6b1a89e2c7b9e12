/* file.c - fasc_file: opens a file by its content, describes its tensors and metadata. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"
#include "validate.h"

/* ---- what readers use --------------------------------------------------------- */

fasc_status fasc_file_bad(const fasc_file *file, int64_t offset, const char *format, ...)
{
    char what[512];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    if (*file->member) {
        return fasc_fail(FASC_EFORMAT, "file_open: %s: member '%s': byte %" PRId64 ": %s",
                         file->shown, file->member, offset, what);
    }
    return fasc_fail(FASC_EFORMAT, "file_open: %s: byte %" PRId64 ": %s", file->shown, offset,
                     what);
}

fasc_status fasc_file_no_memory(const fasc_file *file, size_t bytes, const char *what)
{
    return fasc_fail(FASC_ENOMEM, "file_open: %s: no memory for %zu bytes of %s", file->shown,
                     bytes, what);
}

bool fasc_file_shape_bytes(int32_t rank, const int64_t *shape, int64_t element_bits, int64_t *bytes)
{
    int64_t bits = element_bits;
    bool empty = false;
    for (int32_t i = 0; i < rank; i++) {
        empty = empty || shape[i] == 0;
        if (shape[i] > 0 && __builtin_mul_overflow(bits, shape[i], &bits)) {
            return false;
        }
    }
    *bytes = empty ? 0 : bits / 8;
    return empty || bits % 8 == 0;
}

/* ---- opening ------------------------------------------------------------------ */

/* A pickle is a program. PyTorch's files are pickles, today inside a zip archive (see npz.c). */
static fasc_status refuse_pickle(const fasc_file *file, const char *head, size_t head_bytes)
{
    if (head_bytes >= 2 && (unsigned char)head[0] == 0x80 && head[1] >= 2 && head[1] <= 5) {
        return fasc_file_bad(file, 0, FASC_FILE_PICKLE, file->shown);
    }
    return FASC_OK;
}

/* The magic of npy is its own; safetensors has none but the brace after its length, so it is
 * asked before the signatures that its length could look like, and again at the end, where its
 * reader says what is wrong. */
static fasc_status read_header(fasc_file *file)
{
    char head[FASC_FILE_HEAD] = {0};
    size_t n = file->bytes < FASC_FILE_HEAD ? (size_t)file->bytes : FASC_FILE_HEAD;
    fasc_status status = fasc_file_pread(file, "file_open", head, 0, (int64_t)n);
    if (status != FASC_OK) {
        return status;
    }
    if (n >= 6 && memcmp(head, "\x93NUMPY", 6) == 0) {
        file->format = "npy";
        return fasc_npy_open(file);
    }
    if (n < 9 || head[8] != '{') {
        if (n >= 4 && memcmp(head, "PK", 2) == 0 && (head[2] == 3 || head[2] == 5)) {
            file->format = "npz";
            return fasc_npz_open(file);
        }
        status = refuse_pickle(file, head, n);
    }
    if (status == FASC_OK) {
        file->format = "safetensors";
        status = fasc_safetensors_open(file, head, n);
    }
    return status;
}

/* The path for messages: of a very long one its end, which tells most. */
static char *shown_path(const char *path)
{
    const size_t room = 320, most = 240;
    size_t length = strlen(path);
    char *shown = malloc(room);
    if (shown) {
        const char *dots = length > most ? "..." : "";
        size_t used = (size_t)snprintf(shown, room, "%s", dots);
        fasc_escape(shown + used, room - used, path + (length > most ? length - most : 0));
    }
    return shown;
}

static fasc_status open_regular(fasc_file *file, const char *path)
{
    struct stat st;
    /* Without O_NONBLOCK the open of a named pipe would wait for a writer. */
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0 || fstat(file->fd, &st) != 0) {
        return fasc_fail(FASC_EIO, "file_open: %s: %s", file->shown, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return fasc_fail(FASC_EIO, "file_open: %s: is %s, not a regular file", file->shown,
                         S_ISDIR(st.st_mode) ? "a directory" : "a device, pipe or socket");
    }
    file->bytes = st.st_size;
    return FASC_OK;
}

fasc_status fasc_file_open(const char *path, fasc_file **file)
{
    if (!path || !file) {
        return fasc_check_pointer("file_open", path ? "file" : "path", NULL);
    }
    fasc_file *f = calloc(1, sizeof *f);
    if (f) {
        f->fd = -1;
        f->shown = shown_path(path);
    }
    if (!f || !f->shown) {
        fasc_file_close(f);
        return fasc_fail(FASC_ENOMEM, "file_open: no memory for a file's record");
    }
    fasc_status status = open_regular(f, path);
    if (status == FASC_OK) {
        status = read_header(f);
    }
    if (status != FASC_OK) {
        fasc_file_close(f);
        return status;
    }
    *file = f;
    return FASC_OK;
}

void fasc_file_close(fasc_file *file)
{
    if (!file) {
        return;
    }
    if (file->fd >= 0) {
        close(file->fd);
    }
    for (int32_t i = 0; i < file->count; i++) {
        free((char *)file->entries[i].info.name);
    }
    fasc_npz_close(file->npz);
    for (int32_t i = 0; i < 2 * file->pairs; i++) {
        free(file->metadata[i]);
    }
    free(file->entries);
    free(file->metadata);
    free(file->shown);
    free(file);
}

/* ---- looking ------------------------------------------------------------------ */

const char *fasc_file_format(const fasc_file *file)
{
    return file->format;
}

int32_t fasc_file_tensor_count(const fasc_file *file)
{
    return file->count;
}

static fasc_status check_index(const char *call, const fasc_file *file, int32_t index,
                               int32_t count, const char *what)
{
    if (!file) {
        return fasc_check_pointer(call, "file", file);
    }
    if (index < 0 || index >= count) {
        return fasc_fail(FASC_EINVAL, "%s: index: %d; %s has %d %s", call, index, file->shown,
                         count, what);
    }
    return FASC_OK;
}

fasc_status fasc_file_tensor_info(const fasc_file *file, int32_t index, fasc_file_tensor *info)
{
    fasc_status status =
        check_index("file_tensor_info", file, index, file ? file->count : 0, "tensors");
    if (status == FASC_OK) {
        status = fasc_check_struct("file_tensor_info", "info", info, sizeof *info);
    }
    if (status == FASC_OK) {
        *info = file->entries[index].info;
    }
    return status;
}

fasc_status fasc_file_metadata(const fasc_file *file, int32_t index, const char **key,
                               const char **value)
{
    fasc_status status =
        check_index("file_metadata", file, index, file ? file->pairs : 0, "metadata entries");
    if (status == FASC_OK && (!key || !value)) {
        status = fasc_check_pointer("file_metadata", key ? "value" : "key", NULL);
    }
    if (status == FASC_OK) {
        *key = file->metadata[2 * index];
        *value = file->metadata[2 * index + 1];
    }
    return status;
}
