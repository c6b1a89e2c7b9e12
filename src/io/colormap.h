/* colormap.h - numbers to colours. */
#ifndef FASC_IO_COLORMAP_H
#define FASC_IO_COLORMAP_H

#include "fasc.h"

typedef struct fasc_rgb {
    uint8_t r, g, b;
} fasc_rgb;

/* Outside of every map, so that they cannot be taken for a value. */
#define FASC_RGB_MASKED ((fasc_rgb){0xb4, 0xb4, 0xb4}) /* grey */
#define FASC_RGB_NAN    ((fasc_rgb){0xff, 0x00, 0xff}) /* magenta */

/* "viridis"; NULL for a number that is no map. */
const char *fasc_colormap_name(int32_t map);

/* The colour at t, which is clamped to [0, 1]; map is a fasc_colormap. */
fasc_rgb fasc_colormap_at(int32_t map, double t);

/* The nearest of a palette's colours at t, which is clamped to [0, 1]. */
uint8_t fasc_color_number(double t);

#endif
