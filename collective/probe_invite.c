#include "collective/probe_invite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "collective/measure.h"

#define PREFIX "lockstep1-"
#define CRC 4

/* ---- base64 (RFC 4648) ----------------------------------------------------------------------- */

static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char pem_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Up to three bytes as up to four characters; how many. */
static unsigned encode_group(const uint8_t *bytes, size_t n, const char *alphabet, char ret[4])
{
    uint32_t bits = (uint32_t)bytes[0] << 16 | (uint32_t)(n > 1 ? bytes[1] : 0) << 8 |
                    (uint32_t)(n > 2 ? bytes[2] : 0);

    for (unsigned i = 0; i < 4; i++)
        ret[i] = alphabet[bits >> (18 - 6 * i) & 63];
    return n > 2 ? 4 : (unsigned)n + 1;
}

static void encode_url(const uint8_t *bytes, size_t len, struct strbuf *out)
{
    char group[4];

    for (size_t at = 0; at < len; at += 3) {
        unsigned n = encode_group(bytes + at, len - at < 3 ? len - at : 3, url_alphabet, group);

        strbuf_add(out, group, n);
    }
}

/* ret has room for len / 4 * 3 + 2 bytes. -EINVAL: another character, or bits that mean nothing. */
static int decode_url(const char *text, size_t len, uint8_t *ret, size_t *ret_len)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] ? strchr(url_alphabet, text[i]) : NULL;

        if (!at)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)(at - url_alphabet);
        held += 6;
        if (held >= 8) {
            held -= 8;
            ret[n++] = (uint8_t)(bits >> held);
            bits &= (1u << held) - 1;
        }
    }
    if (held >= 6 || bits)
        return -EINVAL;
    *ret_len = n;
    return 0;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* IEEE 802.3's, as gzip has it. */
static uint32_t crc32_of(const uint8_t *bytes, size_t len)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

static void put(struct strbuf *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        strbuf_addc(out, (char)(value >> 8 * i & 0xff));
}

struct reader {
    const uint8_t *bytes;
    size_t len, at;
    bool short_of; /* more was wanted than there is */
};

static const uint8_t *take(struct reader *reader, size_t n)
{
    const uint8_t *bytes = reader->bytes + reader->at;

    if (reader->short_of || reader->len - reader->at < n) {
        reader->short_of = true;
        return NULL;
    }
    reader->at += n;
    return bytes;
}

static uint64_t get(struct reader *reader, unsigned n)
{
    const uint8_t *bytes = take(reader, n);
    uint64_t value = 0;

    for (unsigned i = 0; bytes && i < n; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

/* ---- hosts: each says how much of its name is the former's ------------------------------------
 */

static void put_hosts(struct strbuf *out, const struct probe_hosts *hosts)
{
    const char *former = "";

    put(out, hosts->n, 2);
    for (unsigned i = 0; i < hosts->n; i++) {
        const char *name = hosts->items[i].name;
        size_t same = 0, len = strlen(name);

        while (former[same] && former[same] == name[same])
            same++;
        put(out, same, 1);
        put(out, len - same, 1);
        strbuf_add(out, name + same, len - same);
        put(out, hosts->items[i].slots, 1);
        former = name;
    }
}

static int get_hosts(struct reader *reader, struct probe_hosts *ret, struct err *err)
{
    uint64_t n = get(reader, 2);
    char name[PROBE_NAME_MAX + 1] = "";
    size_t len = 0;
    int r = 0;

    for (uint64_t i = 0; r == 0 && i < n; i++) {
        size_t same = get(reader, 1), more = get(reader, 1);
        const uint8_t *tail = take(reader, more);

        if (!tail || same > len || same + more > PROBE_NAME_MAX)
            return err_set(err, -EINVAL, "host %llu is not understood", (unsigned long long)i + 1);
        memcpy(name + same, tail, more);
        len = same + more;
        r = probe_hosts_add(ret, name, len, get(reader, 1), err);
    }
    return r < 0 || ret->n ? r : err_set(err, -EINVAL, "found no host, expected some");
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int check(const struct probe_invite *invite, struct err *err)
{
    if (invite->n_places < 1 || invite->n_places > PROBE_INVITE_PLACES_MAX || invite->port == 0)
        return err_set(err, -EINVAL, "%u addresses and port %u, expected 1 to %d and another port",
                       invite->n_places, invite->port, PROBE_INVITE_PLACES_MAX);
    if (invite->certificate_len < 1 || invite->certificate_len > PROBE_INVITE_CERTIFICATE_MAX)
        return err_set(err, -EINVAL, "a certificate of %zu bytes, expected 1 to %d",
                       invite->certificate_len, PROBE_INVITE_CERTIFICATE_MAX);
    if (invite->streams > 255 || invite->bytes_max > MEASURE_BYTES_MAX || invite->limit_s < 1 ||
        invite->limit_s > 2 * PROBE_SECONDS_MAX)
        return err_set(err, -EINVAL, "numbers are beyond their bounds");
    return 0;
}

static void put_all(struct strbuf *out, const struct probe_invite *invite)
{
    put(out, invite->nccl, 1);
    put(out, invite->streams, 1);
    put(out, invite->bytes_max, 8);
    put(out, invite->limit_s, 4);
    put(out, invite->port, 2);
    put(out, invite->n_places, 1);
    for (unsigned i = 0; i < invite->n_places; i++)
        put(out, invite->places[i], 4);
    strbuf_add(out, invite->secret, sizeof(invite->secret));
    put(out, invite->certificate_len, 2);
    strbuf_add(out, invite->certificate, invite->certificate_len);
    put_hosts(out, &invite->hosts);
}

int probe_invite_encode(const struct probe_invite *invite, struct strbuf *out, struct err *err)
{
    struct strbuf bytes = STRBUF_INIT(PROBE_INVITE_MAX);
    int r = check(invite, err);

    if (r < 0)
        return r;
    if (invite->hosts.n < 1)
        return err_set(err, -EINVAL, "found no host, expected some");
    put_all(&bytes, invite);
    if (!bytes.failed)
        put(&bytes, crc32_of((const uint8_t *)bytes.data, bytes.len), CRC);
    strbuf_adds(out, PREFIX);
    if (!bytes.failed)
        encode_url((const uint8_t *)bytes.data, bytes.len, out);
    if (bytes.failed || out->failed)
        r = err_set(err, -E2BIG, "an invitation does not fit: expected at most %u bytes",
                    PROBE_INVITE_MAX);
    strbuf_wipe(&bytes);
    return r;
}

static int get_all(struct reader *reader, struct probe_invite *ret, struct err *err)
{
    const uint8_t *secret, *certificate;
    uint64_t nccl = get(reader, 1);
    int r;

    ret->nccl = nccl == 1;
    ret->streams = (uint32_t)get(reader, 1);
    ret->bytes_max = get(reader, 8);
    ret->limit_s = (uint32_t)get(reader, 4);
    ret->port = (uint16_t)get(reader, 2);
    ret->n_places = (unsigned)get(reader, 1);
    for (unsigned i = 0; i < ret->n_places && i < PROBE_INVITE_PLACES_MAX; i++)
        ret->places[i] = (uint32_t)get(reader, 4);
    secret = take(reader, sizeof(ret->secret));
    ret->certificate_len = get(reader, 2);
    certificate = take(reader, ret->certificate_len);
    if (!secret || !certificate || nccl > 1)
        return err_set(err, -EINVAL, "its parts are not understood");
    r = check(ret, err);
    if (r < 0)
        return r;
    memcpy(ret->secret, secret, sizeof(ret->secret));
    memcpy(ret->certificate, certificate, ret->certificate_len);
    r = get_hosts(reader, &ret->hosts, err);
    if (r == 0 && (reader->short_of || reader->at != reader->len))
        r = err_set(err, -EINVAL, "its parts are not understood");
    return r;
}

int probe_invite__payload(const uint8_t *bytes, size_t len, struct probe_invite *ret,
                          struct err *err)
{
    struct reader reader = {.bytes = bytes, .len = len};
    int r;

    memset(ret, 0, sizeof(*ret));
    r = get_all(&reader, ret, err);
    if (r < 0)
        probe_invite_wipe(ret);
    return r;
}

static int decode_bytes(const uint8_t *bytes, size_t len, struct probe_invite *ret, struct err *err)
{
    struct reader crc = {.bytes = bytes + len - CRC, .len = CRC};

    if (get(&crc, CRC) != crc32_of(bytes, len - CRC))
        return err_set(err, -EINVAL, "it is not whole: was all of it copied?");
    return probe_invite__payload(bytes, len - CRC, ret, err);
}

int probe_invite_decode(const char *text, size_t len, struct probe_invite *ret, struct err *err)
{
    size_t prefix = strlen(PREFIX), n = 0;
    uint8_t *bytes;
    int r;

    while (len > 0 && strchr(" \t\r\n", text[len - 1]) && text[len - 1])
        len--;
    for (; len > 0 && strchr(" \t\r\n", text[0]) && text[0]; text++)
        len--;
    if (len < prefix || memcmp(text, PREFIX, prefix) != 0 || len > PROBE_INVITE_MAX)
        return err_set(err, -EINVAL,
                       "expected what `lockstep probe --hosts` prints: " PREFIX
                       "... of at most %u bytes",
                       PROBE_INVITE_MAX);
    bytes = cleanup_alloc(len);
    if (!bytes)
        return err_set(err, -ENOMEM, "out of memory");
    r = decode_url(text + prefix, len - prefix, bytes, &n);
    if (r < 0 || n < CRC)
        r = err_set(err, -EINVAL, "it is not whole: was all of it copied?");
    else
        r = decode_bytes(bytes, n, ret, err);
    explicit_bzero(bytes, len);
    free(bytes);
    return r;
}

/* ---- what is made of it ---------------------------------------------------------------------- */

void probe_invite_token(const struct probe_invite *invite, char ret[PROBE_SECRET_TEXT])
{
    size_t at = 0;

    for (size_t i = 0; i < sizeof(invite->secret); i += 3) {
        size_t left = sizeof(invite->secret) - i;

        at += encode_group(invite->secret + i, left < 3 ? left : 3, url_alphabet, ret + at);
    }
    ret[at] = '\0';
}

int probe_invite_ca_pem(const struct probe_invite *invite, struct strbuf *out)
{
    char group[4];

    strbuf_adds(out, "-----BEGIN CERTIFICATE-----\n");
    for (size_t at = 0; at < invite->certificate_len; at += 3) {
        size_t left = invite->certificate_len - at;
        unsigned n =
            encode_group(invite->certificate + at, left < 3 ? left : 3, pem_alphabet, group);

        strbuf_add(out, group, n);
        strbuf_add(out, "==", 4 - n);
        if (at % 48 == 45)
            strbuf_addc(out, '\n');
    }
    strbuf_adds(out, "\n-----END CERTIFICATE-----\n");
    return out->failed ? -E2BIG : 0;
}

void probe_invite_wipe(struct probe_invite *invite)
{
    explicit_bzero(invite, sizeof(*invite));
}

static size_t label(const char *name)
{
    return strcspn(name, ".");
}

static bool is_address(const struct probe_host *host, uint32_t address)
{
    char text[16];

    snprintf(text, sizeof(text), "%u.%u.%u.%u", address >> 24, address >> 16 & 255,
             address >> 8 & 255, address & 255);
    return strcmp(host->name, text) == 0;
}

const struct probe_host *probe_invite_me(const struct probe_invite *invite, const char *hostname,
                                         const uint32_t *addresses, unsigned n_addresses)
{
    const struct probe_hosts *hosts = &invite->hosts;
    const struct probe_host *found = NULL;
    unsigned n = 0;

    for (unsigned i = 0; i < hosts->n; i++)
        if (strcasecmp(hosts->items[i].name, hostname) == 0)
            return &hosts->items[i];
    for (unsigned i = 0; i < hosts->n; i++) {
        const char *name = hosts->items[i].name;

        if (label(name) == label(hostname) && strncasecmp(name, hostname, label(name)) == 0 &&
            (name[label(name)] == '\0' || hostname[label(hostname)] == '\0')) {
            found = &hosts->items[i];
            n++;
        }
    }
    for (unsigned i = 0; n == 0 && i < hosts->n; i++)
        for (unsigned k = 0; k < n_addresses; k++)
            if (is_address(&hosts->items[i], addresses[k]))
                return &hosts->items[i];
    return n == 1 ? found : NULL;
}
