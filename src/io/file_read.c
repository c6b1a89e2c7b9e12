/* file_read.c - the data of a file's tensors: read into new memory, seen as another dtype, or
 * mapped. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file.h"
#include "memory.h"
#include "text.h"
#include "validate.h"

/* ---- bytes ------------------------------------------------------------------------ */

fasc_status fasc_file_pread(const fasc_file *file, const char *call, void *dst, int64_t offset,
                            int64_t bytes)
{
    const int64_t piece = 64 << 20; /* between two looks at the cancel flag */
    char *to = dst;
    while (bytes > 0) {
        if (fasc_cancel_requested()) {
            return fasc_fail(FASC_ECANCELED, "%s: %s: canceled", call, file->shown);
        }
        ssize_t got = pread(file->fd, to, (size_t)(bytes < piece ? bytes : piece), offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fasc_fail(FASC_EIO, "%s: %s: byte %" PRId64 ": %s", call, file->shown, offset,
                             strerror(errno));
        }
        if (got == 0) {
            return fasc_fail(FASC_EIO,
                             "%s: %s: byte %" PRId64 ": the file ends here; it had %" PRId64
                             " bytes when it was opened",
                             call, file->shown, offset, file->bytes);
        }
        to += got;
        offset += got;
        bytes -= got;
    }
    return FASC_OK;
}

fasc_status fasc_file_reader_open(fasc_file_reader *reader, const fasc_file *file, const char *call,
                                  uint64_t member)
{
    *reader = (fasc_file_reader){.file = file, .call = call};
    return file->npz ? fasc_npz_reader_open(reader, member) : FASC_OK;
}

fasc_status fasc_file_reader_next(fasc_file_reader *reader, void *dst, int64_t bytes)
{
    fasc_status status = reader->member
                             ? fasc_npz_reader_next(reader, dst, bytes)
                             : fasc_file_pread(reader->file, reader->call, dst, reader->at, bytes);
    reader->at += bytes;
    return status;
}

fasc_status fasc_file_reader_close(fasc_file_reader *reader, fasc_status status, bool whole)
{
    return reader->member ? fasc_npz_reader_close(reader, status, whole) : status;
}

/* ---- elements --------------------------------------------------------------------- */

static void swap_bytes(void *data, size_t element, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        unsigned char *p = (unsigned char *)data + (size_t)i * element;
        for (size_t a = 0, b = element - 1; a < b; a++, b--) {
            unsigned char keep = p[a];
            p[a] = p[b];
            p[b] = keep;
        }
    }
}

/* What is being read, for messages. */
typedef struct request {
    const char *call;
    const fasc_file *file;
    const fasc_file_entry *entry;
    fasc_dtype dtype; /* of the tensor */
    fasc_element element;
} request;

static fasc_status unsupported(const request *r, const char *format, ...)
{
    char name[96], what[256];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    return fasc_fail(FASC_EUNSUPPORTED, "%s: %s: tensor '%s': %s", r->call, r->file->shown,
                     fasc_escape(name, sizeof name, r->entry->info.name), what);
}

/* Through a buffer, since the file's elements are smaller than the tensor's. */
static fasc_status read_widened(const request *r, fasc_file_reader *reader, fasc_tensor *t)
{
    enum { PIECE = 4096 };
    char piece[PIECE * 8];
    size_t from = fasc_element_size(r->element, r->dtype), to = fasc_dtype_size(r->dtype);
    for (int64_t i = 0; i < t->numel; i += PIECE) {
        int64_t n = t->numel - i < PIECE ? t->numel - i : PIECE;
        fasc_status status = fasc_file_reader_next(reader, piece, n * (int64_t)from);
        if (status != FASC_OK) {
            return status;
        }
        if (r->entry->big_endian) {
            swap_bytes(piece, from, n);
        }
        int64_t done = fasc_element_widen(r->element, piece, n, t->data + (size_t)i * to);
        if (done < n) {
            return unsupported(r, "element %" PRId64 " is past %" PRId64 ", the largest of i64",
                               i + done, INT64_MAX);
        }
    }
    return FASC_OK;
}

static fasc_status read_same(const request *r, fasc_file_reader *reader, fasc_tensor *t)
{
    fasc_status status = fasc_file_reader_next(reader, t->data, r->entry->info.bytes);
    if (status == FASC_OK && r->entry->big_endian) {
        swap_bytes(t->data, fasc_dtype_size(t->dtype), t->numel);
    }
    return status;
}

/* Steps to the data: a file can be entered anywhere, a member only at its start. */
static fasc_status skip_header(const request *r, fasc_file_reader *reader)
{
    char passed[4096];
    int64_t offset = r->entry->info.offset;
    fasc_status status = FASC_OK;
    if (!reader->member) {
        reader->at = offset;
    }
    while (status == FASC_OK && reader->at < offset) {
        int64_t left = offset - reader->at, most = (int64_t)sizeof passed;
        status = fasc_file_reader_next(reader, passed, left < most ? left : most);
    }
    return status;
}

static fasc_status fill(const request *r, fasc_tensor *t)
{
    fasc_file_reader reader;
    fasc_status status = fasc_file_reader_open(&reader, r->file, r->call, r->entry->member);
    if (status != FASC_OK) {
        return status;
    }
    status = skip_header(r, &reader);
    if (status == FASC_OK) {
        status = r->element == FASC_ELEMENT_SAME ? read_same(r, &reader, t)
                                                 : read_widened(r, &reader, t);
    }
    return fasc_file_reader_close(&reader, status, true);
}

/* ---- tensors ---------------------------------------------------------------------- */

/* Column-major data keeps its order in memory: the strides say what it is. Without any element, and
 * then perhaps with dimensions whose product is past counting, the order does not matter. */
static const int64_t *strides_of(const fasc_file_entry *entry, int64_t stride[FASC_MAX_RANK])
{
    int64_t step = 1;
    if (!entry->fortran || entry->info.bytes == 0) {
        return NULL;
    }
    for (int32_t i = 0; i < entry->info.rank; i++) {
        stride[i] = step;
        step *= entry->info.shape[i];
    }
    return stride;
}

static fasc_status empty_like_file(const request *r, fasc_tensor **tensor)
{
    fasc_device *cpu;
    const fasc_file_tensor *info = &r->entry->info;
    int64_t buffer[FASC_MAX_RANK];
    const int64_t *stride = strides_of(r->entry, buffer);
    fasc_status status = fasc_device_open("cpu", &cpu);
    if (status != FASC_OK) {
        return status;
    }
    return stride
               ? fasc_tensor_empty_strided(cpu, r->dtype, info->rank, info->shape, stride, tensor)
               : fasc_tensor_empty(cpu, r->dtype, info->rank, info->shape, tensor);
}

static fasc_status begin(request *r, const char *call, const fasc_file *file, int32_t index,
                         fasc_tensor **tensor)
{
    fasc_status status = fasc_check_pointer(call, "file", file);
    if (status == FASC_OK && (index < 0 || index >= file->count)) {
        status = fasc_fail(FASC_EINVAL, "%s: index: %d; %s has %d tensors", call, index,
                           file->shown, file->count);
    }
    if (status == FASC_OK) {
        status = fasc_check_pointer(call, "tensor", tensor);
    }
    if (status != FASC_OK) {
        return status;
    }
    const fasc_file_entry *entry = &file->entries[index];
    *r = (request){.call = call,
                   .file = file,
                   .entry = entry,
                   .dtype = (fasc_dtype)entry->info.dtype,
                   .element = entry->element};
    return FASC_OK;
}

static fasc_status check_readable(const request *r)
{
    return r->dtype ? FASC_OK
                    : unsupported(r,
                                  "dtype %s is not one that fasc has (f16 bf16 f32 f64 i32 i64 u8) "
                                  "or widens to one",
                                  r->entry->info.dtype_name);
}

static fasc_status read_new(const request *r, fasc_tensor **tensor)
{
    fasc_tensor *t = NULL;
    fasc_status status = empty_like_file(r, &t);
    if (status == FASC_OK) {
        status = fill(r, t);
    }
    if (status != FASC_OK) {
        fasc_tensor_free(t);
        return status;
    }
    *tensor = t;
    return FASC_OK;
}

fasc_status fasc_file_read(fasc_file *file, int32_t index, fasc_tensor **tensor)
{
    request r;
    fasc_status status = begin(&r, "file_read", file, index, tensor);
    if (status == FASC_OK) {
        status = check_readable(&r);
    }
    return status == FASC_OK ? read_new(&r, tensor) : status;
}

fasc_status fasc_file_read_as(fasc_file *file, int32_t index, fasc_dtype dtype,
                              fasc_tensor **tensor)
{
    request r;
    int64_t bytes;
    fasc_status status = begin(&r, "file_read_as", file, index, tensor);
    if (status == FASC_OK && !fasc_dtype_name(dtype)) {
        status = fasc_fail(FASC_EINVAL, "%s: dtype: %d is no dtype", r.call, (int)dtype);
    }
    if (status != FASC_OK) {
        return status;
    }
    const fasc_file_tensor *info = &r.entry->info;
    if (!fasc_file_shape_bytes(info->rank, info->shape, 8 * (int64_t)fasc_dtype_size(dtype),
                               &bytes) ||
        bytes != info->bytes) {
        return unsupported(&r, "its elements of dtype %s are not the %zu bytes of %s",
                           info->dtype_name, fasc_dtype_size(dtype), fasc_dtype_name(dtype));
    }
    r.dtype = dtype;
    r.element = FASC_ELEMENT_SAME;
    return read_new(&r, tensor);
}

/* ---- mapping ---------------------------------------------------------------------- */

static fasc_status check_mappable(const request *r)
{
    const char *why = r->file->npz ? "an npz's tensors stand in a zip archive"
                      : r->element != FASC_ELEMENT_SAME
                          ? "its elements are widened as they are read"
                      : r->entry->big_endian ? "its elements are big-endian"
                      : r->entry->info.offset % (int64_t)fasc_dtype_size(r->dtype)
                          ? "its data is not aligned to its elements"
                          : NULL;
    return why ? unsupported(r, "it cannot be mapped, only read: %s", why) : FASC_OK;
}

/* Private and writable: what is written to the tensor goes to copies of the pages, never to the
 * file. Nothing is reserved for them, so that the file may be larger than the memory. */
fasc_status fasc_file_map(fasc_file *file, int32_t index, fasc_tensor **tensor)
{
    request r;
    fasc_device *cpu;
    fasc_tensor *t = NULL;
    int64_t buffer[FASC_MAX_RANK];
    fasc_status status = begin(&r, "file_map", file, index, tensor);
    if (status == FASC_OK) {
        status = check_readable(&r);
    }
    if (status == FASC_OK) {
        status = check_mappable(&r);
    }
    if (status == FASC_OK) {
        status = fasc_device_open("cpu", &cpu);
    }
    if (status != FASC_OK) {
        return status;
    }
    const fasc_file_tensor *info = &r.entry->info;
    if (info->bytes == 0) {
        return fasc_tensor_empty(cpu, r.dtype, info->rank, info->shape, tensor);
    }
    int64_t before = info->offset % sysconf(_SC_PAGESIZE);
    size_t bytes = (size_t)(before + info->bytes);
    char *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file->fd,
                       info->offset - before);
    if (pages == MAP_FAILED) {
        return fasc_fail(FASC_EIO, "%s: %s: byte %" PRId64 ": cannot map %zu bytes: %s", r.call,
                         file->shown, info->offset, bytes, strerror(errno));
    }
    status = fasc_tensor_wrap(cpu, r.dtype, info->rank, info->shape, strides_of(r.entry, buffer),
                              pages + before, &t);
    if (status != FASC_OK) {
        munmap(pages, bytes);
        return status;
    }
    fasc_storage_unmap_at_end(t->storage, pages, bytes);
    *tensor = t;
    return FASC_OK;
}
