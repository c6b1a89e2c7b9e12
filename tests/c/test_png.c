/* PNG pictures: libpng reads back the pixels and the text, and the bytes depend on nothing else. */
#include "pictures.h"

static unsigned char *noise(size_t bytes)
{
    unsigned char *p = malloc(bytes);
    uint32_t state = 1;
    for (size_t i = 0; i < bytes; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (unsigned char)(state >> 24);
    }
    return p;
}

static void pixels_come_back(void)
{
    /* One row longer than the million that libpng allows unasked. */
    static const int SIZE[][2] = {{1, 1}, {1, 7}, {7, 1}, {301, 203}, {1000003, 1}, {2, 5000}};
    for (size_t i = 0; i < sizeof SIZE / sizeof *SIZE; i++) {
        int width = SIZE[i][0], height = SIZE[i][1];
        size_t bytes = (size_t)width * (size_t)height * 3;
        unsigned char *pixels = noise(bytes);
        const char *path = test_path("noise.png");
        CHECK_OK(fasc_save_png(path, width, height, pixels, 0, NULL));
        if (width <= 1000000) {
            picture p = read_picture(path);
            CHECK(p.width == width && p.height == height, "%d x %d", p.width, p.height);
            CHECK(p.pixels && memcmp(p.pixels, pixels, bytes) == 0, "%d x %d: other pixels", width,
                  height);
            free(p.pixels);
        } else {
            long size;
            unsigned char *file = read_bytes(path, &size);
            CHECK(size > 3000000 && memcmp(file + 16, "\x00\x0f\x42\x43\0\0\0\x01", 8) == 0,
                  "%ld bytes", size);
            free(file);
        }
        free(pixels);
    }
}

static void text_comes_back_and_utf8_stays_utf8(void)
{
    const char *const text[] = {
        "tensor", "layers.3.probs", "Title",     "\xc3\xa9\xf0\x9f\x98\x80", "empty",
        "",       "Comment",        "two\nlines"};
    const unsigned char black[3] = {0};
    const char *path = test_path("text.png");
    CHECK_OK(fasc_save_png(path, 1, 1, black, 4, text));
    for (int i = 0; i < 4; i++) {
        int international = -1;
        char *value = read_text(path, text[2 * i], &international);
        CHECK(value && strcmp(value, text[2 * i + 1]) == 0, "%s: %s", text[2 * i],
              value ? value : "missing");
        CHECK(international == (i == 1), "%s: chunk kind %d", text[2 * i], international);
        free(value);
    }
}

/* The chunks of a file, as "IHDR sRGB tEXt IDAT IEND ". */
static void list_chunks(const char *path, char *names, size_t size)
{
    long count;
    unsigned char *file = read_bytes(path, &count);
    names[0] = '\0';
    for (long at = 8; at + 12 <= count && strlen(names) + 6 < size;) {
        const unsigned char *p = file + at;
        strncat(names, (const char *)p + 4, 4);
        strcat(names, " ");
        at += 12 + ((long)p[0] << 24 | (long)p[1] << 16 | (long)p[2] << 8 | p[3]);
    }
    free(file);
}

static void the_same_input_gives_the_same_bytes(void)
{
    const char *const text[] = {"a", "b"};
    unsigned char *pixels = noise(50 * 40 * 3);
    char chunks[256];
    CHECK_OK(fasc_save_png(test_path("1.png"), 50, 40, pixels, 1, text));
    CHECK_OK(fasc_save_png(test_path("2.png"), 50, 40, pixels, 1, text));
    CHECK(same_bytes(test_path("1.png"), test_path("2.png")), "two writings differ");
    list_chunks(test_path("1.png"), chunks, sizeof chunks);
    CHECK(strcmp(chunks, "IHDR sRGB tEXt IDAT IEND ") == 0, "%s", chunks);
    pixels[0] ^= 1;
    CHECK_OK(fasc_save_png(test_path("2.png"), 50, 40, pixels, 1, text));
    CHECK(!same_bytes(test_path("1.png"), test_path("2.png")), "a changed pixel does not show");
    free(pixels);
}

static void wrong_arguments_are_refused(void)
{
    static char long_keyword[81];
    static const char *const KEYWORD[] = {"",     " a",       "a ",    "a  b",
                                          "a\nb", "\xc3\xa9", "a\x7f", long_keyword};
    const unsigned char black[3] = {0};
    const char *path = test_path("never.png");
    memset(long_keyword, 'k', 80);
    for (size_t i = 0; i < sizeof KEYWORD / sizeof *KEYWORD; i++) {
        const char *const text[] = {KEYWORD[i], "x"};
        CHECK_FAIL(fasc_save_png(path, 1, 1, black, 1, text), FASC_EINVAL,
                   "must be 1 to 79 ASCII characters");
    }
    CHECK_FAIL(fasc_save_png(path, 1, 1, black, 1, (const char *const[]){"k", "\xff"}), FASC_EINVAL,
               "the value of 'k' is no UTF-8");
    CHECK_FAIL(fasc_save_png(path, 1, 1, black, 1, (const char *const[]){"k", NULL}), FASC_EINVAL,
               "pair 0 holds a NULL");
    CHECK_FAIL(fasc_save_png(path, 1, 1, black, 1, NULL), FASC_EINVAL, "text: is NULL");
    CHECK_FAIL(fasc_save_png(path, 1, 1, black, -1, NULL), FASC_EINVAL, "pairs: is negative");
    CHECK_FAIL(fasc_save_png(path, 0, 1, black, 0, NULL), FASC_EINVAL, "0 x 1 pixels");
    CHECK_FAIL(fasc_save_png(path, 1, -2, black, 0, NULL), FASC_EINVAL, "1 x -2 pixels");
    CHECK_FAIL(fasc_save_png(path, 1, 1, NULL, 0, NULL), FASC_EINVAL, "pixels");
    CHECK_FAIL(fasc_save_png(NULL, 1, 1, black, 0, NULL), FASC_EINVAL, "path");
    CHECK(access(path, F_OK) != 0, "%s exists", path);
}

TEST_MAIN(pixels_come_back, text_comes_back_and_utf8_stays_utf8,
          the_same_input_gives_the_same_bytes, wrong_arguments_are_refused)
