/* test_attention.c - every kernel and instruction set, held to the float64 reference over shapes
 * that no tile divides, dtypes, layouts, bands, masks, and every set of outputs. Outputs are
 * poisoned before and guarded around, so what is not written, or written beside, is found. */
#include "attention_cases.h"

/* batch, query heads, key heads, queries, keys, head_dim */
static const int64_t SHAPE[][6] = {
    {1, 1, 1, 1, 1, 1},     {2, 4, 2, 5, 7, 3},      {1, 2, 1, 17, 33, 8},   {1, 1, 1, 64, 64, 64},
    {1, 2, 2, 65, 130, 40}, {1, 1, 1, 130, 70, 72},  {2, 3, 1, 1, 300, 128}, {1, 1, 1, 300, 1, 16},
    {1, 1, 1, 70, 513, 24}, {1, 1, 1, 97, 145, 256}, {3, 1, 1, 31, 29, 5},   {1, 4, 2, 4, 77, 20},
    {1, 12, 3, 2, 50, 16},  {2, 14, 2, 20, 37, 8},
};
enum { SHAPES = sizeof SHAPE / sizeof *SHAPE };

static const char *const WANT[] = {"olrLMP", "o", "olL", "M", "oP", "lr", "L", "P", "oM", "LP"};
enum { WANTS = sizeof WANT / sizeof *WANT };

static const int32_t BLOCK[][2] = {{0, 0}, {16, 16}, {64, 32}, {32, 64}, {128, 16}, {16, 512}};
enum { BLOCKS = sizeof BLOCK / sizeof *BLOCK };

/* The n-th combination of shape, dtype and layout with the rest taken in turn, so that all pairs
 * come up over the tests. */
static attention_case case_of(int n, fasc_dtype dtype)
{
    const int64_t *s = SHAPE[n % SHAPES];
    return (attention_case){.dtype = dtype,
                            .batch = s[0],
                            .hq = s[1],
                            .hk = s[2],
                            .nq = s[3],
                            .nk = s[4],
                            .dims = s[5],
                            .layout = (layout)(n / SHAPES % LAYOUTS),
                            .want = WANT[n % WANTS]};
}

static void for_all(void (*change)(attention_case *c, int n))
{
    static const fasc_dtype DTYPE[] = {FASC_F16, FASC_BF16, FASC_F32};
    int turn = 0;
    for (int n = 0; n < SHAPES * LAYOUTS; n++) {
        for (int d = 0; d < 3; d++, turn++) {
            attention_case c = case_of(n, DTYPE[d]);
            c.want = WANT[(n + turn) % WANTS];
            c.scores_dtype = turn % 3 ? 0 : FASC_F32;
            change(&c, turn);
            attention_check_paths(&c, BLOCK[turn % BLOCKS][0], BLOCK[turn % BLOCKS][1]);
        }
    }
}

static void full_attention(void)
{
    for_all(nothing);
}

static void causal_attention(void)
{
    for_all(make_causal);
}

static void windows(void)
{
    for_all(make_window);
}

static void masks(void)
{
    for_all(make_mask);
}

static void rows_without_a_visible_key(void)
{
    attention_case c = {.dtype = FASC_F32,
                        .batch = 1,
                        .hq = 1,
                        .hk = 1,
                        .nq = 150,
                        .nk = 20,
                        .dims = 16,
                        .causal = 1,
                        .want = "olrMP"};
    for (int n = 0; n < ATTENTION_PATH_COUNT; n++) {
        if (!attention_path_present(&ATTENTION_PATHS[n])) {
            continue;
        }
        attention_run r = attention_run_new(&c);
        r.args.kernel.name = ATTENTION_PATHS[n].name;
        r.args.kernel.arch = ATTENTION_PATHS[n].arch;
        CHECK_OK(fasc_attention(&r.args, NULL));
        const float *out = fasc_tensor_data(r.args.out), *lse = fasc_tensor_data(r.args.lse);
        const float *row_max = fasc_tensor_data(r.args.row_max);
        const float *probs = fasc_tensor_data(r.args.probs);
        for (int i = 0; i < 130; i++) {
            CHECK(lse[i] == -INFINITY && row_max[i] == -INFINITY, "row %d: lse %g", i,
                  (double)lse[i]);
            for (int d = 0; d < 16; d++) {
                CHECK(out[i * 16 + d] == 0, "row %d: out %g", i, (double)out[i * 16 + d]);
            }
            for (int j = 0; j < 20; j++) {
                CHECK(probs[i * 20 + j] == 0, "row %d: probs %g", i, (double)probs[i * 20 + j]);
            }
        }
        attention_run_check(&c, &r);
        attention_run_free(&r);
    }
}

/* Rows do not depend on how they are shared out. */
static void threads_change_no_bit(void)
{
    attention_case c = {.dtype = FASC_F32,
                        .batch = 2,
                        .hq = 2,
                        .hk = 1,
                        .nq = 200,
                        .nk = 300,
                        .dims = 64,
                        .causal = 1,
                        .want = "olrLMP"};
    for (int n = 0; n < ATTENTION_PATH_COUNT; n++) {
        if (!attention_path_present(&ATTENTION_PATHS[n])) {
            continue;
        }
        attention_run one = attention_run_new(&c), many = attention_run_new(&c);
        one.args.kernel.name = many.args.kernel.name = ATTENTION_PATHS[n].name;
        one.args.kernel.arch = many.args.kernel.arch = ATTENTION_PATHS[n].arch;
        CHECK_OK(fasc_set_num_threads(1));
        CHECK_OK(fasc_attention(&one.args, NULL));
        CHECK_OK(fasc_set_num_threads(3));
        CHECK_OK(fasc_attention(&many.args, NULL));
        CHECK_OK(fasc_set_num_threads(0));
        for (int o = 0; o < FASC_OUTPUT_COUNT; o++) {
            if (!one.output[o].all) {
                continue;
            }
            CHECK(memcmp(fasc_tensor_data(one.output[o].all), fasc_tensor_data(many.output[o].all),
                         (size_t)one.output[o].all->numel) == 0,
                  "%s: %s", attention_text(&c, &many), fasc_outputs[o].name);
        }
        attention_run_free(&one);
        attention_run_free(&many);
    }
}

/* With equal scores and a constant V the output is V: long sums must not drift. */
static void a_constant_value_survives_long_sums(void)
{
    attention_case c = {.dtype = FASC_F32,
                        .batch = 1,
                        .hq = 1,
                        .hk = 1,
                        .nq = 3,
                        .nk = 40000,
                        .dims = 8,
                        .want = "olP"};
    for (int n = 0; n < ATTENTION_PATH_COUNT; n++) {
        if (!attention_path_present(&ATTENTION_PATHS[n])) {
            continue;
        }
        attention_run r = attention_run_new(&c);
        CHECK_OK(fasc_tensor_fill(r.q, 0));
        CHECK_OK(fasc_tensor_fill(r.v, 1.0 / 3));
        r.args.kernel.name = ATTENTION_PATHS[n].name;
        r.args.kernel.arch = ATTENTION_PATHS[n].arch;
        attention_run_check(&c, &r);
        attention_run_free(&r);
    }
}

/* Scores far apart: the smallest probabilities are subnormal, then 0. */
static void tiny_probabilities_are_rounded_once(void)
{
    attention_case c = {.dtype = FASC_F32,
                        .batch = 1,
                        .hq = 1,
                        .hk = 1,
                        .nq = 40,
                        .nk = 200,
                        .dims = 8,
                        .scale = 14,
                        .want = "olP"};
    attention_check_paths(&c, 0, 0);
    c.dtype = FASC_F16;
    attention_check_paths(&c, 0, 0);
}

/* Scores that no cache holds are written past the caches, and those of whole tiles while their
 * values are weighed. */
static void scores_larger_than_the_caches(void)
{
    static const struct {
        int64_t keys, dims;
        int32_t causal;
        const char *want;
    } ROW[] = {{30016, 64, 0, "oL"},
               {30016, 16, 1, "oL"},
               {30001, 16, 0, "oL"},
               {30000, 32, 0, "oLM"},
               {30016, 128, 0, "olL"}};
    for (size_t row = 0; row < sizeof ROW / sizeof *ROW; row++) {
        attention_case c = {.dtype = FASC_F32,
                            .batch = 1,
                            .hq = 1,
                            .hk = 1,
                            .nq = 70,
                            .nk = ROW[row].keys,
                            .dims = ROW[row].dims,
                            .causal = ROW[row].causal,
                            .want = ROW[row].want};
        for (int n = 0; n < ATTENTION_PATH_COUNT; n++) {
            const attention_path *path = &ATTENTION_PATHS[n];
            bool best = attention_path_present(path) && !strcmp(path->name, "flash");
            if (!best || (row > 0 && strcmp(path->arch, fasc_isa_name(fasc_cpu_isa_best())))) {
                continue;
            }
            attention_run r = attention_run_new(&c);
            r.args.kernel.name = path->name;
            r.args.kernel.arch = path->arch;
            r.args.kernel.block_m = 64; /* full groups, and one that is not */
            r.args.kernel.splits = row % 2 ? 3 : 1;
            attention_run_check(&c, &r);
            attention_run_free(&r);
        }
    }
}

TEST_MAIN(full_attention, causal_attention, windows, masks, rows_without_a_visible_key,
          threads_change_no_bit, a_constant_value_survives_long_sums,
          tiny_probabilities_are_rounded_once, scores_larger_than_the_caches)
