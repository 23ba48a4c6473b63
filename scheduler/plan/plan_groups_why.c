/* What of the subgroups that are hardest to place finds a place if nobody else is there: numbers for people. */
#include <errno.h>

#include "scheduler/plan/plan_groups_internal.h"

/* Of each part of the subgroup, so many times: how often it fits in the place; *ret_pods: pods of it that fit. */
static uint32_t times_in(const struct groups *groups, uint32_t g, struct place place, uint32_t *ret_pods)
{
    uint32_t times = UINT32_MAX, pods = 0;

    for (uint32_t k = groups->first_item[g]; k < groups->first_item[g + 1]; k++) {
        const struct plan_groups_item *item = &groups->request->items[groups->items[k]];
        uint64_t fits = 0;

        for (uint32_t i = 0; i < place.n; i++)
            fits += groups__room(groups, groups->tree->order[place.first + i], item->part);
        times = fits / item->pods < times ? (uint32_t)(fits / item->pods) : times;
        pods += fits < item->pods ? (uint32_t)fits : item->pods;
    }
    *ret_pods = pods;
    return times;
}

/* At most so many: each part is counted as if it was alone. Of a spread one each domain of that level counts once. */
static int count_kind(struct groups *groups, const struct kind *kind, struct plan_groups_shortage *ret)
{
    const struct plan_index *tree = groups->tree;
    uint8_t *used = plan__zalloc(groups->scratch->mine, (size_t)tree->ndomains + tree->nnodes, 1);
    uint32_t from, to, g = groups->order[kind->first];
    uint64_t fit = 0;

    if (!used)
        return -ENOMEM;
    *ret = (struct plan_groups_shortage){.group = g, .of = kind->count};
    groups__keys(tree, (uint32_t)kind->home, &from, &to);
    for (uint32_t key = from; key < to; key++) {
        struct place place = groups__place(tree, key);
        uint32_t times, pods, above = kind->spread < 0 ? 0 : groups__above(tree, key, (uint32_t)kind->spread);

        if (!groups__is_domain(tree, key) || above == UINT32_MAX ||
            (kind->label >= 0 && groups->cluster->nodes[tree->order[place.first]].domain[kind->label] == PLAN_UNKNOWN))
            continue;
        times = times_in(groups, g, place, &pods);
        ret->best = pods > ret->best ? pods : ret->best;
        if (kind->spread >= 0) {
            times = times > 0 && !used[above];
            used[above] |= times > 0;
        }
        fit += times;
    }
    ret->fit = fit < kind->count ? (uint32_t)fit : kind->count;
    return 0;
}

/* Least of them fit: that one is told. */
int groups__shortage(struct groups *groups, struct plan_groups_shortage *ret)
{
    struct plan_groups_shortage worst = {0};

    for (uint32_t k = 0; k < groups->nkinds; k++) {
        struct plan_groups_shortage one;

        if (count_kind(groups, &groups->kinds[k], &one) < 0)
            return -ENOMEM;
        if (k == 0 || (uint64_t)one.fit * worst.of < (uint64_t)worst.fit * one.of)
            worst = one;
    }
    *ret = worst;
    ret->certain = groups->complete;
    return 0;
}
