/* sm80_params.h - the shared memory of flash_sm80's blocks, in numbers that the host and the device
 * agree on. */
#ifndef FASC_SM80_PARAMS_H
#define FASC_SM80_PARAMS_H

/* Bytes that a thread keeps there, a row, and a block beside both. */
#define FASC_SM80_KEPT_BY_THREAD 32
#define FASC_SM80_KEPT_BY_ROW    16
#define FASC_SM80_KEPT_BY_BLOCK  32

/* Q, the stages of K and (with an output) V in panels of 64 columns, and what is kept. */
#define FASC_SM80_SMEM_BYTES(head_dim, block_m, block_n, stages, warps, want_out)                  \
    (((head_dim) + 63) / 64 * 128 * ((block_m) + (block_n) * (stages) * ((want_out) ? 2 : 1)) +    \
     32 * (warps)*FASC_SM80_KEPT_BY_THREAD + (block_m)*FASC_SM80_KEPT_BY_ROW +                     \
     FASC_SM80_KEPT_BY_BLOCK)

#endif
