/*
 * Accelerators by their numbers: which of a node's are free, which ones a pod is to get, how fast it is there.
 *
 * Which ones a pod has is known of those that were planned here, and only as far as kubelet gives them what
 * is best too; where pods that nobody planned have some, those that are free are not known, and pods are
 * placed by count.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_internal.h"
#include "topology/gpu_set.h"

#define CLASSES_MAX 4096 /* of one shape; then they are counted anew */

int64_t core__accelerators(const struct core *core, const struct resources *amounts)
{
    int64_t sum = 0;

    for (uint32_t columns = core->accelerators; columns; columns &= columns - 1)
        sum += amounts->v[__builtin_ctz(columns)];
    return sum;
}

uint32_t core_accelerators(const struct core *core, const struct resources *amounts)
{
    int64_t sum = core__accelerators(core, amounts);

    return sum < 0 ? 0 : sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
}

bool core__free_gpus(const struct core *core, const struct node *node, uint32_t *ret_free)
{
    uint32_t taken = node->gpus_used | node->gpus_held;

    if (!node->kind || (taken & ~machine_kind_all(node->kind)) ||
        core_accelerators(core, &node->total) != node->kind->machine.ngpus ||
        (uint32_t)__builtin_popcount(taken) !=
            core_accelerators(core, &node->used) + core_accelerators(core, &node->held))
        return false;
    *ret_free = machine_kind_all(node->kind) & ~taken;
    return true;
}

bool core_knows_gpus(const struct core *core, const struct node *node)
{
    uint32_t unused;

    return core__free_gpus(core, node, &unused);
}

static struct numa_need need_of(const struct core *core, const struct resources *requests)
{
    return (struct numa_need){core_accelerators(core, requests), (uint32_t)requests->own_cpus};
}

/* Of `room` pods by count, as many as kubelet would let in with these accelerators free. */
static uint32_t aligned(const struct node *node, struct numa_need need, uint32_t free, uint32_t room)
{
    uint32_t pods = numa_pods(&node->kind->machine, free, need);

    return room < pods ? room : pods;
}

static bool aligns(const struct node *node, struct numa_need need)
{
    return need.gpus > 0 && need.gpus <= MACHINE_GPUS_MAX && node->kind &&
           numa_aligns(&node->kind->machine, need);
}

uint32_t core__node_room(const struct core *core, const struct node *node,
                         const struct resources *requests)
{
    struct numa_need need = need_of(core, requests);
    uint32_t room = node_room(node, requests), free;

    if (room == 0 || !aligns(node, need) || !core__free_gpus(core, node, &free))
        return room;
    return aligned(node, need, free, room);
}

uint32_t core__emptied_room(const struct core *core, const struct node *node,
                            const struct resources *requests)
{
    static const struct resources none;
    struct numa_need need = need_of(core, requests);
    uint32_t room = resources_fit(&node->total, &none, &none, requests);

    if (room == 0 || !aligns(node, need) || need_of(core, &node->total).gpus != node->kind->machine.ngpus)
        return room;
    return aligned(node, need, machine_kind_all(node->kind), room);
}

/* Else nobody need ask node by node. */
static bool some_align(const struct machine_kinds *kinds)
{
    for (uint32_t i = 0; i < kinds->n; i++)
        if (kinds->items[i]->machine.numa_policy >= NUMA_POLICY_RESTRICTED)
            return true;
    return false;
}

uint32_t core__count_misaligned(const struct core *core, const struct gang *gang)
{
    uint32_t n = 0;

    for (size_t i = 0; some_align(&core->cluster.kinds) && i < core->cluster.nnodes; i++) {
        const struct node *node = core->cluster.nodes[i];

        n += node_room(node, &gang->requests) > 0 && core__node_room(core, node, &gang->requests) == 0 &&
             core__may_use(core, gang, node, &gang->members[0]->object->shape);
    }
    return n;
}

void core__choose_gpus(const struct core *core, const struct node *node,
                       const struct resources *requests, uint32_t pods,
                       uint32_t ret_sets[MACHINE_GPUS_MAX])
{
    struct numa_need need = need_of(core, requests);
    uint32_t free;

    memset(ret_sets, 0, MACHINE_GPUS_MAX * sizeof(*ret_sets));
    if (need.gpus == 0 || need.gpus > MACHINE_GPUS_MAX || !core__free_gpus(core, node, &free) ||
        pods > numa_pods(&node->kind->machine, free, need))
        return;
    machine_kind_split(node->kind, free, need, pods, ret_sets);
}

bool core__has_all(const struct slot *slot)
{
    return slot->node && slot->node->kind && slot->gpus == machine_kind_all(slot->node->kind);
}

void core__keep_or_choose_gpus(const struct core *core, struct slot *slot, const struct pod *pod)
{
    uint32_t sets[MACHINE_GPUS_MAX];

    if (slot->held || (slot->gpus && !(slot->gpus & (slot->node->gpus_used | slot->node->gpus_held)) &&
                       (uint32_t)__builtin_popcount(slot->gpus) == core_accelerators(core, &pod->requests)))
        return;
    core__choose_gpus(core, slot->node, &pod->requests, 1, sets);
    slot->gpus = sets[0];
}

/* ---- classes: nodes that are as fast as each other for pods of one shape ----------------------------------- */

struct class {
    uint32_t kind, free; /* number of the kind; the set */
};

struct gpu_classes {
    struct class *items;
    uint32_t n, size;
    uint16_t *by_node;
    size_t by_node_size;
    struct numa_need need; /* of one pod */
    uint32_t most; /* rows are so long */
    bool full; /* some node is in none for lack of room */
    float *gb_s[GANG_SIZES]; /* [class][pods on the node - 1] */
};

struct gpu_classes *core__classes_new(void)
{
    return calloc(1, sizeof(struct gpu_classes));
}

void core__classes_free(struct gpu_classes *classes)
{
    if (!classes)
        return;
    for (unsigned i = 0; i < GANG_SIZES; i++)
        free(classes->gb_s[i]);
    free(classes->items);
    free(classes->by_node);
    free(classes);
}

static bool grow_classes(struct gpu_classes *classes)
{
    uint32_t size = classes->size ? classes->size * 2 : 16;
    struct class *items = realloc(classes->items, size * sizeof(*items));

    if (items)
        classes->items = items;
    for (unsigned i = 0; i < GANG_SIZES && items; i++) {
        float *rows = realloc(classes->gb_s[i], (size_t)size * classes->most * sizeof(*rows));

        if (!rows)
            return false;
        classes->gb_s[i] = rows;
    }
    if (items)
        classes->size = size;
    return items != NULL;
}

/* Speeds with 1, 2, ... pods there; none of a row rises, so what a search missed costs its own number only. */
static void fill_row(struct gpu_classes *classes, uint32_t class, struct machine_kind *kind,
                     uint32_t free)
{
    float least[GANG_SIZES];

    for (unsigned size = 0; size < GANG_SIZES; size++)
        least[size] = -1;
    for (uint32_t pods = 1; pods <= classes->most; pods++) {
        uint32_t sets[MACHINE_GPUS_MAX];
        bool fits = kind && pods <= numa_pods(&kind->machine, free, classes->need);

        if (fits)
            machine_kind_split(kind, free, classes->need, pods, sets);
        for (unsigned size = 0; size < GANG_SIZES; size++) {
            uint32_t gang = size + 1 < GANG_SIZES || pods < GANG_SIZES ? size + 1 : pods;
            float gb_s = fits && pods <= gang ? machine_kind_gang_gb_s(kind, sets, pods, gang) : 0;

            if (least[size] >= 0 && gb_s > least[size])
                gb_s = least[size];
            least[size] = gb_s;
            classes->gb_s[size][(size_t)class * classes->most + pods - 1] = gb_s;
        }
    }
}

static uint16_t class_of(struct gpu_classes *classes, struct machine_kind *kind, uint32_t free)
{
    struct class wanted = {kind ? kind->number : 0, kind ? free : 0};

    for (uint32_t i = 0; i < classes->n; i++)
        if (classes->items[i].kind == wanted.kind && classes->items[i].free == wanted.free)
            return (uint16_t)i;
    if (classes->n == CLASSES_MAX || (classes->n == classes->size && !grow_classes(classes))) {
        classes->full = true;
        return 0; /* unknown */
    }
    fill_row(classes, classes->n, kind, free);
    classes->items[classes->n] = wanted;
    return (uint16_t)classes->n++;
}

bool core__classes_begin(const struct core *core, struct gpu_classes *classes,
                         const struct resources *requests, size_t nnodes)
{
    struct numa_need need = need_of(core, requests);
    uint16_t *by_node;

    classes->n = 0;
    classes->full = false;
    classes->need = need;
    classes->most = need.gpus > 0 && need.gpus <= MACHINE_GPUS_MAX ? MACHINE_GPUS_MAX / need.gpus : 1;
    for (unsigned i = 0; i < GANG_SIZES; i++) {
        free(classes->gb_s[i]);
        classes->gb_s[i] = NULL;
    }
    classes->size = 0;
    if (nnodes > classes->by_node_size) {
        by_node = realloc(classes->by_node, nnodes * sizeof(*by_node));
        if (!by_node)
            return false;
        classes->by_node = by_node;
        classes->by_node_size = nnodes;
    }
    return class_of(classes, NULL, 0) == 0 && classes->n == 1;
}

bool core__classes_full(const struct gpu_classes *classes)
{
    return classes->full;
}

void core__classes_set(const struct core *core, struct gpu_classes *classes, const struct node *node)
{
    uint32_t free = 0;
    bool known = classes->need.gpus > 0 && core__free_gpus(core, node, &free);

    classes->by_node[node->at] = known ? class_of(classes, node->kind, free) : 0;
}

bool core__classes_ask(const struct gpu_classes *classes, uint32_t pods, struct plan_speed *ret)
{
    uint32_t size = pods < GANG_SIZES ? pods : GANG_SIZES;

    *ret = (struct plan_speed){classes->n, classes->most, classes->by_node, classes->gb_s[size - 1]};
    return classes->n > 1;
}

/* ---- the check: each has one owner (I2), and that is what nodes say (I12) ------------------------------------ */

struct owned {
    uint32_t used, held;
};

static int own(uint32_t *set, uint32_t gpus, const struct node *node, const char *who, struct err *err)
{
    char text[GPU_SET_TEXT];

    gpu_set_text(*set & gpus, text);
    if (*set & gpus)
        return err_set(err, -EINVAL, "I2: accelerators %s of node %s have two owners, one is %s", text,
                       node->name, who);
    *set |= gpus;
    return 0;
}

static int count_owners(const struct core *core, struct owned *owned, struct err *err)
{
    struct hashmap_iter iter = {0};
    const char *key;
    void *value;
    int r = 0;

    while (r == 0 && hashmap_next(&core->cluster.pods_by_uid, &iter, &key, &value)) {
        const struct pod *pod = value;

        if (pod->node && pod->gpus)
            r = own(&owned[pod->node->at].used, pod->gpus, pod->node, pod->object->name, err);
    }
    for (size_t i = 0; i < core->all.n; i++)
        for (uint32_t s = 0; r == 0 && s < core->all.items[i]->nslots; s++) {
            const struct slot *slot = &core->all.items[i]->slots[s];

            if (slot->held && slot->gpus)
                r = own(&owned[slot->node->at].held, slot->gpus, slot->node, core->all.items[i]->key, err);
        }
    return r;
}

int core__check_gpus(const struct core *core, struct err *err)
{
    struct owned *owned = calloc(core->cluster.nnodes + 1, sizeof(*owned));
    int r = owned ? count_owners(core, owned, err) : 0;

    for (size_t i = 0; owned && r == 0 && i < core->cluster.nnodes; i++) {
        const struct node *node = core->cluster.nodes[i];

        if (owned[i].used & owned[i].held)
            r = err_set(err, -EINVAL, "I2: node %s: accelerators %x are used, and held for others too",
                        node->name, owned[i].used & owned[i].held);
        else if (owned[i].used != node->gpus_used || owned[i].held != node->gpus_held)
            r = err_set(err, -EINVAL, "I12: node %s counts accelerators %x used, %x held; %x, %x are",
                        node->name, node->gpus_used, node->gpus_held, owned[i].used, owned[i].held);
    }
    free(owned);
    return r;
}
