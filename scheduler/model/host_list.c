/*
 * The pods' stamp: the nodes of all ranks, in rank order, short enough for an annotation.
 *
 *   list  = entry *("," entry)
 *   entry = name | prefix "[" range *("," range) "]"   each with an optional "*" ranks-per-node
 *   range = digits | digits "-" digits                 same number of digits on both sides
 *
 * "node-[001-003,007]*2" is node-001 twice, node-002 twice, node-003 twice, node-007 twice.
 */
#include "scheduler/model/gang.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/strbuf.h"

#define HOST_LIST_MAX 65536
#define DIGITS_MAX 18 /* fits an int64 */

struct host {
    const char *name;
    size_t prefix; /* bytes before the trailing digits */
    size_t digits; /* 0: the name does not end in digits */
    uint64_t number;
    uint32_t ranks; /* consecutive ranks there */
};

static struct host split(const char *name)
{
    struct host host = {.name = name, .prefix = strlen(name), .ranks = 1};

    while (host.prefix > 0 && isdigit((unsigned char)name[host.prefix - 1]) &&
           host.digits < DIGITS_MAX) {
        host.prefix--;
        host.digits++;
    }
    if (host.digits)
        parse_u64(name + host.prefix, host.digits, UINT64_MAX, &host.number);
    return host;
}

static bool same_group(const struct host *a, const struct host *b)
{
    return a->digits && b->digits && a->digits == b->digits && a->prefix == b->prefix &&
           a->ranks == b->ranks && strncmp(a->name, b->name, a->prefix) == 0;
}

/* Writes hosts[0..n), which share a prefix, as one entry. */
static void add_entry(struct strbuf *out, const struct host *hosts, size_t n)
{
    if (n == 1) {
        strbuf_adds(out, hosts[0].name);
    } else {
        strbuf_add(out, hosts[0].name, hosts[0].prefix);
        for (size_t i = 0, end; i < n; i = end + 1) {
            strbuf_addf(out, "%c%s", i ? ',' : '[', hosts[i].name + hosts[i].prefix);
            for (end = i; end + 1 < n && hosts[end + 1].number == hosts[end].number + 1;)
                end++;
            if (end > i)
                strbuf_addf(out, "-%s", hosts[end].name + hosts[end].prefix);
        }
        strbuf_addc(out, ']');
    }
    if (hosts[0].ranks > 1)
        strbuf_addf(out, "*%u", hosts[0].ranks);
}

char *gang_host_list(const struct gang *gang)
{
    struct strbuf out = STRBUF_INIT(HOST_LIST_MAX);
    struct host *hosts = calloc(gang->nslots ? gang->nslots : 1, sizeof(*hosts));
    size_t n = 0;

    if (!hosts)
        return NULL;
    for (uint32_t i = 0; i < gang->nslots; i++) {
        const char *name = gang->slots[i].node ? gang->slots[i].node->name : "?";

        if (n && strcmp(hosts[n - 1].name, name) == 0)
            hosts[n - 1].ranks++;
        else
            hosts[n++] = split(name);
    }
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && same_group(&hosts[i], &hosts[end]);)
            end++;
        if (i)
            strbuf_addc(&out, ',');
        add_entry(&out, hosts + i, end - i);
    }
    free(hosts);
    if (out.failed)
        strbuf_release(&out);
    return strbuf_take(&out, NULL);
}
