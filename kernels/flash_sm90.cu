// flash_sm90.cu - attention with scores for Hopper (sm_90a): O, LSE and scores in one pass over
// Q K^T.
//
//   S = scale Q K^T,  P = softmax(S) over the visible keys,  O = P V
//
// f16 or bf16 in, float32 inside. A block owns BLOCK_M = 64 CONSUMERS query rows of one head at a
// time and walks the keys BLOCK_N at a time, last tile first, so that masked tiles come first.
// Blocks are persistent: as many as there are multiprocessors, each takes tile after tile (see
// tile_at for the order). Tiles that would not fill a last round are cut into parts of 64 rows,
// where two warpgroups of three are idle.
//
// Roles, by warpgroup of 128 threads:
//   0      warp 0, one thread: the producer, all loads by TMA. Warps 1-3 store the constant tiles
//          of `masked` (-inf) and `probs` (0).
//   1..    the consumers, 64 query rows each. S and O live in registers, P goes from registers into
//          the second product, V is read transposed where it lies.
//   setmaxnreg hands the producers' registers to the consumers.
//
// Barriers: full/empty pairs (sm90_mbarrier.cuh), one for Q, one per stage for K and for V. The
// number of the block's next tile travels with Q's full barrier. Consumers arrive on empty barriers
// once a warp. Named barriers 1..CONSUMERS pass the turn to issue products from warpgroup to
// warpgroup.
//
// Shared memory, from a multiple of 1024 on; all operand tiles in panels of 64 columns (128 bytes,
// swizzled):
//   Q [panels][BLOCK_M] | K [STAGES][panels][BLOCK_N] | V likewise
//   | per consumer warp BATCH panels of 16 rows: scores, then O, on their way out
//   | barriers | tile number | with classes of rows, where each consumer warp's tile lies
//
// Schedules. OVERLAP, one warpgroup; j is a key tile, time runs to the right, lines run at the same
// time:
//
//   tensor cores   QK(j)  PV(j-1) ......... QK(j+1)  PV(j) .........
//   the warps             store S(j), softmax(j) | O *=, P(j) | store S(j+1), ...
//   TMA engine                   S(j) to memory, K(j+2), V(j+1) from memory
//
// PINGPONG: QK(j), softmax(j), PV(j) in turn; the other warpgroups' products fill the gaps.
//
// Scores: a warp scales its 16 x BLOCK_N part of S, packs it, lays it into its own panels
// (stmatrix) and one lane has TMA store them, in pieces of 256 bytes a row; they are gone before
// the next tile needs the panels. No other warp is waited for. A tensor map holds rows that start
// at multiples of 16 bytes. Where they start anywhere, SCORE_STORE_CLASSES gives a block rows that
// lie alike, every 16th or so (sm90_classes.cuh), and SCORE_STORE_PLAIN, for few rows, copies them
// from the panels in whole 32-byte sectors.
// `logits` goes on above the diagonal: QK and the store, nothing else. `probs` walks the visible
// keys twice: max and sum, then P = 2^(s c - log2_sum), final when made.
//
// Ideas: FlashAttention-3 (Shah et al., 2024): warp specialization, the overlap, turn-taking
// warpgroups. NVIDIA's cuDNN frontend (generated sm90 prefill kernels): persistent tiles, exclusive
// softmax. pranjalssh/fast.cu: wgmma and TMA without a template library. Storing S behind the next
// product is ours.
//
// Macros: FASC_BF16 (0, 1), HEAD_DIM (multiple of 8, at most 256), BLOCK_N, STAGES, CONSUMERS,
// SCHEDULE, MASK, SCORES, SCORES_F32 (0, 1), SCORE_STORE, WANT_OUT (0, 1), WANT_STATS (0, 1: lse or
// row_max is wanted though O is not), STATISTICS (FASC_STATISTICS_..., the rest of a
// row's: see sm90_statistics.cuh), DROPOUT (0, 1), TOPK (0, 1: a row's few
// largest scores); optional WATCHDOG.
//
// To read on: sm90_config.cuh (sizes), sm90_tiles.cuh and sm90_classes.cuh (work),
// sm90_producer.cuh, sm90_consumer.cuh, sm90_stores.cuh and sm90_results.cuh (what leaves); below
// them sm90_mbarrier, sm90_tma, sm90_wgmma and sm90_stmatrix, each one instruction's ways.

#include "sm90_consumer.cuh"
#include "sm90_producer.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    flash_sm90(const __grid_constant__ Params params)
{
    const fasc_flash_sm90_params &p = base_of(params);
    const uint32_t smem = shared_start();
    const Barriers barriers = {smem + BARRIERS_AT};
    const int warp = __shfl_sync(FULL_MASK, threadIdx.x / 32, 0), lane = threadIdx.x % 32;

    if (warp == 0 && lane == 0) {
#if WATCHDOG
        if (smem % 1024 != 0) {
            watchdog_trap(p.watchdog, FASC_BARRIER_ALIGN, 0);
        }
#endif
        mbarrier_init(barriers.q_full(), 1);
        mbarrier_init(barriers.q_empty(), CONSUMER_WARPS + FILL_WARPS);
        for (int stage = 0; stage < STAGES; stage++) {
            mbarrier_init(barriers.k_full(stage), 1);
            mbarrier_init(barriers.k_empty(stage), CONSUMER_WARPS);
            mbarrier_init(barriers.v_full(stage), 1);
            mbarrier_init(barriers.v_empty(stage), CONSUMER_WARPS);
        }
        mbarrier_init_fence();
        if (!CLASSES) {
            tma_prefetch_map(&p.q_map);
        }
        tma_prefetch_map(&p.k_map);
        if (WANT_OUT) {
            tma_prefetch_map(&p.v_map);
        }
        if (STORES_BY_TMA && !CLASSES && p.flash.seqlen_k >= SCORE_COLUMNS) {
            tma_prefetch_map(&p.scores_map);
        }
    }
    __syncthreads();

    if (warp < 4) {
        if (CONSUMERS > 1) {
            asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(PRODUCER_REGISTERS));
        }
        if (warp == 0) {
            if (lane == 0) {
                produce(p, smem, barriers);
            }
        } else if (FILL_WARPS) {
            fill(p, smem, barriers, warp - 1, lane);
        }
    } else {
        if (CONSUMERS > 1) {
            asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(CONSUMER_REGISTERS));
        }
        consume(p, smem, barriers, warp - 4, lane);
    }
}
