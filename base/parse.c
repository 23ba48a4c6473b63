#include "base/parse.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int parse_u64(const char *text, size_t len, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;

    if (len == 0)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(text[i] - '0');

        if (!isdigit((unsigned char)text[i]))
            return -EINVAL;
        if (value > (max - digit) / 10 || digit > max)
            return -ERANGE;
        value = value * 10 + digit;
    }
    *ret = value;
    return 0;
}

int parse_i64(const char *text, size_t len, int64_t min, int64_t max, int64_t *ret)
{
    bool negative = len > 0 && text[0] == '-';
    uint64_t magnitude;
    int64_t value;
    int r = parse_u64(text + negative, len - negative, (uint64_t)INT64_MAX + negative, &magnitude);

    if (r < 0)
        return r;
    value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    if (value < min || value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

int parse_duration(const char *text, size_t len, int64_t *ret_ns)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"ns", 1},          {"us", 1000},           {"ms", 1000000},
                 {"s", 1000000000},  {"m", 60000000000},     {"h", 3600000000000}};
    int64_t sum = 0;
    size_t at = 0;

    if (len == 0)
        return -EINVAL;
    while (at < len) {
        size_t start = at, unit;
        int64_t number, scale = 0;

        while (at < len && isdigit((unsigned char)text[at]))
            at++;
        if (parse_i64(text + start, at - start, 0, INT64_MAX, &number) < 0)
            return -EINVAL;
        for (unit = at; at < len && isalpha((unsigned char)text[at]);)
            at++;
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
            if (strlen(units[i].name) == at - unit &&
                memcmp(units[i].name, text + unit, at - unit) == 0)
                scale = units[i].ns;
        if (!scale)
            return -EINVAL;
        if (__builtin_mul_overflow(number, scale, &number) ||
            __builtin_add_overflow(sum, number, &sum))
            return -ERANGE;
    }
    *ret_ns = sum;
    return 0;
}

/* ---- quantities ------------------------------------------------------------------------------- */

struct suffix {
    int ten, two; /* value = number * 10^ten * 2^two */
};

static int read_suffix(const char *text, size_t len, struct suffix *ret)
{
    static const char decimal[] = "kMGTPE";
    const char *found;
    int64_t exponent;

    *ret = (struct suffix){0, 0};
    if (len == 0)
        return 0;
    if (len > 1 && (text[0] == 'e' || text[0] == 'E')) {
        size_t skip = text[1] == '+' ? 2 : 1;

        if (parse_i64(text + skip, len - skip, -30, 30, &exponent) < 0)
            return -EINVAL;
        ret->ten = (int)exponent;
        return 0;
    }
    if (len == 1 && (text[0] == 'm' || text[0] == 'u' || text[0] == 'n')) {
        ret->ten = text[0] == 'm' ? -3 : text[0] == 'u' ? -6 : -9;
        return 0;
    }
    found = memchr(decimal, text[0], sizeof(decimal) - 1);
    if (len == 1 && found)
        ret->ten = 3 * (int)(found - decimal + 1);
    else if (len == 2 && text[1] == 'i' && (found || text[0] == 'K'))
        ret->two = text[0] == 'K' ? 10 : 10 * (int)(found - decimal + 1);
    else
        return -EINVAL;
    return 0;
}

/* Digits with at most one point; trailing fraction digits move into `ten`. */
static int read_digits(const char *text, size_t len, unsigned __int128 *ret, int *ten)
{
    bool point = false, any = false;

    *ret = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (!isdigit((unsigned char)text[i]))
            return -EINVAL;
        any = true;
        if (*ret > ((unsigned __int128)1 << 90))
            return -ERANGE;
        *ret = *ret * 10 + (unsigned)(text[i] - '0');
        *ten -= point;
    }
    return any ? 0 : -EINVAL;
}

static int quantity_scaled(const char *text, size_t len, int ten, int64_t *ret)
{
    unsigned __int128 number, divisor = 1;
    struct suffix suffix;
    size_t digits = 0;
    int r;

    if (len > 64)
        return -EINVAL;
    while (digits < len && (isdigit((unsigned char)text[digits]) || text[digits] == '.'))
        digits++;
    r = read_suffix(text + digits, len - digits, &suffix);
    if (r < 0)
        return r;
    ten += suffix.ten;
    r = read_digits(text, digits, &number, &ten);
    if (r < 0)
        return r;
    for (int i = 0; i < suffix.two; i++, number *= 2)
        if (number >> 120)
            return -ERANGE;
    for (; ten > 0; ten--, number *= 10)
        if (number >> 120)
            return -ERANGE;
    for (; ten < 0 && divisor < ((unsigned __int128)1 << 120); ten++)
        divisor *= 10;
    number = (number + divisor - 1) / divisor;
    if (number > INT64_MAX)
        return -ERANGE;
    *ret = (int64_t)number;
    return 0;
}

int parse_quantity(const char *text, size_t len, int64_t *ret_units)
{
    return quantity_scaled(text, len, 0, ret_units);
}

int parse_quantity_milli(const char *text, size_t len, int64_t *ret_milli)
{
    return quantity_scaled(text, len, 3, ret_milli);
}

/* ---- time and names ---------------------------------------------------------------------------- */

int parse_time(const char *text, size_t len, int64_t *ret_seconds)
{
    char copy[40];
    struct tm tm = {0};
    const char *rest;

    if (len < 20 || len >= sizeof(copy))
        return -EINVAL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest)
        return -EINVAL;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (strcmp(rest, "Z") != 0)
        return -EINVAL;
    *ret_seconds = (int64_t)timegm(&tm);
    return 0;
}

/* Length of the well-formed sequence at the start of text (Unicode table 3-7), 0: none. */
static size_t utf8_sequence(const unsigned char *text, size_t len)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t more;

    if (text[0] < 0x80)
        return 1;
    if (text[0] >= 0xc2 && text[0] <= 0xdf)
        more = 1;
    else if (text[0] >= 0xe0 && text[0] <= 0xef)
        more = 2;
    else if (text[0] >= 0xf0 && text[0] <= 0xf4)
        more = 3;
    else
        return 0;
    if (len <= more)
        return 0;
    low = text[0] == 0xe0 ? 0xa0 : text[0] == 0xf0 ? 0x90 : low;
    high = text[0] == 0xed ? 0x9f : text[0] == 0xf4 ? 0x8f : high;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i <= more; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return more + 1;
}

bool utf8_valid(const char *text, size_t len)
{
    for (size_t at = 0, step; at < len; at += step) {
        step = utf8_sequence((const unsigned char *)text + at, len - at);
        if (step == 0)
            return false;
    }
    return true;
}

bool is_dns_subdomain(const char *text, size_t len)
{
    if (len == 0 || len > 253)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool edge = i == 0 || i + 1 == len || text[i - 1] == '.' ||
                    (i + 1 < len && text[i + 1] == '.');

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (!edge && c == '-') ||
              (c == '.' && i > 0 && i + 1 < len && text[i - 1] != '.')))
            return false;
    }
    return true;
}
