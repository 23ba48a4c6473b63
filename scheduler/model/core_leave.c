/* Who could leave, and what each of them takes of which node; taking them out and putting them back. */
#include "scheduler/model/core_leave.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- leavers ------------------------------------------------------------------------------------------ */

static bool can_leave(const struct pod *pod)
{
    const char *owner = pod->object->owner.kind_name;

    return (pod->node || pod->hold.node) && !pod->gang && strcmp(owner, "DaemonSet") != 0 &&
           strcmp(owner, "Node") != 0;
}

static int compare_leavers(const void *a, const void *b)
{
    const struct leaver *left = a, *right = b;
    int order = strcmp(left->ns, right->ns);

    if (order == 0)
        order = strcmp(left->name, right->name);
    if (order == 0) /* a gang and a pod of one name: the gang's UID is "" */
        order = strcmp(left->uid, right->uid);
    return order != 0 ? order : strcmp(left->gang ? left->gang->key : "",
                                       right->gang ? right->gang->key : "");
}

static int find_leavers(struct leave *leave)
{
    struct core *core = leave->core;
    struct hashmap_iter iter = {0};
    const char *uid;
    void *value;

    leave->leavers = calloc(core->all.n + core->cluster.pods_by_uid.n + 1, sizeof(*leave->leavers));
    if (!leave->leavers)
        return -ENOMEM;
    for (size_t i = 0; i < core->all.n; i++) {
        struct gang *gang = core->all.items[i];

        if (gang != leave->gang)
            leave->leavers[leave->nleavers++] =
                (struct leaver){.gang = gang, .ns = gang->ns, .name = gang->name, .uid = "",
                                .pods = gang->nmembers ? (uint32_t)gang->nmembers : 1};
    }
    while (hashmap_next(&core->cluster.pods_by_uid, &iter, &uid, &value)) {
        struct pod *pod = value;

        if (can_leave(pod))
            leave->leavers[leave->nleavers++] =
                (struct leaver){.pod = pod, .ns = pod->object->ns, .name = pod->object->name,
                                .uid = pod->object->uid, .pods = 1};
    }
    qsort(leave->leavers, leave->nleavers, sizeof(*leave->leavers), compare_leavers);
    return 0;
}

/* ---- parts -------------------------------------------------------------------------------------------- */

static size_t parts_at_most(const struct leave *leave)
{
    size_t n = 1;

    for (uint32_t i = 0; i < leave->nleavers; i++) {
        const struct gang *gang = leave->leavers[i].gang;

        n += 2 * (gang ? gang->nmembers : 1) + (gang ? gang->nslots : 0);
    }
    return n;
}

static uint32_t place_of(const struct leave *leave, const struct node *node)
{
    uint32_t low = 0, high = leave->nplaces;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (strcmp(leave->places[middle].node->name, node->name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_part(struct leave *leave, uint32_t leaver, const struct node *node, bool held,
                     const struct resources *amount, uint32_t gpus)
{
    uint32_t place;

    if (!node)
        return;
    place = place_of(leave, node);
    leave->parts[leave->nparts++] = (struct leave_part){leaver, place, held, amount, gpus};
    leave->leavers[leaver].nparts++;
    leave->places[place].nparts++;
}

static void add_pod_parts(struct leave *leave, uint32_t leaver, const struct pod *pod)
{
    add_part(leave, leaver, pod->node, false, &pod->requests, pod->gpus);
    add_part(leave, leaver, pod->hold.node, true, &pod->requests, 0);
}

static int find_parts(struct leave *leave)
{
    leave->parts = calloc(parts_at_most(leave), sizeof(*leave->parts));
    if (!leave->parts)
        return -ENOMEM;
    for (uint32_t i = 0; i < leave->nleavers; i++) {
        const struct gang *gang = leave->leavers[i].gang;

        leave->leavers[i].first = leave->nparts;
        if (leave->leavers[i].pod)
            add_pod_parts(leave, i, leave->leavers[i].pod);
        for (size_t k = 0; gang && k < gang->nmembers; k++)
            add_pod_parts(leave, i, gang->members[k]);
        for (uint32_t k = 0; gang && k < gang->nslots; k++)
            if (gang->slots[k].held)
                add_part(leave, i, gang->slots[k].node, true, &gang->slots[k].hold, gang->slots[k].gpus);
    }
    return 0;
}

/* ---- places ------------------------------------------------------------------------------------------- */

static int find_places(struct leave *leave)
{
    struct core *core = leave->core;
    const struct pod_shape *shape = &leave->gang->members[0]->object->shape;

    leave->nplaces = (uint32_t)core->cluster.nnodes;
    leave->places = calloc(leave->nplaces + 1, sizeof(*leave->places));
    if (!leave->places)
        return -ENOMEM;
    for (uint32_t i = 0; i < leave->nplaces; i++) {
        struct node *node = core->cluster.nodes[i];
        bool usable = core__may_use(core, leave->gang, node, shape);

        leave->places[i] = (struct leave_place){
            .node = node, .usable = usable, .domain = UINT32_MAX,
            .room = usable ? core__node_room(core, node, &leave->gang->requests) : 0};
    }
    return 0;
}

/* The domain of the required level as a number from 0 on, in order of its first node; UINT32_MAX: unknown. */
static void number_domains(struct leave *leave, uint32_t *number)
{
    int level = leave->gang->required_level;

    for (uint32_t i = 0; i < leave->nplaces; i++) {
        struct leave_place *place = &leave->places[i];
        uint32_t id;

        if (level < 0) {
            place->domain = 0;
            leave->ndomains = 1;
        } else if ((uint32_t)level >= leave->core->cluster.nlevels) {
            place->domain = leave->ndomains++;
        } else if (place->node->domain[level] != PLAN_UNKNOWN) {
            id = place->node->domain[level];
            if (number[id] == 0)
                number[id] = ++leave->ndomains;
            place->domain = number[id] - 1;
        }
    }
}

static int divide_places(struct leave *leave)
{
    uint32_t *number = calloc(leave->core->cluster.ndomains + 1, sizeof(*number));

    if (!number)
        return -ENOMEM;
    number_domains(leave, number);
    free(number);
    leave->in_domain = calloc(leave->nplaces + 1, sizeof(*leave->in_domain));
    leave->domain_start = calloc(leave->ndomains + 2, sizeof(*leave->domain_start));
    if (!leave->in_domain || !leave->domain_start)
        return -ENOMEM;
    for (uint32_t i = 0; i < leave->nplaces; i++)
        if (leave->places[i].domain != UINT32_MAX)
            leave->domain_start[leave->places[i].domain + 2]++;
    for (uint32_t d = 2; d < leave->ndomains + 2; d++)
        leave->domain_start[d] += leave->domain_start[d - 1];
    for (uint32_t i = 0; i < leave->nplaces; i++)
        if (leave->places[i].domain != UINT32_MAX)
            leave->in_domain[leave->domain_start[leave->places[i].domain + 1]++] = i;
    return 0;
}

/* ---- the order in which a place's leavers are asked --------------------------------------------------- */

struct turn {
    uint32_t place, part;
    bool gang; /* after the ordinary pods */
    uint64_t rank; /* of pods the largest first, of gangs that of the fewest pods */
};

static int compare_turns(const void *a, const void *b)
{
    const struct turn *left = a, *right = b;

    if (left->place != right->place)
        return left->place < right->place ? -1 : 1;
    if (left->gang != right->gang)
        return left->gang ? 1 : -1;
    if (left->rank != right->rank)
        return left->rank < right->rank ? -1 : 1;
    return left->part < right->part ? -1 : 1;
}

/* How much of what the waiting gang needs the part takes, in thousandths of one of its pods. */
static uint64_t weight(const struct leave *leave, const struct leave_part *part)
{
    __int128 most = 0;

    for (unsigned r = 0; r < RES_MAX && part->amount; r++) {
        int64_t wanted = leave->gang->requests.v[r];

        if (wanted > 0 && r != RES_PODS && (__int128)part->amount->v[r] * 1000 / wanted > most)
            most = (__int128)part->amount->v[r] * 1000 / wanted;
    }
    return most < INT64_MAX ? (uint64_t)most : INT64_MAX;
}

static int order_places(struct leave *leave)
{
    struct turn *turns = calloc(leave->nparts + 1, sizeof(*turns));
    uint32_t first = 0;

    leave->by_place = calloc(leave->nparts + 1, sizeof(*leave->by_place));
    if (!turns || !leave->by_place) {
        free(turns);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < leave->nparts; i++) {
        const struct leave_part *part = &leave->parts[i];
        const struct leaver *leaver = &leave->leavers[part->leaver];

        turns[i] = (struct turn){part->place, i, leaver->gang != NULL,
                                 leaver->gang ? leaver->pods
                                              : UINT64_MAX - weight(leave, part)};
    }
    qsort(turns, leave->nparts, sizeof(*turns), compare_turns);
    for (uint32_t i = 0; i < leave->nparts; i++)
        leave->by_place[i] = turns[i].part;
    for (uint32_t i = 0; i < leave->nplaces; i++) {
        leave->places[i].first = first;
        first += leave->places[i].nparts;
    }
    free(turns);
    return 0;
}

/* ---- open, close -------------------------------------------------------------------------------------- */

static int make_lists(struct leave *leave)
{
    size_t n = leave->nleavers + 1;

    leave->gangs = calloc(n, sizeof(uint32_t));
    leave->taken = calloc(n, sizeof(uint32_t));
    leave->out = calloc(n, sizeof(uint32_t));
    leave->best = calloc(n, sizeof(uint32_t));
    leave->potential = calloc(leave->ndomains + 1, sizeof(*leave->potential));
    return leave->potential && leave->gangs && leave->taken && leave->out && leave->best ? 0 : -ENOMEM;
}

int leave_open(struct core *core, const struct gang *gang, struct leave *ret)
{
    int r;

    *ret = (struct leave){.core = core, .gang = gang, .pods = core__needed(gang),
                          .domain = UINT32_MAX};
    r = find_leavers(ret);
    if (r == 0)
        r = find_places(ret);
    if (r == 0)
        r = find_parts(ret);
    if (r == 0)
        r = divide_places(ret);
    if (r == 0)
        r = order_places(ret);
    if (r == 0)
        r = make_lists(ret);
    if (r < 0)
        leave_close(ret);
    return r;
}

void leave_close(struct leave *leave)
{
    if (leave->out)
        leave_put_back(leave);
    free(leave->places);
    free(leave->leavers);
    free(leave->parts);
    free(leave->by_place);
    free(leave->in_domain);
    free(leave->domain_start);
    free(leave->potential);
    free(leave->gangs);
    free(leave->taken);
    free(leave->out);
    free(leave->best);
    *leave = (struct leave){0};
}

/* ---- out and back ------------------------------------------------------------------------------------- */

static void put_part(struct leave *leave, const struct leave_part *part, bool out)
{
    struct leave_place *place = &leave->places[part->place];
    struct resources *sum = part->held ? &place->node->held : &place->node->used;
    uint32_t *gpus = part->held ? &place->node->gpus_held : &place->node->gpus_used;
    uint32_t before = place->room;

    leave->work++;
    if (out)
        resources_sub(sum, part->amount);
    else
        resources_add(sum, part->amount);
    *gpus = out ? *gpus & ~part->gpus : *gpus | part->gpus;
    cluster_log_node(&leave->core->cluster, place->node);
    if (!place->usable)
        return;
    place->room = core__node_room(leave->core, place->node, &leave->gang->requests);
    if (place->domain == leave->domain)
        leave->room += (uint64_t)place->room - before;
}

void leave_put(struct leave *leave, uint32_t index, bool out)
{
    struct leaver *leaver = &leave->leavers[index];

    if (leaver->out == out)
        return;
    leaver->out = out;
    for (uint32_t i = 0; i < leaver->nparts; i++)
        put_part(leave, &leave->parts[leaver->first + i], out);
}

void leave_put_all(struct leave *leave)
{
    for (uint32_t i = 0; i < leave->nleavers; i++)
        leave_put(leave, i, true);
}

void leave_put_best(struct leave *leave)
{
    for (uint32_t i = 0; i < leave->nbest; i++)
        leave_put(leave, leave->best[i], true);
}

void leave_put_back(struct leave *leave)
{
    for (uint32_t i = 0; i < leave->nleavers; i++)
        leave_put(leave, i, false);
    leave->nout = 0;
}
