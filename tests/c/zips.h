/* zips.h - zip archives for tests, put together by hand, so that they can lie. */
#ifndef FASC_TEST_ZIPS_H
#define FASC_TEST_ZIPS_H

#include <stdbool.h>

#include "files.h"

/* A member as its two headers describe it. What is left 0 is what the data says. */
typedef struct zip_member {
    const char *name; /* with its .npy */
    const void *data; /* as it stands in the archive */
    size_t bytes;
    const char *hidden_name; /* in the header before the data; NULL = name */
    int method;              /* 0 stored, 8 deflated */
    int flags;               /* 1 encrypted */
    uint64_t inflated;       /* bytes that it claims to be; 0 = `bytes` */
    uint32_t crc;            /* 0 = that of the data */
    bool zip64;              /* sizes in an extra field of 64 bits */
    int64_t hole;            /* zeros that stand behind the data and count with it */
    const size_t *at;        /* where its header stands; NULL = behind the last */
} zip_member;

static inline uint32_t zip_crc(const void *data, size_t bytes)
{
    const unsigned char *p = data;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }
    return ~crc;
}

static inline void zip_put(FILE *f, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++, value >>= 8) {
        fputc((int)(value & 0xff), f);
    }
}

/* What both headers say of a member. */
static inline void zip_describe(FILE *f, const zip_member *m, const char *name)
{
    uint64_t packed = m->bytes + (uint64_t)m->hole, inflated = m->inflated ? m->inflated : packed;
    zip_put(f, m->zip64 ? 45 : 20, 2);
    zip_put(f, (uint64_t)m->flags, 2);
    zip_put(f, (uint64_t)m->method, 2);
    zip_put(f, 0x00210000, 4); /* 1980-01-01 */
    zip_put(f, m->crc ? m->crc : zip_crc(m->data, m->bytes), 4);
    zip_put(f, m->zip64 ? 0xffffffff : packed, 4);
    zip_put(f, m->zip64 ? 0xffffffff : inflated, 4);
    zip_put(f, strlen(name), 2);
    zip_put(f, m->zip64 ? 20 : 0, 2);
}

static inline void zip_sizes(FILE *f, const zip_member *m)
{
    if (m->zip64) {
        zip_put(f, 1, 2);
        zip_put(f, 16, 2);
        zip_put(f, m->inflated ? m->inflated : m->bytes + (uint64_t)m->hole, 8);
        zip_put(f, m->bytes + (uint64_t)m->hole, 8);
    }
}

static inline const char *write_zip(const char *file_name, const zip_member *members, size_t count)
{
    const char *path = test_path(file_name);
    FILE *f = fopen(path, "wb");
    int64_t at[16];
    CHECK(f && count <= 16, "cannot write %s", path);
    for (size_t i = 0; i < count; i++) {
        const zip_member *m = &members[i];
        const char *name = m->hidden_name ? m->hidden_name : m->name;
        at[i] = m->at ? (int64_t)*m->at : ftello(f);
        if (!m->at) {
            fwrite("PK\3\4", 1, 4, f);
            zip_describe(f, m, name);
            fputs(name, f);
            zip_sizes(f, m);
            fwrite(m->data, 1, m->bytes, f);
            fseeko(f, m->hole, SEEK_CUR);
        }
    }
    int64_t directory = ftello(f);
    for (size_t i = 0; i < count; i++) {
        const zip_member *m = &members[i];
        fwrite("PK\1\2\x14\0", 1, 6, f);
        zip_describe(f, m, m->name);
        zip_put(f, 0, 2 + 2 + 2 + 4); /* comment, disk, attributes */
        zip_put(f, (uint64_t)at[i], 4);
        fputs(m->name, f);
        zip_sizes(f, m);
    }
    int64_t end = ftello(f);
    bool large = directory > UINT32_MAX;
    if (large) {
        fwrite("PK\6\6", 1, 4, f);
        zip_put(f, 44, 8);
        zip_put(f, 45, 2);
        zip_put(f, 45, 2);
        zip_put(f, 0, 8);
        zip_put(f, count, 8);
        zip_put(f, count, 8);
        zip_put(f, (uint64_t)(end - directory), 8);
        zip_put(f, (uint64_t)directory, 8);
        fwrite("PK\6\7\0\0\0\0", 1, 8, f);
        zip_put(f, (uint64_t)end, 8);
        zip_put(f, 1, 4);
    }
    fwrite("PK\5\6\0\0\0\0", 1, 8, f);
    zip_put(f, count, 2);
    zip_put(f, count, 2);
    zip_put(f, (uint64_t)(end - directory), 4);
    zip_put(f, large ? 0xffffffff : (uint64_t)directory, 4);
    zip_put(f, 0, 2);
    fclose(f);
    return path;
}

#endif
