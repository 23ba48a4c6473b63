/* nearest.h - "did you mean": the candidate with the smallest edit distance to a mistyped name. */
#pragma once

#include <stddef.h>

/* NULL when nothing is near (more than a third of the letters differ). */
const char *nearest_name(const char *name, const char *const *candidates, size_t n);
