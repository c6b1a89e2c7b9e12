/* npz_write.c - writes .npz: a zip archive with a .npy member for each tensor. libzip asks for the
 * members' bytes one member after another, so that at most one tensor is copied at a time, and
 * writes into the file that takes the old one's place at the end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "atomic_write.h"
#include "npy.h"
#include "text.h"
#include "validate.h"

#define CALL   "save_npz"
#define SUFFIX ".npy"

/* The first moment that zip's clock knows, as numpy writes it: the same input, the same bytes. */
#define DOS_DATE 0x21

#define DEFLATE_LEVEL 6 /* zlib's own choice; libzip's is 9, which takes far longer for little */

/* ---- a member's bytes ------------------------------------------------------------------- */

typedef struct member {
    const fasc_tensor *tensor;
    fasc_status status; /* what failed while it was asked for its bytes */
    char message[FASC_NPY_HEADER];
    char header[FASC_NPY_HEADER];
    size_t header_bytes;
    fasc_tensor *copy; /* contiguous and on the CPU; NULL where the tensor is so itself */
    const char *data;
    uint64_t data_bytes, at;
    zip_error_t error;
} member;

static int64_t fail_member(member *m, fasc_status status)
{
    m->status = status;
    snprintf(m->message, sizeof m->message, "%s", fasc_last_error());
    zip_error_set(&m->error, ZIP_ER_READ, EIO);
    return -1;
}

static int64_t open_member(member *m)
{
    const fasc_tensor *t = m->tensor;
    m->at = 0;
    m->data = t->data;
    if (t->storage->device->backend != &fasc_cpu_backend || !fasc_tensor_is_contiguous(t)) {
        fasc_device *cpu;
        fasc_status status = fasc_device_open("cpu", &cpu);
        if (status == FASC_OK) {
            status = fasc_tensor_empty(cpu, t->dtype, t->rank, t->shape, &m->copy);
        }
        if (status == FASC_OK && t->numel > 0) {
            status = fasc_tensor_copy(t, m->copy);
        }
        if (status != FASC_OK) {
            return fail_member(m, status);
        }
        m->data = m->copy->data;
    }
    return 0;
}

static int64_t read_member(member *m, char *to, uint64_t length)
{
    uint64_t done = 0;
    if (fasc_cancel_requested()) {
        return fail_member(m, fasc_fail(FASC_ECANCELED, CALL ": canceled"));
    }
    if (m->at < m->header_bytes) {
        uint64_t left = m->header_bytes - m->at;
        done = left < length ? left : length;
        memcpy(to, m->header + m->at, done);
        m->at += done;
    }
    uint64_t begin = m->at - m->header_bytes, left = m->data_bytes - begin;
    uint64_t more = left < length - done ? left : length - done;
    if (m->at >= m->header_bytes && more > 0) {
        memcpy(to + done, m->data + begin, more);
        m->at += more;
        done += more;
    }
    return (int64_t)done;
}

static void close_member(member *m)
{
    fasc_tensor_free(m->copy);
    m->copy = NULL;
}

static zip_int64_t member_source(void *context, void *data, zip_uint64_t length,
                                 zip_source_cmd_t command)
{
    member *m = context;
    zip_stat_t *st = data;
    switch (command) {
    case ZIP_SOURCE_OPEN:
        return open_member(m);
    case ZIP_SOURCE_READ:
        return read_member(m, data, length);
    case ZIP_SOURCE_CLOSE:
        close_member(m);
        return 0;
    case ZIP_SOURCE_STAT:
        zip_stat_init(st);
        st->size = m->header_bytes + m->data_bytes;
        st->valid = ZIP_STAT_SIZE;
        return sizeof *st;
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&m->error, data, length);
    case ZIP_SOURCE_FREE:
        return 0;
    case ZIP_SOURCE_SUPPORTS:
        return ZIP_SOURCE_SUPPORTS_READABLE;
    default:
        zip_error_set(&m->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

/* ---- the archive's bytes ---------------------------------------------------------------- */

typedef struct sink {
    fasc_atomic_file *file;
    fasc_status status; /* of a failed write */
    off_t end;          /* bytes written so far */
    zip_error_t error;
} sink;

static int64_t write_sink(sink *s, const void *data, uint64_t length)
{
    s->status = fasc_atomic_write(s->file, data, length);
    if (s->status != FASC_OK) {
        zip_error_set(&s->error, ZIP_ER_WRITE, EIO);
        return -1;
    }
    off_t at = ftello(fasc_atomic_stream(s->file));
    s->end = at > s->end ? at : s->end;
    return (int64_t)length;
}

static int64_t seek_sink(sink *s, void *data, uint64_t length)
{
    FILE *stream = fasc_atomic_stream(s->file);
    zip_uint64_t at = (zip_uint64_t)ftello(stream);
    zip_int64_t target =
        zip_source_seek_compute_offset(at, (zip_uint64_t)s->end, data, length, &s->error);
    if (target < 0) {
        return -1;
    }
    if (fseeko(stream, (off_t)target, SEEK_SET) != 0) {
        zip_error_set(&s->error, ZIP_ER_SEEK, errno);
        return -1;
    }
    return 0;
}

static zip_int64_t sink_source(void *context, void *data, zip_uint64_t length,
                               zip_source_cmd_t command)
{
    sink *s = context;
    switch (command) {
    case ZIP_SOURCE_STAT: /* there is nothing yet */
        zip_error_set(&s->error, ZIP_ER_READ, ENOENT);
        return -1;
    case ZIP_SOURCE_WRITE:
        return write_sink(s, data, length);
    case ZIP_SOURCE_SEEK_WRITE:
        return seek_sink(s, data, length);
    case ZIP_SOURCE_TELL_WRITE:
        return ftello(fasc_atomic_stream(s->file));
    case ZIP_SOURCE_BEGIN_WRITE:
    case ZIP_SOURCE_COMMIT_WRITE:
    case ZIP_SOURCE_ROLLBACK_WRITE:
    case ZIP_SOURCE_REMOVE:
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
        return 0;
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&s->error, data, length);
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
            ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_BEGIN_WRITE,
            ZIP_SOURCE_COMMIT_WRITE, ZIP_SOURCE_ROLLBACK_WRITE, ZIP_SOURCE_SEEK_WRITE,
            ZIP_SOURCE_TELL_WRITE, ZIP_SOURCE_WRITE, ZIP_SOURCE_REMOVE, -1);
    default:
        zip_error_set(&s->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

/* ---- writing ------------------------------------------------------------------------------ */

static fasc_status zip_failed(zip_error_t *error)
{
    return fasc_fail(FASC_EIO, CALL ": %s", zip_error_strerror(error));
}

/* What libzip reports of a failure is less than those who failed have to say. */
static fasc_status why(zip_error_t *error, const sink *s, const member *members, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        if (members[i].status != FASC_OK) {
            return fasc_fail(members[i].status, "%s", members[i].message);
        }
    }
    return s->status != FASC_OK ? s->status : zip_failed(error);
}

static fasc_status add_member(zip_t *zip, const char *name, member *m, int32_t deflate)
{
    size_t room = strlen(name) + sizeof SUFFIX;
    char *file_name = malloc(room);
    zip_source_t *source = zip_source_function(zip, member_source, m);
    if (!file_name || !source) {
        zip_source_free(source);
        free(file_name);
        return fasc_fail(FASC_ENOMEM, CALL ": no memory for a member's record");
    }
    snprintf(file_name, room, "%s" SUFFIX, name);
    zip_int64_t index = zip_file_add(zip, file_name, source, ZIP_FL_ENC_UTF_8);
    free(file_name);
    if (index < 0) {
        zip_source_free(source);
        return zip_failed(zip_get_error(zip));
    }
    if (zip_set_file_compression(zip, (zip_uint64_t)index, deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE,
                                 0) != 0 ||
        zip_file_set_dostime(zip, (zip_uint64_t)index, 0, DOS_DATE, 0) != 0) {
        return zip_failed(zip_get_error(zip));
    }
    return FASC_OK;
}

static fasc_status write_archive(fasc_atomic_file *file, int32_t count, const char *const *names,
                                 member *members, int32_t deflate)
{
    sink s = {.file = file};
    zip_error_t error;
    zip_error_init(&error);
    zip_error_init(&s.error);
    zip_source_t *target = zip_source_function_create(sink_source, &s, &error);
    zip_t *zip = target ? zip_open_from_source(target, ZIP_CREATE | ZIP_TRUNCATE, &error) : NULL;
    if (!zip) {
        fasc_status status = zip_failed(&error);
        zip_source_free(target);
        zip_error_fini(&error);
        return status;
    }
    fasc_status status = FASC_OK;
    for (int32_t i = 0; i < count && status == FASC_OK; i++) {
        status = add_member(zip, names[i], &members[i], deflate);
    }
    if (status == FASC_OK && count == 0) { /* libzip writes no empty archive */
        status = fasc_atomic_write(file, "PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);
    } else if (status == FASC_OK && zip_close(zip) == 0) {
        zip = NULL;
    } else if (status == FASC_OK) {
        status = why(zip_get_error(zip), &s, members, count);
    }
    if (zip) {
        zip_discard(zip);
    }
    zip_error_fini(&error);
    return status;
}

static fasc_status check_names(int32_t count, const char *const *names,
                               const fasc_tensor *const *tensors)
{
    char shown[96];
    fasc_status status = FASC_OK;
    if (count < 0) {
        return fasc_fail(FASC_EINVAL, CALL ": count: %d is negative", count);
    }
    if (count > 0 && (!names || !tensors)) {
        return fasc_check_pointer(CALL, names ? "tensors" : "names", NULL);
    }
    for (int32_t i = 0; i < count && status == FASC_OK; i++) {
        status = fasc_check_pointer(CALL, "names", names[i]);
        if (status == FASC_OK) {
            status = fasc_check_pointer(CALL, "tensors", tensors[i]);
        }
        if (status == FASC_OK && !fasc_utf8_valid(names[i])) {
            status = fasc_fail(FASC_EINVAL, CALL ": names: '%s' is no UTF-8",
                               fasc_escape(shown, sizeof shown, names[i]));
        }
        for (int32_t j = 0; j < i && status == FASC_OK; j++) {
            if (strcmp(names[i], names[j]) == 0) {
                status = fasc_fail(FASC_EINVAL, CALL ": names: '%s' is given twice",
                                   fasc_escape(shown, sizeof shown, names[i]));
            }
        }
    }
    return status;
}

static fasc_status prepare(int32_t count, const char *const *names,
                           const fasc_tensor *const *tensors, member *members)
{
    for (int32_t i = 0; i < count; i++) {
        member *m = &members[i];
        char shown[96];
        *m = (member){.tensor = tensors[i]};
        zip_error_init(&m->error);
        m->data_bytes = (uint64_t)tensors[i]->numel * fasc_dtype_size(tensors[i]->dtype);
        fasc_status status = fasc_npy_write_header(CALL, fasc_escape(shown, sizeof shown, names[i]),
                                                   tensors[i], m->header, &m->header_bytes);
        if (status != FASC_OK) {
            return status;
        }
    }
    return FASC_OK;
}

fasc_status fasc_save_npz(const char *path, int32_t count, const char *const *names,
                          const fasc_tensor *const *tensors, int32_t deflate)
{
    fasc_atomic_file *file;
    fasc_status status = check_names(count, names, tensors);
    if (status != FASC_OK) {
        return status;
    }
    member *members = malloc(((size_t)count + 1) * sizeof *members);
    if (!members) {
        return fasc_fail(FASC_ENOMEM, CALL ": no memory for %d members", count);
    }
    status = prepare(count, names, tensors, members);
    if (status == FASC_OK) {
        status = fasc_atomic_open(CALL, path, &file);
    }
    if (status == FASC_OK) {
        status = fasc_atomic_close(file, write_archive(file, count, names, members, deflate));
    }
    free(members);
    return status;
}
