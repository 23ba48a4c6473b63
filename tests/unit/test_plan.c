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
        cmocka_unit_test(tables_beyond_what_can_be_addressed_are_not_made),
    };

    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
