/* Lines of a trace from what they tell. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_write.h"
#include "base/parse.h"
#include "base/sha256.h"
#include "scheduler/trace/trace.h"

/* Text that was cut inside a character would make a line that nobody can read. */
static void add_text(struct strbuf *out, const char *text)
{
    size_t len = strlen(text);

    if (utf8_valid(text, len)) {
        json_write_string(out, text, len);
        return;
    }
    strbuf_addc(out, '"');
    for (size_t i = 0; i < len; i++)
        strbuf_addc(out, text[i] >= ' ' && text[i] != '"' && text[i] != '\\' ? text[i] : '?');
    strbuf_addc(out, '"');
}

static void add_field(struct strbuf *out, const char *name, const char *text)
{
    if (!*text)
        return;
    strbuf_addf(out, ",\"%s\":", name);
    add_text(out, text);
}

static void add_number(struct strbuf *out, const char *name, uint64_t number)
{
    if (number)
        strbuf_addf(out, ",\"%s\":%llu", name, (unsigned long long)number);
}

/* ---- header ------------------------------------------------------------------------------------- */

static json_t *texts(char *const *items, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(items[i]));
    return list;
}

static void set_duration(json_t *object, const char *key, int64_t ns)
{
    char text[32];

    snprintf(text, sizeof(text), "%lldns", (long long)ns);
    json_object_set_new(object, key, json_string(text));
}

/* Each key of lockstep.yaml that scheduler/model reads after loading, and none of a file or address. */
static json_t *config_json(const struct config *config)
{
    json_t *object = json_object(), *selector = json_object(), *ratios = json_object();

    for (size_t i = 0; i < config->node_selector.n; i++)
        json_object_set_new(selector, config->node_selector.items[i].key,
                            json_string(config->node_selector.items[i].value));
    json_object_set_new(object, "schedulerName", json_string(config->scheduler_name));
    json_object_set_new(object, "levels", texts(config->levels, config->nlevels));
    json_object_set_new(object, "acceleratorResources",
                        texts(config->accelerators, config->naccelerators));
    json_object_set_new(object, "nodeSelector", selector);
    set_duration(object, "holdDeadline", config->hold_deadline_ns);
    set_duration(object, "earlyPlanDeadline", config->early_plan_deadline_ns);
    set_duration(object, "headOfLineAfter", config->head_of_line_ns);
    if (config->give_up_ns)
        set_duration(object, "giveUpAfter", config->give_up_ns);
    json_object_set_new(object, "preemption", json_boolean(config->preemption));
    for (size_t i = 0; i < config->noversubscription; i++)
        json_object_set_new(ratios, config->oversubscription[i].key,
                            json_real(config->oversubscription[i].ratio));
    json_object_set_new(object, "oversubscription", ratios);
    json_object_set_new(object, "nvlinkBetweenNodes", json_boolean(config->nvlink_between_nodes));
    json_object_set_new(object, "probe", json_string(probe_policy_name(config->probe)));
    set_duration(object, "probeDeadline", config->probe_deadline_ns);
    json_object_set_new(object, "lease",
                        config->lease[0] ? json_string(config->lease) : json_false());
    return object;
}

void trace_add_header(struct strbuf *out, const struct trace_header *header)
{
    json_t *config = config_json(&header->config);
    CLEANUP_FREE char *text = json_dumps(config, JSON_COMPACT | JSON_PRESERVE_ORDER);

    strbuf_addf(out, "{\"trace\":%d", TRACE_VERSION);
    add_field(out, "program", header->program);
    add_field(out, "host", header->host);
    strbuf_addf(out, ",\"epoch_s\":%lld,\"began\":%lld,\"config\":%s}\n",
                (long long)header->epoch_s, (long long)header->began_ns, text ? text : "null");
    json_decref(config);
}

/* ---- what happened ------------------------------------------------------------------------------- */

void trace_add_step(struct strbuf *out, const struct event *event, const char *object,
                    int64_t now_ns)
{
    strbuf_addf(out, "{\"step\":\"%s\",\"now\":%lld", event_kind_name(event->kind),
                (long long)now_ns);
    add_field(out, "ns", event->ns_name);
    add_field(out, "name", event->name);
    add_field(out, "uid", event->uid);
    add_number(out, "ticket", event->ticket);
    if (event->wall_ns)
        strbuf_addf(out, ",\"wall_ns\":%lld", (long long)event->wall_ns);
    if (event->busbw)
        strbuf_addf(out, ",\"busbw\":%lld", (long long)event->busbw);
    if (event->kind == EV_PROBED)
        add_field(out, "text", event->text);
    if (event->group_kind == GROUP_SIGS)
        add_field(out, "group", "sigs");
    if (event->kind == EV_WRITE_DONE) {
        add_field(out, "action", action_kind_name(event->action));
        add_field(out, "result", write_result_name(event->result));
        add_field(out, "text", event->text);
    }
    if (event_has_object(event->kind))
        strbuf_addf(out, ",\"object\":%s", object);
    strbuf_adds(out, "}\n");
}

void trace_add_settle(struct strbuf *out, int64_t now_ns)
{
    strbuf_addf(out, "{\"settle\":%lld}\n", (long long)now_ns);
}

/* ---- what was wanted ----------------------------------------------------------------------------- */

static void add_body(struct strbuf *out, const char *body)
{
    size_t len = strlen(body);
    char digest[SHA256_HEX];

    if (len <= TRACE_BODY_MAX) {
        add_field(out, "body", body);
        return;
    }
    sha256_hex(body, len, digest);
    add_number(out, "body_bytes", len);
    add_field(out, "body_sha256", digest);
}

void trace_add_action(struct strbuf *out, const struct action *action)
{
    strbuf_addf(out, "{\"act\":\"%s\"", action_kind_name(action->kind));
    add_number(out, "ticket", action->ticket);
    add_field(out, "ns", action->ns);
    add_field(out, "name", action->name);
    add_field(out, "uid", action->uid);
    add_field(out, "node", action->node);
    add_field(out, "reason", action->reason);
    if (action->warning)
        strbuf_adds(out, ",\"warning\":true");
    add_field(out, "text", action->text ? action->text : "");
    add_body(out, action->body ? action->body : "");
    strbuf_adds(out, "}\n");
}

void trace_add_end(struct strbuf *out, const char *why)
{
    strbuf_adds(out, "{\"end\":");
    add_text(out, why);
    strbuf_adds(out, "}\n");
}
