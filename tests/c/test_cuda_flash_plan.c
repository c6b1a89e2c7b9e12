/* test_cuda_flash_plan.c - the plans of the Hopper flash kernel, without a GPU: whatever problem it
 * takes, each launch is one that ships, fits a multiprocessor and makes what is wanted. */
#include <stdlib.h>

#include "cuda/flash.h"
#include "cuda/flash_sm90.h"
#include "cuda/sm90_classes.h"
#include "cuda_stubs.h"
#include "sm90_params.h"
#include "test.h"

enum { UNITS = 132, SMEM = 232448, MOST = 512 }; /* an H100 */

static const fasc_cuda_device HOPPER = {
    .arch = "sm_90a", .compute = 90, .units = UNITS, .l2_bytes = 50 << 20, .smem_per_block = SMEM};

static int64_t draw(int64_t n) /* 0 to n - 1 */
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)(state >> 33) % n;
}

static fasc_tensor tensor(fasc_dtype dtype, int64_t heads, int64_t length, int64_t columns,
                          int64_t gap)
{
    const int64_t row = columns + gap;
    return (fasc_tensor){.data = (char *)4096,
                         .dtype = dtype,
                         .rank = 4,
                         .shape = {2, heads, length, columns},
                         .stride = {heads * length * row, length * row, row, 1},
                         .numel = 2 * heads * length * columns};
}

typedef struct drawn {
    fasc_attention_args args;
    fasc_problem problem;
    fasc_tensor q, k, out, scores, statistics;
} drawn;

static void draw_problem(drawn *x)
{
    *x = (drawn){.problem.batch = 2};
    fasc_problem *p = &x->problem;
    p->args = &x->args;
    p->dtype = draw(2) ? FASC_F16 : FASC_BF16;
    p->group = 1 + draw(3);
    p->heads_k = 1 + draw(3);
    p->heads_q = p->group * p->heads_k;
    p->seqlen_q = 1 + draw(3000);
    p->seqlen_k = 1 + draw(3000);
    p->head_dim = 8 * (1 + draw(33));
    p->banded = draw(2);
    p->lo = -FASC_BAND_OPEN;
    p->hi = p->banded ? draw(200) : FASC_BAND_OPEN;
    x->q = tensor(p->dtype, p->heads_q, p->seqlen_q, p->head_dim, draw(2));
    x->k = tensor(p->dtype, p->heads_k, p->seqlen_k, p->head_dim, 0);
    x->out = tensor(draw(2) ? p->dtype : FASC_F32, p->heads_q, p->seqlen_q, p->head_dim, 0);
    x->scores = tensor(draw(8) ? p->dtype : FASC_F32, p->heads_q, p->seqlen_q, p->seqlen_k,
                       draw(4) ? 8 - p->seqlen_k % 8 : 0);
    x->statistics = tensor(FASC_F32, p->heads_q, p->seqlen_q, 1, 0);
    x->args.q = &x->q;
    x->args.k = x->args.v = &x->k;
    x->args.out = draw(2) ? &x->out : NULL;
    x->args.lse = draw(2) ? &x->statistics : NULL;
    x->args.logits = draw(2) ? &x->scores : NULL;
    x->args.masked = draw(4) ? NULL : &x->scores;
    x->args.probs = draw(4) ? NULL : &x->scores;
    x->args.entropy = draw(4) ? NULL : &x->statistics;
    x->args.kernel.warps = (int32_t)draw(4);
    x->args.mean_distance = draw(4) ? NULL : &x->statistics;
    p->wanted = x->args.entropy ? FASC_WANT(ENTROPY) : 0;
    p->wanted |= x->args.mean_distance ? FASC_WANT(MEAN_DISTANCE) : 0;
    p->dropout = x->args.out && !draw(8);
    const bool apart = p->wanted || p->dropout || x->args.logits || x->args.masked || x->args.probs;
    if (x->args.out && !apart && p->head_dim <= 128 && draw(2)) { /* as the kernel says it fuses */
        x->args.topk_values = &x->statistics;
        p->wanted |= FASC_WANT(TOPK_VALUES) | FASC_WANT(OUT);
        p->topk = 8;
    }
}

/* The value of NAME=value among a compilation's macros. */
static long macro(const char *macros, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = macros; (at = strstr(at, name)); at += length) {
        if (at[length] == '=' && (at == macros || at[-1] == ' ')) {
            return strtol(at + length + 1, NULL, 10);
        }
    }
    return -1;
}

static void check_launch(const drawn *x, int32_t index, const fasc_cuda_launch *launch)
{
    const fasc_problem *p = &x->problem;
    const char *m = launch->macros;
    fasc_flash_pass pass;
    const bool topk = p->wanted & FASC_WANT_TOPK;
    const bool special =
        (p->wanted && !topk) || p->dropout; /* with O, in a launch before those of scores */
    if (!special || index > 0) {
        CHECK(fasc_flash_pass_at(p, index - special, &pass), "%d", (int)index);
        pass.first = index == 0;
    } else {
        pass = (fasc_flash_pass){FASC_SCORES_NONE, NULL, true};
    }
    bool out = pass.first && x->args.out, stats = pass.first && !out && x->args.lse;
    bool only_logits = pass.scores == FASC_SCORES_LOGITS && !out && !stats;
    CHECK(launch->smem <= SMEM && launch->blocks > 0 && launch->blocks <= UNITS, "%s: %zu", m,
          launch->smem);
    CHECK(macro(m, "FASC_BF16") == (p->dtype == FASC_BF16), "%s", m);
    CHECK(macro(m, "HEAD_DIM") >= p->head_dim, "%s for %d", m, (int)p->head_dim);
    CHECK(macro(m, "SCORES") == pass.scores && macro(m, "WANT_OUT") == out, "%s", m);
    CHECK(!p->banded || only_logits || macro(m, "MASK") == FASC_MASK_BAND, "%s", m);
    const long statistics = macro(m, "STATISTICS");
    const bool all = p->dropout || x->args.mean_distance;
    CHECK((statistics != FASC_STATISTICS_NONE) == (special && pass.first), "%s", m);
    CHECK(macro(m, "TOPK") == (topk && pass.first), "%s", m);
    CHECK(!topk || fasc_cuda_flash_sm90.fuses(p) == FASC_WANT_TOPK || p->args->kernel.warps, "%s",
          m);
    CHECK(!all || statistics != FASC_STATISTICS_SUMS, "%s", m);
    CHECK(macro(m, "DROPOUT") == (p->dropout && pass.first), "%s", m);
    CHECK(!stats || macro(m, "WANT_STATS") == 1 || pass.scores == FASC_SCORES_PROBS, "%s", m);
}

static void every_launch_ships_and_all_that_ship_are_launched(void)
{
    static char ships[MOST][192];
    bool used[MOST] = {false};
    int32_t count = 0, taken = 0;
    while (count < MOST && fasc_sm90_macros_at(count, ships[count], sizeof *ships)) {
        count++;
    }
    CHECK(count > 0 && count < MOST, "%d", (int)count);
    for (int32_t n = 0; n < 50000; n++) {
        drawn x;
        char why[160];
        fasc_cuda_stage stage;
        fasc_attention_plan plan = {.size = sizeof plan};
        draw_problem(&x);
        bool nothing = !x.args.out && !x.args.lse && !x.args.logits && !x.args.masked &&
                       !x.args.probs && !x.args.entropy && !x.args.mean_distance;
        if (nothing || !fasc_cuda_flash_sm90.can(&HOPPER, &x.problem, why, sizeof why)) {
            continue;
        }
        taken++;
        for (int32_t i = 0; fasc_cuda_flash_sm90.stage(&HOPPER, &x.problem, &plan, i, &stage);
             i++) {
            int32_t at = 0;
            while (at < count && strcmp(ships[at], stage.macros) != 0) {
                at++;
            }
            CHECK(at < count, "%s does not ship", stage.macros);
            used[at] = true;
            check_launch(&x, i, &stage.launch);
        }
    }
    CHECK(taken > 1000, "only %d problems are taken", (int)taken);
    for (int32_t i = 0; i < count; i++) {
        CHECK(used[i], "%s ships for nothing", ships[i]);
    }
}

static void what_it_does_not_take_it_says(void)
{
    drawn x;
    char why[160] = "";
    do {
        draw_problem(&x);
        x.args.out = &x.out;
        x.args.kernel.warps = 0;
    } while (!fasc_cuda_flash_sm90.can(&HOPPER, &x.problem, why, sizeof why));
    drawn masked = x, older_problem = x;
    masked.problem.args = &masked.args;
    masked.problem.mask_data = &masked;
    CHECK(!fasc_cuda_flash_sm90.can(&HOPPER, &masked.problem, why, sizeof why), "mask taken");
    CHECK(strcmp(why, "takes no mask tensor") == 0, "%s", why);
    fasc_cuda_device older = HOPPER;
    memcpy(older.arch, "sm_80", 6);
    older_problem.problem.args = &older_problem.args;
    CHECK(!fasc_cuda_flash_sm90.can(&older, &older_problem.problem, why, sizeof why), "sm_80");
    CHECK(strcmp(why, "needs a Hopper GPU") == 0, "%s", why);
}

/* What the plan says of the scores of 8 heads of these queries and keys, `gap` elements behind each
 * row and `head_gap` behind each head. */
static void check_rows(int64_t seqlen_q, int64_t seqlen_k, int64_t gap, int64_t head_gap,
                       const char *said)
{
    drawn x = {.problem = {.batch = 1, .heads_q = 8, .heads_k = 8, .group = 1, .head_dim = 128}};
    fasc_problem *p = &x.problem;
    fasc_attention_plan plan = {.size = sizeof plan};
    char why[160] = "";
    p->args = &x.args;
    p->dtype = FASC_F16;
    p->seqlen_q = seqlen_q;
    p->seqlen_k = seqlen_k;
    p->hi = FASC_BAND_OPEN;
    p->lo = -FASC_BAND_OPEN;
    x.q = tensor(p->dtype, 8, seqlen_q, 128, 0);
    x.k = tensor(p->dtype, 8, seqlen_k, 128, 0);
    x.scores = tensor(p->dtype, 8, seqlen_q, seqlen_k, gap);
    x.q.shape[0] = x.k.shape[0] = x.scores.shape[0] = 1;
    x.scores.stride[1] += head_gap;
    x.args.q = x.args.out = &x.q;
    x.args.k = x.args.v = &x.k;
    x.args.logits = &x.scores;
    CHECK(fasc_cuda_flash_sm90.can(&HOPPER, p, why, sizeof why), "%s", why);
    fasc_cuda_device d = HOPPER;
    CHECK(fasc_cuda_flash_sm90.plan(&d, p, &plan) == FASC_OK, "no plan");
    CHECK(strstr(plan.config, said), "%d x %d, gaps %d and %d: %s lacks '%s'", (int)seqlen_q,
          (int)seqlen_k, (int)gap, (int)head_gap, plan.config, said);
}

static void rows_that_begin_anywhere_go_in_classes_where_they_are_many(void)
{
    check_rows(8192, 8192, 0, 0, "by TMA");
    check_rows(8191, 8191, 0, 0, "rows 16 apart");
    check_rows(8191, 8190, 0, 0, "rows 8 apart");
    check_rows(8191, 8188, 0, 0, "rows 4 apart");
    check_rows(8191, 8191, 1, 8, "by TMA");
    check_rows(8191, 8191, 0, 8191, "rows 16 apart"); /* heads one row further apart */
    check_rows(8191, 8191, 0, 15, "rows 16 apart");   /* all at a multiple of 32 bytes */
    check_rows(8191, 8191, 0, 3, "shifted");          /* neither */
    check_rows(2040, 1001, 0, 0, "rows 16 apart");
    check_rows(4100, 77, 0, 0, "rows 16 apart");
    check_rows(3073, 4, 0, 0, "rows 4 apart");
    check_rows(8191, 8200, 0, 0, "rows 2 apart"); /* TMA could store them, more slowly */
    check_rows(100, 8191, 0, 0, "shifted");
}

static void classes_have_the_tiles_of_their_rows(void)
{
    for (int32_t n = 0; n < 20000; n++) {
        const int64_t classes = 1 << draw(5), rows = classes + draw(5000);
        const int64_t block = 64 * (2 + draw(2));
        int64_t tiles = 0;
        for (int64_t c = 0; c < classes; c++) {
            tiles += ((rows - c + classes - 1) / classes + block - 1) / block;
        }
        CHECK(fasc_sm90_classes_tiles(rows, (int32_t)classes, (int32_t)block) == tiles,
              "%d rows, %d classes, blocks of %d", (int)rows, (int)classes, (int)block);
    }
}

TEST_MAIN(every_launch_ships_and_all_that_ship_are_launched, what_it_does_not_take_it_says,
          rows_that_begin_anywhere_go_in_classes_where_they_are_many,
          classes_have_the_tiles_of_their_rows)
