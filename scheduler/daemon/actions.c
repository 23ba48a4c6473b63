/* Carries out what the core wants done; outcomes come back as events. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_write.h"
#include "base/log.h"
#include "base/parse.h"
#include "scheduler/daemon/daemon.h"
#include "scheduler/daemon/failpoint.h"
#include "scheduler/kube/kube_write.h"

struct pending { /* a write under way: what its outcome is about */
    struct daemon *daemon;
    struct event event;
};

/* What was cut in the middle of a character is no UTF-8, and no JSON could carry it on. */
static void cut_at_character(char *text)
{
    size_t len = strlen(text);

    while (len > 0 && !utf8_valid(text, len))
        text[--len] = '\0';
}

static void on_write(void *context, enum write_result result, const char *message)
{
    struct pending *pending = context;

    if (result == WRITE_OK && pending->event.action == ACT_BIND)
        failpoint("bind");
    pending->event.result = result;
    snprintf(pending->event.text, sizeof(pending->event.text), "%s", message);
    cut_at_character(pending->event.text);
    if (result != WRITE_OK)
        log_line(LOG_WARN, "kube", "write of %s/%s: %s: %s", pending->event.ns_name,
                 pending->event.name, write_result_name(result), message);
    queue_post(&pending->daemon->queue, &pending->event, NULL);
    free(pending);
}

static struct pending *expect_outcome(struct daemon *daemon, const struct action *action)
{
    struct pending *pending = calloc(1, sizeof(*pending));

    if (!pending)
        return NULL;
    pending->daemon = daemon;
    pending->event = (struct event){.kind = EV_WRITE_DONE, .ticket = action->ticket,
                                    .action = action->kind};
    snprintf(pending->event.ns_name, sizeof(pending->event.ns_name), "%s", action->ns);
    snprintf(pending->event.name, sizeof(pending->event.name), "%s", action->name);
    snprintf(pending->event.uid, sizeof(pending->event.uid), "%s", action->uid);
    return pending;
}

/* kube-scheduler of old versions formats the text: it must hold no '%'. */
static void reply(struct daemon *daemon, const struct action *action)
{
    struct strbuf body = STRBUF_INIT(4096);
    const char *text = action->text ? action->text : "";

    strbuf_adds(&body, "{\"Error\":");
    json_write_string(&body, text, strlen(text));
    strbuf_addc(&body, '}');
    for (size_t i = 0; i < body.len; i++)
        if (body.data[i] == '%')
            body.data[i] = '?';
    http_server_reply(daemon->verbs_server, action->ticket, 200, body.data, body.len);
    strbuf_release(&body);
}

static void write_action(struct daemon *daemon, const struct action *action)
{
    struct kube_target pod = {action->ns, action->name, action->uid};
    struct kube_writer by = {daemon->client, action->term};
    struct pending *pending = expect_outcome(daemon, action);
    int r = -1;

    if (!pending)
        return;
    if (action->kind == ACT_BIND)
        r = kube_bind(&by, &pod, action->node, action->body, on_write, pending);
    else if (action->kind == ACT_EVICT)
        r = kube_evict(&by, &pod, on_write, pending);
    else if (action->kind == ACT_READ_POD)
        r = kube_read_pod(&by, &pod, on_write, pending);
    else if (action->kind == ACT_NOMINATE)
        r = kube_nominate(&by, &pod, action->node, on_write, pending);
    else if (action->kind == ACT_PLACEMENT && action->body)
        r = kube_put_placement(&by, action->ns, action->name, action->body, action->fresh, on_write,
                               pending);
    else if (action->kind == ACT_PLACEMENT_DELETE && action->body)
        r = kube_delete_placement(&by, action->ns, action->name, action->body, on_write, pending);
    if (r < 0)
        on_write(pending, WRITE_SERVER, "the write could not be queued");
}

void daemon_act(struct daemon *daemon, const struct actions *actions)
{
    for (size_t i = 0; i < actions->n; i++) {
        const struct action *action = &actions->items[i];
        struct kube_target pod = {action->ns, action->name, action->uid};
        struct kube_writer by = {daemon->client, action->term};

        switch (action->kind) {
        case ACT_REPLY:
            reply(daemon, action);
            break;
        case ACT_POD_EVENT:
            kube_pod_event(&by, &pod, action->reason, action->warning,
                           action->text ? action->text : "");
            break;
        case ACT_PROBE:
        case ACT_PROBE_END:
        case ACT_PROBE_POD:
            daemon_probe(daemon, action);
            break;
        case ACT_RELIST:
            daemon_relist(daemon, action->ticket);
            break;
        default:
            log_line(LOG_DEBUG, "act", "%s %s/%s node=%s", action_kind_name(action->kind), action->ns,
                     action->name, action->node);
            write_action(daemon, action);
            break;
        }
    }
}
