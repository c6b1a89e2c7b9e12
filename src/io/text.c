/* text.c - text from outside: UTF-8 checked, and made safe to print. */
#include "text.h"

#include <stdio.h>
#include <string.h>

size_t fasc_utf8_decode(const char *text, uint32_t *code_point)
{
    /* Lead bytes by length: their fixed bits, and the least code point that needs the length. */
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } FORM[] = {{0x80, 0x00, 1}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    unsigned char first = (unsigned char)text[0];
    for (size_t n = 0; n < sizeof FORM / sizeof *FORM; n++) {
        if ((first & FORM[n].mask) != FORM[n].lead) {
            continue;
        }
        uint32_t c = first & (unsigned char)~FORM[n].mask;
        for (size_t i = 1; i <= n; i++) {
            unsigned char next = (unsigned char)text[i];
            if ((next & 0xc0) != 0x80) {
                return 0;
            }
            c = c << 6 | (next & 0x3f);
        }
        if (c < FORM[n].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            return 0;
        }
        *code_point = c;
        return n + 1;
    }
    return 0;
}

bool fasc_utf8_valid(const char *text)
{
    uint32_t c;
    while (*text) {
        size_t n = fasc_utf8_decode(text, &c);
        if (n == 0) {
            return false;
        }
        text += n;
    }
    return true;
}

/* Controls, zero-width and direction marks, line separators: what could hide or reorder a line. */
static bool is_printable(uint32_t c)
{
    static const uint32_t HIDDEN[][2] = {{0x00, 0x1f},     {0x7f, 0x9f},     {0x200b, 0x200f},
                                         {0x2028, 0x202e}, {0x2060, 0x2069}, {0xfeff, 0xfeff}};
    for (size_t i = 0; i < sizeof HIDDEN / sizeof *HIDDEN; i++) {
        if (c >= HIDDEN[i][0] && c <= HIDDEN[i][1]) {
            return false;
        }
    }
    return true;
}

const char *fasc_escape(char *out, size_t size, const char *text)
{
    size_t used = 0;
    out[0] = '\0';
    while (*text) {
        char piece[16];
        uint32_t c = 0;
        size_t n = fasc_utf8_decode(text, &c);
        if (n == 0) {
            snprintf(piece, sizeof piece, "\\x%02x", (unsigned char)*text);
            n = 1;
        } else if (c == '\n' || c == '\t' || c == '\\') {
            snprintf(piece, sizeof piece, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : '\\');
        } else if (is_printable(c)) {
            memcpy(piece, text, n);
            piece[n] = '\0';
        } else {
            snprintf(piece, sizeof piece, c < 0x80 ? "\\x%02x" : "\\u{%x}", (unsigned)c);
        }
        /* Room is always kept for the dots, unless this is the last piece and it fits. */
        size_t length = strlen(piece);
        if (used + length + (text[n] ? 4 : 1) > size) {
            memcpy(out + used, "...", 4);
            break;
        }
        memcpy(out + used, piece, length + 1);
        used += length;
        text += n;
    }
    return out;
}
