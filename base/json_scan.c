#include "base/json_scan.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"

void json_scan_init(struct json_scan *scan, const char *text, size_t len)
{
    *scan = (struct json_scan){.text = text, .len = len, .first = true};
}

static int peek(struct json_scan *scan)
{
    while (scan->at < scan->len && strchr(" \t\r\n", scan->text[scan->at]) &&
           scan->text[scan->at] != '\0')
        scan->at++;
    return scan->at < scan->len ? (unsigned char)scan->text[scan->at] : -1;
}

static int expect(struct json_scan *scan, char c)
{
    if (peek(scan) != c)
        return -EINVAL;
    scan->at++;
    return 0;
}

/* ---- strings ---------------------------------------------------------------------------------- */

static int hex4(const char *text, size_t len, unsigned *ret)
{
    *ret = 0;
    if (len < 4)
        return -EINVAL;
    for (size_t i = 0; i < 4; i++) {
        char c = text[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 16;

        if (digit == 16)
            return -EINVAL;
        *ret = *ret * 16 + digit;
    }
    return 0;
}

/* One escape at text[0] = '\\': how many bytes it takes and which character it is; -EINVAL. */
static int read_escape(const char *text, size_t len, unsigned *ret_char)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *known = len > 1 && text[1] ? strchr(from, text[1]) : NULL;
    unsigned high, low;

    if (known) {
        *ret_char = (unsigned char)to[known - from];
        return 2;
    }
    if (len < 2 || text[1] != 'u' || hex4(text + 2, len - 2, &high) < 0 || high == 0 ||
        (high >= 0xdc00 && high <= 0xdfff))
        return -EINVAL;
    *ret_char = high;
    if (high < 0xd800 || high > 0xdbff)
        return 6;
    if (len < 12 || text[6] != '\\' || text[7] != 'u' || hex4(text + 8, 4, &low) < 0 ||
        low < 0xdc00 || low > 0xdfff)
        return -EINVAL;
    *ret_char = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    return 12;
}

int json_scan_string(struct json_scan *scan, struct json_span *ret_text, bool *ret_escaped)
{
    size_t start, at;
    bool escaped = false, plain = true;
    int r = expect(scan, '"');

    if (r < 0)
        return r;
    for (start = at = scan->at; at < scan->len && scan->text[at] != '"'; at++) {
        unsigned char c = (unsigned char)scan->text[at];
        unsigned ignored;

        if (c < 0x20)
            return -EINVAL;
        plain &= c < 0x80;
        if (c != '\\')
            continue;
        r = read_escape(scan->text + at, scan->len - at, &ignored);
        if (r < 0)
            return r;
        at += (size_t)r - 1;
        escaped = true;
    }
    if (at >= scan->len || (!plain && !utf8_valid(scan->text + start, at - start)))
        return -EINVAL;
    *ret_text = (struct json_span){scan->text + start, at - start};
    *ret_escaped = escaped;
    scan->at = at + 1;
    return 0;
}

static size_t put_utf8(unsigned c, char *ret)
{
    if (c < 0x80) {
        ret[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        ret[0] = (char)(0xc0 | c >> 6);
        ret[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        ret[0] = (char)(0xe0 | c >> 12);
        ret[1] = (char)(0x80 | (c >> 6 & 0x3f));
        ret[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    ret[0] = (char)(0xf0 | c >> 18);
    ret[1] = (char)(0x80 | (c >> 12 & 0x3f));
    ret[2] = (char)(0x80 | (c >> 6 & 0x3f));
    ret[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

int json_scan_unescape(struct json_span raw, char *ret, size_t size)
{
    size_t out = 0;

    for (size_t at = 0; at < raw.len;) {
        unsigned c;
        int r;

        if (out + 5 > size)
            return -E2BIG;
        if (raw.text[at] != '\\') {
            ret[out++] = raw.text[at++];
            continue;
        }
        r = read_escape(raw.text + at, raw.len - at, &c);
        if (r < 0)
            return r;
        at += (size_t)r;
        out += put_utf8(c, ret + out);
    }
    if (out >= size)
        return -E2BIG;
    ret[out] = '\0';
    return 0;
}

/* ---- other values -------------------------------------------------------------------------------- */

static size_t digits(const struct json_scan *scan, size_t at)
{
    size_t n = 0;

    while (at + n < scan->len && scan->text[at + n] >= '0' && scan->text[at + n] <= '9')
        n++;
    return n;
}

/* RFC 8259 number; its size is not checked, as nobody reads it. */
static int skip_number(struct json_scan *scan)
{
    size_t at = scan->at + (scan->text[scan->at] == '-'), n = digits(scan, at);

    if (n == 0 || (n > 1 && scan->text[at] == '0'))
        return -EINVAL;
    at += n;
    if (at < scan->len && scan->text[at] == '.') {
        n = digits(scan, at + 1);
        if (n == 0)
            return -EINVAL;
        at += n + 1;
    }
    if (at < scan->len && (scan->text[at] == 'e' || scan->text[at] == 'E')) {
        at++;
        if (at < scan->len && (scan->text[at] == '+' || scan->text[at] == '-'))
            at++;
        n = digits(scan, at);
        if (n == 0)
            return -EINVAL;
        at += n;
    }
    scan->at = at;
    return 0;
}

static int skip_word(struct json_scan *scan)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(words[i]);

        if (scan->len - scan->at < len || memcmp(scan->text + scan->at, words[i], len) != 0)
            continue;
        scan->at += len;
        return 0;
    }
    return -EINVAL;
}

static int skip_scalar(struct json_scan *scan)
{
    struct json_span text;
    bool escaped;
    int c = peek(scan);

    if (c == '"')
        return json_scan_string(scan, &text, &escaped);
    if (c == '-' || (c >= '0' && c <= '9'))
        return skip_number(scan);
    return c < 0 ? -EINVAL : skip_word(scan);
}

/* Iterative, so that nesting costs a bit of a word and not stack. */
static int skip_value(struct json_scan *scan)
{
    char open[JSON_SCAN_DEPTH_MAX];
    size_t depth = 0;
    struct json_span key;
    bool escaped;

    for (;;) {
        int c = peek(scan);

        if (c == '{' || c == '[') {
            if (depth == JSON_SCAN_DEPTH_MAX)
                return -EINVAL;
            open[depth++] = (char)c;
            scan->at++;
            c = peek(scan);
            if (c != (open[depth - 1] == '{' ? '}' : ']')) {
                if (open[depth - 1] == '{' && (json_scan_string(scan, &key, &escaped) < 0 ||
                                               expect(scan, ':') < 0))
                    return -EINVAL;
                continue;
            }
        } else if (skip_scalar(scan) < 0) {
            return -EINVAL;
        }
        /* Behind a value (or in front of the end of an empty one): close what ends here. */
        while (depth > 0 && peek(scan) == (open[depth - 1] == '{' ? '}' : ']')) {
            scan->at++;
            depth--;
        }
        if (depth == 0)
            return 0;
        if (expect(scan, ',') < 0)
            return -EINVAL;
        if (open[depth - 1] == '{' &&
            (json_scan_string(scan, &key, &escaped) < 0 || expect(scan, ':') < 0))
            return -EINVAL;
    }
}

/* ---- walking --------------------------------------------------------------------------------------- */

int json_scan_enter(struct json_scan *scan, char open)
{
    scan->first = true;
    return expect(scan, open);
}

/* 1: a member follows; 0: the value ended. */
static int next_member(struct json_scan *scan, char close)
{
    bool first = scan->first;

    scan->first = false;
    if (peek(scan) == close) {
        scan->at++;
        return 0;
    }
    if (!first && expect(scan, ',') < 0)
        return -EINVAL;
    return 1;
}

int json_scan_key(struct json_scan *scan, struct json_span *ret_key)
{
    bool escaped;
    int r = next_member(scan, '}');

    if (r <= 0)
        return r;
    r = json_scan_string(scan, ret_key, &escaped);
    if (r == 0)
        r = expect(scan, ':');
    return r < 0 ? r : 1;
}

int json_scan_item(struct json_scan *scan)
{
    return next_member(scan, ']');
}

int json_scan_value(struct json_scan *scan, struct json_span *ret_value)
{
    size_t start;
    int r;

    peek(scan);
    start = scan->at;
    r = skip_value(scan);
    if (r < 0)
        return r;
    *ret_value = (struct json_span){scan->text + start, scan->at - start};
    return 0;
}

int json_scan_end(struct json_scan *scan)
{
    return peek(scan) < 0 ? 0 : -EINVAL;
}

bool json_span_is(struct json_span span, const char *text)
{
    return strlen(text) == span.len && memcmp(span.text, text, span.len) == 0;
}

int json_scan_path(struct json_span object, const char *const *path, char *ret, size_t size)
{
    struct json_span value = object;

    for (; *path; path++) {
        struct json_scan scan;
        struct json_span key;
        bool found = false;
        int r;

        json_scan_init(&scan, value.text, value.len);
        if (json_scan_enter(&scan, '{') < 0)
            return 0;
        while (!found && (r = json_scan_key(&scan, &key)) > 0) {
            r = json_scan_value(&scan, &value);
            if (r < 0)
                return r;
            found = json_span_is(key, *path);
        }
        if (!found)
            return r < 0 ? r : 0;
    }
    if (value.len < 2 || value.text[0] != '"')
        return 0;
    value = (struct json_span){value.text + 1, value.len - 2};
    return json_scan_unescape(value, ret, size) < 0 ? -EINVAL : 1;
}
