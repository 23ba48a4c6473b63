/*
 * Subgroups against brute force that shares no code with the planner, on small random clusters of up to 3 levels
 * with nodes that lack labels: of equal pods nothing is better, of unlike ones neither as long as they are few;
 * and where the planner is not given the time for that, what it finds is a placement, no bound is above the
 * best, what is proven is best, a certain "no" is one, and what it misses is counted.
 * LOCKSTEP_BRUTE_CASES (3000) and LOCKSTEP_BRUTE_SEED as in test_plan_brute.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/plan/plan_groups.h"

#define LEVELS 3
#include "tests/unit/brute.h"

#define NODES_MAX 7
#define PARTS_MAX 2
#define GROUPS_MAX 4
#define ITEMS_MAX 6
#define RESOURCES 2
#define WAYS_MAX 60000.0

struct world {
    struct plan_groups_request request;
    struct plan_node nodes[NODES_MAX];
    int64_t free[NODES_MAX * RESOURCES], requests[PARTS_MAX][RESOURCES];
    uint8_t eligible[NODES_MAX];
    struct plan_part parts[PARTS_MAX];
    struct plan_group groups[GROUPS_MAX];
    struct plan_groups_item items[ITEMS_MAX];
};

/* ---- brute force --------------------------------------------------------------------------------------------- */

struct search {
    const struct world *world;
    unsigned counts[ITEMS_MAX][NODES_MAX];
    int64_t left[NODES_MAX][RESOURCES];
    struct score best;
    unsigned least[LEVELS + 1];
    int found;
};

static uint32_t domain_of(const struct world *world, uint32_t node, int level)
{
    return (uint32_t)level < world->request.cluster.nlevels ? world->nodes[node].domain[level] : node;
}

/* All pods of the items that are chosen in one domain of the level; *ret_domain: in which. */
static int in_one_domain(const struct world *world, unsigned counts[ITEMS_MAX][NODES_MAX], uint32_t group,
                         int level, uint32_t *ret_domain)
{
    int first = 1;

    for (uint32_t item = 0; item < world->request.nitems; item++)
        for (uint32_t i = 0; i < world->request.cluster.nnodes; i++) {
            uint32_t here = domain_of(world, i, level);

            if (!counts[item][i] || (group != UINT32_MAX - 1 && world->items[item].group != group))
                continue;
            if (here == PLAN_UNKNOWN || (!first && here != *ret_domain))
                return 0;
            *ret_domain = here;
            first = 0;
        }
    return 1;
}

static int is_allowed(const struct world *world, unsigned counts[ITEMS_MAX][NODES_MAX])
{
    uint32_t mine, others;

    if (world->request.cluster.required_level >= 0 &&
        !in_one_domain(world, counts, UINT32_MAX - 1, world->request.cluster.required_level, &mine))
        return 0;
    for (uint32_t g = 0; g < world->request.ngroups; g++) {
        const struct plan_group *group = &world->groups[g];

        if (group->required_level >= 0 && !in_one_domain(world, counts, g, group->required_level, &mine))
            return 0;
        if (group->spread_level >= 0 && !in_one_domain(world, counts, g, group->spread_level, &mine))
            return 0;
        for (uint32_t k = 0; group->spread_level >= 0 && k < g; k++)
            if (world->groups[k].spread_level == group->spread_level &&
                in_one_domain(world, counts, k, group->spread_level, &others) && others == mine)
                return 0;
    }
    return 1;
}

static struct score score_of(const struct world *world, unsigned counts[ITEMS_MAX][NODES_MAX])
{
    const struct plan_parts_request *cluster = &world->request.cluster;
    unsigned all[NODES_MAX] = {0};
    struct score score = {{0}, 0, 0};

    for (uint32_t i = 0; i < cluster->nnodes; i++) {
        for (uint32_t item = 0; item < world->request.nitems; item++)
            all[i] += counts[item][i];
        score.nodes += all[i] > 0;
        score.squares += all[i] * all[i];
        for (uint32_t level = 0; all[i] && level < cluster->nlevels; level++) {
            uint32_t domain = world->nodes[i].domain[level];
            int seen = 0;

            for (uint32_t k = 0; k < i && domain != PLAN_UNKNOWN; k++)
                seen |= all[k] && world->nodes[k].domain[level] == domain;
            score.domains[level] += !seen;
        }
    }
    return score;
}

static unsigned used_at(const struct world *world, const struct score *score, uint32_t level)
{
    return level < world->request.cluster.nlevels ? score->domains[level] : score->nodes;
}

static void look(struct search *search)
{
    struct score score;

    if (!is_allowed(search->world, search->counts))
        return;
    score = score_of(search->world, search->counts);
    for (uint32_t level = 0; level <= search->world->request.cluster.nlevels; level++)
        if (!search->found || used_at(search->world, &score, level) < search->least[level])
            search->least[level] = used_at(search->world, &score, level);
    if (!search->found || compare_scores(&score, &search->best) < 0)
        search->best = score;
    search->found = 1;
}

static void try_all(struct search *search, uint32_t item, uint32_t node, unsigned left)
{
    const struct world *world = search->world;
    const int64_t *wants;

    if (item == world->request.nitems) {
        look(search);
        return;
    }
    if (node == world->request.cluster.nnodes) {
        if (left == 0)
            try_all(search, item + 1, 0, item + 1 < world->request.nitems ? world->items[item + 1].pods : 0);
        return;
    }
    try_all(search, item, node + 1, left);
    wants = world->requests[world->items[item].part];
    for (unsigned n = 1; n <= left && world->eligible[node] >> world->items[item].part & 1; n++) {
        int fits = 1;

        for (int r = 0; r < RESOURCES; r++)
            fits &= search->left[node][r] >= (int64_t)n * wants[r];
        if (!fits)
            return;
        for (int r = 0; r < RESOURCES; r++)
            search->left[node][r] -= (int64_t)n * wants[r];
        search->counts[item][node] = n;
        try_all(search, item, node + 1, left - n);
        search->counts[item][node] = 0;
        for (int r = 0; r < RESOURCES; r++)
            search->left[node][r] += (int64_t)n * wants[r];
    }
}

/* ---- random worlds ------------------------------------------------------------------------------------------- */

static double ways(const struct world *world)
{
    double product = 1;

    for (uint32_t i = 0; i < world->request.nitems; i++)
        for (uint32_t k = 1; k < world->request.cluster.nnodes; k++)
            product = product * (world->items[i].pods + k) / k;
    return product;
}

static void make_nodes(struct world *world)
{
    const struct plan_parts_request *cluster = &world->request.cluster;
    unsigned lacking = next_random(3) ? 1000000 : 5;

    for (uint32_t i = 0; i < cluster->nnodes; i++) {
        uint32_t path = 0, known = next_random(lacking) ? LEVELS : next_random(LEVELS + 1);

        world->nodes[i] = (struct plan_node){.capacity = 0};
        for (uint32_t level = 0; level < PLAN_LEVELS_MAX; level++) {
            path = path * 3 + next_random(2);
            world->nodes[i].domain[level] = level < known ? 100 * level + path : PLAN_UNKNOWN;
        }
        world->free[i * RESOURCES] = next_random(9);
        world->free[i * RESOURCES + 1] = next_random(12);
        world->eligible[i] = (uint8_t)(next_random(6) ? 0xff : next_random(256));
    }
}

static void add_item(struct world *world, uint32_t group, uint32_t part, uint32_t pods)
{
    world->items[world->request.nitems++] = (struct plan_groups_item){group, part, pods};
}

static void make_group(struct world *world, uint32_t g, int alike)
{
    uint32_t nlevels = world->request.cluster.nlevels, both = world->request.cluster.nparts > 1 && next_random(3) == 0;
    struct plan_group *group = &world->groups[g];

    if (alike && g > 0) {
        uint32_t nitems = world->request.nitems;

        *group = world->groups[0];
        for (uint32_t i = 0; i < nitems && world->items[i].group == 0; i++)
            add_item(world, g, world->items[i].part, world->items[i].pods);
        return;
    }
    *group = (struct plan_group){(int)next_random(nlevels + 1), next_random(2) ? -1 : (int)next_random(nlevels + 1)};
    if (group->spread_level >= 0 && (next_random(2) || group->required_level < group->spread_level))
        group->required_level = -1;
    if (both) {
        add_item(world, g, 0, 1);
        add_item(world, g, 1, 1 + next_random(2));
    } else {
        add_item(world, g, next_random(world->request.cluster.nparts), 1 + next_random(4));
    }
}

static void make_world(struct world *world, uint32_t nparts)
{
    struct plan_groups_request *request = &world->request;
    int alike = next_random(2) == 0;

    *request = (struct plan_groups_request){
        .cluster = {.nlevels = next_random(LEVELS + 1), .nnodes = 1 + next_random(NODES_MAX), .nresources = RESOURCES,
                    .nparts = nparts, .nodes = world->nodes, .free = world->free, .eligible = world->eligible,
                    .parts = world->parts, .required_level = -1, .preferred_level = -1},
        .groups = world->groups, .items = world->items, .ngroups = 1 + next_random(nparts > 1 ? 3 : GROUPS_MAX)};
    make_nodes(world);
    for (uint32_t p = 0; p < nparts; p++) {
        world->requests[p][0] = next_random(4);
        world->requests[p][1] = 1 + next_random(4);
        world->parts[p] = (struct plan_part){1, world->requests[p]};
    }
    for (uint32_t g = 0; g < request->ngroups && request->nitems + 2 <= ITEMS_MAX - 1; g++)
        make_group(world, g, alike);
    while (world->items[request->nitems - 1].group + 1 < request->ngroups)
        request->ngroups--;
    if (next_random(3) == 0)
        add_item(world, PLAN_GROUP_NONE, next_random(nparts), 1 + next_random(2));
    if (next_random(4) == 0)
        request->cluster.required_level = (int)next_random(request->cluster.nlevels + 1);
    while (ways(world) > WAYS_MAX)
        request->cluster.nnodes--;
}

/* ---- checks ---------------------------------------------------------------------------------------------------- */

static void check(int holds, const struct world *world, const char *what)
{
    const struct plan_parts_request *cluster = &world->request.cluster;

    if (holds)
        return;
    fprintf(stderr, "%u levels, required %d\n", cluster->nlevels, cluster->required_level);
    for (uint32_t g = 0; g < world->request.ngroups; g++)
        fprintf(stderr, "  group %u: required %d spread %d\n", g, world->groups[g].required_level,
                world->groups[g].spread_level);
    for (uint32_t i = 0; i < world->request.nitems; i++)
        fprintf(stderr, "  item %u: group %d, %u pods of %d, %d\n", i, (int)world->items[i].group, world->items[i].pods,
                (int)world->requests[world->items[i].part][0], (int)world->requests[world->items[i].part][1]);
    for (uint32_t i = 0; i < cluster->nnodes; i++)
        fprintf(stderr, "  node %u: free %d, %d eligible %x in %d %d %d\n", i, (int)world->free[i * 2],
                (int)world->free[i * 2 + 1], world->eligible[i] & 3u, (int)world->nodes[i].domain[0],
                (int)world->nodes[i].domain[1], (int)world->nodes[i].domain[2]);
    fail_msg("%s", what);
}

static void read_shares(const struct world *world, const struct plan_groups *plan,
                        unsigned ret_counts[ITEMS_MAX][NODES_MAX])
{
    unsigned sums[ITEMS_MAX] = {0};

    for (uint32_t i = 0; i < plan->nshares; i++) {
        const struct plan_groups_share *share = &plan->shares[i];

        check(share->count > 0 && world->eligible[share->node] >> world->items[share->item].part & 1, world,
              "each part goes where it may");
        ret_counts[share->item][share->node] += share->count;
        sums[share->item] += share->count;
    }
    for (uint32_t i = 0; i < world->request.nitems; i++)
        check(sums[i] == world->items[i].pods, world, "all pods are placed, and no more");
    for (uint32_t i = 0; i < world->request.cluster.nnodes; i++)
        for (int r = 0; r < RESOURCES; r++) {
            int64_t used = 0;

            for (uint32_t k = 0; k < world->request.nitems; k++)
                used += ret_counts[k][i] * world->requests[world->items[k].part][r];
            check(used <= world->free[i * RESOURCES + (uint32_t)r], world, "no node gets more than fits");
        }
}

/* The shares of each subgroup stand together, those of none at the beginning. */
static void check_ranks(const struct world *world, const struct plan_groups *plan)
{
    int seen[GROUPS_MAX] = {0};

    for (uint32_t i = 0; i < plan->nshares; i++) {
        uint32_t g = world->items[plan->shares[i].item].group;
        uint32_t before = i > 0 ? world->items[plan->shares[i - 1].item].group : PLAN_GROUP_NONE;

        check(g != PLAN_GROUP_NONE || before == PLAN_GROUP_NONE, world, "pods of no subgroup come first");
        if (g == PLAN_GROUP_NONE || (i > 0 && g == before))
            continue;
        check(!seen[g], world, "ranks of a subgroup run on");
        seen[g] = 1;
    }
}

static void check_shortage(const struct world *world, const struct plan_groups_shortage *shortage, int found)
{
    check(!found || !shortage->certain, world, "a certain no is one");
    check(world->request.ngroups == 0 || (shortage->group < world->request.ngroups && shortage->of > 0 &&
                                          shortage->fit <= shortage->of), world, "numbers of the shortage");
}

/* What may be claimed of the answer: 1: nothing is better; 0: only what it proves itself. true: missed. */
static int check_world(const struct world *world, struct plan_groups_scratch *scratch, int exact, int complete)
{
    struct search search = {.world = world};
    unsigned counts[ITEMS_MAX][NODES_MAX] = {{0}};
    struct plan_groups_shortage shortage = {0};
    struct plan_groups plan;
    struct score score;
    int as_good = 1, r = plan_groups(&world->request, scratch, &plan, &shortage);

    for (uint32_t i = 0; i < world->request.cluster.nnodes; i++)
        memcpy(search.left[i], world->free + i * RESOURCES, sizeof(search.left[i]));
    try_all(&search, 0, 0, world->items[0].pods);
    if (r == -ENOSPC)
        check_shortage(world, &shortage, search.found);
    if (complete)
        check((r == 0) == search.found, world, "what can be placed is placed");
    if (r == -ENOSPC)
        return search.found;
    assert_int_equal(r, 0);
    read_shares(world, &plan, counts);
    check_ranks(world, &plan);
    check(is_allowed(world, counts), world, "what is required is kept");
    score = score_of(world, counts);
    for (uint32_t level = 0; level <= world->request.cluster.nlevels; level++) {
        unsigned used = used_at(world, &score, level), best = used_at(world, &search.best, level);

        check(plan.use[level].used == used, world, "the certificate counts what is used");
        check(plan.use[level].lower_bound <= search.least[level], world, "nothing uses fewer than the bound");
        check(!plan.use[level].proven || !as_good || used == best, world, "what is proven is best");
        as_good &= used == best;
    }
    check(!plan.even || compare_scores(&score, &search.best) == 0, world, "proven to be even");
    if (exact)
        check(plan.even && compare_scores(&score, &search.best) == 0, world, "nothing is better");
    return 0;
}

static long run(uint32_t nparts, uint64_t work_max, uint32_t few_pods, int exact, int complete)
{
    struct plan_groups_scratch *scratch = plan_groups_scratch_new();
    struct world world;
    long missed = 0;

    random_state = 0x5eed + (uint64_t)number_of("LOCKSTEP_BRUTE_SEED", 0) * 0x9e3779b97f4a7c15;
    for (long i = number_of("LOCKSTEP_BRUTE_CASES", 3000); i > 0; i--) {
        make_world(&world, nparts);
        world.request.work_max = work_max;
        world.request.few_pods = few_pods;
        missed += check_world(&world, scratch, exact, complete);
    }
    plan_groups_scratch_free(scratch);
    return missed;
}

static void of_equal_pods_nothing_is_better(void **state)
{
    (void)state;
    run(1, 0, 0, 1, 1);
}

/* Without time for tables: what is found is proven as far as it is said to be, and it is found. */
static void of_equal_pods_without_tables_a_place_is_found(void **state)
{
    (void)state;
    run(1, 1, 1, 0, 1);
}

static void of_few_unlike_pods_nothing_is_better(void **state)
{
    (void)state;
    run(2, 0, 0, 1, 1);
}

/* The search that is for many: 1 of 100 may be missed, and is then not said to be certain. */
static void of_unlike_pods_what_is_said_is_true(void **state)
{
    long cases = number_of("LOCKSTEP_BRUTE_CASES", 3000), missed;

    (void)state;
    missed = run(2, 0, 1, 0, 0);
    printf("missed %ld of %ld\n", missed, cases);
    assert_true(missed * 100 <= cases);
}

/* ---- many ---------------------------------------------------------------------------------------------------- */

#define MANY 4000
#define SUBGROUPS 40

struct many {
    struct plan_groups_request request;
    struct plan_node nodes[MANY];
    int64_t free[MANY * RESOURCES];
    uint8_t eligible[MANY];
    struct plan_group groups[SUBGROUPS];
    struct plan_groups_item items[2 * SUBGROUPS];
};

static const int64_t many_workers[RESOURCES] = {1, 1}, many_leaders[RESOURCES] = {0, 4};
static const struct plan_part many_parts[PARTS_MAX] = {{1, many_workers}, {1, many_leaders}};

/* Spines of 1,024 nodes, blocks of 256, racks of 32; subgroups of 60 pods that each stay in one rack. */
static struct many *make_many(uint32_t nparts)
{
    struct many *many = calloc(1, sizeof(*many));

    many->request = (struct plan_groups_request){
        .cluster = {.nlevels = 3, .nnodes = MANY, .nresources = RESOURCES, .nparts = nparts, .nodes = many->nodes,
                    .free = many->free, .eligible = many->eligible, .parts = many_parts, .required_level = -1,
                    .preferred_level = -1},
        .groups = many->groups, .items = many->items, .ngroups = SUBGROUPS};
    random_state = 0x5eed;
    for (uint32_t i = 0; i < MANY; i++) {
        many->nodes[i].domain[0] = i / 1024;
        many->nodes[i].domain[1] = 100 + i / 256;
        many->nodes[i].domain[2] = 1000 + i / 32;
        many->free[i * RESOURCES] = next_random(2) ? 8 : next_random(9);
        many->free[i * RESOURCES + 1] = 64;
        many->eligible[i] = 0xff;
    }
    for (uint32_t g = 0; g < SUBGROUPS; g++) {
        many->groups[g] = (struct plan_group){2, -1};
        many->items[many->request.nitems++] = (struct plan_groups_item){g, 0, 60};
        if (nparts > 1)
            many->items[many->request.nitems++] = (struct plan_groups_item){g, 1, 1};
    }
    return many;
}

/* Two ways that share little code: down to the home level one is as good as the other, and both prove it. */
static void counted_subgroups_use_as_few_domains_as_those_of_tables(void **state)
{
    struct plan_groups_scratch *scratch = plan_groups_scratch_new();
    struct many *many = make_many(1);
    struct plan_groups by_tables, by_count;
    struct plan_groups_shortage unused;

    (void)state;
    assert_int_equal(plan_groups(&many->request, scratch, &by_tables, &unused), 0);
    many->request.work_max = 1;
    assert_int_equal(plan_groups(&many->request, scratch, &by_count, &unused), 0);
    assert_true(by_tables.even);
    assert_false(by_count.even);
    for (uint32_t level = 0; level <= 2; level++) {
        assert_true(by_count.use[level].proven);
        assert_int_equal(by_count.use[level].used, by_tables.use[level].used);
    }
    assert_true(by_count.use[3].used >= by_tables.use[3].used);
    plan_groups_scratch_free(scratch);
    free(many);
}

static void many_unlike_pods_are_placed_in_bounded_work(void **state)
{
    struct plan_groups_scratch *scratch = plan_groups_scratch_new();
    struct many *many = make_many(2);
    struct plan_groups_shortage unused;
    struct plan_groups plan;

    (void)state;
    assert_int_equal(plan_groups(&many->request, scratch, &plan, &unused), 0);
    for (uint32_t level = 0; level <= 3; level++)
        assert_true(plan.use[level].used >= plan.use[level].lower_bound && plan.use[level].lower_bound > 0);
    assert_false(plan.even);
    plan_groups_scratch_free(scratch);
    free(many);
}

/* What cannot be asked is refused, never guessed. */
static void questions_beyond_the_limits_are_refused(void **state)
{
    struct plan_groups_scratch *scratch = plan_groups_scratch_new();
    struct many *many = make_many(1);
    struct plan_groups_shortage unused;
    struct plan_groups plan;

    (void)state;
    many->groups[3] = (struct plan_group){0, 2}; /* required outside of what it is spread over */
    assert_int_equal(plan_groups(&many->request, scratch, &plan, &unused), -EINVAL);
    many->groups[3] = (struct plan_group){-1, -1}; /* nothing is asked */
    assert_int_equal(plan_groups(&many->request, scratch, &plan, &unused), -EINVAL);
    many->groups[3] = many->groups[0];
    many->items[3].group = 2; /* and the subgroup has no pods */
    assert_int_equal(plan_groups(&many->request, scratch, &plan, &unused), -EINVAL);
    many->items[3].group = SUBGROUPS;
    assert_int_equal(plan_groups(&many->request, scratch, &plan, &unused), -EINVAL);
    plan_groups_scratch_free(scratch);
    free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_equal_pods_nothing_is_better),
        cmocka_unit_test(of_equal_pods_without_tables_a_place_is_found),
        cmocka_unit_test(of_few_unlike_pods_nothing_is_better),
        cmocka_unit_test(of_unlike_pods_what_is_said_is_true),
        cmocka_unit_test(counted_subgroups_use_as_few_domains_as_those_of_tables),
        cmocka_unit_test(many_unlike_pods_are_placed_in_bounded_work),
        cmocka_unit_test(questions_beyond_the_limits_are_refused),
    };

    return cmocka_run_group_tests_name("plan_groups", tests, NULL, NULL);
}
