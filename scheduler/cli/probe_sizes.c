/* --sizes of lockstep probe. */
#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "scheduler/cli/probe_show.h"

static int parse_size(const char *text, size_t len, uint64_t *ret, struct err *err)
{
    static const char units[] = "KMGT";
    const char *unit = len > 1 && text[len - 1] ? strchr(units, text[len - 1]) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    uint64_t number;

    if (parse_u64(text, unit ? len - 1 : len, MEASURE_BYTES_MAX >> shift, &number) < 0 ||
        number == 0)
        return err_set(err, -EINVAL, "--sizes '%.*s': expected a size as 64K, 1M or 2G, at most 1T",
                       (int)(len < 64 ? len : 64), text);
    *ret = number << shift;
    return 0;
}

static int add_size(struct measure_plan *plan, uint64_t bytes, struct err *err)
{
    if (plan->n_sizes == MEASURE_SIZES_MAX)
        return err_set(err, -EINVAL, "--sizes: expected at most %d", MEASURE_SIZES_MAX);
    if (plan->n_sizes && bytes <= plan->sizes[plan->n_sizes - 1])
        return err_set(err, -EINVAL, "--sizes: expected ascending ones");
    plan->sizes[plan->n_sizes++] = bytes;
    return 0;
}

static size_t until(const char *text, size_t len, char mark)
{
    const char *at = memchr(text, mark, len);

    return at ? (size_t)(at - text) : len;
}

static int parse_range(const char *text, size_t len, struct measure_plan *plan, struct err *err)
{
    size_t first = until(text, len, ':'), second;
    uint64_t from = 0, to = 0, factor = 2;
    const char *rest = text + first + 1;
    int r = parse_size(text, first, &from, err);

    if (r < 0)
        return r;
    second = until(rest, len - first - 1, ':');
    r = parse_size(rest, second, &to, err);
    if (r < 0)
        return r;
    if (first + 1 + second < len &&
        (parse_u64(rest + second + 1, len - first - second - 2, 1024, &factor) < 0 || factor < 2))
        return err_set(err, -EINVAL,
                       "--sizes: expected a factor from 2 to 1024 after the second colon");
    if (to < from)
        return err_set(err, -EINVAL, "--sizes: expected the smaller size first");
    for (; r == 0 && from <= to; from *= factor)
        r = add_size(plan, from, err);
    return r;
}

int probe_sizes_parse(const char *text, size_t len, struct measure_plan *plan, struct err *err)
{
    struct measure_plan found = *plan;
    int r = 0;

    found.n_sizes = 0;
    if (memchr(text, ':', len)) {
        r = parse_range(text, len, &found, err);
    } else {
        for (size_t at = 0; r == 0 && at <= len;) {
            size_t part = until(text + at, len - at, ',');
            uint64_t bytes = 0;

            r = parse_size(text + at, part, &bytes, err);
            if (r == 0)
                r = add_size(&found, bytes, err);
            at += part + 1;
        }
    }
    if (r < 0)
        return r;
    found.sweep = true;
    *plan = found;
    return 0;
}
