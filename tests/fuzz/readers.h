/* readers.h - any bytes as a file of each format: it is refused, or all that it offers can be read.
 * The fuzzers and the test that replays their corpora share this. */
#ifndef FASC_FUZZ_READERS_H
#define FASC_FUZZ_READERS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fasc.h"

/* Larger tensors are legal, and slow: a fuzzer's time is better spent on other files. */
#define FUZZ_MAX_BYTES (1 << 24)

static inline void fuzz_check(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "%s: %s\n", what, fasc_last_error());
        abort();
    }
}

/* Data that is there but cannot be had is an error of the file, as an npz's checksum finds it. */
static inline int fuzz_refused(fasc_status status)
{
    return status == FASC_EFORMAT || status == FASC_EUNSUPPORTED;
}

static inline void fuzz_look(fasc_tensor *t)
{
    fasc_summary summary = {.size = sizeof summary};
    fuzz_check(fasc_tensor_summarize(t, &summary) == FASC_OK, "its elements cannot be seen");
    fasc_tensor_free(t);
}

static inline void fuzz_read_all(fasc_file *file)
{
    const char *key, *value;
    for (int32_t i = 0; i < fasc_file_tensor_count(file); i++) {
        fasc_file_tensor info = {.size = sizeof info};
        fasc_tensor *t = NULL;
        fasc_status status = fasc_file_tensor_info(file, i, &info);
        fuzz_check(status == FASC_OK && info.name, "a tensor is listed without a description");
        if (info.bytes > FUZZ_MAX_BYTES) {
            continue;
        }
        status = fasc_file_read(file, i, &t);
        fuzz_check(status == FASC_OK || fuzz_refused(status), "a tensor is not read");
        fuzz_check(info.dtype || status == FASC_EUNSUPPORTED, "a foreign tensor is read");
        if (status == FASC_OK) {
            fuzz_look(t);
        }
        for (int32_t dtype = FASC_F16; dtype <= FASC_U8; dtype++) {
            if (fasc_file_read_as(file, i, (fasc_dtype)dtype, &t) == FASC_OK) {
                fuzz_look(t);
            }
        }
        if (fasc_file_map(file, i, &t) == FASC_OK) {
            fuzz_look(t);
        }
    }
    for (int32_t i = 0; fasc_file_metadata(file, i, &key, &value) == FASC_OK; i++) {
        fuzz_check(key && value, "metadata is listed without text");
    }
}

/* The bytes, which may come in two parts, as a file. */
static inline void fuzz_file(const void *head, size_t head_size, const void *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    fasc_file *file = NULL;
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        fasc_set_num_threads(1);
    }
    fuzz_check(ftruncate(fd, 0) == 0 && pwrite(fd, head, head_size, 0) == (ssize_t)head_size &&
                   pwrite(fd, data, size, (off_t)head_size) == (ssize_t)size,
               "no file");
    fasc_status status = fasc_file_open(path, &file);
    fuzz_check(status == FASC_OK || fuzz_refused(status),
               "opening failed for another reason than the file");
    if (status == FASC_OK) {
        fuzz_read_all(file);
        fasc_file_close(file);
    }
}

/* The header's length first, in two bytes: eight of them, of which six must be zero, would keep
 * nearly every mutation from the header's text. */
static inline void fuzz_safetensors(const uint8_t *data, size_t size)
{
    unsigned char length[8] = {0};
    if (size >= 2) {
        memcpy(length, data, 2);
        fuzz_file(length, sizeof length, data + 2, size - 2);
    }
}

static inline void fuzz_npy(const uint8_t *data, size_t size)
{
    fuzz_file("", 0, data, size);
}

/* An archive of one stored member. */
static inline void fuzz_npz_member(const uint8_t *npy, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= npy[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }
    char *bytes = NULL;
    size_t used = 0;
    FILE *f = open_memstream(&bytes, &used);
    for (int directory = 0; directory < 2; directory++) {
        const uint32_t words[] = {0x00210000, ~crc, (uint32_t)size, (uint32_t)size};
        fwrite(directory ? "PK\1\2\x14\0\x14\0\0\0\0\0" : "PK\3\4\x14\0\0\0\0\0", 1,
               directory ? 12 : 10, f);
        fwrite(words, 4, 4, f);
        fwrite("\5\0\0\0", 1, 4, f);
        if (directory) {
            fwrite("\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 1, 14, f);
        }
        fwrite("a.npy", 1, 5, f);
        if (!directory) {
            fwrite(npy, 1, size, f);
        }
    }
    const uint32_t sizes[] = {51, (uint32_t)(35 + size)};
    fwrite("PK\5\6\0\0\0\0\1\0\1\0", 1, 12, f);
    fwrite(sizes, 4, 2, f);
    fwrite("\0\0", 1, 2, f);
    fclose(f);
    fuzz_file("", 0, bytes, used);
    free(bytes);
}

/* The first byte says what the rest is: an archive, or what stands in a sound one. */
static inline void fuzz_npz(const uint8_t *data, size_t size)
{
    if (size >= 1 && data[0] == 'm') {
        fuzz_npz_member(data + 1, size - 1);
    } else if (size >= 1) {
        fuzz_file("", 0, data + 1, size - 1);
    }
}

#endif
