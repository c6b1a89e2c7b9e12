/* png.h - a PNG written row by row, so that no picture needs to be in memory whole. */
#ifndef FASC_IO_PNG_H
#define FASC_IO_PNG_H

#include "backend.h"

/* Fills row y: width * 3 bytes, red, green and blue. */
typedef void (*fasc_png_row)(void *context, int32_t y, uint8_t *row);

typedef struct fasc_png {
    const char *call; /* the public call's name, for messages */
    int32_t width, height;
    fasc_png_row row;
    void *context;
    int32_t pairs;
    const char *const *text; /* keyword, value, keyword, ... */
} fasc_png;

/* Checks the text before anything is drawn. */
fasc_status fasc_png_check_text(const char *call, int32_t pairs, const char *const *text);

fasc_status fasc_png_write(const fasc_png *picture, const char *path);

#endif
