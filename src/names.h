/* names.h - the nearest known name to a mistyped one, for error messages. */
#ifndef FASC_NAMES_H
#define FASC_NAMES_H

#include <stddef.h>

/* The one of `count` names that takes the fewest single-letter edits to reach from `given`, case
 * ignored; NULL when none is near (at most a third of its letters, and at least one, may differ).
 * A name that contains the whole of `given`, of three letters at least, counts as one edit away. */
const char *fasc_nearest_name(const char *given, const char *const *names, size_t count);

#endif
