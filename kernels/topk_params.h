/* topk_params.h - what kernels that keep the largest scores of rows are told at launch; shared by
 * the host and the device. */
#ifndef FASC_TOPK_PARAMS_H
#define FASC_TOPK_PARAMS_H

/* Strides in elements of batch, head, row, place; of the values, then of the indices. */
typedef struct fasc_topk_params {
    float *values; /* NULL = not wanted */
    int32_t *indices;
    int64_t stride[2][4];
    int32_t k;
    char *room; /* of the lanes' records, FASC_TOPK_ROOM(kept) a warp; for RecordTopK */
} fasc_topk_params;

/* An entry of a warp's lists, and a warp's lists: `length` entries and the one that is thrown away.
 */
#define FASC_TOPK_SLOT          512
#define FASC_TOPK_BYTES(length) (((length) + 1) * FASC_TOPK_SLOT)

/* The k up to which a lane's records serve; entries of its lists then. */
#define FASC_TOPK_FEW        8
#define FASC_TOPK_FEW_LENGTH 11

/* Records of a lane where so many of a row are kept, and their bytes for a warp. */
#define FASC_TOPK_RECORDS(kept) ((kept) <= 8 ? 48 : (kept) <= 16 ? 64 : 112)
#define FASC_TOPK_ROOM(kept)    (FASC_TOPK_RECORDS(kept) * 32 * 32)

/* Tiles that are looked at first, of so many. */
#define FASC_TOPK_LOOKS(kept, tiles)                                                               \
    ((kept) <= 8 ? ((tiles) + 7) / 8 : (kept) <= 16 ? ((tiles) + 3) / 4 : (tiles))

#endif
