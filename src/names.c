/* names.c - the nearest known name, by Damerau-Levenshtein distance. */
#include "names.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 63 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to insert, delete, replace, or exchange with their neighbour, from a to b; both at most
 * LONGEST letters. */
static size_t distance(const char *a, const char *b)
{
    /* Row i holds the distances of a's first i letters to each beginning of b. */
    size_t rows[3][LONGEST + 1], columns = strlen(b);
    size_t *last = rows[0], *row = rows[1], *next = rows[2];
    for (size_t j = 0; j <= columns; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1]; i++) {
        next[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            next[j] = least(row[j - 1] + (x != y), least(row[j], next[j - 1]) + 1);
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2])) {
                next[j] = least(next[j], last[j - 2] + 1);
            }
        }
        size_t *oldest = last;
        last = row;
        row = next;
        next = oldest;
    }
    return row[columns];
}

const char *fasc_nearest_name(const char *given, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t nearest_distance = LONGEST;
    if (strlen(given) > LONGEST) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(names[i]);
        size_t allowed = length < 6 ? 1 : length / 3;
        size_t d = length <= LONGEST ? distance(given, names[i]) : LONGEST;
        if (d > 1 && strlen(given) >= 3 && strstr(names[i], given)) {
            d = 1;
        }
        if (d <= allowed && d < nearest_distance) {
            nearest = names[i];
            nearest_distance = d;
        }
    }
    return nearest;
}
