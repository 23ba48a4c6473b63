/*
 * Directed Hamiltonian cycles of a set of accelerators that share no link: what NCCL's channel search looks for.
 * Where all pairs have as many links the count is known; else it is searched for, depth first with a bound above
 * that ends most searches at the first leaf. The search is cut after SEARCH_STEPS: the count is then what was
 * found, which holds (those cycles exist) but may not be the most.
 */
#include <string.h>

#include "topology/bandwidth_internal.h"

#define SEARCH_STEPS 200000

struct search {
    unsigned n, best, bound, steps;
    uint8_t left[MACHINE_GPUS_MAX][MACHINE_GPUS_MAX]; /* links from one to another that no cycle has yet */
    uint8_t path[MACHINE_GPUS_MAX];
};

static bool is_link(enum link_class class)
{
    return class == LINK_NVLINK || class == LINK_XGMI;
}

static void fill(struct search *search, const struct machine *machine, uint32_t mask)
{
    unsigned gpu[MACHINE_GPUS_MAX];

    memset(search, 0, sizeof(*search));
    for (; mask; mask &= mask - 1)
        gpu[search->n++] = (unsigned)__builtin_ctz(mask);
    for (unsigned a = 0; a < search->n; a++)
        for (unsigned b = 0; b < search->n; b++) {
            const struct machine_link *link = &machine->link[gpu[a]][gpu[b]];

            if (a != b && is_link(link->class))
                search->left[a][b] = link->links;
        }
}

/* No more cycles than the least that enters or leaves one of them. */
static unsigned bound_above(const struct search *search)
{
    unsigned least = UINT32_MAX;

    for (unsigned a = 0; a < search->n; a++) {
        unsigned out = 0, in = 0;

        for (unsigned b = 0; b < search->n; b++) {
            out += search->left[a][b];
            in += search->left[b][a];
        }
        least = out < least ? out : least;
        least = in < least ? in : least;
    }
    return least;
}

/*
 * All pairs with the same number of links, w: the complete digraph of n falls into n - 1 Hamiltonian cycles for
 * all n but 4 and 6 (Tillson 1980), where n - 2 share no link; two copies of those do so too. 0: not such a set.
 */
static unsigned complete(const struct search *search)
{
    unsigned w = search->left[0][1];

    for (unsigned a = 0; a < search->n; a++)
        for (unsigned b = 0; b < search->n; b++)
            if (a != b && search->left[a][b] != w)
                return 0;
    return w * (search->n - 1) - ((search->n == 4 || search->n == 6) && w % 2 == 1 ? 1 : 0);
}

static void next_cycle(struct search *search, unsigned found);

static void extend(struct search *search, unsigned depth, uint32_t seen, unsigned found)
{
    unsigned at = search->path[depth - 1];
    uint32_t tried = seen;

    if (++search->steps > SEARCH_STEPS || search->best == search->bound)
        return;
    if (depth == search->n) {
        if (search->left[at][0] == 0)
            return;
        search->left[at][0]--;
        next_cycle(search, found + 1);
        search->left[at][0]++;
        return;
    }
    for (;;) { /* the pairs with most links left first: they are the least in each other's way */
        unsigned next = 0, most = 0;

        for (unsigned b = 1; b < search->n; b++)
            if (!(tried & 1u << b) && search->left[at][b] > most) {
                most = search->left[at][b];
                next = b;
            }
        if (most == 0)
            return;
        tried |= 1u << next;
        search->path[depth] = (uint8_t)next;
        search->left[at][next]--;
        extend(search, depth + 1, seen | 1u << next, found);
        search->left[at][next]++;
    }
}

static void next_cycle(struct search *search, unsigned found)
{
    uint8_t path[MACHINE_GPUS_MAX];

    if (found > search->best)
        search->best = found;
    if (found + bound_above(search) <= search->best)
        return;
    memcpy(path, search->path, sizeof(path));
    search->path[0] = 0;
    extend(search, 1, 1, found);
    memcpy(search->path, path, sizeof(path));
}

unsigned bandwidth__cycles(const struct machine *machine, uint32_t mask)
{
    struct search search;
    unsigned known;

    fill(&search, machine, mask);
    if (search.n < 2)
        return 0;
    known = complete(&search);
    if (known > 0)
        return known;
    search.bound = bound_above(&search);
    next_cycle(&search, 0);
    return search.best;
}
