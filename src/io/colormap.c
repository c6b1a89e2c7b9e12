/* colormap.c - the maps as tables of evenly spaced control points, linear in between.
 *
 * viridis and magma (Stefan van der Walt and Nathaniel Smith, released under CC0): every fifth of
 * their 256 colours, which gives the others to within 1/255. cividis (Jamie Nunez, Christopher
 * Anderton, Ryan Renslow, PLOS ONE 2018; made so that colour-blind eyes see the same): every fifth
 * as well, the others to within 4/255. Lightness rises all the way in each.
 *
 * diverging: made here in CIELAB (D65). Lightness falls evenly from 97 in the middle to 32 at
 * either end, along hue 275 degrees (blue) and 32 degrees (red), chroma growing as 62 t^0.9 as far
 * as sRGB can show it, so equal distances from 0 look equally strong on both sides. */
#include "colormap.h"

#include <stddef.h>

#include "backend.h"

static const uint32_t VIRIDIS[] = {
    0x440154, 0x46085c, 0x471063, 0x481769, 0x481d6f, 0x482475, 0x472a7a, 0x46307e, 0x453781,
    0x433d84, 0x414287, 0x3f4889, 0x3d4e8a, 0x3a538b, 0x38598c, 0x355e8d, 0x33638d, 0x31688e,
    0x2e6d8e, 0x2c718e, 0x2a768e, 0x297b8e, 0x27808e, 0x25848e, 0x23898e, 0x218e8d, 0x20928c,
    0x1f978b, 0x1e9c89, 0x1fa188, 0x21a585, 0x24aa83, 0x28ae80, 0x2eb37c, 0x35b779, 0x3dbc74,
    0x46c06f, 0x50c46a, 0x5ac864, 0x65cb5e, 0x70cf57, 0x7cd250, 0x89d548, 0x95d840, 0xa2da37,
    0xb0dd2f, 0xbddf26, 0xcae11f, 0xd8e219, 0xe5e419, 0xf1e51d, 0xfde725,
};

static const uint32_t MAGMA[] = {
    0x000004, 0x02020b, 0x050416, 0x090720, 0x0e0b2b, 0x140e36, 0x1a1042, 0x21114e, 0x29115a,
    0x311165, 0x390f6e, 0x420f75, 0x4a1079, 0x52137c, 0x5a167e, 0x621980, 0x6a1c81, 0x721f81,
    0x792282, 0x812581, 0x892881, 0x912b81, 0x992d80, 0xa1307e, 0xaa337d, 0xb2357b, 0xba3878,
    0xc23b75, 0xca3e72, 0xd2426f, 0xd9466b, 0xe04c67, 0xe75263, 0xec5860, 0xf1605d, 0xf4695c,
    0xf7725c, 0xf97b5d, 0xfb8560, 0xfc8e64, 0xfd9869, 0xfea16e, 0xfeaa74, 0xfeb47b, 0xfebd82,
    0xfec68a, 0xfecf92, 0xfed89a, 0xfde2a3, 0xfdebac, 0xfcf4b6, 0xfcfdbf,
};

static const uint32_t CIVIDIS[] = {
    0x00224e, 0x002656, 0x002a5f, 0x002d68, 0x003070, 0x083370, 0x163770, 0x203a6f, 0x273e6e,
    0x2e416d, 0x34456c, 0x3a486c, 0x3f4c6c, 0x444f6c, 0x49536c, 0x4e566c, 0x535a6d, 0x575d6d,
    0x5c616e, 0x60646f, 0x656870, 0x696b71, 0x6d6f72, 0x727274, 0x767676, 0x7a7a78, 0x7e7d78,
    0x838179, 0x888578, 0x8d8878, 0x928c78, 0x969077, 0x9b9476, 0xa09875, 0xa59c74, 0xaaa073,
    0xafa471, 0xb5a86f, 0xbaac6d, 0xbfb06b, 0xc4b468, 0xc9b965, 0xcfbd62, 0xd4c15f, 0xdac65b,
    0xdfca57, 0xe5cf52, 0xead34c, 0xf0d846, 0xf6dd3f, 0xfce236, 0xfee838,
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
    [FASC_MAP_MAGMA] = {"magma", MAGMA, sizeof MAGMA / sizeof *MAGMA},
    [FASC_MAP_CIVIDIS] = {"cividis", CIVIDIS, sizeof CIVIDIS / sizeof *CIVIDIS},
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

uint8_t fasc_color_number(double t)
{
    return (uint8_t)((t > 0 ? t < 1 ? t : 1 : 0) * (FASC_COLORS - 1) + 0.5);
}

fasc_status fasc_colormap_palette(int32_t map, uint8_t *rgb)
{
    if (map < FASC_MAP_VIRIDIS || map > FASC_MAP_CIVIDIS) {
        return fasc_fail(FASC_EINVAL, "colormap_palette: colormap: %d is not in %d to %d", map,
                         FASC_MAP_VIRIDIS, FASC_MAP_CIVIDIS);
    }
    for (int i = 0; i < FASC_PALETTE; i++) {
        fasc_rgb c = i < FASC_COLORS          ? fasc_colormap_at(map, i / (FASC_COLORS - 1.0))
                     : i == FASC_COLOR_MASKED ? FASC_RGB_MASKED
                                              : FASC_RGB_NAN;
        rgb[3 * i] = c.r;
        rgb[3 * i + 1] = c.g;
        rgb[3 * i + 2] = c.b;
    }
    return FASC_OK;
}
