/* test_cuda_reducers_plan.c - the passes after a flash forward, without a GPU: whatever they take,
 * each launch is one that ships and fits a multiprocessor, and all that ship are launched. */
#include <stdlib.h>

#include "cuda/diagonals.h"
#include "cuda/linear.h"
#include "cuda/reducer_pass.h"
#include "cuda_stubs.h"
#include "test.h"

int64_t fasc_cuda_blocks_for(const fasc_cuda_device *d, int64_t n, int64_t each)
{
    int64_t blocks = (n + each - 1) / each;
    return blocks < d->units * 8 ? blocks : d->units * 8;
}

/* An H100, and the GPU with the least shared memory that the portable passes run on (sm_86). */
static const fasc_cuda_device DEVICE[] = {
    {.arch = "sm_90a", .compute = 90, .units = 132, .l2_bytes = 50 << 20, .smem_per_block = 232448},
    {.arch = "sm_86", .compute = 86, .units = 84, .l2_bytes = 6 << 20, .smem_per_block = 101376},
};

static int64_t draw(int64_t n) /* 0 to n - 1 */
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)(state >> 33) % n;
}

static fasc_tensor tensor(fasc_dtype dtype, int64_t heads, int64_t length, int64_t columns)
{
    fasc_tensor t = {.dtype = dtype,
                     .rank = 4,
                     .shape = {1, heads, length, columns},
                     .stride = {heads * length * columns, length * columns, columns, 1},
                     .numel = heads * length * columns};
    t.data = (char *)(uintptr_t)4096;
    return t;
}

typedef struct drawn {
    fasc_tensor q, k, result;
    fasc_attention_args args;
    fasc_problem problem;
} drawn;

static void draw_problem(drawn *x)
{
    const fasc_dtype dtype = draw(2) ? FASC_F16 : FASC_BF16;
    const int64_t dims = 8 * (1 + draw(32)), nq = 1 + draw(600), nk = 1 + draw(600);
    const int64_t group = 1 + draw(3);
    memset(x, 0, sizeof *x);
    x->q = tensor(dtype, 2 * group, nq, dims);
    x->k = tensor(dtype, 2, nk, dims);
    x->result = tensor(FASC_F32, 2 * group, nq, 64);
    x->args = (fasc_attention_args){.size = sizeof x->args, .q = &x->q, .k = &x->k};
    x->problem = (fasc_problem){.batch = 1,
                                .heads_q = 2 * group,
                                .heads_k = 2,
                                .seqlen_q = nq,
                                .seqlen_k = nk,
                                .head_dim = dims,
                                .group = group,
                                .lo = -FASC_BAND_OPEN,
                                .hi = draw(2) ? nk - nq : FASC_BAND_OPEN,
                                .scale = 0.125,
                                .dtype = dtype,
                                .args = &x->args,
                                .q1 = nq,
                                .k1 = nk,
                                .topk = 1 + draw(64),
                                .tile = draw(2) ? 64 : 1 + draw(200)};
    x->problem.banded = x->problem.hi != FASC_BAND_OPEN;
    x->problem.q0 = draw(2) ? draw(nq) : 0;
    x->problem.column_heads = draw(2) ? 2 : 2 * group;
    x->problem.mask_data = draw(3) ? NULL : (const void *)&x->q;
    x->problem.mask_dtype = FASC_F32;
#define WANT(number, name, shape)                                                                  \
    if (!(FASC_WANT(number) & FASC_WANT_FORWARD) && draw(4) == 0) {                                \
        x->args.name = &x->result;                                                                 \
        x->problem.wanted |= FASC_WANT(number);                                                    \
    }
    FASC_OUTPUTS(WANT)
#undef WANT
}

enum { MOST = 512 };
static fasc_cuda_config ships[MOST];
static bool used[MOST];
static int32_t count;

static void list_what_ships(void)
{
    for (int32_t i = 0; i < fasc_reducer_config_count(); i++) {
        fasc_reducer_config_at(i, &ships[count++]);
    }
    for (int32_t i = 0; i < FASC_DIAGONALS_CONFIGS; i++) {
        fasc_diagonals_config_at(i, &ships[count++]);
    }
    for (int32_t bf16 = 0; bf16 < 2; bf16++) {
        ships[count].source = "kernels/linear.cu";
        snprintf(ships[count].macros, sizeof ships[count].macros, "FASC_BF16=%d", (int)bf16);
        count++;
    }
    ships[count++].source = "kernels/reducer_offsets.cu";
    ships[count++].source = "kernels/diagonals_join.cu";
}

static void check_launch(const fasc_cuda_device *d, const fasc_cuda_stage *stage)
{
    const fasc_cuda_launch *l = &stage->launch;
    int32_t at = 0;
    while (at < count && (strcmp(ships[at].source, l->source) != 0 ||
                          strcmp(ships[at].macros, stage->macros) != 0)) {
        at++;
    }
    CHECK(at < count, "%s with %s does not ship", l->source, stage->macros);
    used[at] = true;
    CHECK(!ships[at].arch || strcmp(ships[at].arch, d->arch) == 0, "%s on %s", l->source, d->arch);
    CHECK((int64_t)l->smem <= d->smem_per_block, "%s %s: %zu bytes of shared memory", l->source,
          stage->macros, l->smem);
    CHECK(l->blocks > 0 && l->threads > 0 && l->threads <= 1024, "%s: %d threads", l->entry,
          l->threads);
}

static void every_launch_ships_and_all_that_ship_are_launched(void)
{
    list_what_ships();
    for (int n = 0; n < 40000; n++) {
        const fasc_cuda_device *d = &DEVICE[n % 2];
        drawn x;
        draw_problem(&x);
        char why[160] = "";
        fasc_cuda_shares shares;
        fasc_cuda_stage stage;
        CHECK(fasc_reducers_serve(&x.problem, why, sizeof why) != 0, "%s", why);
        fasc_reducers_share(d, &x.problem, FASC_WANT_FORWARD, n % 2 ? "sm_80" : "sm_90a", &shares);
        size_t bytes = fasc_reducers_workspace(d, &shares);
        CHECK((bytes > 0) == (shares.passes.wanted != 0), "workspace of %zu bytes", bytes);
        for (int32_t i = 0; fasc_reducers_stage(d, &shares, i, &stage); i++) {
            check_launch(d, &stage);
        }
    }
    for (int32_t i = 0; i < count; i++) {
        CHECK(used[i], "%s with %s ships for nothing", ships[i].source, ships[i].macros);
    }
}

TEST_MAIN(every_launch_ships_and_all_that_ship_are_launched)
