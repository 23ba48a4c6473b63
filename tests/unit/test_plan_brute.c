/*
 * The planner against brute force that shares no code with it: on small random clusters no placement may be
 * better in domains per level, nodes and evenness; the certificate must hold, and so must what is said of a
 * gang that does not fit. LOCKSTEP_BRUTE_CASES (5000) and LOCKSTEP_BRUTE_SEED choose how many and which.
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

#include "scheduler/plan/plan.h"

#define LEVELS 3
#include "tests/unit/brute.h"

#define NODES_MAX 12
#define CAPACITY_MAX 8
#define PLACEMENTS_MAX 1000000

struct cluster {
    struct plan_request request;
    struct plan_node nodes[NODES_MAX];
    struct plan_pin pins[3];
};

/* ---- what is best, by trying all ---------------------------------------------------------------------------- */

static unsigned pinned_on(const struct plan_request *request, uint32_t node)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < request->npins; i++)
        if (request->pins[i].node == node)
            count += request->pins[i].count;
    return count;
}

/* Unknown domains count one per node; pods that are there already count as the new ones do. */
static struct score score_of(const struct plan_request *request, const unsigned *counts)
{
    struct score score = {{0}, 0, 0};
    unsigned all[NODES_MAX];

    for (uint32_t i = 0; i < request->nnodes; i++) {
        all[i] = counts[i] + pinned_on(request, i);
        if (!all[i])
            continue;
        score.nodes++;
        score.squares += all[i] * all[i];
        for (uint32_t level = 0; level < request->nlevels; level++) {
            uint32_t domain = request->nodes[i].domain[level];
            int seen = 0;

            for (uint32_t k = 0; k < i && domain != PLAN_UNKNOWN; k++)
                seen |= all[k] && request->nodes[k].domain[level] == domain;
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

        if (!counts[i] && !pinned_on(request, i))
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

/* As many pods as there may be, else fewer; 0: not even the fewest fit. */
static unsigned try_sizes(struct search *search)
{
    unsigned least = search->request->min_pods ? search->request->min_pods : search->request->pods;

    for (unsigned pods = search->request->pods; pods >= least; pods--) {
        try_all(search, 0, pods);
        if (search->found)
            return pods;
    }
    return 0;
}

/* ---- random clusters ------------------------------------------------------------------------------------------ */

static double placements(const struct cluster *cluster)
{
    double ways[128] = {1};

    for (uint32_t i = 0; i < cluster->request.nnodes; i++)
        for (unsigned p = cluster->request.pods + 1; p-- > 0;)
            for (unsigned n = 1; n <= cluster->nodes[i].capacity && n <= p; n++)
                ways[p] += ways[p - n];
    return ways[cluster->request.pods];
}

/* A tree of blocks, racks and islands; some nodes lack their labels from some level on. */
static void make_nodes(struct cluster *cluster)
{
    struct plan_request *request = &cluster->request;
    unsigned most = 1 + next_random(CAPACITY_MAX), uniform = next_random(4) == 0;
    unsigned lacking = next_random(3) ? 1000000 : 4, fan = 2 + next_random(2);

    for (uint32_t i = 0; i < request->nnodes; i++) {
        struct plan_node *node = &cluster->nodes[i];
        uint32_t known = next_random(lacking) ? request->nlevels : next_random(request->nlevels + 1);
        uint32_t path = 0;

        *node = (struct plan_node){.capacity = uniform ? most * next_random(2) : next_random(most + 1)};
        node->free_units = node->capacity + next_random(3);
        for (uint32_t level = 0; level < PLAN_LEVELS_MAX; level++) {
            path = path * fan + next_random(fan);
            node->domain[level] = level < known ? 1000 * level + path : PLAN_UNKNOWN;
        }
    }
}

static void make_case(struct cluster *cluster)
{
    struct plan_request *request = &cluster->request;

    *request = (struct plan_request){.nlevels = next_random(LEVELS + 1),
                                     .nnodes = 1 + next_random(NODES_MAX),
                                     .nodes = cluster->nodes,
                                     .pods = 1 + next_random(next_random(4) ? 10 : 40),
                                     .required_level = -1,
                                     .preferred_level = -1,
                                     .pins = cluster->pins};
    make_nodes(cluster);
    if (next_random(3) == 0)
        request->required_level = (int)next_random(request->nlevels + 1);
    if (next_random(3) == 0)
        request->preferred_level = (int)next_random(request->nlevels + 1);
    if (next_random(4) == 0)
        request->min_pods = 1 + next_random(request->pods);
    if (next_random(4) == 0)
        request->npins = 1 + next_random(3);
    for (uint32_t i = 0; i < request->npins; i++)
        cluster->pins[i] = (struct plan_pin){next_random(request->nnodes), 1 + next_random(3)};
    while (placements(cluster) > PLACEMENTS_MAX)
        request->pods = request->pods / 2;
    if (request->min_pods > request->pods)
        request->min_pods = request->pods;
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static void print_case(const struct plan_request *request)
{
    fprintf(stderr, "%u pods (min %u) on %u levels, required %d, %u pins\n", request->pods, request->min_pods,
            request->nlevels, request->required_level, request->npins);
    for (uint32_t i = 0; i < request->nnodes; i++) {
        fprintf(stderr, "  node %u: room %u pinned %u in", i, request->nodes[i].capacity,
                pinned_on(request, i));
        for (uint32_t level = 0; level < request->nlevels; level++)
            fprintf(stderr, " %d", (int)request->nodes[i].domain[level]);
        fputc('\n', stderr);
    }
}

static void check(int holds, const struct plan_request *request, const char *what)
{
    if (holds)
        return;
    print_case(request);
    fail_msg("%s", what);
}

static void check_shares(const struct plan_request *request, const struct plan *plan, unsigned pods,
                         unsigned *ret_counts)
{
    uint32_t rank = 0;

    for (uint32_t i = 0; i < plan->nshares; i++) {
        check(plan->shares[i].first_rank == rank && plan->shares[i].count > 0, request, "ranks run on");
        check(ret_counts[plan->shares[i].node] == 0, request, "one share a node");
        ret_counts[plan->shares[i].node] = plan->shares[i].count;
        rank += plan->shares[i].count;
    }
    check(rank == pods && plan->pods == pods, request, "all pods are placed, and no more");
    for (uint32_t i = 0; i < request->nnodes; i++)
        check(ret_counts[i] <= request->nodes[i].capacity, request, "no node gets more than fits");
    check(allowed(request, ret_counts), request, "what is required is kept");
}

static void check_certificate(const struct plan_request *request, const struct plan *plan,
                              const struct score *score, const struct search *search)
{
    int as_good = 1; /* at all levels so far */

    for (uint32_t level = 0; level <= request->nlevels; level++) {
        unsigned used = level < request->nlevels ? score->domains[level] : score->nodes;
        unsigned best = level < request->nlevels ? search->best.domains[level] : search->best.nodes;
        const struct plan_level_use *use = &plan->use[level];

        check(use->used == used, request, "the certificate counts what is used");
        check(use->lower_bound <= search->least[level < request->nlevels ? level : LEVELS], request,
              "nothing uses fewer than the lower bound");
        check(!use->proven || !as_good || used == best, request, "what is proven is best");
        as_good &= used == best;
    }
    check(!plan->even || !as_good || score->squares == search->best.squares, request, "proven to be even");
    check(plan->preferred_met == (request->preferred_level < 0 ||
                                  plan->use[request->preferred_level].used == 1),
          request, "whether the preference was met");
}

/* Nothing starts over in the same domain twice: the shares of a domain stand together, and so do their ranks. */
static void check_depth_first(const struct plan_request *request, const struct plan *plan)
{
    for (uint32_t level = 0; level < request->nlevels; level++)
        for (uint32_t i = 2; i < plan->nshares; i++)
            for (uint32_t k = 0; k + 1 < i; k++) {
                uint32_t here = request->nodes[plan->shares[i].node].domain[level];

                check(here == PLAN_UNKNOWN ||
                          here != request->nodes[plan->shares[k].node].domain[level] ||
                          here == request->nodes[plan->shares[i - 1].node].domain[level],
                      request, "ranks are depth-first");
            }
}

static int same_plan(const struct plan *plan, const unsigned *counts, const struct plan *other)
{
    unsigned sum = 0;

    for (uint32_t i = 0; i < other->nshares; i++) {
        if (counts[other->shares[i].node] != other->shares[i].count)
            return 0;
        sum += other->shares[i].count;
    }
    return other->nshares == plan->nshares && sum == plan->pods;
}

static void check_case(const struct plan_request *request, struct plan_scratch *scratch, int exact)
{
    struct search search = {.request = request};
    unsigned counts[NODES_MAX] = {0}, pods = try_sizes(&search);
    struct plan plan = {0}, again = {0};
    struct plan_shortage shortage;
    struct score score;
    int r = plan_gang(request, scratch, &plan, &shortage);

    if (!search.found) {
        check(r == -ENOSPC, request, "what cannot be placed is not placed");
        check(shortage.fits < request->pods, request, "fewer fit than are asked for");
        return;
    }
    check(r == 0, request, "what can be placed is placed");
    check_shares(request, &plan, pods, counts);
    check_depth_first(request, &plan);
    score = score_of(request, counts);
    check_certificate(request, &plan, &score, &search);
    if (exact)
        check(compare_scores(&score, &search.best) == 0 && plan.even, request, "no placement is better");
    check(plan_gang(request, scratch, &again, &shortage) == 0 && same_plan(&plan, counts, &again), request,
          "the same question has the same answer");
}

/* The numbers of a gang that does not fit are true: so many fit, and not one more. */
static void check_shortage(struct cluster *cluster, struct plan_scratch *scratch)
{
    struct plan_request request = cluster->request;
    struct plan_shortage shortage, unused;
    struct plan plan;

    request.min_pods = 0;
    if (plan_gang(&request, scratch, &plan, &shortage) != -ENOSPC)
        return;
    request.pods = shortage.fits;
    check(request.pods == 0 || plan_gang(&request, scratch, &plan, &unused) == 0, &request, "so many fit");
    request.pods = shortage.fits + 1;
    check(plan_gang(&request, scratch, &plan, &unused) == -ENOSPC, &request, "and not one more");
    request.required_level = -1;
    request.pods = shortage.fits_anywhere;
    check(request.pods == 0 || plan_gang(&request, scratch, &plan, &unused) == 0, &request,
          "so many fit without what is required");
}

/* ---- the index: what was changed bit by bit answers as what was built anew ---------------------------------------- */

static void check_index(struct cluster *cluster, struct plan_scratch *scratch, struct plan_index *index)
{
    const struct plan_request *request = &cluster->request;
    unsigned counts[NODES_MAX] = {0};
    struct plan_shortage one, other;
    struct plan plan, fresh;
    int r, again;

    assert_int_equal(plan_index_build(index, request->nlevels, cluster->nodes, request->nnodes), 0);
    for (int i = 0; i < 20; i++) {
        struct plan_node *node = &cluster->nodes[next_random(request->nnodes)];

        node->capacity = next_random(CAPACITY_MAX + 1);
        node->free_units = node->capacity + next_random(3);
        assert_true(plan_index_set(index, (uint32_t)(node - cluster->nodes), node->capacity,
                                   node->free_units));
    }
    r = plan_on_index(index, request, scratch, &plan, &one);
    for (uint32_t i = 0; r == 0 && i < plan.nshares; i++)
        counts[plan.shares[i].node] = plan.shares[i].count;
    again = plan_gang(request, scratch, &fresh, &other);
    check(r == again, request, "both answer alike");
    check(r == 0 ? same_plan(&plan, counts, &fresh) : memcmp(&one, &other, sizeof(one)) == 0, request,
          "both plan alike");
}

/* ---- tests ---------------------------------------------------------------------------------------------------------- */

static void run_cases(long cases, void (*run)(struct cluster *, struct plan_scratch *))
{
    struct plan_scratch *scratch = plan_scratch_new();
    struct cluster cluster;

    random_state = 0x5eed + (uint64_t)number_of("LOCKSTEP_BRUTE_SEED", 0) * 0x9e3779b97f4a7c15;
    for (long i = 0; i < cases; i++) {
        make_case(&cluster);
        run(&cluster, scratch);
    }
    plan_scratch_free(scratch);
}

static void one_exact(struct cluster *cluster, struct plan_scratch *scratch)
{
    check_case(&cluster->request, scratch, 1);
}

static void no_placement_beats_the_plan(void **state)
{
    (void)state;
    run_cases(number_of("LOCKSTEP_BRUTE_CASES", 5000), one_exact);
}

static void one_in_haste(struct cluster *cluster, struct plan_scratch *scratch)
{
    cluster->request.work_max = 1;
    check_case(&cluster->request, scratch, 0);
}

static void in_haste_what_is_called_proven_is(void **state)
{
    (void)state;
    run_cases(number_of("LOCKSTEP_BRUTE_CASES", 5000), one_in_haste);
}

static void what_is_said_of_a_shortage_is_true(void **state)
{
    (void)state;
    run_cases(number_of("LOCKSTEP_BRUTE_CASES", 5000), check_shortage);
}

static void one_on_index(struct cluster *cluster, struct plan_scratch *scratch)
{
    struct plan_index *index = plan_index_new();

    check_index(cluster, scratch, index);
    plan_index_free(index);
}

static void an_index_kept_by_change_is_as_one_made_anew(void **state)
{
    (void)state;
    run_cases(number_of("LOCKSTEP_BRUTE_CASES", 5000), one_on_index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_placement_beats_the_plan),
        cmocka_unit_test(in_haste_what_is_called_proven_is),
        cmocka_unit_test(what_is_said_of_a_shortage_is_true),
        cmocka_unit_test(an_index_kept_by_change_is_as_one_made_anew),
    };

    return cmocka_run_group_tests_name("plan_brute", tests, NULL, NULL);
}
