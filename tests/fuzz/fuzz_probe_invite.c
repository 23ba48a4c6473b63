/* Any bytes as an invitation, as a list of hosts and as a host file: refused with a message, or
 * within bounds and the same again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "collective/probe_invite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_hosts(int r, const struct probe_hosts *hosts, const struct err *err)
{
    uint32_t ranks = 0;

    if (r < 0) {
        if (!err->text[0])
            abort();
        return;
    }
    for (unsigned i = 0; i < hosts->n; i++) {
        if (hosts->items[i].first_rank != ranks || hosts->items[i].slots < 1 ||
            hosts->items[i].slots > PROBE_DEVICES_MAX || !hosts->items[i].name[0])
            abort();
        ranks += hosts->items[i].slots;
    }
    if (hosts->n < 1 || hosts->n > PROBE_HOSTS_MAX || hosts->ranks != ranks)
        abort();
}

/* What was taken is written, and read again as it is. */
static void check_again(const struct probe_invite *invite)
{
    static struct probe_invite again;
    struct strbuf once = STRBUF_INIT(PROBE_INVITE_MAX), twice = STRBUF_INIT(PROBE_INVITE_MAX);
    struct err err = ERR_INIT;

    if (probe_invite_encode(invite, &once, &err) == 0 &&
        (probe_invite_decode(once.data, once.len, &again, &err) < 0 ||
         probe_invite_encode(&again, &twice, &err) < 0 || once.len != twice.len ||
         memcmp(once.data, twice.data, once.len) != 0))
        abort();
    strbuf_release(&once);
    strbuf_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct probe_invite invite;
    static struct probe_hosts hosts;
    struct err word = ERR_INIT, payload = ERR_INIT, list = ERR_INIT, file = ERR_INIT;

    if (probe_invite_decode((const char *)data, size, &invite, &word) < 0 ? !word.text[0] : false)
        abort();
    if (probe_invite__payload(data, size, &invite, &payload) == 0) {
        check_hosts(0, &invite.hosts, &payload);
        check_again(&invite);
    } else if (!payload.text[0]) {
        abort();
    }
    check_hosts(probe_hosts_parse_list((const char *)data, size, 1, &hosts, &list), &hosts, &list);
    check_hosts(probe_hosts_parse_file("f", (const char *)data, size, 1, &hosts, &file), &hosts,
                &file);
    return 0;
}
