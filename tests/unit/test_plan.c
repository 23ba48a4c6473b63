/* Questions to the planner that once had a wrong answer; test_plan_brute.c asks small ones of all kinds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "scheduler/plan/plan.h"

struct question {
    struct plan_request request;
    struct plan_node *nodes;
    struct plan_scratch *scratch;
    struct plan plan;
    struct plan_shortage shortage;
};

static void question_init(struct question *question, uint32_t nlevels, uint32_t nnodes)
{
    *question = (struct question){.nodes = calloc(nnodes, sizeof(struct plan_node)),
                                  .scratch = plan_scratch_new()};
    question->request = (struct plan_request){.nlevels = nlevels, .nnodes = nnodes,
                                              .nodes = question->nodes, .required_level = -1,
                                              .preferred_level = -1};
}

static void question_release(struct question *question)
{
    plan_scratch_free(question->scratch);
    free(question->nodes);
}

static int ask(struct question *question)
{
    return plan_gang(&question->request, question->scratch, &question->plan, &question->shortage);
}

/* Each node is a rack of its own. */
static void set_racks(struct question *question, const uint32_t (*racks)[3]) /* spine, block, room */
{
    for (uint32_t i = 0; i < question->request.nnodes; i++)
        question->nodes[i] = (struct plan_node){.domain = {racks[i][0], racks[i][1], i},
                                                .capacity = racks[i][2]};
}

/* The second spine takes the gang on two racks, only that it needs a search to find them. */
static void what_is_not_searched_is_not_proven_by_another_domain(void **state)
{
    static const uint32_t racks[][3] = {
        {0, 0, 3}, {0, 0, 3}, {0, 1, 3}, {0, 1, 3}, {1, 2, 2}, {1, 2, 2}, {1, 2, 2},
        {1, 2, 2}, {1, 3, 2}, {1, 3, 2}, {1, 3, 2}, {1, 3, 2}, {1, 4, 6}, {1, 5, 6},
    };
    struct question question;

    (void)state;
    question_init(&question, 3, sizeof(racks) / sizeof(racks[0]));
    set_racks(&question, racks);
    question.request.pods = 12;
    assert_int_equal(ask(&question), 0);
    assert_int_equal(question.plan.use[2].used, 2);
    assert_true(question.plan.use[2].proven && question.plan.even);
    question.request.work_max = 1;
    assert_int_equal(ask(&question), 0);
    assert_true(question.plan.use[1].proven);
    assert_true(question.plan.use[2].used == 2 || !question.plan.use[2].proven);
    question_release(&question);
}

/* Nodes that are all alike, but more ways to choose racks than may be tried: the pods are few, so they tell. */
static void few_pods_are_settled_where_domains_are_too_many(void **state)
{
    static const uint32_t nodes[][3] = {{1, 2, 0}, {1, 3, 1}, {1, 2, 2}, {2, 4, 3},
                                        {2, 4, 3}, {0, 1, 4}, {0, 1, 4}, {0, 1, 5}};
    struct question question;

    (void)state;
    question_init(&question, 3, 8);
    for (uint32_t i = 0; i < 8; i++)
        question.nodes[i] = (struct plan_node){.domain = {nodes[i][0], nodes[i][1], nodes[i][2]},
                                               .capacity = 1};
    question.request.pods = 4;
    question.request.work_max = 100;
    assert_int_equal(ask(&question), 0);
    assert_int_equal(question.plan.use[2].used, 2);
    assert_true(question.plan.even);
    question_release(&question);
}

/* Two blocks of large racks are to be found in each of three spines; the last two have the largest, for themselves. */
static void all_domains_looked_into_share_one_bound_on_work(void **state)
{
    static const uint32_t rooms[15] = {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 6, 6, 6};
    static const uint32_t blocks[15] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 3};
    uint32_t racks[3 * 15 + 2][3];
    struct question question;

    (void)state;
    for (uint32_t i = 0; i < 45; i++) {
        racks[i][0] = i / 15;
        racks[i][1] = i / 15 * 4 + blocks[i % 15];
        racks[i][2] = rooms[i % 15];
    }
    for (uint32_t i = 45; i < 47; i++) {
        racks[i][0] = i;
        racks[i][1] = i;
        racks[i][2] = 9;
    }
    question_init(&question, 3, 47);
    set_racks(&question, racks);
    question.request.pods = 18;
    assert_int_equal(ask(&question), 0);
    assert_int_equal(question.plan.use[2].used, 3);
    assert_true(question.plan.use[2].proven);
    question.request.work_max = 100; /* enough for one spine */
    assert_int_equal(ask(&question), 0);
    assert_int_equal(question.plan.use[2].used, 3);
    assert_false(question.plan.use[2].proven);
    question_release(&question);
}

/* Spines of two racks each and a few of one: of 2047 x ... x 2047 x 4095 domains no table can be made. */
static void tables_beyond_what_can_be_addressed_are_not_made(void **state)
{
    enum { SPINES = 2047, RACKS = 2 * SPINES + 1, LARGE = 10 };
    struct question question;

    (void)state;
    question_init(&question, PLAN_LEVELS_MAX, RACKS + LARGE);
    for (uint32_t i = 0; i < RACKS + LARGE; i++) {
        struct plan_node *node = &question.nodes[i];
        uint32_t spine = i == RACKS - 1 ? 0 : i < RACKS ? i / 2 : i;

        for (uint32_t level = 0; level + 1 < PLAN_LEVELS_MAX; level++)
            node->domain[level] = spine;
        node->domain[PLAN_LEVELS_MAX - 1] = i;
        node->capacity = i < RACKS ? 1 : 2;
    }
    question.request.pods = RACKS;
    assert_int_equal(ask(&question), 0);
    assert_int_equal(question.plan.pods, RACKS);
    assert_int_equal(question.plan.use[0].used, SPINES);
    assert_false(question.plan.use[PLAN_LEVELS_MAX - 1].proven);
    question_release(&question);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_searched_is_not_proven_by_another_domain),
        cmocka_unit_test(few_pods_are_settled_where_domains_are_too_many),
        cmocka_unit_test(all_domains_looked_into_share_one_bound_on_work),
        cmocka_unit_test(tables_beyond_what_can_be_addressed_are_not_made),
    };

    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
