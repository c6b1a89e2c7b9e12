/* png.c - writes PNG pictures by libpng. Compression level and filter are fixed and no time is
 * written, so the same input gives the same bytes. Rows are not filtered: attention maps have few
 * colours and little slope, and unfiltered they came out a third smaller than filtered any way. */
#include "png.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "atomic_write.h"
#include "text.h"
#include "validate.h"

#define CALL "save_png"

/* ---- text ------------------------------------------------------------------------- */

/* A keyword by the PNG specification: 1 to 79 characters, no space at either end or doubled. Its
 * Latin-1 is narrowed to ASCII, which no reader gets wrong. */
static bool is_keyword(const char *text)
{
    size_t n = strlen(text);
    if (n < 1 || n > 79 || text[0] == ' ' || text[n - 1] == ' ' || strstr(text, "  ")) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return false;
        }
    }
    return true;
}

fasc_status fasc_png_check_text(const char *call, int32_t pairs, const char *const *text)
{
    char shown[96];
    if (pairs < 0 || (pairs > 0 && !text)) {
        return fasc_fail(FASC_EINVAL, "%s: %s", call,
                         pairs < 0 ? "pairs: is negative" : "text: is NULL");
    }
    for (int32_t i = 0; i < pairs; i++) {
        const char *keyword = text[2 * i], *value = text[2 * i + 1];
        if (!keyword || !value) {
            return fasc_fail(FASC_EINVAL, "%s: text: pair %d holds a NULL", call, i);
        }
        if (!is_keyword(keyword)) {
            return fasc_fail(FASC_EINVAL,
                             "%s: text: keyword '%s' must be 1 to 79 ASCII characters without "
                             "outer or double spaces",
                             call, fasc_escape(shown, sizeof shown, keyword));
        }
        if (!fasc_utf8_valid(value)) {
            return fasc_fail(FASC_EINVAL, "%s: text: the value of '%s' is no UTF-8", call, keyword);
        }
    }
    return FASC_OK;
}

static bool is_ascii(const char *text)
{
    while (*text && (unsigned char)*text < 0x80) {
        text++;
    }
    return !*text;
}

/* tEXt holds Latin-1, iTXt UTF-8. */
static void set_text(png_structp png, png_infop info, const fasc_png *picture)
{
    for (int32_t i = 0; i < picture->pairs; i++) {
        const char *value = picture->text[2 * i + 1];
        png_text text = {
            .compression = is_ascii(value) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE,
            .key = (char *)picture->text[2 * i],
            .text = (char *)value,
        };
        png_set_text(png, info, &text, 1);
    }
}

/* ---- libpng ----------------------------------------------------------------------- */

/* What libpng's callbacks reach: where errors go, and the file. */
typedef struct writer {
    const char *call;
    fasc_atomic_file *file;
    fasc_status status;
    jmp_buf escape;
} writer;

/* libpng wants errors not to return. */
static void on_error(png_structp png, png_const_charp message)
{
    writer *w = png_get_error_ptr(png);
    if (w->status == FASC_OK) {
        w->status = fasc_fail(FASC_EINTERNAL, "%s: libpng: %s", w->call, message);
    }
    longjmp(w->escape, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void on_write(png_structp png, png_bytep data, png_size_t bytes)
{
    writer *w = png_get_io_ptr(png);
    w->status = fasc_atomic_write(w->file, data, bytes);
    if (w->status != FASC_OK) {
        png_error(png, "write failed");
    }
}

static void on_flush(png_structp png)
{
    (void)png;
}

static void write_rows(png_structp png, writer *w, const fasc_png *picture, uint8_t *row)
{
    for (int32_t y = 0; y < picture->height; y++) {
        if (y % 64 == 0 && fasc_cancel_requested()) {
            w->status = fasc_fail(FASC_ECANCELED, "%s: canceled", w->call);
            png_error(png, "canceled");
        }
        picture->row(picture->context, y, row);
        png_write_row(png, row);
    }
}

/* Nothing here is changed between setjmp and longjmp but through pointers. */
static void encode(png_structp png, png_infop info, writer *w, const fasc_png *picture,
                   uint8_t *row)
{
    if (setjmp(w->escape)) {
        return;
    }
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_write_fn(png, w, on_write, on_flush);
    png_set_compression_level(png, 6);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
    png_set_IHDR(png, info, (png_uint_32)picture->width, (png_uint_32)picture->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_set_sRGB(png, info, PNG_sRGB_INTENT_PERCEPTUAL);
    set_text(png, info, picture);
    png_write_info(png, info);
    write_rows(png, w, picture, row);
    png_write_end(png, NULL);
}

fasc_status fasc_png_write(const fasc_png *picture, const char *path)
{
    writer w = {.call = picture->call, .status = FASC_OK};
    fasc_status status = fasc_atomic_open(picture->call, path, &w.file);
    if (status != FASC_OK) {
        return status;
    }
    uint8_t *row = malloc((size_t)picture->width * 3);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (row && info) {
        encode(png, info, &w, picture, row);
    } else {
        w.status = fasc_fail(FASC_ENOMEM, "%s: no memory for a picture %d pixels wide",
                             picture->call, picture->width);
    }
    png_destroy_write_struct(&png, &info);
    free(row);
    return fasc_atomic_close(w.file, w.status);
}

/* ---- a picture in memory ------------------------------------------------------------ */

typedef struct pixels {
    const uint8_t *data;
    size_t row_bytes;
} pixels;

static void copy_row(void *context, int32_t y, uint8_t *row)
{
    const pixels *p = context;
    memcpy(row, p->data + (size_t)y * p->row_bytes, p->row_bytes);
}

fasc_status fasc_save_png(const char *path, int32_t width, int32_t height, const uint8_t *data,
                          int32_t pairs, const char *const *text)
{
    if (width < 1 || height < 1) {
        return fasc_fail(FASC_EINVAL, CALL ": size: %d x %d pixels, must be at least 1 x 1", width,
                         height);
    }
    fasc_status status = fasc_check_pointer(CALL, "pixels", data);
    if (status == FASC_OK) {
        status = fasc_png_check_text(CALL, pairs, text);
    }
    if (status != FASC_OK) {
        return status;
    }
    pixels source = {data, (size_t)width * 3};
    fasc_png picture = {CALL, width, height, copy_row, &source, pairs, text};
    return fasc_png_write(&picture, path);
}
