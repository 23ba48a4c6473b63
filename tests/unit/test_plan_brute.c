/*
 * The planner against brute force that shares no code with it: on small random clusters no placement
 * may be better in domains per level, nodes and evenness, and the certificate must hold.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/plan/plan.h"

#define NODES_MAX 10
#define LEVELS 3
#define CASES 10000

struct score { /* smaller is better, in this order */
    unsigned domains[LEVELS], nodes, squares;
};

static uint64_t random_state;

static unsigned next_random(unsigned below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % below);
}

static int compare_scores(const struct score *a, const struct score *b)
{
    for (int level = 0; level < LEVELS; level++)
        if (a->domains[level] != b->domains[level])
            return a->domains[level] < b->domains[level] ? -1 : 1;
    if (a->nodes != b->nodes)
        return a->nodes < b->nodes ? -1 : 1;
    return a->squares < b->squares ? -1 : a->squares > b->squares;
}

/* Unknown domains count one per node. */
static struct score score_of(const struct plan_request *request, const unsigned *counts)
{
    struct score score = {{0}, 0, 0};

    for (uint32_t i = 0; i < request->nnodes; i++) {
        if (!counts[i])
            continue;
        score.nodes++;
        score.squares += counts[i] * counts[i];
        for (uint32_t level = 0; level < request->nlevels; level++) {
            uint32_t domain = request->nodes[i].domain[level];
            int seen = 0;

            for (uint32_t k = 0; k < i && domain != PLAN_UNKNOWN; k++)
                seen |= counts[k] && request->nodes[k].domain[level] == domain;
            score.domains[level] += !seen;
        }
    }
    return score;
}

static int allowed(const struct plan_request *request, const unsigned *counts)
{
    int level = request->required_level;
    uint32_t domain = 0;
    int first = 1;

    for (uint32_t i = 0; i < request->nnodes && level >= 0; i++) {
        uint32_t here = (uint32_t)level < request->nlevels ? request->nodes[i].domain[level] : i;

        if (!counts[i])
            continue;
        if (here == PLAN_UNKNOWN || (!first && here != domain))
            return 0;
        domain = here;
        first = 0;
    }
    return 1;
}

struct search {
    const struct plan_request *request;
    unsigned counts[NODES_MAX];
    struct score best;
    unsigned least[LEVELS + 1]; /* fewest domains per level alone, nodes last */
    int found;
};

static void look(struct search *search)
{
    struct score score;

    if (!allowed(search->request, search->counts))
        return;
    score = score_of(search->request, search->counts);
    for (int level = 0; level <= LEVELS; level++) {
        unsigned used = level < LEVELS ? score.domains[level] : score.nodes;

        if (!search->found || used < search->least[level])
            search->least[level] = used;
    }
    if (!search->found || compare_scores(&score, &search->best) < 0)
        search->best = score;
    search->found = 1;
}

static void try_all(struct search *search, uint32_t node, unsigned left)
{
    if (node == search->request->nnodes) {
        if (left == 0)
            look(search);
        return;
    }
    for (unsigned n = 0; n <= search->request->nodes[node].capacity && n <= left; n++) {
        search->counts[node] = n;
        try_all(search, node + 1, left - n);
    }
    search->counts[node] = 0;
}

/* A tree of blocks, racks and islands; some nodes lack their labels from some level on. */
static void make_case(struct plan_request *request, struct plan_node *nodes)
{
    *request = (struct plan_request){.nlevels = 1 + next_random(LEVELS),
                                     .nnodes = 1 + next_random(NODES_MAX),
                                     .nodes = nodes,
                                     .pods = 1 + next_random(9),
                                     .units_per_pod = 1,
                                     .required_level = -1,
                                     .preferred_level = -1};
    for (uint32_t i = 0; i < request->nnodes; i++) {
        uint32_t path = 0;
        uint32_t known = next_random(8) ? request->nlevels : next_random(request->nlevels + 1);

        nodes[i] = (struct plan_node){.capacity = next_random(4), .total_units = 8};
        nodes[i].free_units = nodes[i].capacity * 2;
        for (uint32_t level = 0; level < PLAN_LEVELS_MAX; level++) {
            path = path * 2 + next_random(2);
            nodes[i].domain[level] = level < known ? (1u << (level + 1)) + path : PLAN_UNKNOWN;
        }
    }
    if (next_random(3) == 0)
        request->required_level = (int)next_random(request->nlevels + 1);
}

static void check_case(const struct plan_request *request, struct plan_scratch *scratch)
{
    struct search search = {.request = request};
    struct plan plan = {0}, again = {0};
    struct plan_shortage shortage;
    unsigned counts[NODES_MAX] = {0};
    uint32_t rank = 0;
    struct score score;
    int r = plan_gang(request, scratch, &plan, &shortage);

    try_all(&search, 0, request->pods);
    if (!search.found) {
        assert_int_equal(r, -ENOSPC);
        assert_true(shortage.fits < request->pods);
        return;
    }
    assert_int_equal(r, 0);
    for (uint32_t i = 0; i < plan.nshares; i++) {
        assert_int_equal(plan.shares[i].first_rank, rank);
        counts[plan.shares[i].node] += plan.shares[i].count;
        rank += plan.shares[i].count;
    }
    assert_int_equal(rank, request->pods);
    for (uint32_t i = 0; i < request->nnodes; i++)
        assert_true(counts[i] <= request->nodes[i].capacity);
    assert_true(allowed(request, counts));
    score = score_of(request, counts);
    assert_int_equal(compare_scores(&score, &search.best), 0);
    for (uint32_t level = 0; level <= request->nlevels; level++) {
        unsigned used = level < request->nlevels ? score.domains[level] : score.nodes;
        unsigned least = search.least[level < request->nlevels ? level : LEVELS];

        assert_int_equal(plan.use[level].used, used);
        assert_true(plan.use[level].lower_bound <= least);
    }
    assert_int_equal(plan_gang(request, scratch, &again, &shortage), 0);
    assert_int_equal(again.nshares, plan.nshares);
    assert_memory_equal(again.shares, plan.shares, plan.nshares * sizeof(*plan.shares));
    plan_release(&plan);
    plan_release(&again);
}

static void no_placement_beats_the_plan(void **state)
{
    struct plan_scratch *scratch = plan_scratch_new();

    (void)state;
    random_state = 0x5eed;
    for (int i = 0; i < CASES; i++) {
        struct plan_node nodes[NODES_MAX];
        struct plan_request request;

        make_case(&request, nodes);
        check_case(&request, scratch);
    }
    plan_scratch_free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_placement_beats_the_plan)};

    return cmocka_run_group_tests_name("plan_brute", tests, NULL, NULL);
}
