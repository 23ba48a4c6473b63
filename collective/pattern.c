#include "collective/pattern.h"

/*
 * The multiplier of Knuth's multiplicative hash (TAOCP 6.4), so that neighbours differ widely.
 * Always odd: an odd value times two different factors below 2^32 is never the same, so a wrong
 * count of contributions always shows.
 */
static inline uint32_t value_at(uint64_t index)
{
    uint32_t low = (uint32_t)index, high = (uint32_t)(index >> 32);

    return (low ^ (high << 16)) * 2654435761u | 1u;
}

void pattern_fill(uint32_t *words, size_t n, uint64_t first_index, unsigned rank)
{
    for (size_t i = 0; i < n; i++)
        words[i] = value_at(first_index + i) * (rank + 1);
}

static size_t count_wrong(const uint32_t *words, size_t n, uint64_t first_index, uint32_t factor)
{
    size_t wrong = 0;

    for (size_t i = 0; i < n; i++)
        wrong += words[i] != value_at(first_index + i) * factor;
    return wrong;
}

size_t pattern_wrong_sum(const uint32_t *words, size_t n, uint64_t first_index, unsigned ranks)
{
    return count_wrong(words, n, first_index, (uint32_t)((uint64_t)ranks * (ranks + 1ull) / 2));
}

size_t pattern_wrong_of(const uint32_t *words, size_t n, uint64_t first_index, unsigned rank)
{
    return count_wrong(words, n, first_index, rank + 1);
}
