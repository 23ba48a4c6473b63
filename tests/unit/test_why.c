/* core_why(): each answer is made true and the gang is planned; a little less of it, and the gang waits. */
#include "tests/unit/world.h"

/* ---- small clusters in a few words ------------------------------------------------------------------ */

/*
 * One letter a thing, nodes in order, two to a rack r0, r1, ... and four to a block b0, b1, ...:
 *   '.' a free node; '8' '4' '1' a node with one pod of so many GPUs, 'o' with eight of one GPU each;
 *   'd' with a DaemonSet's pod of one GPU; 'A' to 'C' with one member of a gang of this name that is bound
 *   in full; 'm' with 4 GPUs of a member of gang M and a pod of 4.
 */
struct asked {
    const char *nodes;
    int pods; /* of the gang "g" that waits, */
    int64_t gpus; /* for each of them, */
    const char *required;
    const char *expected; /* a line for each answer */
};

static void put_daemon(struct world *world, const char *node, const char *name, int64_t gpus)
{
    struct obj_pod *pod = make_pod(name, gpus, "", 0);

    set_text(&pod->node, node);
    pod->phase = POD_RUNNING;
    pod->owner.kind = OWNER_OTHER;
    set_text(&pod->owner.kind_name, "DaemonSet");
    put_pod(world, pod);
}

static void put_bound(struct world *world, const char *gang, int index, int size, const char *node,
                      int64_t gpus)
{
    struct obj_pod *pod;
    char name[64];

    snprintf(name, sizeof(name), "%s-%d", gang, index);
    pod = make_pod(name, gpus, gang, size);
    pod->index = index;
    set_text(&pod->node, node);
    pod->phase = POD_RUNNING;
    put_pod(world, pod);
}

static void fill_node(struct world *world, const char *nodes, int i)
{
    char node[16], name[32], gang[2] = {nodes[i], '\0'};
    int index = 0, size = 0;

    snprintf(node, sizeof(node), "n%d", i);
    snprintf(name, sizeof(name), "p%d", i);
    for (int k = 0; nodes[k]; k++) {
        size += nodes[k] == nodes[i];
        index += nodes[k] == nodes[i] && k < i;
    }
    if (strchr("841", nodes[i]))
        use_node(world, node, name, nodes[i] - '0');
    for (int k = 0; nodes[i] == 'o' && k < 8; k++) {
        snprintf(name, sizeof(name), "p%d-%d", i, k);
        use_node(world, node, name, 1);
    }
    if (nodes[i] == 'd')
        put_daemon(world, node, name, 1);
    if (nodes[i] >= 'A' && nodes[i] <= 'C')
        put_bound(world, gang, index, size, node, 8);
    if (nodes[i] == 'm') {
        put_bound(world, "M", index, size, node, 4);
        use_node(world, node, name, 4);
    }
}

static void ask_for(struct world *world, int pods, int64_t gpus, const char *required,
                    const char *preferred)
{
    for (int i = 0; i < pods; i++) {
        char name[32];
        struct obj_pod *pod;

        snprintf(name, sizeof(name), "g-%d", i);
        pod = make_pod(name, gpus, "g", pods);
        pod->priority = 100; /* it comes first in the line */
        set_text(&pod->wish.required, required);
        set_text(&pod->wish.preferred, preferred);
        put_pod(world, pod);
    }
}

static struct world *make_world(const char *nodes)
{
    struct world *world = new_world((int)strlen(nodes), 4, 2);

    for (int i = 0; nodes[i]; i++)
        fill_node(world, nodes, i);
    sync_world(world);
    return world;
}

static void free_world(struct world *world)
{
    void *state = world;

    close_world(&state);
}

static void texts_of(const struct why *why, char *ret, size_t size)
{
    size_t len = 0;

    ret[0] = '\0';
    for (size_t i = 0; i < why->n; i++)
        len += (size_t)snprintf(ret + len, size - len, "%s%s", i ? "\n" : "", why->items[i].text);
}

static const struct asked cases[] = {
    /* what the gang could ask otherwise */
    {"...8", 4, 8, "", "fits with 3 pods instead of 4\nfits if 1 pod left: ns/p3\n"
                       "fits on the empty cluster"},
    {"....", 5, 8, "", "would not fit on the empty cluster either\nfits with 4 pods instead of 5"},
    {"....", 3, 8, "rack",
     "would not fit on the empty cluster either\nfits with required=block instead of required=rack\n"
     "fits with preferred=rack instead of required=rack\nfits with 2 pods instead of 3"},
    {"........", 5, 8, "rack",
     "would not fit on the empty cluster either\nfits with preferred=rack instead of required=rack\n"
     "fits with 2 pods instead of 5"},
    {"...8", 2, 4, "node", ""}, /* it does fit */
    {"4444", 2, 4, "node", "fits with required=rack instead of required=node\n"
                           "fits with preferred=node instead of required=node\n"
                           "fits with 1 pod instead of 2\nfits if 1 pod left: ns/p0\n"
                           "fits on the empty cluster"},
    {"8888", 1, 8, "", "fits if 1 pod left: ns/p0\nfits on the empty cluster"},
    /* who could leave: the fewest */
    {"oo8o", 1, 8, "", "fits if 1 pod left: ns/p2\nfits on the empty cluster"},
    {"o1o1", 2, 8, "rack",
     "fits if 9 pods left: ns/p0-0, ns/p0-1, ns/p0-2 and 6 more\nfits on the empty cluster"},
    {"o14488", 2, 8, "rack", "fits if 2 pods left: ns/p2, ns/p3\nfits on the empty cluster"},
    {"o.44", 2, 8, "rack",
     "fits with 1 pod instead of 2\nfits if 2 pods left: ns/p2, ns/p3\nfits on the empty cluster"},
    /* gangs go as a whole */
    {"AA8o", 2, 8, "", "fits if 1 gang of 2 pods left: gang ns/A\nfits on the empty cluster"},
    {"AABB", 1, 8, "", "fits if 1 gang of 2 pods left: gang ns/A\nfits on the empty cluster"},
    {"AAAB", 1, 8, "", "fits if 1 gang of 1 pod left: gang ns/B\nfits on the empty cluster"},
    {"AA8B", 3, 8, "", "fits if 1 pod and 1 gang of 2 pods left: gang ns/A, ns/p2\n"
                       "fits on the empty cluster"},
    {"mmmm", 1, 8, "", "fits if 1 pod and 1 gang of 4 pods left: gang ns/M, ns/p0\n"
                       "fits on the empty cluster"},
    /* pods of DaemonSets stay */
    {"dddd", 1, 8, "", "would not fit on the empty cluster either"},
    {"d8d8", 2, 8, "", "fits if 2 pods left: ns/p1, ns/p3\nfits on the empty cluster"},
};

static void answers_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *world = make_world(cases[i].nodes);
        char texts[4096];
        struct why why;

        ask_for(world, cases[i].pods, cases[i].gpus, cases[i].required, "");
        assert_int_equal(core_why(world->core, the_gang(world, "g"), &why), 0);
        texts_of(&why, texts, sizeof(texts));
        if (strcmp(texts, cases[i].expected) != 0)
            fail_msg("%s, %d pods of %d, required '%s': found\n%s\nexpected\n%s", cases[i].nodes,
                     cases[i].pods, (int)cases[i].gpus, cases[i].required, texts,
                     cases[i].expected);
        assert_true(why.plans <= WHY_PLANS_MAX);
        why_release(&why);
        free_world(world);
    }
}

/* ---- asking ------------------------------------------------------------------------------------------- */

static void asking_changes_nothing(void **state)
{
    struct world *world = make_world("AAoo8mm..4");
    const struct cluster *cluster = core_cluster(world->core);
    struct resources before[10][2];
    struct why why;

    (void)state;
    ask_for(world, 9, 8, "", "");
    for (size_t i = 0; i < 10; i++) {
        before[i][0] = cluster->nodes[i]->used;
        before[i][1] = cluster->nodes[i]->held;
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(core_why(world->core, the_gang(world, "g"), &why), 0);
        assert_string_equal(why.items[0].text, "fits with 2 pods instead of 9");
        assert_int_equal(why.n, 3);
        why_release(&why);
    }
    for (size_t i = 0; i < 10; i++) {
        assert_memory_equal(&before[i][0], &cluster->nodes[i]->used, sizeof(struct resources));
        assert_memory_equal(&before[i][1], &cluster->nodes[i]->held, sizeof(struct resources));
    }
    assert_int_equal(the_gang(world, "g")->state, GANG_WAITING);
    world_check(world);
    free_world(world);
}

static void there_is_no_answer_for_who_does_not_wait_for_room(void **state)
{
    struct world *world = make_world("..");
    struct why why;

    (void)state;
    add_gang(world, "placed", 2, 2);
    put_pod(world, make_pod("odd-0", 8, "odd", 0)); /* nothing says how many it has */
    assert_int_equal(core_why(world->core, the_gang(world, "placed"), &why), 0);
    assert_int_equal(why.n, 0);
    assert_int_equal(core_why(world->core, the_gang(world, "odd"), &why), 0);
    assert_int_equal(why.n, 0);
    assert_int_equal(why.plans, 0);
    free_world(world);
}

static void put_unlike(struct world *world, const char *name, int64_t gpus, int size, const char *required)
{
    struct obj_pod *pod = make_pod(name, gpus, "g", size);

    set_text(&pod->wish.required, required);
    put_pod(world, pod);
}

/* A leader of 4 GPUs and workers of a node each, required on a rack of two nodes. */
static void of_unlike_pods_too_it_is_told_what_plans_prove(void **state)
{
    static const struct {
        const char *nodes;
        int workers;
        const char *expected;
    } mixed[] = {
        {"....", 2, "would not fit on the empty cluster either\n"
                    "fits with required=block instead of required=rack\n"
                    "fits with preferred=rack instead of required=rack"},
        {".8.8", 1, "fits with required=block instead of required=rack\n"
                    "fits with preferred=rack instead of required=rack\n"
                    "fits if 1 pod left: ns/p3\nfits on the empty cluster"},
        {"8888", 1, "fits if 2 pods left: ns/p2, ns/p3\nfits on the empty cluster"},
        {"AA88", 1, "fits if 2 pods left: ns/p2, ns/p3\nfits on the empty cluster"},
        {"A.4A", 1, "fits with required=block instead of required=rack\n"
                    "fits with preferred=rack instead of required=rack\nfits if 1 gang of 2 pods left: gang ns/A\nfits on the empty cluster"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(mixed) / sizeof(mixed[0]); i++) {
        struct world *world = make_world(mixed[i].nodes);
        char texts[4096], name[32];
        struct why why;

        put_unlike(world, "leader", 4, mixed[i].workers + 1, "rack");
        for (int k = 0; k < mixed[i].workers; k++) {
            snprintf(name, sizeof(name), "worker-%d", k);
            put_unlike(world, name, 8, mixed[i].workers + 1, "rack");
        }
        assert_int_equal(core_why(world->core, the_gang(world, "g"), &why), 0);
        texts_of(&why, texts, sizeof(texts));
        assert_string_equal(texts, mixed[i].expected);
        why_release(&why);
        world_check(world);
        free_world(world);
    }
}

/* It is not bound yet: what it holds goes with it. */
static void a_planned_gang_leaves_with_its_holds(void **state)
{
    struct world *world = make_world("...");
    struct why why;

    (void)state;
    add_gang(world, "first", 2, 2);
    assert_int_equal(the_gang(world, "first")->state, GANG_PLANNED);
    ask_for(world, 3, 8, "", "");
    assert_int_equal(core_why(world->core, the_gang(world, "g"), &why), 0);
    assert_int_equal(why.nleavers, 1);
    assert_true(why.leavers[0].is_gang);
    assert_string_equal(why.leavers[0].name, "ns/first");
    why_release(&why);
    drop_pod(world, "first-0");
    assert_int_equal(the_gang(world, "g")->state, GANG_WAITING);
    drop_pod(world, "first-1");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    free_world(world);
}

/* A thousand nodes of two ordinary pods each: who leaves is found in bounded work, and is the fewest. */
static void many_nodes_are_searched_too(void **state)
{
    struct world *world = new_world(1000, 100, 10);
    struct why why;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        char node[16], name[32];

        snprintf(node, sizeof(node), "n%d", i);
        for (int k = 0; k < (i % 10 == 3 ? 1 : 2); k++) {
            snprintf(name, sizeof(name), "p%d-%d", i, k);
            use_node(world, node, name, 4);
        }
    }
    sync_world(world);
    ask_for(world, 150, 8, "", "");
    assert_int_equal(core_why(world->core, the_gang(world, "g"), &why), 0);
    assert_int_equal(why.n, 2);
    assert_int_equal(why.items[0].change, WHY_LEAVE);
    assert_int_equal(why.items[0].pods, 100 + 2 * 50);
    why_release(&why);
    free_world(world);
}

/* ---- told with the reason ----------------------------------------------------------------------------- */

static bool tells(const struct action *action, const char *text)
{
    return action && strstr(action->body ? action->body : action->text, text);
}

static void it_is_told_when_the_reason_has_stood(void **state)
{
    struct world *world = make_world("...8");

    (void)state;
    ask_for(world, 4, 8, "", "");
    assert_true(tells(find_action(world, ACT_PLACEMENT, NULL), "\"wouldFit\":null"));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    pass_time(world, SECOND);
    assert_true(tells(find_action(world, ACT_POD_EVENT, "g-0"),
                      "; fits with 3 pods instead of 4; fits if 1 pod left: ns/p3"));
    pass_time(world, SECOND);
    assert_true(tells(find_action(world, ACT_PLACEMENT, NULL),
                      "\"wouldFit\":[\"fits with 3 pods instead of 4\",\"fits if 1 pod left: ns/p3\"]"));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    pass_time(world, 3600 * SECOND); /* nothing changes: nothing is written */
    assert_null(find_action(world, ACT_PLACEMENT, NULL));
    free_world(world);
}

/* Other numbers: what was told is not said any more, and asked again, but not at once. */
static void another_reason_is_asked_about_anew(void **state)
{
    struct world *world = make_world("..88");

    (void)state;
    ask_for(world, 4, 8, "", "");
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    pass_time(world, 2 * SECOND);
    assert_true(tells(find_action(world, ACT_PLACEMENT, NULL), "fits with 2 pods instead of 4"));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    drop_pod(world, "p3");
    pass_time(world, SECOND);
    assert_true(tells(find_action(world, ACT_PLACEMENT, NULL), "\"wouldFit\":null"));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    pass_time(world, 30 * SECOND);
    assert_true(tells(find_action(world, ACT_PLACEMENT, NULL), "fits with 3 pods instead of 4"));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    drop_pod(world, "p2");
    pass_time(world, SECOND);
    assert_true(tells(find_action(world, ACT_PLACEMENT, NULL), "\"wouldFit\":null"));
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    free_world(world);
}

/* The reason's numbers stay, and yet another pod would have to leave by now. */
static void the_same_reason_is_asked_about_again_when_room_came_and_went(void **state)
{
    struct world *world = make_world("...8");
    struct event gone = {.kind = EV_POD_GONE, .uid = "p3"}, come = {.kind = EV_POD};

    (void)state;
    ask_for(world, 4, 8, "", "");
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    pass_time(world, 2 * SECOND);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    come.object.pod = make_pod("q3", 8, "", 0);
    set_text(&come.object.pod->node, "n3");
    come.object.pod->phase = POD_RUNNING;
    core_step(world->core, &gone, world->now_ns, &world->actions); /* one batch */
    world_step(world, come);
    assert_true(core_deadline(world->core) <= world->now_ns + 30 * SECOND);
    pass_time(world, 30 * SECOND);
    assert_true(tells(find_action(world, ACT_PLACEMENT, NULL), "fits if 1 pod left: ns/q3"));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    assert_true(core_deadline(world->core) > world->now_ns + 3600 * SECOND);
    free_world(world);
}

/* A question takes its time on a large cluster: the next gang's comes later, its Event does not. */
static void one_gang_is_asked_about_at_a_time(void **state)
{
    struct world *world = make_world("8888");

    (void)state;
    add_gang(world, "a", 1, 1);
    add_gang(world, "b", 1, 1);
    pass_time(world, SECOND);
    assert_non_null(find_action(world, ACT_POD_EVENT, "a-0"));
    assert_non_null(find_action(world, ACT_POD_EVENT, "b-0"));
    assert_int_not_equal(!the_gang(world, "a")->would_fit[0], !the_gang(world, "b")->would_fit[0]);
    assert_true(core_deadline(world->core) <= world->now_ns + SECOND);
    pass_time(world, SECOND);
    assert_non_null(the_gang(world, "a")->would_fit[0]);
    assert_non_null(the_gang(world, "b")->would_fit[0]);
    free_world(world);
}

/* ---- what is certified of a gang that has places ------------------------------------------------------ */

static void a_gang_that_runs_is_certified_against_the_cluster_as_it_is(void **state)
{
    struct world *world = make_world("A8A8..8888"); /* racks of two nodes: the gang is on two of them */
    struct plan_level_use use[PLAN_LEVELS_MAX + 1];
    const struct gang *gang = the_gang(world, "A");

    (void)state;
    assert_int_equal(gang->use[1].used, 2);
    assert_int_equal(core_certify(world->core, gang, use), 0);
    assert_int_equal(use[1].lower_bound, 1);
    assert_int_equal(use[2].lower_bound, 2);
    use_node(world, "n4", "late", 8);
    assert_int_equal(core_certify(world->core, gang, use), 0);
    assert_int_equal(use[1].lower_bound, 2);
    assert_int_equal(gang->state, GANG_RUNNING);
    world_check(world);
    free_world(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_in_words),
        cmocka_unit_test(asking_changes_nothing),
        cmocka_unit_test(there_is_no_answer_for_who_does_not_wait_for_room),
        cmocka_unit_test(a_planned_gang_leaves_with_its_holds),
        cmocka_unit_test(of_unlike_pods_too_it_is_told_what_plans_prove),
        cmocka_unit_test(many_nodes_are_searched_too),
        cmocka_unit_test(it_is_told_when_the_reason_has_stood),
        cmocka_unit_test(another_reason_is_asked_about_anew),
        cmocka_unit_test(the_same_reason_is_asked_about_again_when_room_came_and_went),
        cmocka_unit_test(one_gang_is_asked_about_at_a_time),
        cmocka_unit_test(a_gang_that_runs_is_certified_against_the_cluster_as_it_is),
    };

    return cmocka_run_group_tests_name("why", tests, NULL, NULL);
}
