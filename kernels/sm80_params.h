/* sm80_params.h - the shared memory of flash_sm80's blocks, in numbers that the host and the device
 * agree on. */
#ifndef FASC_SM80_PARAMS_H
#define FASC_SM80_PARAMS_H

/* Bytes that a thread keeps there, and a block beside its threads. */
#define FASC_SM80_KEPT_BY_THREAD 32
#define FASC_SM80_KEPT_BY_BLOCK  24

/* Q, the stages of K and (with an output) V in panels of 64 columns, and what is kept. */
#define FASC_SM80_SMEM_BYTES(head_dim, block_m, block_n, stages, warps, want_out)                  \
    (((head_dim) + 63) / 64 * 128 * ((block_m) + (block_n) * (stages) * ((want_out) ? 2 : 1)) +    \
     32 * (warps)*FASC_SM80_KEPT_BY_THREAD + FASC_SM80_KEPT_BY_BLOCK)

#endif
