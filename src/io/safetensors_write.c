/* safetensors_write.c - writes .safetensors: entries and data by descending element size, then by
 * name, so that every tensor's data is aligned to its elements; the header padded to 8 bytes. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "atomic_write.h"
#include "safetensors.h"
#include "stream.h"
#include "text.h"
#include "validate.h"

#define CALL "save_safetensors"

typedef struct item {
    const char *name;
    const fasc_tensor *tensor;
} item;

static int by_size_then_name(const void *a, const void *b)
{
    const item *x = a, *y = b;
    size_t p = fasc_dtype_size(x->tensor->dtype), q = fasc_dtype_size(y->tensor->dtype);
    return p != q ? (p > q ? -1 : 1) : strcmp(x->name, y->name);
}

/* ---- the header ------------------------------------------------------------------- */

static fasc_status no_memory(void)
{
    return fasc_fail(FASC_ENOMEM, CALL ": no memory for the header");
}

static fasc_status check_text(const char *what, const char *text)
{
    char shown[96];
    if (!text) {
        return fasc_fail(FASC_EINVAL, CALL ": %s: is NULL", what);
    }
    return fasc_utf8_valid(text) ? FASC_OK
                                 : fasc_fail(FASC_EINVAL, CALL ": %s: '%s' is no UTF-8", what,
                                             fasc_escape(shown, sizeof shown, text));
}

static fasc_status add_metadata(json_t *root, int32_t pairs, const char *const *metadata)
{
    json_t *object = json_object();
    if (!object || json_object_set_new(root, FASC_SAFETENSORS_METADATA, object) != 0) {
        return no_memory();
    }
    for (int32_t i = 0; i < pairs; i++) {
        const char *key = metadata[2 * i], *value = metadata[2 * i + 1];
        char shown[96];
        fasc_status status = check_text("metadata key", key);
        if (status == FASC_OK) {
            status = check_text("metadata value", value);
        }
        if (status != FASC_OK) {
            return status;
        }
        if (json_object_get(object, key)) {
            return fasc_fail(FASC_EINVAL, CALL ": metadata: key '%s' is given twice",
                             fasc_escape(shown, sizeof shown, key));
        }
        if (json_object_set_new(object, key, json_string(value)) != 0) {
            return no_memory();
        }
    }
    return FASC_OK;
}

/* Adds the tensor's entry; its data begins at *end, which moves behind it. */
static fasc_status add_tensor(json_t *root, const item *it, int64_t *end)
{
    const fasc_tensor *t = it->tensor;
    char shown[96];
    if (strcmp(it->name, FASC_SAFETENSORS_METADATA) == 0) {
        return fasc_fail(FASC_EINVAL, CALL ": names: '%s' is the format's own",
                         FASC_SAFETENSORS_METADATA);
    }
    if (json_object_get(root, it->name)) {
        return fasc_fail(FASC_EINVAL, CALL ": names: '%s' is given twice",
                         fasc_escape(shown, sizeof shown, it->name));
    }
    int64_t begin = *end;
    if (__builtin_add_overflow(*end, t->numel * (int64_t)fasc_dtype_size(t->dtype), end)) {
        return fasc_fail(FASC_EINVAL, CALL ": tensors: their size in bytes overflows 63 bits");
    }
    json_t *shape = json_array();
    for (int32_t i = 0; shape && i < t->rank; i++) {
        if (json_array_append_new(shape, json_integer(t->shape[i])) != 0) {
            json_decref(shape);
            return no_memory();
        }
    }
    json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", fasc_safetensors_dtype_name(t->dtype),
                              "shape", shape, "data_offsets", (json_int_t)begin, (json_int_t)*end);
    return json_object_set_new(root, it->name, entry) == 0 ? FASC_OK : no_memory();
}

/* The header with its length in front, padded with spaces to a multiple of 8. */
static fasc_status build_header(const item *items, int32_t count, int32_t pairs,
                                const char *const *metadata, char **bytes, size_t *size)
{
    int64_t end = 0;
    json_t *root = json_object();
    fasc_status status = root ? FASC_OK : no_memory();
    if (status == FASC_OK && pairs > 0) {
        status = add_metadata(root, pairs, metadata);
    }
    for (int32_t i = 0; i < count && status == FASC_OK; i++) {
        status = add_tensor(root, &items[i], &end);
    }
    char *text = status == FASC_OK ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (status != FASC_OK || !text) {
        return status != FASC_OK ? status : no_memory();
    }
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    if (padded > FASC_SAFETENSORS_MAX_HEADER) {
        free(text);
        return fasc_fail(FASC_EINVAL,
                         CALL ": names and metadata make a header of %zu bytes, the format allows "
                              "%d",
                         padded, FASC_SAFETENSORS_MAX_HEADER);
    }
    *size = 8 + padded;
    *bytes = malloc(*size);
    if (*bytes) {
        for (size_t i = 0; i < 8; i++) {
            (*bytes)[i] = (char)(padded >> 8 * i & 0xff);
        }
        memcpy(*bytes + 8, text, length);
        memset(*bytes + 8 + length, ' ', padded - length);
    }
    free(text);
    return *bytes ? FASC_OK : no_memory();
}

/* ---- the file --------------------------------------------------------------------- */

static fasc_status write_piece(void *context, const void *data, size_t bytes)
{
    return fasc_atomic_write(context, data, bytes);
}

static fasc_status write_file(const char *path, const char *header, size_t header_bytes,
                              const item *items, int32_t count)
{
    fasc_atomic_file *file;
    fasc_status status = fasc_atomic_open(CALL, path, &file);
    if (status != FASC_OK) {
        return status;
    }
    status = fasc_atomic_write(file, header, header_bytes);
    for (int32_t i = 0; i < count && status == FASC_OK; i++) {
        status = fasc_stream(CALL, items[i].tensor, write_piece, file);
    }
    return fasc_atomic_close(file, status);
}

static fasc_status check_arguments(int32_t count, const char *const *names,
                                   const fasc_tensor *const *tensors, int32_t pairs,
                                   const char *const *metadata)
{
    if (count < 0 || pairs < 0) {
        return fasc_fail(FASC_EINVAL, CALL ": %s: %d is negative", count < 0 ? "count" : "pairs",
                         count < 0 ? count : pairs);
    }
    if ((count > 0 && (!names || !tensors)) || (pairs > 0 && !metadata)) {
        return fasc_check_pointer(CALL,
                                  pairs > 0 && !metadata ? "metadata"
                                  : names                ? "tensors"
                                                         : "names",
                                  NULL);
    }
    for (int32_t i = 0; i < count; i++) {
        fasc_status status = check_text("names", names[i]);
        if (status == FASC_OK) {
            status = fasc_check_pointer(CALL, "tensors", tensors[i]);
        }
        if (status != FASC_OK) {
            return status;
        }
    }
    return FASC_OK;
}

fasc_status fasc_save_safetensors(const char *path, int32_t count, const char *const *names,
                                  const fasc_tensor *const *tensors, int32_t pairs,
                                  const char *const *metadata)
{
    char *header = NULL;
    size_t header_bytes = 0;
    fasc_status status = check_arguments(count, names, tensors, pairs, metadata);
    if (status != FASC_OK) {
        return status;
    }
    item *items = malloc(((size_t)count + 1) * sizeof *items);
    if (!items) {
        return no_memory();
    }
    for (int32_t i = 0; i < count; i++) {
        items[i] = (item){names[i], tensors[i]};
    }
    qsort(items, (size_t)count, sizeof *items, by_size_then_name);
    status = build_header(items, count, pairs, metadata, &header, &header_bytes);
    if (status == FASC_OK) {
        status = write_file(path, header, header_bytes, items, count);
    }
    free(header);
    free(items);
    return status;
}
