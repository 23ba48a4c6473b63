#include "base/nearest.h"

#include <string.h>

#define NAME_MAX_LEN 64

static size_t least(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;

    return m < c ? m : c;
}

/* Levenshtein distance by one row of the table. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_LEN + 1], la = strlen(a), lb = strlen(b);

    if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN)
        return NAME_MAX_LEN;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t above = row[j];

            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[lb];
}

const char *nearest_name(const char *name, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t best_distance = strlen(name) / 3 + 2;

    for (size_t i = 0; i < n; i++) {
        size_t d = distance(name, candidates[i]);

        if (d >= best_distance)
            continue;
        best = candidates[i];
        best_distance = d;
    }
    return best;
}
