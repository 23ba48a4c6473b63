#include "collective/probe_hosts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

/* Of text that may be anything: what of it is shown. */
#define SHOWN 64

static int shown(size_t len)
{
    return (int)(len < SHOWN ? len : SHOWN);
}

static bool has_name(const struct probe_hosts *hosts, const char *name)
{
    for (unsigned i = 0; i < hosts->n; i++)
        if (strcmp(hosts->items[i].name, name) == 0)
            return true;
    return false;
}

int probe_hosts_add(struct probe_hosts *hosts, const char *name, size_t len, uint64_t slots,
                    struct err *err)
{
    struct probe_host host = {.first_rank = hosts->ranks, .slots = (uint32_t)slots};

    for (size_t i = 0; i < len && i < sizeof(host.name) - 1; i++)
        host.name[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
    if (len > PROBE_NAME_MAX || !is_dns_subdomain(host.name, len)) {
        bool text = utf8_valid(name, (size_t)shown(len));

        return err_set(err, -EINVAL, "'%.*s': expected the name of a host", text ? shown(len) : 1,
                       text ? name : "?");
    }
    if (has_name(hosts, host.name))
        return err_set(err, -EINVAL, "host %.*s comes twice", shown(len), host.name);
    if (slots < 1 || slots > PROBE_DEVICES_MAX)
        return err_set(err, -EINVAL, "host %.*s: %llu ranks, expected 1 to %d", shown(len),
                       host.name, (unsigned long long)slots, PROBE_DEVICES_MAX);
    if (hosts->n == PROBE_HOSTS_MAX)
        return err_set(err, -E2BIG, "expected at most %d hosts", PROBE_HOSTS_MAX);
    hosts->items[hosts->n++] = host;
    hosts->ranks += host.slots;
    return 0;
}

void probe_host_uid(const struct probe_host *host, char ret[PROBE_UID_MAX + 1])
{
    snprintf(ret, PROBE_UID_MAX + 1, "host-%u", host->first_rank);
}

void probe_hosts_list(const struct probe_hosts *hosts, char *ret, size_t size)
{
    size_t len = 0;

    ret[0] = '\0';
    for (unsigned i = 0; i < hosts->n; i++) {
        const char *name = hosts->items[i].name;

        if (len + strlen(name) + sizeof(", , and 256 more") > size) {
            snprintf(ret + len, size - len, i ? ", and %u more" : "%u hosts", hosts->n - i);
            return;
        }
        len += (size_t)snprintf(ret + len, size - len, "%s%s", i ? ", " : "", name);
    }
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* A number of ranks that was written down: 0 for what is none, which is refused with its host. */
static uint64_t number(const char *text, size_t len)
{
    uint64_t value;

    return parse_u64(text, len, UINT32_MAX, &value) == 0 ? value : 0;
}

/* "host" or "host:4". */
static int add_word(struct probe_hosts *hosts, const char *word, size_t len, uint64_t slots,
                    struct err *err)
{
    const char *colon = memchr(word, ':', len);
    size_t name = colon ? (size_t)(colon - word) : len;

    if (colon)
        slots = number(colon + 1, len - name - 1);
    return probe_hosts_add(hosts, word, name, slots, err);
}

int probe_hosts_parse_list(const char *text, size_t len, unsigned slots, struct probe_hosts *ret,
                           struct err *err)
{
    size_t at = 0;

    memset(ret, 0, sizeof(*ret));
    for (;;) {
        const char *comma = memchr(text + at, ',', len - at);
        size_t end = comma ? (size_t)(comma - text) : len;
        int r = add_word(ret, text + at, end - at, slots, err);

        if (r < 0)
            return r;
        if (!comma)
            return 0;
        at = end + 1;
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

struct words {
    const char *at, *end;
};

static size_t next_word(struct words *words, const char **ret)
{
    while (words->at < words->end && is_space(*words->at))
        words->at++;
    *ret = words->at;
    while (words->at < words->end && !is_space(*words->at))
        words->at++;
    return (size_t)(words->at - *ret);
}

static int parse_line(struct probe_hosts *hosts, const char *line, size_t len, unsigned slots,
                      struct err *err)
{
    static const char key[] = "slots=";
    const char *comment = memchr(line, '#', len), *host, *option, *more;
    struct words words = {line, comment ? comment : line + len};
    size_t host_len = next_word(&words, &host), option_len = next_word(&words, &option);
    uint64_t said = slots;

    if (host_len == 0)
        return 0;
    if (option_len > 0 && (option_len < sizeof(key) || memcmp(option, key, sizeof(key) - 1) != 0 ||
                           next_word(&words, &more) > 0 || memchr(host, ':', host_len)))
        return err_set(err, -EINVAL, "expected a host, and slots=N or nothing behind it");
    if (option_len > 0)
        said = number(option + sizeof(key) - 1, option_len - (sizeof(key) - 1));
    return add_word(hosts, host, host_len, said, err);
}

int probe_hosts_parse_file(const char *name, const char *text, size_t len, unsigned slots,
                           struct probe_hosts *ret, struct err *err)
{
    unsigned number_of_line = 0;

    memset(ret, 0, sizeof(*ret));
    if (len > PROBE_HOSTFILE_MAX)
        return err_set(err, -E2BIG, "%s: expected at most %u bytes", name, PROBE_HOSTFILE_MAX);
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line = end ? (size_t)(end - text) - at : len - at;
        int r = 0;

        number_of_line++;
        if (!utf8_valid(text + at, line) || memchr(text + at, '\0', line))
            r = err_set(err, -EINVAL, "expected text in UTF-8");
        else
            r = parse_line(ret, text + at, line, slots, err);
        if (r < 0)
            return err_prefix(err, r, "%s:%u", name, number_of_line);
        at += line + 1;
    }
    return ret->n ? 0 : err_set(err, -EINVAL, "%s: found no host, expected one a line", name);
}
