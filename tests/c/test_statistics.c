/* test_statistics.c - what attention says of its scores: every kernel against the reference, whose
 * own definitions test_statistics_definitions.c holds. */
#include "attention_cases.h"
#include "philox.h"

/* ---- every kernel against the reference -------------------------------------------------------
 */

/* batch, query heads, key heads, queries, keys, head_dim */
static const int64_t SHAPE[][6] = {
    {1, 1, 1, 1, 1, 1},     {2, 4, 2, 5, 7, 3},      {1, 2, 1, 17, 33, 8},   {1, 1, 1, 64, 64, 64},
    {1, 2, 2, 65, 130, 40}, {1, 1, 1, 130, 70, 72},  {2, 3, 1, 1, 300, 128}, {1, 1, 1, 300, 1, 16},
    {1, 1, 1, 70, 513, 24}, {3, 1, 1, 31, 29, 5},    {1, 4, 2, 4, 77, 20},   {1, 12, 3, 2, 50, 16},
    {2, 14, 2, 20, 37, 8},  {1, 4, 1, 200, 333, 32},
};
enum { SHAPES = sizeof SHAPE / sizeof *SHAPE };

static const char *const WANT[] = {"olredsatTcCxgGpmhMP",
                                   "oled",
                                   "oc",
                                   "oa",
                                   "otT",
                                   "T",
                                   "s",
                                   "ogG",
                                   "pm",
                                   "Cs",
                                   "h",
                                   "ox",
                                   "ed",
                                   "lrcCxhs",
                                   "oMPs",
                                   "d",
                                   "LeC",
                                   "tPcm",
                                   "Gp"};
enum { WANTS = sizeof WANT / sizeof *WANT };

static const int32_t BLOCK[][2] = {{0, 0}, {16, 16}, {64, 32}, {32, 64}, {128, 16}, {16, 512}};
enum { BLOCKS = sizeof BLOCK / sizeof *BLOCK };

enum { STEP = 25 };

static const int64_t TOP[] = {1, 8, 64}, EDGE[] = {1, 5, 16, 64, 500};

static void for_all(void (*change)(attention_case *c, int n))
{
    static const fasc_dtype DTYPE[] = {FASC_F32, FASC_F16, FASC_BF16};
    static int turn; /* every test begins elsewhere: together they meet all shapes and outputs */
    for (int n = turn++ % STEP; n < SHAPES * WANTS; n += STEP) {
        const int64_t *s = SHAPE[n % SHAPES];
        attention_case c = {.dtype = DTYPE[n % 3],
                            .batch = s[0],
                            .hq = s[1],
                            .hk = s[2],
                            .nq = s[3],
                            .nk = s[4],
                            .dims = s[5],
                            .layout = (layout)(n % LAYOUTS),
                            .want = WANT[n % WANTS],
                            .topk = TOP[n / 2 % 3],
                            .tile = 0};
        c.tile = strpbrk(c.want, "pm") ? (int32_t)EDGE[n % 5] : 0;
        change(&c, n);
        attention_check_paths(&c, BLOCK[n % BLOCKS][0], BLOCK[n % BLOCKS][1]);
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

/* Ranges, where something looks at them, under every band. */
static void make_ranges(attention_case *c, int n)
{
    if (n % 3 == 1) {
        make_window(c, n);
    } else {
        c->causal = n % 3 == 2;
    }
    if (strpbrk(c->want, "cCxgG")) {
        c->q0 = c->nq / 3;
        c->q1 = c->nq - c->nq / 5;
        c->per_kv_head = strpbrk(c->want, "cCx") && n & 1;
    }
    if (strpbrk(c->want, "cCxgGs")) {
        c->k0 = c->nk / 4;
        c->k1 = c->nk - c->nk / 7;
    }
}

static void ranges(void)
{
    for_all(make_ranges);
}

/* Dropout, with statistics that must not feel it. */
static void make_dropout(attention_case *c, int n)
{
    static const char *const WITH[] = {"o", "olPe", "oc", "oLMts"};
    c->want = WITH[n % 4];
    c->tile = 0;
    c->dropout_p = n % 5 == 4 ? 0.99 : 0.1 + 0.2 * (n % 4);
    c->seed = 0x1234567890abcdefu + (unsigned)n;
    c->offset = (uint32_t)n;
    c->causal = n / 3 & 1;
    c->mask = n % 7 == 3 ? MASK_ADDED : (mask_kind)0;
}

static void dropout(void)
{
    for_all(make_dropout);
}

/* ---- bits ---------------------------------------------------------------------------------- */

static const attention_case LARGE = {.dtype = FASC_F32,
                                     .batch = 2,
                                     .hq = 2,
                                     .hk = 1,
                                     .nq = 200,
                                     .nk = 700,
                                     .dims = 32,
                                     .causal = 1,
                                     .topk = 9,
                                     .tile = 48,
                                     .want = "oledsatTcCxgGpmh"};

/* Neither the threads nor another run changes a bit, nor does what else is wanted. */
static void the_bits_are_always_the_same(void)
{
    for (int n = 0; n < ATTENTION_PATH_COUNT; n++) {
        if (!attention_path_present(&ATTENTION_PATHS[n])) {
            continue;
        }
        attention_run runs[3];
        for (int turn = 0; turn < 3; turn++) {
            attention_run *r = &runs[turn];
            *r = attention_run_new(&LARGE);
            r->args.kernel.name = ATTENTION_PATHS[n].name;
            r->args.kernel.arch = ATTENTION_PATHS[n].arch;
            CHECK_OK(fasc_set_num_threads(turn == 0 ? 1 : 3));
            CHECK_OK(fasc_attention(&r->args, NULL));
        }
        CHECK_OK(fasc_set_num_threads(0));
        for (int turn = 1; turn < 3; turn++) {
            for (int o = 0; o < FASC_OUTPUT_COUNT; o++) {
                const fasc_tensor *a = runs[0].output[o].all, *b = runs[turn].output[o].all;
                CHECK(!a || memcmp(fasc_tensor_data(a), fasc_tensor_data(b), (size_t)a->numel) == 0,
                      "%s: %s", attention_text(&LARGE, &runs[turn]), fasc_outputs[o].name);
            }
        }
        for (int turn = 0; turn < 3; turn++) {
            attention_run_free(&runs[turn]);
        }
    }
}

/* ---- columns of many rows -------------------------------------------------------------------- */

static const attention_case LONG = {.dtype = FASC_F32,
                                    .batch = 1,
                                    .hq = 4,
                                    .hk = 2,
                                    .nq = 1100,
                                    .nk = 500,
                                    .dims = 8,
                                    .want = "ocx"};

/* From so many rows on, flash sums columns in its first pass: under every band, mask and range,
 * with NaN among the keys, and the same bits from any number of threads. */
static void columns_of_many_rows(void)
{
    for (int n = 0; n < 7; n++) {
        attention_case c = LONG;
        fasc_attention_plan plan = {.size = sizeof plan};
        c.causal = n % 2;
        c.want = n == 1 ? "c" : n == 2 ? "xlM" : n == 6 ? "ocxedatL" : "ocx";
        c.topk = 3;
        c.mask = n == 3 ? MASK_ADDED : n == 4 ? MASK_KEYS : (mask_kind)0;
        c.has_window = n == 5;
        c.left = 100;
        c.right = 7;
        c.per_kv_head = n == 2 || n == 5;
        c.k0 = n == 3 ? 130 : 0;
        c.k1 = n == 3 ? 471 : 0;
        if (n == 1) {
            c.q0 = 33;
        }
        for (int path = 0; path < 3; path++) {
            if (!attention_path_present(&ATTENTION_PATHS[path])) {
                continue;
            }
            attention_run one = attention_run_new(&c), many = attention_run_new(&c);
            one.args.kernel.name = many.args.kernel.name = ATTENTION_PATHS[path].name;
            one.args.kernel.arch = many.args.kernel.arch = ATTENTION_PATHS[path].arch;
            if (n == 4) {
                ((float *)one.k->data)[77 * one.k->stride[2]] = NAN;
                ((float *)many.k->data)[77 * many.k->stride[2]] = NAN;
            }
            CHECK_OK(fasc_set_num_threads(3));
            CHECK_OK(fasc_attention(&many.args, &plan));
            CHECK(strstr(plan.config, "kept exponentials") != NULL, "%s", plan.config);
            CHECK_OK(fasc_set_num_threads(1));
            CHECK_OK(fasc_attention(&one.args, NULL));
            for (int o = 0; o < FASC_OUTPUT_COUNT; o++) {
                const fasc_tensor *a = one.output[o].all, *b = many.output[o].all;
                CHECK(!a || memcmp(fasc_tensor_data(a), fasc_tensor_data(b), (size_t)a->numel) == 0,
                      "%s: %s", attention_text(&c, &many), fasc_outputs[o].name);
            }
            CHECK_OK(fasc_set_num_threads(0));
            attention_run_check(&c, &many);
            attention_run_free(&one);
            attention_run_free(&many);
        }
    }
}

/* So many keys that the work items' columns are joined in rounds: as the second pass has them. */
static void columns_joined_in_rounds(void)
{
    attention_case c = LONG;
    fasc_attention_plan kept = {.size = sizeof kept}, pass = {.size = sizeof pass};
    fasc_difference d = {.size = sizeof d};
    c.dims = 4;
    c.hk = 1;
    c.nk = 30000;
    c.want = "c";
    attention_run a = attention_run_new(&c);
    c.want = "cp";
    c.tile = 5000;
    attention_run b = attention_run_new(&c);
    a.args.kernel.name = b.args.kernel.name = "flash";
    CHECK_OK(fasc_attention(&a.args, &kept));
    CHECK_OK(fasc_attention(&b.args, &pass));
    CHECK(strstr(kept.config, "kept") && strstr(pass.config, "key-stationary"), "%s / %s",
          kept.config, pass.config);
    CHECK_OK(fasc_tensor_compare(a.args.col_sum_probs, b.args.col_sum_probs, &d));
    CHECK(d.max_rel < 2e-6 && d.mismatch == 0, "%g apart", d.max_rel);
    attention_run_free(&a);
    attention_run_free(&b);
}

/* ---- keys in parts ----------------------------------------------------------------------------
 */

static void split_is_right(attention_case c, int32_t splits)
{
    static const char *const ARCH[] = {"portable", "avx2", "avx512"};
    for (int n = 0; n < 3; n++) {
        const attention_path path = {"flash", ARCH[n]};
        if (!attention_path_present(&path)) {
            continue;
        }
        fasc_attention_plan plan = {.size = sizeof plan};
        attention_run r = attention_run_new(&c);
        r.args.kernel.name = "flash";
        r.args.kernel.arch = ARCH[n];
        r.args.kernel.splits = splits;
        r.args.kernel.block_n = 16;
        CHECK_OK(fasc_attention_query(&r.args, &plan));
        const int64_t tiles = (c.nk + 15) / 16;
        CHECK(plan.splits == (splits < tiles ? splits : tiles), "%d parts", (int)plan.splits);
        attention_run_check(&c, &r);
        attention_run_free(&r);
    }
}

/* Any number of them: also more than there are tiles, which then is the number; parts that see
 * nothing, rows that do not. */
static void split_keys_give_the_same(void)
{
    static const int32_t SPLITS[] = {2, 3, 7, 40};
    static const char *const ALL = "olrLMPedsatTcCxgGpmh";
    for (int n = 0; n < 4; n++) {
        attention_case c = LARGE;
        c.want = ALL;
        c.nk = 300;
        c.nq = n % 2 ? 3 : 21; /* one query in a group, and many */
        split_is_right(c, SPLITS[n]);
        c.causal = 0;
        c.mask = n % 2 ? MASK_KEYS : MASK_ADDED;
        split_is_right(c, SPLITS[n]);
        c.mask = (mask_kind)0;
        c.has_window = 1; /* the first parts see nothing */
        c.left = 20;
        c.right = 0;
        split_is_right(c, SPLITS[n]);
        c = LARGE;
        c.nk = 40;
        c.nq = 70; /* the first rows see nothing */
        c.want = ALL;
        split_is_right(c, SPLITS[n]);
        c.dropout_p = 0.4;
        c.seed = 5;
        c.want = "oPc";
        c.tile = 0;
        split_is_right(c, SPLITS[n]);
    }
}

/* ---- long sums ---------------------------------------------------------------------------------
 */

/* Keys that are all alike have equal weights, whose additions are all rounded to one side. */
static void sums_of_equal_numbers_keep_their_digits(void)
{
    static const int64_t LEFT[] = {40, 299};
    for (int n = 0; n < 2 * ATTENTION_PATH_COUNT; n++) {
        const attention_path *path = &ATTENTION_PATHS[n % ATTENTION_PATH_COUNT];
        attention_case c = {.dtype = FASC_F32,
                            .batch = 1,
                            .hq = 1,
                            .hk = 1,
                            .nq = 1100,
                            .nk = 1100,
                            .dims = 8,
                            .has_window = 1,
                            .left = LEFT[n / ATTENTION_PATH_COUNT],
                            .tile = 512,
                            .want = "olcxgpm"};
        if (!attention_path_present(path) || strcmp(path->name, "reference") == 0) {
            continue;
        }
        attention_run r = attention_run_new(&c);
        r.args.kernel.name = path->name;
        r.args.kernel.arch = path->arch;
        CHECK_OK(fasc_tensor_fill((fasc_tensor *)(uintptr_t)r.args.q, 0));
        attention_run_check(&c, &r);
        attention_run_free(&r);
    }
}

/* ---- ties ---------------------------------------------------------------------------------------
 */

/* Equal keys have equal scores, to the bit: the lower one comes first, in parts or not. */
static void ties_go_to_the_lower_key(void)
{
    attention_case c = {.dtype = FASC_F32,
                        .batch = 1,
                        .hq = 1,
                        .hk = 1,
                        .nq = 20,
                        .nk = 200,
                        .dims = 8,
                        .topk = 6,
                        .want = "atT"};
    for (int n = 0; n < 2 * ATTENTION_PATH_COUNT; n++) {
        const attention_path *path = &ATTENTION_PATHS[n / 2];
        bool flash = strcmp(path->name, "flash") == 0;
        if (!attention_path_present(path) || (n % 2 && !flash)) {
            continue;
        }
        attention_run r = attention_run_new(&c);
        r.args.kernel.name = path->name;
        r.args.kernel.arch = path->arch;
        r.args.kernel.block_n = flash ? 16 : 0;
        r.args.kernel.splits = n % 2 ? 3 : 0;
        for (int64_t j = 0; j < c.nk; j++) { /* key j is that of j % 5 */
            memcpy(r.k->data + j * r.k->stride[2] * 4, r.k->data + j % 5 * r.k->stride[2] * 4, 32);
        }
        CHECK_OK(fasc_attention(&r.args, NULL));
        for (int64_t i = 0; i < c.nq; i++) {
            double best = attention_value(r.args.row_argmax, 0, 0, i, 0);
            CHECK(best >= 0 && best < 5, "%s: row %lld: argmax %g", attention_text(&c, &r),
                  (long long)i, best);
            for (int64_t k = 0; k < c.topk; k++) {
                double key = attention_value(r.args.topk_indices, 0, 0, i, k);
                CHECK(key == best + 5 * (double)k, "%s: row %lld place %lld: key %g, argmax %g",
                      attention_text(&c, &r), (long long)i, (long long)k, key, best);
            }
        }
        attention_run_free(&r);
    }
}

/* ---- the dropout mask
 * ------------------------------------------------------------------------------ */

/* With the unit matrix for V, out is P with what is dropped set to 0: bit by bit the words' doing.
 */
static void the_mask_is_the_words(void)
{
    attention_case c = {.dtype = FASC_F32,
                        .batch = 2,
                        .hq = 3,
                        .hk = 1,
                        .nq = 45,
                        .nk = 71,
                        .dims = 71,
                        .dropout_p = 0.3,
                        .seed = 0xfedcba9876543210u,
                        .offset = 77,
                        .want = "oP"};
    for (int n = 0; n < 2 * ATTENTION_PATH_COUNT; n++) {
        const attention_path *path = &ATTENTION_PATHS[n / 2];
        if (!attention_path_present(path)) {
            continue;
        }
        c.nq = n % 2 ? 3 : 45;
        attention_run r = attention_run_new(&c);
        int64_t wrong = 0;
        r.args.kernel.name = path->name;
        r.args.kernel.arch = path->arch;
        CHECK_OK(fasc_tensor_fill(r.v, 0));
        for (int64_t b = 0; b < c.batch; b++) {
            for (int64_t j = 0; j < c.nk; j++) {
                int64_t at = b * r.v->stride[0] + j * r.v->stride[2] + j * r.v->stride[3];
                fasc_store_element(r.v->data + at * 4, FASC_F32, 1);
            }
        }
        CHECK_OK(fasc_attention(&r.args, NULL));
        for (int64_t x = 0; x < c.batch * c.hq * c.nq * c.nk; x++) {
            int64_t j = x % c.nk, i = x / c.nk % c.nq, bh = x / c.nk / c.nq;
            double out = attention_value(r.args.out, bh / c.hq, bh % c.hq, i, j);
            double p = attention_value(r.args.probs, bh / c.hq, bh % c.hq, i, j);
            bool kept = fasc_dropout_word(c.seed, c.offset, (unsigned)bh, (unsigned)i,
                                          (unsigned)j) >= (uint32_t)(0.3 * 0x1p32);
            wrong += kept ? fabs(out - p / 0.7) > 1e-5 * p : out != 0;
        }
        CHECK(wrong == 0, "%s: %lld pairs", attention_text(&c, &r), (long long)wrong);
        attention_run_free(&r);
    }
}

/* ---- the linear formula
 * ----------------------------------------------------------------------------- */

/* It serves where no mask is, and says so; a mask that hides nothing makes the sums direct. Each
 * agrees with the reference, and with the other. */
static void linear_sums_are_the_direct_ones(void)
{
    for (int n = 0; n < 6; n++) {
        attention_case c = LARGE;
        fasc_attention_plan linear = {.size = sizeof linear}, direct = {.size = sizeof direct};
        c.want = "sC";
        c.tile = 0;
        c.causal = n % 2;
        c.has_window = n >= 2;
        c.left = n == 5 ? -1 : 30;
        c.right = n == 4 ? -1 : 11;
        attention_run a = attention_run_new(&c), b = attention_run_new(&c);
        int64_t one = 1;
        a.args.kernel.name = b.args.kernel.name = "flash";
        CHECK_OK(fasc_tensor_empty(attention_cpu(), FASC_U8, 1, &one, &b.mask));
        CHECK_OK(fasc_tensor_fill(b.mask, 1));
        b.args.mask = b.mask;
        CHECK_OK(fasc_attention(&a.args, &linear));
        CHECK_OK(fasc_attention(&b.args, &direct));
        CHECK(strstr(linear.config, "linear formula") && !strstr(direct.config, "linear formula"),
              "%s / %s", linear.config, direct.config);
        for (int o = 0; o < FASC_OUTPUT_COUNT; o++) {
            fasc_difference d = {.size = sizeof d};
            if (a.output[o].view) {
                CHECK_OK(fasc_tensor_compare(a.output[o].view, b.output[o].view, &d));
                CHECK(d.max_abs < 2e-3 && d.mismatch == 0, "%s: %g", fasc_outputs[o].name,
                      d.max_abs);
            }
        }
        attention_compare(&c, &a);
        attention_compare(&c, &b);
        attention_run_free(&a);
        attention_run_free(&b);
    }
}

TEST_MAIN(sums_of_equal_numbers_keep_their_digits, full_attention, causal_attention, windows, masks,
          ranges, dropout, the_bits_are_always_the_same, columns_of_many_rows,
          columns_joined_in_rounds, split_keys_give_the_same, ties_go_to_the_lower_key,
          the_mask_is_the_words, linear_sums_are_the_direct_ones)
