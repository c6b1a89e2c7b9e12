/* file.h - an open file as its readers see it. A reader checks the whole header of its format and
 * fills the tensors and metadata; file.c does the rest (opening, reading data, closing).
 *
 * Readers allocate nothing on a file's promise: a size is first compared with the file's own. */
#ifndef FASC_IO_FILE_H
#define FASC_IO_FILE_H

#include "backend.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the file readers and writers move little-endian bytes as they are"
#endif

struct fasc_file {
    int fd;
    int64_t bytes; /* of the whole file */
    char *shown;   /* the path, escaped for messages */
    const char *format;
    int32_t count;
    fasc_file_tensor *tensors; /* their names are owned by the file */
    bool big_endian;           /* the elements' bytes stand the other way round */
    bool fortran;              /* the first index runs fastest */
    int32_t pairs;
    char **metadata; /* key, value, key, ... */
};

/* The readers: `head` holds the file's first head_bytes bytes (at most FASC_FILE_HEAD). */
#define FASC_FILE_HEAD 16
fasc_status fasc_safetensors_open(fasc_file *file, const char *head, size_t head_bytes);
fasc_status fasc_npy_open(fasc_file *file, const char *head, size_t head_bytes);

/* Sets "file_open: PATH: byte OFFSET: ..." and returns FASC_EFORMAT. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
fasc_status
fasc_file_bad(const fasc_file *file, int64_t offset, const char *format, ...);

/* Reads `bytes` bytes at offset; all of them, or an error. */
fasc_status fasc_file_pread(const fasc_file *file, const char *call, void *dst, int64_t offset,
                            int64_t bytes);

/* "file_open: PATH: no memory for N bytes of what". */
fasc_status fasc_file_no_memory(const fasc_file *file, size_t bytes, const char *what);

/* The product of the dimensions and of element_bits, in whole bytes. false: it does not fit in 63
 * bits, or is no whole number of bytes. Zero dimensions are left out of the overflow check, so
 * that no shape passes by multiplying to zero. */
bool fasc_file_shape_bytes(int32_t rank, const int64_t *shape, int64_t element_bits,
                           int64_t *bytes);

#endif
