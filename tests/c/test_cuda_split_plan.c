/* test_cuda_split_plan.c - the plans of the portable flash kernel and of its split keys, without a
 * GPU: each launch is one that ships, fits a multiprocessor, and together they cover the problem;
 * what decoding is split into. */
#include <stdlib.h>

#include "cuda/flash.h"
#include "cuda/flash_sm80.h"
#include "cuda/flash_split.h"
#include "cuda_stubs.h"
#include "test.h"

/* An H200, an A100, and a GPU with little shared memory. */
static const fasc_cuda_device DEVICE[] = {{.arch = "sm_90a",
                                           .compute = 90,
                                           .units = 132,
                                           .l2_bytes = 50 << 20,
                                           .smem_per_block = 232448,
                                           .smem_per_unit = 233472},
                                          {.arch = "sm_80",
                                           .compute = 80,
                                           .units = 108,
                                           .l2_bytes = 40 << 20,
                                           .smem_per_block = 166912,
                                           .smem_per_unit = 167936},
                                          {.arch = "sm_86",
                                           .compute = 86,
                                           .units = 84,
                                           .l2_bytes = 6 << 20,
                                           .smem_per_block = 101376,
                                           .smem_per_unit = 102400}};
enum { DEVICES = sizeof DEVICE / sizeof *DEVICE, MOST = 1024 };

static int64_t draw(int64_t n) /* 0 to n - 1 */
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)(state >> 33) % n;
}

typedef struct drawn {
    fasc_attention_args args;
    fasc_problem problem;
    fasc_tensor q, k, out, rows, scores;
} drawn;

static fasc_tensor tensor(fasc_dtype dtype, int64_t batch, int64_t heads, int64_t length,
                          int64_t columns)
{
    return (fasc_tensor){.data = (char *)4096,
                         .dtype = dtype,
                         .rank = 4,
                         .shape = {batch, heads, length, columns},
                         .stride = {heads * length * columns, length * columns, columns, 1},
                         .numel = batch * heads * length * columns};
}

static void make_problem(drawn *x, int64_t batch, int64_t heads_q, int64_t heads_k, int64_t nq,
                         int64_t nk, int64_t head_dim)
{
    memset(x, 0, sizeof *x);
    x->q = x->out = tensor(FASC_F16, batch, heads_q, nq, head_dim);
    x->k = tensor(FASC_F16, batch, heads_k, nk, head_dim);
    x->rows = tensor(FASC_F32, batch, heads_q, nq, 1);
    x->scores = tensor(FASC_F16, batch, heads_q, nq, nk);
    x->args = (fasc_attention_args){
        .size = sizeof x->args, .q = &x->q, .k = &x->k, .v = &x->k, .out = &x->out};
    x->problem = (fasc_problem){.batch = batch,
                                .heads_q = heads_q,
                                .heads_k = heads_k,
                                .group = heads_q / heads_k,
                                .seqlen_q = nq,
                                .seqlen_k = nk,
                                .head_dim = head_dim,
                                .lo = -FASC_BAND_OPEN,
                                .hi = FASC_BAND_OPEN,
                                .scale = 0.125,
                                .dtype = FASC_F16,
                                .args = &x->args,
                                .wanted = FASC_WANT(OUT)};
}

static void want(drawn *x, uint32_t output, fasc_tensor **argument, fasc_tensor *t)
{
    if (draw(4) == 0) {
        x->problem.wanted |= output;
        *argument = t;
    }
}

static void draw_problem(drawn *x)
{
    const int64_t heads_k = 1 + draw(8), nq = 1 + draw(draw(2) ? 20 : 300);
    make_problem(x, 1 + draw(4), heads_k * (1 + draw(8)), heads_k, nq, 1 + draw(20000),
                 8 * (1 + draw(32)));
    fasc_problem *p = &x->problem;
    p->dtype = draw(2) ? FASC_F16 : FASC_BF16;
    p->banded = draw(2);
    p->hi = p->banded ? p->seqlen_k - nq : FASC_BAND_OPEN;
    p->lo = p->banded && draw(4) == 0 ? p->hi - 500 : -FASC_BAND_OPEN;
    p->dropout = draw(6) == 0;
    p->mask_data = draw(6) == 0 ? &x->q : NULL;
    want(x, FASC_WANT(LSE), &x->args.lse, &x->rows);
    want(x, FASC_WANT(ENTROPY), &x->args.entropy, &x->rows);
    want(x, FASC_WANT(LOGITS), &x->args.logits, &x->scores);
    want(x, FASC_WANT(MASKED), &x->args.masked, &x->scores);
    want(x, FASC_WANT(PROBS), &x->args.probs, &x->scores);
    x->args.kernel.splits = (int32_t)(draw(2) ? draw(9) : 0);
    x->args.kernel.stages = (int32_t)(draw(4) ? 0 : 1 + draw(4));
    x->args.kernel.block_m = (int32_t)(draw(8) ? 0 : 16 << draw(3));
}

static fasc_cuda_config ships[MOST];
static bool used[MOST];
static int32_t count, split_count;

static void list_what_ships(void)
{
    while (fasc_split_config_at(count, &ships[count])) {
        count++;
    }
    split_count = count;
    CHECK(split_count == fasc_split_config_count(), "%d", (int)split_count);
    fasc_cuda_config *c = &ships[count];
    while (count < MOST - 1 && fasc_sm80_macros_at(count - split_count, &c->first, &c->last,
                                                   c->macros, sizeof c->macros)) {
        c->source = "kernels/flash_sm80.cu";
        c = &ships[++count];
    }
}

static void check_stage(const fasc_cuda_device *d, const fasc_cuda_stage *stage)
{
    const fasc_cuda_launch *l = &stage->launch;
    int32_t at = 0;
    while (at < count &&
           (strcmp(ships[at].source, l->source) != 0 ||
            strcmp(ships[at].macros, stage->macros) != 0 ||
            (ships[at].last && (d->compute < ships[at].first || d->compute > ships[at].last)))) {
        at++;
    }
    CHECK(at < count, "%s with %s does not ship for %s", l->source, stage->macros, d->arch);
    used[at] = true;
    CHECK((int64_t)l->smem <= d->smem_per_block, "%s: %zu bytes of shared memory", stage->macros,
          l->smem);
    CHECK(l->blocks > 0 && l->threads > 0 && l->threads <= 1024, "%s: %d threads", l->entry,
          l->threads);
}

/* The parts of the keys cover what some query sees, and none is for nothing. */
static void check_split(const drawn *x, const fasc_attention_plan *plan,
                        const fasc_cuda_stage *first)
{
    const fasc_problem *p = &x->problem;
    const int64_t rows = p->group * p->seqlen_q;
    const int64_t blocks = p->batch * p->heads_k * ((rows + plan->block_m - 1) / plan->block_m);
    CHECK(plan->splits <= (p->seqlen_k + plan->block_n - 1) / plan->block_n, "%d splits of %d keys",
          (int)plan->splits, (int)p->seqlen_k);
    CHECK(first->launch.blocks == blocks * plan->splits, "%d blocks", (int)first->launch.blocks);
    CHECK(!x->args.kernel.splits || plan->splits <= x->args.kernel.splits, "%d splits",
          (int)plan->splits);
    CHECK(!x->args.kernel.stages || plan->stages == x->args.kernel.stages, "%d stages",
          (int)plan->stages);
    CHECK(!x->args.kernel.block_m || plan->block_m == x->args.kernel.block_m, "%d rows",
          (int)plan->block_m);
    CHECK(plan->workspace_bytes >= rows * plan->splits * (p->head_dim * 4 + 24), "workspace");
}

static void every_launch_ships_and_all_that_ship_are_launched(void)
{
    int32_t split = 0, whole = 0;
    list_what_ships();
    for (int n = 0; n < 40000; n++) {
        const fasc_cuda_device *d = &DEVICE[n % DEVICES];
        fasc_cuda_device copy = *d;
        fasc_attention_plan plan = {.size = sizeof plan};
        fasc_cuda_stage stage, first = {.macros = ""};
        drawn x;
        char why[256] = "";
        draw_problem(&x);
        if (!fasc_cuda_flash_sm80.can(d, &x.problem, why, sizeof why)) {
            CHECK(*why != 0, "no reason");
            continue;
        }
        plan.splits = 1;
        CHECK_OK(fasc_cuda_flash_sm80.plan(&copy, &x.problem, &plan));
        for (int32_t i = 0; fasc_cuda_flash_sm80.stage(d, &x.problem, &plan, i, &stage); i++) {
            stage.launch.macros = stage.macros;
            check_stage(d, &stage);
            first = i == 0 ? stage : first;
        }
        if (plan.splits > 1) {
            check_split(&x, &plan, &first);
            split++;
        } else {
            whole++;
        }
    }
    CHECK(split > 1000 && whole > 1000, "%d with split keys, %d without", (int)split, (int)whole);
    for (int32_t i = 0; i < split_count; i++) {
        CHECK(used[i], "%s with %s ships for nothing", ships[i].source, ships[i].macros);
    }
}

static void decoding_fills_the_device(void)
{
    static const struct {
        int64_t batch, heads_q, heads_k, nq, nk, head_dim;
        int32_t least, most; /* splits on an H200 */
    } CASE[] = {
        {8, 32, 8, 1, 8192, 128, 4, 4},
        {8, 32, 8, 1, 65536, 128, 4, 4},
        {1, 32, 8, 1, 1 << 20, 128, 32, 33},
        {1, 32, 8, 16, 1 << 20, 128, 32, 33},
        {8, 32, 8, 16, 8192, 128, 4, 4},
        {64, 32, 8, 1, 4096, 128, 2, 2}, /* blocks enough, but no other kernel reads as fast */
        {1, 8, 8, 128, 131072, 128, 15, 17},
        {8, 32, 32, 16, 8192, 128, 2, 2},
        {8, 32, 32, 32, 8192, 128, 1, 1}, /* whole tiles are as fast where heads are many */
        {8, 32, 32, 64, 8192, 128, 1, 1},
        {1, 32, 8, 1, 128, 128, 1, 1}, /* too few keys */
        {1, 32, 32, 4096, 4096, 128, 1, 1},
        {1, 32, 8, 1024, 8192, 128, 1, 1},
    };
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        drawn x;
        make_problem(&x, CASE[i].batch, CASE[i].heads_q, CASE[i].heads_k, CASE[i].nq, CASE[i].nk,
                     CASE[i].head_dim);
        const int32_t splits = fasc_split_count(&DEVICE[0], &x.problem);
        CHECK(splits >= CASE[i].least && splits <= CASE[i].most, "case %d: %d splits", (int)i,
              (int)splits);
        CHECK(fasc_cuda_flash_sm80.prefers(&DEVICE[0], &x.problem) == (splits > 1), "case %d",
              (int)i);
    }
}

static void a_setting_that_is_not_there_is_named(void)
{
    drawn x;
    char why[256] = "";
    make_problem(&x, 1, 4, 1, 1, 4096, 128);
    x.args.kernel.splits = 4;
    x.args.kernel.stages = 7;
    CHECK(!fasc_cuda_flash_sm80.can(&DEVICE[0], &x.problem, why, sizeof why), "7 stages taken");
    CHECK(strcmp(why, "has these block_m x block_n, stages, warps when keys are split: "
                      "16|32|64x64,3,4 16|32|64x64,2,4") == 0,
          "%s", why);
}

TEST_MAIN(every_launch_ships_and_all_that_ship_are_launched, decoding_fills_the_device,
          a_setting_that_is_not_there_is_named)
