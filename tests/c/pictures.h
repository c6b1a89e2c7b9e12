/* pictures.h - PNG files read again by libpng, for the tests that write them. */
#ifndef FASC_TEST_PICTURES_H
#define FASC_TEST_PICTURES_H

#include <png.h>

#include "files.h"

typedef struct picture {
    int width, height;
    unsigned char *pixels; /* rows of width * 3 bytes; NULL where the file is no PNG */
} picture;

static inline picture read_picture(const char *path)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    picture p = {0, 0, NULL};
    if (png_image_begin_read_from_file(&image, path)) {
        image.format = PNG_FORMAT_RGB;
        p.width = (int)image.width;
        p.height = (int)image.height;
        p.pixels = malloc(PNG_IMAGE_SIZE(image));
        if (!png_image_finish_read(&image, NULL, p.pixels, 0, NULL)) {
            free(p.pixels);
            p.pixels = NULL;
        }
    }
    CHECK(p.pixels != NULL, "%s: %s", path, image.message);
    return p;
}

/* 0xRRGGBB */
static inline unsigned pixel(const picture *p, int x, int y)
{
    const unsigned char *at = p->pixels + ((size_t)y * (size_t)p->width + (size_t)x) * 3;
    return (unsigned)at[0] << 16 | (unsigned)at[1] << 8 | at[2];
}

/* A text chunk's value, to be freed; NULL where the file has none of that keyword. *international
 * says whether it is an iTXt chunk. */
static inline char *read_text(const char *path, const char *keyword, int *international)
{
    FILE *f = fopen(path, "rb");
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_textp text = NULL;
    char *found = NULL;
    int count = 0;
    if (f) {
        png_init_io(png, f);
        png_read_info(png, info);
        png_get_text(png, info, &text, &count);
        fclose(f);
    }
    for (int i = 0; i < count && !found; i++) {
        if (strcmp(text[i].key, keyword) == 0) {
            found = strdup(text[i].text);
            *international = text[i].compression >= PNG_ITXT_COMPRESSION_NONE;
        }
    }
    png_destroy_read_struct(&png, &info, NULL);
    return found;
}

#endif
