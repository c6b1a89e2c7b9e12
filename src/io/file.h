/* file.h - an open file as its readers see it. A reader checks the whole header of its format and
 * fills the entries and metadata; file.c does the rest of opening, looking and closing, and
 * file_read.c brings the data.
 *
 * Readers allocate nothing on a file's promise: a size is first compared with the file's own. */
#ifndef FASC_IO_FILE_H
#define FASC_IO_FILE_H

#include "backend.h"
#include "element.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the file readers and writers move little-endian bytes as they are"
#endif

/* A tensor of the file. */
typedef struct fasc_file_entry {
    fasc_file_tensor info; /* its name is owned by the file */
    fasc_element element;  /* how its bytes become info.dtype */
    bool big_endian;       /* the elements' bytes stand the other way round */
    bool fortran;          /* the first index runs fastest */
    uint64_t member;       /* its number in an npz */
} fasc_file_entry;

typedef struct fasc_npz fasc_npz; /* see npz.c */

struct fasc_file {
    int fd;
    int64_t bytes;   /* of the whole file */
    char *shown;     /* the path, escaped for messages */
    char member[96]; /* of an npz, while its header is read, escaped; "" = the file itself */
    const char *format;
    int32_t count;
    fasc_file_entry *entries;
    int32_t pairs;
    char **metadata; /* key, value, key, ... */
    fasc_npz *npz;
};

/* The readers: `head` holds the file's first head_bytes bytes (at most FASC_FILE_HEAD). */
#define FASC_FILE_HEAD 16
fasc_status fasc_safetensors_open(fasc_file *file, const char *head, size_t head_bytes);
fasc_status fasc_npy_open(fasc_file *file);
fasc_status fasc_npz_open(fasc_file *file);
void fasc_npz_close(fasc_npz *npz);

/* Sets "file_open: PATH: byte OFFSET: ..." and returns FASC_EFORMAT. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
fasc_status
fasc_file_bad(const fasc_file *file, int64_t offset, const char *format, ...);

/* What is said of a pickle, given the path: the line that makes of it what fasc reads. */
#define FASC_FILE_PICKLE                                                                           \
    "a Python pickle, which is a program and is not run; convert a PyTorch file with: python3 -c " \
    "'import torch, safetensors.torch as s; s.save_file(torch.load(\"%s\", weights_only=True), "   \
    "\"converted.safetensors\")'"

/* "file_open: PATH: no memory for N bytes of what". */
fasc_status fasc_file_no_memory(const fasc_file *file, size_t bytes, const char *what);

/* Reads `bytes` bytes at offset; all of them, or an error. */
fasc_status fasc_file_pread(const fasc_file *file, const char *call, void *dst, int64_t offset,
                            int64_t bytes);

/* The product of the dimensions and of element_bits, in whole bytes. false: it does not fit in 63
 * bits, or is no whole number of bytes. Zero dimensions are left out of the overflow check, so
 * that no shape passes by multiplying to zero. */
bool fasc_file_shape_bytes(int32_t rank, const int64_t *shape, int64_t element_bits,
                           int64_t *bytes);

/* ---- bytes one after another ------------------------------------------------------ */

/* Reads a file, or a member of an npz, from its first byte on. */
typedef struct fasc_file_reader {
    const fasc_file *file;
    const char *call;
    int64_t at;              /* the next byte */
    struct zip_file *member; /* NULL: the file itself */
} fasc_file_reader;

/* A file whose format is npz needs the member's number. */
fasc_status fasc_file_reader_open(fasc_file_reader *reader, const fasc_file *file, const char *call,
                                  uint64_t member);

/* The next `bytes` bytes, all of them, or an error. */
fasc_status fasc_file_reader_next(fasc_file_reader *reader, void *dst, int64_t bytes);

/* Ends it and returns status. After all bytes of a member were read with FASC_OK, whole = true
 * looks whether they are those that its checksum promises, and no more. */
fasc_status fasc_file_reader_close(fasc_file_reader *reader, fasc_status status, bool whole);

/* The three for a member, in npz.c. */
fasc_status fasc_npz_reader_open(fasc_file_reader *reader, uint64_t member);
fasc_status fasc_npz_reader_next(fasc_file_reader *reader, void *dst, int64_t bytes);
fasc_status fasc_npz_reader_close(fasc_file_reader *reader, fasc_status status, bool whole);

/* Fills entry->info, but for its name, and how it is read, from the npy of `bytes` bytes that the
 * reader begins. A dtype that fasc cannot read leaves info.dtype 0; the data of it is what follows
 * the header. */
fasc_status fasc_npy_header(const fasc_file *file, fasc_file_reader *reader, int64_t bytes,
                            fasc_file_entry *entry);

#endif
