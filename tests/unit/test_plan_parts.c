/*
 * Gangs of unlike pods against brute force that shares no code with the planner: with one leader nothing is
 * better; with several roles what is found is a placement, no bound is above the best, what is proven is best,
 * and a certain "no" is one. LOCKSTEP_BRUTE_CASES (5000) and LOCKSTEP_BRUTE_SEED as in test_plan_brute.
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

#include "scheduler/plan/plan_parts.h"

#define LEVELS 2
#include "tests/unit/brute.h"

#define NODES_MAX 8
#define PARTS_MAX 3
#define RESOURCES 2

struct world {
    struct plan_parts_request request;
    struct plan_node nodes[NODES_MAX];
    int64_t free[NODES_MAX * RESOURCES], requests[PARTS_MAX][RESOURCES];
    uint8_t eligible[NODES_MAX];
    struct plan_part parts[PARTS_MAX];
};

/* ---- brute force ------------------------------------------------------------------------------------------------- */

struct search {
    const struct world *world;
    unsigned counts[PARTS_MAX][NODES_MAX];
    int64_t left[NODES_MAX][RESOURCES];
    struct score best;
    unsigned least[LEVELS + 1];
    int found;
};

static struct score score_of(const struct world *world, unsigned counts[PARTS_MAX][NODES_MAX])
{
    struct score score = {{0}, 0, 0};
    unsigned all[NODES_MAX] = {0};

    for (uint32_t i = 0; i < world->request.nnodes; i++) {
        for (uint32_t p = 0; p < world->request.nparts; p++)
            all[i] += counts[p][i];
        score.nodes += all[i] > 0;
        score.squares += all[i] * all[i];
        for (uint32_t level = 0; all[i] && level < world->request.nlevels; level++) {
            uint32_t domain = world->nodes[i].domain[level];
            int seen = 0;

            for (uint32_t k = 0; k < i && domain != PLAN_UNKNOWN; k++)
                seen |= all[k] && world->nodes[k].domain[level] == domain;
            score.domains[level] += !seen;
        }
    }
    return score;
}

static int is_allowed(const struct world *world, unsigned counts[PARTS_MAX][NODES_MAX])
{
    int level = world->request.required_level, first = 1;
    uint32_t domain = 0;

    for (uint32_t i = 0; level >= 0 && i < world->request.nnodes; i++) {
        uint32_t here = (uint32_t)level < world->request.nlevels ? world->nodes[i].domain[level] : i;
        unsigned pods = 0;

        for (uint32_t p = 0; p < world->request.nparts; p++)
            pods += counts[p][i];
        if (pods && (here == PLAN_UNKNOWN || (!first && here != domain)))
            return 0;
        if (pods) {
            domain = here;
            first = 0;
        }
    }
    return 1;
}

static void look(struct search *search)
{
    struct score score;

    if (!is_allowed(search->world, search->counts))
        return;
    score = score_of(search->world, search->counts);
    for (int level = 0; level <= LEVELS; level++) {
        unsigned used = level < LEVELS ? score.domains[level] : score.nodes;

        if (!search->found || used < search->least[level])
            search->least[level] = used;
    }
    if (!search->found || compare_scores(&score, &search->best) < 0)
        search->best = score;
    search->found = 1;
}

static void try_all(struct search *search, uint32_t part, uint32_t node, unsigned left)
{
    const struct world *world = search->world;

    if (part == world->request.nparts) {
        look(search);
        return;
    }
    if (node == world->request.nnodes) {
        if (left == 0)
            try_all(search, part + 1, 0, part + 1 < world->request.nparts ? world->parts[part + 1].pods : 0);
        return;
    }
    try_all(search, part, node + 1, left);
    if (!(world->eligible[node] >> part & 1))
        return;
    for (unsigned n = 1; n <= left; n++) {
        int fits = 1;

        for (int r = 0; r < RESOURCES; r++)
            fits &= search->left[node][r] >= (int64_t)n * world->requests[part][r];
        if (!fits)
            return;
        for (int r = 0; r < RESOURCES; r++)
            search->left[node][r] -= (int64_t)n * world->requests[part][r];
        search->counts[part][node] = n;
        try_all(search, part, node + 1, left - n);
        search->counts[part][node] = 0;
        for (int r = 0; r < RESOURCES; r++)
            search->left[node][r] += (int64_t)n * world->requests[part][r];
    }
}

/* ---- random worlds ------------------------------------------------------------------------------------------------ */

static void make_world(struct world *world, int leader)
{
    struct plan_parts_request *request = &world->request;

    *request = (struct plan_parts_request){.nlevels = next_random(LEVELS + 1), .nnodes = 1 + next_random(NODES_MAX - 1),
                                           .nresources = RESOURCES, .nparts = leader ? 2 : 1 + next_random(PARTS_MAX),
                                           .nodes = world->nodes, .free = world->free,
                                           .eligible = world->eligible, .parts = world->parts,
                                           .required_level = -1, .preferred_level = -1};
    for (uint32_t i = 0; i < request->nnodes; i++) {
        uint32_t path = 0;

        world->nodes[i] = (struct plan_node){.capacity = 0};
        for (uint32_t level = 0; level < PLAN_LEVELS_MAX; level++) {
            path = path * 3 + next_random(3);
            world->nodes[i].domain[level] = next_random(12) && (level == 0 || world->nodes[i].domain[level - 1] != PLAN_UNKNOWN)
                                                ? 100 * level + path
                                                : PLAN_UNKNOWN;
        }
        world->free[i * RESOURCES] = next_random(9);
        world->free[i * RESOURCES + 1] = next_random(12);
        world->eligible[i] = (uint8_t)(next_random(6) ? 0xff : next_random(256));
    }
    for (uint32_t p = 0; p < request->nparts; p++) {
        world->requests[p][0] = next_random(4);
        world->requests[p][1] = 1 + next_random(4);
        world->parts[p] = (struct plan_part){1 + next_random(4), world->requests[p]};
    }
    if (leader)
        world->parts[next_random(2)].pods = 1;
    if (next_random(3) == 0)
        request->required_level = (int)next_random(request->nlevels + 1);
}

/* ---- checks --------------------------------------------------------------------------------------------------------- */

static void check(int holds, const struct world *world, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%u levels, required %d\n", world->request.nlevels, world->request.required_level);
    for (uint32_t p = 0; p < world->request.nparts; p++)
        fprintf(stderr, "  part %u: %u pods of %d, %d\n", p, world->parts[p].pods, (int)world->requests[p][0],
                (int)world->requests[p][1]);
    for (uint32_t i = 0; i < world->request.nnodes; i++)
        fprintf(stderr, "  node %u: free %d, %d eligible %x in %d %d\n", i, (int)world->free[i * 2],
                (int)world->free[i * 2 + 1], world->eligible[i] & 7u, (int)world->nodes[i].domain[0],
                (int)world->nodes[i].domain[1]);
    fail_msg("%s", what);
}

static void read_shares(const struct world *world, const struct plan_parts *plan,
                        unsigned ret_counts[PARTS_MAX][NODES_MAX])
{
    unsigned sums[PARTS_MAX] = {0};

    for (uint32_t i = 0; i < plan->nshares; i++) {
        const struct plan_parts_share *share = &plan->shares[i];

        check(world->eligible[share->node] >> share->part & 1, world, "each part goes where it may");
        ret_counts[share->part][share->node] += share->count;
        sums[share->part] += share->count;
    }
    for (uint32_t p = 0; p < world->request.nparts; p++)
        check(sums[p] == world->parts[p].pods, world, "all pods are placed, and no more");
    for (uint32_t i = 0; i < world->request.nnodes; i++)
        for (int r = 0; r < RESOURCES; r++) {
            int64_t used = 0;

            for (uint32_t p = 0; p < world->request.nparts; p++)
                used += ret_counts[p][i] * world->requests[p][r];
            check(used <= world->free[i * RESOURCES + (uint32_t)r], world, "no node gets more than fits");
        }
}

static void check_world(const struct world *world, struct plan_parts_scratch *scratch, int exact)
{
    struct search search = {.world = world};
    unsigned counts[PARTS_MAX][NODES_MAX] = {{0}};
    struct plan_parts plan;
    struct score score;
    bool certain = false;
    int as_good = 1, r = plan_parts(&world->request, scratch, &plan, &certain);

    for (uint32_t i = 0; i < world->request.nnodes; i++)
        memcpy(search.left[i], world->free + i * RESOURCES, sizeof(search.left[i]));
    try_all(&search, 0, 0, world->parts[0].pods);
    if (r == -ENOSPC)
        check(!search.found || !certain, world, "a certain no is one");
    if (exact)
        check((r == 0) == search.found, world, "what can be placed is placed");
    if (r == -ENOSPC)
        return;
    assert_int_equal(r, 0);
    read_shares(world, &plan, counts);
    check(is_allowed(world, counts), world, "what is required is kept");
    score = score_of(world, counts);
    for (uint32_t level = 0; level <= world->request.nlevels; level++) {
        unsigned used = level < world->request.nlevels ? score.domains[level] : score.nodes;
        unsigned best = level < world->request.nlevels ? search.best.domains[level] : search.best.nodes;

        check(plan.use[level].used == used, world, "the certificate counts what is used");
        check(plan.use[level].lower_bound <= search.least[level < world->request.nlevels ? level : LEVELS], world,
              "nothing uses fewer than the bound");
        check(!plan.use[level].proven || !as_good || used == best, world, "what is proven is best");
        as_good &= used == best;
    }
    check(!plan.even || compare_scores(&score, &search.best) == 0, world, "proven to be even");
    if (exact)
        check(plan.even && compare_scores(&score, &search.best) == 0, world, "nothing is better");
}

static void run(int leader)
{
    struct plan_parts_scratch *scratch = plan_parts_scratch_new();
    struct world world;

    random_state = 0x5eed + (uint64_t)number_of("LOCKSTEP_BRUTE_SEED", 0) * 0x9e3779b97f4a7c15;
    for (long i = number_of("LOCKSTEP_BRUTE_CASES", 5000); i > 0; i--) {
        make_world(&world, leader);
        check_world(&world, scratch, leader);
    }
    plan_parts_scratch_free(scratch);
}

static void with_one_leader_nothing_is_better(void **state)
{
    (void)state;
    run(1);
}

static void of_several_roles_what_is_said_is_true(void **state)
{
    (void)state;
    run(0);
}

/* 1,000 workers and a leader on 15,000 nodes took 9 s while every place of the leader was tried beside them. */
static void a_large_gang_is_placed_in_bounded_work(void **state)
{
    enum { MANY = 4000 };
    struct plan_node *nodes = calloc(MANY, sizeof(*nodes));
    int64_t *amounts = calloc((size_t)MANY * RESOURCES, sizeof(*amounts));
    uint8_t *eligible = calloc(MANY, 1);
    static const int64_t leader[RESOURCES] = {1, 1}, worker[RESOURCES] = {4, 1};
    const struct plan_part parts[] = {{1, leader}, {1000, worker}};
    struct plan_parts_request request = {.nlevels = 1, .nnodes = MANY, .nresources = RESOURCES, .nparts = 2,
                                         .nodes = nodes, .free = amounts, .eligible = eligible, .parts = parts,
                                         .required_level = -1, .preferred_level = -1, .tries_max = 1000000};
    struct plan_parts_scratch *scratch = plan_parts_scratch_new();
    struct plan_parts plan;
    bool certain;

    (void)state;
    for (uint32_t i = 0; i < MANY; i++) {
        nodes[i].domain[0] = i / 32;
        amounts[i * RESOURCES] = i % 9;
        amounts[i * RESOURCES + 1] = 100;
        eligible[i] = 0xff;
    }
    assert_int_equal(plan_parts(&request, scratch, &plan, &certain), 0);
    assert_false(plan.even); /* not every place of the leader was tried, and it says so */
    assert_true(plan.use[0].used >= plan.use[0].lower_bound);
    plan_parts_scratch_free(scratch);
    free(nodes);
    free(amounts);
    free(eligible);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_one_leader_nothing_is_better),
        cmocka_unit_test(of_several_roles_what_is_said_is_true),
        cmocka_unit_test(a_large_gang_is_placed_in_bounded_work),
    };

    return cmocka_run_group_tests_name("plan_parts", tests, NULL, NULL);
}
