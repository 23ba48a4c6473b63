/*
 * The planner's question: which nodes a gang may use, and how many of its pods fit on each.
 *
 * Pods of one shape (requests, selector, affinity, tolerations) share an index. It is read anew for the nodes
 * that the cluster has logged since it was last used; what holds for one gang alone (nodes that it leaves
 * alone for a while, nodes that are kept for another) is put into it for the time of its plan.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "scheduler/model/core_internal.h"

#define SHAPES_KEPT 8 /* each some 25 bytes a node; a cluster has few kinds of gangs at a time */

enum { NODE_EXISTS = 1, NODE_MATCHES = 2 };

struct shape_index {
    char *key; /* of the shape, interned; NULL: not in use */
    struct plan_index *index;
    struct gpu_classes *classes;
    uint8_t *flags; /* by node */
    size_t flags_size;
    uint64_t layout, seen; /* how far the cluster's log is read */
    bool crowded; /* there are more classes of nodes than can be told apart, of those that are */
    uint64_t used; /* when it was last asked */
    uint32_t nodes, matching;
};

struct room {
    struct shape_index shapes[SHAPES_KEPT];
    uint64_t uses;
    struct plan_node *nodes; /* to build from */
    uint32_t *hidden; /* nodes that the gang may not use */
    size_t nodes_size, nhidden;
};

struct room *core__room_new(void)
{
    return calloc(1, sizeof(struct room));
}

static void shape_release(struct shape_index *shape)
{
    intern_free(shape->key);
    plan_index_free(shape->index);
    core__classes_free(shape->classes);
    free(shape->flags);
    *shape = (struct shape_index){0};
}

void core__room_free(struct room *room)
{
    for (size_t i = 0; room && i < SHAPES_KEPT; i++)
        shape_release(&room->shapes[i]);
    if (room) {
        free(room->nodes);
        free(room->hidden);
    }
    free(room);
}

/* ---- one node ------------------------------------------------------------------------------------------ */

static bool in_pool(const struct core *core, const struct node *node)
{
    const struct labels *pool = &core->config->node_selector;

    for (size_t i = 0; node->object && i < pool->n; i++) {
        const char *value = labels_get(&node->object->labels, pool->items[i].key);

        if (!value || strcmp(value, pool->items[i].value) != 0)
            return false;
    }
    return node->object != NULL;
}

static uint32_t clamp_units(int64_t units)
{
    return units < 0 ? 0 : units > UINT32_MAX ? UINT32_MAX : (uint32_t)units;
}

static bool is_excluded(const struct core *core, const struct gang *gang, const struct node *node)
{
    for (size_t i = 0; i < gang->nexcluded; i++)
        if (gang->excluded[i].node == node && gang->excluded[i].until_ns > core->now_ns)
            return true;
    return false;
}

/* It has started and cannot go on: what it lacks comes before what others wait for (core_order.c). */
static bool lacks_members(const struct gang *gang)
{
    return gang->state == GANG_BINDING ||
           (gang->state > GANG_BINDING && gang_bound(gang) < core__least(gang));
}

bool core__is_kept(const struct core *core, const struct gang *gang, const struct node *node)
{
    const struct gang *head = core->head;

    return head && node->reserved_for == head && head != gang &&
           core__compare_turn(&head, &gang) < 0 && !lacks_members(gang) && !MUTANT(OVERTAKING);
}

/* Whatever gang it is of. */
static bool matches(const struct core *core, const struct node *node, const struct pod_shape *shape)
{
    return in_pool(core, node) && node_admits(node, shape) && node->rejected_until_ns <= core->now_ns;
}

bool core__may_use(const struct core *core, const struct gang *gang, const struct node *node,
                   const struct pod_shape *shape)
{
    return matches(core, node, shape) && !is_excluded(core, gang, node) &&
           !core__is_kept(core, gang, node);
}

bool core__could_use(const struct core *core, const struct gang *gang, const struct node *node)
{
    const char *key = NULL;

    for (size_t i = 0; i < gang->nmembers; i++) {
        const struct pod *pod = gang->members[i];

        if (pod->object->shape.key == key)
            continue; /* as the one before it */
        key = pod->object->shape.key;
        if (in_pool(core, node) && node_admits(node, &pod->object->shape) &&
            core__emptied_room(core, node, &pod->requests) > 0)
            return true;
    }
    return false;
}

/* Room beside what runs and is held, or on the node as it would be without either. */
static uint32_t room_on(const struct core *core, const struct node *node,
                        const struct resources *requests, bool emptied)
{
    static const struct resources none;

    if (MUTANT(HOLD_IGNORED) && !emptied)
        return resources_fit(&node->total, &node->used, &none, requests);
    return emptied ? core__emptied_room(core, node, requests) : core__node_room(core, node, requests);
}

static struct plan_node entry_of(const struct core *core, const struct node *node,
                                 const struct pod *like, bool emptied)
{
    struct plan_node entry;
    int64_t used = core__accelerators(core, &node->used) + core__accelerators(core, &node->held);

    memcpy(entry.domain, node->domain, sizeof(entry.domain));
    for (uint32_t l = 0; MUTANT(UNKNOWN_GUESSED) && l < core->cluster.nlevels; l++)
        entry.domain[l] = node->domain[l] == PLAN_UNKNOWN ? 0 : node->domain[l];
    entry.capacity = room_on(core, node, &like->requests, emptied);
    entry.free_units = clamp_units(core__accelerators(core, &node->total) - (emptied ? 0 : used));
    return entry;
}

/* ---- the index of a shape -------------------------------------------------------------------------------- */

static int grow_nodes(struct room *room, size_t n)
{
    struct plan_node *nodes;
    uint32_t *hidden;

    if (n <= room->nodes_size)
        return 0;
    nodes = realloc(room->nodes, n * sizeof(*nodes));
    if (nodes)
        room->nodes = nodes;
    hidden = realloc(room->hidden, n * sizeof(*hidden));
    if (hidden)
        room->hidden = hidden;
    if (!nodes || !hidden)
        return -ENOMEM;
    room->nodes_size = n;
    return 0;
}

static uint8_t flags_of(const struct core *core, const struct node *node, const struct pod *like)
{
    return (uint8_t)((node->object ? NODE_EXISTS : 0) |
                     (matches(core, node, &like->object->shape) ? NODE_MATCHES : 0));
}

static void count_flags(struct shape_index *shape, size_t at, uint8_t now)
{
    uint8_t before = shape->flags[at];

    shape->nodes += (now & NODE_EXISTS) != 0;
    shape->nodes -= (before & NODE_EXISTS) != 0;
    shape->matching += (now & NODE_MATCHES) != 0;
    shape->matching -= (before & NODE_MATCHES) != 0;
    shape->flags[at] = now;
}

static int build(struct core *core, struct shape_index *shape, const struct pod *like)
{
    struct room *room = core->room;
    size_t n = core->cluster.nnodes;
    uint8_t *flags = shape->flags;

    if (grow_nodes(room, n) < 0)
        return -ENOMEM;
    if (n > shape->flags_size || !flags) {
        flags = realloc(flags, n + 1);
        if (!flags)
            return -ENOMEM;
        shape->flags = flags;
        shape->flags_size = n;
    }
    memset(flags, 0, n);
    shape->nodes = shape->matching = 0;
    if (!core__classes_begin(core, shape->classes, &like->requests, n))
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        core__classes_set(core, shape->classes, core->cluster.nodes[i]);
        room->nodes[i] = entry_of(core, core->cluster.nodes[i], like, false);
        count_flags(shape, i, flags_of(core, core->cluster.nodes[i], like));
        if (!(flags[i] & NODE_MATCHES))
            room->nodes[i].capacity = 0;
    }
    return plan_index_build(shape->index, core->cluster.nlevels, room->nodes, (uint32_t)n);
}

/* false: the index does not count that far, and is to be built anew. */
static bool read_node(struct core *core, struct shape_index *shape, const struct pod *like, uint32_t at)
{
    struct node *node = core->cluster.nodes[at];
    struct plan_node entry = entry_of(core, node, like, false);

    count_flags(shape, at, flags_of(core, node, like));
    core__classes_set(core, shape->classes, node);
    return plan_index_set(shape->index, at, shape->flags[at] & NODE_MATCHES ? entry.capacity : 0,
                          entry.free_units);
}

static int catch_up(struct core *core, struct shape_index *shape, const struct pod *like)
{
    const struct node_log *log = &core->cluster.log;
    bool whole = shape->layout == log->layout && log->n - shape->seen <= LOG_NODES;

    for (uint64_t i = shape->seen; whole && i < log->n; i++)
        whole = read_node(core, shape, like, log->items[i % LOG_NODES]);
    if (!whole || (core__classes_full(shape->classes) && !shape->crowded)) {
        int r = build(core, shape, like);

        if (r < 0)
            return r;
        shape->crowded = core__classes_full(shape->classes);
    }
    shape->layout = log->layout;
    shape->seen = log->n;
    return 0;
}

/* The shape's own, else the one that was not asked for the longest time. Keys are interned. */
static struct shape_index *find_shape(struct room *room, const char *key)
{
    struct shape_index *oldest = &room->shapes[0];

    for (size_t i = 0; i < SHAPES_KEPT; i++) {
        if (room->shapes[i].key == key)
            return &room->shapes[i];
        if (room->shapes[i].used < oldest->used)
            oldest = &room->shapes[i];
    }
    intern_free(oldest->key);
    oldest->key = intern(key);
    oldest->layout = UINT64_MAX;
    if (!oldest->index)
        oldest->index = plan_index_new();
    if (!oldest->classes)
        oldest->classes = core__classes_new();
    return oldest;
}

static struct shape_index *shape_of(struct core *core, const struct pod *like, int *ret_error)
{
    struct shape_index *shape = find_shape(core->room, like->object->shape.key);

    shape->used = ++core->room->uses;
    *ret_error = shape->key && shape->index && shape->classes ? catch_up(core, shape, like) : -ENOMEM;
    if (*ret_error < 0)
        shape_release(shape);
    return *ret_error < 0 ? NULL : shape;
}

/* ---- what holds for one gang alone ------------------------------------------------------------------------ */

static void hide(struct core *core, struct shape_index *shape, const struct node *node)
{
    struct room *room = core->room;

    if (!(shape->flags[node->at] & NODE_MATCHES) || room->nhidden == room->nodes_size)
        return;
    room->hidden[room->nhidden++] = node->at;
    count_flags(shape, node->at, shape->flags[node->at] & NODE_EXISTS);
    plan_index_set(shape->index, node->at, 0, 0);
}

static void hide_what_is_not_its(struct core *core, const struct gang *gang, struct shape_index *shape)
{
    core->room->nhidden = 0;
    for (size_t i = 0; i < gang->nexcluded; i++)
        if (gang->excluded[i].until_ns > core->now_ns)
            hide(core, shape, gang->excluded[i].node);
    for (size_t i = 0; core->head && core->head != gang && i < core->cluster.nnodes; i++)
        if (core__is_kept(core, gang, core->cluster.nodes[i]))
            hide(core, shape, core->cluster.nodes[i]);
}

/* Nodes that match and are kept for the head of the line. */
static uint32_t count_kept(const struct core *core, const struct gang *gang, const struct shape_index *shape)
{
    uint32_t kept = 0;

    for (size_t i = 0; core->head && core->head != gang && i < core->cluster.nnodes; i++)
        kept += (shape->flags[i] & NODE_MATCHES) && core__is_kept(core, gang, core->cluster.nodes[i]);
    return kept;
}

static void show_again(struct core *core, struct shape_index *shape, const struct pod *like)
{
    for (size_t i = 0; i < core->room->nhidden; i++)
        read_node(core, shape, like, core->room->hidden[i]);
    core->room->nhidden = 0;
}

/* ---- questions ---------------------------------------------------------------------------------------------- */

struct plan_request core__request(const struct gang *gang, uint32_t pods)
{
    return (struct plan_request){
        .pods = pods,
        .min_pods = gang->min < pods ? gang->min : pods,
        .required_level = gang->required_level,
        .preferred_level = gang->preferred_level,
    };
}

static int ask(struct core *core, const struct gang *gang, const struct shape_index *shape,
               struct plan_request *request, bool fast, struct plan *ret_plan,
               struct plan_shortage *ret_shortage)
{
    struct plan_speed_use use;
    struct plan_speed speed;

    if (fast && core__classes_ask(shape->classes, request->pods + gang->nslots, &speed))
        return plan_fastest(shape->index, request, &speed, core->race, core->scratch, ret_plan, &use,
                            ret_shortage);
    return plan_on_index(shape->index, request, core->scratch, ret_plan, ret_shortage);
}

static int plan(struct core *core, const struct gang *gang, const struct pod *like, bool fast,
                struct plan_request *request, struct plan *ret_plan,
                struct plan_shortage *ret_shortage, struct room_count *ret_count)
{
    int r;
    struct shape_index *shape = shape_of(core, like, &r);

    if (!shape)
        return r;
    *ret_count = (struct room_count){.nodes = shape->nodes, .kept = count_kept(core, gang, shape)};
    if (ret_count->kept > 0 && ret_count->kept == shape->matching) {
        *ret_shortage = (struct plan_shortage){0};
        return -ENOSPC; /* with nothing left to plan on */
    }
    hide_what_is_not_its(core, gang, shape);
    r = ask(core, gang, shape, request, fast, ret_plan, ret_shortage);
    ret_count->matching = shape->matching;
    ret_count->with_room = ret_shortage->nodes_with_room;
    show_again(core, shape, like);
    return r;
}

int core__plan(struct core *core, const struct gang *gang, const struct pod *like,
               struct plan_request *request, struct plan *ret_plan,
               struct plan_shortage *ret_shortage, struct room_count *ret_count)
{
    return plan(core, gang, like, true, request, ret_plan, ret_shortage, ret_count);
}

int core__fit(struct core *core, const struct gang *gang, const struct pod *like,
              struct plan_request *request, struct plan_shortage *ret_shortage)
{
    struct room_count count;
    struct plan unused;

    return plan(core, gang, like, false, request, &unused, ret_shortage, &count);
}

int core__plan_emptied(struct core *core, const struct gang *gang, struct plan_request *request,
                       struct plan *ret_plan)
{
    const struct pod *like = gang->members[0];
    struct plan_shortage shortage;
    struct room *room = core->room;

    if (core__is_mixed(gang))
        return core__parts_emptied(core, gang, ret_plan);
    if (grow_nodes(room, core->cluster.nnodes) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < core->cluster.nnodes; i++) {
        const struct node *node = core->cluster.nodes[i];

        room->nodes[i] = entry_of(core, node, like, true);
        if (!core__may_use(core, gang, node, &like->object->shape))
            room->nodes[i].capacity = 0;
    }
    request->nlevels = core->cluster.nlevels;
    request->nnodes = (uint32_t)core->cluster.nnodes;
    request->nodes = room->nodes;
    return plan_gang(request, core->scratch, ret_plan, &shortage);
}

/* ---- the check ------------------------------------------------------------------------------------------------- */

/* By node: it has changed since the index was last asked, so that it may differ. NULL: no memory. */
static bool *mark_logged(const struct core *core, const struct shape_index *shape)
{
    bool *logged = calloc(core->cluster.nnodes + 1, sizeof(*logged));

    for (uint64_t i = shape->seen; logged && i < core->cluster.log.n; i++)
        logged[core->cluster.log.items[i % LOG_NODES]] = true;
    return logged;
}

static const struct pod *pod_of_shape(const struct core *core, const struct shape_index *shape)
{
    struct hashmap_iter iter = {0};
    const char *key;
    void *value;

    while (shape->key && hashmap_next(&core->cluster.pods_by_uid, &iter, &key, &value))
        if (((struct pod *)value)->object->shape.key == shape->key)
            return value;
    return NULL;
}

/* A rejection that has ended is read when the next settling says so. */
static bool rejection_ends(const struct core *core, const struct node *node)
{
    return node->rejected_until_ns > 0 && core->rejection_ends_ns <= core->now_ns;
}

static int check_shape(const struct core *core, const struct shape_index *shape, struct err *err)
{
    const struct pod *like = pod_of_shape(core, shape);
    bool *logged;
    int r = 0;

    if (!like || shape->layout != core->cluster.log.layout ||
        core->cluster.log.n - shape->seen > LOG_NODES)
        return 0;
    logged = mark_logged(core, shape);
    for (uint32_t i = 0; logged && r == 0 && i < core->cluster.nnodes; i++) {
        const struct node *node = core->cluster.nodes[i];
        uint32_t known = plan_index_capacity(shape->index, i);
        uint32_t room = matches(core, node, &like->object->shape) ? room_on(core, node, &like->requests, false)
                                                                  : 0;

        room = room < PLAN_NODE_PODS_MAX ? room : PLAN_NODE_PODS_MAX;
        if (known != room && !logged[i] && !rejection_ends(core, node))
            r = err_set(err, -EINVAL, "I12: node %s has room for %u pods of %s, its index says %u",
                        node->name, room, like->object->name, known);
    }
    free(logged);
    return r;
}

int core__check_room(const struct core *core, struct err *err)
{
    int r = 0;

    for (size_t i = 0; i < SHAPES_KEPT && r == 0; i++)
        r = check_shape(core, &core->room->shapes[i], err);
    return r;
}
