/* nearest.c - the known name that a mistyped word most likely means. */
#include <string.h>

#include "host.h"

#define LONGEST 64

static int min3(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}

/* Levenshtein distance, one row at a time. */
static int edit_distance(const char *a, const char *b)
{
    size_t m = strlen(a), n = strlen(b);
    if (m > LONGEST || n > LONGEST) {
        return LONGEST;
    }
    int row[LONGEST + 1];
    for (size_t j = 0; j <= n; j++) {
        row[j] = (int)j;
    }
    for (size_t i = 1; i <= m; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            int cost = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = min3(cost, row[j] + 1, row[j - 1] + 1);
        }
    }
    return row[n];
}

const char *host_nearest(const char *word, const char *const *names, int count)
{
    const char *best = NULL;
    int least = (int)strlen(word) / 2 + 1; /* more than half of it wrong is another word */
    for (int i = 0; i < count; i++) {
        bool part = strlen(word) >= 3 && strstr(names[i], word);
        int distance = part ? 1 : edit_distance(word, names[i]);
        if (distance < least) {
            least = distance;
            best = names[i];
        }
    }
    return best;
}
