/* text.h - text from outside: UTF-8 checked, and made safe to print. */
#ifndef FASC_IO_TEXT_H
#define FASC_IO_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point at text and how many bytes it takes; 0 bytes where text is no valid UTF-8
 * (overlong forms and surrogates included) or is at its end. */
size_t fasc_utf8_decode(const char *text, uint32_t *code_point);

bool fasc_utf8_valid(const char *text);

/* text for a message: control characters, characters that turn or hide text, backslashes and
 * bytes that are no UTF-8 become \n, \x1b or \u{202e}; what does not fit ends in "...". Returns
 * out. size is at least 16. */
const char *fasc_escape(char *out, size_t size, const char *text);

#endif
