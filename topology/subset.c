/* The table: all bandwidths first, then for each set of free ones the best of its subsets, small sets before large. */
#include "topology/subset.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "topology/bandwidth.h"

enum form { FORM_TABLE, FORM_ALIKE, FORM_SEARCH };

struct subset_table {
    enum form form;
    unsigned n;
    uint64_t bytes;
    uint16_t *best; /* FORM_TABLE: [free][count], counts from 0 to n */
    struct machine *machine; /* FORM_SEARCH */
};

static int32_t steps(const struct machine *machine, uint32_t mask)
{
    return (int32_t)lround(bandwidth_of_gpus(machine, mask).busbw_gb_s / SUBSET_STEP_GB_S);
}

static bool all_alike(const struct machine *machine)
{
    const struct machine_link *first = &machine->link[0][1];

    if (machine->fabric == FABRIC_UNKNOWN)
        return true; /* no set has a figure */
    if (machine->fabric != FABRIC_SWITCH)
        return false;
    for (uint32_t a = 0; a < machine->ngpus; a++) {
        if (machine->gpus[a].sm != machine->gpus[0].sm)
            return false;
        for (uint32_t b = 0; b < a; b++)
            if (machine->link[a][b].class != first->class || machine->link[a][b].links != first->links)
                return false;
    }
    return true;
}

/* ---- making a table --------------------------------------------------------------------------------------- */

struct making {
    struct subset_table *table;
    int32_t *steps; /* [mask] */
};

static uint16_t *cell(const struct subset_table *table, uint32_t free, unsigned count)
{
    return &table->best[free * (table->n + 1) + count];
}

/* Of two sets of one size out of `free`: whether a is the better one. */
static bool is_better(const struct making *making, uint32_t free, uint32_t a, uint32_t b)
{
    unsigned left = (unsigned)__builtin_popcount(free & ~a);

    if (making->steps[a] != making->steps[b])
        return making->steps[a] > making->steps[b];
    for (unsigned count = left; count > 1; count--) {
        int32_t with_a = making->steps[*cell(making->table, free & ~a, count)];
        int32_t with_b = making->steps[*cell(making->table, free & ~b, count)];

        if (with_a != with_b)
            return with_a > with_b;
    }
    return a < b;
}

static void fill(const struct making *making)
{
    uint32_t all = 1u << making->table->n;

    for (uint32_t mask = 0; mask < all; mask++) /* what remains of it is a lower number: known by then */
        for (uint32_t set = mask; set; set = (set - 1) & mask) {
            uint16_t *best = cell(making->table, mask, (unsigned)__builtin_popcount(set));

            if (*best == 0 || is_better(making, mask, set, *best))
                *best = (uint16_t)set;
        }
}

static int make_table(const struct machine *machine, struct subset_table *table)
{
    uint32_t all = 1u << table->n;
    struct making making = {.table = table, .steps = calloc(all, sizeof(int32_t))};

    table->best = calloc((size_t)all * (table->n + 1), sizeof(*table->best));
    if (!making.steps || !table->best) {
        free(making.steps);
        return -ENOMEM;
    }
    table->bytes += (uint64_t)all * (table->n + 1) * sizeof(*table->best);
    for (uint32_t mask = 1; mask < all; mask++)
        making.steps[mask] = steps(machine, mask);
    fill(&making);
    free(making.steps);
    return 0;
}

static int make(const struct machine *machine, struct subset_table *table)
{
    table->n = machine->ngpus;
    table->bytes = sizeof(*table);
    if (all_alike(machine)) {
        table->form = FORM_ALIKE;
        return 0;
    }
    if (table->n <= SUBSET_TABLE_GPUS) {
        table->form = FORM_TABLE;
        return make_table(machine, table);
    }
    table->form = FORM_SEARCH;
    table->machine = malloc(sizeof(*machine));
    if (!table->machine)
        return -ENOMEM;
    *table->machine = *machine;
    table->bytes += sizeof(*machine);
    return 0;
}

int subset_table_new(const struct machine *machine, struct subset_table **ret)
{
    struct subset_table *table;
    int r;

    if (machine->ngpus > MACHINE_GPUS_MAX)
        return -EINVAL;
    table = calloc(1, sizeof(*table));
    if (!table)
        return -ENOMEM;
    r = make(machine, table);
    if (r < 0) {
        subset_table_free(table);
        return r;
    }
    *ret = table;
    return 0;
}

void subset_table_free(struct subset_table *table)
{
    if (!table)
        return;
    free(table->best);
    free(table->machine);
    free(table);
}

uint64_t subset_table_bytes(const struct subset_table *table)
{
    return table->bytes;
}

/* ---- searching, where there is no table -------------------------------------------------------------------- */

static uint32_t lowest(uint32_t mask, unsigned count)
{
    uint32_t set = 0;

    for (; count > 0; count--, mask &= mask - 1)
        set |= mask & -mask;
    return set;
}

/* C(n, k), or SUBSET_SEARCH_SETS + 1 where it is more. */
static uint32_t sets_of(unsigned n, unsigned k)
{
    uint64_t sets = 1;

    for (unsigned i = 1; i <= k && sets <= SUBSET_SEARCH_SETS; i++)
        sets = sets * (n - k + i) / i;
    return sets > SUBSET_SEARCH_SETS ? SUBSET_SEARCH_SETS + 1 : (uint32_t)sets;
}

struct finding {
    const struct machine *machine;
    uint32_t best;
    int32_t best_steps;
};

static void consider(struct finding *finding, uint32_t set)
{
    int32_t here = steps(finding->machine, set);

    if (finding->best == 0 || here > finding->best_steps ||
        (here == finding->best_steps && set < finding->best)) {
        finding->best = set;
        finding->best_steps = here;
    }
}

/* `chosen` with `count` more of `mask`, each way. */
static void consider_all(struct finding *finding, uint32_t chosen, uint32_t mask, unsigned count)
{
    if (count == 0) {
        consider(finding, chosen);
        return;
    }
    for (; (unsigned)__builtin_popcount(mask) >= count; mask &= mask - 1)
        consider_all(finding, chosen | (mask & -mask), mask & (mask - 1), count - 1);
}

/* Nearness of one to a set: NVLink's and xGMI's rates, and below any of them the class of the PCIe path. */
static double nearness(const struct machine *machine, unsigned gpu, uint32_t set)
{
    double sum = 0;

    for (; set; set &= set - 1) {
        const struct machine_link *link = &machine->link[gpu][__builtin_ctz(set)];

        if (link->class == LINK_NVLINK || link->class == LINK_XGMI)
            sum += 1000.0 * link->links;
        else if (link->class != LINK_UNKNOWN)
            sum += LINK_CLASSES - link->class;
    }
    return sum;
}

static uint32_t grow(const struct machine *machine, uint32_t set, uint32_t free, unsigned count)
{
    while ((unsigned)__builtin_popcount(set) < count) {
        double most = -1;
        unsigned next = 0;

        for (uint32_t rest = free & ~set; rest; rest &= rest - 1) {
            double here = nearness(machine, (unsigned)__builtin_ctz(rest), set);

            if (here > most) {
                most = here;
                next = (unsigned)__builtin_ctz(rest);
            }
        }
        set |= 1u << next;
    }
    return set;
}

static uint32_t search(const struct machine *machine, uint32_t free, unsigned count)
{
    struct finding finding = {.machine = machine};

    if (sets_of((unsigned)__builtin_popcount(free), count) <= SUBSET_SEARCH_SETS)
        consider_all(&finding, 0, free, count);
    else
        for (uint32_t seed = free; seed; seed &= seed - 1)
            consider(&finding, grow(machine, seed & -seed, free, count));
    return finding.best;
}

uint32_t subset_best(const struct subset_table *table, uint32_t free, unsigned count)
{
    if (table->n < 32)
        free &= (1u << table->n) - 1;
    if (count == 0 || count > (unsigned)__builtin_popcount(free))
        return 0;
    if (table->form == FORM_TABLE)
        return *cell(table, free, count);
    return table->form == FORM_ALIKE ? lowest(free, count) : search(table->machine, free, count);
}
