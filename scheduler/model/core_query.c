/* Questions: what the verbs and people ask. Nothing here changes the state. */
#include <errno.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

/* Constant texts: a changed message would make kube-scheduler write the pod and try it again. */
static const char *const wait_text = "the gang waits until all of it fits: "
                                     "see kubectl get gangplacements";
static const char *const cold_text = "lockstep has not read the cluster yet";
static const char *const no_namespace_text = "lockstep has not seen the pod's namespace yet";
static const char *const unseen_text = "lockstep has not seen this pod yet";

/* The mutant that answers the same question in two ways; in the product there is none. */
#ifdef LOCKSTEP_MUTANTS
static bool fickle(void)
{
    static bool odd;

    odd = !odd;
    return MUTANT(FICKLE_ANSWER) && odd;
}
#else
#define fickle() false
#endif

void core_answer(const struct core *core, const char *pod_uid, struct answer *ret_answer)
{
    const struct pod *pod = cluster_pod(&core->cluster, pod_uid);

    if (!core->active || !pod || core__is_undecided(core, pod)) {
        *ret_answer = (struct answer){.kind = ANSWER_UNKNOWN,
                                      .reason = !core->active ? cold_text
                                                : pod         ? no_namespace_text
                                                              : unseen_text};
    } else if (!pod->gang && !pod->left_out) {
        *ret_answer = (struct answer){.kind = ANSWER_ORDINARY};
    } else if (pod->gang && pod->slot >= 0 && pod->gang->slots[pod->slot].node && !fickle()) {
        *ret_answer = (struct answer){.kind = ANSWER_PLANNED,
                                      .node = pod->gang->slots[pod->slot].node->name};
    } else {
        *ret_answer = (struct answer){.kind = ANSWER_WAIT, .reason = wait_text};
    }
}

uint64_t core_steering(const struct core *core, const char *pod_uid)
{
    const struct pod *pod = cluster_pod(&core->cluster, pod_uid);
    const struct gang *gang = pod ? pod->gang : NULL;
    uint64_t come = 0, steered = 0;

    if (!gang || gang->state != GANG_PLANNED || core->cluster.nnodes < STEER_NODES)
        return 0;
    for (uint32_t i = 0; i < gang->nslots; i++) {
        come += gang->slots[i].pod != NULL;
        steered += gang->slots[i].pod && !gang->slots[i].steering;
    }
    return steered == gang->nslots ? 0 : 1 + come + steered;
}

bool core_node_fits(const struct core *core, const char *pod_uid, const char *node_name, size_t len)
{
    const struct pod *pod = cluster_pod(&core->cluster, pod_uid);
    const struct node *node = hashmap_get_n(&core->cluster.nodes_by_name, node_name, len);

    if (!pod || !node || !node->object || pod->hold.node == node)
        return true;
    if (node->reserved_for && pod->object->priority <= node->reserved_for->priority &&
        (!node->reserved_beside || core__accelerators(core, &pod->requests) > 0))
        return false;
    for (unsigned i = 0; i < RES_MAX; i++)
        if (node->held.v[i] > 0 && pod->requests.v[i] > 0 &&
            node->used.v[i] + node->held.v[i] + pod->requests.v[i] > node->total.v[i])
            return false;
    return true;
}

bool core_is_ordinary(const struct core *core, const char *pod_uid)
{
    const struct pod *pod = cluster_pod(&core->cluster, pod_uid);

    return core->active && pod && !pod->gang && !pod->left_out && !core__is_undecided(core, pod);
}

_Static_assert(sizeof((struct core_counts){0}.by_state) / sizeof(size_t) == GANG_STATES,
               "a count for each state");

void core_counts(const struct core *core, struct core_counts *ret_counts)
{
    *ret_counts = (struct core_counts){
        .nodes = core->cluster.nnodes,
        .pods = core->cluster.pods_by_uid.n,
        .gangs = core->all.n,
        .holds = core->nheld,
        .plans = core->plans,
        .replans = core->replans,
        .binds = core->binds,
        .steps = core->steps,
        .machines_refused = core->machines_refused,
    };
    for (size_t i = 0; i < core->cluster.nnodes; i++)
        ret_counts->machines += core->cluster.nodes[i]->kind != NULL;
    for (size_t i = 0; i < core->all.n; i++) {
        const struct gang *gang = core->all.items[i];

        ret_counts->by_state[gang->state]++;
        ret_counts->gangs_waiting += gang->state == GANG_FORMING || gang->state == GANG_WAITING;
        for (uint32_t s = 0; s < gang->nslots; s++)
            ret_counts->holds += gang->slots[s].held;
    }
}

const struct gang *core_gang(const struct core *core, const char *ns, const char *name)
{
    char key[KEY_TEXT];

    core__key(key, "", ns, name);
    return hashmap_get(&core->records, key);
}

const struct gang *core_gang_of(const struct core *core, const char *pod_uid)
{
    const struct pod *pod = cluster_pod(&core->cluster, pod_uid);

    return pod ? pod->gang : NULL;
}

const struct gang *core_gang_at(const struct core *core, size_t index)
{
    return index < core->all.n ? core->all.items[index] : NULL;
}

size_t core_ahead(const struct core *core, const struct gang *gang)
{
    size_t n = 0;

    for (size_t i = 0; i < core->ready.n; i++)
        n += core->ready.items[i] != gang && core__compare_turn(&core->ready.items[i], &gang) < 0;
    return n;
}

const struct cluster *core_cluster(const struct core *core)
{
    return &core->cluster;
}

/* ---- invariants ------------------------------------------------------------------------------------ */

static bool starts(enum gang_state state)
{
    return state == GANG_FORMING || state == GANG_WAITING;
}

/* The next settling looks at it: what has just ended is put right there, and only then it must be. */
static bool is_due(const struct core *core, const struct gang *gang)
{
    return gang->dirty || gang->wake_ns <= core->now_ns;
}

static int check_slot(const struct core *core, const struct gang *gang, uint32_t i, struct err *err)
{
    const struct slot *slot = &gang->slots[i];
    const struct obj_pod *pod = slot->pod ? slot->pod->object : NULL;

    if (slot->pod && (slot->pod->gang != gang || slot->pod->slot != (int32_t)i))
        return err_set(err, -EINVAL, "gang %s: slot %u and its pod disagree", gang->key, i);
    /* A bound one's hold ends when the watch brings the pod, that of a member that has left when the gang
     * is looked at; the others need a deadline. */
    if (slot->held && slot->state != SLOT_BOUND && gang->deadline_ns == INT64_MAX &&
        slot->deadline_ns == 0 && (slot->pod || !is_due(core, gang)))
        return err_set(err, -EINVAL, "I4: gang %s (%s): slot %u holds without a deadline", gang->key,
                       gang_state_name(gang->state), i);
    if (gang->state == GANG_BINDING && slot->state == SLOT_TAKEN && !gang->adopted &&
        !slot->needs_vote)
        return err_set(err, -EINVAL, "I1: gang %s binds and slot %u has not voted", gang->key, i);
    if (slot->state == SLOT_BOUND && pod && pod->node[0] &&
        (!slot->node || strcmp(slot->node->name, pod->node) != 0))
        return err_set(err, -EINVAL, "I13: gang %s: pod %s is on %s, its slot says %s", gang->key,
                       pod->name, pod->node, slot->node ? slot->node->name : "nothing");
    return 0;
}

static int check_slot_counts(const struct gang *gang, struct err *err)
{
    uint32_t counted[SLOT_STATES] = {0};

    for (uint32_t i = 0; i < gang->nslots; i++)
        counted[gang->slots[i].state]++;
    if (memcmp(counted, gang->in_state, sizeof(counted)) != 0)
        return err_set(err, -EINVAL, "I12: gang %s: its slots by state are miscounted", gang->key);
    return 0;
}

static int check_gang(const struct core *core, const struct gang *gang, struct err *err)
{
    if (check_slot_counts(gang, err) < 0)
        return -EINVAL;
    for (uint32_t i = 0; i < gang->nslots; i++) {
        int r = check_slot(core, gang, i, err);

        if (r < 0)
            return r;
        if (core->head && core->head != gang && gang->state == GANG_PLANNED &&
            gang->planned_ns > gang->slots[i].node->reserved_ns && gang->slots[i].held &&
            gang->slots[i].node->reserved_for == core->head && !gang->before_head)
            return err_set(err, -EINVAL, "I11: gang %s took %s, which is kept for %s", gang->key,
                           gang->slots[i].node->name, core->head->key);
    }
    if (gang->state == GANG_PLANNED && gang_bound(gang) > 0 && !gang->drifted)
        return err_set(err, -EINVAL, "I1: gang %s has %u pods bound before all voted", gang->key,
                       gang_bound(gang));
    if (starts(gang->state) && gang->nslots > 0)
        return err_set(err, -EINVAL, "I10: gang %s is %s and keeps %u places", gang->key,
                       gang_state_name(gang->state), gang->nslots);
    if (gang->reason.code == REASON_INSUFFICIENT && gang->reason.fit >= gang->reason.pods)
        return err_set(err, -EINVAL, "I17: gang %s waits for room for %u pods, and %u fit", gang->key,
                       gang->reason.pods, gang->reason.fit);
    if (!core->active && gang->nslots > 0)
        return err_set(err, -EINVAL, "I6: gang %s has a plan outside of a term", gang->key);
    return 0;
}

/* A head that has waited for so long is not passed: each node that it could use is kept for it. */
static int check_line(const struct core *core, struct err *err)
{
    const struct gang *head = core->head;

    if (!head || core->nodes_changed || is_due(core, head) || !core__keeps_all(core))
        return 0;
    for (size_t i = 0; i < core->cluster.nnodes; i++)
        if (core->cluster.nodes[i]->reserved_for != head &&
            core__could_use(core, head, core->cluster.nodes[i]))
            return err_set(err, -EINVAL, "I11: %s is not kept for gang %s, which is first and has waited for long",
                           core->cluster.nodes[i]->name, head->key);
    return 0;
}

/* Sent by a former process: the stored plan stands as it is until that has arrived. */
static bool may_be_on_its_way(const struct core *core, const struct gang *gang)
{
    return gang->adopted && gang->state == GANG_BINDING && core->now_ns < core->doubt_until_ns;
}

/* A binding to the node is, or may be, with the API server: its room cannot be given back. */
static bool is_committed(const struct core *core, const struct node *node)
{
    for (size_t i = 0; i < core->nheld; i++)
        if (core->held[i]->hold.node == node)
            return true;
    for (size_t i = 0; i < core->all.n; i++) {
        const struct gang *gang = core->all.items[i];

        for (uint32_t k = 0; k < gang->nslots; k++)
            if (gang->slots[k].node == node && gang->slots[k].held &&
                (gang->slots[k].write || gang->slots[k].unsure || may_be_on_its_way(core, gang) ||
                 gang->slots[k].state >= SLOT_POSTED || is_due(core, gang)))
                return true;
    }
    return false;
}

static int check_node(const struct core *core, const struct node *node, struct err *err)
{
    for (unsigned r = 0; r < RES_MAX; r++) {
        if (node->held.v[r] < 0 || node->used.v[r] < 0)
            return err_set(err, -EINVAL, "node %s: negative count of %s", node->name,
                           core->cluster.resources.names[r]);
        if (node->object && node->held.v[r] > 0 &&
            node->used.v[r] + node->held.v[r] > node->total.v[r] && !core->nodes_changed &&
            !core->crowded && /* those two: until the next settling, where the holders look */
            !is_committed(core, node))
            return err_set(err, -EINVAL, "I3: node %s: %lld used + %lld held > %lld %s", node->name,
                           (long long)node->used.v[r], (long long)node->held.v[r],
                           (long long)node->total.v[r], core->cluster.resources.names[r]);
    }
    return 0;
}

/* What is counted as used, counted anew from the pods (I12). */
static int check_use(const struct core *core, struct err *err)
{
    struct hashmap_iter iter = {0};
    int64_t used = 0, pods = 0;
    const char *key;
    void *value;

    while (hashmap_next(&core->cluster.pods_by_uid, &iter, &key, &value))
        pods += ((struct pod *)value)->node ? ((struct pod *)value)->requests.v[RES_PODS] : 0;
    for (size_t i = 0; i < core->cluster.nnodes; i++)
        used += core->cluster.nodes[i]->used.v[RES_PODS];
    if (used != pods)
        return err_set(err, -EINVAL, "I12: nodes count %lld pods as running, %lld do",
                       (long long)used, (long long)pods);
    return 0;
}

/* held, recounted from its owners, is what the nodes say (I4: every hold has an owner). */
static int check_holds(const struct core *core, struct err *err)
{
    int64_t owned = 0, counted = 0;

    for (size_t i = 0; i < core->all.n; i++)
        for (uint32_t s = 0; s < core->all.items[i]->nslots; s++)
            if (core->all.items[i]->slots[s].held)
                owned += core->all.items[i]->slots[s].hold.v[RES_PODS];
    for (size_t i = 0; i < core->nheld; i++)
        owned += core->held[i]->requests.v[RES_PODS];
    for (size_t i = 0; i < core->cluster.nnodes; i++)
        counted += core->cluster.nodes[i]->held.v[RES_PODS];
    if (owned != counted)
        return err_set(err, -EINVAL, "I4: %lld pods are held on nodes, %lld by owners",
                       (long long)counted, (long long)owned);
    return 0;
}

int core_check(const struct core *core, struct err *err)
{
    int r;

    for (size_t i = 0; i < core->all.n; i++) {
        r = check_gang(core, core->all.items[i], err);

        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < core->cluster.nnodes; i++) {
        r = check_node(core, core->cluster.nodes[i], err);

        if (r < 0)
            return r;
    }
    r = check_line(core, err);
    if (r == 0)
        r = check_use(core, err);
    if (r == 0)
        r = check_holds(core, err);
    if (r == 0)
        r = core__check_gpus(core, err);
    return r < 0 ? r : core__check_room(core, err);
}
