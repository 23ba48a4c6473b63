#include "topology/gpu_set.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

void gpu_set_text(uint32_t set, char ret[GPU_SET_TEXT])
{
    size_t at = 0;

    ret[0] = '\0';
    for (unsigned i = 0, end; i < 32; i = end) {
        end = i + 1;
        if (!(set >> i & 1))
            continue;
        while (end < 32 && set >> end & 1)
            end++;
        if (end == i + 1)
            at += (size_t)snprintf(ret + at, GPU_SET_TEXT - at, "%s%u", at ? "," : "", i);
        else
            at += (size_t)snprintf(ret + at, GPU_SET_TEXT - at, "%s%u-%u", at ? "," : "", i, end - 1);
    }
}

/* "3" or "3-5" */
static int parse_range(const char *text, size_t len, uint32_t n, uint64_t *ret_first, uint64_t *ret_last)
{
    const char *dash = memchr(text, '-', len);
    size_t first = dash ? (size_t)(dash - text) : len;
    int r = parse_u64(text, first, n - 1, ret_first);

    *ret_last = *ret_first;
    if (r == 0 && dash)
        r = parse_u64(dash + 1, len - first - 1, n - 1, ret_last);
    return r == 0 && *ret_last < *ret_first ? -EINVAL : r;
}

int gpu_set_parse(const char *text, size_t len, uint32_t n, uint32_t *ret_set)
{
    uint32_t set = 0;

    if (n == 0 || n > 32)
        return -ERANGE;
    for (size_t at = 0; at <= len;) {
        const char *comma = at < len ? memchr(text + at, ',', len - at) : NULL;
        size_t end = comma ? (size_t)(comma - text) : len;
        uint64_t first = 0, last = 0;
        int r = parse_range(text + at, end - at, n, &first, &last);

        if (r < 0)
            return r;
        for (uint64_t i = first; i <= last; i++) {
            if (set >> i & 1)
                return -EINVAL;
            set |= UINT32_C(1) << i;
        }
        at = end + 1;
    }
    *ret_set = set;
    return 0;
}
