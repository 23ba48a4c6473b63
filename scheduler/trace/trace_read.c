/* What a trace tells from its lines. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "scheduler/kube/read.h"
#include "scheduler/trace/trace.h"

#define FOUND_SHOWN 80

/* ---- header ------------------------------------------------------------------------------------- */

static int copy_text(char *ret, size_t size, const char *key, const char *text, struct err *err)
{
    size_t len = text ? strlen(text) : 0;

    if (len >= size)
        return err_set(err, -EINVAL, "%s: found a text of %zu bytes, expected at most %zu", key,
                       len, size - 1);
    if (text)
        memcpy(ret, text, len + 1);
    return 0;
}

static int read_config(const json_t *object, struct config *ret, struct err *err)
{
    CLEANUP_FREE char *text = json_dumps(object, JSON_COMPACT);

    return text ? config_parse("config", text, strlen(text), ret, err) : -ENOMEM;
}

static int read_header(json_t *root, struct trace_line *line, struct err *err)
{
    const char *program, *host = NULL;
    json_int_t version, epoch_s, began;
    json_error_t error;
    json_t *config;
    int r;

    version = json_integer_value(json_object_get(root, "trace"));
    if (version != TRACE_VERSION)
        return err_set(err, -EINVAL, "trace: found version %lld, expected %d", (long long)version,
                       TRACE_VERSION);
    if (json_unpack_ex(root, &error, JSON_STRICT, "{s:I, s:s, s?s, s:I, s:I, s:o}", "trace",
                       &version, "program", &program, "host", &host, "epoch_s", &epoch_s, "began",
                       &began, "config", &config) < 0)
        return err_set(err, -EINVAL, "header: %s", error.text);
    line->kind = TRACE_HEADER;
    line->header.epoch_s = epoch_s;
    line->header.began_ns = began;
    r = copy_text(line->header.program, sizeof(line->header.program), "program", program, err);
    if (r == 0)
        r = copy_text(line->header.host, sizeof(line->header.host), "host", host, err);
    if (r == 0 && !json_is_object(config))
        r = err_set(err, -EINVAL, "config: expected a mapping");
    return r < 0 ? r : read_config(config, &line->header.config, err);
}

/* ---- step --------------------------------------------------------------------------------------- */

/* The value of an enum by its name; -1: there is none. */
static int value_of(const char *name, int n, const char *(*name_of)(int))
{
    for (int i = 0; i < n; i++)
        if (strcmp(name_of(i), name) == 0)
            return i;
    return -1;
}

static const char *event_name(int kind)
{
    return event_kind_name((enum event_kind)kind);
}

static const char *action_name(int kind)
{
    return action_kind_name((enum action_kind)kind);
}

static const char *result_name(int result)
{
    return write_result_name((enum write_result)result);
}

static const char *group_name(int kind)
{
    return kind == GROUP_SIGS ? "sigs" : "native";
}

static int read_enum(const char *key, const char *name, int n, const char *(*name_of)(int),
                     int *ret, struct err *err)
{
    int value = name ? value_of(name, n, name_of) : 0;

    if (value < 0)
        return err_set(err, -EINVAL, "%s: found '%.*s', expected one such as '%s'", key,
                       FOUND_SHOWN, name, name_of(n - 1));
    *ret = value;
    return 0;
}

struct step_texts { /* of one line, borrowed; NULL: absent */
    const char *kind, *ns, *name, *uid, *group, *action, *result, *text;
    json_t *object;
};

static int fill_enums(const struct step_texts *texts, struct event *event, struct err *err)
{
    int kind = 0, group = 0, action = 0, result = 0;
    int r = read_enum("step", texts->kind, EVENT_KINDS, event_name, &kind, err);

    if (r == 0)
        r = read_enum("group", texts->group, 2, group_name, &group, err);
    if (r == 0)
        r = read_enum("action", texts->action, ACTION_KINDS, action_name, &action, err);
    if (r == 0)
        r = read_enum("result", texts->result, WRITE_RESULTS, result_name, &result, err);
    if (r < 0)
        return r;
    event->kind = (enum event_kind)kind;
    event->group_kind = (enum group_kind)group;
    event->action = (enum action_kind)action;
    event->result = (enum write_result)result;
    return 0;
}

static int fill_event(const struct step_texts *texts, struct event *event, struct err *err)
{
    int r = fill_enums(texts, event, err);

    if (r == 0)
        r = copy_text(event->ns_name, sizeof(event->ns_name), "ns", texts->ns, err);
    if (r == 0)
        r = copy_text(event->name, sizeof(event->name), "name", texts->name, err);
    if (r == 0)
        r = copy_text(event->uid, sizeof(event->uid), "uid", texts->uid, err);
    if (r == 0)
        r = copy_text(event->text, sizeof(event->text), "text", texts->text, err);
    if (r < 0)
        return r;
    if (event_has_object(event->kind) != (texts->object != NULL))
        return err_set(err, -EINVAL, "object: a step of kind '%s' has %s", texts->kind,
                       texts->object ? "none" : "one");
    return texts->object ? read_event(texts->object, event, err) : 0;
}

static int read_step(json_t *root, struct trace_line *line, struct err *err)
{
    struct step_texts texts = {0};
    json_int_t now, ticket = 0, wall_ns = 0, busbw = 0;
    json_error_t error;

    if (json_unpack_ex(root, &error, JSON_STRICT,
                       "{s:s, s:I, s?s, s?s, s?s, s?I, s?I, s?I, s?s, s?s, s?s, s?s, s?o}", "step",
                       &texts.kind, "now", &now, "ns", &texts.ns, "name", &texts.name, "uid",
                       &texts.uid, "ticket", &ticket, "wall_ns", &wall_ns, "busbw", &busbw, "group", &texts.group,
                       "action", &texts.action, "result", &texts.result, "text", &texts.text,
                       "object", &texts.object) < 0)
        return err_set(err, -EINVAL, "step: %s", error.text);
    line->kind = TRACE_STEP;
    line->now_ns = now;
    line->event.ticket = (uint64_t)ticket;
    line->event.wall_ns = wall_ns;
    line->event.busbw = busbw;
    return fill_event(&texts, &line->event, err);
}

/* ---- lines -------------------------------------------------------------------------------------- */

static int read_settle(json_t *root, struct trace_line *line, struct err *err)
{
    json_int_t now;
    json_error_t error;

    if (json_unpack_ex(root, &error, JSON_STRICT, "{s:I}", "settle", &now) < 0)
        return err_set(err, -EINVAL, "settle: %s", error.text);
    line->kind = TRACE_SETTLE;
    line->now_ns = now;
    return 0;
}

/* Its fields are compared with the core's action, so a wrong one is found there. */
static int read_action(json_t *root, struct trace_line *line, struct err *err)
{
    const char *name = json_string_value(json_object_get(root, "act"));
    int kind = 0;
    int r = read_enum("act", name ? name : "", ACTION_KINDS, action_name, &kind, err);

    if (r < 0)
        return r;
    line->kind = TRACE_ACTION;
    line->action = json_incref(root);
    return 0;
}

static int read_end(json_t *root, struct trace_line *line, struct err *err)
{
    const char *why;
    json_error_t error;

    if (json_unpack_ex(root, &error, JSON_STRICT, "{s:s}", "end", &why) < 0)
        return err_set(err, -EINVAL, "end: %s", error.text);
    line->kind = TRACE_END;
    return 0;
}

static int read_root(json_t *root, struct trace_line *line, struct err *err)
{
    static const struct {
        const char *key;
        int (*read)(json_t *root, struct trace_line *line, struct err *err);
    } kinds[] = {{"step", read_step},
                 {"settle", read_settle},
                 {"act", read_action},
                 {"trace", read_header},
                 {"end", read_end}};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (json_object_get(root, kinds[i].key))
            return kinds[i].read(root, line, err);
    return err_set(err, -EINVAL, "found none of the keys trace, step, settle, act, end");
}

int trace_line_read(const char *text, size_t len, struct trace_line *ret, struct err *err)
{
    struct trace_line line = {0};
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    int r;

    if (!root)
        return err_set(err, -EBADMSG, "expected a JSON object: %s", error.text);
    r = read_root(root, &line, err);
    json_decref(root);
    if (r < 0)
        trace_line_release(&line);
    else
        *ret = line;
    return r;
}

void trace_line_release(struct trace_line *line)
{
    config_release(&line->header.config);
    event_release(&line->event);
    json_decref(line->action);
    *line = (struct trace_line){0};
}
