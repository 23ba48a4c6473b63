/* Sorting without allocating: few keys by insertion, many by radix, a byte at a time from the low end. */
#include <string.h>

#include "scheduler/plan/plan_internal.h"

#define FEW 48

static void insert_sort(uint64_t *keys, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        uint64_t key = keys[i];
        uint32_t at = i;

        for (; at > 0 && keys[at - 1] > key; at--)
            keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

void plan__sort(uint64_t *keys, uint64_t *spare, uint32_t n)
{
    uint64_t *from = keys, *to = spare, differ = 0;

    if (n <= FEW) {
        insert_sort(keys, n);
        return;
    }
    for (uint32_t i = 1; i < n; i++)
        differ |= keys[i] ^ keys[0];
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint32_t start[256] = {0}, sum = 0;
        uint64_t *was = from;

        if ((differ >> shift & 0xff) == 0)
            continue; /* all alike in this byte */
        for (uint32_t i = 0; i < n; i++)
            start[from[i] >> shift & 0xff]++;
        for (unsigned b = 0; b < 256; b++) {
            uint32_t count = start[b];

            start[b] = sum;
            sum += count;
        }
        for (uint32_t i = 0; i < n; i++)
            to[start[from[i] >> shift & 0xff]++] = from[i];
        from = to;
        to = was;
    }
    if (from != keys)
        memcpy(keys, from, n * sizeof(*keys));
}
