/* test_cuda_report.c - what is read out of a compiler's log, and SHA-256 on published vectors. */
#include "cuda/report.h"
#include "cuda/sha256.h"
#include "test.h"

static fasc_compile_report read_log(const char *log, bool compiled)
{
    fasc_compile_report report = {.size = sizeof report};
    fasc_report_read(log, compiled, &report);
    return report;
}

#define GOOD                                                                                       \
    "ptxas info    : 0 bytes gmem\n"                                                               \
    "ptxas info    : Compiling entry function 'first' for 'sm_90a'\n"                              \
    "ptxas info    : Function properties for first\n"                                              \
    "ptxas         .     16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"        \
    "ptxas info    : Used 58 registers, used 1 barriers, 8448 bytes smem, 400 bytes cmem[0]\n"     \
    "ptxas info    : Compile time = 9.673 ms\n"

static void numbers_of_each_function(void)
{
    fasc_compile_report r =
        read_log(GOOD "ptxas info    : Compiling entry function 'second' for 'sm_80'\n"
                      "ptxas info    : Used 7 registers, used 0 barriers\n",
                 true);
    CHECK(r.function_count == 2, "%d", (int)r.function_count);
    CHECK(strcmp(r.function[0].name, "first") == 0, "%s", r.function[0].name);
    CHECK(r.function[0].registers == 58, "%d", (int)r.function[0].registers);
    CHECK(r.function[0].smem_static == 8448, "%d", (int)r.function[0].smem_static);
    CHECK(r.function[0].stack_bytes == 16, "%d", (int)r.function[0].stack_bytes);
    CHECK(strcmp(r.function[1].name, "second") == 0, "%s", r.function[1].name);
    CHECK(r.function[1].registers == 7 && r.function[1].smem_static == 0, "%d",
          (int)r.function[1].registers);
    CHECK(!r.failed && r.warning_count == 0 && r.message[0] == 0, "%s", r.message);
}

/* What a function calls spills on its account. */
static void spills_fail(void)
{
    fasc_compile_report r =
        read_log("ptxas info    : Compiling entry function 'f' for 'sm_90a'\n"
                 "ptxas info    : Function properties for f\n"
                 "    0 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads\n"
                 "ptxas info    : Function properties for callee\n"
                 "    8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n"
                 "ptxas info    : Used 255 registers\n",
                 true);
    CHECK(r.failed == 1, "a spill is a failure");
    CHECK(r.function[0].spill_bytes == 28, "%d", (int)r.function[0].spill_bytes);
    CHECK(strstr(r.message, "f spills 28 bytes") != NULL, "%s", r.message);
}

static void slow_instructions_fail(void)
{
    const char *const line[] = {
        "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are "
        "serialized due to the presence of Extern calls in the function 'f'\n",
        "ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored to maintain "
        "minimum register requirements.\n"};
    for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
        char log[2048];
        snprintf(log, sizeof log, "%s%s", GOOD, line[i]);
        fasc_compile_report r = read_log(log, true);
        CHECK(r.failed == 1 && r.warning_count == 1, "%d warnings", (int)r.warning_count);
        CHECK(strstr(r.message, "Potential Performance Loss") != NULL, "%s", r.message);
    }
}

static void warnings_are_told_but_pass(void)
{
    fasc_compile_report r = read_log(
        "kernels/x.cu(3): warning #177-D: variable \"z\" was declared but never referenced\n"
        "  uint2 z;\n" GOOD,
        true);
    CHECK(r.failed == 0 && r.warning_count == 1, "%d", (int)r.warning_count);
    CHECK(strstr(r.message, "kernels/x.cu(3): warning #177-D") != NULL, "%s", r.message);
}

static void errors_come_with_file_and_line(void)
{
    fasc_compile_report r =
        read_log("kernels/x.cu(7): error: identifier \"nothing\" is undefined\n"
                 "  nothing();\n\n1 error detected in the compilation of \"kernels/x.cu\".\n",
                 false);
    CHECK(r.failed == 1 && r.function_count == 0, "%d", (int)r.function_count);
    CHECK(strncmp(r.message, "kernels/x.cu(7): error: identifier", 34) == 0, "%s", r.message);
}

static void more_functions_than_room_is_a_failure(void)
{
    char log[2048] = "";
    for (int i = 0; i < 9; i++) {
        strcat(log, "ptxas info    : Compiling entry function 'f' for 'sm_80'\n");
    }
    fasc_compile_report r = read_log(log, true);
    CHECK(r.function_count == 8 && r.failed == 1, "%d functions", (int)r.function_count);
}

/* FIPS 180-4's examples, and the empty message. */
static void sha256_vectors(void)
{
    static const struct {
        const char *message, *digest;
    } vector[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof vector / sizeof *vector; i++) {
        fasc_sha256 sha;
        uint8_t digest[32];
        char text[65];
        fasc_sha256_begin(&sha);
        for (const char *c = vector[i].message; *c; c++) { /* in the smallest pieces */
            fasc_sha256_add(&sha, c, 1);
        }
        fasc_sha256_end(&sha, digest);
        fasc_sha256_hex(digest, text);
        CHECK(strcmp(text, vector[i].digest) == 0, "'%s' gives %s", vector[i].message, text);
    }
}

TEST_MAIN(numbers_of_each_function, spills_fail, slow_instructions_fail, warnings_are_told_but_pass,
          errors_come_with_file_and_line, more_functions_than_room_is_a_failure, sha256_vectors)
