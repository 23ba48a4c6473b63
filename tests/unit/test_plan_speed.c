/*
 * The fastest of the placements with the fewest domains, against brute force: on small random clusters with
 * classes of nodes no placement with as few domains may be faster, none as fast uses fewer nodes or is more
 * even. LOCKSTEP_BRUTE_CASES (5000) and LOCKSTEP_BRUTE_SEED choose how many and which.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/plan/plan_speed.h"

enum { NODES = 8, ROOM = 5, LEVELS = 2, CLASSES = 5 };

static uint64_t random_state;

static unsigned next_random(unsigned below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % below);
}

struct question {
    struct plan_node nodes[NODES];
    uint16_t class[NODES];
    float gb_s[CLASSES * ROOM];
    struct plan_pin pins[2];
    struct plan_request request;
    struct plan_speed speed;
};

/* What counts, smaller is better: pods left out, preference, domains, slowness, nodes, squares. */
enum { LEFT_OUT, UNPREFERRED, DOMAINS, SLOW = DOMAINS + LEVELS, USED_NODES, SQUARES, SCORES };

struct outcome {
    double score[SCORES];
};

static int compare(const struct outcome *a, const struct outcome *b, int from, int to)
{
    for (int i = from; i < to; i++)
        if (a->score[i] < b->score[i] || a->score[i] > b->score[i])
            return a->score[i] < b->score[i] ? -1 : 1;
    return 0;
}

static uint32_t domain_of(const struct question *q, uint32_t level, uint32_t node)
{
    return level < q->request.nlevels ? q->nodes[node].domain[level] : node;
}

static unsigned domains_used(const struct question *q, uint32_t level, const unsigned *pods)
{
    unsigned used = 0;

    for (uint32_t i = 0; i < q->request.nnodes; i++) {
        int is_new = pods[i] > 0;

        for (uint32_t k = 0; k < i && domain_of(q, level, i) != PLAN_UNKNOWN; k++)
            is_new &= !(pods[k] > 0 && domain_of(q, level, k) == domain_of(q, level, i));
        used += (unsigned)is_new;
    }
    return used;
}

static void pins_of(const struct question *q, unsigned *all)
{
    for (uint32_t i = 0; i < q->request.npins; i++)
        all[q->pins[i].node] += q->pins[i].count;
}

/* 0: not allowed. `all` counts the pods that are there already too. */
static int judge(const struct question *q, const unsigned *all, unsigned placed, struct outcome *ret)
{
    unsigned there[NODES] = {0};

    const struct plan_request *request = &q->request;
    double slowest = INFINITY;

    pins_of(q, there);
    *ret = (struct outcome){{0}};
    for (uint32_t i = 0; i < request->nnodes; i++) {
        unsigned come = all[i] - there[i];
        float gb_s = come ? q->gb_s[q->class[i] * ROOM + (come < ROOM ? come : ROOM) - 1] : INFINITY;

        if (all[i] && request->required_level >= 0 &&
            (domains_used(q, (uint32_t)request->required_level, all) != 1 ||
             domain_of(q, (uint32_t)request->required_level, i) == PLAN_UNKNOWN))
            return 0;
        if (gb_s < slowest)
            slowest = gb_s;
        ret->score[USED_NODES] += all[i] > 0;
        ret->score[SQUARES] += all[i] * all[i];
    }
    ret->score[LEFT_OUT] = request->pods - placed;
    ret->score[UNPREFERRED] = request->preferred_level >= 0 &&
                              domains_used(q, (uint32_t)request->preferred_level, all) != 1;
    for (uint32_t level = 0; level < request->nlevels; level++)
        ret->score[DOMAINS + level] = domains_used(q, level, all);
    ret->score[SLOW] = -slowest;
    return 1;
}

static void try_all(const struct question *q, unsigned *all, uint32_t node, unsigned placed,
                    struct outcome *best, int *found)
{
    struct outcome outcome;
    unsigned least = q->request.min_pods ? q->request.min_pods : q->request.pods, before;

    if (node == q->request.nnodes) {
        if (placed < least || !judge(q, all, placed, &outcome))
            return;
        if (!*found || compare(&outcome, best, 0, SCORES) < 0)
            *best = outcome;
        *found = 1;
        return;
    }
    before = all[node];
    for (unsigned n = 0; n <= q->nodes[node].capacity && placed + n <= q->request.pods; n++) {
        all[node] = before + n;
        try_all(q, all, node + 1, placed + n, best, found);
    }
    all[node] = before;
}

/* Speeds fall with the number of pods; some classes are unknown. */
static void make_speeds(struct question *q)
{
    for (unsigned c = 0; c < CLASSES; c++) {
        float gb_s = next_random(6) ? (float)(100 * (1 + next_random(4))) : PLAN_SPEED_UNKNOWN;

        for (unsigned i = 0; i < ROOM; i++) {
            q->gb_s[c * ROOM + i] = gb_s;
            if (next_random(2))
                gb_s /= 2;
        }
    }
    q->speed = (struct plan_speed){CLASSES, ROOM, q->class, q->gb_s};
}

static void make(struct question *q)
{
    struct plan_request *request = &q->request;

    *request = (struct plan_request){.nlevels = next_random(LEVELS + 1),
                                     .nnodes = 1 + next_random(NODES),
                                     .nodes = q->nodes,
                                     .pods = 1 + next_random(9),
                                     .required_level = -1,
                                     .preferred_level = -1,
                                     .pins = q->pins};
    make_speeds(q);
    for (uint32_t i = 0; i < request->nnodes; i++) {
        unsigned block = next_random(2), rack = block * 2 + next_random(2);

        q->nodes[i] = (struct plan_node){{block, 10 + rack}, next_random(ROOM), 8};
        if (next_random(8) == 0)
            q->nodes[i].domain[1] = PLAN_UNKNOWN;
        q->class[i] = (uint16_t)next_random(CLASSES);
    }
    if (next_random(4) == 0)
        request->required_level = (int)next_random(request->nlevels + 1);
    if (next_random(4) == 0)
        request->preferred_level = (int)next_random(request->nlevels + 1);
    if (next_random(4) == 0)
        request->min_pods = 1 + next_random(request->pods);
    if (next_random(4) == 0)
        request->npins = 1 + next_random(2);
    for (uint32_t i = 0; i < request->npins; i++)
        q->pins[i] = (struct plan_pin){next_random(request->nnodes), 1 + next_random(2)};
}

static void check_answer(const struct question *q, const struct plan *plan,
                         const struct plan_speed_use *use, const struct outcome *best)
{
    unsigned all[NODES] = {0};
    struct outcome outcome;

    for (uint32_t i = 0; i < plan->nshares; i++) {
        assert_in_range(plan->shares[i].count, 1, q->nodes[plan->shares[i].node].capacity);
        all[plan->shares[i].node] += plan->shares[i].count;
    }
    pins_of(q, all);
    assert_true(judge(q, all, plan->pods, &outcome));
    assert_int_equal(compare(&outcome, best, 0, SCORES), 0);
    assert_true(use->proven);
    assert_true(use->gb_s == (float)-outcome.score[SLOW]);
    for (uint32_t level = 0; level <= q->request.nlevels; level++) {
        double used = outcome.score[level < q->request.nlevels ? DOMAINS + (int)level : USED_NODES];

        assert_true(plan->use[level].used == used && plan->use[level].lower_bound <= used);
    }
}

static void check(const struct question *q, struct plan_race *race, struct plan_scratch *scratch,
                  struct plan_index *index)
{
    unsigned all[NODES] = {0};
    struct outcome best;
    struct plan_shortage shortage;
    struct plan_speed_use use;
    struct plan plan;
    int found = 0, r;

    pins_of(q, all);
    try_all(q, all, 0, 0, &best, &found);
    assert_int_equal(plan_index_build(index, q->request.nlevels, q->nodes, q->request.nnodes), 0);
    r = plan_fastest(index, &q->request, &q->speed, race, scratch, &plan, &use, &shortage);
    assert_int_equal(r, found ? 0 : -ENOSPC);
    if (found)
        check_answer(q, &plan, &use, &best);
}

static void no_placement_in_as_few_domains_is_faster(void **state)
{
    const char *cases = getenv("LOCKSTEP_BRUTE_CASES"), *seed = getenv("LOCKSTEP_BRUTE_SEED");
    struct plan_race *race = plan_race_new();
    struct plan_scratch *scratch = plan_scratch_new();
    struct plan_index *index = plan_index_new();
    struct question q;

    (void)state;
    random_state = 0xfa57 + (seed ? strtoull(seed, NULL, 10) : 0) * 0x9e3779b97f4a7c15;
    for (long i = cases ? strtol(cases, NULL, 10) : 5000; i > 0; i--) {
        make(&q);
        check(&q, race, scratch, index);
    }
    plan_index_free(index);
    plan_scratch_free(scratch);
    plan_race_free(race);
}

static void refuses_a_class_beyond_the_table(void **state)
{
    struct plan_race *race = plan_race_new();
    struct plan_scratch *scratch = plan_scratch_new();
    struct plan_index *index = plan_index_new();
    struct plan_node node = {{0}, 1, 8};
    struct plan_request request = {.pods = 1, .required_level = -1, .preferred_level = -1};
    float gb_s[] = {100};
    struct plan_speed speed = {1, 1, (uint16_t[]){1}, gb_s};
    struct plan_shortage shortage;
    struct plan_speed_use use;
    struct plan plan;

    (void)state;
    assert_int_equal(plan_index_build(index, 0, &node, 1), 0);
    assert_int_equal(plan_fastest(index, &request, &speed, race, scratch, &plan, &use, &shortage), -EINVAL);
    plan_index_free(index);
    plan_scratch_free(scratch);
    plan_race_free(race);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_placement_in_as_few_domains_is_faster),
        cmocka_unit_test(refuses_a_class_beyond_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
