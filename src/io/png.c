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
static void set_text(png_structp png, png_infop info, int32_t pairs, const char *const *text)
{
    for (int32_t i = 0; i < pairs; i++) {
        const char *value = text[2 * i + 1];
        png_text entry = {
            .compression = is_ascii(value) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE,
            .key = (char *)text[2 * i],
            .text = (char *)value,
        };
        png_set_text(png, info, &entry, 1);
    }
}

/* ---- libpng ----------------------------------------------------------------------- */

struct fasc_png {
    const char *call; /* the public call's name, for messages */
    fasc_atomic_file *file;
    png_structp png;
    png_infop info;
    fasc_status status; /* the first failure; nothing is written after it */
    int32_t width, height, done;
    bool palette;
    jmp_buf escape;
};

/* libpng wants errors not to return. */
static void on_error(png_structp png, png_const_charp message)
{
    fasc_png *p = png_get_error_ptr(png);
    if (p->status == FASC_OK) {
        p->status = fasc_fail(FASC_EINTERNAL, "%s: libpng: %s", p->call, message);
    }
    longjmp(p->escape, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void on_write(png_structp png, png_bytep data, png_size_t bytes)
{
    fasc_png *p = png_get_io_ptr(png);
    p->status = fasc_atomic_write(p->file, data, bytes);
    if (p->status != FASC_OK) {
        png_error(png, "write failed");
    }
}

static void on_flush(png_structp png)
{
    (void)png;
}

/* Nothing here is changed between setjmp and longjmp but through pointers. */
static void write_head(fasc_png *p, const uint8_t *palette, int32_t pairs, const char *const *text)
{
    if (setjmp(p->escape)) {
        return;
    }
    png_set_user_limits(p->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_write_fn(p->png, p, on_write, on_flush);
    png_set_compression_level(p->png, 6);
    png_set_filter(p->png, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
    png_set_IHDR(p->png, p->info, (png_uint_32)p->width, (png_uint_32)p->height, 8,
                 palette ? PNG_COLOR_TYPE_PALETTE : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_sRGB(p->png, p->info, PNG_sRGB_INTENT_PERCEPTUAL);
    if (palette) {
        png_color colors[FASC_PALETTE];
        for (int i = 0; i < FASC_PALETTE; i++) {
            colors[i] = (png_color){palette[3 * i], palette[3 * i + 1], palette[3 * i + 2]};
        }
        png_set_PLTE(p->png, p->info, colors, FASC_PALETTE);
    }
    set_text(p->png, p->info, pairs, text);
    png_write_info(p->png, p->info);
}

static void write_rows(fasc_png *p, int32_t rows, const uint8_t *pixels)
{
    size_t row_bytes = (size_t)p->width * (p->palette ? 1 : 3);
    if (setjmp(p->escape)) {
        return;
    }
    for (int32_t y = 0; y < rows; y++) {
        if (y % 64 == 0 && fasc_cancel_requested()) {
            p->status = fasc_fail(FASC_ECANCELED, "%s: canceled", p->call);
            png_error(p->png, "canceled");
        }
        png_write_row(p->png, pixels + (size_t)y * row_bytes);
    }
}

static void write_end(fasc_png *p)
{
    if (!setjmp(p->escape)) {
        png_write_end(p->png, NULL);
    }
}

/* ---- a picture row by row ------------------------------------------------------------- */

fasc_status fasc_png_begin(const char *call, const char *path, int32_t width, int32_t height,
                           const uint8_t *palette, int32_t pairs, const char *const *text,
                           fasc_png **png)
{
    if (width < 1 || height < 1) {
        return fasc_fail(FASC_EINVAL, "%s: size: %d x %d pixels, must be at least 1 x 1", call,
                         width, height);
    }
    fasc_status status = fasc_png_check_text(call, pairs, text);
    if (status != FASC_OK) {
        return status;
    }
    fasc_png *p = calloc(1, sizeof *p);
    if (!p) {
        return fasc_fail(FASC_ENOMEM, "%s: no memory for a picture", call);
    }
    *p = (fasc_png){.call = call, .width = width, .height = height, .palette = palette != NULL};
    status = fasc_atomic_open(call, path, &p->file);
    if (status != FASC_OK) {
        free(p);
        return status;
    }
    p->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, p, on_error, on_warning);
    p->info = p->png ? png_create_info_struct(p->png) : NULL;
    if (p->info) {
        write_head(p, palette, pairs, text);
    } else {
        p->status =
            fasc_fail(FASC_ENOMEM, "%s: no memory for a picture %d pixels wide", call, width);
    }
    if (p->status != FASC_OK) {
        return fasc_png_close(p);
    }
    *png = p;
    return FASC_OK;
}

fasc_status fasc_png_open(const char *path, int32_t width, int32_t height, const uint8_t *palette,
                          int32_t pairs, const char *const *text, fasc_png **png)
{
    fasc_status status = fasc_check_pointer("png_open", "png", png);
    return status == FASC_OK
               ? fasc_png_begin("png_open", path, width, height, palette, pairs, text, png)
               : status;
}

fasc_status fasc_png_rows(fasc_png *p, int32_t rows, const uint8_t *pixels)
{
    fasc_status status = fasc_check_pointer("png_rows", "png", p);
    if (status == FASC_OK && rows > 0) {
        status = fasc_check_pointer("png_rows", "pixels", pixels);
    }
    if (status != FASC_OK) {
        return status;
    }
    if (rows < 0 || rows > p->height - p->done) {
        return fasc_fail(FASC_EINVAL, "png_rows: rows: %d, but %d of %d are missing", rows,
                         p->height - p->done, p->height);
    }
    if (p->status == FASC_OK) {
        write_rows(p, rows, pixels);
        p->done += rows;
    }
    return p->status;
}

fasc_status fasc_png_close(fasc_png *p)
{
    if (!p) {
        return FASC_OK;
    }
    if (p->status == FASC_OK && p->done == p->height) {
        write_end(p);
    } else if (p->status == FASC_OK) {
        p->status = fasc_fail(FASC_EINVAL, "%s: %d of %d rows are missing", p->call,
                              p->height - p->done, p->height);
    }
    png_destroy_write_struct(&p->png, &p->info);
    fasc_status status = fasc_atomic_close(p->file, p->status);
    free(p);
    return status;
}

/* ---- a picture in memory ------------------------------------------------------------ */

fasc_status fasc_save_png(const char *path, int32_t width, int32_t height, const uint8_t *pixels,
                          int32_t pairs, const char *const *text)
{
    fasc_png *p = NULL;
    fasc_status status = fasc_check_pointer("save_png", "pixels", pixels);
    if (status == FASC_OK) {
        status = fasc_png_begin("save_png", path, width, height, NULL, pairs, text, &p);
    }
    if (status != FASC_OK) {
        return status;
    }
    fasc_status written = fasc_png_rows(p, height, pixels);
    status = fasc_png_close(p);
    return written == FASC_OK ? status : written;
}
