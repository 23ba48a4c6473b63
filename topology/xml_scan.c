#include "topology/xml_scan.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/parse.h"

#define NAME_MAX_BYTES 64
#define FOUND_SHOWN 40

struct scan {
    const char *name, *at, *end;
    unsigned line, depth, elements;
    struct xml_piece open[XML_DEPTH_MAX], root;
    const struct xml_visitor *visitor;
    struct err *err;
};

int xml_piece_is(struct xml_piece piece, const char *text)
{
    return piece.len == strlen(text) && memcmp(piece.at, text, piece.len) == 0;
}

static int bad(const struct scan *scan, const char *expected)
{
    size_t left = (size_t)(scan->end - scan->at), shown = 0;

    while (shown < left && shown < FOUND_SHOWN && isprint((unsigned char)scan->at[shown]))
        shown++;
    if (left == 0)
        return err_set(scan->err, -EINVAL, "%s:%u: found the end of the text, expected %s", scan->name,
                       scan->line, expected);
    return err_set(scan->err, -EINVAL, "%s:%u: found '%.*s', expected %s", scan->name, scan->line,
                   (int)shown, scan->at, expected);
}

static void step(struct scan *scan)
{
    scan->line += *scan->at == '\n';
    scan->at++;
}

static bool next_is(const struct scan *scan, const char *text)
{
    size_t len = strlen(text);

    return (size_t)(scan->end - scan->at) >= len && memcmp(scan->at, text, len) == 0;
}

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end && isspace((unsigned char)*scan->at))
        step(scan);
}

static int skip_past(struct scan *scan, const char *text)
{
    while (scan->at < scan->end && !next_is(scan, text))
        step(scan);
    if (scan->at == scan->end)
        return bad(scan, text);
    scan->at += strlen(text);
    return 0;
}

static int read_name(struct scan *scan, struct xml_piece *ret)
{
    const char *from = scan->at;

    if (scan->at == scan->end || !(isalpha((unsigned char)*scan->at) || *scan->at == '_'))
        return bad(scan, "a name");
    while (scan->at < scan->end && (isalnum((unsigned char)*scan->at) || strchr("_-.:", *scan->at)))
        scan->at++;
    *ret = (struct xml_piece){from, (size_t)(scan->at - from)};
    if (ret->len <= NAME_MAX_BYTES)
        return 0;
    scan->at = from;
    return bad(scan, "a name of at most 64 bytes");
}

/* Of entities only those that XML itself has, and characters by number. */
static int skip_reference(struct scan *scan)
{
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&apos;"};
    const char *at = scan->at + 2;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (next_is(scan, known[i])) {
            scan->at += strlen(known[i]);
            return 0;
        }
    if (!next_is(scan, "&#"))
        return bad(scan, "no entity but amp, lt, gt, quot and apos");
    while (at < scan->end && at - scan->at < 10 && isxdigit((unsigned char)*at))
        at++;
    if (at == scan->end || *at != ';' || at == scan->at + 2)
        return bad(scan, "a character by its number");
    scan->at = at + 1;
    return 0;
}

static int read_value(struct scan *scan, struct xml_piece *ret)
{
    char quote = scan->at < scan->end ? *scan->at : '\0';
    const char *from = scan->at + 1;

    if (quote != '"' && quote != '\'')
        return bad(scan, "a value in quotes");
    step(scan);
    while (scan->at < scan->end && *scan->at != quote) {
        if (*scan->at == '<' || scan->at - from >= XML_VALUE_MAX)
            return bad(scan, "the end of a value of at most 64 KiB");
        if (*scan->at != '&')
            step(scan);
        else if (skip_reference(scan) < 0)
            return -EINVAL;
    }
    if (scan->at == scan->end)
        return bad(scan, "the end of a value");
    *ret = (struct xml_piece){from, (size_t)(scan->at - from)};
    scan->at++;
    return 0;
}

static int visit(const struct scan *scan, struct xml_piece element, struct xml_piece attribute,
                 struct xml_piece value)
{
    const struct xml_visitor *visitor = scan->visitor;

    if (!visitor)
        return 0;
    return visitor->attribute(visitor->context, scan->line, element, attribute, value, scan->err);
}

/* Up to '>' or '/>'. */
static int read_attributes(struct scan *scan, struct xml_piece element)
{
    static const struct xml_piece nothing = {"", 0};
    unsigned n = 0;

    for (;;) {
        struct xml_piece attribute = {"", 0}, value = {"", 0};
        int r;

        skip_blanks(scan);
        if (scan->at < scan->end && (*scan->at == '>' || *scan->at == '/'))
            return n == 0 ? visit(scan, element, nothing, nothing) : 0;
        if (n++ == XML_ATTRIBUTES_MAX)
            return bad(scan, "at most 64 attributes");
        if (read_name(scan, &attribute) < 0)
            return -EINVAL;
        skip_blanks(scan);
        if (scan->at == scan->end || *scan->at != '=')
            return bad(scan, "'=' after the name of an attribute");
        scan->at++;
        skip_blanks(scan);
        r = read_value(scan, &value);
        if (r == 0)
            r = visit(scan, element, attribute, value);
        if (r < 0)
            return r;
    }
}

static int read_element(struct scan *scan)
{
    struct xml_piece element = {"", 0};
    int r;

    if (scan->elements++ == XML_ELEMENTS_MAX)
        return bad(scan, "at most 200000 elements");
    if (scan->depth == 0 && scan->root.len)
        return bad(scan, "one root element");
    if (scan->depth == XML_DEPTH_MAX)
        return bad(scan, "elements nested at most 64 deep");
    scan->at++;
    if (read_name(scan, &element) < 0)
        return -EINVAL;
    if (!scan->root.len)
        scan->root = element;
    r = read_attributes(scan, element);
    if (r < 0)
        return r;
    if (next_is(scan, "/>")) {
        scan->at += 2;
        return 0;
    }
    if (*scan->at != '>')
        return bad(scan, "'>' or '/>'");
    scan->at++;
    scan->open[scan->depth++] = element;
    return 0;
}

static int read_end(struct scan *scan)
{
    struct xml_piece element = {"", 0}, open;
    const char *from = scan->at;

    scan->at += 2;
    if (read_name(scan, &element) < 0)
        return -EINVAL;
    open = scan->depth ? scan->open[scan->depth - 1] : (struct xml_piece){"", 0};
    if (element.len != open.len || memcmp(element.at, open.at, open.len) != 0) {
        scan->at = from;
        return bad(scan, "the end of the element that is open");
    }
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != '>')
        return bad(scan, "'>'");
    scan->at++;
    scan->depth--;
    return 0;
}

/* <!DOCTYPE topology SYSTEM "hwloc2.dtd">, as hwloc writes it: the file is never read. */
static int read_doctype(struct scan *scan)
{
    if (scan->root.len)
        return bad(scan, "no DOCTYPE after the root element began");
    while (scan->at < scan->end && *scan->at != '>') {
        if (*scan->at == '[')
            return bad(scan, "a DOCTYPE without declarations of its own");
        step(scan);
    }
    if (scan->at == scan->end)
        return bad(scan, "the end of the DOCTYPE");
    scan->at++;
    return 0;
}

static int read_text(struct scan *scan)
{
    if (*scan->at == '&')
        return scan->depth ? skip_reference(scan) : bad(scan, "an element");
    if (scan->depth == 0 && !isspace((unsigned char)*scan->at))
        return bad(scan, scan->root.len ? "nothing after the root element" : "an element");
    step(scan);
    return 0;
}

static int read_next(struct scan *scan)
{
    if (*scan->at != '<')
        return read_text(scan);
    if (next_is(scan, "<?"))
        return skip_past(scan, "?>");
    if (next_is(scan, "<!--"))
        return skip_past(scan, "-->");
    if (next_is(scan, "<!DOCTYPE"))
        return read_doctype(scan);
    if (next_is(scan, "<!"))
        return bad(scan, "no declaration and no CDATA");
    return next_is(scan, "</") ? read_end(scan) : read_element(scan);
}

int xml_scan(const char *name, const char *text, size_t len, const struct xml_visitor *visitor,
             struct xml_piece *ret_root, struct err *err)
{
    struct scan scan = {.name = name, .at = text, .end = text + len, .line = 1, .visitor = visitor,
                        .err = err};
    int r = 0;

    if (len > XML_BYTES_MAX)
        return err_set(err, -EINVAL, "%s: found %zu bytes, expected at most %d", name, len,
                       XML_BYTES_MAX);
    if (memchr(text, '\0', len) || !utf8_valid(text, len))
        return err_set(err, -EINVAL, "%s: found bytes that are no text, expected UTF-8 without NUL",
                       name);
    while (r == 0 && scan.at < scan.end)
        r = read_next(&scan);
    if (r == 0 && (scan.depth || !scan.root.len))
        r = bad(&scan, scan.root.len ? "the end of an element" : "an element");
    if (r == 0 && ret_root)
        *ret_root = scan.root;
    return r;
}
