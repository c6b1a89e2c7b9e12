/* png.h - what the calls that write a PNG share; the writer itself is public (fasc_png). */
#ifndef FASC_IO_PNG_H
#define FASC_IO_PNG_H

#include "backend.h"

/* Checks the text before anything is drawn. call is the public call's name, for messages. */
fasc_status fasc_png_check_text(const char *call, int32_t pairs, const char *const *text);

/* fasc_png_open on behalf of a call, whose name must outlive the picture. */
fasc_status fasc_png_begin(const char *call, const char *path, int32_t width, int32_t height,
                           const uint8_t *palette, int32_t pairs, const char *const *text,
                           fasc_png **png);

#endif
