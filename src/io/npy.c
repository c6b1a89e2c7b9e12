/* npy.c - reads the header of a .npy, a file or a member of an npz: magic, version, length, and a
 * Python dict literal with exactly the keys descr, fortran_order and shape; then the data, to the
 * end of the file. The format is described in numpy.lib.format. */
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

#define STRUCTURED "structured"

/* Steps over a list or tuple of lists, tuples, strings and numbers. */
static fasc_status skip_nested(cursor *c)
{
    int depth = 0;
    do {
        skip_space(c);
        char byte = c->at < c->end ? c->text[c->at] : '\0';
        if (byte == '\'' || byte == '"') {
            for (c->at++; c->at < c->end && c->text[c->at] != byte; c->at++) {
            }
        }
        if (c->at >= c->end) {
            return expected(c, "a closing bracket");
        }
        depth += (byte == '[' || byte == '(') - (byte == ']' || byte == ')');
        c->at++;
    } while (depth > 0);
    return FASC_OK;
}

/* Byte order and code; big-endian numbers are turned round when they are read. A dtype of one byte
 * has no order: numpy writes '|' there, and only there. */
static void set_dtype(const char *descr, fasc_file_entry *entry)
{
    const char *code = descr + (*descr && strchr("<>|=", *descr) ? 1 : 0);
    memcpy(entry->info.dtype_name, descr, strlen(descr) + 1);
    for (size_t i = 0; i < FASC_NPY_DTYPE_COUNT; i++) {
        const fasc_npy_dtype *known = &FASC_NPY_DTYPES[i];
        if (strcmp(code, known->code) == 0 && !(*descr == '|' && code[1] != '1')) {
            entry->info.dtype = (int32_t)known->dtype;
            entry->element = known->element;
            entry->big_endian = *descr == '>';
        }
    }
}

static fasc_status read_descr(cursor *c, fasc_file_entry *entry)
{
    char descr[sizeof entry->info.dtype_name];
    skip_space(c);
    if (c->at < c->end && (c->text[c->at] == '[' || c->text[c->at] == '(')) {
        memcpy(entry->info.dtype_name, STRUCTURED, sizeof STRUCTURED);
        return skip_nested(c);
    }
    fasc_status status = read_string(c, descr, sizeof descr);
    if (status == FASC_OK) {
        set_dtype(descr, entry);
    }
    return status;
}

/* Bytes of an element of bits that only fasc_file_read_as can read: "|V2". */
static int64_t raw_size(const char *descr)
{
    const char *code = descr + (*descr == '|');
    return code[0] == 'V' &&
                   (code[1] == '1' || code[1] == '2' || code[1] == '4' || code[1] == '8') &&
                   !code[2]
               ? code[1] - '0'
               : 0;
}

/* ---- the header ------------------------------------------------------------------- */

static fasc_status read_dict(cursor *c, const fasc_file *file, fasc_file_entry *entry)
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
        status = which == 0   ? read_descr(c, entry)
                 : which == 1 ? read_bool(c, &entry->fortran)
                              : read_shape(c, &entry->info);
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

/* The data is what shape and dtype say, and `total` bytes end with it. Of a dtype whose size is not
 * known it is what is there. */
static fasc_status check_data(const fasc_file *file, int64_t total, fasc_file_entry *entry)
{
    fasc_file_tensor *t = &entry->info;
    int64_t there = total - t->offset;
    int64_t size = t->dtype ? (int64_t)fasc_element_size(entry->element, (fasc_dtype)t->dtype)
                            : raw_size(t->dtype_name);
    t->bytes = there;
    if (size == 0) {
        return FASC_OK;
    }
    if (!fasc_file_shape_bytes(t->rank, t->shape, 8 * size, &t->bytes)) {
        return fasc_file_bad(file, t->offset, "the shape's size in bytes overflows 63 bits");
    }
    if (t->bytes > there) {
        return fasc_file_bad(file, total,
                             "the %s ends here: shape and dtype %s promise %" PRId64
                             " bytes of data, %" PRId64 " are there",
                             *file->member ? "member" : "file", t->dtype_name, t->bytes, there);
    }
    if (t->bytes < there) {
        return fasc_file_bad(file, t->offset + t->bytes, "%" PRId64 " bytes follow the array",
                             there - t->bytes);
    }
    return FASC_OK;
}

/* The preamble: magic, version, and where the header ends. */
static fasc_status read_preamble(const fasc_file *file, fasc_file_reader *reader, int64_t total,
                                 int64_t *length)
{
    unsigned char h[12];
    if (total < 10) {
        return fasc_file_bad(file, total, "the %s ends inside the npy preamble",
                             *file->member ? "member" : "file");
    }
    fasc_status status = fasc_file_reader_next(reader, h, 10);
    if (status != FASC_OK) {
        return status;
    }
    if (memcmp(h, "\x93NUMPY", 6) != 0) {
        return fasc_file_bad(file, 0, "does not begin as an npy");
    }
    if (h[6] < 1 || h[6] > 3 || h[7] != 0) {
        return fasc_file_bad(file, 6, "npy version %d.%d; fasc reads 1.0, 2.0 and 3.0", h[6], h[7]);
    }
    *length = h[8] | h[9] << 8;
    if (h[6] > 1) {
        if (total < 12) {
            return fasc_file_bad(file, total, "the %s ends inside the npy preamble",
                                 *file->member ? "member" : "file");
        }
        status = fasc_file_reader_next(reader, h + 10, 2);
        *length |= (int64_t)h[10] << 16 | (int64_t)h[11] << 24;
    }
    if (status == FASC_OK && (*length > total - reader->at || *length > MAX_HEADER)) {
        status = fasc_file_bad(file, 8,
                               "the header would be %" PRId64 " bytes long; the %s has %" PRId64
                               " (and plain arrays need less than %d)",
                               *length, *file->member ? "member" : "file", total, MAX_HEADER);
    }
    return status;
}

fasc_status fasc_npy_header(const fasc_file *file, fasc_file_reader *reader, int64_t total,
                            fasc_file_entry *entry)
{
    int64_t length = 0;
    fasc_status status = read_preamble(file, reader, total, &length);
    if (status != FASC_OK) {
        return status;
    }
    cursor c = {.file = file, .end = length, .start = reader->at};
    char *text = calloc(1, (size_t)length + 1);
    if (!text) {
        return fasc_file_no_memory(file, (size_t)length, "header");
    }
    c.text = text;
    entry->info.size = sizeof entry->info;
    entry->info.offset = reader->at + length;
    status = fasc_file_reader_next(reader, text, length);
    if (status == FASC_OK) {
        status = read_dict(&c, file, entry);
    }
    free(text);
    return status == FASC_OK ? check_data(file, total, entry) : status;
}

/* A file of one array that nothing can be made of is refused at once. */
static fasc_status check_dtype(const fasc_file *file, const fasc_file_tensor *t)
{
    const char *descr = t->dtype_name, *code = descr + (*descr && strchr("<>|=", *descr) ? 1 : 0);
    if (t->dtype || raw_size(descr)) {
        return FASC_OK;
    }
    if (strcmp(descr, STRUCTURED) == 0) {
        return fasc_fail(FASC_EUNSUPPORTED,
                         "file_open: %s: a structured dtype; fasc reads plain numbers: save each "
                         "field as an array of its own",
                         file->shown);
    }
    return fasc_fail(FASC_EUNSUPPORTED,
                     "file_open: %s: dtype '%s' is not read%s; fasc reads f2 f4 f8 i1 i2 i4 i8 u1 "
                     "u2 u4 u8 b1 in either byte order",
                     file->shown, descr, *code == 'O' ? ": it holds Python objects, a pickle" : "");
}

fasc_status fasc_npy_open(fasc_file *file)
{
    fasc_file_reader reader;
    fasc_status status = fasc_file_reader_open(&reader, file, "file_open", 0);
    file->entries = calloc(1, sizeof *file->entries);
    if (!file->entries || !(file->entries->info.name = strdup(""))) {
        return fasc_file_no_memory(file, sizeof *file->entries, "tensor records");
    }
    file->count = 1;
    if (status == FASC_OK) {
        status = fasc_npy_header(file, &reader, file->bytes, file->entries);
    }
    if (status == FASC_OK) {
        status = check_dtype(file, &file->entries->info);
    }
    return fasc_file_reader_close(&reader, status, false);
}
