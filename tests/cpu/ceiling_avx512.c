/* ceiling_avx512.c - how fast can attention be on this processor at all? Prints what multiply-adds
 * in registers reach, by one thread and by all, and what each step of the flash kernel costs
 * beside them: of each vector of scores (16 queries and a key) as many vector multiply-adds as
 * would take the same time. The two products need head_dim of them each; the rest is what an
 * exponential and a store cost, and what loops lose. Everything is the best of many short turns,
 * one step after the other, so that a busy machine disturbs it little.
 *
 *     cmake --build --preset release --target ceiling && build/release/bin/ceiling */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/simd.h"
#include "cpu/tile.h"

enum { TURNS = 400, DIMS = 64, KEYS = 128, ROWS = 4096, REGISTERS = 16 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of a vector multiply-add where nothing else happens. */
static double multiply_add(void)
{
    enum { COUNT = 20000 };
    static volatile float factor = 0.999f, term = 1e-3f; /* nothing is known before it runs */
    vec a[REGISTERS], x = vec_set(factor), y = vec_set(term);
    for (int i = 0; i < REGISTERS; i++) {
        a[i] = vec_set((float)i * term);
    }
    double start = now();
    for (int n = 0; n < COUNT; n++) {
#pragma GCC unroll 16
        for (int i = 0; i < REGISTERS; i++) {
            a[i] = a[i] * x + y;
        }
    }
    double seconds = now() - start;
    float sum = 0;
    for (int i = 0; i < REGISTERS; i++) {
        sum += vec_sum(a[i]);
    }
    volatile float used = sum;
    (void)used;
    return seconds / (COUNT * REGISTERS);
}

/* GFLOP/s of so many threads. */
static double rate_of(int threads)
{
    double best = 0;
    for (int n = 0; n < TURNS; n++) {
        double slowest = 0;
#pragma omp parallel num_threads(threads) reduction(max : slowest)
        slowest = multiply_add();
        best = fmax(best, threads * 2e-9 * LANES / slowest);
    }
    return best;
}

static float *floats(size_t n)
{
    float *p = aligned_alloc(4096, (n * sizeof *p + 4095) / 4096 * 4096);
    if (!p) {
        exit(1);
    }
    for (size_t i = 0; i < n; i++) {
        p[i] = (float)(i * 2654435761u % 1024) / 1024 - 0.5f;
    }
    return p;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

int main(void)
{
    const fasc_tile_ops *ops = fasc_tile_ops_for(FASC_ISA_AVX512, false);
    const int width = ops->group, threads = omp_get_max_threads();
    const double vectors = (double)KEYS * width / LANES;
    float *k = floats(KEYS * DIMS), *v = floats(KEYS * DIMS), *q = floats((size_t)(DIMS * width));
    float *s = floats((size_t)(KEYS * width)), *o = floats((size_t)(DIMS * width));
    float *max = floats((size_t)width), *m = floats((size_t)width), *sum = floats((size_t)width);
    float *alpha = floats((size_t)width), *rows = floats((size_t)ROWS * ROWS);
    double fma = INFINITY, scores = INFINITY, softmax = INFINITY, values = INFINITY,
           store = INFINITY;
    for (int n = 0; n < TURNS; n++) {
        float *at = rows + (size_t)(n % (ROWS / width)) * (size_t)(width * ROWS);
        memset(max, 0, (size_t)width * sizeof *max);
        memset(m, 0, (size_t)width * sizeof *m);
        fma = least(fma, multiply_add());
        double t0 = now();
        ops->scores(k, DIMS, KEYS, DIMS, q, width, s, max);
        double t1 = now();
        ops->transpose(s, width, KEYS, width, at, ROWS, true);
        double t2 = now();
        ops->softmax(s, s, KEYS, width, max, m, sum, alpha);
        double t3 = now();
        ops->values(v, DIMS, KEYS, DIMS, s, width, alpha, o);
        double t4 = now();
        scores = least(scores, (t1 - t0) / vectors);
        store = least(store, (t2 - t1) / vectors);
        softmax = least(softmax, (t3 - t2) / vectors);
        values = least(values, (t4 - t3) / vectors);
    }
    double one = rate_of(1), all = rate_of(threads);
    double out = 2 * DIMS * fma / (scores + softmax + values);
    double logits = 2 * DIMS * fma / (scores + store + softmax + values);
    printf("multiply-adds in registers: %.1f GFLOP/s by one thread, %.1f by %d\n", one, all,
           threads);
    printf("in such multiply-adds, for each vector of scores at head_dim %d:\n", DIMS);
    printf("  scores %.1f, values %.1f (%d each at least); softmax %.1f; logits stored %.1f\n",
           scores / fma, values / fma, DIMS, softmax / fma, store / fma);
    printf("so flash reaches at most %.1f GFLOP/s (%.1f %%), with logits %.1f (%.1f %%)\n",
           out * all, 100 * out, logits * all, 100 * logits);
    return 0;
}
