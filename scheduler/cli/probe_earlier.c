/* --against of lockstep probe: an earlier result. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "scheduler/cli/probe_show.h"

static int read_row(const json_t *row, struct probe_earlier *earlier)
{
    const json_t *bytes = json_object_get(row, "bytes"), *rate = json_object_get(row, "busbw_gb_s");
    double value = json_number_value(rate);

    if (!json_is_integer(bytes) || json_integer_value(bytes) < 0 || !json_is_number(rate) ||
        !isfinite(value) || value < 0 || earlier->n_rows == MEASURE_SIZES_MAX)
        return -EINVAL;
    earlier->bytes[earlier->n_rows] = (uint64_t)json_integer_value(bytes);
    earlier->row_gb_s[earlier->n_rows++] = value;
    return 0;
}

static int check_kind(const char *name, const json_t *root, const struct local_options *options,
                      struct err *err)
{
    const char *op = json_string_value(json_object_get(root, "op"));
    const char *backend = json_string_value(json_object_get(root, "backend"));
    const json_t *ranks = json_object_get(root, "ranks");

    if (!op || !backend || !json_is_integer(ranks))
        return err_set(err, -EINVAL,
                       "%s: expected what `lockstep probe -o json` prints: op, backend, ranks",
                       name);
    if (strcmp(op, op_name(options->plan.op)) != 0 || strcmp(backend, options->backend) != 0 ||
        json_integer_value(ranks) != (json_int_t)options->ranks)
        return err_set(err, -EINVAL,
                       "%s: found %.32s over %.32s of %lld ranks, expected %s over %s of %u", name,
                       op, backend, (long long)json_integer_value(ranks), op_name(options->plan.op),
                       options->backend, options->ranks);
    return 0;
}

static int read_rates(const char *name, const json_t *root, struct probe_earlier *earlier,
                      struct err *err)
{
    const json_t *rate = json_object_get(root, "busbw_gb_s"), *rows = json_object_get(root, "rows");
    size_t i;
    json_t *row;

    earlier->busbw_gb_s = json_number_value(rate);
    if (!json_is_number(rate) || !isfinite(earlier->busbw_gb_s) || earlier->busbw_gb_s <= 0)
        return err_set(err, -EINVAL, "%s: busbw_gb_s: expected a number above 0", name);
    json_array_foreach((json_t *)(uintptr_t)rows, i, row)
    {
        if (read_row(row, earlier) < 0)
            return err_set(err, -EINVAL,
                           "%s: rows[%zu]: expected bytes and busbw_gb_s, at most %d rows", name, i,
                           MEASURE_SIZES_MAX);
    }
    return 0;
}

int probe_earlier_parse(const char *name, const char *text, size_t len,
                        const struct local_options *options, struct probe_earlier *ret,
                        struct err *err)
{
    struct probe_earlier earlier = {.path = name};
    json_error_t where;
    json_t *root = json_loadb(text, len, 0, &where);
    int r;

    if (!root)
        return err_set(err, -EINVAL, "%s:%d: %s, expected the JSON of an earlier probe", name,
                       where.line, where.text);
    r = check_kind(name, root, options, err);
    if (r == 0)
        r = read_rates(name, root, &earlier, err);
    json_decref(root);
    if (r == 0)
        *ret = earlier;
    return r;
}
