/* npy.c - reads the header of a .npy file: magic, version, length, and a Python dict literal with
 * exactly the keys descr, fortran_order and shape; then the data, to the end of the file. The
 * format is described in numpy.lib.format. */
#include "npy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "text.h"

/* A dict of three plain values needs a few hundred bytes, padding included. */
#define MAX_HEADER 65536

/* ---- the literal ------------------------------------------------------------------ */

typedef struct cursor {
    const fasc_file *file;
    const char *text; /* ends in a NUL that is not part of the header */
    int64_t at, end;
    int64_t start; /* of the text in the file */
} cursor;

static fasc_status expected(const cursor *c, const char *what)
{
    char found[24] = "the end";
    if (c->at < c->end) {
        char one[2] = {c->text[c->at], '\0'};
        found[0] = '\'';
        fasc_escape(found + 1, sizeof found - 2, one);
        strcat(found, "'");
    }
    return fasc_file_bad(c->file, c->start + c->at, "the header has %s where %s must stand", found,
                         what);
}

static void skip_space(cursor *c)
{
    while (c->at < c->end && strchr(" \t\r\n", c->text[c->at]) && c->text[c->at]) {
        c->at++;
    }
}

/* Is the next thing this character? Then steps over it. */
static bool accept(cursor *c, char wanted)
{
    skip_space(c);
    if (c->at < c->end && c->text[c->at] == wanted) {
        c->at++;
        return true;
    }
    return false;
}

/* A string between single or double quotes. Nothing that belongs in a header needs a backslash. */
static fasc_status read_string(cursor *c, char *out, size_t size)
{
    size_t used = 0;
    char quote = accept(c, '\'') ? '\'' : accept(c, '"') ? '"' : '\0';
    if (!quote) {
        return expected(c, "a string");
    }
    while (c->at < c->end && c->text[c->at] != quote) {
        unsigned char byte = (unsigned char)c->text[c->at];
        if (byte < 0x20 || byte >= 0x7f || byte == '\\' || used + 1 >= size) {
            return expected(c, used + 1 >= size ? "the end of a short string" : "plain ASCII");
        }
        out[used++] = (char)byte;
        c->at++;
    }
    out[used] = '\0';
    return accept(c, quote) ? FASC_OK : expected(c, "a closing quote");
}

static fasc_status read_bool(cursor *c, bool *value)
{
    static const char *const WORD[] = {"False", "True"};
    skip_space(c);
    for (int i = 0; i < 2; i++) {
        int64_t n = (int64_t)strlen(WORD[i]);
        if (c->end - c->at >= n && memcmp(c->text + c->at, WORD[i], (size_t)n) == 0) {
            c->at += n;
            *value = i;
            return FASC_OK;
        }
    }
    return expected(c, "True or False");
}

/* Digits without a sign or a leading zero; the L that Python 2 wrote behind long ones is skipped.
 */
static fasc_status read_size(cursor *c, int64_t *value)
{
    skip_space(c);
    int64_t begin = c->at;
    *value = 0;
    while (c->at < c->end && c->text[c->at] >= '0' && c->text[c->at] <= '9') {
        if (__builtin_mul_overflow(*value, (int64_t)10, value) ||
            __builtin_add_overflow(*value, (int64_t)(c->text[c->at] - '0'), value)) {
            return fasc_file_bad(c->file, c->start + begin, "a dimension overflows 63 bits");
        }
        c->at++;
    }
    if (c->at == begin || (c->at > begin + 1 && c->text[begin] == '0')) {
        c->at = begin;
        return expected(c, "a dimension (digits, no sign, no leading zero)");
    }
    c->at += c->at < c->end && c->text[c->at] == 'L';
    return FASC_OK;
}

/* (), (3,), (3, 4) or (3, 4,); (3) is a number in Python, no tuple. */
static fasc_status read_shape(cursor *c, fasc_file_tensor *t)
{
    bool comma = true;
    if (!accept(c, '(')) {
        return expected(c, "a tuple");
    }
    while (!accept(c, ')')) {
        if (!comma) {
            return expected(c, "',' or ')'");
        }
        if (t->rank == FASC_MAX_RANK) {
            return fasc_file_bad(c->file, c->start + c->at, "the shape has more than %d dimensions",
                                 FASC_MAX_RANK);
        }
        fasc_status status = read_size(c, &t->shape[t->rank]);
        if (status != FASC_OK) {
            return status;
        }
        t->rank++;
        comma = accept(c, ',');
    }
    if (t->rank == 1 && !comma) {
        c->at--;
        return expected(c, "',' (a tuple of one)");
    }
    return FASC_OK;
}

/* ---- descr ------------------------------------------------------------------------ */

/* Byte order and code; big-endian numbers are turned round when they are read. */
static fasc_status set_dtype(cursor *c, const char *descr, fasc_file *file, fasc_file_tensor *t)
{
    const char *code = descr + (*descr && strchr("<>|=", *descr) ? 1 : 0);
    memcpy(t->dtype_name, descr, strlen(descr) + 1);
    for (size_t i = 0; i < FASC_NPY_DTYPE_COUNT; i++) {
        if (strcmp(code, FASC_NPY_DTYPES[i].code) == 0 && !(*descr == '|' && code[1] != '1')) {
            t->dtype = (int32_t)FASC_NPY_DTYPES[i].dtype;
            file->big_endian = *descr == '>';
            return FASC_OK;
        }
    }
    const char *why = strcmp(code, "V2") == 0 ? "; for bf16, which npy has no name for, use "
                                                ".safetensors"
                      : *code == 'O'          ? ": it holds Python objects, a pickle"
                                              : "";
    return fasc_fail(FASC_EUNSUPPORTED,
                     "file_open: %s: byte %" PRId64 ": dtype '%s' is not read%s; fasc reads f2 f4 "
                     "f8 i4 i8 u1 b1 in either byte order",
                     file->shown, c->start + c->at, descr, why);
}

static fasc_status read_descr(cursor *c, fasc_file *file, fasc_file_tensor *t)
{
    char descr[sizeof t->dtype_name];
    skip_space(c);
    if (c->at < c->end && (c->text[c->at] == '[' || c->text[c->at] == '(')) {
        return fasc_fail(FASC_EUNSUPPORTED,
                         "file_open: %s: byte %" PRId64 ": a structured dtype; fasc reads plain "
                         "numbers: save each field as an array of its own",
                         file->shown, c->start + c->at);
    }
    fasc_status status = read_string(c, descr, sizeof descr);
    return status == FASC_OK ? set_dtype(c, descr, file, t) : status;
}

/* ---- the header ------------------------------------------------------------------- */

static fasc_status read_dict(cursor *c, fasc_file *file, fasc_file_tensor *t)
{
    static const char *const KEY[] = {"descr", "fortran_order", "shape"};
    bool seen[3] = {false}, comma = true;
    if (!accept(c, '{')) {
        return expected(c, "'{'");
    }
    while (!accept(c, '}')) {
        char key[16];
        int which = 0;
        if (!comma) {
            return expected(c, "',' or '}'");
        }
        skip_space(c);
        int64_t key_at = c->start + c->at;
        fasc_status status = read_string(c, key, sizeof key);
        if (status != FASC_OK) {
            return status;
        }
        while (which < 3 && strcmp(key, KEY[which]) != 0) {
            which++;
        }
        if (which == 3 || seen[which]) {
            return fasc_file_bad(file, key_at, "the header has %s key '%s'",
                                 which == 3 ? "an unknown" : "a second", key);
        }
        seen[which] = true;
        if (!accept(c, ':')) {
            return expected(c, "':'");
        }
        status = which == 0   ? read_descr(c, file, t)
                 : which == 1 ? read_bool(c, &file->fortran)
                              : read_shape(c, t);
        if (status != FASC_OK) {
            return status;
        }
        comma = accept(c, ',');
    }
    for (int i = 0; i < 3; i++) {
        if (!seen[i]) {
            return fasc_file_bad(file, c->start, "the header lacks '%s'", KEY[i]);
        }
    }
    skip_space(c);
    return c->at == c->end ? FASC_OK : expected(c, "nothing but padding");
}

/* The data is what shape and dtype say, and the file ends with it. */
static fasc_status check_data(const fasc_file *file, fasc_file_tensor *t)
{
    int64_t there = file->bytes - t->offset;
    int64_t bits = 8 * (int64_t)fasc_dtype_size((fasc_dtype)t->dtype);
    if (!fasc_file_shape_bytes(t->rank, t->shape, bits, &t->bytes)) {
        return fasc_file_bad(file, t->offset, "the shape's size in bytes overflows 63 bits");
    }
    if (t->bytes > there) {
        return fasc_file_bad(file, file->bytes,
                             "the file ends here: shape and dtype %s promise %" PRId64
                             " bytes of data, %" PRId64 " are there",
                             t->dtype_name, t->bytes, there);
    }
    if (t->bytes < there) {
        return fasc_file_bad(file, t->offset + t->bytes, "%" PRId64 " bytes follow the array",
                             there - t->bytes);
    }
    return FASC_OK;
}

fasc_status fasc_npy_open(fasc_file *file, const char *head, size_t head_bytes)
{
    const unsigned char *h = (const unsigned char *)head;
    int64_t start = head_bytes > 6 && h[6] == 1 ? 10 : 12;
    if ((int64_t)head_bytes < start) {
        return fasc_file_bad(file, (int64_t)head_bytes, "the file ends inside the npy preamble");
    }
    if (h[6] < 1 || h[6] > 3 || h[7] != 0) {
        return fasc_file_bad(file, 6, "npy version %d.%d; fasc reads 1.0, 2.0 and 3.0", h[6], h[7]);
    }
    int64_t length = h[8] | h[9] << 8;
    if (h[6] > 1) {
        length |= (int64_t)h[10] << 16 | (int64_t)h[11] << 24;
    }
    if (length > file->bytes - start || length > MAX_HEADER) {
        return fasc_file_bad(file, 8,
                             "the header would be %" PRId64 " bytes long; the file has %" PRId64
                             " (and plain arrays need less than %d)",
                             length, file->bytes, MAX_HEADER);
    }
    char *text = calloc(1, (size_t)length + 1);
    file->tensors = calloc(1, sizeof *file->tensors);
    if (!text || !file->tensors || !(file->tensors->name = strdup(""))) {
        free(text);
        return fasc_file_no_memory(file, (size_t)length, "header");
    }
    file->count = 1;
    fasc_file_tensor *t = file->tensors;
    t->size = sizeof *t;
    t->offset = start + length;
    cursor c = {.file = file, .text = text, .end = length, .start = start};
    fasc_status status = fasc_file_pread(file, "file_open", text, start, length);
    if (status == FASC_OK) {
        status = read_dict(&c, file, t);
    }
    if (status == FASC_OK) {
        status = check_data(file, t);
    }
    free(text);
    return status;
}
