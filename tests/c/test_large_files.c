/* Files larger than memory: they are listed at once, and a tensor costs what it holds. */
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "files.h"

#define GB ((int64_t)1000000000)

#define HEADER                                                                                     \
    "{\"huge\":{\"dtype\":\"F16\",\"shape\":[500000,100000],\"data_offsets\":[0,100000000000]},"   \
    "\"last\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[100000000000,100000000012]}}  "

/* 100 GB of zeros, which a sparse file has without holding them, and three numbers at the end. */
static const char *make_huge(void)
{
    static const float LAST[] = {1.5f, -2, 4};
    const char *path = test_path("huge.safetensors");
    uint64_t length = sizeof HEADER - 1;
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    CHECK(pwrite(fd, &length, 8, 0) == 8 && pwrite(fd, HEADER, length, 8) == (ssize_t)length &&
              pwrite(fd, LAST, sizeof LAST, (off_t)(8 + length) + 100 * GB) == sizeof LAST,
          "%s: %s", path, strerror(errno));
    close(fd);
    return path;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void a_file_of_100_gb_is_listed_in_less_than_a_second(void)
{
    fasc_file *file = NULL;
    fasc_file_tensor info = {.size = sizeof info};
    const char *path = make_huge();
    limit_memory(64 << 20);
    double start = now();
    CHECK_OK(fasc_file_open(path, &file));
    CHECK_OK(fasc_file_tensor_info(file, 0, &info));
    CHECK(now() - start < 1, "%g seconds", now() - start);
    limit_memory(0);
    CHECK(info.bytes == 100 * GB && info.shape[0] == 500000, "%lld bytes", (long long)info.bytes);
    fasc_file_close(file);
}

static void one_of_its_tensors_is_read_in_little_memory(void)
{
    fasc_file *file = NULL;
    fasc_tensor *t = NULL;
    double value = 0;
    const char *path = make_huge();
    limit_memory(64 << 20);
    CHECK_OK(fasc_file_open(path, &file));
    CHECK_OK(fasc_file_read(file, 1, &t));
    CHECK_OK(fasc_tensor_get(t, (const int64_t[]){2}, &value));
    CHECK(value == 4, "%g", value);
    fasc_tensor_free(t);
#ifndef __SANITIZE_ADDRESS__
    CHECK_FAIL(fasc_file_read(file, 0, &t), FASC_ENOMEM, "asked for 100000000000 bytes");
#endif
    limit_memory(0);
    fasc_file_close(file);
}

/* Pages of this process that are in memory. */
static long resident(void)
{
    long all = 0, there = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%ld %ld", &all, &there) == 2, "cannot read /proc/self/statm");
    if (f) {
        fclose(f);
    }
    return there;
}

static void a_part_of_a_tensor_larger_than_memory_is_reached_by_mapping_it(void)
{
    fasc_file *file = NULL;
    fasc_tensor *t = NULL, *row = NULL;
    fasc_summary summary = {.size = sizeof summary};
    CHECK_OK(fasc_file_open(make_huge(), &file));
    long before = resident();
    CHECK_OK(fasc_file_map(file, 0, &t));
    fasc_file_close(file); /* the tensor stays */
    CHECK_OK(fasc_tensor_view(t, (int64_t)400000 * 100000, 1, (const int64_t[]){100000},
                              (const int64_t[]){1}, &row));
    fasc_tensor_free(t); /* and its view */
    CHECK_OK(fasc_tensor_summarize(row, &summary));
    CHECK(summary.max == 0 && summary.min == 0, "%g to %g", summary.min, summary.max);
    long pages = resident() - before;
    CHECK(pages < 4096, "%ld pages", pages);
    fasc_tensor_free(row);
}

static void what_is_written_to_a_mapped_tensor_stays_out_of_the_file(void)
{
    fasc_file *file = NULL;
    fasc_tensor *t = NULL, *again = NULL;
    double value = 0;
    CHECK_OK(fasc_file_open(make_huge(), &file));
    CHECK_OK(fasc_file_map(file, 1, &t));
    CHECK_OK(fasc_tensor_fill(t, 7));
    CHECK_OK(fasc_tensor_get(t, (const int64_t[]){2}, &value));
    CHECK(value == 7, "%g", value);
    CHECK_OK(fasc_file_read(file, 1, &again));
    CHECK_OK(fasc_tensor_get(again, (const int64_t[]){2}, &value));
    CHECK(value == 4, "%g", value);
    fasc_tensor_free(again);
    fasc_tensor_free(t);
    fasc_file_close(file);
}

static void what_cannot_be_mapped_says_why(void)
{
    static const char BIG[] = "\x93NUMPY\x01\x00\x36\x00{'descr': '>f4', 'fortran_order': False, "
                              "'shape': (1,)}";
    fasc_file *file = NULL;
    fasc_tensor *t = NULL;
    char bytes[256] = {0};
    int used = snprintf(bytes + 8, 240,
                        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                        "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]},"
                        "\"c\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[5,6]}}");
    bytes[8 + used] = ' ';
    used += used % 2; /* an even start, so that b lies at an odd place */
    bytes[0] = (char)used;
    CHECK_OK(fasc_file_open(write_bytes("odd.safetensors", bytes, (size_t)used + 8 + 6), &file));
    CHECK_FAIL(fasc_file_map(file, 1, &t), FASC_EUNSUPPORTED, "not aligned to its elements");
    CHECK_FAIL(fasc_file_map(file, 2, &t), FASC_EUNSUPPORTED, "widened as they are read");
    CHECK_OK(fasc_file_read(file, 1, &t));
    fasc_tensor_free(t);
    fasc_file_close(file);
    memcpy(bytes, BIG, sizeof BIG);
    bytes[8] = (char)(sizeof BIG - 1 - 10);
    CHECK_OK(fasc_file_open(write_bytes("big.npy", bytes, sizeof BIG - 1 + 4), &file));
    CHECK_FAIL(fasc_file_map(file, 0, &t), FASC_EUNSUPPORTED, "big-endian");
    fasc_file_close(file);
}

TEST_MAIN(a_file_of_100_gb_is_listed_in_less_than_a_second,
          one_of_its_tensors_is_read_in_little_memory,
          a_part_of_a_tensor_larger_than_memory_is_reached_by_mapping_it,
          what_is_written_to_a_mapped_tensor_stays_out_of_the_file, what_cannot_be_mapped_says_why)
