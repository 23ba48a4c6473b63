#include "collective/pattern.h"

/* Odd multiplier of Knuth's multiplicative hash (TAOCP 6.4), and a bit of the upper half: neighbours differ widely. */
static inline uint32_t value_at(uint64_t index)
{
    uint32_t low = (uint32_t)index, high = (uint32_t)(index >> 32);

    return (low ^ (high << 16)) * 2654435761u + 0x9e3779b9u;
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
