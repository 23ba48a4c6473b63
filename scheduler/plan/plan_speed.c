/*
 * The fastest placement by bisection over speeds: see plan_speed.h. The arena of the scratch begins anew with
 * each plan, so what lives through several of them stands in the index of its own.
 */
#include "scheduler/plan/plan_speed.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/plan/plan_internal.h"

struct plan_race {
    const struct plan_index *index; /* the caller's, with all room */
    const struct plan_request *request;
    const struct plan_speed *speed;
    struct plan_scratch *scratch;
    struct plan_index *slim; /* the same nodes with the room that is there at some speed */
    bool is_slim; /* of this question */
    float *steps; /* speeds that a placement could have, rising */
    uint32_t *room; /* by class: the most pods that a node of it may end up with */
    uint32_t nsteps, steps_size, room_size;
    struct plan first; /* with all room; of it only the counts are looked at */
    bool certain; /* what the last run cost, it costs for certain */
};

struct plan_race *plan_race_new(void)
{
    struct plan_race *race = calloc(1, sizeof(*race));

    if (race)
        race->slim = plan_index_new();
    if (race && !race->slim) {
        free(race);
        race = NULL;
    }
    return race;
}

void plan_race_free(struct plan_race *race)
{
    if (!race)
        return;
    plan_index_free(race->slim);
    free(race->steps);
    free(race->room);
    free(race);
}

/* ---- the table ------------------------------------------------------------------------------------------ */

static const float *row_of(const struct plan_speed *speed, uint32_t node)
{
    return speed->gb_s + (size_t)speed->class[node] * speed->most;
}

static float speed_of(const struct plan_speed *speed, uint32_t node, uint32_t pods)
{
    return row_of(speed, node)[(pods < speed->most ? pods : speed->most) - 1];
}

/* How many pods the node takes so that each is as fast as that. */
static uint32_t pods_at(const struct plan_speed *speed, uint32_t node, float gb_s)
{
    uint32_t pods = speed->most;

    while (pods > 0 && speed_of(speed, node, pods) < gb_s)
        pods--;
    return pods == speed->most ? PLAN_NODE_PODS_MAX : pods;
}

static bool is_valid(const struct plan_index *index, const struct plan_speed *speed)
{
    if (speed->most == 0 || speed->nclasses == 0)
        return false;
    for (uint32_t node = 0; node < index->nnodes; node++)
        if (speed->class[node] >= speed->nclasses)
            return false;
    return true;
}

static float slowest(const struct plan_race *race, const struct plan *plan)
{
    float least = INFINITY;

    for (uint32_t i = 0; i < plan->nshares; i++)
        least = fminf(least, speed_of(race->speed, plan->shares[i].node, plan->shares[i].count));
    return least;
}

/* ---- room at a speed ---------------------------------------------------------------------------------------- */

static uint32_t least_of(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t room_at(const struct plan_race *race, uint32_t node, float gb_s)
{
    return least_of(race->index->capacity[node], pods_at(race->speed, node, gb_s));
}

static int slim_down(struct plan_race *race, float gb_s)
{
    if (!race->is_slim && plan__index_copy(race->slim, race->index) < 0)
        return -ENOMEM;
    race->is_slim = true;
    for (uint32_t node = 0; node < race->index->nnodes; node++)
        plan_index_set(race->slim, node, room_at(race, node, gb_s), race->index->free_units[node]);
    return 0;
}

/* ---- speeds to choose from ----------------------------------------------------------------------------------- */

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return x < y ? -1 : x > y;
}

static int make_room(struct plan_race *race)
{
    const struct plan_speed *speed = race->speed;
    uint32_t size = speed->nclasses * speed->most;

    if (speed->nclasses > race->room_size) {
        uint32_t *room = realloc(race->room, speed->nclasses * sizeof(*room));

        if (!room)
            return -ENOMEM;
        race->room = room;
        race->room_size = speed->nclasses;
    }
    if (size > race->steps_size) {
        float *steps = realloc(race->steps, size * sizeof(*steps));

        if (!steps)
            return -ENOMEM;
        race->steps = steps;
        race->steps_size = size;
    }
    return 0;
}

/* Those above that bound that some node with room has. */
static int list_steps(struct plan_race *race, float above)
{
    const struct plan_speed *speed = race->speed;
    uint32_t n = 0;

    if (make_room(race) < 0)
        return -ENOMEM;
    memset(race->room, 0, speed->nclasses * sizeof(*race->room));
    for (uint32_t node = 0; node < race->index->nnodes; node++) {
        uint32_t capacity = race->index->capacity[node];

        if (capacity > race->room[speed->class[node]])
            race->room[speed->class[node]] = capacity;
    }
    for (uint32_t c = 0; c < speed->nclasses; c++)
        for (uint32_t i = 0; i < least_of(speed->most, race->room[c]); i++) {
            float gb_s = speed->gb_s[(size_t)c * speed->most + i];

            if (gb_s > above)
                race->steps[n++] = gb_s;
        }
    if (n > 0)
        qsort(race->steps, n, sizeof(*race->steps), compare_floats);
    race->nsteps = 0;
    for (uint32_t i = 0; i < n; i++)
        if (race->nsteps == 0 || race->steps[i] > race->steps[race->nsteps - 1])
            race->steps[race->nsteps++] = race->steps[i];
    return 0;
}

/* ---- the race -------------------------------------------------------------------------------------------------- */

/* Does it cost a pod, the preferred domain, or a domain? Where it does, is that for certain? */
static bool costs_nothing(struct plan_race *race, const struct plan *plan)
{
    race->certain = true;
    if (plan->pods != race->first.pods || (race->first.preferred_met && !plan->preferred_met))
        return false;
    for (uint32_t level = 0; level < race->index->nlevels; level++) {
        race->certain &= plan->use[level].proven;
        if (plan->use[level].used != race->first.use[level].used)
            return plan->use[level].used < race->first.use[level].used;
    }
    return true;
}

/* The pods at that speed at least; 1: it costs something, or does not fit. */
static int run(struct plan_race *race, float gb_s, struct plan *ret_plan)
{
    struct plan_shortage shortage;
    int r = slim_down(race, gb_s);

    if (r == 0)
        r = plan_on_index(race->slim, race->request, race->scratch, ret_plan, &shortage);
    if (r == -ENOSPC)
        race->certain = true;
    return r == -ENOSPC ? 1 : r < 0 ? r : !costs_nothing(race, ret_plan);
}

/* Steps below *ret_n cost nothing, those from there on do; the arena holds whichever was tried last. */
static int bisect(struct plan_race *race, uint32_t *ret_n, bool *ret_certain)
{
    uint32_t low = 0, high = race->nsteps;

    *ret_certain = true;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct plan plan;
        int r = run(race, race->steps[middle], &plan);

        if (r < 0)
            return r;
        if (r == 0) {
            low = middle + 1;
        } else {
            high = middle;
            *ret_certain = race->certain;
        }
    }
    *ret_n = low;
    return 0;
}

/* What is said of all placements, and not of those that are as fast only. */
static void keep_bounds(const struct plan_race *race, struct plan *plan)
{
    for (uint32_t level = 0; level <= race->index->nlevels; level++)
        plan->use[level].lower_bound = race->first.use[level].lower_bound;
    for (uint32_t level = 0; level < race->index->nlevels; level++)
        plan->use[level].proven = race->first.use[level].proven;
}

static int hurry(struct plan_race *race, struct plan *plan, bool *ret_proven)
{
    uint32_t n;
    int r = list_steps(race, slowest(race, plan));

    if (r < 0)
        return r;
    *ret_proven = true;
    if (race->nsteps == 0)
        return 0;
    r = bisect(race, &n, ret_proven);
    if (r < 0)
        return r;
    if (n > 0) {
        r = run(race, race->steps[n - 1], plan);
        if (r == 0)
            keep_bounds(race, plan);
        return r > 0 ? -EINVAL : r; /* it cost nothing a moment ago */
    }
    /* The arena holds the last try now: the first answer once more. */
    return plan_on_index(race->index, race->request, race->scratch, plan, &(struct plan_shortage){0});
}

int plan_fastest(const struct plan_index *index, const struct plan_request *request,
                 const struct plan_speed *speed, struct plan_race *race,
                 struct plan_scratch *scratch, struct plan *ret_plan,
                 struct plan_speed_use *ret_use, struct plan_shortage *ret_shortage)
{
    struct plan plan;
    bool proven = false;
    int r;

    if (!is_valid(index, speed))
        return -EINVAL;
    r = plan_on_index(index, request, scratch, &plan, ret_shortage);
    if (r < 0)
        return r;
    race->index = index;
    race->request = request;
    race->speed = speed;
    race->scratch = scratch;
    race->is_slim = false;
    race->first = plan;
    r = hurry(race, &plan, &proven);
    if (r < 0)
        return r;
    *ret_use = (struct plan_speed_use){slowest(race, &plan), proven};
    *ret_plan = plan;
    return 0;
}
