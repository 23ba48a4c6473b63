#include "topology/split.h"

#include <string.h>

struct search {
    uint32_t gpus, pods, steps;
    float ceiling, best;
    set_speed *speed;
    void *context;
    uint32_t sets[32], *ret_sets;
    bool found;
};

static bool is_over(const struct search *search)
{
    return search->found && (search->best >= search->ceiling || search->steps >= SPLIT_STEPS);
}

static void next_pod(struct search *search, uint32_t free, uint32_t pod, float least);

/* The pod's set grows by members above the last one, `from` what is left of those. */
static void grow(struct search *search, uint32_t free, uint32_t from, uint32_t set, uint32_t pod,
                 float least)
{
    if ((uint32_t)__builtin_popcount(set) == search->gpus) {
        float speed = search->speed(search->context, set);

        search->steps++;
        if (speed < least)
            least = speed;
        if (search->found && least <= search->best)
            return;
        search->sets[pod] = set;
        next_pod(search, free & ~set, pod + 1, least);
        return;
    }
    for (; from && !is_over(search); from &= from - 1)
        grow(search, free, from & (from - 1), set | (from & -from), pod, least);
}

/* Sets come in the order of their lowest members; who is passed over stays free. */
static void next_pod(struct search *search, uint32_t free, uint32_t pod, float least)
{
    if (pod == search->pods) {
        search->best = least;
        search->found = true;
        memcpy(search->ret_sets, search->sets, search->pods * sizeof(*search->sets));
        return;
    }
    while ((uint32_t)__builtin_popcount(free) >= (search->pods - pod) * search->gpus &&
           !is_over(search)) {
        uint32_t lowest = free & -free;

        free &= ~lowest;
        grow(search, free, free, lowest, pod, least);
    }
}

float split_machine(uint32_t free, uint32_t gpus, uint32_t pods, float ceiling, set_speed *speed,
                    void *context, uint32_t *ret_sets)
{
    struct search search = {.gpus = gpus, .pods = pods, .ceiling = ceiling, .speed = speed,
                            .context = context, .ret_sets = ret_sets};

    next_pod(&search, free, 0, ceiling);
    return search.best;
}
