/* names.c - the nearest known name, by Levenshtein distance. */
#include "names.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 63 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions and substitutions from a to b; both at most LONGEST letters. */
static size_t distance(const char *a, const char *b)
{
    size_t row[LONGEST + 1], columns = strlen(b);
    for (size_t j = 0; j <= columns; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t differ = tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]);
            size_t best = least(diagonal + differ, least(row[j], row[j - 1]) + 1);
            diagonal = row[j];
            row[j] = best;
        }
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
        if (d <= allowed && d < nearest_distance) {
            nearest = names[i];
            nearest_distance = d;
        }
    }
    return nearest;
}
