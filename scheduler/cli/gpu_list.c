#include "scheduler/cli/gpu_list.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"

#define GPU_NUMBER_MAX 31

static size_t until(const char *text, size_t len, const char *stops)
{
    size_t n = 0;

    while (n < len && !strchr(stops, text[n]))
        n++;
    return n;
}

static int wrong(const char *option, const char *text, size_t len, const char *expected, struct err *err)
{
    return err_set(err, -EINVAL, "%s: found '%.*s', expected %s", option, len > 60 ? 60 : (int)len, text,
                   expected);
}

/* "3" or "0-3" into the mask. */
static int add_range(const char *option, const char *text, size_t len, uint32_t *mask, struct err *err)
{
    size_t dash = until(text, len, "-");
    uint64_t from, to;

    if (parse_u64(text, dash, GPU_NUMBER_MAX, &from) < 0)
        return wrong(option, text, len, "a number from 0 to 31, or a range as 0-3", err);
    to = from;
    if (dash < len && parse_u64(text + dash + 1, len - dash - 1, GPU_NUMBER_MAX, &to) < 0)
        return wrong(option, text, len, "a number from 0 to 31, or a range as 0-3", err);
    if (to < from)
        return wrong(option, text, len, "a range from low to high", err);
    for (; from <= to; from++) {
        if (*mask >> from & 1)
            return wrong(option, text, len, "each number once", err);
        *mask |= 1u << from;
    }
    return 0;
}

int gpu_list_parse(const char *option, const char *text, size_t len, uint32_t *ret_mask, struct err *err)
{
    uint32_t mask = 0;

    if (len > GPU_LIST_BYTES_MAX)
        return err_set(err, -EINVAL, "%s: longer than %d bytes", option, GPU_LIST_BYTES_MAX);
    for (;;) {
        size_t item = until(text, len, ",");
        int r = add_range(option, text, item, &mask, err);

        if (r < 0)
            return r;
        if (item == len)
            break;
        text += item + 1;
        len -= item + 1;
    }
    *ret_mask = mask;
    return 0;
}

/* "node1:0-3": a new place; "6": more of the last one. */
static int add_to_place(const char *option, const char *text, size_t len, struct gpu_place *places,
                        size_t *n, struct err *err)
{
    size_t colon = until(text, len, ":");

    if (colon < len) {
        if (!is_dns_subdomain(text, colon))
            return wrong(option, text, len, "NODE:NUMBERS as node1:0-3", err);
        for (size_t i = 0; i < *n; i++)
            if (strlen(places[i].node) == colon && memcmp(places[i].node, text, colon) == 0)
                return wrong(option, text, len, "each node once", err);
        if (*n == GPU_PLACES_MAX)
            return err_set(err, -EINVAL, "%s: more than %d nodes", option, GPU_PLACES_MAX);
        places[*n] = (struct gpu_place){.host = (uint32_t)*n};
        memcpy(places[*n].node, text, colon);
        (*n)++;
        text += colon + 1;
        len -= colon + 1;
    }
    if (*n == 0)
        return wrong(option, text, len, "NODE:NUMBERS as node1:0-3", err);
    return add_range(option, text, len, &places[*n - 1].mask, err);
}

int gpu_places_parse(const char *option, const char *text, size_t len, struct gpu_place *ret,
                     size_t *ret_n, struct err *err)
{
    size_t n = 0;

    if (len > GPU_LIST_BYTES_MAX)
        return err_set(err, -EINVAL, "%s: longer than %d bytes", option, GPU_LIST_BYTES_MAX);
    for (;;) {
        size_t item = until(text, len, ",");
        int r = add_to_place(option, text, item, ret, &n, err);

        if (r < 0)
            return r;
        if (item == len)
            break;
        text += item + 1;
        len -= item + 1;
    }
    *ret_n = n;
    return 0;
}

int gpu_shape_parse(const char *option, const char *text, size_t len, struct gpu_place *ret,
                    size_t *ret_n, struct err *err)
{
    uint32_t host = 0;
    size_t n = 0;

    if (len > GPU_LIST_BYTES_MAX)
        return err_set(err, -EINVAL, "%s: longer than %d bytes", option, GPU_LIST_BYTES_MAX);
    for (;;) {
        size_t item = until(text, len, "+,");
        uint64_t count;

        if (parse_u64(text, item, GPU_NUMBER_MAX + 1, &count) < 0 || count == 0)
            return wrong(option, text, item, "GPUs of each pod from 1 to 32, as 8,8,4 or 4+4,8", err);
        if (n == GPU_PLACES_MAX)
            return err_set(err, -EINVAL, "%s: more than %d pods", option, GPU_PLACES_MAX);
        ret[n++] = (struct gpu_place){.count = (uint32_t)count, .host = host};
        if (item == len)
            break;
        host += text[item] == ',';
        text += item + 1;
        len -= item + 1;
    }
    *ret_n = n;
    return 0;
}
