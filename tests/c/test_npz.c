/* Reading and writing .npz: what comes back, and every claim that an archive, or an npy inside of
 * it, can make wrongly. */
#include <errno.h>
#include <pthread.h>

#include "zips.h"

/* An npy of version 1.0 with this header and `data` bytes 0, 1, 2, ... */
typedef struct npy {
    unsigned char bytes[512];
    size_t size;
} npy;

#define DICT(descr, shape) "{'descr': " descr ", 'fortran_order': False, 'shape': " shape ", }\n"

static npy make_npy(const char *header, size_t data)
{
    npy n = {.size = 10 + strlen(header) + data};
    memcpy(n.bytes, "\x93NUMPY\x01\x00", 8);
    n.bytes[8] = (unsigned char)strlen(header);
    memcpy(n.bytes + 10, header, strlen(header));
    for (size_t i = 0; i < data; i++) {
        n.bytes[10 + strlen(header) + i] = (unsigned char)i;
    }
    return n;
}

/* A stored member; change what is to be a lie. */
static zip_member stored(const char *name, const npy *n)
{
    return (zip_member){.name = name, .data = n->bytes, .bytes = n->size};
}

static void check_open_fails(const zip_member *members, size_t count, const char *message)
{
    fasc_file *file = NULL;
    const char *path = write_zip("x.npz", members, count);
    fasc_status status = fasc_file_open(path, &file);
    const char *text = fasc_last_error();
    CHECK(status == FASC_EFORMAT, "%s: %s", message, fasc_status_name(status));
    CHECK(strstr(text, message), "'%s' lacks '%s'", text, message);
    CHECK(strstr(text, path), "'%s' names no path", text);
    CHECK(!strchr(text, '\n'), "'%s' has more than one line", text);
    if (status == FASC_OK) {
        fasc_file_close(file);
    }
}

/* ---- what comes back ---------------------------------------------------------------- */

static fasc_tensor *make_tensor(int32_t dtype, int32_t rank, const int64_t *shape)
{
    fasc_device *cpu;
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_device_open("cpu", &cpu));
    CHECK_OK(fasc_tensor_empty(cpu, (fasc_dtype)dtype, rank, shape, &t));
    CHECK_OK(fasc_tensor_arange(t, 1.0, 1.0));
    return t;
}

static void check_equal(const char *path, int32_t index, const char *name, const fasc_tensor *t)
{
    fasc_file *file = NULL;
    fasc_tensor *back = NULL;
    fasc_difference difference = {.size = sizeof difference};
    fasc_file_tensor info = {.size = sizeof info};
    CHECK_OK(fasc_file_open(path, &file));
    CHECK(strcmp(fasc_file_format(file), "npz") == 0, "%s", fasc_file_format(file));
    CHECK_OK(fasc_file_tensor_info(file, index, &info));
    CHECK(strcmp(info.name, name) == 0, "'%s' is not '%s'", info.name, name);
    CHECK_OK(fasc_file_read(file, index, &back));
    CHECK(fasc_tensor_dtype(back) == fasc_tensor_dtype(t), "%s: another dtype", name);
    CHECK_OK(fasc_tensor_compare(back, t, &difference));
    CHECK(difference.max_abs == 0 && difference.count == fasc_tensor_numel(t), "%s: %g", name,
          difference.max_abs);
    fasc_tensor_free(back);
    fasc_file_close(file);
}

static void every_dtype_comes_back_stored_and_deflated(void)
{
    static const char *const NAMES[] = {"a", "b/c", "\xc3\xa9 \xe2\x86\x92"};
    for (int32_t dtype = FASC_F16; dtype <= FASC_U8; dtype++) {
        for (int32_t deflate = 0; deflate < 2; deflate++) {
            fasc_tensor *t[3];
            t[0] = make_tensor(dtype, 3, (const int64_t[]){5, 7, 11});
            t[1] = make_tensor(dtype, 0, NULL);
            t[2] = make_tensor(dtype, 2, (const int64_t[]){3, 0});
            const fasc_tensor *const list[] = {t[0], t[1], t[2]};
            const char *path = test_path("t.npz");
            if (dtype == FASC_BF16) {
                CHECK_FAIL(fasc_save_npz(path, 3, NAMES, list, deflate), FASC_EUNSUPPORTED,
                           "a: npy has no bf16");
            } else {
                CHECK_OK(fasc_save_npz(path, 3, NAMES, list, deflate));
                for (int32_t i = 0; i < 3; i++) {
                    check_equal(path, i, NAMES[i], t[i]);
                }
            }
            for (int32_t i = 0; i < 3; i++) {
                fasc_tensor_free(t[i]);
            }
        }
    }
}

static void strided_tensors_are_written_in_row_major_order(void)
{
    fasc_tensor *t = make_tensor(FASC_I32, 2, (const int64_t[]){200, 300}), *turned;
    const char *name = "turned";
    CHECK_OK(
        fasc_tensor_view(t, 0, 2, (const int64_t[]){300, 200}, (const int64_t[]){1, 300}, &turned));
    const fasc_tensor *list = turned;
    CHECK_OK(fasc_save_npz(test_path("s.npz"), 1, &name, &list, 1));
    check_equal(test_path("s.npz"), 0, name, turned);
    fasc_tensor_free(turned);
    fasc_tensor_free(t);
}

static void the_same_tensors_give_the_same_bytes(void)
{
    fasc_tensor *t = make_tensor(FASC_F32, 1, (const int64_t[]){1000});
    const fasc_tensor *list = t;
    const char *name = "t";
    CHECK_OK(fasc_save_npz(test_path("1.npz"), 1, &name, &list, 1));
    CHECK_OK(fasc_save_npz(test_path("2.npz"), 1, &name, &list, 1));
    CHECK(same_bytes(test_path("1.npz"), test_path("2.npz")), "the files differ");
    fasc_tensor_free(t);
}

static void an_archive_of_nothing_is_a_file_of_nothing(void)
{
    fasc_file *file = NULL;
    CHECK_OK(fasc_save_npz(test_path("none.npz"), 0, NULL, NULL, 0));
    CHECK_OK(fasc_file_open(test_path("none.npz"), &file));
    CHECK(fasc_file_tensor_count(file) == 0, "%d", fasc_file_tensor_count(file));
    fasc_file_close(file);
}

static void a_failed_write_leaves_the_old_file(void)
{
    fasc_tensor *t = make_tensor(FASC_F32, 1, (const int64_t[]){100000});
    const fasc_tensor *list[] = {t, t};
    const char *names[] = {"t", "t"};
    const char *path = write_bytes("old.npz", "old", 3);
    int before = count_files();
    CHECK_FAIL(fasc_save_npz(path, 2, names, list, 0), FASC_EINVAL, "'t' is given twice");
    names[1] = "\xff";
    CHECK_FAIL(fasc_save_npz(path, 2, names, list, 0), FASC_EINVAL, "is no UTF-8");
    limit_file_size(8192);
    CHECK_FAIL(fasc_save_npz(path, 1, names, list, 0), FASC_EIO, "File too large");
    limit_file_size(RLIM_INFINITY);
    fasc_cancel();
    CHECK_FAIL(fasc_save_npz(path, 1, names, list, 0), FASC_ECANCELED, "save_npz: canceled");
    fasc_cancel_clear();
    CHECK(same_bytes(path, write_bytes("expected", "old", 3)), "the old file changed");
    CHECK(count_files() == before + 1, "%d files, not %d", count_files(), before + 1);
    fasc_tensor_free(t);
}

/* ---- archives that lie ---------------------------------------------------------------- */

static void a_member_twice_is_refused(void)
{
    npy n = make_npy(DICT("'|u1'", "(2,)"), 2);
    const zip_member m[] = {stored("a.npy", &n), stored("b.npy", &n), stored("a.npy", &n)};
    check_open_fails(m, 3, "two members have one name");
}

static void what_is_no_npy_is_refused_by_its_name(void)
{
    npy n = make_npy(DICT("'|u1'", "(2,)"), 2);
    const zip_member text[] = {stored("a.npy", &n), stored("read\x1b.txt", &n)};
    check_open_fails(text, 2, "member 'read\xe2\x86\x90.txt': is no .npy");
    const zip_member other[] = {
        {.name = "a.npy", .data = "not an array at all", .bytes = 19},
    };
    check_open_fails(other, 1, "member 'a.npy': byte 0: does not begin as an npy");
    const zip_member empty[] = {{.name = "a.npy", .data = "", .bytes = 0}};
    check_open_fails(empty, 1, "member 'a.npy': byte 0: the member ends inside the npy preamble");
}

static void a_pytorch_file_is_refused_with_the_line_that_converts_it(void)
{
    const zip_member m[] = {
        {.name = "archive/data.pkl", .data = "\x80\x02}q\x01.", .bytes = 6},
        {.name = "archive/version", .data = "3\n", .bytes = 2},
    };
    check_open_fails(m, 2, "a Python pickle, which is a program and is not run");
    check_open_fails(m, 2,
                     "python3 -c 'import torch, safetensors.torch as s; s.save_file(torch.load(");
}

static void names_never_reach_the_file_system(void)
{
    static const char *const NAMES[] = {"../escape.npy", "/tmp/fasc-escape.npy", "x/../../y.npy",
                                        "~/z.npy", "a\\b.npy"};
    npy n = make_npy(DICT("'|u1'", "(2,)"), 2);
    zip_member m[5];
    fasc_file *file = NULL;
    for (int i = 0; i < 5; i++) {
        m[i] = stored(NAMES[i], &n);
    }
    const char *path = write_zip("names.npz", m, 5);
    int before = count_files();
    CHECK_OK(fasc_file_open(path, &file));
    for (int32_t i = 0; i < 5; i++) {
        fasc_file_tensor info = {.size = sizeof info};
        fasc_tensor *t;
        CHECK_OK(fasc_file_tensor_info(file, i, &info));
        CHECK(strncmp(info.name, NAMES[i], strlen(info.name)) == 0, "%s", info.name);
        CHECK_OK(fasc_file_read(file, i, &t));
        fasc_tensor_free(t);
    }
    fasc_file_close(file);
    CHECK(count_files() == before, "%d files, not %d", count_files(), before);
    CHECK(access("/tmp/fasc-escape.npy", F_OK) != 0, "/tmp/fasc-escape.npy was written");
}

static void methods_and_ciphers_that_are_not_read_are_named(void)
{
    npy n = make_npy(DICT("'|u1'", "(2,)"), 2);
    zip_member m = stored("a.npy", &n);
    m.flags = 1;
    check_open_fails(&m, 1, "member 'a.npy': is encrypted");
    m.flags = 0;
    m.method = 12;
    check_open_fails(&m, 1, "member 'a.npy': compression method 12");
}

static void headers_that_contradict_each_other_are_refused(void)
{
    npy n = make_npy(DICT("'|u1'", "(2,)"), 2);
    zip_member m = stored("a.npy", &n);
    m.hidden_name = "b.npy";
    check_open_fails(&m, 1, "not a whole one");
    m = stored("a.npy", &n);
    m.inflated = n.size + 1;
    check_open_fails(&m, 1, "bytes cannot become the");
}

static void a_wrong_checksum_is_found_when_the_tensor_is_read(void)
{
    fasc_file *file = NULL;
    fasc_tensor *t;
    npy n = make_npy(DICT("'|u1'", "(2,)"), 2);
    zip_member m[] = {stored("a.npy", &n), stored("b.npy", &n)};
    m[0].crc = 12345;
    CHECK_OK(fasc_file_open(write_zip("crc.npz", m, 2), &file));
    CHECK_FAIL(fasc_file_read(file, 0, &t), FASC_EFORMAT, "CRC error");
    CHECK_OK(fasc_file_read(file, 1, &t));
    fasc_tensor_free(t);
    fasc_file_close(file);
}

/* ---- bombs ------------------------------------------------------------------------------ */

static void an_npy_header_that_promises_other_sizes_than_its_member_is_refused(void)
{
    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } WRONG[] = {
        {DICT("'|u1'", "(4294967296,)"), 4, "promise 4294967296 bytes of data, 4 are there"},
        {DICT("'|u1'", "(4294967296, 4294967296)"), 0, "overflows"},
        {DICT("'<f4'", "(1,)"), 5, "1 bytes follow the array"},
        {DICT("'<f4'", "(-1,)"), 4, "'-' where a dimension"},
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        npy n = make_npy(WRONG[i].header, WRONG[i].data);
        zip_member m = stored("a.npy", &n);
        check_open_fails(&m, 1, WRONG[i].message);
        check_open_fails(&m, 1, "member 'a.npy': byte ");
    }
    unsigned char tiny[12] = "\x93NUMPY\x02\x00\xff\xff\xff\xff";
    const zip_member m = {.name = "a.npy", .data = tiny, .bytes = sizeof tiny};
    limit_memory(64 << 20);
    check_open_fails(&m, 1, "the header would be 4294967295 bytes long");
    limit_memory(0);
}

/* Deflates one tensor, and returns the member's bytes as they stand in the archive. */
static zip_member deflated(const fasc_tensor *t, unsigned char **archive, uint32_t *crc)
{
    const fasc_tensor *list = t;
    const char *name = "a", *path = test_path("deflate.npz");
    long size;
    CHECK_OK(fasc_save_npz(path, 1, &name, &list, 1));
    unsigned char *b = *archive = read_bytes(path, &size);
    uint32_t packed = (uint32_t)(b[18] | b[19] << 8 | b[20] << 16 | b[21] << 24);
    size_t start = 30 + (size_t)(b[26] | b[27] << 8) + (size_t)(b[28] | b[29] << 8);
    *crc = (uint32_t)b[14] | (uint32_t)b[15] << 8 | (uint32_t)b[16] << 16 | (uint32_t)b[17] << 24;
    return (zip_member){.name = "a.npy", .data = b + start, .bytes = packed, .method = 8};
}

static void a_stream_that_inflates_to_more_than_it_promises_is_stopped_there(void)
{
    fasc_file *file = NULL;
    fasc_tensor *t = make_tensor(FASC_U8, 1, (const int64_t[]){100000}), *read;
    unsigned char *archive;
    uint32_t crc;
    zip_member m = deflated(t, &archive, &crc);
    m.crc = crc;
    m.inflated = 128 + 100000;
    CHECK_OK(fasc_file_open(write_zip("whole.npz", &m, 1), &file));
    CHECK_OK(fasc_file_read(file, 0, &read));
    fasc_tensor_free(read);
    fasc_file_close(file);
    m.inflated = 128 + 99999; /* the directory's promise, which the npy's header exceeds */
    check_open_fails(&m, 1, "promise 100000 bytes of data, 99999 are there");
    free(archive);
    fasc_tensor_free(t);
}

static void a_promise_that_no_deflate_stream_can_keep_is_refused(void)
{
    npy n = make_npy(DICT("'|u1'", "(1000000,)"), 4);
    zip_member m = stored("a.npy", &n);
    m.method = 8;
    m.inflated = 2000 * n.size;
    limit_memory(64 << 20);
    check_open_fails(&m, 1, "bytes cannot become the");
    m.zip64 = true;
    m.inflated = (uint64_t)1 << 62;
    check_open_fails(&m, 1, "bytes cannot become the");
    m.inflated = UINT64_MAX;
    check_open_fails(&m, 1, "x.npz");
    limit_memory(0);
}

/* A stream of zeros inflates a thousandfold: opening reads its header, no more. */
static void a_bomb_costs_nothing_until_its_tensor_is_read(void)
{
    fasc_file *file = NULL;
    fasc_device *cpu;
    fasc_tensor *zeros;
    const char *name = "bomb", *path = test_path("bomb.npz");
    const int64_t shape = 128 << 20;
    CHECK_OK(fasc_device_open("cpu", &cpu));
    CHECK_OK(fasc_tensor_empty(cpu, FASC_U8, 1, &shape, &zeros));
    CHECK_OK(fasc_tensor_fill(zeros, 0));
    const fasc_tensor *list = zeros;
    CHECK_OK(fasc_save_npz(path, 1, &name, &list, 1));
    fasc_tensor_free(zeros);
    struct stat st;
    CHECK(stat(path, &st) == 0 && st.st_size < 200000, "%lld bytes", (long long)st.st_size);
    CHECK_OK(fasc_memory_trim(cpu));
    limit_memory(64 << 20);
    CHECK_OK(fasc_file_open(path, &file));
#ifndef __SANITIZE_ADDRESS__
    fasc_tensor *t;
    CHECK_FAIL(fasc_file_read(file, 0, &t), FASC_ENOMEM, "asked for 134217728 bytes");
#endif
    limit_memory(0);
    fasc_file_close(file);
}

/* Members that share their bytes multiply a file without any stream doing so: b, whole with its
 * header, is the data of a. */
static void members_that_overlap_are_refused(void)
{
    static unsigned char outer_bytes[1024];
    long size;
    npy inner = make_npy(DICT("'|u1'", "(200,)"), 200);
    zip_member b = stored("b.npy", &inner);
    unsigned char *archive = read_bytes(write_zip("inner.npz", &b, 1), &size);
    size_t record = 30 + strlen(b.name) + inner.size;
    char header[128];
    snprintf(header, sizeof header, DICT("'|u1'", "(%zu,)"), record);
    npy outer = make_npy(header, 0);
    memcpy(outer_bytes, outer.bytes, outer.size);
    memcpy(outer_bytes + outer.size, archive, record);
    const size_t begin = 30 + strlen("a.npy") + outer.size;
    b.at = &begin;
    const zip_member m[] = {{.name = "a.npy", .data = outer_bytes, .bytes = outer.size + record},
                            b};
    check_open_fails(m, 2, "member 'b.npy': its ");
    check_open_fails(m, 2, "and those before it are more than the file");
    free(archive);
}

/* ---- what is read ------------------------------------------------------------------------ */

static void a_member_past_4_gib_is_read_by_its_64_bit_sizes(void)
{
    npy large = make_npy(DICT("'|u1'", "(5000000000,)"), 0),
        small = make_npy(DICT("'<i2'", "(3,)"), 6);
    zip_member m[] = {stored("large.npy", &large), stored("small.npy", &small)};
    fasc_file *file = NULL;
    fasc_file_tensor info = {.size = sizeof info};
    fasc_tensor *t;
    double value = 0;
    m[0].zip64 = true;
    m[0].hole = 5000000000;
    m[0].crc = 1;
    m[1].zip64 = true;
    const char *path = write_zip("large.npz", m, 1);
    CHECK_OK(fasc_file_open(path, &file));
    CHECK_OK(fasc_file_tensor_info(file, 0, &info));
    CHECK(info.bytes == 5000000000, "%lld", (long long)info.bytes);
    fasc_file_close(file);
    CHECK(truncate(path, 0) == 0, "%s", strerror(errno));
    CHECK_OK(fasc_file_open(write_zip("small.npz", m + 1, 1), &file));
    CHECK_OK(fasc_file_read(file, 0, &t));
    CHECK_OK(fasc_tensor_get(t, (const int64_t[]){2}, &value));
    CHECK(fasc_tensor_dtype(t) == FASC_I32 && value == 4 + 256 * 5, "%g", value);
    fasc_tensor_free(t);
    fasc_file_close(file);
}

static void foreign_members_are_listed_and_the_others_read(void)
{
    npy object = make_npy(DICT("'|O'", "(1,)"), 40), text = make_npy(DICT("'<U3'", "(2,)"), 24);
    npy fields = make_npy(DICT("[('a', '<f4'), ('b', '<i2', (2,))]", "(1,)"), 8);
    npy raw = make_npy(DICT("'|V2'", "(2,)"), 4), plain = make_npy(DICT("'|u1'", "(2,)"), 2);
    const zip_member m[] = {stored("object.npy", &object), stored("text.npy", &text),
                            stored("fields.npy", &fields), stored("raw.npy", &raw),
                            stored("plain.npy", &plain)};
    fasc_file *file = NULL;
    fasc_tensor *t;
    CHECK_OK(fasc_file_open(write_zip("foreign.npz", m, 5), &file));
    for (int32_t i = 0; i < 4; i++) {
        fasc_file_tensor info = {.size = sizeof info};
        CHECK_OK(fasc_file_tensor_info(file, i, &info));
        CHECK(info.dtype == 0, "%s: %d", info.name, info.dtype);
        CHECK_FAIL(fasc_file_read(file, i, &t), FASC_EUNSUPPORTED, info.dtype_name);
    }
    CHECK_OK(fasc_file_read(file, 4, &t));
    fasc_tensor_free(t);
    CHECK_OK(fasc_file_read_as(file, 3, FASC_BF16, &t));
    CHECK(fasc_tensor_dtype(t) == FASC_BF16 && fasc_tensor_numel(t) == 2, "%d",
          (int)fasc_tensor_dtype(t));
    fasc_tensor_free(t);
    CHECK_FAIL(fasc_file_read_as(file, 3, FASC_F32, &t), FASC_EUNSUPPORTED, "are not the 4 bytes");
    CHECK_FAIL(fasc_file_map(file, 4, &t), FASC_EUNSUPPORTED, "stand in a zip archive");
    fasc_file_close(file);
}

typedef struct one_reader {
    pthread_t thread;
    fasc_file *file;
    int32_t index;
    int failed;
} one_reader;

/* Tensor i holds i + 1, 65000 times. */
static void *read_again_and_again(void *context)
{
    one_reader *r = context;
    for (int round = 0; round < 20; round++) {
        fasc_tensor *t = NULL;
        fasc_summary summary = {.size = sizeof summary};
        if (fasc_file_read(r->file, r->index, &t) != FASC_OK ||
            fasc_tensor_summarize(t, &summary) != FASC_OK || summary.min != r->index + 1 ||
            summary.max != r->index + 1) {
            r->failed++;
        }
        fasc_tensor_free(t);
    }
    return NULL;
}

static void threads_read_one_file_at_the_same_time(void)
{
    enum { THREADS = 4 };
    const char *names[THREADS] = {"a", "b", "c", "d"}, *path = test_path("threads.npz");
    fasc_tensor *t[THREADS];
    one_reader readers[THREADS];
    fasc_file *file = NULL;
    for (int32_t i = 0; i < THREADS; i++) {
        t[i] = make_tensor(FASC_F32, 1, (const int64_t[]){65000});
        CHECK_OK(fasc_tensor_fill(t[i], i + 1));
    }
    CHECK_OK(fasc_save_npz(path, THREADS, names, (const fasc_tensor *const *)t, 1));
    CHECK_OK(fasc_file_open(path, &file));
    for (int32_t i = 0; i < THREADS; i++) {
        readers[i] = (one_reader){.file = file, .index = i};
        CHECK(pthread_create(&readers[i].thread, NULL, read_again_and_again, &readers[i]) == 0,
              "no thread");
    }
    for (int32_t i = 0; i < THREADS; i++) {
        pthread_join(readers[i].thread, NULL);
        CHECK(readers[i].failed == 0, "thread %d: %d reads failed", i, readers[i].failed);
        fasc_tensor_free(t[i]);
    }
    fasc_file_close(file);
}

static void read_all(fasc_file *file)
{
    for (int32_t i = 0; i < fasc_file_tensor_count(file); i++) {
        fasc_tensor *t = NULL;
        fasc_status status = fasc_file_read(file, i, &t);
        CHECK(status == FASC_OK || status == FASC_EFORMAT || status == FASC_EUNSUPPORTED, "%s",
              fasc_last_error());
        fasc_tensor_free(t);
    }
}

static const char *small_archive(void)
{
    npy a = make_npy(DICT("'<f2'", "(2, 3)"), 12), b = make_npy(DICT("'|u1'", "()"), 1);
    const zip_member m[] = {stored("a.npy", &a), stored("b.npy", &b)};
    return write_zip("small.npz", m, 2);
}

static void an_archive_cut_anywhere_is_refused(void)
{
    long size;
    unsigned char *bytes = read_bytes(small_archive(), &size);
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

/* Each byte changed in several ways: refused when it is opened, or when it is read, or read. */
static void an_archive_with_a_wrong_byte_is_refused_or_read(void)
{
    static const unsigned char CHANGE[] = {0x01, 0x02, 0x08, 0x40, 0x80, 0xff};
    long size;
    unsigned char *bytes = read_bytes(small_archive(), &size);
    for (long i = 0; i < size; i++) {
        for (size_t c = 0; c < sizeof CHANGE; c++) {
            fasc_file *file = NULL;
            bytes[i] ^= CHANGE[c];
            fasc_status status = fasc_file_open(write_bytes("byte", bytes, (size_t)size), &file);
            CHECK(status == FASC_OK || status == FASC_EFORMAT || status == FASC_EUNSUPPORTED,
                  "byte %ld: %s", i, fasc_last_error());
            if (status == FASC_OK) {
                read_all(file);
                fasc_file_close(file);
            }
            bytes[i] ^= CHANGE[c];
        }
    }
    free(bytes);
}

TEST_MAIN(every_dtype_comes_back_stored_and_deflated,
          strided_tensors_are_written_in_row_major_order, the_same_tensors_give_the_same_bytes,
          an_archive_of_nothing_is_a_file_of_nothing, a_failed_write_leaves_the_old_file,
          a_member_twice_is_refused, what_is_no_npy_is_refused_by_its_name,
          a_pytorch_file_is_refused_with_the_line_that_converts_it,
          names_never_reach_the_file_system, methods_and_ciphers_that_are_not_read_are_named,
          headers_that_contradict_each_other_are_refused,
          a_wrong_checksum_is_found_when_the_tensor_is_read,
          an_npy_header_that_promises_other_sizes_than_its_member_is_refused,
          a_stream_that_inflates_to_more_than_it_promises_is_stopped_there,
          a_promise_that_no_deflate_stream_can_keep_is_refused,
          a_bomb_costs_nothing_until_its_tensor_is_read, members_that_overlap_are_refused,
          a_member_past_4_gib_is_read_by_its_64_bit_sizes,
          foreign_members_are_listed_and_the_others_read, threads_read_one_file_at_the_same_time,
          an_archive_cut_anywhere_is_refused, an_archive_with_a_wrong_byte_is_refused_or_read)
