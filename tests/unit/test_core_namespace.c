/* A Job's pod that is seen before its Namespace: whether it is a gang's is not known yet. */
#include "tests/unit/world.h"

static int open_world(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct obj_pod *pod = make_pod("j-0", 1, "", 0);
    struct obj_job *job = calloc(1, sizeof(*job));

    world_open(world);
    add_node(world, "n0", "b0", "r");
    sync_world(world);
    pod->owner.kind = OWNER_JOB;
    set_text(&pod->owner.name, "j");
    *job = (struct obj_job){.ns = strdup("ns"), .name = strdup("j"), .uid = strdup("u"),
                            .parallelism = 1, .completions = 1};
    world_step(world, (struct event){.kind = EV_JOB, .object.job = job});
    put_pod(world, pod);
    *state = world;
    return 0;
}

static void see_namespace(struct world *world, bool jobs_are_gangs)
{
    struct obj_namespace *ns = calloc(1, sizeof(*ns));

    *ns = (struct obj_namespace){.name = strdup("ns"), .jobs_are_gangs = jobs_are_gangs};
    world_step(world, (struct event){.kind = EV_NAMESPACE, .object.ns = ns});
}

static enum answer_kind answer_for(const struct world *world, const char *uid)
{
    struct answer answer;

    core_answer(world->core, uid, &answer);
    return answer.kind;
}

static void it_is_neither_answered_nor_bound_as_an_ordinary_pod(void **state)
{
    struct world *world = *state;
    uint64_t ticket = vote(world, "j-0", "n0");

    assert_int_equal(answer_for(world, "j-0"), ANSWER_UNKNOWN);
    assert_false(core_is_ordinary(world->core, "j-0"));
    assert_string_not_equal(reply_to(world, ticket), "");
    assert_int_equal(count_actions(world, ACT_BIND), 0);
    see_namespace(world, true);
    assert_int_equal(answer_for(world, "j-0"), ANSWER_PLANNED);
}

static void an_ordinary_namespace_makes_it_an_ordinary_pod(void **state)
{
    struct world *world = *state;

    see_namespace(world, false);
    assert_int_equal(answer_for(world, "j-0"), ANSWER_ORDINARY);
    vote(world, "j-0", "n0");
    assert_int_equal(count_actions(world, ACT_BIND), 1);
}

static void a_namespace_that_never_comes_is_not_waited_for_for_ever(void **state)
{
    struct world *world = *state;

    pass_time(world, 4 * SECOND);
    assert_int_equal(answer_for(world, "j-0"), ANSWER_UNKNOWN);
    pass_time(world, SECOND);
    assert_int_equal(answer_for(world, "j-0"), ANSWER_ORDINARY);
}

static void a_pod_of_no_job_waits_for_no_namespace(void **state)
{
    struct world *world = *state;

    put_pod(world, make_pod("plain", 1, "", 0));
    assert_int_equal(answer_for(world, "plain"), ANSWER_ORDINARY);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(it_is_neither_answered_nor_bound_as_an_ordinary_pod),
        CASE(an_ordinary_namespace_makes_it_an_ordinary_pod),
        CASE(a_namespace_that_never_comes_is_not_waited_for_for_ever),
        CASE(a_pod_of_no_job_waits_for_no_namespace),
    };

    return cmocka_run_group_tests_name("core_namespace", tests, NULL, NULL);
}
