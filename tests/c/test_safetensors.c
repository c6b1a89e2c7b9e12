/* Reading .safetensors: what is legal is read, and every claim that a file can make wrongly is
 * found before it is used. */
#include <errno.h>
#include <stdbool.h>

#include "files.h"

/* ---- making files ------------------------------------------------------------------- */

/* Length, header, and `data` bytes 0, 1, 2, ... */
static const char *make_length(uint64_t length, const char *header, size_t header_bytes,
                               size_t data)
{
    static unsigned char bytes[1 << 16];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(length >> 8 * i);
    }
    memcpy(bytes + 8, header, header_bytes);
    for (size_t i = 0; i < data; i++) {
        bytes[8 + header_bytes + i] = (unsigned char)i;
    }
    return write_bytes("x.safetensors", bytes, 8 + header_bytes + data);
}

static const char *make(const char *header, size_t data)
{
    return make_length(strlen(header), header, strlen(header), data);
}

/* ---- what is refused ---------------------------------------------------------------- */

#define ENTRY(dtype, shape, begin, end)                                                            \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static const refused_file REFUSED[] = {
    /* sizes */
    {"a shape product that wraps to 0", "{\"a\":" ENTRY("U8", "[4294967296,4294967296]", 0, 0) "}",
     0, "overflows"},
    {"a byte size that wraps to 0", "{\"a\":" ENTRY("F64", "[2305843009213693952]", 0, 0) "}", 0,
     "overflows"},
    {"a product that wraps behind a zero dimension",
     "{\"a\":" ENTRY("F32", "[4294967296,4294967296,0]", 0, 0) "}", 0, "overflows"},
    {"a shape larger than its offsets", "{\"a\":" ENTRY("F32", "[4]", 0, 12) "}", 12,
     "make 16 bytes, data_offsets span 12"},
    {"a shape smaller than its offsets", "{\"a\":" ENTRY("F32", "[2]", 0, 12) "}", 12,
     "make 8 bytes, data_offsets span 12"},
    {"a zero-size shape with data", "{\"a\":" ENTRY("F32", "[0]", 0, 4) "}", 4, "make 0 bytes"},
    {"half a byte", "{\"a\":" ENTRY("F4", "[3]", 0, 1) "}", 1, "no whole number"},
    {"4 GiB promised in 4 bytes", "{\"a\":" ENTRY("U8", "[4294967296]", 0, 4294967296) "}", 4,
     "truncated?"},
    /* offsets */
    {"offsets past the end", "{\"a\":" ENTRY("U8", "[5]", 0, 5) "}", 4, "truncated?"},
    {"offsets that run backwards", "{\"a\":" ENTRY("U8", "[0]", 4, 0) "}", 4, "begin <= end"},
    {"one offset", "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0]}}", 1,
     "[begin, end]"},
    {"three offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1,1]}}", 1,
     "at most 2"},
    {"an overlap", "{\"a\":" ENTRY("U8", "[4]", 0, 4) ",\"b\":" ENTRY("U8", "[4]", 2, 6) "}", 6,
     "inside that of 'a'"},
    {"two tensors on the same bytes",
     "{\"a\":" ENTRY("U8", "[4]", 0, 4) ",\"b\":" ENTRY("U8", "[4]", 0, 4) "}", 4,
     "inside that of"},
    {"a hole between tensors",
     "{\"a\":" ENTRY("U8", "[4]", 0, 4) ",\"b\":" ENTRY("U8", "[4]", 5, 9) "}", 9,
     "hole after 'a'"},
    {"a hole in front", "{\"a\":" ENTRY("U8", "[4]", 1, 5) "}", 5, "hole after 'the header'"},
    {"bytes behind the last tensor", "{\"a\":" ENTRY("U8", "[4]", 0, 4) "}", 7,
     "3 bytes follow the last tensor"},
    {"bytes behind no tensor", "{}", 1, "1 bytes follow"},
    /* names */
    {"a name given twice", "{\"a\":" ENTRY("U8", "[]", 0, 1) ",\"a\":" ENTRY("U8", "[]", 0, 1) "}",
     1, "duplicate"},
    {"a name given twice, once escaped",
     "{\"a\":" ENTRY("U8", "[]", 0, 1) ",\"\\u0061\":" ENTRY("U8", "[]", 0, 1) "}", 1, "duplicate"},
    {"a field given twice",
     "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
     "duplicate"},
    {"a NUL in a name", "{\"a\\u0000b\":" ENTRY("U8", "[]", 0, 1) "}", 1, "no JSON"},
    {"a lone surrogate", "{\"\\ud800\":" ENTRY("U8", "[]", 0, 1) "}", 1, "no JSON"},
    {"a low surrogate alone", "{\"\\udc00x\":" ENTRY("U8", "[]", 0, 1) "}", 1, "no JSON"},
    {"a name that is no UTF-8", "{\"\xff\":" ENTRY("U8", "[]", 0, 1) "}", 1, "no JSON"},
    {"an overlong name", "{\"\xc0\xaf\":" ENTRY("U8", "[]", 0, 1) "}", 1, "no JSON"},
    {"a raw control character in a name", "{\"a\nb\":" ENTRY("U8", "[]", 0, 1) "}", 1, "no JSON"},
    /* metadata */
    {"a tensor named __metadata__", "{\"__metadata__\":" ENTRY("U8", "[]", 0, 1) "}", 1,
     "the value of 'shape' is no string"},
    {"metadata that is a list", "{\"__metadata__\":[]}", 0, "object of strings"},
    {"metadata that holds a number", "{\"__metadata__\":{\"a\":1}}", 0, "'a' is no string"},
    {"metadata given twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate"},
    {"a metadata key given twice", "{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0, "duplicate"},
    /* numbers */
    {"a negative dimension", "{\"a\":" ENTRY("U8", "[-1]", 0, 1) "}", 1,
     "shape[0] is negative: -1"},
    {"two negative dimensions", "{\"a\":" ENTRY("U8", "[-1,-1]", 0, 1) "}", 1, "is negative"},
    {"a negative offset", "{\"a\":" ENTRY("U8", "[]", -1, 0) "}", 1, "is negative"},
    {"a fractional dimension", "{\"a\":" ENTRY("U8", "[1.5]", 0, 1) "}", 1, "no whole number"},
    {"a dimension written 1.0", "{\"a\":" ENTRY("U8", "[1.0]", 0, 1) "}", 1, "no whole number"},
    {"a dimension written 1e0", "{\"a\":" ENTRY("U8", "[1e0]", 0, 1) "}", 1, "no whole number"},
    {"a fractional offset", "{\"a\":" ENTRY("U8", "[]", 0, 1.0) "}", 1, "no whole number"},
    {"a dimension of 2^63", "{\"a\":" ENTRY("U8", "[9223372036854775808]", 0, 1) "}", 1, "no JSON"},
    {"a dimension of 2^64 + 1", "{\"a\":" ENTRY("U8", "[18446744073709551617]", 0, 1) "}", 1,
     "no JSON"},
    {"a dimension in quotes", "{\"a\":" ENTRY("U8", "[\"1\"]", 0, 1) "}", 1, "no whole number"},
    {"a dimension of null", "{\"a\":" ENTRY("U8", "[null]", 0, 1) "}", 1, "no whole number"},
    {"a dimension of true", "{\"a\":" ENTRY("U8", "[true]", 0, 1) "}", 1, "no whole number"},
    {"a leading zero", "{\"a\":" ENTRY("U8", "[01]", 0, 1) "}", 1, "no JSON"},
    {"nine dimensions", "{\"a\":" ENTRY("U8", "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1, "at most 8"},
    /* fields */
    {"no dtype", "{\"a\":{\"shape\":[],\"data_offsets\":[0,1],\"x\":1}}", 1, "dtype is missing"},
    {"no shape", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1],\"x\":1}}", 1,
     "shape is missing"},
    {"no offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"x\":1}}", 1, "data_offsets is missing"},
    {"a field too many", "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":1}}",
     1, "just dtype"},
    {"a dtype that is a number", "{\"a\":{\"dtype\":8,\"shape\":[],\"data_offsets\":[0,1]}}", 1,
     "dtype is no string"},
    {"a shape that is an object", "{\"a\":{\"dtype\":\"U8\",\"shape\":{},\"data_offsets\":[0,1]}}",
     1, "shape is no array"},
    {"a tensor that is a number", "{\"a\":1}", 0, "must be an object"},
    {"an unknown dtype with offsets past the end", "{\"a\":" ENTRY("Q7", "[4]", 0, 400) "}", 4,
     "truncated?"},
    {"an unknown dtype with a wrapping shape",
     "{\"a\":" ENTRY("Q7", "[4294967296,4294967296]", 0, 4) "}", 4, "overflows"},
    {"an unknown dtype behind a hole", "{\"a\":" ENTRY("Q7", "[4]", 4, 8) "}", 8, "hole"},
    {"an unknown dtype with a negative dimension", "{\"a\":" ENTRY("Q7", "[-4]", 0, 4) "}", 4,
     "negative"},
    /* JSON */
    {"a list at the top", "[1]", 0, "must begin with '{'"},
    {"a leading space", " {}", 0, "must begin with '{'"},
    {"a byte order mark", "\xef\xbb\xbf{}", 0, "must begin with '{'"},
    {"text behind the object", "{}x", 0, "no JSON"},
    {"two objects", "{}{}", 0, "no JSON"},
    {"an open brace", "{\"a\":", 0, "no JSON"},
    {"a trailing comma", "{\"__metadata__\":{},}", 0, "no JSON"},
    {"single quotes", "{'a':1}", 0, "no JSON"},
    {"a comment", "{/**/}", 0, "no JSON"},
    {"NaN as a number", "{\"a\":NaN}", 0, "no JSON"},
};

static void wrong_claims_are_refused(void)
{
    check_refused(REFUSED, sizeof REFUSED / sizeof *REFUSED, make);
}

static void header_lengths_are_compared_without_adding(void)
{
    static const struct {
        uint64_t length;
        const char *message;
    } LENGTH[] = {
        {0, "must be at least 2"},
        {1, "must be at least 2"},
        {3, "would be 3 bytes long, but the file has 10"},
        {UINT64_MAX, "the file has 10"},
        {UINT64_MAX - 7, "the file has 10"}, /* 8 + N wraps to 0 */
        {UINT64_MAX - 5, "the file has 10"}, /* 8 + N wraps to 2 */
        {(uint64_t)1 << 63, "the file has 10"},
    };
    for (size_t i = 0; i < sizeof LENGTH / sizeof *LENGTH; i++) {
        fasc_file *file;
        CHECK_FAIL(fasc_file_open(make_length(LENGTH[i].length, "{}", 2, 0), &file), FASC_EFORMAT,
                   LENGTH[i].message);
    }
}

/* The file is sparse: it has the bytes that it promises, and the format still forbids them. */
static void a_header_past_the_format_limit_is_refused(void)
{
    fasc_file *file;
    const char *path = make_length(100000001, "{}", 2, 0);
    CHECK(truncate(path, 200000000) == 0, "%s", strerror(errno));
    limit_memory(64 << 20);
    CHECK_FAIL(fasc_file_open(path, &file), FASC_EFORMAT, "the format allows 100000000");
    limit_memory(0);
}

static void deep_nesting_is_refused(void)
{
    char header[20001];
    fasc_file *file;
    memset(header, '[', 20000);
    memcpy(header, "{\"a\":", 5);
    header[20000] = '\0';
    CHECK_FAIL(fasc_file_open(make(header, 0), &file), FASC_EFORMAT, "no JSON");
}

/* The offset in the message is that of the entry's name, wherever commas, braces and quotes stand
 * before it. */
static void errors_name_the_entry_and_its_place(void)
{
    const char *header = "{\"__metadata__\":{\"x\":\"{\\\"bad\\\":[,\"}, \"good,\\\"{\":" ENTRY(
        "U8", "[2,2]", 0, 4) ", \"bad\":" ENTRY("U8", "[-3]", 4, 8) "}";
    char expected[64];
    fasc_file *file;
    snprintf(expected, sizeof expected, "byte %d: 'bad': shape[0]",
             (int)(8 + (strstr(header, ", \"bad\":") + 2 - header)));
    CHECK_FAIL(fasc_file_open(make(header, 8), &file), FASC_EFORMAT, expected);
}

static void names_are_escaped_before_they_are_printed(void)
{
    fasc_file *file;
    CHECK_FAIL(
        fasc_file_open(make("{\"\\u001b[2J\\u202e\\u009b\\\\\":" ENTRY("U8", "[-1]", 0, 1) "}", 1),
                       &file),
        FASC_EFORMAT, "'\\x1b[2J\\u{202e}\\u{9b}\\\\': shape[0]");
    CHECK(!strchr(fasc_last_error(), '\x1b'), "a raw escape in '%s'", fasc_last_error());
}

/* A name of 60,000 letters must not push the reason out of the message. */
static void long_names_leave_room_for_the_reason(void)
{
    static char header[61000];
    fasc_file *file;
    memset(header, 'n', 60002);
    memcpy(header, "{\"", 2);
    strcpy(header + 60002, "\":" ENTRY("U8", "[-1]", 0, 1) "}");
    CHECK_FAIL(fasc_file_open(make(header, 1), &file), FASC_EFORMAT, "...': shape[0] is negative");
}

#define GOOD                                                                                       \
    "{\"__metadata__\":{\"k\":\"v\"},\"a\":" ENTRY("F16", "[2,3]", 0, 12) ",\"b\":" ENTRY(         \
        "BOOL", "[]", 12, 13) "}   "

static void a_file_cut_anywhere_is_refused(void)
{
    long size;
    unsigned char *bytes = read_bytes(make(GOOD, 13), &size);
    for (long n = 0; n < size; n++) {
        fasc_file *file = NULL;
        fasc_status status = fasc_file_open(write_bytes("cut", bytes, (size_t)n), &file);
        CHECK(status == FASC_EFORMAT, "cut to %ld of %ld bytes: %s", n, size,
              fasc_status_name(status));
        if (status == FASC_OK) {
            fasc_file_close(file);
        }
    }
    free(bytes);
}

/* Opens the file and reads whatever it offers. */
static bool opens_or_is_refused(const char *path, long at, int value)
{
    fasc_file *file = NULL;
    fasc_status status = fasc_file_open(path, &file);
    CHECK(status == FASC_OK || status == FASC_EFORMAT, "byte %ld = %d: %s", at, value,
          fasc_last_error());
    for (int32_t i = 0; status == FASC_OK && i < fasc_file_tensor_count(file); i++) {
        fasc_tensor *t = NULL;
        fasc_status read = fasc_file_read(file, i, &t);
        CHECK(read == FASC_OK || read == FASC_EUNSUPPORTED, "byte %ld = %d: %s", at, value,
              fasc_last_error());
        fasc_tensor_free(t);
    }
    if (status == FASC_OK) {
        fasc_file_close(file);
    }
    return status == FASC_OK;
}

/* Any byte of the header replaced by any other: refused, or read within the file. */
static void a_file_with_a_wrong_byte_is_refused_or_read(void)
{
    int opened = 0;
    const char *path = make(GOOD, 13);
    FILE *f = fopen(path, "r+b");
    long size = 8 + (long)strlen(GOOD);
    CHECK(f != NULL, "%s: %s", path, strerror(errno));
    for (long at = 0; f && at < size; at++) {
        unsigned char keep = 0, changed;
        CHECK(pread(fileno(f), &keep, 1, at) == 1, "byte %ld: %s", at, strerror(errno));
        for (int value = 0; value < 256; value++) {
            changed = (unsigned char)value;
            CHECK(pwrite(fileno(f), &changed, 1, at) == 1, "byte %ld: %s", at, strerror(errno));
            opened += opens_or_is_refused(path, at, value);
        }
        CHECK(pwrite(fileno(f), &keep, 1, at) == 1, "byte %ld: %s", at, strerror(errno));
    }
    CHECK(opened >= size, "only %d variants were opened", opened);
    if (f) {
        fclose(f);
    }
}

/* ---- what is read ------------------------------------------------------------------- */

static fasc_file_tensor info_of(const fasc_file *file, int32_t index)
{
    fasc_file_tensor info = {.size = sizeof info};
    CHECK_OK(fasc_file_tensor_info(file, index, &info));
    return info;
}

static void entries_come_in_the_order_of_their_data(void)
{
    fasc_file *file;
    fasc_file_tensor info;
    fasc_tensor *t;
    double value;
    /* The first tensor has one byte, so that the second is not aligned. */
    CHECK_OK(fasc_file_open(
        make("{\"late\":" ENTRY("I32", "[2]", 1, 9) ",\"early\":" ENTRY("U8", "[1]", 0, 1) "}", 9),
        &file));
    CHECK(strcmp(fasc_file_format(file), "safetensors") == 0, "%s", fasc_file_format(file));
    CHECK(fasc_file_tensor_count(file) == 2, "%d", fasc_file_tensor_count(file));
    info = info_of(file, 0);
    CHECK(strcmp(info.name, "early") == 0, "%s", info.name);
    info = info_of(file, 1);
    CHECK(strcmp(info.name, "late") == 0 && info.dtype == FASC_I32 && info.rank == 1 &&
              info.shape[0] == 2 && info.bytes == 8 && strcmp(info.dtype_name, "I32") == 0,
          "%s %s", info.name, info.dtype_name);
    CHECK_OK(fasc_file_read(file, 1, &t));
    CHECK_OK(fasc_tensor_get(t, (int64_t[]){1}, &value));
    CHECK(value == 0x08070605, "%g", value);
    fasc_tensor_free(t);
    fasc_file_close(file);
}

static void scalars_zero_sizes_and_empty_files_are_legal(void)
{
    fasc_file *file;
    fasc_tensor *t;
    CHECK_OK(fasc_file_open(make("{}", 0), &file));
    CHECK(fasc_file_tensor_count(file) == 0, "%d", fasc_file_tensor_count(file));
    fasc_file_close(file);
    CHECK_OK(fasc_file_open(make("{\"none\":" ENTRY("F32", "[3,0,5]", 4, 4) ",\"one\":" ENTRY(
                                     "F32", "[]", 0, 4) ",\"\":" ENTRY("F4", "[0]", 0, 0) "}  \n",
                                 4),
                            &file));
    CHECK(fasc_file_tensor_count(file) == 3, "%d", fasc_file_tensor_count(file));
    CHECK_OK(fasc_file_read(file, 1, &t));
    CHECK(fasc_tensor_rank(t) == 0 && fasc_tensor_numel(t) == 1, "rank %d", fasc_tensor_rank(t));
    fasc_tensor_free(t);
    CHECK_OK(fasc_file_read(file, 2, &t));
    CHECK(fasc_tensor_rank(t) == 3 && fasc_tensor_numel(t) == 0 && fasc_tensor_shape(t)[2] == 5,
          "rank %d", fasc_tensor_rank(t));
    fasc_tensor_free(t);
    fasc_file_close(file);
}

static void a_foreign_dtype_is_listed_but_not_read(void)
{
    fasc_file *file;
    fasc_file_tensor info;
    fasc_tensor *t;
    CHECK_OK(
        fasc_file_open(make("{\"a\":" ENTRY("Q7", "[3]", 0, 6) ",\"b\":" ENTRY(
                                "C64", "[1]", 6, 14) ",\"c\":" ENTRY("BOOL", "[2]", 14, 16) "}",
                            16),
                       &file));
    info = info_of(file, 0);
    CHECK(info.dtype == 0 && strcmp(info.dtype_name, "Q7") == 0, "%s", info.dtype_name);
    CHECK_FAIL(fasc_file_read(file, 0, &t), FASC_EUNSUPPORTED, "'a': dtype Q7");
    CHECK_FAIL(fasc_file_read(file, 1, &t), FASC_EUNSUPPORTED, "'b': dtype C64");
    CHECK_OK(fasc_file_read(file, 2, &t));
    CHECK(fasc_tensor_dtype(t) == FASC_U8, "%d", (int)fasc_tensor_dtype(t));
    CHECK(memcmp(fasc_tensor_data(t), "\x0e\x0f", 2) == 0, "other bytes");
    fasc_tensor_free(t);
    fasc_file_close(file);
}

static void metadata_and_names_may_hold_any_text(void)
{
    fasc_file *file;
    const char *key, *value;
    CHECK_OK(fasc_file_open(
        make("{\"__metadata__\":{\"format\":\"pt\",\"\\u00e9\\n\":\"\\ud83d\\ude00\"},"
             "\"\xc3\xa9/\\u0041\":" ENTRY("U8", "[]", 0, 1) "}",
             1),
        &file));
    CHECK(strcmp(info_of(file, 0).name, "\xc3\xa9/A") == 0, "%s", info_of(file, 0).name);
    CHECK_OK(fasc_file_metadata(file, 0, &key, &value));
    CHECK(strcmp(key, "format") == 0 && strcmp(value, "pt") == 0, "%s = %s", key, value);
    CHECK_OK(fasc_file_metadata(file, 1, &key, &value));
    CHECK(strcmp(key, "\xc3\xa9\n") == 0 && strcmp(value, "\xf0\x9f\x98\x80") == 0, "%s = %s", key,
          value);
    CHECK_FAIL(fasc_file_metadata(file, 2, &key, &value), FASC_EINVAL, "has 2 metadata entries");
    fasc_file_close(file);
}

/* ---- what is no such file ------------------------------------------------------------- */

static void other_files_are_refused_by_what_they_are(void)
{
    static const struct {
        const char *bytes;
        size_t count;
        const char *message;
    } OTHER[] = {
        {"", 0, "byte 0: the file ends here"},
        {"PK\x03\x04\x14\x00\x08\x00\x08\x00\x00\x00", 12, "a zip archive"},
        {"PK\x03\x04\x14\x00\x08\x00\x08\x00\x00\x00", 12, "PyTorch's .pt"},
        {"PK\x05\x06\0\0\0\0\0\0\0\0", 12, "a zip archive"},
        {"\x80\x02}q\x01.xxxxxx", 12, "a Python pickle"},
        {"\x80\x02}q\x01.xxxxxx", 12, "s.save_file(torch.load("},
        {"{\"json\": 1}   ", 14, "not .npy, and as .safetensors"},
        {"hello, this is text", 19, "not .npy, and as .safetensors"},
    };
    for (size_t i = 0; i < sizeof OTHER / sizeof *OTHER; i++) {
        fasc_file *file;
        CHECK_FAIL(fasc_file_open(write_bytes("other", OTHER[i].bytes, OTHER[i].count), &file),
                   FASC_EFORMAT, OTHER[i].message);
    }
    /* A header of 0x280 bytes begins like a pickle does. */
    fasc_file *file;
    char header[0x281];
    memset(header, ' ', 0x280);
    memcpy(header, "{}", 2);
    header[0x280] = '\0';
    CHECK_OK(fasc_file_open(make(header, 0), &file));
    fasc_file_close(file);
}

static void what_is_no_regular_file_is_refused(void)
{
    fasc_file *file;
    const char *pipe = test_path("pipe");
    CHECK(mkfifo(pipe, 0600) == 0, "%s", strerror(errno));
    CHECK_FAIL(fasc_file_open(pipe, &file), FASC_EIO, "not a regular file");
    CHECK_FAIL(fasc_file_open("/dev/zero", &file), FASC_EIO, "not a regular file");
    CHECK_FAIL(fasc_file_open("/tmp", &file), FASC_EIO, "a directory");
    CHECK_FAIL(fasc_file_open("/nonexistent/x\x1b", &file), FASC_EIO,
               "/nonexistent/x\\x1b: No such");
    CHECK_FAIL(fasc_file_open(NULL, &file), FASC_EINVAL, "path");
}

static void a_file_that_shrinks_while_open_is_an_error(void)
{
    fasc_file *file;
    fasc_tensor *t;
    const char *path = make("{\"a\":" ENTRY("U8", "[4000]", 0, 4000) "}", 4000);
    CHECK_OK(fasc_file_open(path, &file));
    CHECK(truncate(path, 100) == 0, "%s", strerror(errno));
    CHECK_FAIL(fasc_file_read(file, 0, &t), FASC_EIO, "byte 100: the file ends here");
    CHECK_FAIL(fasc_file_read(file, 1, &t), FASC_EINVAL, "has 1 tensors");
    CHECK_FAIL(fasc_file_read(file, -1, &t), FASC_EINVAL, "index: -1");
    fasc_file_close(file);
    fasc_file_close(NULL);
}

TEST_MAIN(wrong_claims_are_refused, header_lengths_are_compared_without_adding,
          a_header_past_the_format_limit_is_refused, deep_nesting_is_refused,
          errors_name_the_entry_and_its_place, names_are_escaped_before_they_are_printed,
          long_names_leave_room_for_the_reason, a_file_cut_anywhere_is_refused,
          a_file_with_a_wrong_byte_is_refused_or_read, entries_come_in_the_order_of_their_data,
          scalars_zero_sizes_and_empty_files_are_legal, a_foreign_dtype_is_listed_but_not_read,
          metadata_and_names_may_hold_any_text, other_files_are_refused_by_what_they_are,
          what_is_no_regular_file_is_refused, a_file_that_shrinks_while_open_is_an_error)
