/* reducer_pass.c - launches of the reducers: which passes a problem needs, their configurations and
 * parameters. */
#include "cuda/reducer_pass.h"

#include <stdio.h>
#include <string.h>

#include "cuda/tensor_map.h"

#include "reducer_sm90_params.h"

enum { POOL = FASC_REDUCE_POOL, TOPK = FASC_REDUCE_TOPK, LOGITS = FASC_REDUCE_LOGITS };

bool fasc_reducer_pass_at(const fasc_cuda_shares *shares, int32_t index, fasc_reducer_pass *pass)
{
    const fasc_attention_args *args = &shares->passes_args;
    bool masked = shares->passes.mask_data; /* else the linear formula gives sums of logits */
    fasc_tensor *sum = args->col_sum_probs, *max = args->col_max_probs;
    const struct {
        bool wanted;
        fasc_reducer_pass pass;
    } PASS[] = {
        {sum || max, {max ? FASC_REDUCE_SUM | FASC_REDUCE_MAX : FASC_REDUCE_SUM, true, sum, max}},
        {args->pooled_max || args->pooled_mass, {POOL, false, NULL, NULL}},
        {args->topk_values || args->topk_indices, {TOPK, false, NULL, NULL}},
        {masked && args->col_sum_logits, {LOGITS, true, args->col_sum_logits, NULL}},
        {masked && args->row_sum, {LOGITS, false, args->row_sum, NULL}},
    };
    for (size_t i = 0; i < sizeof PASS / sizeof *PASS; i++) {
        if (PASS[i].wanted && index-- == 0) {
            *pass = PASS[i].pass;
            return true;
        }
    }
    return false;
}

/* ---- configurations ------------------------------------------------------ */

/* The kernels' macros. */
typedef struct sm90_config {
    int32_t head_dim, block_n, stages, consumers, buffers, overlap, turns;
} sm90_config;

typedef struct sm80_config {
    int32_t head_dim, block_m, block_n, warps;
} sm80_config;

enum { SM80_STAGES = 2 };

/* The rows of a table by head_dim: 64, 128, 256. Measured: results/reducers_log.md. */
static const sm90_config SM90[3] = {
    {64, 128, 4, 3, 2, 0, 0}, {128, 128, 3, 3, 2, 0, 0}, {256, 64, 4, 2, 1, 1, 0}};
static const sm90_config SM90_TOPK[2][3] = {
    {{64, 128, 4, 2, 1, 0, 0}, {128, 128, 3, 2, 1, 0, 0}, {256, 64, 2, 2, 1, 0, 0}},
    {{64, 128, 4, 2, 1, 0, 0}, {128, 64, 3, 2, 1, 0, 0}, {256, 64, 3, 1, 1, 0, 0}}};
static const sm80_config SM80[3] = {{64, 128, 64, 4}, {128, 128, 64, 4}, {256, 64, 32, 4}};
static const sm80_config SM80_TOPK[2][3] = {{{64, 64, 64, 4}, {128, 64, 64, 4}, {256, 64, 32, 4}},
                                            {{64, 64, 64, 4}, {128, 64, 32, 4}, {256, 32, 32, 2}}};
static const sm80_config SM80_POOL[3] = {{64, 128, 32, 4}, {128, 128, 32, 4}, {256, 64, 32, 4}};

/* Of top-k: quarters of the k's that a kernel keeps, least first; the configurations' order. */
static const int32_t SLOTS[] = {4, 16};

static int size_of(const fasc_problem *problem)
{
    return problem->head_dim <= 64 ? 0 : problem->head_dim <= 128 ? 1 : 2;
}

static int32_t slots_of(const fasc_problem *problem, int32_t reduce)
{
    int i = 0;
    while (reduce == TOPK && 4 * SLOTS[i] < problem->topk) {
        i++;
    }
    return reduce == TOPK ? SLOTS[i] : 1;
}

static int place_of(int32_t slots)
{
    int i = 0;
    while (SLOTS[i] != slots) {
        i++;
    }
    return i;
}

static const sm90_config *sm90_of(int size, int32_t reduce, int32_t slots)
{
    return reduce != TOPK ? &SM90[size] : &SM90_TOPK[place_of(slots)][size];
}

static const sm80_config *sm80_of(int size, int32_t reduce, int32_t slots)
{
    return reduce == POOL   ? &SM80_POOL[size]
           : reduce == TOPK ? &SM80_TOPK[place_of(slots)][size]
                            : &SM80[size];
}

static void sm90_macros(const sm90_config *c, bool bf16, int32_t reduce, int32_t slots,
                        char *macros, size_t room)
{
    snprintf(macros, room,
             "FASC_BF16=%d HEAD_DIM=%d BLOCK_N=%d STAGES=%d CONSUMERS=%d BUFFERS=%d OVERLAP=%d "
             "TURNS=%d REDUCE=%d SLOTS=%d",
             bf16, c->head_dim, c->block_n, c->stages, c->consumers, c->buffers, c->overlap,
             c->turns, reduce, slots);
}

static void sm80_macros(const sm80_config *c, bool bf16, int32_t reduce, int32_t slots, bool mask,
                        char *macros, size_t room)
{
    snprintf(macros, room,
             "FASC_BF16=%d HEAD_DIM=%d BLOCK_M=%d BLOCK_N=%d STAGES=%d WARPS=%d REDUCE=%d SLOTS=%d "
             "MASK=%d",
             bf16, c->head_dim, c->block_m, c->block_n, SM80_STAGES, c->warps, reduce, slots, mask);
}

/* What is compiled for each size and dtype. LOGITS is for mask tensors alone. */
static const struct {
    int32_t reduce, slots;
} VARIANT[] = {
    {FASC_REDUCE_SUM, 1}, {FASC_REDUCE_SUM | FASC_REDUCE_MAX, 1}, {POOL, 1}, {TOPK, 4}, {TOPK, 16},
    {LOGITS, 1}};
enum { VARIANTS = sizeof VARIANT / sizeof *VARIANT, HOPPER_VARIANTS = VARIANTS - 1 };

int32_t fasc_reducer_config_count(void)
{
    return 6 * HOPPER_VARIANTS + 6 * (2 * VARIANTS - 1);
}

void fasc_reducer_config_at(int32_t i, fasc_cuda_config *config)
{
    const bool hopper = i < 6 * HOPPER_VARIANTS;
    i -= hopper ? 0 : 6 * HOPPER_VARIANTS;
    const int32_t v = i / 6, size = i / 2 % 3, reduce = VARIANT[v % VARIANTS].reduce;
    const int32_t slots = VARIANT[v % VARIANTS].slots;
    if (hopper) {
        config->source = "kernels/reducer_sm90.cu";
        config->arch = "sm_90a";
        sm90_macros(sm90_of(size, reduce, slots), i % 2, reduce, slots, config->macros,
                    sizeof config->macros);
        return;
    }
    config->source = "kernels/reducer_sm80.cu";
    config->arch = NULL;
    sm80_macros(sm80_of(size, reduce, slots), i % 2, reduce, slots,
                v < VARIANTS /* masked first; LOGITS, the last, are masked only */, config->macros,
                sizeof config->macros);
}

bool fasc_reducer_can_load(const fasc_problem *problem)
{
    const fasc_tensor *input[] = {problem->args->q, problem->args->k};
    for (int i = 0; i < 2; i++) {
        if (fasc_flash_vector_rows(input[i]) &&
            !fasc_tensor_map_can(input[i], input[i]->shape[3])) {
            return false;
        }
    }
    return true;
}

bool fasc_reducer_is_hopper(const fasc_cuda_shares *shares, const fasc_reducer_pass *pass)
{
    const fasc_problem *problem = &shares->passes;
    return fasc_reducer_can_load(problem) && shares->hopper && !problem->mask_data &&
           pass->reduce != LOGITS && (pass->reduce != POOL || problem->tile == 64);
}

/* ---- launches ------------------------------------------------------------ */

enum { PITCH = 768 }; /* a multiple of every BLOCK_N */

int64_t fasc_reducer_pitch(const fasc_problem *problem)
{
    return (problem->seqlen_q + PITCH - 1) / PITCH * PITCH;
}

/* Rows of an item. */
static int64_t item_rows(const fasc_cuda_shares *shares, const fasc_reducer_pass *pass)
{
    const fasc_problem *problem = &shares->passes;
    int size = size_of(problem);
    int32_t slots = slots_of(problem, pass->reduce);
    if (fasc_reducer_is_hopper(shares, pass)) {
        return 64 * sm90_of(size, pass->reduce, slots)->consumers;
    }
    int64_t block = sm80_of(size, pass->reduce, slots)->block_m;
    return pass->reduce != POOL     ? block
           : problem->tile <= block ? block / problem->tile * problem->tile
                                    : problem->tile;
}

static int64_t heads_of(const fasc_problem *problem, const fasc_reducer_pass *pass)
{
    bool columns = pass->keys;
    return columns ? problem->column_heads : problem->heads_q;
}

static int64_t rows_of(const fasc_problem *problem, const fasc_reducer_pass *pass)
{
    return pass->keys ? problem->k1 - problem->k0 : problem->seqlen_q;
}

static int64_t items_of(const fasc_cuda_shares *shares, const fasc_reducer_pass *pass)
{
    const fasc_problem *problem = &shares->passes;
    int64_t each = item_rows(shares, pass);
    return (rows_of(problem, pass) + each - 1) / each * heads_of(problem, pass) * problem->batch;
}

static size_t sm80_smem(const sm80_config *c, int32_t reduce, int32_t slots)
{
    return (size_t)FASC_REDUCER_SM80_SMEM_BYTES(c->head_dim, c->block_m, c->block_n, SM80_STAGES,
                                                reduce == POOL,
                                                FASC_REDUCER_LISTS(reduce == TOPK, slots));
}

void fasc_reducer_launch(const fasc_cuda_device *d, const fasc_cuda_shares *shares,
                         const fasc_reducer_pass *pass, fasc_cuda_stage *stage)
{
    const fasc_problem *problem = &shares->passes;
    int size = size_of(problem);
    int32_t reduce = pass->reduce, slots = slots_of(problem, reduce);
    bool bf16 = problem->dtype == FASC_BF16;
    int64_t items = items_of(shares, pass);
    if (fasc_reducer_is_hopper(shares, pass)) {
        const sm90_config *c = sm90_of(size, reduce, slots);
        sm90_macros(c, bf16, reduce, slots, stage->macros, sizeof stage->macros);
        stage->launch = (fasc_cuda_launch){
            .source = "kernels/reducer_sm90.cu",
            .macros = stage->macros,
            .entry = "reducer_sm90",
            .blocks = items < d->units ? items : d->units,
            .threads = 128 * (c->consumers + 1),
            .smem = (size_t)FASC_REDUCER_SM90_SMEM_BYTES(c->head_dim, c->block_n, c->stages,
                                                         c->consumers, c->buffers,
                                                         FASC_REDUCER_LISTS(reduce == TOPK, slots)),
        };
        return;
    }
    const sm80_config *c = sm80_of(size, reduce, slots);
    sm80_macros(c, bf16, reduce, slots, problem->mask_data, stage->macros, sizeof stage->macros);
    stage->launch = (fasc_cuda_launch){
        .source = "kernels/reducer_sm80.cu",
        .macros = stage->macros,
        .entry = "reducer_sm80",
        .blocks = items,
        .threads = 32 * c->warps,
        .smem = sm80_smem(c, reduce, slots),
    };
}

size_t fasc_reducer_room(const fasc_cuda_device *d, const fasc_cuda_shares *shares)
{
    fasc_reducer_pass pass;
    for (int32_t i = 0; fasc_reducer_pass_at(shares, i, &pass); i++) {
        if (pass.reduce == TOPK && fasc_reducer_is_hopper(shares, &pass)) {
            fasc_cuda_stage stage;
            fasc_reducer_launch(d, shares, &pass, &stage);
            return (size_t)stage.launch.blocks * (size_t)(stage.launch.threads / 32 - 4) *
                   (size_t)FASC_TOPK_ROOM(4 * slots_of(&shares->passes, TOPK));
        }
    }
    return 0;
}

/* ---- parameters ---------------------------------------------------------- */

static fasc_reducer_output output_of(const fasc_tensor *t)
{
    fasc_reducer_output o = {0};
    if (t) {
        o.data = t->data;
        for (int i = 0; i < t->rank; i++) {
            o.stride[i] = t->stride[i];
        }
    }
    return o;
}

/* Heads whose streamed operand shares half of L2: the rest is for what is read once. */
static int32_t section_of(const fasc_cuda_device *d, const fasc_problem *problem,
                          const fasc_reducer_pass *pass)
{
    int64_t columns = pass->keys ? problem->seqlen_q : problem->seqlen_k;
    int64_t fit = d->l2_bytes / 2 / (columns * problem->head_dim * 2);
    int64_t share = pass->keys ? 1 : problem->group;
    int64_t most = problem->batch * heads_of(problem, pass);
    fit = (fit > 1 ? fit : 1) * share;
    return (int32_t)(fit < most ? fit : most);
}

static fasc_reducer_params params_of(const fasc_cuda_device *d, const fasc_cuda_shares *shares,
                                     const fasc_reducer_pass *pass, const fasc_flash_inputs *inputs,
                                     const float *offset)
{
    const fasc_problem *problem = &shares->passes;
    const fasc_attention_args *args = problem->args;
    const fasc_tensor *rows = pass->keys ? &inputs->k : &inputs->q;
    const fasc_tensor *columns = pass->keys ? &inputs->q : &inputs->k;
    const int64_t each = item_rows(shares, pass), heads = heads_of(problem, pass);
    const bool per_kv = pass->keys && heads != problem->heads_q;
    fasc_reducer_params p = {
        .rows = rows->data,
        .columns = columns->data,
        .lo = pass->keys ? -problem->hi : problem->lo,
        .hi = pass->keys ? -problem->lo : problem->hi,
        .banded = problem->banded,
        .rows_are_keys = pass->keys,
        .batch = (int32_t)problem->batch,
        .heads = (int32_t)heads,
        .row_group = pass->keys && !per_kv ? (int32_t)problem->group : 1,
        .column_repeat = per_kv ? (int32_t)problem->group : 1,
        .column_group = pass->keys ? 1 : (int32_t)problem->group,
        .column_heads = (int32_t)(pass->keys ? problem->heads_q : problem->heads_k),
        .row_begin = pass->keys ? (int32_t)problem->k0 : 0,
        .row_end = (int32_t)(pass->keys ? problem->k1 : problem->seqlen_q),
        .column_begin = pass->keys ? (int32_t)problem->q0 : 0,
        .column_end = (int32_t)(pass->keys ? problem->q1 : problem->seqlen_k),
        .head_dim = (int32_t)problem->head_dim,
        .scale = (float)problem->scale,
        .offset = offset,
        .offset_pitch = fasc_reducer_pitch(problem),
        .sum = output_of(pass->sum),
        .max = output_of(pass->max),
        .tiles = (int32_t)((rows_of(problem, pass) + each - 1) / each),
        .items = (int32_t)items_of(shares, pass),
        .section = section_of(d, problem, pass),
        .last_first = !pass->keys,
    };
    if (pass->reduce == LOGITS && !pass->keys) { /* row_sum looks at the key range */
        p.column_begin = (int32_t)problem->k0;
        p.column_end = (int32_t)problem->k1;
    }
    if (pass->reduce == POOL) {
        p.pool = (int32_t)problem->tile;
        p.pool_mass = output_of(args->pooled_mass);
        p.pool_max = output_of(args->pooled_max);
    }
    if (pass->reduce == TOPK) {
        p.topk = fasc_topk_params_of(problem);
    }
    p.mask = fasc_cuda_mask_of(problem);
    if (pass->keys) {
        p.mask.stride[2] = problem->mask_stride[3];
        p.mask.stride[3] = problem->mask_stride[2];
    }
    fasc_cuda_strides(rows, 3, p.row_stride);
    fasc_cuda_strides(columns, 3, p.column_stride);
    return p;
}

fasc_status fasc_reducer_run(fasc_cuda_device *d, const fasc_cuda_shares *shares,
                             const fasc_reducer_pass *pass, const fasc_flash_inputs *inputs,
                             const float *offset, int32_t *counter, char *room, cudaStream_t stream)
{
    const fasc_problem *problem = &shares->passes;
    fasc_cuda_stage stage;
    fasc_reducer_launch(d, shares, pass, &stage);
    fasc_reducer_sm90_params p = {.reduce = params_of(d, shares, pass, inputs, offset)};
    p.reduce.topk.room = room;
    if (!fasc_reducer_is_hopper(shares, pass)) {
        return fasc_cuda_run_kernel(d, stream, &stage.launch, &p.reduce);
    }
    const sm90_config *c = sm90_of(size_of(problem), pass->reduce, slots_of(problem, pass->reduce));
    const fasc_tensor *rows = pass->keys ? &inputs->k : &inputs->q;
    const fasc_tensor *columns = pass->keys ? &inputs->q : &inputs->k;
    fasc_status status =
        fasc_tensor_map_make(rows, problem->head_dim, 64 * c->consumers, &p.row_map);
    if (status == FASC_OK) {
        status = fasc_tensor_map_make(columns, problem->head_dim, c->block_n, &p.column_map);
    }
    if (status == FASC_OK && problem->banded && p.reduce.items > d->units) {
        p.reduce.counter = counter; /* items differ: whichever block is free takes the next */
        status = fasc_cuda_check(d, cudaMemsetAsync(counter, 0, sizeof *counter, stream),
                                 "cudaMemsetAsync");
    }
    return status == FASC_OK ? fasc_cuda_run_kernel(d, stream, &stage.launch, &p) : status;
}
