/* Questions: what the verbs and people ask. Nothing here changes the state. */
#include <errno.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

/* Constant texts: a changed message would make kube-scheduler write the pod and try it again. */
static const char *const wait_text = "the gang waits until all of it fits: "
                                     "see kubectl get gangplacements";
static const char *const cold_text = "lockstep has not read the cluster yet";
static const char *const unseen_text = "lockstep has not seen this pod yet";

void core_answer(const struct core *core, const char *pod_uid, struct answer *ret_answer)
{
    const struct pod *pod = cluster_pod(&core->cluster, pod_uid);

    if (!core->active || !pod) {
        *ret_answer = (struct answer){.kind = ANSWER_UNKNOWN,
                                      .reason = core->active ? unseen_text : cold_text};
    } else if (!pod->gang) {
        *ret_answer = (struct answer){.kind = ANSWER_ORDINARY};
    } else if (pod->slot >= 0 && pod->gang->slots[pod->slot].node) {
        *ret_answer = (struct answer){.kind = ANSWER_PLANNED,
                                      .node = pod->gang->slots[pod->slot].node->name};
    } else {
        *ret_answer = (struct answer){.kind = ANSWER_WAIT, .reason = wait_text};
    }
}

bool core_node_fits(const struct core *core, const char *pod_uid, const char *node_name, size_t len)
{
    const struct pod *pod = cluster_pod(&core->cluster, pod_uid);
    const struct node *node = hashmap_get_n(&core->cluster.nodes_by_name, node_name, len);

    if (!pod || !node || !node->object || pod->hold.node == node)
        return true;
    if (node->reserved_for && pod->object->priority <= node->reserved_for->priority)
        return false;
    for (unsigned i = 0; i < RES_MAX; i++)
        if (node->held.v[i] > 0 && pod->requests.v[i] > 0 &&
            node->used.v[i] + node->held.v[i] + pod->requests.v[i] > node->total.v[i])
            return false;
    return true;
}

bool core_is_member(const struct core *core, const char *pod_uid)
{
    const struct pod *pod = cluster_pod(&core->cluster, pod_uid);

    return pod && pod->gang;
}

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
    };
    for (size_t i = 0; i < core->all.n; i++) {
        const struct gang *gang = core->all.items[i];

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

const struct cluster *core_cluster(const struct core *core)
{
    return &core->cluster;
}

/* ---- invariants ------------------------------------------------------------------------------------ */

static int check_slots(const struct gang *gang, struct err *err)
{
    uint32_t bound = gang_bound(gang);

    for (uint32_t i = 0; i < gang->nslots; i++) {
        const struct slot *slot = &gang->slots[i];

        if (slot->pod && (slot->pod->gang != gang || slot->pod->slot != (int32_t)i))
            return err_set(err, -EINVAL, "gang %s: slot %u and its pod disagree", gang->key, i);
        if (slot->held && gang->deadline_ns == INT64_MAX && gang->state == GANG_PLANNED)
            return err_set(err, -EINVAL, "I4: gang %s holds without a deadline", gang->key);
    }
    if (gang->state == GANG_PLANNED && bound > 0 && !gang->adopted)
        return err_set(err, -EINVAL, "I1: gang %s has %u pods bound before all voted", gang->key,
                       bound);
    return 0;
}

static int check_node(const struct core *core, const struct node *node, struct err *err)
{
    for (unsigned r = 0; r < RES_MAX; r++) {
        if (node->held.v[r] < 0 || node->used.v[r] < 0)
            return err_set(err, -EINVAL, "node %s: negative count of %s", node->name,
                           core->cluster.resources.names[r]);
        if (node->object && node->held.v[r] > 0 &&
            node->used.v[r] + node->held.v[r] > node->total.v[r] && !core->nodes_changed)
            return err_set(err, -EINVAL, "I3: node %s: %lld used + %lld held > %lld %s", node->name,
                           (long long)node->used.v[r], (long long)node->held.v[r],
                           (long long)node->total.v[r], core->cluster.resources.names[r]);
    }
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
    for (size_t i = 0; i < core->all.n; i++) {
        int r = check_slots(core->all.items[i], err);

        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < core->cluster.nnodes; i++) {
        int r = check_node(core, core->cluster.nodes[i], err);

        if (r < 0)
            return r;
    }
    return check_holds(core, err);
}
