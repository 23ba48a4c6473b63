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

/* Calls add for each of what commas separate. */
static int each_item(const char *option, const char *text, size_t len,
                     int (*add)(const char *option, const char *text, size_t len, void *context,
                                struct err *err),
                     void *context, struct err *err)
{
    if (len > GPU_LIST_BYTES_MAX)
        return err_set(err, -EINVAL, "%s: longer than %d bytes", option, GPU_LIST_BYTES_MAX);
    for (;;) {
        size_t item = until(text, len, ",");
        int r = add(option, text, item, context, err);

        if (r < 0 || item == len)
            return r;
        text += item + 1;
        len -= item + 1;
    }
}

/* "3" or "0-3" into the mask. */
static int add_range(const char *option, const char *text, size_t len, void *context, struct err *err)
{
    size_t dash = until(text, len, "-");
    uint32_t *mask = context;
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
        *mask |= UINT32_C(1) << from;
    }
    return 0;
}

int gpu_list_parse(const char *option, const char *text, size_t len, uint32_t *ret_mask, struct err *err)
{
    uint32_t mask = 0;
    int r = each_item(option, text, len, add_range, &mask, err);

    if (r == 0)
        *ret_mask = mask;
    return r;
}

struct places {
    struct gpu_place *items;
    size_t n;
};

/* "node1:0-3": a new place; "6": more of the last one. */
static int add_to_place(const char *option, const char *text, size_t len, void *context, struct err *err)
{
    struct places *places = context;
    size_t colon = until(text, len, ":");

    if (colon < len) {
        if (!is_dns_subdomain(text, colon))
            return wrong(option, text, len, "NODE:NUMBERS as node1:0-3", err);
        for (size_t i = 0; i < places->n; i++)
            if (strlen(places->items[i].node) == colon && memcmp(places->items[i].node, text, colon) == 0)
                return wrong(option, text, len, "each node once", err);
        if (places->n == GPU_PLACES_MAX)
            return err_set(err, -EINVAL, "%s: more than %d nodes", option, GPU_PLACES_MAX);
        places->items[places->n] = (struct gpu_place){.host = (uint32_t)places->n};
        memcpy(places->items[places->n].node, text, colon);
        places->n++;
        text += colon + 1;
        len -= colon + 1;
    }
    if (places->n == 0)
        return wrong(option, text, len, "NODE:NUMBERS as node1:0-3", err);
    return add_range(option, text, len, &places->items[places->n - 1].mask, err);
}

int gpu_places_parse(const char *option, const char *text, size_t len, struct gpu_place *ret,
                     size_t *ret_n, struct err *err)
{
    struct places places = {ret, 0};
    int r = each_item(option, text, len, add_to_place, &places, err);

    if (r == 0)
        *ret_n = places.n;
    return r;
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
