/* npz.c - reads .npz: a zip archive of .npy members, stored or deflated. libzip reads the archive;
 * nothing of it ever becomes a path, and no member is inflated past what both the archive's
 * directory and its own npy header promise. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "file.h"
#include "text.h"

#define SUFFIX        ".npy"
#define MAX_MEMBERS   1000000
#define DEFLATE_RATIO 1032 /* no deflate stream inflates to more: 258 bytes of 2 bits */
#define SAME_NAME     "two members have one name"
#define LOCAL_HEADER  30 /* bytes that stand before a member's name and data, at least */

/* libzip's archives serve one thread at a time. */
struct fasc_npz {
    zip_t *zip;
    pthread_mutex_t lock;
};

void fasc_npz_close(fasc_npz *npz)
{
    if (npz) {
        zip_discard(npz->zip);
        pthread_mutex_destroy(&npz->lock);
        free(npz);
    }
}

/* ---- members as bytes --------------------------------------------------------------- */

fasc_status fasc_npz_reader_open(fasc_file_reader *reader, uint64_t member)
{
    fasc_npz *npz = reader->file->npz;
    pthread_mutex_lock(&npz->lock);
    reader->member = zip_fopen_index(npz->zip, member, 0);
    if (!reader->member) {
        fasc_status status =
            fasc_fail(FASC_EFORMAT, "%s: %s: member %" PRIu64 ": %s", reader->call,
                      reader->file->shown, member, zip_error_strerror(zip_get_error(npz->zip)));
        pthread_mutex_unlock(&npz->lock);
        return status;
    }
    return FASC_OK;
}

static fasc_status bad_member(const fasc_file_reader *reader, const char *what)
{
    const fasc_file *file = reader->file;
    return *file->member ? fasc_fail(FASC_EFORMAT, "%s: %s: member '%s': byte %" PRId64 ": %s",
                                     reader->call, file->shown, file->member, reader->at, what)
                         : fasc_fail(FASC_EFORMAT, "%s: %s: byte %" PRId64 " of a member: %s",
                                     reader->call, file->shown, reader->at, what);
}

fasc_status fasc_npz_reader_next(fasc_file_reader *reader, void *dst, int64_t bytes)
{
    const int64_t piece = 4 << 20; /* between two looks at the cancel flag */
    char *to = dst;
    while (bytes > 0) {
        if (fasc_cancel_requested()) {
            return fasc_fail(FASC_ECANCELED, "%s: %s: canceled", reader->call, reader->file->shown);
        }
        int64_t got = zip_fread(reader->member, to, (zip_uint64_t)(bytes < piece ? bytes : piece));
        if (got <= 0) {
            return bad_member(reader, got == 0 ? "its data ends here, before what it promises"
                                               : zip_file_strerror(reader->member));
        }
        to += got;
        bytes -= got;
    }
    return FASC_OK;
}

fasc_status fasc_npz_reader_close(fasc_file_reader *reader, fasc_status status, bool whole)
{
    char more;
    if (status == FASC_OK && whole) {
        int64_t got = zip_fread(reader->member, &more, 1); /* at its end libzip compares the CRC */
        if (got != 0) {
            status = bad_member(reader, got > 0 ? "it inflates to more than it promises"
                                                : zip_file_strerror(reader->member));
        }
    }
    zip_fclose(reader->member);
    pthread_mutex_unlock(&reader->file->npz->lock);
    return status;
}

/* ---- the directory -------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static fasc_status bad_archive(const fasc_file *file, const char *format, ...)
{
    char what[384];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    return *file->member ? fasc_fail(FASC_EFORMAT, "file_open: %s: member '%s': %s", file->shown,
                                     file->member, what)
                         : fasc_fail(FASC_EFORMAT, "file_open: %s: byte 0: %s", file->shown, what);
}

static fasc_status check_name(const fasc_file *file, const char *name)
{
    if (ends_with(name, "data.pkl")) {
        char line[640];
        snprintf(line, sizeof line, FASC_FILE_PICKLE, file->shown);
        return fasc_fail(FASC_EFORMAT, "file_open: %s: holds %s", file->shown, line);
    }
    return ends_with(name, SUFFIX) ? FASC_OK
                                   : bad_archive(file, "is no " SUFFIX ", as all of an npz are");
}

/* The sizes that the directory gives must be possible before anything is allocated by them. `room`
 * is what the members' data may still take of the file: members that share their bytes, as a zip
 * bomb's do, need more than there is. */
static fasc_status check_sizes(const fasc_file *file, const zip_stat_t *st, int64_t *room)
{
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_INDEX | ZIP_STAT_SIZE |
                                ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD |
                                ZIP_STAT_ENCRYPTION_METHOD;
    if ((st->valid & needed) != needed) {
        return bad_archive(file, "the directory does not describe it");
    }
    if (st->encryption_method != ZIP_EM_NONE) {
        return bad_archive(file, "is encrypted");
    }
    if (st->comp_method != ZIP_CM_STORE && st->comp_method != ZIP_CM_DEFLATE) {
        return bad_archive(file, "compression method %d; fasc reads stored and deflated ones",
                           st->comp_method);
    }
    if (st->comp_size > (zip_uint64_t)*room) {
        return bad_archive(file, "its %" PRIu64 " bytes and those before it are more than the file",
                           st->comp_size);
    }
    *room -= (int64_t)st->comp_size;
    if (st->comp_method == ZIP_CM_STORE ? st->size != st->comp_size
                                        : st->size / DEFLATE_RATIO > st->comp_size) {
        return bad_archive(file, "%" PRIu64 " bytes cannot become the %" PRIu64 " it promises",
                           st->comp_size, st->size);
    }
    return FASC_OK;
}

static fasc_status read_member(fasc_file *file, zip_uint64_t number, int64_t *room)
{
    zip_stat_t st;
    fasc_file_reader reader;
    if (zip_stat_index(file->npz->zip, number, 0, &st) != 0) {
        return bad_archive(file, "member %" PRIu64 ": %s", (uint64_t)number,
                           zip_error_strerror(zip_get_error(file->npz->zip)));
    }
    fasc_escape(file->member, sizeof file->member, st.name);
    fasc_status status = check_name(file, st.name);
    if (status == FASC_OK) {
        status = check_sizes(file, &st, room);
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_file_entry *entry = &file->entries[file->count];
    entry->member = number;
    entry->info.name = strndup(st.name, strlen(st.name) - strlen(SUFFIX));
    if (!entry->info.name) {
        return fasc_file_no_memory(file, strlen(st.name), "a tensor's name");
    }
    file->count++;
    status = fasc_file_reader_open(&reader, file, "file_open", number);
    if (status == FASC_OK) {
        status = fasc_npy_header(file, &reader, (int64_t)st.size, entry);
        status = fasc_file_reader_close(&reader, status, false);
    }
    file->member[0] = '\0';
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Two readers that resolve a duplicate differently see two files. libzip finds those with the same
 * bytes for a name; two spellings can still be the same text. */
static fasc_status check_duplicates(const fasc_file *file)
{
    const char **names = malloc(((size_t)file->count + 1) * sizeof *names);
    fasc_status status = FASC_OK;
    if (!names) {
        return fasc_file_no_memory(file, (size_t)file->count * sizeof *names, "names");
    }
    for (int32_t i = 0; i < file->count; i++) {
        names[i] = file->entries[i].info.name;
    }
    qsort(names, (size_t)file->count, sizeof *names, by_name);
    for (int32_t i = 1; i < file->count && status == FASC_OK; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            char shown[96];
            status = bad_archive(file, SAME_NAME ": '%s" SUFFIX "'",
                                 fasc_escape(shown, sizeof shown, names[i]));
        }
    }
    free(names);
    return status;
}

static fasc_status open_archive(fasc_file *file)
{
    int code = 0, fd = dup(file->fd); /* libzip closes its own */
    file->npz = calloc(1, sizeof *file->npz);
    if (!file->npz || fd < 0) {
        int error = errno;
        close(fd);
        free(file->npz);
        file->npz = NULL;
        return fasc_fail(FASC_EIO, "file_open: %s: %s", file->shown, strerror(error));
    }
    file->npz->zip = zip_fdopen(fd, ZIP_CHECKCONS, &code);
    if (!file->npz->zip) {
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        fasc_status status =
            code == ZIP_ER_EXISTS
                ? bad_archive(file, SAME_NAME)
                : bad_archive(file,
                              "a zip archive, as .npz and PyTorch's .pt are, but not a whole one: "
                              "%s",
                              zip_error_strerror(&error));
        zip_error_fini(&error);
        close(fd);
        free(file->npz);
        file->npz = NULL;
        return status;
    }
    pthread_mutex_init(&file->npz->lock, NULL);
    return FASC_OK;
}

fasc_status fasc_npz_open(fasc_file *file)
{
    fasc_status status = open_archive(file);
    if (status != FASC_OK) {
        return status;
    }
    int64_t count = zip_get_num_entries(file->npz->zip, 0);
    int64_t room = file->bytes - count * LOCAL_HEADER;
    if (count > MAX_MEMBERS || room < 0) {
        return bad_archive(file, "%" PRId64 " members, more than the file can hold (or than %d)",
                           count, MAX_MEMBERS);
    }
    file->entries = calloc((size_t)count + 1, sizeof *file->entries);
    if (!file->entries) {
        return fasc_file_no_memory(file, (size_t)count * sizeof *file->entries, "tensor records");
    }
    for (int64_t i = 0; i < count && status == FASC_OK; i++) {
        status = read_member(file, (zip_uint64_t)i, &room);
    }
    return status == FASC_OK ? check_duplicates(file) : status;
}
