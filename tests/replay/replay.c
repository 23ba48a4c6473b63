#include "tests/replay/replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hashmap.h"
#include "scheduler/model/core.h"
#include "scheduler/trace/trace.h"
#include "topology/catalogue.h"

#define SHOWN 230 /* bytes of a line in the message about a difference */
#define RESTLESS_MAX 100 /* settlings in a row that leave something due at once, with no event between */

struct replay {
    const char *path;
    const struct trace_reader *reader;
    struct replay_counts *counts;
    struct config config;
    struct core *core; /* NULL: no header yet, or the process has ended */
    struct actions actions; /* of the last call */
    size_t seen; /* how many of them the trace had */
    unsigned restless;
    struct hashmap gangs; /* "ns/name" of every GangPlacement that was written */
    struct strbuf line; /* an action of ours as a trace has it */
};

#define FAULT(replay, code, err, ...)                                                              \
    err_prefix(err, err_set(err, code, __VA_ARGS__), "%s:%llu", (replay)->path,                    \
               (unsigned long long)trace_reader_line((replay)->reader))

/* ---- what the core wants against what it wanted then ----------------------------------------------- */

static const char *show(struct replay *replay, const struct action *action)
{
    strbuf_clear(&replay->line);
    trace_add_action(&replay->line, action);
    return replay->line.data ? replay->line.data : "";
}

static int differs(struct replay *replay, const json_t *expected, struct err *err)
{
    char *text = json_dumps(expected, JSON_COMPACT | JSON_PRESERVE_ORDER);
    const char *got = replay->seen < replay->actions.n
                          ? show(replay, &replay->actions.items[replay->seen])
                          : "no further action\n";
    int r = FAULT(replay, 1, err, "expected %.*s\n  got      %.*s", SHOWN, text ? text : "?", SHOWN,
                  got);

    free(text);
    return r;
}

static int compare_action(struct replay *replay, const json_t *expected, struct err *err)
{
    json_t *got;
    bool same;

    if (!replay->core)
        return FAULT(replay, -EINVAL, err, "an action before any header");
    if (replay->seen == replay->actions.n)
        return differs(replay, expected, err);
    show(replay, &replay->actions.items[replay->seen]);
    got = json_loadb(replay->line.data, replay->line.len, 0, NULL);
    same = got && json_equal(got, expected);
    json_decref(got);
    if (!same)
        return differs(replay, expected, err);
    replay->seen++;
    replay->counts->actions++;
    return 0;
}

/* Before the next call: the last one has nothing left that the trace does not have. */
static int finish_call(struct replay *replay, struct err *err)
{
    if (replay->seen < replay->actions.n)
        return FAULT(replay, 1, err, "expected no further action\n  got      %.*s", SHOWN,
                     show(replay, &replay->actions.items[replay->seen]));
    actions_clear(&replay->actions);
    replay->seen = 0;
    return 0;
}

/* ---- processes ------------------------------------------------------------------------------------ */

static void end_process(struct replay *replay)
{
    struct core_counts counts;

    if (!replay->core)
        return;
    core_counts(replay->core, &counts);
    replay->counts->plans += counts.plans;
    replay->counts->binds += counts.binds;
    core_free(replay->core);
    replay->core = NULL;
    config_release(&replay->config);
    actions_clear(&replay->actions);
    replay->seen = 0;
}

/* A killed process may have wanted more than it could tell. */
static void end_killed(struct replay *replay)
{
    replay->counts->cut += replay->core != NULL;
    end_process(replay);
}

static int begin_process(struct replay *replay, struct trace_header *header, struct err *err)
{
    end_killed(replay);
    replay->config = header->config;
    header->config = (struct config){0};
    replay->config.find_machine = catalogue_machine; /* as the extender that recorded */
    replay->core = core_new(&replay->config);
    if (!replay->core) {
        config_release(&replay->config);
        return FAULT(replay, -ENOMEM, err, "out of memory");
    }
    core_set_host(replay->core, header->host);
    core_set_epoch(replay->core, header->epoch_s);
    core_set_predecessor(replay->core, header->began_ns);
    replay->counts->starts++;
    return 0;
}

/* ---- calls ---------------------------------------------------------------------------------------- */

static void note_gangs(struct replay *replay)
{
    for (size_t i = 0; i < replay->actions.n; i++) {
        const struct action *action = &replay->actions.items[i];
        char key[2 * NAME_TEXT];

        if (action->kind != ACT_PLACEMENT)
            continue;
        snprintf(key, sizeof(key), "%s/%s", action->ns, action->name);
        hashmap_set(&replay->gangs, key, replay);
    }
    replay->counts->gangs = replay->gangs.n;
}

/* A core that always has something to do at once keeps a processor busy and gets nowhere. */
static int check_rest(struct replay *replay, const struct trace_line *line, struct err *err)
{
    if (line->kind == TRACE_STEP || core_deadline(replay->core) > line->now_ns)
        replay->restless = 0;
    else
        replay->restless++;
    if (replay->restless < RESTLESS_MAX)
        return 0;
    return err_set(err, -EBUSY, "after %d settlings without an event something is due at once again",
                   RESTLESS_MAX);
}

static int call(struct replay *replay, struct trace_line *line, struct err *err)
{
    int64_t from = clock_boot_ns();
    int r;

    if (line->kind == TRACE_STEP) {
        core_step(replay->core, &line->event, line->now_ns, &replay->actions);
        line->event.object.node = NULL; /* the core has taken it */
        replay->counts->events++;
    } else {
        core_settle(replay->core, line->now_ns, &replay->actions);
        replay->counts->settles++;
    }
    r = core_check(replay->core, err);
    if (r == 0)
        r = check_rest(replay, line, err);
    replay->counts->ns += clock_boot_ns() - from;
    note_gangs(replay);
    if (r == 0)
        return 0;
    replay->counts->violations++;
    return err_prefix(err, 1, "%s:%llu: broken invariant", replay->path,
                      (unsigned long long)trace_reader_line(replay->reader));
}

static int take_line(struct replay *replay, struct trace_line *line, struct err *err)
{
    int r = 0;

    if (line->kind == TRACE_HEADER)
        return begin_process(replay, &line->header, err);
    if (line->kind == TRACE_ACTION)
        return compare_action(replay, line->action, err);
    if (!replay->core)
        return FAULT(replay, -EINVAL, err, "a line that is no header, where a process begins");
    r = finish_call(replay, err);
    if (r == 0 && line->kind == TRACE_END)
        end_process(replay);
    else if (r == 0)
        r = call(replay, line, err);
    return r;
}

static int read_lines(struct replay *replay, struct trace_reader *reader, struct err *err)
{
    struct trace_line line = {0};
    int r;

    while ((r = trace_reader_next(reader, &line, err)) > 0) {
        r = take_line(replay, &line, err);
        trace_line_release(&line);
        if (r != 0)
            return r;
    }
    if (r == 0)
        end_killed(replay);
    if (r == 0 && replay->counts->starts == 0)
        r = err_set(err, -EINVAL, "%s: it is empty, expected a trace", replay->path);
    return r;
}

int replay_file(const char *path, struct replay_counts *counts, struct err *err)
{
    FILE *file = fopen(path, "re");
    struct trace_reader *reader;
    struct replay replay = {.path = path, .counts = counts, .line = STRBUF_INIT(TRACE_LINE_MAX)};
    int r;

    *counts = (struct replay_counts){0};
    if (!file)
        return err_set(err, -errno, "cannot read trace '%s': %s", path, strerror(errno));
    reader = trace_reader_new(file, path);
    if (!reader)
        return err_set(err, -ENOMEM, "out of memory");
    replay.reader = reader;
    r = read_lines(&replay, reader, err);
    counts->torn = trace_reader_torn(reader);
    end_process(&replay);
    actions_release(&replay.actions);
    hashmap_release(&replay.gangs);
    strbuf_release(&replay.line);
    trace_reader_free(reader);
    return r;
}
