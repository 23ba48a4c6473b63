/* Gangs: making, comparing, forgetting; and the heap of what is due. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "collective/coordinator_internal.h"

#define KEY_TEXT (PROBE_NAMESPACE_MAX + PROBE_NAME_MAX + 2)

static void key_of(char ret[KEY_TEXT], const struct probe_gang_id *id)
{
    snprintf(ret, KEY_TEXT, "%s/%s", id->ns, id->name);
}

struct cgang *coord__find(const struct coordinator *coordinator, const struct probe_gang_id *id)
{
    char key[KEY_TEXT];

    key_of(key, id);
    return hashmap_get(&coordinator->gangs, key);
}

/* ---- what is due ----------------------------------------------------------------------------- */

static void put(struct coordinator *coordinator, size_t at, struct cgang *gang)
{
    coordinator->heap[at] = gang;
    gang->heap_at = at;
}

static void sift(struct cgang *gang)
{
    struct coordinator *coordinator = gang->coordinator;
    struct cgang **heap = coordinator->heap;
    size_t at = gang->heap_at;

    for (; at > 0 && heap[(at - 1) / 2]->due_ns > gang->due_ns; at = (at - 1) / 2)
        put(coordinator, at, heap[(at - 1) / 2]);
    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < coordinator->heap_size && heap[child + 1]->due_ns < heap[child]->due_ns)
            child++;
        if (child >= coordinator->heap_size || heap[child]->due_ns >= gang->due_ns)
            break;
        put(coordinator, at, heap[child]);
        at = child;
    }
    put(coordinator, at, gang);
}

static void heap_remove(struct cgang *gang)
{
    struct coordinator *coordinator = gang->coordinator;
    struct cgang *last = coordinator->heap[--coordinator->heap_size];

    if (last == gang)
        return;
    put(coordinator, gang->heap_at, last);
    sift(last);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void coord__due(struct cgang *gang)
{
    int64_t deadline = MUTANT(NO_DEADLINE) ? INT64_MAX : gang->deadline_ns;

    switch (gang->phase) {
    case PHASE_COLLECTING:
        gang->due_ns = earlier(deadline, coord__waiting_due(gang));
        break;
    case PHASE_RUNNING:
        gang->due_ns = earlier(deadline, gang->round_until_ns);
        break;
    case PHASE_HELD:
        gang->due_ns = MUTANT(HELD_FOR_EVER) ? INT64_MAX : gang->until_ns;
        break;
    case PHASE_DONE:
        gang->due_ns = gang->until_ns;
        break;
    }
    sift(gang);
}

/* ---- the end of one -------------------------------------------------------------------------- */

static void member_release(struct coordinator *coordinator, struct member *member)
{
    coord__detach(member);
    if (member->uid && hashmap_get(&coordinator->pods, member->uid) == member)
        hashmap_remove(&coordinator->pods, member->uid);
    free(member->uid);
    free(member->why);
    free(member->addresses);
    intern_free(member->backend);
    intern_free(member->version);
}

static void gang_free(struct cgang *gang)
{
    struct coordinator *coordinator = gang->coordinator;

    for (uint32_t i = 0; i < gang->nmembers; i++)
        member_release(coordinator, &gang->members[i]);
    free(gang->members);
    free(gang->result.pair_gb_s);
    free(gang);
}

void coord__forget(struct cgang *gang, const char *reason)
{
    struct coordinator *coordinator = gang->coordinator;
    struct coordinator_order *order =
        gang->nstreams && coordinator->out ? coord__abort_order(gang, true, reason) : NULL;
    char key[KEY_TEXT];

    for (uint32_t i = 0; order && i < gang->nmembers; i++)
        if (gang->members[i].stream && !MUTANT(FORGOTTEN_STREAMS))
            coord__send(coordinator, &gang->members[i], gang->members[i].stream, order, true);
    coord__order_unref(order);
    key_of(key, &gang->id);
    hashmap_remove(&coordinator->gangs, key);
    heap_remove(gang);
    coordinator->counts.gangs--;
    coordinator->counts.members -= gang->nmembers;
    coordinator->counts.ranks -= gang->ranks;
    gang_free(gang);
}

/* ---- a new one ------------------------------------------------------------------------------- */

static int check_pod(const struct coordinator_pod *pod, uint32_t ranks, struct err *err)
{
    int r = probe_names_check(pod->pod, pod->uid, pod->node, err);

    if (r < 0)
        return err_prefix(err, r, "pod '%.64s'", pod->pod);
    if (pod->devices < 1 || pod->devices > PROBE_DEVICES_MAX)
        return err_set(err, -EINVAL, "pod %.64s: found %u ranks, expected 1 to %d", pod->pod,
                       pod->devices, PROBE_DEVICES_MAX);
    if (pod->first_rank != ranks)
        return err_set(err, -EINVAL, "pod %.64s: found first rank %u, expected %u, the next",
                       pod->pod, pod->first_rank, ranks);
    return 0;
}

static int check_gang(const struct coordinator *coordinator, const struct coordinator_gang *gang,
                      const struct cgang *former, uint32_t *ret_ranks, struct err *err)
{
    uint32_t ranks = 0, others = coordinator->counts.gangs - (former ? 1 : 0);
    int r;

    for (size_t i = 0; i < gang->npods; i++) {
        r = check_pod(&gang->pods[i], ranks, err);
        if (r < 0)
            return r;
        ranks += gang->pods[i].devices;
        if (ranks > PROBE_RANKS_MAX)
            return err_set(err, -EINVAL, "gang %s: more than %d ranks", gang->id.name,
                           PROBE_RANKS_MAX);
    }
    if (ranks == 0)
        return err_set(err, -EINVAL, "gang %s: found no pods, expected some", gang->id.name);
    if (gang->plan.pairs && ranks > PROBE_PAIRS_RANKS_MAX)
        return err_set(err, -EINVAL, "gang %s: pairs of %u ranks, expected at most %d",
                       gang->id.name, ranks, PROBE_PAIRS_RANKS_MAX);
    r = probe_plan_check(&gang->plan, err);
    if (r == 0)
        r = probe_gang_id_check(&gang->id, err);
    if (r < 0)
        return err_prefix(err, r, "gang %.64s", gang->id.name);
    if (others >= coordinator->limits.gangs_max)
        return err_set(err, -ENOSPC, "gang %s: %u gangs are being measured, which is the most",
                       gang->id.name, others);
    if (coordinator->counts.ranks - (former ? former->ranks : 0) + ranks >
        coordinator->limits.ranks_max)
        return err_set(err, -ENOSPC, "gang %s: more than %u ranks of all gangs", gang->id.name,
                       coordinator->limits.ranks_max);
    *ret_ranks = ranks;
    return 0;
}

/* Its own pods, and no gang's that is still being measured. A gang that is Done gives way. */
static int free_pods(struct coordinator *coordinator, const struct coordinator_gang *gang,
                     const struct cgang *former, struct err *err)
{
    for (size_t i = 0; i < gang->npods; i++) {
        const struct member *other = hashmap_get(&coordinator->pods, gang->pods[i].uid);

        if (!other || other->gang == former)
            continue;
        if (other->gang->phase != PHASE_DONE)
            return err_set(err, -EEXIST, "gang %s: pod %s is being measured as one of gang %s",
                           gang->id.name, gang->pods[i].pod, other->gang->id.name);
        coord__forget(other->gang, "its pods are in another gang now");
    }
    return 0;
}

static int member_init(struct cgang *gang, struct member *member, const struct coordinator_pod *pod,
                       struct err *err)
{
    size_t uid = strlen(pod->uid) + 1, name = strlen(pod->pod) + 1, node = strlen(pod->node) + 1;

    if (hashmap_get(&gang->coordinator->pods, pod->uid))
        return err_set(err, -EINVAL, "gang %s: pod UID %s comes twice", gang->id.name, pod->uid);
    member->gang = gang;
    member->first_rank = pod->first_rank;
    member->devices = pod->devices;
    member->uid = malloc(uid + name + node);
    if (!member->uid || hashmap_set(&gang->coordinator->pods, pod->uid, member) < 0)
        return err_set(err, -ENOMEM, "out of memory");
    memcpy(member->uid, pod->uid, uid);
    member->pod = memcpy(member->uid + uid, pod->pod, name);
    member->node = memcpy(member->uid + uid + name, pod->node, node);
    return 0;
}

/* What is not said, and what no message could say. */
static int64_t span(int64_t said_ns, int64_t otherwise_ns)
{
    const int64_t most_ns = PROBE_SECONDS_MAX * NS_PER_S;

    if (said_ns <= 0)
        return otherwise_ns;
    return said_ns < most_ns ? said_ns : most_ns;
}

static void fill(struct cgang *ret, const struct coordinator_gang *gang, uint32_t ranks)
{
    ret->id = gang->id;
    ret->ranks = ranks;
    ret->gate = gang->gate;
    ret->plan = gang->plan;
    probe_text_set(ret->backend, sizeof(ret->backend), gang->backend ? gang->backend : "");
    ret->deadline_ns = gang->deadline_ns;
    ret->run_ns = span(gang->run_ns, 45 * NS_PER_S + (int64_t)ranks * (NS_PER_S / 20));
    ret->hold_ns = span(gang->hold_ns, 600 * NS_PER_S);
    ret->told_ns = INT64_MIN / 2;
    ret->rows_of = UINT32_MAX;
    ret->wrong_rank = -1;
    ret->result = (struct coordinator_result){.gang = gang->id,
                                              .rank = -1,
                                              .ranks = ranks,
                                              .expected_gb_s = gang->plan.expected_gb_s,
                                              .slopes_agree = true,
                                              .expected_ns = ret->coordinator->now_ns};
    if (!gang->decided)
        return;
    ret->phase = PHASE_DONE;
    ret->until_ns = ret->coordinator->now_ns + ret->coordinator->limits.keep_ns;
    ret->result.verdict = gang->verdict;
    ret->result.measured_gb_s = gang->measured_gb_s;
    probe_text_set(ret->result.message, sizeof(ret->result.message),
                   gang->message ? gang->message : "");
    if (gang->gate && verdict_holds(gang->verdict) && gang->hold_left_ns > 0) {
        ret->phase = PHASE_HELD;
        ret->until_ns = ret->coordinator->now_ns + span(gang->hold_left_ns, 0);
        ret->result.hold = true;
    }
}

static int gang_new(struct coordinator *coordinator, const struct coordinator_gang *gang,
                    uint32_t ranks, struct cgang **ret, struct err *err)
{
    struct cgang *made = calloc(1, sizeof(*made));
    int r = 0;

    if (made)
        made->members = calloc(gang->npods, sizeof(*made->members));
    if (!made || !made->members) {
        free(made);
        return err_set(err, -ENOMEM, "out of memory");
    }
    made->coordinator = coordinator;
    fill(made, gang, ranks);
    if (gang->plan.pairs && ranks > 0) {
        made->result.pair_gb_s = calloc((size_t)ranks * ranks, sizeof(*made->result.pair_gb_s));
        r = made->result.pair_gb_s ? 0 : err_set(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; r == 0 && i < gang->npods; i++) {
        made->nmembers++;
        r = member_init(made, &made->members[i], &gang->pods[i], err);
    }
    if (r < 0)
        gang_free(made);
    else
        *ret = made;
    return r;
}

static int insert(struct coordinator *coordinator, struct cgang *gang, struct err *err)
{
    char key[KEY_TEXT];
    struct cgang **heap =
        realloc(coordinator->heap, (coordinator->heap_size + 1) * sizeof(struct cgang *));

    if (heap)
        coordinator->heap = heap;
    key_of(key, &gang->id);
    if (!heap || hashmap_set(&coordinator->gangs, key, gang) < 0)
        return err_set(err, -ENOMEM, "out of memory");
    put(coordinator, coordinator->heap_size++, gang);
    coordinator->counts.gangs++;
    coordinator->counts.members += gang->nmembers;
    coordinator->counts.ranks += gang->ranks;
    coord__due(gang);
    return 0;
}

static bool same(const struct cgang *former, const struct coordinator_gang *gang)
{
    if (strcmp(former->id.uid, gang->id.uid) != 0 || former->id.generation != gang->id.generation ||
        former->nmembers != gang->npods || (gang->decided && former->phase < PHASE_HELD))
        return false;
    for (uint32_t i = 0; i < former->nmembers; i++)
        if (strcmp(former->members[i].uid, gang->pods[i].uid) != 0 ||
            former->members[i].devices != gang->pods[i].devices)
            return false;
    return true;
}

int coord__expect(struct coordinator *coordinator, const struct coordinator_gang *gang,
                  struct err *err)
{
    struct cgang *former = coord__find(coordinator, &gang->id), *made = NULL;
    uint32_t ranks = 0;
    int r;

    if (former && same(former, gang))
        return 0;
    r = check_gang(coordinator, gang, former, &ranks, err);
    if (r == 0)
        r = free_pods(coordinator, gang, former, err);
    if (former)
        coord__forget(former, "the gang was planned anew");
    if (r == 0)
        r = gang_new(coordinator, gang, ranks, &made, err);
    if (r < 0 || !made)
        return r;
    r = insert(coordinator, made, err);
    if (r < 0)
        gang_free(made);
    return r;
}
