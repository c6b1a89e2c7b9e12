/* colormap.c - the maps as tables of evenly spaced control points, linear in between.
 *
 * viridis (Stefan van der Walt and Nathaniel Smith, released under CC0): every fifth of its 256
 * colours, which gives the others to within 1/255. Lightness rises all the way.
 *
 * diverging: made here in CIELAB (D65). Lightness falls evenly from 97 in the middle to 32 at
 * either end, along hue 275 degrees (blue) and 32 degrees (red), chroma growing as 62 t^0.9 as far
 * as sRGB can show it, so equal distances from 0 look equally strong on both sides. */
#include "colormap.h"

#include <stddef.h>

static const uint32_t VIRIDIS[] = {
    0x440154, 0x46085c, 0x471063, 0x481769, 0x481d6f, 0x482475, 0x472a7a, 0x46307e, 0x453781,
    0x433d84, 0x414287, 0x3f4889, 0x3d4e8a, 0x3a538b, 0x38598c, 0x355e8d, 0x33638d, 0x31688e,
    0x2e6d8e, 0x2c718e, 0x2a768e, 0x297b8e, 0x27808e, 0x25848e, 0x23898e, 0x218e8d, 0x20928c,
    0x1f978b, 0x1e9c89, 0x1fa188, 0x21a585, 0x24aa83, 0x28ae80, 0x2eb37c, 0x35b779, 0x3dbc74,
    0x46c06f, 0x50c46a, 0x5ac864, 0x65cb5e, 0x70cf57, 0x7cd250, 0x89d548, 0x95d840, 0xa2da37,
    0xb0dd2f, 0xbddf26, 0xcae11f, 0xd8e219, 0xe5e419, 0xf1e51d, 0xfde725,
};

static const uint32_t DIVERGING[] = {
    0x074d86, 0x0b61a6, 0x2275c3, 0x5789cd, 0x7b9ed7, 0x9bb3e1, 0xbac9e9, 0xd8dff1, 0xf6f6f6,
    0xf3dad6, 0xebbeb8, 0xe1a39a, 0xd5887e, 0xc86e64, 0xb9534a, 0xa93632, 0x980f1b,
};

static const struct {
    const char *name;
    const uint32_t *points;
    int count;
} MAPS[] = {
    [FASC_MAP_VIRIDIS] = {"viridis", VIRIDIS, sizeof VIRIDIS / sizeof *VIRIDIS},
    [FASC_MAP_DIVERGING] = {"diverging", DIVERGING, sizeof DIVERGING / sizeof *DIVERGING},
};

const char *fasc_colormap_name(int32_t map)
{
    return map >= 0 && (size_t)map < sizeof MAPS / sizeof *MAPS ? MAPS[map].name : NULL;
}

static uint8_t mix(uint32_t a, uint32_t b, int shift, double part)
{
    double from = a >> shift & 0xff, to = b >> shift & 0xff;
    return (uint8_t)(from + (to - from) * part + 0.5);
}

fasc_rgb fasc_colormap_at(int32_t map, double t)
{
    const uint32_t *points = MAPS[map].points;
    int last = MAPS[map].count - 1;
    double x = (t > 0 ? t < 1 ? t : 1 : 0) * last;
    int i = x < last ? (int)x : last - 1;
    double part = x - i;
    return (fasc_rgb){mix(points[i], points[i + 1], 16, part),
                      mix(points[i], points[i + 1], 8, part),
                      mix(points[i], points[i + 1], 0, part)};
}
