/* test_attention_nan.c - NaN and infinities in the inputs reach the rows and columns that they
 * touch, and no others, on every kernel and instruction set. */
#include "attention_cases.h"

/* Causal, so that key j is hidden from queries before it; sizes that no tile divides. */
static attention_case causal_case(fasc_dtype dtype, const char *want)
{
    return (attention_case){.dtype = dtype,
                            .batch = 1,
                            .hq = 2,
                            .hk = 1,
                            .nq = 90,
                            .nk = 90,
                            .dims = 20,
                            .causal = 1,
                            .topk = 3,
                            .tile = strpbrk(want, "pm") ? 16 : 0,
                            .want = want};
}

#define EVERYTHING "olrLMPedsatTcCxgGpmh"

static void put(fasc_tensor *t, int64_t row, int64_t column, double value)
{
    int64_t at = row * t->stride[2] + column * t->stride[3];
    fasc_store_element(t->data + at * (int64_t)fasc_dtype_size(t->dtype), t->dtype, value);
}

static double element(const fasc_tensor *t, int64_t h, int64_t i, int64_t d)
{
    double value = 0;
    const int64_t index[4] = {0, h, i, d};
    CHECK_OK(fasc_tensor_get(t, index, &value));
    return value;
}

/* Runs all paths with inputs that `spoil` has changed; `inspect` looks at what came out before it
 * is compared with the reference. */
static void run_all(const attention_case *c, void (*spoil)(attention_run *r),
                    void (*inspect)(const attention_case *c, const attention_run *r))
{
    for (int n = 0; n < ATTENTION_PATH_COUNT; n++) {
        if (!attention_path_present(&ATTENTION_PATHS[n])) {
            continue;
        }
        attention_run r = attention_run_new(c);
        r.args.kernel.name = ATTENTION_PATHS[n].name;
        r.args.kernel.arch = ATTENTION_PATHS[n].arch;
        spoil(&r);
        CHECK_OK(fasc_attention(&r.args, NULL));
        inspect(c, &r);
        attention_run_check(c, &r);
        attention_run_free(&r);
    }
}

/* Rows of out, by whether they hold a NaN or infinity anywhere. */
static bool row_is_finite(const attention_case *c, const attention_run *r, int64_t h, int64_t i)
{
    for (int64_t d = 0; d < c->dims; d++) {
        if (!isfinite(element(r->args.out, h, i, d))) {
            return false;
        }
    }
    return true;
}

/* ---- NaN in one key ---------------------------------------------------------------------- */

static void spoil_key(attention_run *r)
{
    put(r->k, 40, 3, NAN);
}

static void rows_before_40_are_finite(const attention_case *c, const attention_run *r)
{
    for (int64_t h = 0; h < 2; h++) {
        for (int64_t i = 0; i < c->nq; i++) {
            CHECK(row_is_finite(c, r, h, i) == (i < 40), "%s: row %lld", attention_text(c, r),
                  (long long)i);
        }
    }
}

static void a_nan_key_spoils_the_queries_that_see_it(void)
{
    attention_case all = causal_case(FASC_F32, EVERYTHING), out = causal_case(FASC_F16, "o");
    run_all(&all, spoil_key, rows_before_40_are_finite);
    run_all(&out, spoil_key, rows_before_40_are_finite);
}

/* ---- NaN and infinity in one value --------------------------------------------------------- */

static void spoil_value(attention_run *r)
{
    put(r->v, 40, 3, NAN);
    put(r->v, 40, 4, INFINITY);
}

static void columns_3_and_4_are_spoiled(const attention_case *c, const attention_run *r)
{
    for (int64_t i = 0; i < c->nq; i++) {
        for (int64_t d = 0; d < c->dims; d++) {
            bool touched = i >= 40 && (d == 3 || d == 4);
            CHECK(isfinite(element(r->args.out, 1, i, d)) == !touched, "%s: row %lld column %lld",
                  attention_text(c, r), (long long)i, (long long)d);
        }
    }
}

static void a_nan_value_spoils_its_column_where_it_is_seen(void)
{
    attention_case all = causal_case(FASC_F32, EVERYTHING), out = causal_case(FASC_BF16, "o");
    run_all(&all, spoil_value, columns_3_and_4_are_spoiled);
    run_all(&out, spoil_value, columns_3_and_4_are_spoiled);
}

/* ---- NaN in one query ------------------------------------------------------------------------ */

static void spoil_query(attention_run *r)
{
    put(r->q, 33, 0, NAN);
}

static void row_33_alone_is_spoiled(const attention_case *c, const attention_run *r)
{
    for (int64_t i = 0; i < c->nq; i++) {
        CHECK(row_is_finite(c, r, 0, i) == (i != 33), "%s: row %lld", attention_text(c, r),
              (long long)i);
        CHECK(row_is_finite(c, r, 1, i), "%s: other head, row %lld", attention_text(c, r),
              (long long)i);
    }
}

static void a_nan_query_spoils_its_row(void)
{
    attention_case all = causal_case(FASC_F32, EVERYTHING), out = causal_case(FASC_F16, "o");
    run_all(&all, spoil_query, row_33_alone_is_spoiled);
    run_all(&out, spoil_query, row_33_alone_is_spoiled);
}

/* ---- infinite scores --------------------------------------------------------------------------
 */

static void spoil_with_infinity(attention_run *r)
{
    put(r->k, 40, 3, INFINITY); /* +inf or -inf by the sign of q */
}

static void half_the_rows_after_40_are_finite(const attention_case *c, const attention_run *r)
{
    for (int64_t i = 0; i < c->nq; i++) {
        bool low = i < 40 || element(r->q, 0, i, 3) < 0;
        CHECK(row_is_finite(c, r, 0, i) == low, "%s: row %lld", attention_text(c, r), (long long)i);
    }
}

static void a_score_of_minus_infinity_has_weight_0(void)
{
    attention_case all = causal_case(FASC_F32, EVERYTHING);
    run_all(&all, spoil_with_infinity, half_the_rows_after_40_are_finite);
}

/* ---- hidden by a mask ---------------------------------------------------------------------------
 */

static void spoil_masked(attention_run *r)
{
    for (int64_t j = 10; j < 20; j++) {
        ((unsigned char *)r->mask->data)[j] = 0;
        put(r->k, j, 1, j % 2 ? NAN : INFINITY);
        put(r->v, j, 2, j % 2 ? NAN : -INFINITY);
    }
}

static void all_is_finite(const attention_case *c, const attention_run *r)
{
    for (int64_t i = 0; i < c->nq; i++) {
        CHECK(row_is_finite(c, r, 0, i), "%s: row %lld", attention_text(c, r), (long long)i);
    }
}

static void a_masked_key_spoils_nothing(void)
{
    attention_case all = causal_case(FASC_F32, EVERYTHING), out = causal_case(FASC_F16, "ol");
    all.mask = out.mask = MASK_KEYS;
    out.causal = 0;
    run_all(&all, spoil_masked, all_is_finite);
    run_all(&out, spoil_masked, all_is_finite);
}

/* ---- a NaN in the mask
 * ------------------------------------------------------------------------------ */

static void spoil_mask(attention_run *r)
{
    float *mask = (float *)r->mask->data;
    mask[12 * 90 + 7] = NAN;
}

static void row_12_alone_is_spoiled(const attention_case *c, const attention_run *r)
{
    for (int64_t i = 0; i < c->nq; i++) {
        CHECK(row_is_finite(c, r, 0, i) == (i != 12), "%s: row %lld", attention_text(c, r),
              (long long)i);
    }
}

static void a_nan_in_the_mask_spoils_its_row(void)
{
    attention_case all = causal_case(FASC_F32, "olrMP");
    all.mask = MASK_LOWEST;
    run_all(&all, spoil_mask, row_12_alone_is_spoiled);
}

/* ---- an infinite query -------------------------------------------------------------------------
 */

static void spoil_row_30(attention_run *r)
{
    put((fasc_tensor *)(uintptr_t)r->args.q, 30, 5, INFINITY);
}

static void nothing_to_inspect(const attention_case *c, const attention_run *r)
{
    (void)c, (void)r;
}

/* Its scores are infinite: those of -inf have weight 0, whatever else is wanted. */
static void an_infinite_query_has_weights_of_0_or_nan(void)
{
    static const char *const WANT[] = {"cxp", "gm", "eda", "olP", EVERYTHING};
    for (int n = 0; n < 5; n++) {
        attention_case c = causal_case(n % 2 ? FASC_F16 : FASC_F32, WANT[n]);
        run_all(&c, spoil_row_30, nothing_to_inspect);
    }
}

static void spoil_at_scale_0(attention_run *r)
{
    spoil_row_30(r);
    r->args.has_scale = 1;
    r->args.sm_scale = 0;
}

/* 0 times an infinity is NaN. */
static void row_30_alone_is_spoiled(const attention_case *c, const attention_run *r)
{
    for (int64_t i = 0; i < c->nq; i++) {
        CHECK(row_is_finite(c, r, 0, i) == (i != 30), "%s: row %lld", attention_text(c, r),
              (long long)i);
    }
}

static void a_scale_of_0_keeps_nan(void)
{
    attention_case c = causal_case(FASC_F32, "olL");
    run_all(&c, spoil_at_scale_0, row_30_alone_is_spoiled);
}

TEST_MAIN(a_nan_key_spoils_the_queries_that_see_it, a_nan_value_spoils_its_column_where_it_is_seen,
          a_nan_query_spoils_its_row, a_score_of_minus_infinity_has_weight_0,
          a_masked_key_spoils_nothing, a_nan_in_the_mask_spoils_its_row,
          an_infinite_query_has_weights_of_0_or_nan, a_scale_of_0_keeps_nan)
