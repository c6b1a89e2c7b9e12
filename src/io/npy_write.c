/* npy_write.c - writes .npy version 1.0, the data aligned to 64 bytes: byte for byte what NumPy
 * writes for the same array. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "atomic_write.h"
#include "npy.h"
#include "stream.h"
#include "validate.h"

#define CALL     "save_npy"
#define PREAMBLE 10 /* magic, version, and a 16-bit header length */

static const char *code_of(fasc_dtype dtype)
{
    for (size_t i = 0; i < FASC_NPY_DTYPE_COUNT; i++) {
        if (FASC_NPY_DTYPES[i].dtype == dtype) {
            return FASC_NPY_DTYPES[i].code;
        }
    }
    return NULL;
}

fasc_status fasc_npy_write_header(const char *call, const char *what, const fasc_tensor *t,
                                  char out[FASC_NPY_HEADER], size_t *length)
{
    const char *code = code_of(t->dtype);
    size_t used = PREAMBLE, size = FASC_NPY_HEADER;
    if (!code) {
        return fasc_fail(FASC_EUNSUPPORTED,
                         "%s: %s: npy has no %s; save it as .safetensors or convert it to f32",
                         call, what, fasc_dtype_name(t->dtype));
    }
    used += (size_t)snprintf(out + used, size - used,
                             "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                             fasc_dtype_size(t->dtype) == 1 ? '|' : '<', code);
    for (int32_t i = 0; i < t->rank; i++) {
        const char *after = t->rank == 1 ? "," : i + 1 < t->rank ? ", " : "";
        used += (size_t)snprintf(out + used, size - used, "%" PRId64 "%s", t->shape[i], after);
    }
    used += (size_t)snprintf(out + used, size - used, "), }");
    *length = (used + 1 + 63) / 64 * 64;
    memset(out + used, ' ', *length - used);
    out[*length - 1] = '\n';
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)((*length - PREAMBLE) & 0xff);
    out[9] = (char)((*length - PREAMBLE) >> 8);
    return FASC_OK;
}

static fasc_status write_piece(void *context, const void *data, size_t bytes)
{
    return fasc_atomic_write(context, data, bytes);
}

fasc_status fasc_save_npy(const char *path, const fasc_tensor *tensor)
{
    char header[FASC_NPY_HEADER];
    size_t length;
    fasc_atomic_file *file;
    fasc_status status = fasc_check_pointer(CALL, "tensor", tensor);
    if (status == FASC_OK) {
        status = fasc_npy_write_header(CALL, "tensor", tensor, header, &length);
    }
    if (status == FASC_OK) {
        status = fasc_atomic_open(CALL, path, &file);
    }
    if (status != FASC_OK) {
        return status;
    }
    status = fasc_atomic_write(file, header, length);
    if (status == FASC_OK) {
        status = fasc_stream(CALL, tensor, write_piece, file);
    }
    return fasc_atomic_close(file, status);
}
