/* A recorded session replays; one that was changed, or a core that does otherwise, is noticed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scheduler/kube/read.h"
#include "scheduler/model/core.h"
#include "scheduler/trace/recording.h"
#include "tests/replay/replay.h"
#include "topology/catalogue.h"

#define SECOND INT64_C(1000000000)

static char path[64];

struct session { /* what the extender's loop is, in small */
    struct trace_header header;
    struct core *core;
    struct recording *recording;
    struct actions actions;
    int64_t now_ns;
};

static int open_folder(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "/tmp/test_replay.XXXXXX");
    assert_non_null(mkdtemp(path));
    strncat(path, "/trace", sizeof(path) - strlen(path) - 1);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    return 0;
}

static void step(struct session *session, struct event event, json_t *object)
{
    char *kept = object ? recording_object(session->recording, event.kind, object) : NULL;
    size_t from = session->actions.n;
    struct err err = ERR_INIT;

    session->now_ns += SECOND / 10;
    core_step(session->core, &event, session->now_ns, &session->actions);
    recording_step(session->recording, &event, kept, session->now_ns);
    recording_actions(session->recording, &session->actions, from, session->actions.n);
    from = session->actions.n;
    core_settle(session->core, session->now_ns, &session->actions);
    recording_settle(session->recording, session->now_ns);
    recording_actions(session->recording, &session->actions, from, session->actions.n);
    if (recording_flush(session->recording, &err) < 0)
        fail_msg("%s", err.text);
    free(kept);
    json_decref(object);
}

static json_t *node_json(int i)
{
    char name[16], rack[16];

    snprintf(name, sizeof(name), "n%d", i);
    snprintf(rack, sizeof(rack), "r%d", i / 2);
    return json_pack("{s:{s:s, s:s, s:{s:s}}, s:{s:{s:s, s:s}}}", "metadata", "name", name, "uid",
                     name, "labels", "rack", rack, "status", "allocatable", "nvidia.com/gpu", "8",
                     "pods", "110");
}

static json_t *pod_json(int i)
{
    char name[16];

    snprintf(name, sizeof(name), "p%d", i);
    return json_pack("{s:{s:s, s:s, s:s, s:{s:s}, s:{s:s}}, s:{s:s, s:[{s:{s:{s:s}}}]}}", "metadata",
                     "namespace", "ns", "name", name, "uid", name, "labels", "lockstep.dev/gang",
                     "train", "annotations", "lockstep.dev/gang-size", "4", "spec", "schedulerName",
                     "lockstep", "containers", "resources", "limits", "nvidia.com/gpu", "8");
}

static void give(struct session *session, enum event_kind kind, json_t *object)
{
    struct event event = {.kind = kind};
    struct err err = ERR_INIT;
    int r = kind == EV_NODE ? read_node(object, &event.object.node, &err)
                            : read_pod(object, &event.object.pod, &err);

    if (r < 0)
        fail_msg("%s", err.text);
    step(session, event, object);
}

static void answer_all(struct session *session, enum action_kind kind)
{
    size_t n = session->actions.n;

    for (size_t i = 0; i < n; i++) {
        const struct action *action = &session->actions.items[i];
        struct event done = {.kind = EV_WRITE_DONE, .action = kind, .ticket = action->ticket};

        if (action->kind != kind)
            continue;
        snprintf(done.ns_name, sizeof(done.ns_name), "%s", action->ns);
        snprintf(done.name, sizeof(done.name), "%s", action->name);
        snprintf(done.uid, sizeof(done.uid), "%s", action->uid);
        step(session, done, NULL);
    }
}

static void vote(struct session *session, int i)
{
    struct event event = {.kind = EV_VOTE, .ticket = (uint64_t)i + 1};
    struct answer answer;

    snprintf(event.uid, sizeof(event.uid), "p%d", i);
    core_answer(session->core, event.uid, &answer);
    assert_int_equal(answer.kind, ANSWER_PLANNED);
    snprintf(event.name, sizeof(event.name), "%s", answer.node);
    step(session, event, NULL);
}

static void begin(struct session *session)
{
    struct err err = ERR_INIT;

    *session = (struct session){.now_ns = SECOND,
                                .header = {.program = "test 1", .epoch_s = 1700000000,
                                           .began_ns = SECOND}};
    if (config_parse("test", "levels: [rack]\nlease: off\n", 26, &session->header.config, &err) < 0)
        fail_msg("%s", err.text);
    session->header.config.find_machine = catalogue_machine; /* as the extender that recorded */
    session->core = core_new(&session->header.config);
    core_set_epoch(session->core, session->header.epoch_s);
    core_set_predecessor(session->core, session->header.began_ns);
    if (recording_open(path, &session->header, RECORDING_MAX_BYTES, &session->recording, &err) < 0)
        fail_msg("%s", err.text);
}

/* A gang of four is planned, votes and is bound. */
static void play(struct session *session)
{
    for (int i = 0; i < 6; i++)
        give(session, EV_NODE, node_json(i));
    step(session, (struct event){.kind = EV_SYNCED}, NULL);
    for (int i = 0; i < 4; i++)
        give(session, EV_POD, pod_json(i));
    answer_all(session, ACT_PLACEMENT);
    for (int i = 0; i < 4; i++)
        vote(session, i);
    answer_all(session, ACT_PLACEMENT);
    answer_all(session, ACT_BIND);
    session->now_ns += 3 * SECOND; /* the calls are answered though the watch shows nothing */
    step(session, (struct event){.kind = EV_TICK}, NULL);
}

static void end(struct session *session)
{
    recording_close(session->recording, "over");
    core_free(session->core);
    actions_release(&session->actions);
    config_release(&session->header.config);
}

/* The text of a whole session's trace. */
static char *play_once(void)
{
    struct strbuf text = STRBUF_INIT(1 << 24);
    struct session session;

    begin(&session);
    play(&session);
    end(&session);
    assert_int_equal(strbuf_read_file(&text, path), 0);
    return strbuf_take(&text, NULL);
}

static void write_file(const char *text, size_t len)
{
    FILE *file = fopen(path, "we");

    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
}

static void a_session_replays_and_so_do_two_in_one_file(void **state)
{
    struct session session;
    struct replay_counts counts;
    struct err err = ERR_INIT;

    (void)state;
    for (uint64_t n = 1; n <= 2; n++) {
        begin(&session);
        play(&session);
        end(&session);
        if (replay_file(path, &counts, &err) != 0)
            fail_msg("%s", err.text);
        assert_int_equal(counts.starts, n);
        assert_int_equal(counts.cut, 0);
        assert_int_equal(counts.plans, n);
        assert_int_equal(counts.gangs, 1);
        assert_int_equal(counts.binds, 4 * n);
        assert_int_equal(counts.violations, 0);
        assert_int_equal(counts.settles, counts.events);
        assert_true(counts.actions > 8 * n);
    }
}

/* Wherever a kill cuts the file, what is left replays. */
static void a_killed_session_replays_from_any_cut(void **state)
{
    struct session session;
    struct replay_counts counts;
    struct err err = ERR_INIT;
    size_t header, last;
    char *text = play_once();

    (void)state;
    header = (size_t)(strchr(text, '\n') - text) + 1;
    last = (size_t)(strstr(text, "{\"end\"") - text);
    for (size_t cut = header; cut <= last; cut += 97) {
        write_file(text, cut);
        begin(&session); /* another process after it */
        end(&session);
        if (replay_file(path, &counts, &err) != 0)
            fail_msg("cut at %zu: %s", cut, err.text);
        assert_int_equal(counts.starts, 2);
        assert_int_equal(counts.cut, 1);
    }
    free(text);
}

/* One changed, missing or additional line each: what the replay says, and the number of the line. */
static const struct {
    const char *line; /* the first that holds this ... */
    const char *from, *to; /* ... gets this changed; from NULL: it is left out, to: put before it */
    int r;
    const char *message;
} changes[] = {
    {"\"act\":\"bind\"", "\"node\":\"n", "\"node\":\"m", 1, "expected {\"act\":\"bind\""},
    {"\"act\":\"placement\"", "\"ticket\":", "\"ticket\":9", 1, "got      {\"act\":\"placement\""},
    {"\"act\":\"reply\"", NULL, NULL, 1, ""},
    {"\"act\":\"bind\"", NULL, "{\"act\":\"evict\"}", 1, "expected {\"act\":\"evict\"}"},
    {"\"step\":\"pod\"", NULL, NULL, 1, ""},
    {"\"step\":\"node\"", "\"8\"", "\"4\"", 1, ""},
    {"\"step\":\"vote\"", "vote", "veto", -EINVAL, "step: found 'veto'"},
    {"\"trace\"", NULL, NULL, -EINVAL, ":1: a line that is no header"},
    {"\"end\"", NULL, "{\"act\":\"evict\"}", 1, "no further action"},
};

static char *change(const char *text, size_t i, size_t *ret_len)
{
    struct strbuf out = STRBUF_INIT(1 << 24);
    const char *at = strstr(text, changes[i].line), *next, *from;

    assert_non_null(at);
    while (at > text && at[-1] != '\n')
        at--;
    next = strchr(at, '\n') + 1;
    strbuf_add(&out, text, (size_t)(at - text));
    if (changes[i].from) {
        from = strstr(at, changes[i].from);
        assert_true(from && from < next);
        strbuf_add(&out, at, (size_t)(from - at));
        strbuf_adds(&out, changes[i].to);
        at = from + strlen(changes[i].from);
        strbuf_add(&out, at, (size_t)(next - at));
    } else if (changes[i].to) {
        strbuf_addf(&out, "%s\n%.*s", changes[i].to, (int)(next - at), at);
    }
    strbuf_adds(&out, next);
    return strbuf_take(&out, ret_len);
}

static void what_was_changed_is_found(void **state)
{
    char *text = play_once();

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        size_t changed_len;
        char *changed = change(text, i, &changed_len);
        struct replay_counts counts;
        struct err err = ERR_INIT;
        int r;

        write_file(changed, changed_len);
        r = replay_file(path, &counts, &err);
        if (r != changes[i].r || !strstr(err.text, changes[i].message) ||
            strncmp(err.text, path, strlen(path)) != 0)
            fail_msg("change %zu: %d '%s'", i, r, err.text);
        free(changed);
    }
    free(text);
}

static void what_is_no_trace_is_refused(void **state)
{
    struct replay_counts counts;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(replay_file("/nowhere/trace", &counts, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/trace"));
    write_file("", 0);
    assert_int_equal(replay_file(path, &counts, &err), -EINVAL);
    assert_non_null(strstr(err.text, "it is empty"));
    write_file("kind: Pod\nname: x\n", 18);
    assert_int_equal(replay_file(path, &counts, &err), -EINVAL);
    assert_non_null(strstr(err.text, ":1: expected a JSON object"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_folder, close_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_session_replays_and_so_do_two_in_one_file),
        CASE(a_killed_session_replays_from_any_cut),
        CASE(what_was_changed_is_found),
        CASE(what_is_no_trace_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
