/* safetensors.c - reads the header of a .safetensors file: 8 bytes of little-endian length N, N
 * bytes of JSON, then the data. Everything the header claims is checked here, before any of it is
 * used; the format is described at https://github.com/huggingface/safetensors. */
#include "safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "text.h"

/* Where one of ours has two names there, the first is the one that is written. */
static const fasc_safetensors_dtype DTYPES[] = {
    {"F16", 16, FASC_F16, FASC_ELEMENT_SAME},    {"BF16", 16, FASC_BF16, FASC_ELEMENT_SAME},
    {"F32", 32, FASC_F32, FASC_ELEMENT_SAME},    {"F64", 64, FASC_F64, FASC_ELEMENT_SAME},
    {"I32", 32, FASC_I32, FASC_ELEMENT_SAME},    {"I64", 64, FASC_I64, FASC_ELEMENT_SAME},
    {"U8", 8, FASC_U8, FASC_ELEMENT_SAME},       {"BOOL", 8, FASC_U8, FASC_ELEMENT_SAME},
    {"I8", 8, FASC_I32, FASC_ELEMENT_I8},        {"I16", 16, FASC_I32, FASC_ELEMENT_I16},
    {"U16", 16, FASC_I32, FASC_ELEMENT_U16},     {"U32", 32, FASC_I64, FASC_ELEMENT_U32},
    {"U64", 64, FASC_I64, FASC_ELEMENT_U64},     {"F8_E5M2", 8, FASC_F16, FASC_ELEMENT_E5M2},
    {"F8_E4M3", 8, FASC_F16, FASC_ELEMENT_E4M3}, {"C64", 64, 0, FASC_ELEMENT_SAME},
    {"F8_E8M0", 8, 0, FASC_ELEMENT_SAME},        {"F6_E2M3", 6, 0, FASC_ELEMENT_SAME},
    {"F6_E3M2", 6, 0, FASC_ELEMENT_SAME},        {"F4", 4, 0, FASC_ELEMENT_SAME},
};

const fasc_safetensors_dtype *fasc_safetensors_dtype_named(const char *name)
{
    for (size_t i = 0; i < sizeof DTYPES / sizeof *DTYPES; i++) {
        if (strcmp(DTYPES[i].name, name) == 0) {
            return &DTYPES[i];
        }
    }
    return NULL;
}

const char *fasc_safetensors_dtype_name(fasc_dtype dtype)
{
    for (size_t i = 0; i < sizeof DTYPES / sizeof *DTYPES; i++) {
        if (DTYPES[i].dtype == (int32_t)dtype) {
            return DTYPES[i].name;
        }
    }
    return NULL;
}

/* ---- one entry of the header ---------------------------------------------------- */

/* The header's bytes and the entry that is being read, for messages. */
typedef struct entry {
    const fasc_file *file;
    const char *header;
    int64_t header_bytes;
    int64_t number; /* of the key in the header's object */
    const char *key;
} entry;

/* Where the entry's key stands in the file. jansson keeps no positions of what it has accepted; as
 * it has accepted the header, strings, braces and commas are all there is to look at. */
static int64_t entry_offset(const entry *e)
{
    int64_t keys = 0;
    int depth = 0;
    bool expect_key = false;
    for (int64_t i = 0; i < e->header_bytes; i++) {
        char c = e->header[i];
        if (c == '"') {
            if (expect_key && keys++ == e->number) {
                return 8 + i;
            }
            expect_key = false;
            for (i++; e->header[i] != '"'; i++) {
                i += e->header[i] == '\\';
            }
        } else if (c == '{' || c == '[') {
            expect_key = ++depth == 1;
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == ',') {
            expect_key = depth == 1;
        }
    }
    return 8;
}

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static fasc_status
bad_entry(const entry *e, const char *format, ...)
{
    char name[96], what[320];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    return fasc_file_bad(e->file, entry_offset(e), "'%s': %s",
                         fasc_escape(name, sizeof name, e->key), what);
}

/* An array of whole numbers >= 0. */
static fasc_status read_sizes(const entry *e, const json_t *object, const char *field,
                              size_t capacity, int64_t *sizes, size_t *count)
{
    const json_t *array = json_object_get(object, field);
    if (!json_is_array(array)) {
        return bad_entry(e, "%s is %s", field, array ? "no array" : "missing");
    }
    *count = json_array_size(array);
    if (*count > capacity) {
        return bad_entry(e, "%s has %zu entries, at most %zu are allowed", field, *count, capacity);
    }
    for (size_t i = 0; i < *count; i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_integer(item)) {
            return bad_entry(e, "%s[%zu] is no whole number", field, i);
        }
        sizes[i] = json_integer_value(item);
        if (sizes[i] < 0) {
            return bad_entry(e, "%s[%zu] is negative: %" PRId64, field, i, sizes[i]);
        }
    }
    return FASC_OK;
}

/* The dtype's name, and the size that it and the shape ask for, against the offsets. A dtype that
 * is in no list leaves the size unknown, and nothing else unchecked. */
static fasc_status check_dtype(const entry *e, const json_t *object, int64_t bytes,
                               fasc_file_entry *into)
{
    fasc_file_tensor *t = &into->info;
    const char *name = json_string_value(json_object_get(object, "dtype"));
    int64_t by_shape;
    if (!name) {
        return bad_entry(e, "dtype is %s",
                         json_object_get(object, "dtype") ? "no string" : "missing");
    }
    const fasc_safetensors_dtype *known = fasc_safetensors_dtype_named(name);
    fasc_escape(t->dtype_name, sizeof t->dtype_name, name);
    t->dtype = known ? known->dtype : 0;
    into->element = known ? known->element : FASC_ELEMENT_SAME;
    if (!fasc_file_shape_bytes(t->rank, t->shape, known ? known->bits : 8, &by_shape)) {
        return bad_entry(e, "the shape's size in bytes %s",
                         known && known->bits < 8 ? "is no whole number or overflows"
                                                  : "overflows 63 bits");
    }
    if (known && by_shape != bytes) {
        return bad_entry(e, "shape and dtype %s make %" PRId64 " bytes, data_offsets span %" PRId64,
                         name, by_shape, bytes);
    }
    return FASC_OK;
}

static fasc_status read_entry(const entry *e, const json_t *object, fasc_file_entry *into)
{
    fasc_file_tensor *t = &into->info;
    int64_t data_start = 8 + e->header_bytes, data_bytes = e->file->bytes - data_start;
    int64_t span[2];
    size_t rank, ends;
    if (!json_is_object(object) || json_object_size(object) != 3) {
        return bad_entry(e, "must be an object of just dtype, shape and data_offsets");
    }
    fasc_status status = read_sizes(e, object, "shape", FASC_MAX_RANK, t->shape, &rank);
    if (status == FASC_OK) {
        status = read_sizes(e, object, "data_offsets", 2, span, &ends);
    }
    if (status != FASC_OK) {
        return status;
    }
    if (ends != 2 || span[0] > span[1]) {
        return bad_entry(e, "data_offsets must be [begin, end] with begin <= end");
    }
    if (span[1] > data_bytes) {
        return bad_entry(e,
                         "data_offsets end at %" PRId64 ", but %" PRId64
                         " bytes of data follow the header: truncated?",
                         span[1], data_bytes);
    }
    t->rank = (int32_t)rank;
    t->offset = data_start + span[0];
    t->bytes = span[1] - span[0];
    return check_dtype(e, object, t->bytes, into);
}

static fasc_status read_metadata(const entry *e, json_t *object, fasc_file *file)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) {
        return bad_entry(e, "must be an object of strings");
    }
    file->metadata = calloc(2 * json_object_size(object) + 1, sizeof *file->metadata);
    if (!file->metadata) {
        return fasc_file_no_memory(file, 2 * json_object_size(object), "metadata");
    }
    json_object_foreach (object, key, value) {
        char name[96];
        if (!json_is_string(value)) {
            return bad_entry(e, "the value of '%s' is no string",
                             fasc_escape(name, sizeof name, key));
        }
        char **pair = &file->metadata[2 * file->pairs++];
        pair[0] = strdup(key);
        pair[1] = strdup(json_string_value(value));
        if (!pair[0] || !pair[1]) {
            return fasc_file_no_memory(file, json_string_length(value), "metadata");
        }
    }
    return FASC_OK;
}

/* ---- the whole header ----------------------------------------------------------- */

static int by_offset(const void *a, const void *b)
{
    const fasc_file_tensor *x = &((const fasc_file_entry *)a)->info;
    const fasc_file_tensor *y = &((const fasc_file_entry *)b)->info;
    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

/* In order of offset the tensors follow each other from the data's first byte to the file's last.
 */
static fasc_status check_coverage(const fasc_file *file, int64_t data_start)
{
    int64_t at = data_start;
    for (int32_t i = 0; i < file->count; i++) {
        const fasc_file_tensor *t = &file->entries[i].info;
        char name[96], before[96];
        if (t->offset != at) {
            return fasc_file_bad(
                file, at, "the data of '%s' begins at byte %" PRId64 ", %s '%s'",
                fasc_escape(name, sizeof name, t->name), t->offset,
                t->offset < at ? "inside that of" : "leaving a hole after",
                i > 0 ? fasc_escape(before, sizeof before, file->entries[i - 1].info.name)
                      : "the header");
        }
        at += t->bytes;
    }
    if (at != file->bytes) {
        return fasc_file_bad(file, at, "%" PRId64 " bytes follow the last tensor's data",
                             file->bytes - at);
    }
    return FASC_OK;
}

static fasc_status read_entries(fasc_file *file, json_t *root, const char *header,
                                int64_t header_bytes)
{
    entry e = {.file = file, .header = header, .header_bytes = header_bytes, .number = -1};
    json_t *value;
    fasc_status status = FASC_OK;
    size_t size = json_object_size(root);
    file->entries = calloc(size + 1, sizeof *file->entries);
    if (!file->entries) {
        return fasc_file_no_memory(file, size * sizeof *file->entries, "tensor records");
    }
    json_object_foreach (root, e.key, value) {
        e.number++;
        if (strcmp(e.key, FASC_SAFETENSORS_METADATA) == 0) {
            status = read_metadata(&e, value, file);
        } else {
            fasc_file_entry *into = &file->entries[file->count];
            into->info.size = sizeof into->info;
            status = read_entry(&e, value, into);
            if (status == FASC_OK && !(into->info.name = strdup(e.key))) {
                status = fasc_file_no_memory(file, strlen(e.key), "a tensor's name");
            }
            file->count += status == FASC_OK;
        }
        if (status != FASC_OK) {
            return status;
        }
    }
    qsort(file->entries, (size_t)file->count, sizeof *file->entries, by_offset);
    return check_coverage(file, 8 + header_bytes);
}

static fasc_status parse_header(fasc_file *file, const char *header, int64_t header_bytes)
{
    json_error_t error;
    char text[192];
    if (header[0] != '{') {
        return fasc_file_bad(file, 8, "the header must begin with '{'");
    }
    json_t *root = json_loadb(header, (size_t)header_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!root && json_error_code(&error) == json_error_out_of_memory) {
        return fasc_file_no_memory(file, (size_t)header_bytes, "header");
    }
    if (!root) {
        return fasc_file_bad(file, 8 + error.position, "the header is no JSON: %s",
                             fasc_escape(text, sizeof text, error.text));
    }
    fasc_status status = read_entries(file, root, header, header_bytes);
    json_decref(root);
    return status;
}

fasc_status fasc_safetensors_open(fasc_file *file, const char *head, size_t head_bytes)
{
    uint64_t length = 0;
    if (head_bytes < 10) { /* the length, and "{}" */
        return fasc_file_bad(file, (int64_t)head_bytes,
                             "the file ends here: too short for a .safetensors or .npy header");
    }
    for (int i = 0; i < 8; i++) {
        length |= (uint64_t)(unsigned char)head[i] << 8 * i;
    }
    /* Compared without adding: 8 + length may wrap. */
    if (length > FASC_SAFETENSORS_MAX_HEADER || length > (uint64_t)file->bytes - 8) {
        return fasc_file_bad(file, 0,
                             "not .npy, and as .safetensors its header would be %" PRIu64
                             " bytes long, but the file has %" PRId64 " (and the format allows %d)",
                             length, file->bytes, FASC_SAFETENSORS_MAX_HEADER);
    }
    if (length < 2) {
        return fasc_file_bad(file, 0, "the header length is %" PRIu64 ", must be at least 2",
                             length);
    }
    char *header = malloc((size_t)length);
    if (!header) {
        return fasc_file_no_memory(file, (size_t)length, "header");
    }
    fasc_status status = fasc_file_pread(file, "file_open", header, 8, (int64_t)length);
    if (status == FASC_OK) {
        status = parse_header(file, header, (int64_t)length);
    }
    free(header);
    return status;
}
