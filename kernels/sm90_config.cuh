// sm90_config.cuh - the sizes of a configuration of flash_sm90: tile, registers, shared memory.
// Macros: see flash_sm90.cu.
#pragma once

#include "flash_common.cuh"
#include "sm90_params.h"
#include "sm90_stmatrix.cuh"
#include "topk_params.h"

static_assert(!(STATISTICS || DROPOUT || TOPK) || SCORES == FASC_SCORES_NONE,
              "a launch of their own");

constexpr int BLOCK_M = 64 * CONSUMERS;
constexpr int THREADS = 128 * (CONSUMERS + 1);
constexpr int CONSUMER_WARPS = 4 * CONSUMERS;
constexpr int FILL_WARPS = SCORES == FASC_SCORES_MASKED || SCORES == FASC_SCORES_PROBS ? 3 : 0;

// What setmaxnreg makes of the registers at launch (65,536 / THREADS each, a multiple of 8). With
// one consumer warpgroup nothing is gained.
constexpr int PRODUCER_REGISTERS = CONSUMERS == 3 ? 32 : 40;
constexpr int CONSUMER_REGISTERS = CONSUMERS == 3 ? 160 : 232;

// Products: operands in panels of 64 columns; S is 64 x BLOCK_N and O 64 x V_COLUMNS a warpgroup.
constexpr int PANELS = (HEAD_DIM + 63) / 64;
constexpr int QK_STEPS = (HEAD_DIM + 15) / 16;
constexpr int V_COLUMNS = HEAD_DIM <= 32    ? 32
                          : HEAD_DIM <= 64  ? 64
                          : HEAD_DIM <= 192 ? (HEAD_DIM + 15) / 16 * 16
                                            : 256;
constexpr int S_REGISTERS = BLOCK_N / 2;
constexpr int O_REGISTERS = V_COLUMNS / 2;

constexpr int Q_BYTES = PANELS * BLOCK_M * 128;
constexpr int KV_BYTES = PANELS * BLOCK_N * 128;

// A warp's panels, which scores and O pass through: BATCH leave together, from one of SLOTS places.
constexpr bool STORES = SCORES != FASC_SCORES_NONE;
constexpr bool STORES_BY_TMA = STORES && SCORE_STORE != FASC_SCORE_STORE_PLAIN;
constexpr bool CLASSES = STORES && SCORE_STORE == FASC_SCORE_STORE_CLASSES;
static_assert(!(CLASSES && SCORES_F32), "classes are of rows of 16-bit scores");
constexpr int SCORE_COLUMNS = SCORES_F32 ? 32 : 64;
constexpr int SCORE_PANELS = BLOCK_N / SCORE_COLUMNS;
constexpr int BATCH = STORES && SCORE_PANELS % 2 == 0 ? 2 : 1;

constexpr bool PARTS = FASC_SM90_PARTS(HEAD_DIM, CONSUMERS, SCORES, MASK, WANT_OUT);
constexpr bool IDLES = PARTS || (CLASSES && CONSUMERS == 3); // warpgroups may have no rows

// The shared-memory map, in bytes from its start.
constexpr int Q_AT = 0;
constexpr int K_AT = Q_AT + Q_BYTES;
constexpr int V_AT = K_AT + STAGES * KV_BYTES;
constexpr int STAGE_AT = V_AT + (WANT_OUT ? STAGES * KV_BYTES : 0);
constexpr int BOX = FASC_SM90_BOX(HEAD_DIM, BLOCK_N, SCORES, SCORES_F32, WANT_OUT);
constexpr int SLOTS =
    FASC_SM90_SLOTS(HEAD_DIM, CONSUMERS, SCORES, SCORES_F32, SCORE_STORE, WANT_OUT);
constexpr int STAGE_BYTES =
    FASC_SM90_STAGE_BYTES(HEAD_DIM, BLOCK_N, CONSUMERS, SCORES, SCORES_F32, SCORE_STORE, WANT_OUT);
constexpr int BARRIERS_AT = STAGE_AT + CONSUMER_WARPS * STAGE_BYTES;
constexpr int TILE_AT = BARRIERS_AT + 8 * (2 + 4 * STAGES);
constexpr int PLACES_AT = TILE_AT + 16;                                   // see TilePlaces
constexpr int LISTS_AT = PLACES_AT + (CLASSES ? 32 * CONSUMER_WARPS : 0); // each warp's, of top-k
constexpr int LIST_BYTES = TOPK ? FASC_TOPK_BYTES(FASC_TOPK_FEW_LENGTH) : 0;
constexpr int SMEM_BYTES = LISTS_AT + CONSUMER_WARPS * LIST_BYTES;

static_assert(HEAD_DIM % 8 == 0 && HEAD_DIM <= 256 && BLOCK_N % 16 == 0, "tile shape");
static_assert(!STORES || BLOCK_N % SCORE_COLUMNS == 0, "scores leave in whole panels");
static_assert(BATCH % BOX == 0, "a batch is some boxes");
static_assert(!SCORES_F32 || SCORE_STORE == FASC_SCORE_STORE_TMA, "f32 rows at any address");
static_assert(SMEM_BYTES <= 232448, "shared memory");
static_assert(SMEM_BYTES == FASC_SM90_SMEM_BYTES(HEAD_DIM, BLOCK_N, STAGES, CONSUMERS, SCORES,
                                                 SCORES_F32, SCORE_STORE, WANT_OUT) +
                                CONSUMER_WARPS * LIST_BYTES,
              "the host's formula");
