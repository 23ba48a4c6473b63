/*
 * Measuring a gang where it is bound. The core asks for it once for each plan (ACT_PROBE), when all places of the gang
 * are bound and stored; who does it answers once (EV_PROBED). What came out stands in status.probe, so a restart
 * asks again only while nothing stands there. A gang is not held back by the core: under `gate` the probe itself, an
 * init container, does not end.
 *
 * Exits: the answer; a plan that is no more; all pods run and nothing came (then no probe is in them); the deadline.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "scheduler/model/core_internal.h"

#define GRACE_NS (30 * NS_PER_S) /* beyond the deadline of who measures, which says more than we could */
#define LEAST_NS (10 * NS_PER_S) /* that is left after a restart or for a pod that came in another's place */
#define RUNNING_NS (15 * NS_PER_S) /* from all pods running on: init containers have ended then */

enum probe_policy core__probe_policy(const struct core *core, const struct gang *gang)
{
    const struct obj_pod *pod = gang->nmembers ? gang->members[0]->object : NULL;

    return pod && pod->wish.probe != PROBE_UNSAID ? pod->wish.probe : core->config->probe;
}

/* Who sits where, so that a pod that came in another's place is measured too. */
static uint64_t seats_of(const struct gang *gang)
{
    uint64_t sum = UINT64_C(14695981039346656037); /* FNV-1a, 64 bit: its offset and prime */

    for (uint32_t i = 0; i < gang->nslots; i++)
        for (const char *at = gang->slots[i].pod ? gang->slots[i].pod->object->uid : ""; *at; at++)
            sum = (sum ^ (unsigned char)*at) * UINT64_C(1099511628211);
    return sum;
}

/* ---- the question --------------------------------------------------------------------------------------- */

static json_t *pods_json(const struct core *core, const struct gang *gang)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < gang->nslots; i++) {
        const struct slot *slot = &gang->slots[i];

        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i, s:i}", "name", slot->pod->object->name, "uid",
                                              slot->pod->object->uid, "node", slot->node->name, "rank", (int)i,
                                              "gpus", (int)core_accelerators(core, &slot->pod->requests)));
    }
    return list;
}

/* Of the deadline, which runs from when the plan was first asked about: also over restarts and replaced pods. */
static int64_t time_left_ns(const struct core *core, const struct gang_probe *probe)
{
    int64_t passed_s = core->epoch_s + core->now_ns / NS_PER_S - probe->began_s;
    int64_t left_ns = core->config->probe_deadline_ns - (passed_s > 0 ? passed_s * NS_PER_S : 0);

    return left_ns > LEAST_NS ? left_ns : LEAST_NS;
}

static void tell_wait(struct core *core, const struct pod *pod)
{
    struct action *action = core__act(core, ACT_PROBE_POD);

    if (!action)
        return; /* without memory: peers are not told why it is not there */
    core__act_on_pod(action, pod->object, "");
    action->text = pod->object->waiting ? strdup(pod->object->waiting) : NULL;
}

static void ask(struct core *core, struct gang *gang)
{
    struct gang_probe *probe = &gang->probe;
    struct action *action = core__act(core, ACT_PROBE);
    json_t *body;

    if (!action)
        return; /* without memory: at the next settling */
    if (probe->began_s == 0 || probe->generation != gang->generation)
        *probe = (struct gang_probe){.began_s = core->epoch_s + core->now_ns / NS_PER_S};
    probe->phase = PROBE_ASKED;
    probe->generation = gang->generation;
    probe->seats = seats_of(gang);
    probe->until_ns = core->now_ns + time_left_ns(core, probe) + GRACE_NS;
    core__predict(core, gang);
    body = json_pack("{s:s, s:s, s:f, s:I, s:o}", "gang", gang->key, "policy",
                     probe_policy_name(core__probe_policy(core, gang)), "expected_gb_s",
                     gang->predicted.busbw_gb_s, "deadline_ns", (json_int_t)time_left_ns(core, probe), "pods",
                     pods_json(core, gang));
    snprintf(action->ns, sizeof(action->ns), "%s", gang->ns);
    snprintf(action->name, sizeof(action->name), "%s", gang->record.name);
    action->ticket = (uint64_t)gang->generation;
    action->body = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(body);
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (gang->slots[i].pod->object->waiting)
            tell_wait(core, gang->slots[i].pod);
    gang->record.dirty = true;
    core__touch(core, gang);
}

void core__probe_waits(struct core *core, const struct pod *pod, bool was_stuck)
{
    struct gang *gang = pod->gang;

    if (!gang || pod->slot < 0 || gang->probe.phase != PROBE_ASKED)
        return;
    tell_wait(core, pod);
    if (!was_stuck && !pod->object->stuck)
        return; /* what passes by itself is not written down */
    gang->record.dirty = true;
    core__touch(core, gang);
}

/* Who measures need not go on. */
static void call_off(struct core *core, const struct gang *gang)
{
    struct action *action = core__act(core, ACT_PROBE_END);

    if (!action)
        return; /* without memory: it has a deadline of its own */
    snprintf(action->ns, sizeof(action->ns), "%s", gang->ns);
    snprintf(action->name, sizeof(action->name), "%s", gang->record.name);
    action->ticket = (uint64_t)gang->probe.generation;
}

void core__end_probe(struct core *core, struct gang *gang)
{
    if (gang->probe.phase == PROBE_ASKED)
        call_off(core, gang);
    gang->probe = (struct gang_probe){0};
}

/* ---- the answer ----------------------------------------------------------------------------------------- */

static void tell(struct core *core, const struct gang *gang)
{
    bool bad = strcmp(gang->probe.verdict, "ok") != 0;
    struct action *action = gang->nslots > 0 && gang->slots[0].pod ? core__act(core, ACT_POD_EVENT) : NULL;
    char text[PROBE_TEXT + 64];

    if (!action)
        return;
    core__act_on_pod(action, gang->slots[0].pod->object, "");
    snprintf(action->reason, sizeof(action->reason), "%s", bad ? "ProbeNotOk" : "Probed");
    action->warning = bad;
    snprintf(text, sizeof(text), "%s: %s", gang->probe.verdict, gang->probe.message);
    action->text = strdup(text);
}

static void end(struct core *core, struct gang *gang, const char *verdict, const char *message, int64_t busbw)
{
    struct gang_probe *probe = &gang->probe;

    probe->phase = PROBE_DONE;
    probe->ended_s = core->epoch_s + core->now_ns / NS_PER_S;
    snprintf(probe->verdict, sizeof(probe->verdict), "%s", verdict);
    snprintf(probe->message, sizeof(probe->message), "%s", message);
    probe->measured[0] = '\0';
    if (busbw > 0)
        snprintf(probe->measured, sizeof(probe->measured), busbw < INT64_C(10000000000) ? "%" PRId64 "M" : "%" PRId64 "G",
                 busbw < INT64_C(10000000000) ? busbw / 1000000 : busbw / 1000000000);
    tell(core, gang);
    gang->record.dirty = true;
    core__touch(core, gang);
}

void core__on_probed(struct core *core, const struct event *event)
{
    char key[KEY_TEXT];
    struct gang *gang;

    core__key(key, "", event->ns_name, event->name);
    gang = hashmap_get(&core->records, key);
    if (gang && gang->probe.phase == PROBE_ASKED && (uint64_t)gang->probe.generation == event->ticket)
        end(core, gang, event->uid, event->text, event->busbw);
}

/* ---- when ----------------------------------------------------------------------------------------------- */

static uint32_t count_running(const struct gang *gang)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < gang->nslots; i++)
        n += gang->slots[i].pod && gang->slots[i].pod->object->phase != POD_PENDING;
    return n;
}

static void give_up(struct core *core, struct gang *gang, const char *why)
{
    call_off(core, gang);
    end(core, gang, "infrastructure", why, 0);
}

/* Nobody answered. All pods run: their init containers have ended, and a probe among them would have told. */
static void look_at_the_clock(struct core *core, struct gang *gang)
{
    struct gang_probe *probe = &gang->probe;

    if (count_running(gang) < gang->nslots)
        probe->running_ns = 0;
    else if (probe->running_ns == 0)
        probe->running_ns = core->now_ns;
    if (core->now_ns >= probe->until_ns) {
        give_up(core, gang, "no verdict came in time");
    } else if (probe->running_ns && core->now_ns >= probe->running_ns + RUNNING_NS) {
        give_up(core, gang,
                "all pods run and none of them was measured: give them the init container of "
                "configs/examples/job-probe.yaml, or label lockstep.dev/probe: off");
    } else {
        core__wake_at(core, gang, probe->until_ns);
        if (probe->running_ns)
            core__wake_at(core, gang, probe->running_ns + RUNNING_NS);
    }
}

void core__probe(struct core *core, struct gang *gang)
{
    struct gang_probe *probe = &gang->probe;
    bool bound = gang->nslots > 0 && gang_bound(gang) == gang->nslots && gang_count(gang, SLOT_DONE) == 0;

    if (probe->phase != PROBE_NONE && probe->generation != gang->generation)
        core__end_probe(core, gang);
    if (probe->phase == PROBE_DONE && probe->generation == gang->generation)
        return;
    if (core__probe_policy(core, gang) == PROBE_OFF) {
        core__end_probe(core, gang);
        return;
    }
    if (bound && gang->persisted && (probe->phase != PROBE_ASKED || probe->seats != seats_of(gang)))
        ask(core, gang);
    if (probe->phase == PROBE_ASKED)
        look_at_the_clock(core, gang);
}

/* ---- what stands in the GangPlacement -------------------------------------------------------------------- */

/* Asked about by whoever led before: it will be again, and nothing that is written until then may lose since when. */
static bool is_to_go_on(const struct gang *gang)
{
    return gang->probe.phase == PROBE_NONE && gang->probe.began_s > 0 && gang->probe.generation == gang->generation;
}

const char *gang_state_text(const struct gang *gang)
{
    if (gang->state != GANG_BOUND)
        return gang_state_name(gang->state);
    if (gang->probe.phase == PROBE_ASKED || is_to_go_on(gang))
        return "Probing";
    if (gang->probe.phase == PROBE_NONE)
        return gang_state_name(gang->state);
    if (strcmp(gang->probe.verdict, "ok") == 0)
        return "Validated";
    return strcmp(gang->probe.verdict, "slow") == 0 ? "Degraded" : gang_state_name(gang->state);
}

static json_t *time_or_null(int64_t wall_s)
{
    char text[TIME_TEXT];

    if (wall_s <= 0)
        return json_null();
    core__time_text(text, wall_s);
    return json_string(text);
}

/* Who holds the others up, while nothing is decided. Of several the first one is named. */
static json_t *stuck_or_null(const struct gang *gang)
{
    const struct slot *first = NULL;
    char text[PROBE_TEXT]; /* names are cut rather than what it is */
    uint32_t n = 0;

    for (uint32_t i = 0; i < gang->nslots; i++)
        if (gang->slots[i].pod && gang->slots[i].pod->object->stuck) {
            first = first ? first : &gang->slots[i];
            n++;
        }
    if (!first)
        return json_null();
    snprintf(text, sizeof(text), "%u of %u pods cannot begin: %s (pod %s on %s)", n, gang->nslots,
             first->pod->object->waiting, first->pod->object->name, first->node ? first->node->name : "");
    return json_string(text);
}

json_t *core__probe_json(const struct gang *gang)
{
    const struct gang_probe *probe = &gang->probe;

    if (probe->phase == PROBE_NONE && !is_to_go_on(gang))
        return json_null();
    return json_pack("{s:I, s:o, s:o, s:o, s:o}", "generation", (json_int_t)probe->generation, "verdict",
                     probe->phase == PROBE_DONE ? json_string(probe->verdict) : json_null(), "message",
                     probe->phase == PROBE_DONE ? json_string(probe->message) : stuck_or_null(gang), "startedAt",
                     time_or_null(probe->began_s), "endedAt", time_or_null(probe->ended_s));
}

void core__adopt_probe(struct gang *gang, const struct obj_placement *placement)
{
    struct gang_probe *probe = &gang->probe;

    *probe = (struct gang_probe){0};
    probe->generation = placement->probe_generation;
    probe->began_s = placement->probe_began_s;
    if (placement->probe_generation == 0 || !placement->probe_verdict[0])
        return; /* it was going on, or never began: whoever leads now asks again */
    probe->phase = PROBE_DONE;
    probe->ended_s = placement->probe_ended_s;
    snprintf(probe->verdict, sizeof(probe->verdict), "%s", placement->probe_verdict);
    snprintf(probe->message, sizeof(probe->message), "%s", placement->probe_message);
    snprintf(probe->measured, sizeof(probe->measured), "%s", placement->measured);
}
