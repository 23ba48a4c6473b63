/* A trace as CSV: the plain kind, one gang a line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "scheduler/simulate/trace_internal.h"

#define LINE_MAX_BYTES 1024
#define FOUND_SHOWN 80

struct field {
    const char *text;
    size_t len;
};

struct line {
    struct field fields[TRACE_COLUMNS_MAX];
    size_t n;
    unsigned number;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct field trim(const char *text, size_t len)
{
    while (len > 0 && is_blank(text[0])) {
        text++;
        len--;
    }
    while (len > 0 && is_blank(text[len - 1]))
        len--;
    return (struct field){text, len};
}

/* It may stand in a message. */
static bool is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)text[i] < ' ' && text[i] != '\t') || text[i] == 0x7f)
            return false;
    return utf8_valid(text, len);
}

static int check_line(const struct trace_reading *reading, unsigned number, const char *text,
                      size_t len)
{
    if (len > LINE_MAX_BYTES)
        return err_set(reading->err, -E2BIG, "%s:%u: found a line of %zu bytes, expected at most %d",
                       reading->file, number, len, LINE_MAX_BYTES);
    if (!is_plain(text, len))
        return err_set(reading->err, -EINVAL, "%s:%u: found control characters or no UTF-8, expected text",
                       reading->file, number);
    if (memchr(text, '"', len))
        return err_set(reading->err, -EINVAL,
                       "%s:%u: found a quote, expected plain fields: quoted ones are not read",
                       reading->file, number);
    return 0;
}

static int split(const struct trace_reading *reading, const char *text, size_t len,
                 struct line *ret)
{
    int r = check_line(reading, ret->number, text, len);

    ret->n = 0;
    while (r == 0) {
        const char *comma = memchr(text, ',', len);
        size_t width = comma ? (size_t)(comma - text) : len;

        if (ret->n == TRACE_COLUMNS_MAX)
            return err_set(reading->err, -E2BIG, "%s:%u: more than %d fields", reading->file,
                           ret->number, TRACE_COLUMNS_MAX);
        ret->fields[ret->n++] = trim(text, width);
        if (!comma)
            return 0;
        text += width + 1;
        len -= width + 1;
    }
    return r;
}

static int unknown_column(const struct trace_reading *reading, const struct line *line,
                          const struct field *field)
{
    char name[FOUND_SHOWN + 1];
    size_t len = field->len < FOUND_SHOWN ? field->len : FOUND_SHOWN;
    const char *near;

    memcpy(name, field->text, len);
    name[len] = '\0';
    near = trace__nearest_column(name);
    return err_set(reading->err, -EINVAL, "%s:%u: unknown column '%s'%s%s%s", reading->file,
                   line->number, name, near ? ", did you mean '" : "", near ? near : "",
                   near ? "'?" : ", expected a header: name,submit_s,duration_s,pods,gpus and "
                                 "optional priority, required, preferred");
}

/* Which column each field of the lines below belongs to. */
static int read_header(const struct trace_reading *reading, const struct line *line,
                       size_t ret_columns[TRACE_COLUMNS_MAX])
{
    bool seen[TRACE_COLUMNS_MAX] = {false};

    for (size_t i = 0; i < line->n; i++) {
        int column = trace__column(line->fields[i].text, line->fields[i].len);

        if (column < 0)
            return unknown_column(reading, line, &line->fields[i]);
        if (seen[column])
            return err_set(reading->err, -EINVAL, "%s:%u: column '%s' stands twice", reading->file,
                           line->number, trace__column_name((size_t)column));
        seen[column] = true;
        ret_columns[i] = (size_t)column;
    }
    return 0;
}

static int read_row(struct trace_reading *reading, const struct line *line, const size_t *columns,
                    size_t ncolumns)
{
    struct trace_row row;
    int r = 0;

    if (line->n != ncolumns)
        return err_set(reading->err, -EINVAL, "%s:%u: found %zu fields, expected %zu as in the header",
                       reading->file, line->number, line->n, ncolumns);
    trace__row_init(&row);
    row.line = line->number;
    for (size_t i = 0; i < ncolumns && r == 0; i++)
        r = trace__set(reading, &row, columns[i], line->fields[i].text, line->fields[i].len);
    if (r == 0)
        r = trace__row_take(reading, &row);
    free(row.gang.name);
    return r;
}

static size_t skip_bom(const char *text, size_t len)
{
    return len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

int trace__read_csv(struct trace_reading *reading, const char *text, size_t len)
{
    size_t columns[TRACE_COLUMNS_MAX] = {0}, ncolumns = 0;
    struct line line = {.number = 0};
    size_t next;
    int r = 0;

    for (size_t at = skip_bom(text, len); at < len && r == 0; at = next) {
        const char *end = memchr(text + at, '\n', len - at);
        struct field whole = trim(text + at, (end ? (size_t)(end - text) : len) - at);

        next = end ? (size_t)(end - text) + 1 : len;
        line.number++;
        if (whole.len == 0 || whole.text[0] == '#')
            continue;
        r = split(reading, whole.text, whole.len, &line);
        if (r == 0 && ncolumns > 0) {
            r = read_row(reading, &line, columns, ncolumns);
        } else if (r == 0) {
            r = read_header(reading, &line, columns);
            ncolumns = line.n;
        }
    }
    return r;
}
