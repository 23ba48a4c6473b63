/* From the cheapest state of the tables to who is where. */
#include "scheduler/plan/plan_groups_tables.h"

static void note_made(struct tables *tables, uint32_t mix, uint32_t from, uint32_t to, uint32_t depth, uint32_t key)
{
    for (uint32_t k = from; k < to; k++)
        if (tables__digit(tables, mix, k) > 0)
            tables->made[tables->nmade++] =
                (struct made){k, tables__digit(tables, mix, k), depth, groups__place(tables->index, key)};
}

static void walk_nodes(struct tables *tables, uint32_t leaf, uint32_t state)
{
    const struct plan_domain *here = &tables->index->domains[leaf];
    const struct table *table = &tables->tables[leaf];
    uint32_t depth = tables->index->nlevels + 1, mixes = tables__mixes(tables, depth), nkinds = tables->nkinds[depth];

    for (uint32_t i = here->nnodes; i-- > 0;) {
        uint32_t part = table->choices[(size_t)i * table->width + state];
        uint32_t at = here->first_node + i;

        state -= part;
        tables->placed[tables->index->order[at]] = part / mixes + tables__pods(tables, part % mixes, nkinds);
        note_made(tables, part % mixes, 0, nkinds, depth, tables->index->ndomains + at);
    }
}

void tables__walk_back(struct tables *tables, uint32_t domain, uint32_t state)
{
    const struct plan_domain *here = &tables->index->domains[domain];
    const struct table *table = &tables->tables[domain];
    bool leaf = here->nchildren == 0;
    uint32_t inside = leaf ? tables->index->nlevels + 1 : here->level + 1;
    uint32_t before = table->before[state];

    if (state == 0)
        return;
    if (!here->loose)
        note_made(tables, state % tables__mixes(tables, here->level), tables->nkinds[inside],
                  tables->nkinds[here->level], here->level, domain);
    if (leaf && tables->nkinds[inside] > 0) {
        walk_nodes(tables, domain, before);
    } else if (leaf) {
        uint32_t first = tables->plan.nshares;

        plan__take_leaf(&tables->solver, domain, before);
        for (uint32_t i = first; i < tables->plan.nshares; i++)
            tables->placed[tables->plan.shares[i].node] = tables->plan.shares[i].count;
    }
    for (uint32_t c = here->nchildren; c-- > 0;) {
        uint32_t part = table->choices[(size_t)c * table->width + before];

        tables__walk_back(tables, here->first_child + c, part);
        before -= part;
    }
}

/* ---- who is where --------------------------------------------------------------------------------------------------- */

static void give(struct tables *tables, uint32_t item, struct place place, struct plan_groups_share *shares,
                 uint32_t *nshares)
{
    uint32_t left = tables->groups->request->items[item].pods;

    for (uint32_t i = 0; i < place.n && left > 0; i++) {
        uint32_t node = tables->index->order[place.first + i], n = tables->placed[node];

        n = n < left ? n : left;
        if (n == 0)
            continue;
        tables->placed[node] -= n;
        left -= n;
        shares[(*nshares)++] = (struct plan_groups_share){node, item, n};
    }
}

/* Innermost homes first; those outside of subgroups have what is left. */
void tables__give(struct tables *tables, struct plan_groups_share *shares, uint32_t *nshares)
{
    const struct groups *groups = tables->groups;
    uint32_t next[KINDS_MAX] = {0}, none = groups->request->ngroups;

    for (uint32_t depth = tables->index->nlevels + 2; depth-- > 0;)
        for (uint32_t i = tables->nmade; i-- > 0;) {
            const struct made *made = &tables->made[i];

            for (uint32_t n = 0; made->depth == depth && n < made->count; n++) {
                uint32_t g = groups->order[groups->kinds[made->kind].first + next[made->kind]++];

                for (uint32_t k = groups->first_item[g]; k < groups->first_item[g + 1]; k++)
                    give(tables, groups->items[k], made->place, shares, nshares);
            }
        }
    for (uint32_t k = groups->first_item[none]; k < groups->first_item[none + 1]; k++)
        give(tables, groups->items[k], groups__place(tables->index, 0), shares, nshares);
}
