#include "scheduler/model/gang.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/sha256.h"
#include "base/strbuf.h"

#define DEFAULT_ROLE "worker"

static const char *const state_names[] = {
    [GANG_FORMING] = "Forming", [GANG_WAITING] = "Waiting", [GANG_PLANNED] = "Planned",
    [GANG_BINDING] = "Binding", [GANG_BOUND] = "Bound",     [GANG_RUNNING] = "Running",
    [GANG_BROKEN] = "Broken",   [GANG_DONE] = "Done",
    [GANG_REPLACING] = "Replacing",
};

static const char *const kind_names[] = {
    [GANG_LABEL] = "Gang",
    [GANG_JOB] = "Job",
    [GANG_GROUP_NATIVE] = "PodGroup.scheduling.k8s.io",
    [GANG_GROUP_SIGS] = "PodGroup.scheduling.x-k8s.io",
};

static const char *const reason_names[] = {
    [REASON_NONE] = "",
    [REASON_MEMBERS_MISSING] = "MembersMissing",
    [REASON_SIZE_UNKNOWN] = "SizeUnknown",
    [REASON_GROUP_MISSING] = "PodGroupMissing",
    [REASON_INSUFFICIENT] = "InsufficientRoom",
    [REASON_NO_DOMAIN_FITS] = "NoDomainFits",
    [REASON_HEAD_OF_LINE] = "HeadOfLine",
    [REASON_UNKNOWN_LEVEL] = "UnknownLevel",
    [REASON_UNSUPPORTED] = "Unsupported",
    [REASON_VOTES_MISSING] = "VotesMissing",
    [REASON_BIND_FAILED] = "BindFailed",
    [REASON_PARTLY_BOUND] = "PartlyBound",
    [REASON_BELOW_MIN] = "BelowMin",
    [REASON_EVICTION_BLOCKED] = "EvictionBlocked",
    [REASON_PREEMPTED] = "Preempted",
    [REASON_PREEMPTING] = "Preempting",
    [REASON_GAVE_UP] = "GaveUp",
};

const char *gang_state_name(enum gang_state state)
{
    return state_names[state];
}

const char *gang_kind_name(enum gang_kind kind)
{
    return kind_names[kind];
}

const char *reason_code_name(enum reason_code code)
{
    return reason_names[code];
}

struct gang *gang_new(const char *key, enum gang_kind kind, const char *ns, const char *name)
{
    struct gang *gang = calloc(1, sizeof(*gang));

    if (!gang)
        return NULL;
    gang->kind = kind;
    gang->key = strdup(key);
    gang->ns = strdup(ns);
    gang->name = strdup(name);
    gang->role = strdup(DEFAULT_ROLE);
    gang->record.name = strdup(name);
    gang->required_level = gang->preferred_level = -1;
    gang->deadline_ns = INT64_MAX;
    if (gang->key && gang->ns && gang->name && gang->role && gang->record.name)
        return gang;
    gang_free(NULL, gang);
    return NULL;
}

void gang_free(struct cluster *cluster, struct gang *gang)
{
    if (!gang)
        return;
    for (uint32_t i = 0; i < gang->nslots; i++)
        node_unref(cluster, gang->slots[i].node);
    gang_drop_slots(gang);
    for (size_t i = 0; i < gang->nexcluded; i++)
        node_unref(cluster, gang->excluded[i].node);
    free(gang->key);
    free(gang->ns);
    free(gang->name);
    free(gang->role);
    free(gang->shape_key);
    free(gang->members);
    free(gang->slots);
    free(gang->excluded);
    for (size_t i = 0; i < GANG_WOULD_FIT; i++)
        free(gang->would_fit[i]);
    free(gang->no_place.shape_key);
    intern_free(gang->no_place.subgroup);
    free(gang->record.name);
    free(gang->record.written);
    free(gang->record.version);
    free(gang->record.writing);
    free(gang);
}

static int compare_members(const void *a, const void *b)
{
    const struct obj_pod *left = (*(struct pod *const *)a)->object;
    const struct obj_pod *right = (*(struct pod *const *)b)->object;
    int r;

    if (left->index != right->index)
        return left->index < right->index ? -1 : 1;
    r = strcmp(left->name, right->name);
    return r ? r : strcmp(left->uid, right->uid);
}

/* The first one speaks for the gang, whatever the order in which its pods were read. */
static void put_first(struct gang *gang)
{
    size_t first = 0;

    for (size_t i = 1; i < gang->nmembers; i++)
        if (compare_members(&gang->members[i], &gang->members[first]) < 0)
            first = i;
    if (first > 0) {
        struct pod *pod = gang->members[first];

        gang->members[first] = gang->members[0];
        gang->members[0] = pod;
    }
}

int gang_add_member(struct gang *gang, struct pod *pod)
{
    if (gang->nmembers == gang->members_size) {
        size_t size = gang->members_size ? gang->members_size * 2 : 8;
        struct pod **members = realloc(gang->members, size * sizeof(struct pod *));

        if (!members)
            return -ENOMEM;
        gang->members = members;
        gang->members_size = size;
    }
    gang->members[gang->nmembers++] = pod;
    if (compare_members(&pod, &gang->members[0]) < 0) {
        gang->members[gang->nmembers - 1] = gang->members[0];
        gang->members[0] = pod;
    }
    gang->changes++;
    pod->gang = gang;
    pod->slot = -1;
    return 0;
}

void gang_remove_member(struct gang *gang, struct pod *pod)
{
    for (size_t i = 0; i < gang->nmembers; i++) {
        if (gang->members[i] != pod)
            continue;
        gang->members[i] = gang->members[--gang->nmembers];
        if (i == 0)
            put_first(gang);
        break;
    }
    gang->changes++;
    pod->gang = NULL;
    pod->slot = -1;
}

void gang_sort_members(struct gang *gang)
{
    if (gang->nmembers > 1)
        qsort(gang->members, gang->nmembers, sizeof(struct pod *), compare_members);
}

int gang_more_slots(struct gang *gang, uint32_t n)
{
    struct slot *slots;

    if (n <= gang->nslots)
        return 0;
    slots = realloc(gang->slots, n * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    memset(slots + gang->nslots, 0, (n - gang->nslots) * sizeof(*slots));
    gang->in_state[SLOT_EMPTY] += n - gang->nslots;
    gang->slots = slots;
    gang->nslots = n;
    return 0;
}

void slot_set_subgroup(struct slot *slot, const char *name)
{
    intern_free(slot->subgroup);
    slot->subgroup = name[0] ? intern(name) : NULL;
}

void gang_drop_slots(struct gang *gang)
{
    for (uint32_t i = 0; i < gang->nslots; i++)
        slot_set_subgroup(&gang->slots[i], "");
    gang->nslots = 0;
    memset(gang->in_state, 0, sizeof(gang->in_state));
}

void slot_set_state(struct gang *gang, struct slot *slot, enum slot_state state)
{
    gang->in_state[slot->state]--;
    gang->in_state[state]++;
    slot->state = state;
}

int gang_make_slots(struct gang *gang, uint32_t n)
{
    gang_drop_slots(gang);
    return gang_more_slots(gang, n);
}

void slot_set_node(struct cluster *cluster, struct slot *slot, struct node *node)
{
    struct node *old = slot->node;

    if (node != old)
        slot->gpus = 0;
    slot->node = node ? node_ref(node) : NULL;
    node_unref(cluster, old);
}

void slot_hold(struct cluster *cluster, struct slot *slot, const struct resources *requests)
{
    if (slot->held || !slot->node)
        return;
    slot->hold = *requests;
    node_hold(cluster, slot->node, &slot->hold);
    slot->held = true;
    if (slot->gpus & (slot->node->gpus_held | slot->node->gpus_used))
        slot->gpus = 0; /* its predecessor still has them, say: which ones it will get is not known */
    slot->node->gpus_held |= slot->gpus;
}

void slot_unhold(struct cluster *cluster, struct slot *slot)
{
    if (!slot->held)
        return;
    node_unhold(cluster, slot->node, &slot->hold);
    slot->node->gpus_held &= ~slot->gpus;
    slot->held = false;
}

bool slot_is_bound(const struct slot *slot)
{
    return slot->state == SLOT_BOUND || slot->state == SLOT_DONE;
}

bool slot_is_open(const struct slot *slot)
{
    return slot->write != 0 || slot->unsure || slot->state == SLOT_POSTED;
}

bool gang_is_open(const struct gang *gang)
{
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (slot_is_open(&gang->slots[i]))
            return true;
    return false;
}

uint32_t gang_count(const struct gang *gang, enum slot_state state)
{
    return gang->in_state[state];
}

uint32_t gang_bound(const struct gang *gang)
{
    return gang_count(gang, SLOT_BOUND) + gang_count(gang, SLOT_DONE);
}

/* A place at one level: its domain, or the node itself where the domain is unknown. */
struct place {
    uint32_t domain;
    const struct node *node;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *left = a, *right = b;

    if (left->domain != right->domain)
        return left->domain < right->domain ? -1 : 1;
    if (left->domain != PLAN_UNKNOWN)
        return 0;
    return left->node == right->node ? 0 : (uintptr_t)left->node < (uintptr_t)right->node ? -1 : 1;
}

static uint32_t count_places(const struct gang *gang, uint32_t level, struct place *places)
{
    uint32_t n = 0, used = 0;

    for (uint32_t i = 0; i < gang->nslots; i++)
        if (gang->slots[i].node)
            places[n++] = (struct place){level < gang->nlevels ? gang->slots[i].node->domain[level]
                                                               : PLAN_UNKNOWN,
                                         gang->slots[i].node};
    qsort(places, n, sizeof(*places), compare_places);
    for (uint32_t i = 0; i < n; i++)
        used += i == 0 || compare_places(&places[i - 1], &places[i]) != 0;
    return used;
}

void gang_count_use(const struct cluster *cluster, struct gang *gang)
{
    struct place *places = calloc(gang->nslots ? gang->nslots : 1, sizeof(*places));

    gang->nlevels = cluster->nlevels;
    for (uint32_t level = 0; places && level <= gang->nlevels; level++)
        gang->use[level].used = count_places(gang, level, places);
    free(places);
}

const char *gang_role(const struct gang *gang, uint32_t rank)
{
    const struct pod *pod = gang->slots[rank].pod;

    if (!pod)
        return gang->role;
    return pod->object->wish.role[0] ? pod->object->wish.role : DEFAULT_ROLE;
}

struct ranked {
    const char *role, *node;
    uint32_t rank;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *left = a, *right = b;
    int by_role = strcmp(left->role, right->role);

    if (by_role != 0)
        return by_role;
    return left->rank < right->rank ? -1 : left->rank > right->rank;
}

void gang_hash(const struct gang *gang, char ret_hex[GANG_HASH_TEXT])
{
    struct ranked *lines = calloc(gang->nslots ? gang->nslots : 1, sizeof(*lines));
    struct strbuf text = STRBUF_INIT((size_t)64 << 20);

    for (uint32_t i = 0; lines && i < gang->nslots; i++)
        lines[i] = (struct ranked){gang_role(gang, i),
                                   gang->slots[i].node ? gang->slots[i].node->name : "", i};
    if (lines)
        qsort(lines, gang->nslots, sizeof(*lines), compare_ranked);
    for (uint32_t i = 0; lines && i < gang->nslots; i++)
        strbuf_addf(&text, "%s %u %s\n", lines[i].role, lines[i].rank, lines[i].node);
    free(lines);
    sha256_hex(text.data ? text.data : "", text.len, ret_hex);
    strbuf_release(&text);
}
