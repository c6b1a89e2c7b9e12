/* test.h - the C tests' few words. A test program is a list of void functions run by TEST_MAIN;
 * CHECK and its kin print what failed, and with which numbers, and count it. */
#ifndef FASC_TEST_H
#define FASC_TEST_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fasc.h"

static int test_failures;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            test_failures++;                                                                       \
            printf("%s:%d: %s: failed: %s; ", __FILE__, __LINE__, __func__, #condition);           \
            printf("" __VA_ARGS__);                                                                \
            printf("\n");                                                                          \
        }                                                                                          \
    } while (0)

/* The call succeeds. */
#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        fasc_status status_ = (call);                                                              \
        CHECK(status_ == FASC_OK, "%s: %s", fasc_status_name(status_), fasc_last_error());         \
    } while (0)

/* The call fails with this status, and its message contains the text. */
#define CHECK_FAIL(call, expected, text)                                                           \
    do {                                                                                           \
        fasc_status status_ = (call);                                                              \
        CHECK(status_ == (expected), "got %s (%s)", fasc_status_name(status_), fasc_last_error()); \
        CHECK(strstr(fasc_last_error(), (text)) != NULL, "message '%s' lacks '%s'",                \
              fasc_last_error(), (text));                                                          \
    } while (0)

typedef void (*test_function)(void);

#define TEST_MAIN(...)                                                                             \
    int main(void)                                                                                 \
    {                                                                                              \
        const test_function tests[] = {__VA_ARGS__};                                               \
        for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {                                \
            tests[i]();                                                                            \
        }                                                                                          \
        if (test_failures) {                                                                       \
            printf("%d checks failed\n", test_failures);                                           \
        }                                                                                          \
        return test_failures ? 1 : 0;                                                              \
    }

#endif
