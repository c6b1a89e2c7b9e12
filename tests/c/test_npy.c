/* Reading and writing .npy: every dtype, order and version that is legal, and every claim that a
 * file can make wrongly. */
#include <errno.h>

#include "files.h"

/* ---- making files ------------------------------------------------------------------- */

/* Version 1, 2 or 3 with this length, header, and `data` bytes 0, 1, 2, ... */
static const char *make_version(int version, size_t length, const char *header, size_t data)
{
    static unsigned char bytes[1 << 17];
    size_t used = 8;
    memcpy(bytes, "\x93NUMPY\0\0", 8);
    bytes[6] = (unsigned char)version;
    for (size_t i = 0; i < (version == 1 ? 2 : 4); i++) {
        bytes[used++] = (unsigned char)(length >> 8 * i);
    }
    memcpy(bytes + used, header, strlen(header));
    used += strlen(header);
    for (size_t i = 0; i < data; i++) {
        bytes[used++] = (unsigned char)i;
    }
    return write_bytes("x.npy", bytes, used);
}

static const char *make(const char *header, size_t data)
{
    return make_version(1, strlen(header), header, data);
}

#define DICT(descr, order, shape)                                                                  \
    "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }\n"

static fasc_tensor *load(const char *path)
{
    fasc_file *file = NULL;
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_file_open(path, &file));
    if (file) {
        CHECK(strcmp(fasc_file_format(file), "npy") == 0, "%s", fasc_file_format(file));
        CHECK(fasc_file_tensor_count(file) == 1, "%d", fasc_file_tensor_count(file));
        CHECK_OK(fasc_file_read(file, 0, &t));
    }
    fasc_file_close(file);
    return t;
}

static double at(const fasc_tensor *t, int64_t i, int64_t j)
{
    double value = NAN;
    CHECK_OK(fasc_tensor_get(t, (const int64_t[]){i, j}, &value));
    return value;
}

/* ---- what is refused ---------------------------------------------------------------- */

static const refused_file REFUSED[] = {
    /* sizes */
    {"a shape product that wraps to 0", DICT("'|u1'", "False", "(4294967296, 4294967296)"), 0,
     "overflows"},
    {"a byte size that wraps to 0", DICT("'<f8'", "False", "(2305843009213693952,)"), 0,
     "overflows"},
    {"a product that wraps beside a zero", DICT("'<f8'", "False", "(0, 4294967296, 4294967296)"), 0,
     "overflows"},
    {"a dimension past 63 bits", DICT("'|u1'", "False", "(9223372036854775808,)"), 0,
     "a dimension overflows"},
    {"a dimension of 2^64 + 1", DICT("'|u1'", "False", "(18446744073709551617,)"), 1,
     "a dimension overflows"},
    {"data cut short", DICT("'<f4'", "False", "(2,)"), 7, "promise 8 bytes of data, 7 are there"},
    {"bytes behind the data", DICT("'<f4'", "False", "(2,)"), 9, "1 bytes follow the array"},
    {"4 GiB promised in a few bytes", DICT("'|u1'", "False", "(4294967296,)"), 4,
     "promise 4294967296 bytes"},
    {"nine dimensions", DICT("'|u1'", "False", "(1, 1, 1, 1, 1, 1, 1, 1, 1)"), 1,
     "more than 8 dimensions"},
    /* dimensions */
    {"a negative dimension", DICT("'|u1'", "False", "(-1,)"), 1, "'-' where a dimension"},
    {"a fractional dimension", DICT("'|u1'", "False", "(1.5,)"), 1, "'.' where ',' or ')'"},
    {"a signed dimension", DICT("'|u1'", "False", "(+1,)"), 1, "a dimension"},
    {"a leading zero", DICT("'|u1'", "False", "(01,)"), 1, "a dimension"},
    {"a hexadecimal dimension", DICT("'|u1'", "False", "(0x1,)"), 1, "',' or ')'"},
    {"an expression", DICT("'|u1'", "False", "(1 + 0,)"), 1, "',' or ')'"},
    {"a number for a tuple", DICT("'|u1'", "False", "1"), 1, "a tuple"},
    {"a number in brackets", DICT("'|u1'", "False", "(1)"), 1, "a tuple of one"},
    {"a list for a tuple", DICT("'|u1'", "False", "[1]"), 1, "a tuple"},
    {"a tuple of a comma", DICT("'|u1'", "False", "(,)"), 0, "a dimension"},
    {"two commas", DICT("'|u1'", "False", "(1,,1)"), 1, "a dimension"},
    {"no comma between dimensions", DICT("'|u1'", "False", "(1 1)"), 1, "',' or ')'"},
    {"an open tuple", "{'descr': '|u1', 'fortran_order': False, 'shape': (1, ", 1, "a dimension"},
    /* keys */
    {"a key given twice", "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': ()}",
     1, "a second key 'descr'"},
    {"an unknown key", "{'descr': '|u1', 'fortran_order': False, 'shape': (), 'x': 1}", 1,
     "an unknown key 'x'"},
    {"no descr", "{'fortran_order': False, 'shape': ()}", 1, "lacks 'descr'"},
    {"no order", "{'descr': '|u1', 'shape': ()}", 1, "lacks 'fortran_order'"},
    {"no shape", "{'descr': '|u1', 'fortran_order': False}", 1, "lacks 'shape'"},
    {"an empty dict", "{}", 0, "lacks 'descr'"},
    {"a long key", "{'descrdescrdescrdescr': 1}", 0, "the end of a short string"},
    {"a key with a backslash", "{'desc\\x72': '|u1'}", 0, "plain ASCII"},
    {"a key without quotes", "{descr: '|u1'}", 0, "a string"},
    {"quotes that do not match", "{'descr\": '|u1'}", 0, "an unknown key"},
    {"no comma between entries", "{'descr': '|u1' 'shape': ()}", 1, "',' or '}'"},
    {"no colon", "{'descr' '|u1'}", 1, "':'"},
    /* values */
    {"an order of 0", DICT("'|u1'", "0", "()"), 1, "True or False"},
    {"an order of true", DICT("'|u1'", "true", "()"), 1, "True or False"},
    {"a long dtype", DICT("'<f4f4f4f4f4f4f4f4'", "False", "()"), 1, "the end of a short string"},
    /* around the dict */
    {"no dict", "", 0, "the end where '{'"},
    {"a list", "[1]", 0, "'[' where '{'"},
    {"text behind the dict", "{'descr': '|u1', 'fortran_order': False, 'shape': ()} x", 1,
     "nothing but padding"},
    {"a call", "__import__('os').system('id')", 0, "'_' where '{'"},
    {"an escape in the header", "\x1b[2J", 0, "'\\x1b' where '{'"},
};

static void wrong_claims_are_refused(void)
{
    check_refused(REFUSED, sizeof REFUSED / sizeof *REFUSED, make);
}

static void foreign_dtypes_are_named(void)
{
    static const struct {
        const char *header, *message;
    } FOREIGN[] = {
        {DICT("'|O'", "False", "(1,)"), "holds Python objects, a pickle"},
        {DICT("'|V3'", "False", "(1,)"), "dtype '|V3' is not read"},
        {DICT("'<U4'", "False", "(1,)"), "dtype '<U4' is not read"},
        {DICT("'<c8'", "False", "(1,)"), "dtype '<c8' is not read"},
        {DICT("'<f16'", "False", "(1,)"), "dtype '<f16' is not read"},
        {DICT("'<M8[ns]'", "False", "(1,)"), "dtype '<M8[ns]' is not read"},
        {DICT("'|f4'", "False", "(1,)"), "dtype '|f4' is not read"},
        {DICT("'<<f4'", "False", "(1,)"), "dtype '<<f4' is not read"},
        {DICT("'<F4'", "False", "(1,)"), "dtype '<F4' is not read"},
        {DICT("''", "False", "(1,)"), "dtype '' is not read"},
        {DICT("[('a', '<f4')]", "False", "(1,)"), "a structured dtype"},
        {DICT("('<f4', (2,))", "False", "(1,)"), "a structured dtype"},
    };
    for (size_t i = 0; i < sizeof FOREIGN / sizeof *FOREIGN; i++) {
        fasc_file *file;
        CHECK_FAIL(fasc_file_open(make(FOREIGN[i].header, 16), &file), FASC_EUNSUPPORTED,
                   FOREIGN[i].message);
    }
}

static void a_12_byte_file_that_promises_4_gib_allocates_nothing(void)
{
    fasc_file *file;
    const char *path = write_bytes("12.npy", "\x93NUMPY\x02\x00\xff\xff\xff\xff", 12);
    limit_memory(64 << 20);
    CHECK_FAIL(fasc_file_open(path, &file), FASC_EFORMAT,
               "byte 8: the header would be 4294967295 bytes long; the file has 12");
    limit_memory(0);
}

/* The file is sparse: it has the bytes that its header promises, and no header needs them. */
static void a_huge_header_is_refused(void)
{
    fasc_file *file;
    const char *path = make_version(2, 500000000, "{", 0);
    CHECK(truncate(path, 600000000) == 0, "%s", strerror(errno));
    limit_memory(64 << 20);
    CHECK_FAIL(fasc_file_open(path, &file), FASC_EFORMAT, "need less than 65536");
    limit_memory(0);
}

static void versions_other_than_1_2_3_are_refused(void)
{
    fasc_file *file;
    const char *header = DICT("'|u1'", "False", "()");
    CHECK_FAIL(fasc_file_open(make_version(0, strlen(header), header, 1), &file), FASC_EFORMAT,
               "byte 6: npy version 0.0");
    CHECK_FAIL(fasc_file_open(make_version(4, strlen(header), header, 1), &file), FASC_EFORMAT,
               "npy version 4.0");
    CHECK_FAIL(
        fasc_file_open(write_bytes("v.npy", "\x93NUMPY\x01\x01\x10\x00{}          ", 22), &file),
        FASC_EFORMAT, "npy version 1.1");
}

static void a_file_cut_anywhere_is_refused(void)
{
    for (int version = 1; version <= 3; version++) {
        const char *header = DICT("'<f2'", "False", "(2, 3)");
        long size;
        unsigned char *bytes = read_bytes(make_version(version, strlen(header), header, 12), &size);
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
}

/* Any byte of the header replaced by any other: refused, or read within the file. */
static void a_file_with_a_wrong_byte_is_refused_or_read(void)
{
    const char *header = DICT("'<f2'", "False", "(2, 3)");
    const char *path = make(header, 12);
    FILE *f = fopen(path, "r+b");
    int opened = 0, size = 10 + (int)strlen(header);
    CHECK(f != NULL, "%s: %s", path, strerror(errno));
    for (int byte = 0; f && byte < size; byte++) {
        unsigned char keep = 0;
        CHECK(pread(fileno(f), &keep, 1, byte) == 1, "byte %d: %s", byte, strerror(errno));
        for (int value = 0; value < 256; value++) {
            unsigned char changed = (unsigned char)value;
            fasc_file *file = NULL;
            fasc_tensor *t = NULL;
            CHECK(pwrite(fileno(f), &changed, 1, byte) == 1, "byte %d: %s", byte, strerror(errno));
            fasc_status status = fasc_file_open(path, &file);
            CHECK(status == FASC_OK || status == FASC_EFORMAT || status == FASC_EUNSUPPORTED,
                  "byte %d = %d: %s", byte, value, fasc_last_error());
            if (status == FASC_OK) {
                CHECK_OK(fasc_file_read(file, 0, &t));
                fasc_tensor_free(t);
                fasc_file_close(file);
                opened++;
            }
        }
        CHECK(pwrite(fileno(f), &keep, 1, byte) == 1, "byte %d: %s", byte, strerror(errno));
    }
    CHECK(opened >= size, "only %d variants were opened", opened);
    if (f) {
        fclose(f);
    }
}

/* ---- what is read ------------------------------------------------------------------- */

static void every_spelling_of_a_header_is_read(void)
{
    static const char *const HEADER[] = {
        DICT("'|u1'", "False", "(2, 3)"),
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3)}",
        "{'shape': (2, 3,), 'fortran_order': False, 'descr': 'u1'}          \n",
        "{\"shape\":(2,3),\"descr\":\"<u1\",\"fortran_order\":False,}\n",
        "  { 'shape' : ( 2 , 3 ) , 'descr' : '=u1' , 'fortran_order' : False , } \t\n",
        "{'descr': '>u1', 'fortran_order': False, 'shape': (2L, 3L)}",
        "{'descr': '|b1', 'fortran_order': False, 'shape': (2, 3)}",
    };
    for (size_t i = 0; i < sizeof HEADER / sizeof *HEADER; i++) {
        for (int version = 1; version <= 3; version++) {
            fasc_tensor *t = load(make_version(version, strlen(HEADER[i]), HEADER[i], 6));
            if (t) {
                CHECK(fasc_tensor_dtype(t) == FASC_U8 && fasc_tensor_rank(t) == 2, "%s", HEADER[i]);
                CHECK(at(t, 1, 2) == 5 && at(t, 1, 0) == 3, "%s: %g", HEADER[i], at(t, 1, 2));
            }
            fasc_tensor_free(t);
        }
    }
}

static void column_major_arrays_keep_their_indices(void)
{
    fasc_tensor *t = load(make(DICT("'|u1'", "True", "(2, 3)"), 6));
    CHECK(at(t, 1, 0) == 1 && at(t, 0, 1) == 2 && at(t, 1, 2) == 5, "%g %g %g", at(t, 1, 0),
          at(t, 0, 1), at(t, 1, 2));
    fasc_tensor_free(t);
    t = load(make(DICT("'<f4'", "True", "(0, 3)"), 0));
    CHECK(fasc_tensor_numel(t) == 0 && fasc_tensor_shape(t)[1] == 3, "%lld",
          (long long)fasc_tensor_numel(t));
    fasc_tensor_free(t);
    t = load(make(DICT("'|u1'", "True", "()"), 1));
    CHECK(fasc_tensor_rank(t) == 0, "%d", fasc_tensor_rank(t));
    fasc_tensor_free(t);
}

/* 1.5 in every floating dtype and -2 in every integer one, in both byte orders. */
static void both_byte_orders_give_the_same_numbers(void)
{
    static const struct {
        const char *code;
        fasc_dtype dtype;
        size_t bytes;
        const char *big;
        double value;
    } NUMBER[] = {
        {"f2", FASC_F16, 2, "\x3e\x00", 1.5},
        {"f4", FASC_F32, 4, "\x3f\xc0\x00\x00", 1.5},
        {"f8", FASC_F64, 8, "\x3f\xf8\x00\x00\x00\x00\x00\x00", 1.5},
        {"i4", FASC_I32, 4, "\xff\xff\xff\xfe", -2},
        {"i8", FASC_I64, 8, "\xff\xff\xff\xff\xff\xff\xff\xfe", -2},
    };
    for (size_t i = 0; i < sizeof NUMBER / sizeof *NUMBER; i++) {
        for (int little = 0; little < 2; little++) {
            char bytes[256];
            int used = snprintf(bytes, sizeof bytes, "\x93NUMPY\x01");
            used += snprintf(bytes + 10, sizeof bytes - 10, DICT("'%c%s'", "False", "(1, 1)"),
                             "><"[little], NUMBER[i].code);
            bytes[7] = '\0';
            bytes[8] = (char)(used - 7);
            bytes[9] = '\0';
            used += 3;
            for (size_t b = 0; b < NUMBER[i].bytes; b++) {
                bytes[used++] = NUMBER[i].big[little ? NUMBER[i].bytes - 1 - b : b];
            }
            fasc_tensor *t = load(write_bytes("order.npy", bytes, (size_t)used));
            CHECK(t && fasc_tensor_dtype(t) == NUMBER[i].dtype && at(t, 0, 0) == NUMBER[i].value,
                  "%s %s-endian: %g", NUMBER[i].code, little ? "little" : "big",
                  t ? at(t, 0, 0) : NAN);
            fasc_tensor_free(t);
        }
    }
}

/* ---- what is written ---------------------------------------------------------------- */

/* As numpy.save writes numpy.arange(6, dtype="<f4").reshape(2, 3), byte for byte. */
static void a_small_file_has_exactly_numpys_bytes(void)
{
    static const char HEADER[] =
        "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
        "                                                          \n";
    static const float DATA[] = {0, 1, 2, 3, 4, 5};
    char expected[128 + sizeof DATA];
    fasc_device *cpu;
    fasc_tensor *t;
    CHECK(sizeof HEADER == 129, "%zu", sizeof HEADER);
    memcpy(expected, HEADER, 128);
    memcpy(expected + 128, DATA, sizeof DATA);
    CHECK_OK(fasc_device_open("cpu", &cpu));
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 2, (const int64_t[]){2, 3}, &t));
    CHECK_OK(fasc_tensor_arange(t, 0.0, 1.0));
    CHECK_OK(fasc_save_npy(test_path("small.npy"), t));
    CHECK(same_bytes(test_path("small.npy"), write_bytes("expected", expected, sizeof expected)),
          "the files differ");
    fasc_tensor_free(t);
}

static void every_dtype_and_rank_comes_back(void)
{
    static const int64_t SHAPE[] = {3, 2, 1, 4, 1, 2, 1, 2};
    fasc_device *cpu;
    CHECK_OK(fasc_device_open("cpu", &cpu));
    for (int32_t dtype = FASC_F16; dtype <= FASC_U8; dtype++) {
        for (int32_t rank = 0; rank <= 8; rank++) {
            fasc_tensor *t;
            CHECK_OK(fasc_tensor_empty(cpu, (fasc_dtype)dtype, rank, SHAPE, &t));
            CHECK_OK(fasc_tensor_arange(t, 1.0, 1.0));
            if (dtype == FASC_BF16) {
                CHECK_FAIL(fasc_save_npy(test_path("t.npy"), t), FASC_EUNSUPPORTED,
                           "npy has no bf16");
            } else {
                fasc_difference difference = {.size = sizeof difference};
                CHECK_OK(fasc_save_npy(test_path("t.npy"), t));
                fasc_tensor *back = load(test_path("t.npy"));
                CHECK(fasc_tensor_dtype(back) == (fasc_dtype)dtype, "dtype %d", dtype);
                CHECK_OK(fasc_tensor_compare(back, t, &difference));
                CHECK(difference.max_abs == 0 && difference.count == fasc_tensor_numel(t),
                      "dtype %d rank %d: %g", dtype, rank, difference.max_abs);
                fasc_tensor_free(back);
            }
            fasc_tensor_free(t);
        }
    }
}

static void strided_tensors_are_written_in_row_major_order(void)
{
    fasc_device *cpu;
    fasc_tensor *t, *turned;
    CHECK_OK(fasc_device_open("cpu", &cpu));
    CHECK_OK(fasc_tensor_empty(cpu, FASC_I32, 2, (const int64_t[]){2, 3}, &t));
    CHECK_OK(fasc_tensor_arange(t, 0.0, 1.0));
    CHECK_OK(fasc_tensor_view(t, 0, 2, (const int64_t[]){3, 2}, (const int64_t[]){1, 3}, &turned));
    CHECK_OK(fasc_save_npy(test_path("turned.npy"), turned));
    fasc_tensor *back = load(test_path("turned.npy"));
    CHECK(fasc_tensor_is_contiguous(back) && at(back, 1, 0) == 1 && at(back, 0, 1) == 3, "%g %g",
          at(back, 1, 0), at(back, 0, 1));
    fasc_tensor_free(t);
    fasc_tensor_free(turned);
    fasc_tensor_free(back);
}

TEST_MAIN(wrong_claims_are_refused, foreign_dtypes_are_named,
          a_12_byte_file_that_promises_4_gib_allocates_nothing, a_huge_header_is_refused,
          versions_other_than_1_2_3_are_refused, a_file_cut_anywhere_is_refused,
          a_file_with_a_wrong_byte_is_refused_or_read, every_spelling_of_a_header_is_read,
          column_major_arrays_keep_their_indices, both_byte_orders_give_the_same_numbers,
          a_small_file_has_exactly_numpys_bytes, every_dtype_and_rank_comes_back,
          strided_tensors_are_written_in_row_major_order)
