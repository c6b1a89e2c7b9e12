// flash_sm90.cu - attention with scores for Hopper (sm_90a): O, LSE and scores in one pass over Q
// K^T.
//
//   S = scale Q K^T,  P = softmax(S) over the visible keys,  O = P V        (f16 or bf16 in,
//   float32 inside)
//
// A block owns BLOCK_M = 64 CONSUMERS query rows of one head at a time and walks the keys BLOCK_N
// at a time, last tile first, so that masked tiles come first. Blocks are persistent: as many as
// there are multiprocessors, each takes tile after tile (see tile_at for the order).
//
// Roles      warpgroup 0      warp 0, one thread: the producer, all loads by TMA
//                             warps 1-3: store the constant tiles of `masked` (-inf) and `probs`
//                             (0)
//            warpgroups 1..   the consumers: 64 query rows each. S and O live in registers, P goes
//            from
//                             registers into the second product, V is read transposed where it lies
//            setmaxnreg hands the producers' registers to the consumers.
//
// Barriers   full/empty pairs (sm90_mbarrier.cuh): one for Q, one per stage for K and for V. The
// number of the
//            block's next tile travels with Q's full barrier. Consumers arrive on empty barriers
//            once a warp. Named barriers 1..CONSUMERS pass the turn to issue products from
//            warpgroup to warpgroup.
//
// Shared memory, from a multiple of 1024 on; all operand tiles in panels of 64 columns (128 bytes,
// swizzled):
//            Q [panels][BLOCK_M] | K [STAGES][panels][BLOCK_N] | V likewise
//            | per consumer warp STAGE_PANELS panels of 16 rows: scores, then O, on their way out
//            | one constant panel (masked, probs) | barriers | tile number
//
// Schedule   OVERLAP, one warpgroup; j is a key tile, time runs to the right, lines run at the same
// time:
//
//              tensor cores   QK(j)  PV(j-1) ......... QK(j+1)  PV(j) .........
//              the warps             store S(j), softmax(j) | O *=, P(j) | store S(j+1), ...
//              TMA engine                   S(j) to memory, K(j+2), V(j+1) from memory
//
//            PINGPONG: QK(j), softmax(j), PV(j) in turn; the other warpgroup's products fill the
//            gaps.
//
// Scores     A warp scales its 16 x BLOCK_N part of S, packs it, lays it into its own panels
// (stmatrix) and one
//            lane has TMA store them; two slots, so the store of one tile lasts until after the
//            next. No other warp is waited for. SCORE_STORE_PLAIN copies the panels row by row
//            instead, for rows that a tensor map cannot hold. `logits` goes on above the diagonal:
//            QK and the store, nothing else. `probs` walks the visible keys twice: max and sum,
//            then P = 2^(s c - log2_sum), final when made.
//
// Ideas      FlashAttention-3 (Shah et al., 2024): warp specialization, the overlap, turn-taking
// warpgroups.
//            NVIDIA's cuDNN frontend (generated sm90 prefill kernels): persistent tiles, exclusive
//            softmax. pranjalssh/fast.cu: wgmma and TMA without a template library. Storing S
//            behind the next product is ours.
//
// Macros     FASC_BF16 (0, 1), HEAD_DIM (multiple of 8, at most 256), BLOCK_N, STAGES, CONSUMERS,
// SCHEDULE, MASK,
//            SCORES, SCORES_F32 (0, 1), SCORE_STORE, WANT_OUT (0, 1), WANT_STATS (0, 1: lse or
//            row_max is wanted though O is not); optional WATCHDOG.

#include "common.cuh"
#include "flash_sm90.h"
#include "sm90_mbarrier.cuh"
#include "sm90_stmatrix.cuh"
#include "sm90_tma.cuh"
#include "sm90_wgmma.cuh"
#include "softmax.cuh"

// ---- the configuration's sizes
// --------------------------------------------------------------------

constexpr int BLOCK_M = 64 * CONSUMERS;
constexpr int THREADS = 128 * (CONSUMERS + 1);
constexpr int CONSUMER_WARPS = 4 * CONSUMERS;
constexpr int FILL_WARPS = SCORES == FASC_SCORES_MASKED || SCORES == FASC_SCORES_PROBS ? 3 : 0;

// What setmaxnreg makes of the registers at launch (65,536 / THREADS each, a multiple of 8). With
// one consumer warpgroup nothing is gained.
constexpr int PRODUCER_REGISTERS = CONSUMERS == 3 ? 32 : 40;
constexpr int CONSUMER_REGISTERS = CONSUMERS == 3 ? 160 : 232;

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

// A warp's panels of scores: BATCH leave together, two batches are on their way.
constexpr bool STORES = SCORES != FASC_SCORES_NONE;
constexpr int SCORE_COLUMNS = SCORES_F32 ? 32 : 64;
constexpr int SCORE_PANELS = BLOCK_N / SCORE_COLUMNS;
constexpr int BATCH = SCORE_PANELS % 2 == 0 ? 2 : 1;
constexpr int STAGE_PANELS = STORES ? 2 * BATCH : 1;
constexpr int OUT_PANELS = STAGE_PANELS < 2 ? 1 : 2; // those that O passes through

constexpr int Q_AT = 0;
constexpr int K_AT = Q_AT + Q_BYTES;
constexpr int V_AT = K_AT + STAGES * KV_BYTES;
constexpr int STAGE_AT = V_AT + (WANT_OUT ? STAGES * KV_BYTES : 0);
constexpr int FILL_AT = STAGE_AT + CONSUMER_WARPS * STAGE_PANELS * PANEL_BYTES;
constexpr int BARRIERS_AT = FILL_AT + (FILL_WARPS ? PANEL_BYTES : 0);
constexpr int TILE_AT = BARRIERS_AT + 8 * (2 + 4 * STAGES);
constexpr int SMEM_BYTES = TILE_AT + 16;

static_assert(HEAD_DIM % 8 == 0 && HEAD_DIM <= 256 && BLOCK_N % 16 == 0, "tile shape");
static_assert(!STORES || BLOCK_N % SCORE_COLUMNS == 0, "scores leave in whole panels");
static_assert(SMEM_BYTES <= 232448, "shared memory");
static_assert(SMEM_BYTES == FASC_SM90_SMEM_BYTES(HEAD_DIM, BLOCK_N, STAGES, CONSUMERS, SCORES,
                                                 SCORES_F32, WANT_OUT),
              "the host's formula");

__device__ __forceinline__ uint32_t pack_pair(float lo, float hi)
{
    return FASC_BF16 ? f32x2_to_bf16x2(lo, hi) : f32x2_to_f16x2(lo, hi);
}

// ---- barriers
// ---------------------------------------------------------------------------------------

struct Barriers {
    uint32_t at; // q_full, q_empty, then k_full, k_empty, v_full, v_empty of each stage

    __device__ __forceinline__ uint32_t q_full() const
    {
        return at;
    }
    __device__ __forceinline__ uint32_t q_empty() const
    {
        return at + 8;
    }
    __device__ __forceinline__ uint32_t k_full(uint32_t stage) const
    {
        return at + 16 + 32 * stage;
    }
    __device__ __forceinline__ uint32_t k_empty(uint32_t stage) const
    {
        return at + 24 + 32 * stage;
    }
    __device__ __forceinline__ uint32_t v_full(uint32_t stage) const
    {
        return at + 32 + 32 * stage;
    }
    __device__ __forceinline__ uint32_t v_empty(uint32_t stage) const
    {
        return at + 40 + 32 * stage;
    }
};

// Taking turns to issue products: warpgroup `group` waits for its turn, then hands it on. The first
// turn of all is warpgroup 0's (see consume). Where the overlap's products are long (head_dim >
// 128), turns do not pay.
constexpr bool TURNS = WANT_OUT && CONSUMERS > 1 &&
                       (SCHEDULE == FASC_SCHEDULE_PINGPONG || HEAD_DIM <= 128);

__device__ __forceinline__ void turn_wait(int group)
{
    if (TURNS) {
        asm volatile("barrier.cta.sync %0, 256;\n" ::"r"(1 + group) : "memory");
    }
}

__device__ __forceinline__ void turn_pass(int group)
{
    if (TURNS) {
        int next = group + 1 == CONSUMERS ? 0 : group + 1;
        asm volatile("barrier.cta.arrive %0, 256;\n" ::"r"(1 + next) : "memory");
    }
}

// ---- tiles
// --------------------------------------------------------------------------------------------

struct Tile {
    int batch, head, row0;     // first query row
    int begin, end;            // key tiles [begin, end) that some row sees
    int full_first, full_last; // keys that every row sees
};

// Tile number `index`. Heads go in sections whose K and V share the L2 cache; within a section, the
// rows that see most keys (the last ones) come first, over all its heads.
__device__ __forceinline__ Tile tile_at(const fasc_flash_sm90_params &p, int index)
{
    const fasc_flash_params &f = p.flash;
    int section = index / (f.section * p.tiles_m);
    int rest = index - section * f.section * p.tiles_m;
    int heads = min(f.section, f.batch * f.heads_q - section * f.section);
    int row_tile = rest / heads;
    int head = section * f.section + rest - row_tile * heads;
    Tile t;
    t.batch = head / f.heads_q;
    t.head = head - t.batch * f.heads_q;
    t.row0 = (p.tiles_m - 1 - row_tile) * BLOCK_M;

    const int far = 1 << 30; // seqlens stay below
    int row1 = min(t.row0 + BLOCK_M, f.seqlen_q) - 1;
    int first = 0, last = f.seqlen_k - 1;
    t.full_first = first;
    t.full_last = last;
    if (MASK != FASC_MASK_NONE) {
        int hi = (int)max((int64_t)-far, min(f.hi, (int64_t)far));
        last = min(last, row1 + hi);
        t.full_last = min(t.full_last, t.row0 + hi);
    }
    if (MASK == FASC_MASK_BAND) {
        int lo = (int)max((int64_t)-far, min(f.lo, (int64_t)far));
        first = max(first, t.row0 + lo);
        t.full_first = max(t.full_first, row1 + lo);
    }
    bool empty = last < first || (!WANT_OUT && !WANT_STATS && SCORES == FASC_SCORES_LOGITS);
    t.begin = empty ? 0 : first / BLOCK_N;
    t.end = empty ? 0 : last / BLOCK_N + 1;
    return t;
}

// `logits` is stored where no row looks, too.
__device__ __forceinline__ int first_key_tile(const Tile &t)
{
    return SCORES == FASC_SCORES_LOGITS ? 0 : t.begin;
}

__device__ __forceinline__ int end_key_tile(const fasc_flash_params &f, const Tile &t)
{
    return SCORES == FASC_SCORES_LOGITS ? (f.seqlen_k + BLOCK_N - 1) / BLOCK_N : t.end;
}

// ---- the producer
// ---------------------------------------------------------------------------------------

struct Producer {
    const fasc_flash_sm90_params &p;
    uint32_t smem;
    Barriers barriers;
    Ring<STAGES> k, v;

    __device__ __forceinline__ void load_k(const Tile &t, int head_k, int j)
    {
        mbarrier_wait(barriers.k_empty(k.index), k.parity, FASC_BARRIER_K_EMPTY, p.watchdog);
        uint32_t full = barriers.k_full(k.index), to = smem + K_AT + k.index * KV_BYTES;
        mbarrier_arrive_expect(full, KV_BYTES);
#pragma unroll
        for (int panel = 0; panel < PANELS; panel++) {
            tma_load(to + panel * BLOCK_N * 128, &p.k_map, full, panel * 64, j * BLOCK_N, head_k,
                     t.batch, L2_EVICT_LAST);
        }
        k.advance();
    }

    __device__ __forceinline__ void load_v(const Tile &t, int head_k, int j)
    {
        mbarrier_wait(barriers.v_empty(v.index), v.parity, FASC_BARRIER_V_EMPTY, p.watchdog);
        uint32_t full = barriers.v_full(v.index), to = smem + V_AT + v.index * KV_BYTES;
        mbarrier_arrive_expect(full, KV_BYTES);
#pragma unroll
        for (int panel = 0; panel < PANELS; panel++) {
            tma_load(to + panel * BLOCK_N * 128, &p.v_map, full, panel * 64, j * BLOCK_N, head_k,
                     t.batch, L2_EVICT_LAST);
        }
        v.advance();
    }
};

// One thread. Consumers take K0 K1 V0 K2 V1 ...: the loads go in that order.
__device__ __forceinline__ void produce(const fasc_flash_sm90_params &p, uint32_t smem,
                                        Barriers barriers)
{
    const fasc_flash_params &f = p.flash;
    Producer producer = {p, smem, barriers, Ring<STAGES>(1), Ring<STAGES>(1)};
    uint32_t q_parity = 1;
    int index = blockIdx.x;
    while (true) {
        mbarrier_wait(barriers.q_empty(), q_parity, FASC_BARRIER_Q_EMPTY, p.watchdog);
        q_parity ^= 1;
        bool work = index < p.tiles;
        asm volatile("st.shared.b32 [%0], %1;\n" ::"r"(smem + TILE_AT), "r"(work ? index : -1)
                     : "memory");
        if (!work) {
            mbarrier_arrive(barriers.q_full());
            break;
        }
        Tile t = tile_at(p, index);
        int head_k = t.head / f.group;
        mbarrier_arrive_expect(barriers.q_full(), Q_BYTES);
#pragma unroll
        for (int panel = 0; panel < PANELS; panel++) {
            tma_load(smem + Q_AT + panel * BLOCK_M * 128, &p.q_map, barriers.q_full(), panel * 64,
                     t.row0, t.head, t.batch, L2_EVICT_FIRST);
        }
        int next =
            p.tile_counter ? (int)gridDim.x + atomicAdd(p.tile_counter, 1) : index + (int)gridDim.x;
        if (SCORES == FASC_SCORES_PROBS) { // the first walk needs K alone
            for (int j = t.end - 1; j >= t.begin; j--) {
                producer.load_k(t, head_k, j);
            }
        }
        int first = first_key_tile(t), v_tile = -1; // V's tile that the next K comes before
        for (int j = end_key_tile(f, t) - 1; j >= first; j--) {
            producer.load_k(t, head_k, j);
            if (WANT_OUT) {
                if (v_tile >= 0) {
                    producer.load_v(t, head_k, v_tile);
                }
                v_tile = j >= t.begin && j < t.end ? j : -1;
            }
        }
        if (WANT_OUT && v_tile >= 0) {
            producer.load_v(t, head_k, v_tile);
        }
        index = next;
    }
}

// ---- plain copies of panels
// ----------------------------------------------------------------------------

__device__ __forceinline__ void copy_element(uint16_t *to, uint32_t panel, int row, int column)
{
    *to = load_shared_2(panel_chunk(panel, row, column >> 3) + (column & 7) * 2);
}

__device__ __forceinline__ void copy_element(uint32_t *to, uint32_t panel, int row, int column)
{
    *to = load_shared_4(panel_chunk(panel, row, column >> 2) + (column & 3) * 4);
}

// A panel to memory with any strides, cut to `rows` and `columns`; lanes run along a row.
template <class T>
__device__ __forceinline__ void copy_panel(T *to, int64_t row_stride, int64_t column_stride,
                                           int rows, int columns, uint32_t panel, int lane)
{
    constexpr int WIDTH = 128 / sizeof(T);
#pragma unroll 4
    for (int row = 0; row < min(rows, PANEL_ROWS); row++) {
#pragma unroll
        for (int column = lane; column < WIDTH; column += 32) {
            if (column < columns) {
                copy_element(to + row * row_stride + column * column_stride, panel, row, column);
            }
        }
    }
}

// A panel of scores whose first element is (row, column) of the tile's head.
__device__ __forceinline__ void copy_scores(const fasc_flash_params &f, const Tile &t,
                                            uint32_t panel, int row, int column, int lane)
{
    int64_t at = t.batch * f.scores_stride[0] + t.head * f.scores_stride[1] +
                 row * f.scores_stride[2] + column * f.scores_stride[3];
    if (SCORES_F32) {
        copy_panel((uint32_t *)f.scores + at, f.scores_stride[2], f.scores_stride[3],
                   f.seqlen_q - row, f.seqlen_k - column, panel, lane);
    } else {
        copy_panel((uint16_t *)f.scores + at, f.scores_stride[2], f.scores_stride[3],
                   f.seqlen_q - row, f.seqlen_k - column, panel, lane);
    }
}

// ---- constant tiles of `masked` and `probs`
// ---------------------------------------------------------------

constexpr uint32_t FILL_WORD = SCORES == FASC_SCORES_PROBS ? 0u
                               : SCORES_F32                ? 0xff800000u
                               : FASC_BF16                 ? 0xff80ff80u
                                                           : 0xfc00fc00u;

// Warp `warp` of FILL_WARPS: stores the constant to key tiles that no row of a block's tile sees.
__device__ __forceinline__ void fill(const fasc_flash_sm90_params &p, uint32_t smem,
                                     Barriers barriers, int warp, int lane)
{
    const fasc_flash_params &f = p.flash;
    const uint32_t panel = smem + FILL_AT;
    uint32_t q_parity = 0;
    while (true) {
        mbarrier_wait(barriers.q_full(), q_parity, FASC_BARRIER_Q_FULL, p.watchdog);
        q_parity ^= 1;
        int index = (int)load_shared_4(smem + TILE_AT);
        __syncwarp();
        if (index < 0) {
            break;
        }
        if (lane == 0) {
            mbarrier_arrive(barriers.q_empty());
        }
        Tile t = tile_at(p, index);
        const int key_tiles = (f.seqlen_k + BLOCK_N - 1) / BLOCK_N;
        for (int j = 0; j < key_tiles; j++) {
            if (j >= t.begin && j < t.end) {
                j = t.end - 1;
                continue;
            }
            for (int row = warp * PANEL_ROWS; row < BLOCK_M && t.row0 + row < f.seqlen_q;
                 row += FILL_WARPS * PANEL_ROWS) {
                for (int column = j * BLOCK_N; column < (j + 1) * BLOCK_N && column < f.seqlen_k;
                     column += SCORE_COLUMNS) {
                    if (SCORE_STORE == FASC_SCORE_STORE_PLAIN) {
                        copy_scores(f, t, panel, t.row0 + row, column, lane);
                    } else if (lane == 0) {
                        tma_store(&p.scores_map, panel, column, t.row0 + row, t.head, t.batch,
                                  L2_EVICT_FIRST);
                        tma_commit();
                        tma_wait_read<4>(); // leave the engine room for the producer's loads
                    }
                }
            }
        }
    }
    if (SCORE_STORE == FASC_SCORE_STORE_TMA && lane == 0) {
        tma_wait_all();
    }
}

// ---- a consumer warpgroup
// ---------------------------------------------------------------------------------

struct Consumer {
    const fasc_flash_sm90_params &p;
    const fasc_flash_params &f;
    uint32_t smem, panels; // the block's shared memory, and this warp's panels in it
    Barriers barriers;
    Ring<STAGES> k, v;
    uint32_t slot;         // of the two batches of panels, the one to be used next
    int group, lane, row0; // warpgroup; first row of the warp within the tile
    uint64_t q_descriptor, k_descriptor, v_descriptor;
    float scale, c; // of logits; of logits in base 2
    bool negate;

    // ---- products ----

    // Issues S = Q K^T for the K tile in the ring's current stage.
    __device__ __forceinline__ void issue_qk(float (&s)[S_REGISTERS]) const
    {
        const uint64_t tile = wgmma_advance(k_descriptor, k.index * KV_BYTES);
#pragma unroll
        for (int step = 0; step < QK_STEPS; step++) {
            uint64_t a = wgmma_advance(q_descriptor, step / 4 * BLOCK_M * 128 + step % 4 * 32);
            uint64_t b = wgmma_advance(tile, step / 4 * BLOCK_N * 128 + step % 4 * 32);
            if (step == 0) {
                Wgmma<BLOCK_N>::first(s, a, b);
            } else {
                Wgmma<BLOCK_N>::add(s, a, b);
            }
        }
    }

    // Issues O += P V.
    __device__ __forceinline__ void issue_pv(float (&o)[O_REGISTERS],
                                             const uint32_t (&pairs)[S_REGISTERS / 2]) const
    {
        const uint64_t tile = wgmma_advance(v_descriptor, v.index * KV_BYTES);
#pragma unroll
        for (int step = 0; step < BLOCK_N / 16; step++) {
            Wgmma<V_COLUMNS>::add_from_registers(o, pairs[4 * step], pairs[4 * step + 1],
                                                 pairs[4 * step + 2], pairs[4 * step + 3],
                                                 wgmma_advance(tile, step * 2048));
        }
    }

    __device__ __forceinline__ void wait_k() const
    {
        mbarrier_wait(barriers.k_full(k.index), k.parity, FASC_BARRIER_K_FULL, p.watchdog);
    }

    __device__ __forceinline__ void wait_v() const
    {
        mbarrier_wait(barriers.v_full(v.index), v.parity, FASC_BARRIER_V_FULL, p.watchdog);
    }

    __device__ __forceinline__ void release_k()
    {
        if (lane == 0) {
            mbarrier_arrive(barriers.k_empty(k.index));
        }
        k.advance();
    }

    __device__ __forceinline__ void release_v()
    {
        if (lane == 0) {
            mbarrier_arrive(barriers.v_empty(v.index));
        }
        v.advance();
    }

    // S = Q K^T, complete.
    __device__ __forceinline__ void product_qk(float (&s)[S_REGISTERS])
    {
        wait_k();
        wgmma_fence();
        issue_qk(s);
        wgmma_commit();
        wgmma_wait<0>();
        hold_registers(s);
        release_k();
    }

    // ---- stores of scores ----

    __device__ __forceinline__ uint32_t begin_batch() const
    {
        if (SCORE_STORE == FASC_SCORE_STORE_TMA && lane == 0) {
            tma_wait_read<1>(); // the batch before the last has left this slot
        }
        __syncwarp();
        return panels + slot * BATCH * PANEL_BYTES;
    }

    __device__ __forceinline__ void end_batch(const Tile &t, uint32_t panel, int column)
    {
        const int row = t.row0 + row0;
        if (SCORE_STORE == FASC_SCORE_STORE_TMA) {
            fence_proxy_async();
            __syncwarp();
            if (lane == 0) {
#pragma unroll
                for (int n = 0; n < BATCH; n++) {
                    if (row < f.seqlen_q && column + n * SCORE_COLUMNS < f.seqlen_k) {
                        tma_store(&p.scores_map, panel + n * PANEL_BYTES,
                                  column + n * SCORE_COLUMNS, row, t.head, t.batch, L2_EVICT_FIRST);
                    }
                }
                tma_commit();
            }
        } else {
            __syncwarp();
#pragma unroll
            for (int n = 0; n < BATCH; n++) {
                copy_scores(f, t, panel + n * PANEL_BYTES, row, column + n * SCORE_COLUMNS, lane);
            }
        }
        slot ^= 1;
    }

    // Stores factor * s as the scores of key tile j.
    __device__ __forceinline__ void store_scores(const Tile &t, int j,
                                                 const float (&s)[S_REGISTERS], float factor)
    {
#pragma unroll
        for (int batch = 0; batch < SCORE_PANELS / BATCH; batch++) {
            uint32_t panel = begin_batch();
#pragma unroll
            for (int n = 0; n < BATCH; n++) {
                const int from = (batch * BATCH + n) * SCORE_COLUMNS / 2;
                if (SCORES_F32) {
                    float x[16];
#pragma unroll
                    for (int i = 0; i < 16; i++) {
                        x[i] = s[from + i] * factor;
                    }
                    store_panel(panel + n * PANEL_BYTES, x, lane);
                } else {
                    uint32_t pairs[16];
#pragma unroll
                    for (int i = 0; i < 16; i++) {
                        pairs[i] =
                            pack_pair(s[from + 2 * i] * factor, s[from + 2 * i + 1] * factor);
                    }
                    store_panel(panel + n * PANEL_BYTES, pairs, lane);
                }
            }
            end_batch(t, panel, j * BLOCK_N + batch * BATCH * SCORE_COLUMNS);
        }
    }

    // Stores P, already packed for the second product.
    __device__ __forceinline__ void store_packed(const Tile &t, int j,
                                                 const uint32_t (&pairs)[S_REGISTERS / 2])
    {
#pragma unroll
        for (int batch = 0; batch < SCORE_PANELS / BATCH; batch++) {
            uint32_t panel = begin_batch();
#pragma unroll
            for (int n = 0; n < BATCH; n++) {
                store_panel(panel + n * PANEL_BYTES, pairs + (batch * BATCH + n) * 16, lane);
            }
            end_batch(t, panel, j * BLOCK_N + batch * BATCH * SCORE_COLUMNS);
        }
    }

    // ---- what happens to a tile of S ----

    __device__ __forceinline__ void mask(const Tile &t, int j, float (&s)[S_REGISTERS]) const
    {
        const int begin = j * BLOCK_N, end = begin + BLOCK_N;
        if (end - 1 <= t.full_last && (MASK != FASC_MASK_BAND || begin >= t.full_first)) {
            return;
        }
        const int far = 1 << 30;
        const int column = begin + 2 * (lane & 3);
        Visible visible;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = t.row0 + row0 + (lane >> 2) + 8 * half, last = f.seqlen_k - 1;
            if (MASK != FASC_MASK_NONE) {
                last = min(last, row + (int)max((int64_t)-far, min(f.hi, (int64_t)far)));
            }
            visible.last[half] = last - column;
            visible.first[half] = 0;
            if (MASK == FASC_MASK_BAND) {
                visible.first[half] =
                    row + (int)max((int64_t)-far, min(f.lo, (int64_t)far)) - column;
            }
        }
        softmax_mask(s, visible);
    }

    // Stores, masks, and turns S into 2^(s c - max c); what came before is worth `factor` of what
    // it was.
    __device__ __forceinline__ void softmax(const Tile &t, int j, float (&s)[S_REGISTERS],
                                            RowState &r, float (&factor)[2])
    {
        if (negate) {
            softmax_negate(s);
        }
        if (SCORES == FASC_SCORES_LOGITS) {
            store_scores(t, j, s, scale);
        }
        mask(t, j, s);
        if (SCORES == FASC_SCORES_MASKED) {
            store_scores(t, j, s, scale);
        }
        if (WANT_OUT || WANT_STATS || SCORES == FASC_SCORES_PROBS) {
            softmax_update_max(r, factor, s, c);
            softmax_exponentials(s, r, factor, c);
        }
    }

    // Masks and turns S into final probabilities.
    __device__ __forceinline__ void probabilities(const Tile &t, int j, float (&s)[S_REGISTERS],
                                                  const float (&log2_sum)[2]) const
    {
        if (negate) {
            softmax_negate(s);
        }
        mask(t, j, s);
        softmax_normalized<SCORES_F32>(s, log2_sum, c);
    }

    // ---- walks over the key tiles ----

    // Key tiles [begin, end): only the scores.
    __device__ __forceinline__ void walk_logits(const Tile &t, int begin, int end)
    {
        for (int j = end - 1; j >= begin; j--) {
            float s[S_REGISTERS];
            product_qk(s);
            store_scores(t, j, s, negate ? -scale : scale);
        }
    }

    // The visible tiles, without V: row statistics, and scores unless they need the statistics.
    __device__ __forceinline__ void walk_statistics(const Tile &t, RowState &r)
    {
        for (int j = t.end - 1; j >= t.begin; j--) {
            float s[S_REGISTERS], factor[2];
            product_qk(s);
            softmax(t, j, s, r, factor);
        }
    }

    // The visible tiles, without V: P.
    __device__ __forceinline__ void walk_probabilities(const Tile &t, const float (&log2_sum)[2])
    {
        for (int j = t.end - 1; j >= t.begin; j--) {
            float s[S_REGISTERS];
            product_qk(s);
            probabilities(t, j, s, log2_sum);
            store_scores(t, j, s, 1.0f);
        }
    }

    // S to the weights that P V takes, and `factor`: what O so far is worth under them.
    __device__ __forceinline__ void weights(const Tile &t, int j, float (&s)[S_REGISTERS],
                                            RowState &r, const float (&log2_sum)[2],
                                            float (&factor)[2])
    {
        if (SCORES == FASC_SCORES_PROBS) {
            probabilities(t, j, s, log2_sum);
        } else {
            softmax(t, j, s, r, factor);
        }
    }

    __device__ __forceinline__ void pack_weights(const Tile &t, int j,
                                                 const float (&s)[S_REGISTERS],
                                                 uint32_t (&pairs)[S_REGISTERS / 2])
    {
#pragma unroll
        for (int i = 0; i < S_REGISTERS / 2; i++) {
            pairs[i] = pack_pair(s[2 * i], s[2 * i + 1]);
        }
        if (SCORES == FASC_SCORES_PROBS) {
            if (SCORES_F32) {
                store_scores(t, j, s, 1.0f);
            } else {
                store_packed(t, j, pairs);
            }
        }
    }

    // The visible tiles with V. At least one. release_q: no product needs Q afterwards.
    __device__ __forceinline__ void walk_overlap(const Tile &t, RowState &r,
                                                 const float (&log2_sum)[2],
                                                 float (&o)[O_REGISTERS], bool release_q)
    {
        float s[S_REGISTERS], factor[2];
        uint32_t pairs[S_REGISTERS / 2];
        product_qk(s);
        weights(t, t.end - 1, s, r, log2_sum, factor);
        pack_weights(t, t.end - 1, s, pairs);
        if (t.end - 1 > t.begin) {
            wait_k();
        }
#pragma unroll 1
        for (int j = t.end - 2; j >= t.begin; j--) {
            turn_wait(group);
            wgmma_fence();
            issue_qk(s);
            wgmma_commit();
            wait_v();
            issue_pv(o, pairs);
            wgmma_commit();
            turn_pass(group);
            wgmma_wait<1>();
            hold_registers(s);
            release_k();
            weights(t, j, s, r, log2_sum, factor);
            hold_registers(s);
            if (j >
                t.begin) { // a block of its own, so that ptxas leaves the softmax above the wait
                wait_k();
            }
            wgmma_wait<0>();
            hold_registers(o);
            hold_registers(s);
            release_v();
            pack_weights(t, j, s, pairs);
            if (SCORES != FASC_SCORES_PROBS) {
                softmax_rescale(o, factor);
            }
        }
        if (release_q) {
            arrive_q();
        }
        wait_v();
        wgmma_fence();
        issue_pv(o, pairs);
        wgmma_commit();
        wgmma_wait<0>();
        hold_registers(o);
        release_v();
    }

    __device__ __forceinline__ void walk_pingpong(const Tile &t, RowState &r,
                                                  const float (&log2_sum)[2],
                                                  float (&o)[O_REGISTERS], bool release_q)
    {
        turn_wait(group);
#pragma unroll 1
        for (int j = t.end - 1; j >= t.begin; j--) {
            float s[S_REGISTERS], factor[2];
            uint32_t pairs[S_REGISTERS / 2];
            wait_k();
            wgmma_fence();
            issue_qk(s);
            wgmma_commit();
            turn_pass(group);
            wgmma_wait<0>();
            hold_registers(s);
            release_k();
            weights(t, j, s, r, log2_sum, factor);
            pack_weights(t, j, s, pairs);
            if (SCORES != FASC_SCORES_PROBS) {
                softmax_rescale(o, factor);
            }
            wait_v();
            turn_wait(group);
            wgmma_fence();
            issue_pv(o, pairs);
            wgmma_commit();
            wgmma_wait<0>();
            hold_registers(o);
            release_v();
        }
        turn_pass(group);
        if (release_q) {
            arrive_q();
        }
    }

    __device__ __forceinline__ void arrive_q() const
    {
        __syncwarp();
        if (lane == 0) {
            mbarrier_arrive(barriers.q_empty());
        }
    }

    // ---- results ----

    __device__ __forceinline__ void store_rows(const Tile &t, const RowState &r,
                                               const float (&log2_sum)[2]) const
    {
        if ((lane & 3) != 0) {
            return;
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = t.row0 + row0 + (lane >> 2) + 8 * half;
            if (row < f.seqlen_q) {
                if (f.lse) {
                    f.lse[t.batch * f.lse_stride[0] + t.head * f.lse_stride[1] +
                          row * f.lse_stride[2]] = log2_sum[half] * LN_2;
                }
                if (f.row_max) {
                    f.row_max[t.batch * f.row_max_stride[0] + t.head * f.row_max_stride[1] +
                              row * f.row_max_stride[2]] =
                        r.max[half] == -INFINITY_F32 ? -INFINITY_F32 : r.max[half] * scale;
                }
            }
        }
    }

    // O passes through the warp's panels. 16-bit rows that start at multiples of 16 bytes leave in
    // pieces of 16 bytes, all else by element.
    __device__ __forceinline__ void store_out(const Tile &t, const float (&o)[O_REGISTERS])
    {
        if (STORES && SCORE_STORE == FASC_SCORE_STORE_TMA && lane == 0) {
            tma_wait_read<0>(); // scores have left the panels
        }
        const int row = t.row0 + row0, rows = f.seqlen_q - row;
        const int64_t at =
            t.batch * f.out_stride[0] + t.head * f.out_stride[1] + row * f.out_stride[2];
        if (f.out_f32) {
#pragma unroll
            for (int n = 0; n < (V_COLUMNS + 31) / 32; n++) {
                const uint32_t panel = panels + n % OUT_PANELS * PANEL_BYTES;
                float x[16];
#pragma unroll
                for (int i = 0; i < 16; i++) {
                    x[i] = n * 16 + i < O_REGISTERS ? o[n * 16 + i] : 0.0f;
                }
                __syncwarp();
                store_panel(panel, x, lane);
                __syncwarp();
                copy_panel((uint32_t *)f.out + at + n * 32 * f.out_stride[3], f.out_stride[2],
                           f.out_stride[3], rows, HEAD_DIM - n * 32, panel, lane);
            }
        } else {
#pragma unroll
            for (int n = 0; n < PANELS; n++) {
                const uint32_t panel = panels + n % OUT_PANELS * PANEL_BYTES;
                uint32_t pairs[16];
#pragma unroll
                for (int i = 0; i < 16; i++) {
                    const int from =
                        n * 32 + 2 * i; // past the product's columns: a number nobody stores
                    pairs[i] = from < O_REGISTERS ? pack_pair(o[from], o[from + 1]) : 0;
                }
                __syncwarp();
                store_panel(panel, pairs, lane);
                __syncwarp();
                uint16_t *to = (uint16_t *)f.out + at + n * 64 * f.out_stride[3];
                if (f.out_store == FASC_STORE_SCALAR) {
                    copy_panel(to, f.out_stride[2], f.out_stride[3], rows, HEAD_DIM - n * 64, panel,
                               lane);
                } else {
                    const int chunk = lane & 7;
#pragma unroll
                    for (int r = lane >> 3; r < PANEL_ROWS; r += 4) {
                        if (r < rows && n * 64 + chunk * 8 < HEAD_DIM) {
                            *(uint4 *)(to + r * f.out_stride[2] + chunk * 8) =
                                load_shared_16(panel_chunk(panel, r, chunk));
                        }
                    }
                }
            }
        }
        __syncwarp();
    }

    // ---- a tile ----

    __device__ __forceinline__ void tile(const Tile &t)
    {
        RowState r;
        softmax_start(r);
        float o[O_REGISTERS], log2_sum[2];
#pragma unroll
        for (int i = 0; i < O_REGISTERS; i++) {
            o[i] = 0.0f;
        }
        const bool any = t.end > t.begin;
        const bool logits_below = first_key_tile(t) < t.begin;
        if (SCORES == FASC_SCORES_LOGITS) {
            walk_logits(t, t.end, end_key_tile(f, t));
        }
        if (!WANT_OUT || SCORES == FASC_SCORES_PROBS) {
            walk_statistics(t, r);
            softmax_finish(r, log2_sum, c);
        }
        if (!WANT_OUT) {
            if (SCORES == FASC_SCORES_PROBS) {
                walk_probabilities(t, log2_sum);
            }
        } else if (any) {
            if (SCHEDULE == FASC_SCHEDULE_OVERLAP) {
                walk_overlap(t, r, log2_sum, o, !logits_below);
            } else {
                walk_pingpong(t, r, log2_sum, o, !logits_below);
            }
        }
        if (SCORES == FASC_SCORES_LOGITS) {
            walk_logits(t, 0, t.begin);
        }
        if (!WANT_OUT || !any || logits_below) {
            arrive_q();
        }
        if (WANT_OUT && SCORES != FASC_SCORES_PROBS) {
            softmax_finish(r, log2_sum, c);
            float factor[2];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                factor[half] = r.max[half] == -INFINITY_F32 ? 0.0f : 1.0f / r.sum[half];
            }
            softmax_rescale(o, factor);
        }
        if (WANT_OUT || WANT_STATS || SCORES == FASC_SCORES_PROBS) {
            store_rows(t, r, log2_sum);
        }
        if (WANT_OUT) {
            store_out(t, o);
        }
    }
};

__device__ __forceinline__ void consume(const fasc_flash_sm90_params &p, uint32_t smem,
                                        Barriers barriers, int warp, int lane)
{
    const int group = warp / 4;
    const float scale = p.flash.scale;
    Consumer consumer = {p,
                         p.flash,
                         smem,
                         smem + STAGE_AT + warp * STAGE_PANELS * PANEL_BYTES,
                         barriers,
                         Ring<STAGES>(0),
                         Ring<STAGES>(0),
                         0,
                         group,
                         lane,
                         warp * 16,
                         wgmma_descriptor(smem + Q_AT + group * 64 * 128, 0),
                         wgmma_descriptor(smem + K_AT, 0),
                         wgmma_descriptor(smem + V_AT, BLOCK_N * 128),
                         fabs_f32(scale),
                         softmax_scale_log2(scale),
                         scale < 0.0f};
    if (group == CONSUMERS - 1) {
        turn_pass(group); // the first turn is warpgroup 0's
    }
    uint32_t q_parity = 0;
    while (true) {
        mbarrier_wait(barriers.q_full(), q_parity, FASC_BARRIER_Q_FULL, p.watchdog);
        q_parity ^= 1;
        int index = (int)load_shared_4(smem + TILE_AT);
        if (index < 0) {
            break;
        }
        consumer.tile(tile_at(p, index));
    }
    if (STORES && SCORE_STORE == FASC_SCORE_STORE_TMA && lane == 0) {
        tma_wait_all();
    }
}

// ---- the kernel
// ---------------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    flash_sm90(const __grid_constant__ fasc_flash_sm90_params p)
{
    extern __shared__ __align__(1024) uint8_t shared_memory[];
    const uint32_t smem = shared_address(shared_memory);
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
        tma_prefetch_map(&p.q_map);
        tma_prefetch_map(&p.k_map);
        if (WANT_OUT) {
            tma_prefetch_map(&p.v_map);
        }
        if (STORES && SCORE_STORE == FASC_SCORE_STORE_TMA) {
            tma_prefetch_map(&p.scores_map);
        }
    }
    if (FILL_WARPS && warp == 1) {
        for (int i = lane; i < PANEL_BYTES / 4; i += 32) {
            asm volatile("st.shared.b32 [%0], %1;\n" ::"r"(smem + FILL_AT + 4 * i), "r"(FILL_WORD)
                         : "memory");
        }
        fence_proxy_async();
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
