/*
 * Fewest domains, level by level from the outside.
 *
 * Of one level alone the largest domains are the fewest. Given how many domains of the outer levels may be
 * used it is a choice: which of them, so that the inner ones are few. For that a table is made from the
 * inside out: how many pods fit with at most x0 domains of the first level below `top`, x1 of the next, and
 * so on. Children are merged one by one (max-plus). Numbers of domains are small where numbers of pods are
 * not, so that tables are small; the levels are settled one after the other, which keeps them smaller still.
 * Often the largest domains inside of the choice made for the level before are as few as the largest of
 * all: then nothing has to be computed.
 */
#include <string.h>

#include "scheduler/plan/plan_internal.h"

/* ---- items ------------------------------------------------------------------------------------------ */

static void add_item(struct plan_items *items, uint32_t capacity, uint32_t what)
{
    if (capacity > 0)
        items->keys[items->n++] = (uint64_t)(UINT32_MAX - capacity) << 32 | what;
}

static uint32_t item_capacity(const struct plan_items *items, uint32_t i)
{
    return UINT32_MAX - (uint32_t)(items->keys[i] >> 32);
}

static void add_nodes(const struct plan_index *index, const struct plan_domain *leaf,
                      struct plan_items *items)
{
    for (uint32_t i = 0; i < leaf->nnodes; i++) {
        uint32_t node = index->order[leaf->first_node + i];

        add_item(items, index->capacity[node], index->ndomains + node);
    }
}

static void add_below(const struct plan_index *index, uint32_t domain, uint32_t depth,
                      struct plan_items *items)
{
    const struct plan_domain *here = &index->domains[domain];

    if (here->loose || (depth > 0 && here->nchildren == 0))
        add_nodes(index, here, items);
    else if (depth == 0)
        add_item(items, here->capacity, domain);
    for (uint32_t c = 0; depth > 0 && c < here->nchildren; c++)
        add_below(index, here->first_child + c, depth - 1, items);
}

static bool items_alloc(struct plan_solver *solver, uint32_t n, struct plan_items *ret)
{
    *ret = (struct plan_items){.keys = plan__alloc(solver->scratch, (size_t)n + 1, sizeof(uint64_t))};
    if (!ret->keys)
        solver->out_of_memory = true;
    return ret->keys != NULL;
}

static void items_sort(struct plan_solver *solver, struct plan_items *items)
{
    uint64_t *spare = plan__alloc(solver->scratch, (size_t)items->n + 1, sizeof(*spare));

    if (!spare) {
        solver->out_of_memory = true;
        items->n = 0;
        return;
    }
    plan__sort(items->keys, spare, items->n);
}

struct plan_items plan__items(struct plan_solver *solver, uint32_t top, uint32_t depth)
{
    struct plan_items items;

    /* No more than nodes, as an item has one at least. */
    if (!items_alloc(solver, solver->index->domains[top].with_room, &items))
        return items;
    add_below(solver->index, top, depth, &items);
    items_sort(solver, &items);
    return items;
}

uint32_t plan__fewest_items(const struct plan_items *items, uint64_t pods)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < items->n; i++) {
        sum += item_capacity(items, i);
        if (sum >= pods)
            return i + 1;
    }
    return items->n + 1;
}

uint32_t plan__fewest_children(struct plan_solver *solver, uint32_t top)
{
    struct plan_items items = plan__items(solver, top, 1);

    return plan__fewest_items(&items, solver->pods);
}

/* ---- sets of domains ---------------------------------------------------------------------------------- */

/* Domains of one depth below `top`, and of loose groups so many nodes. */
static void take(struct plan_solver *solver, uint32_t leaf, uint32_t nodes)
{
    for (uint32_t i = 0; nodes != PLAN_UNKNOWN && i < solver->ntaken; i++)
        if (solver->taken[i].leaf == leaf) {
            solver->taken[i].nodes += nodes;
            return;
        }
    solver->taken[solver->ntaken++] = (struct plan_taken){leaf, nodes};
}

static void take_items(struct plan_solver *solver, const struct plan_items *items, uint32_t n)
{
    const struct plan_index *index = solver->index;

    solver->ntaken = 0;
    for (uint32_t i = 0; i < n && i < items->n; i++) {
        uint32_t what = (uint32_t)items->keys[i];

        if (what < index->ndomains)
            take(solver, what, PLAN_UNKNOWN);
        else
            take(solver, index->leaf[what - index->ndomains], 1);
    }
}

/* Of a loose group only as many as are taken: more would be more domains of the outer levels too. */
static void add_taken(struct plan_solver *solver, const struct plan_taken *taken, struct plan_items *items)
{
    struct plan_items loose;

    if (taken->nodes == PLAN_UNKNOWN) {
        add_below(solver->index, taken->leaf, 1, items);
        return;
    }
    loose = plan__items(solver, taken->leaf, 0);
    for (uint32_t i = 0; i < taken->nodes && i < loose.n; i++)
        items->keys[items->n++] = loose.keys[i];
}

/* One level further inside of the domains that are taken. */
static struct plan_items items_inside(struct plan_solver *solver)
{
    const struct plan_index *index = solver->index;
    struct plan_items items;
    uint32_t n = 0;

    for (uint32_t i = 0; i < solver->ntaken; i++)
        n += index->domains[solver->taken[i].leaf].with_room;
    if (!items_alloc(solver, n, &items))
        return items;
    for (uint32_t i = 0; i < solver->ntaken; i++)
        add_taken(solver, &solver->taken[i], &items);
    items_sort(solver, &items);
    return items;
}

/* ---- tables --------------------------------------------------------------------------------------------- */

/*
 * Pods that fit under a domain with at most x[0] of its children, x[1] of theirs, ...: value[x], the last
 * dimension closest together. Of a loose group: with so many nodes, value[k], which count in each dimension.
 */
struct table {
    uint32_t ndims, size[PLAN_LEVELS_MAX];
    size_t n;
    uint16_t *value;
    struct plan_items items; /* of the last level: the children, or loose nodes */
    struct table *children; /* else; with them: */
    uint16_t **before; /* value before each of them was merged */
    uint32_t nchildren, domain;
    bool loose;
};

/* What of a row of the top table can still lead to room for all: nothing when from > to. */
struct window {
    uint32_t from, to;
};

struct counting {
    struct plan_solver *solver;
    struct table *top; /* of which only the last value is wanted */
    uint16_t **rest; /* [child][k]: pods in the k largest of the last level's domains from this child on */
    struct window *windows; /* by row of the top table, of the merge under way */
    uint32_t stage; /* dimensions 0 .. stage are counted */
    uint32_t bound[PLAN_LEVELS_MAX]; /* no table counts beyond */
    bool too_much; /* work */
};

static bool stopped(const struct counting *counting)
{
    return counting->solver->out_of_memory || counting->too_much;
}

/* All that one plan counts has one bound, so that many domains to look into take no longer than one does. */
static void spend(struct counting *counting, uint64_t steps)
{
    if (steps > counting->solver->steps_left)
        counting->too_much = true;
    else
        counting->solver->steps_left -= steps;
}

static void *table_alloc(struct counting *counting, size_t n, size_t size)
{
    void *memory = plan__zalloc(counting->solver->scratch, n ? n : 1, size);

    if (!memory)
        counting->solver->out_of_memory = true;
    return memory;
}

/* sums[k]: of the k largest, or of all. */
static void add_up(const struct plan_items *items, uint32_t limit, uint32_t n, uint16_t *sums)
{
    uint32_t sum = 0;

    for (uint32_t k = 1; k < n; k++) {
        uint32_t more = k <= items->n ? item_capacity(items, k - 1) : 0;

        sum = more < limit - sum ? sum + more : limit;
        sums[k] = (uint16_t)sum;
    }
}

/* At most so many of the items, the largest first. */
static void make_sums(struct counting *counting, uint32_t bound, struct table *table)
{
    table->ndims = 1;
    table->size[0] = (table->items.n < bound ? table->items.n : bound) + 1;
    table->n = table->size[0];
    table->value = table_alloc(counting, table->n, sizeof(uint16_t));
    if (table->value)
        add_up(&table->items, counting->solver->pods, table->size[0], table->value);
}

/* This loop is where the time goes: the compiler makes vectors of it. */
static void raise_row(uint16_t *restrict to, const uint16_t *restrict from, size_t n, uint16_t pods,
                      uint16_t limit)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t sum = (uint16_t)(from[i] + pods); /* twice PLAN_PODS_MAX at most */

        sum = sum < limit ? sum : limit;
        to[i] = to[i] > sum ? to[i] : sum;
    }
}

/* One merge: the child's entry, moved over the table. */
struct move {
    const struct table *table;
    const uint16_t *before;
    const struct window *windows; /* NULL: all of each row */
    uint32_t off[PLAN_LEVELS_MAX];
    uint16_t pods, limit;
};

/* All x from dimension `dim` on; `from` and `to`: where they stand before and after it. */
static void raise(const struct move *move, uint32_t dim, size_t from, size_t to)
{
    const struct table *table = move->table;
    uint32_t last = table->size[dim] - 1, first = 0, off = move->off[dim];
    size_t stride = 1;

    if (off > last)
        return;
    for (uint32_t d = dim + 1; d < table->ndims; d++)
        stride *= table->size[d];
    for (uint32_t i = 0; dim + 1 < table->ndims && i + off <= last; i++)
        raise(move, dim + 1, from + i * stride, to + (i + off) * stride);
    if (dim + 1 < table->ndims)
        return;
    last -= off;
    if (move->windows) {
        const struct window *window = &move->windows[from / table->size[dim]];

        first = window->from;
        last = window->to < last ? window->to : last;
    }
    if (first <= last)
        raise_row(table->value + to + first + off, move->before + from + first, last - first + 1,
                  move->pods, move->limit);
}

/* What the child's entry costs in the parent's dimensions; false: an entry that costs less is as good. */
static bool offsets(const struct table *parent, const struct table *child, size_t entry, uint32_t *off)
{
    size_t rest = entry;

    if (child->value[entry] == 0)
        return false;
    for (uint32_t d = 0; child->loose && d < parent->ndims; d++)
        off[d] = (uint32_t)entry;
    if (child->loose)
        return true;
    off[0] = 1;
    for (uint32_t d = child->ndims; d-- > 0; rest /= child->size[d])
        off[d + 1] = (uint32_t)(rest % child->size[d]);
    for (size_t d = child->ndims, stride = 1; d-- > 0; stride *= child->size[d])
        if (off[d + 1] > 0 && child->value[entry - stride] == child->value[entry])
            return false;
    return true;
}

/* Where in each row enough may be left to come for what is missing. */
static void find_windows(struct counting *counting, const uint16_t *before, const uint16_t *rest)
{
    const struct table *table = counting->top;
    uint32_t size = table->size[table->ndims - 1], pods = counting->solver->pods;

    for (size_t row = 0; row < table->n / size; row++) {
        struct window *window = &counting->windows[row];
        const uint16_t *x = before + row * size;

        *window = (struct window){0, size - 1};
        while (window->from < size && (uint32_t)x[window->from] + rest[size - 1 - window->from] < pods)
            window->from++;
        while (window->to > window->from && (uint32_t)x[window->to] + rest[size - 1 - window->to] < pods)
            window->to--;
    }
}

static void merge(struct counting *counting, struct table *table, uint32_t c)
{
    const struct table *child = &table->children[c];
    uint16_t *before = plan__alloc(counting->solver->scratch, table->n, sizeof(*before));
    struct move move = {.table = table, .before = before, .limit = (uint16_t)counting->solver->pods};

    table->before[c] = before;
    if (!before) {
        counting->solver->out_of_memory = true;
        return;
    }
    memcpy(before, table->value, table->n * sizeof(*before));
    if (table == counting->top) {
        find_windows(counting, before, counting->rest[c]);
        move.windows = counting->windows;
    }
    for (size_t entry = 1; entry < child->n; entry++) {
        move.pods = child->value[entry];
        if (offsets(table, child, entry, move.off))
            raise(&move, 0, 0, 0);
    }
}

static void make_table(struct counting *counting, uint32_t domain, uint32_t dim, struct table *table);

static void make_children(struct counting *counting, uint32_t dim, struct table *table)
{
    const struct plan_domain *here = &counting->solver->index->domains[table->domain];

    table->nchildren = here->nchildren;
    table->children = table_alloc(counting, here->nchildren, sizeof(struct table));
    table->before = table_alloc(counting, here->nchildren, sizeof(uint16_t *));
    for (uint32_t c = 0; !stopped(counting) && c < here->nchildren; c++)
        make_table(counting, here->first_child + c, dim + 1, &table->children[c]);
}

/* Two lists with the largest first become one, as far as `most`. */
static uint32_t join(uint64_t *to, uint32_t most, const struct plan_items *a, const struct plan_items *b)
{
    uint32_t i = 0, k = 0;

    while (i + k < most && (i < a->n || k < b->n)) {
        bool first = k == b->n || (i < a->n && a->keys[i] < b->keys[k]);

        to[i + k] = first ? a->keys[i] : b->keys[k];
        i += first;
        k += !first;
    }
    return i + k;
}

/* From the last child to the first: what is left to come if all that follows were free to choose from. */
static void make_rest(struct counting *counting, struct table *top)
{
    const struct plan_domain *here = &counting->solver->index->domains[top->domain];
    uint32_t size = top->size[top->ndims - 1];
    struct plan_items all = {.keys = table_alloc(counting, size, sizeof(uint64_t))};
    uint64_t *joined = table_alloc(counting, size, sizeof(uint64_t));

    counting->rest = table_alloc(counting, top->nchildren, sizeof(*counting->rest));
    counting->windows = table_alloc(counting, top->n / size, sizeof(struct window));
    for (uint32_t c = top->nchildren; !stopped(counting) && c-- > 0;) {
        struct plan_items items = plan__items(counting->solver, here->first_child + c, counting->stage);
        uint64_t *was = all.keys;

        counting->rest[c] = table_alloc(counting, size, sizeof(uint16_t));
        if (stopped(counting))
            return;
        all.n = join(joined, size - 1, &all, &items);
        all.keys = joined;
        joined = was;
        add_up(&all, counting->solver->pods, size, counting->rest[c]);
    }
    counting->top = top;
}

/* As many in each dimension as there are below, but not beyond the bounds. A size that overflows stays too large. */
static void set_sizes(const struct counting *counting, uint32_t dim, struct table *table)
{
    uint64_t there[PLAN_LEVELS_MAX] = {0};

    table->ndims = counting->stage - dim + 1;
    for (uint32_t c = 0; c < table->nchildren; c++) {
        const struct table *child = &table->children[c];

        for (uint32_t d = 0; d < table->ndims; d++)
            there[d] += child->loose ? child->size[0] - 1 : d == 0 ? 1 : child->size[d - 1] - 1;
    }
    table->n = 1;
    for (uint32_t d = 0; d < table->ndims; d++) {
        uint32_t bound = counting->bound[dim + d];

        table->size[d] = (there[d] < bound ? (uint32_t)there[d] : bound) + 1;
        if (__builtin_mul_overflow(table->n, table->size[d], &table->n))
            table->n = SIZE_MAX / 2;
    }
}

/* Each entry of each child is moved over all of the table. */
static uint64_t work_of(const struct table *table)
{
    uint64_t moves = 1, work;

    for (uint32_t c = 0; c < table->nchildren; c++)
        moves += table->children[c].n;
    return __builtin_mul_overflow(table->n, moves, &work) ? UINT64_MAX : work;
}

/* `dim`: what its children count in. */
static void make_table(struct counting *counting, uint32_t domain, uint32_t dim, struct table *table)
{
    const struct plan_domain *here = &counting->solver->index->domains[domain];

    table->domain = domain;
    table->loose = here->loose;
    if (here->loose || dim == counting->stage) {
        table->items = plan__items(counting->solver, domain, here->loose ? 0 : 1);
        make_sums(counting, counting->bound[counting->stage], table);
        return;
    }
    make_children(counting, dim, table);
    if (stopped(counting))
        return;
    set_sizes(counting, dim, table);
    spend(counting, work_of(table)); /* before there is memory for it, which is in proportion */
    if (stopped(counting))
        return;
    table->value = table_alloc(counting, table->n, sizeof(uint16_t));
    if (dim == 0 && !stopped(counting))
        make_rest(counting, table);
    for (uint32_t c = 0; !stopped(counting) && c < table->nchildren; c++)
        merge(counting, table, c);
}

/* ---- the way back ---------------------------------------------------------------------------------------- */

static size_t entry_at(const struct table *table, const uint32_t *x)
{
    size_t at = 0;

    for (uint32_t d = 0; d < table->ndims; d++)
        at = at * table->size[d] + x[d];
    return at;
}

/* The child's entry that led from `before` to this value at x; 0: it takes no part. */
static size_t entry_taken(const struct table *table, uint32_t c, const uint32_t *x, uint32_t limit,
                          uint32_t *ret_off)
{
    const struct table *child = &table->children[c];
    const uint16_t *before = table->before[c];
    const uint16_t *after = c + 1 < table->nchildren ? table->before[c + 1] : table->value;
    uint16_t value = after[entry_at(table, x)];
    uint32_t from[PLAN_LEVELS_MAX] = {0};

    if (before[entry_at(table, x)] == value)
        return 0;
    for (size_t entry = 1; entry < child->n; entry++) {
        bool fits = offsets(table, child, entry, ret_off);
        uint32_t sum;

        for (uint32_t d = 0; fits && d < table->ndims; d++) {
            fits = ret_off[d] <= x[d];
            from[d] = x[d] - ret_off[d];
        }
        if (!fits)
            continue;
        sum = before[entry_at(table, from)] + (uint32_t)child->value[entry];
        if ((sum < limit ? sum : limit) == value)
            return entry;
    }
    return 0;
}

/* Takes what the table's value at x is made of. */
static void walk_back(struct plan_solver *solver, const struct table *table, const uint32_t *at)
{
    uint32_t x[PLAN_LEVELS_MAX], off[PLAN_LEVELS_MAX] = {0};

    if (table->items.keys) {
        for (uint32_t i = 0; i < at[0]; i++) {
            uint32_t what = (uint32_t)table->items.keys[i];

            if (what < solver->index->ndomains)
                take(solver, what, PLAN_UNKNOWN);
            else
                take(solver, solver->index->leaf[what - solver->index->ndomains], 1);
        }
        return;
    }
    memcpy(x, at, table->ndims * sizeof(*x));
    for (uint32_t c = table->nchildren; c-- > 0;) {
        size_t entry = entry_taken(table, c, x, solver->pods, off);

        if (entry == 0)
            continue;
        for (uint32_t d = 0; d < table->ndims; d++)
            x[d] -= off[d];
        if (table->children[c].loose)
            off[1] = (uint32_t)entry;
        walk_back(solver, &table->children[c], off + 1);
    }
}

/* ---- level by level ---------------------------------------------------------------------------------------- */

/* Fewer than `most` domains of the stage's level, with the outer levels at their bounds? Else false. */
static bool count_stage(struct plan_solver *solver, uint32_t top, uint32_t stage, uint32_t *counts,
                        bool *ret_proven)
{
    struct counting counting = {.solver = solver, .stage = stage};
    struct table table = {0};
    uint32_t x[PLAN_LEVELS_MAX] = {0}, last;

    memcpy(counting.bound, counts, (stage + 1) * sizeof(*counts));
    make_table(&counting, top, 0, &table);
    *ret_proven = !stopped(&counting);
    if (!*ret_proven)
        return false;
    for (uint32_t d = 0; d <= stage; d++)
        x[d] = counts[d] < table.size[d] ? counts[d] : table.size[d] - 1;
    last = x[stage];
    for (x[stage] = 0; x[stage] < last && table.value[entry_at(&table, x)] < solver->pods;)
        x[stage]++;
    if (table.value[entry_at(&table, x)] < solver->pods)
        return false;
    solver->ntaken = 0;
    walk_back(solver, &table, x);
    counts[stage] = x[stage];
    return true;
}

void plan__fewest(struct plan_solver *solver, uint32_t top, uint32_t ret_counts[PLAN_LEVELS_MAX],
                  uint32_t *ret_proven)
{
    uint32_t outer = solver->index->domains[top].level, levels = solver->index->nlevels - outer;
    struct plan_items items = plan__items(solver, top, 1);
    uint32_t *counts = ret_counts + outer;

    for (uint32_t level = 0; level < outer; level++)
        ret_counts[level] = 1;
    *ret_proven = solver->index->nlevels;
    counts[0] = plan__fewest_items(&items, solver->pods);
    take_items(solver, &items, counts[0]);
    for (uint32_t stage = 1; stage < levels && !solver->out_of_memory; stage++) {
        struct plan_items all = plan__items(solver, top, stage + 1), inside = items_inside(solver);
        uint32_t least = plan__fewest_items(&all, solver->pods);
        bool proven = true;

        counts[stage] = plan__fewest_items(&inside, solver->pods);
        if (counts[stage] == least || !count_stage(solver, top, stage, counts, &proven))
            take_items(solver, &inside, counts[stage]);
        if (!proven && *ret_proven == solver->index->nlevels)
            *ret_proven = outer + stage;
    }
}
