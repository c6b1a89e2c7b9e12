/* test_philox.c - random numbers: the generator's published vectors, the distributions, the
 * accuracy of the normal numbers, and that nothing but seed, stream and place decides a value. */
#include "philox.h"

#include <stdlib.h>

#include "cpu/random.h"
#include "test.h"

static fasc_device *cpu;

static void open_cpu(void)
{
    CHECK_OK(fasc_device_open("cpu", &cpu));
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* ---- words ------------------------------------------------------------------- */

/* Random123's kat_vectors for philox4x32 with 10 rounds. */
static void published_vectors(void)
{
    static const struct {
        uint32_t counter[4], key[2], word[4];
    } ROW[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof ROW / sizeof *ROW; i++) {
        const uint32_t *c = ROW[i].counter;
        uint64_t seed = (uint64_t)ROW[i].key[1] << 32 | ROW[i].key[0];
        unsigned int word[4];
        fasc_philox(seed, c[0], c[1], c[2], c[3], word);
        for (int w = 0; w < 4; w++) {
            CHECK(word[w] == ROW[i].word[w], "vector %zu word %d: %08x, not %08x", i, w, word[w],
                  ROW[i].word[w]);
        }
    }
}

/* One counter serves queries r, r + 8 and keys 2c, 2c + 1. */
static void dropout_words_lie_as_fragments_do(void)
{
    const uint64_t seed = 0x123456789abcdefu;
    for (unsigned int i = 0; i < 40; i++) {
        for (unsigned int j = 0; j < 6; j++) {
            unsigned int word[4], got = fasc_dropout_word(seed, 77, 5, i, j);
            fasc_philox(seed, j / 2, i / 16 * 8 + i % 8, 5, 77, word);
            CHECK(got == word[2 * (i / 8 % 2) + j % 2], "pair %u, %u", i, j);
        }
    }
}

/* ---- numbers ----------------------------------------------------------------- */

static double relative(float x, double exact)
{
    return fabs((double)x - exact) / fabs(exact);
}

/* Against Box-Muller in float64, on the u and the angle that the words stand for. */
static void normal_numbers_are_accurate(void)
{
    static const unsigned int EDGE[] = {0,          1,          2,          3,          0x1fffffff,
                                        0x20000000, 0x20000001, 0x3fffffff, 0x40000001, 0x5fffffff,
                                        0x60000000, 0x7fffffff, 0x80000001, 0x9fffffff, 0xa0000000,
                                        0xb504f333, 0xb504f334, 0xbfffffff, 0xc0000001, 0xdfffffff,
                                        0xe0000000, 0xfffffeff, 0xffffff00, 0xffffff01};
    enum { EDGES = sizeof EDGE / sizeof *EDGE, N = 1000000 };
    const double turn = 6.283185307179586476925 / 4294967296.0;
    double worst = 0, largest = 0;
    for (unsigned int n = 0; n < EDGES * EDGES + N; n++) {
        unsigned int w[4];
        float z0, z1;
        fasc_philox(9, n, 0, 0, 0, w);
        if (n < EDGES * EDGES) {
            w[0] = EDGE[n / EDGES];
            w[1] = EDGE[n % EDGES];
        }
        fasc_normal_pair(w[0], w[1], &z0, &z1);
        float u = fmaf((float)(int)(w[0] >> 1), 0x1p-31f, 0x1p-32f);
        double radius = sqrt(-2 * log((double)u));
        /* The angle from the nearest quarter turn, so that float64 does not lose it either. */
        unsigned int quarter = (w[1] + 0x20000000u) >> 30;
        double rest = (double)(int)(w[1] - (quarter << 30)) * turn;
        double c = cos(rest), s = sin(rest);
        double cosine = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
        double sine = quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c;
        double e0 = radius * cosine, e1 = radius * sine;
        double error0 = e0 == 0 ? fabs((double)z0) : relative(z0, e0);
        double error1 = e1 == 0 ? fabs((double)z1) : relative(z1, e1);
        CHECK(error0 < 3e-7 && error1 < 3e-7, "words %08x %08x: %.9g, %.9g, not %.9g, %.9g", w[0],
              w[1], z0, z1, e0, e1);
        worst = fmax(worst, fmax(error0, error1));
        largest = fmax(largest, fmax(fabs((double)z0), fabs((double)z1)));
    }
    CHECK(worst < 3e-7, "worst relative error %.3g", worst);
    CHECK(largest > 6.66 && largest < 6.67, "largest magnitude %.9g", largest);
}

/* What one knows of the moments' spread, times five. */
static void check_near(const char *what, double got, double wanted, double deviation)
{
    CHECK(fabs(got - wanted) < 5 * deviation, "%s is %.9g, expected %.9g +- %.3g", what, got,
          wanted, deviation);
}

static float *numbers_of(fasc_tensor *t)
{
    return fasc_tensor_data(t);
}

static void normal_numbers_have_the_moments_and_tails(void)
{
    const int64_t shape[] = {1 << 22}, n = shape[0];
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 1, shape, &t));
    CHECK_OK(fasc_tensor_randn(t, 42, 0, 0, 1));
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, neighbours = 0, past[5] = {0};
    for (int64_t i = 0; i < n; i++) {
        double z = numbers_of(t)[i];
        m1 += z;
        m2 += z * z;
        m3 += z * z * z;
        m4 += z * z * z * z;
        neighbours += i > 0 ? z * numbers_of(t)[i - 1] : 0;
        for (int k = 0; k < 5; k++) {
            past[k] += fabs(z) > k + 0.5;
        }
    }
    double count = (double)n, root = sqrt(count);
    check_near("mean", m1 / count, 0, 1 / root);
    check_near("second moment", m2 / count, 1, sqrt(2) / root);
    check_near("third moment", m3 / count, 0, sqrt(15) / root);
    check_near("fourth moment", m4 / count, 3, sqrt(96) / root);
    check_near("product of neighbours", neighbours / count, 0, 1 / root);
    for (int k = 0; k < 5; k++) {
        double p = erfc((k + 0.5) / sqrt(2));
        check_near("share past k + 1/2 deviations", past[k] / count, p, sqrt(p) / root);
    }
    CHECK_OK(fasc_tensor_randn(t, 42, 0, 3, 0.5));
    m1 = 0;
    for (int64_t i = 0; i < n; i++) {
        m1 += numbers_of(t)[i];
    }
    check_near("mean of N(3, 1/2)", m1 / count, 3, 0.5 / root);
    fasc_tensor_free(t);
}

static void uniform_numbers_fill_their_range_evenly(void)
{
    enum { CELLS = 64 };
    const int64_t shape[] = {1 << 20}, n = shape[0];
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 1, shape, &t));
    CHECK_OK(fasc_tensor_rand(t, 7, 1, -2, 2));
    double cell[CELLS] = {0}, chi = 0;
    for (int64_t i = 0; i < n; i++) {
        float x = numbers_of(t)[i];
        CHECK(x >= -2 && x < 2, "%g", x);
        cell[(int)((x + 2) / 4 * CELLS)]++;
    }
    for (int c = 0; c < CELLS; c++) {
        double expected = (double)n / CELLS;
        chi += (cell[c] - expected) * (cell[c] - expected) / expected;
    }
    CHECK(chi > 25 && chi < 125, "chi square %.1f with 63 degrees of freedom", chi);
    fasc_tensor_free(t);
}

/* ---- the stream -------------------------------------------------------------- */

/* The layout that fasc.h promises, and numbers that no release may change. */
static void the_stream_is_pinned(void)
{
    const int64_t shape[] = {10};
    const uint64_t seed = 0x0123456789abcdefu, stream = 0xfedcba9876543210u;
    static const uint32_t NORMAL[10] = {0x3f5977c1, 0xbe4c2c43, 0xbfd2c2a9, 0xbeccdadb, 0xbd819087,
                                        0x3ecb0c8d, 0xbeb21a1e, 0x3f99fc15, 0xbdcdd08e, 0xbf138c06};
    static const uint32_t UNIFORM[10] = {0x3f2ef2ad, 0x3f769b59, 0x3e73ad10, 0x3f09b657,
                                         0x3f6c2ab3, 0x3e8ce3fa, 0x3ee9bd94, 0x3e96efd8,
                                         0x3f57bb4a, 0x3f38f76c};
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 1, shape, &t));
    CHECK_OK(fasc_tensor_rand(t, seed, stream, 0, 1));
    for (unsigned int n = 0; n < 10; n++) {
        unsigned int w[4];
        fasc_philox(seed, n / 4, 0, 0x76543210, 0xfedcba98, w);
        float layout = (float)(w[n % 4] >> 8) / 16777216.0f, x = numbers_of(t)[n];
        CHECK(x == layout, "uniform %u: %a, not %a", n, x, layout);
        CHECK(bits_of(x) == UNIFORM[n], "uniform %u: %08x, not %08x", n, bits_of(x), UNIFORM[n]);
    }
    CHECK_OK(fasc_tensor_randn(t, seed, stream, 0, 1));
    for (int n = 0; n < 10; n++) {
        uint32_t x = bits_of(numbers_of(t)[n]);
        CHECK(x == NORMAL[n], "normal %d: %08x, not %08x", n, x, NORMAL[n]);
    }
    fasc_tensor_free(t);
}

static void every_instruction_set_gives_the_same_numbers(void)
{
    enum { QUADS = 1000 };
    static float wanted[4 * QUADS], got[4 * QUADS];
    static const uint64_t FIRST[] = {0, 12345, 0xffffff00u, 0xfffffffff0u};
    for (int isa = 0; isa <= (int)fasc_cpu_isa(); isa++) {
        for (size_t f = 0; f < sizeof FIRST / sizeof *FIRST; f++) {
            for (int normal = 0; normal < 2; normal++) {
                fasc_rand_spec spec = {.seed = 3, .stream = 1, .normal = normal, .a = 0.1f, .b = 3};
                fasc_random_run_for(FASC_ISA_PORTABLE)(&spec, FIRST[f], QUADS, wanted);
                for (int quads = QUADS; quads > QUADS - 20; quads--) {
                    fasc_random_run_for((fasc_isa)isa)(&spec, FIRST[f], quads, got);
                    CHECK(memcmp(wanted, got, (size_t)quads * 16) == 0, "%s from %llx, %d quads",
                          fasc_isa_name((fasc_isa)isa), (unsigned long long)FIRST[f], quads);
                }
            }
        }
    }
}

static void counters_carry_into_the_high_word(void)
{
    fasc_rand_spec spec = {.seed = 3, .stream = 1, .b = 1};
    float got[16];
    fasc_random_run_for(fasc_cpu_isa())(&spec, 0xfffffffeu, 4, got);
    for (unsigned int n = 0; n < 4; n++) {
        unsigned int w[4];
        uint64_t counter = 0xfffffffeu + (uint64_t)n;
        fasc_philox(3, (unsigned int)counter, (unsigned int)(counter >> 32), 1, 0, w);
        CHECK(got[4 * n] == fasc_uniform(w[0]), "counter %llx", (unsigned long long)counter);
    }
}

static void threads_and_strides_do_not_matter(void)
{
    const int64_t shape[] = {37, 5, 811}, stride[] = {1, 37 * 1000, 37};
    const int64_t numel = 37 * 5 * 811;
    fasc_tensor *dense = NULL, *strided = NULL, *back = NULL;
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 3, shape, &dense));
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 3, shape, &back));
    CHECK_OK(fasc_tensor_empty_strided(cpu, FASC_F32, 3, shape, stride, &strided));
    CHECK_OK(fasc_set_num_threads(1));
    CHECK_OK(fasc_tensor_randn(dense, 5, 6, 1, 2));
    for (int threads = 1; threads <= 5; threads++) {
        CHECK_OK(fasc_set_num_threads(threads));
        CHECK_OK(fasc_tensor_randn(strided, 5, 6, 1, 2));
        CHECK_OK(fasc_tensor_copy(strided, back));
        CHECK(memcmp(numbers_of(dense), numbers_of(back), (size_t)numel * 4) == 0, "%d threads",
              threads);
        CHECK_OK(fasc_tensor_fill(strided, 0));
    }
    CHECK_OK(fasc_set_num_threads(0));
    fasc_tensor_free(dense);
    fasc_tensor_free(strided);
    fasc_tensor_free(back);
}

/* The float32 number, rounded or widened. */
static void other_dtypes_round_the_same_numbers(void)
{
    static const fasc_dtype DTYPE[] = {FASC_F16, FASC_BF16, FASC_F64};
    const int64_t shape[] = {5003};
    fasc_tensor *f32 = NULL;
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 1, shape, &f32));
    CHECK_OK(fasc_tensor_randn(f32, 1, 2, 0, 1));
    for (size_t d = 0; d < sizeof DTYPE / sizeof *DTYPE; d++) {
        fasc_tensor *direct = NULL, *converted = NULL;
        CHECK_OK(fasc_tensor_empty(cpu, DTYPE[d], 1, shape, &direct));
        CHECK_OK(fasc_tensor_empty(cpu, DTYPE[d], 1, shape, &converted));
        CHECK_OK(fasc_tensor_randn(direct, 1, 2, 0, 1));
        CHECK_OK(fasc_tensor_copy(f32, converted));
        size_t bytes = 5003 * fasc_dtype_size(DTYPE[d]);
        CHECK(memcmp(fasc_tensor_data(direct), fasc_tensor_data(converted), bytes) == 0, "%s",
              fasc_dtype_name(DTYPE[d]));
        fasc_tensor_free(direct);
        fasc_tensor_free(converted);
    }
    fasc_tensor_free(f32);
}

static void seeds_and_streams_differ(void)
{
    const int64_t shape[] = {1000};
    fasc_tensor *a = NULL, *b = NULL;
    fasc_difference d = {.size = sizeof d};
    static const uint64_t OTHER[][2] = {
        {1, 0}, {0, 1}, {(uint64_t)1 << 32, 0}, {0, (uint64_t)1 << 32}};
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 1, shape, &a));
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 1, shape, &b));
    CHECK_OK(fasc_tensor_rand(a, 0, 0, 0, 1));
    for (int i = 0; i < 4; i++) {
        CHECK_OK(fasc_tensor_rand(b, OTHER[i][0], OTHER[i][1], 0, 1));
        CHECK_OK(fasc_tensor_compare(a, b, &d));
        CHECK(d.max_abs > 0.5, "seed and stream %d: largest difference %g", i, d.max_abs);
    }
    fasc_tensor_free(a);
    fasc_tensor_free(b);
}

static void wrong_arguments_are_named(void)
{
    const int64_t shape[] = {4}, broadcast[] = {0};
    fasc_tensor *integers = NULL, *t = NULL, *one = NULL;
    CHECK_OK(fasc_tensor_empty(cpu, FASC_I32, 1, shape, &integers));
    CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 1, shape, &t));
    CHECK_OK(fasc_tensor_empty_strided(cpu, FASC_F32, 1, shape, broadcast, &one));
    CHECK_FAIL(fasc_tensor_randn(integers, 0, 0, 0, 1), FASC_EINVAL,
               "tensor_randn: tensor: dtype i32 is not one of f16, bf16, f32, f64");
    CHECK_FAIL(fasc_tensor_rand(one, 0, 0, 0, 1), FASC_EINVAL,
               "tensor_rand: tensor: stride[0] is 0, so elements share memory");
    CHECK_FAIL(fasc_tensor_rand(t, 0, 0, 1, 0), FASC_EINVAL, "tensor_rand: lo, hi: 1, 0");
    CHECK_FAIL(fasc_tensor_rand(t, 0, 0, -3e38, 3e38), FASC_EINVAL, "tensor_rand: lo, hi");
    CHECK_FAIL(fasc_tensor_rand(t, 0, 0, NAN, 1), FASC_EINVAL, "tensor_rand: lo, hi");
    CHECK_FAIL(fasc_tensor_randn(t, 0, 0, 0, -1), FASC_EINVAL, "tensor_randn: mean, std: 0, -1");
    CHECK_FAIL(fasc_tensor_randn(t, 0, 0, INFINITY, 1), FASC_EINVAL, "tensor_randn: mean, std");
    CHECK_FAIL(fasc_tensor_randn(NULL, 0, 0, 0, 1), FASC_EINVAL, "tensor: is NULL");
    fasc_tensor_free(integers);
    fasc_tensor_free(t);
    fasc_tensor_free(one);
}

TEST_MAIN(open_cpu, published_vectors, dropout_words_lie_as_fragments_do,
          normal_numbers_are_accurate, normal_numbers_have_the_moments_and_tails,
          uniform_numbers_fill_their_range_evenly, the_stream_is_pinned,
          every_instruction_set_gives_the_same_numbers, counters_carry_into_the_high_word,
          threads_and_strides_do_not_matter, other_dtypes_round_the_same_numbers,
          seeds_and_streams_differ, wrong_arguments_are_named)
