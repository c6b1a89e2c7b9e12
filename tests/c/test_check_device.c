/* test_check_device.c - fasc_attention_check on tensors that the CPU cannot read where they lie
 * (those of the tests' plugin): all of them, some query rows, masks of every shape. */
#include "attention_cases.h"
#include "plugin.h"

static fasc_device *away(void)
{
    fasc_device *device = NULL;
    use_test_plugin();
    CHECK_OK(fasc_device_open("cuda:0", &device));
    return device;
}

static fasc_tensor *sent(const fasc_tensor *t)
{
    fasc_tensor *copy = NULL;
    if (t) {
        CHECK_OK(fasc_tensor_empty(away(), t->dtype, t->rank, t->shape, &copy));
        CHECK_OK(fasc_tensor_copy(t, copy));
    }
    return copy;
}

/* The same problem with every tensor on the other device; outputs hold what the CPU computed. */
static fasc_attention_args sent_args(const fasc_attention_args *args)
{
    fasc_attention_args there = *args;
    there.q = sent(args->q);
    there.k = sent(args->k);
    there.v = sent(args->v);
    there.mask = sent(args->mask);
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        fasc_tensor *copy = sent(fasc_output_tensor(args, &fasc_outputs[n]));
        memcpy((char *)&there + fasc_outputs[n].offset, &copy, sizeof copy);
    }
    return there;
}

static void sent_free(fasc_attention_args *there)
{
    fasc_tensor_free((fasc_tensor *)there->q);
    fasc_tensor_free((fasc_tensor *)there->k);
    fasc_tensor_free((fasc_tensor *)there->v);
    fasc_tensor_free((fasc_tensor *)there->mask);
    for (int n = 0; n < FASC_OUTPUT_COUNT; n++) {
        fasc_tensor_free(fasc_output_tensor(there, &fasc_outputs[n]));
    }
}

static void compare_results(const fasc_check_result *here, const fasc_check_result *there)
{
    CHECK(here->rows == there->rows && here->entry_count == there->entry_count, "%lld rows, %lld",
          (long long)here->rows, (long long)there->rows);
    for (int n = 0; n < here->entry_count; n++) {
        const fasc_check_entry *a = &here->entry[n], *b = &there->entry[n];
        CHECK(b->failed == 0 && a->count == b->count && a->max_share == b->max_share &&
                  memcmp(a->worst, b->worst, sizeof a->worst) == 0,
              "%s: %lld of %lld failed, share %g, on the CPU %g", b->name, (long long)b->failed,
              (long long)b->count, b->max_share, a->max_share);
    }
}

static void the_device_makes_no_difference(void)
{
    static const int64_t ROWS[] = {0, 5, 6, 22};
    attention_case c = {.dtype = FASC_F16,
                        .batch = 2,
                        .hq = 4,
                        .hk = 2,
                        .nq = 23,
                        .nk = 31,
                        .dims = 12,
                        .causal = 1,
                        .want = "olrLMP"};
    for (int mask = 0; mask < MASKS; mask++) {
        c.mask = (mask_kind)mask;
        attention_run r = attention_run_new(&c);
        fasc_check_result here = {.size = sizeof here}, there = {.size = sizeof there};
        CHECK_OK(fasc_attention(&r.args, NULL));
        fasc_attention_args sent_away = sent_args(&r.args);
        CHECK_OK(fasc_attention_check(&r.args, NULL, 0, &here));
        CHECK_OK(fasc_attention_check(&sent_away, NULL, 0, &there));
        compare_results(&here, &there);
        CHECK_OK(fasc_attention_check(&r.args, ROWS, 4, &here));
        CHECK_OK(fasc_attention_check(&sent_away, ROWS, 4, &there));
        compare_results(&here, &there);
        sent_free(&sent_away);
        attention_run_free(&r);
    }
}

static void a_wrong_element_is_found_there(void)
{
    static const int64_t WITH[] = {3, 7}, WITHOUT[] = {3, 6, 8};
    attention_case c = {
        .dtype = FASC_F32, .batch = 1, .hq = 2, .hk = 1, .nq = 9, .nk = 10, .dims = 4, .want = "P"};
    attention_run r = attention_run_new(&c);
    fasc_check_result result = {.size = sizeof result};
    CHECK_OK(fasc_attention(&r.args, NULL));
    fasc_tensor *probs = r.args.probs;
    int64_t at = probs->stride[1] + 7 * probs->stride[2] + 4;
    ((float *)fasc_tensor_data(probs))[at] += 0.5f;
    fasc_attention_args sent_away = sent_args(&r.args);
    CHECK_OK(fasc_attention_check(&sent_away, WITH, 2, &result));
    CHECK(result.entry[0].failed == 1 && result.entry[0].worst[1] == 1 &&
              result.entry[0].worst[2] == 7 && result.entry[0].worst[3] == 4,
          "%lld failed, worst %lld,%lld,%lld", (long long)result.entry[0].failed,
          (long long)result.entry[0].worst[1], (long long)result.entry[0].worst[2],
          (long long)result.entry[0].worst[3]);
    CHECK_OK(fasc_attention_check(&sent_away, WITHOUT, 3, &result));
    CHECK(result.entry[0].failed == 0, "%lld failed", (long long)result.entry[0].failed);
    sent_free(&sent_away);
    attention_run_free(&r);
}

static void attention_itself_wants_one_device(void)
{
    attention_case c = {
        .dtype = FASC_F32, .batch = 1, .hq = 1, .hk = 1, .nq = 3, .nk = 3, .dims = 4, .want = "o"};
    attention_run r = attention_run_new(&c);
    fasc_tensor *k = sent(r.k), *out = sent(r.args.out);
    r.args.k = k;
    CHECK_FAIL(fasc_attention(&r.args, NULL), FASC_EINVAL,
               "attention: k: is on cuda:0, q is on cpu");
    r.args.k = r.k;
    r.args.out = out;
    CHECK_FAIL(fasc_attention(&r.args, NULL), FASC_EINVAL,
               "attention: out: is on cuda:0, q is on cpu");
    fasc_tensor_free(k);
    fasc_tensor_free(out);
    attention_run_free(&r);
}

TEST_MAIN(the_device_makes_no_difference, a_wrong_element_is_found_there,
          attention_itself_wants_one_device)
