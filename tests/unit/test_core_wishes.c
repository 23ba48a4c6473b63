/* A gang that waits is tried again when what it wishes for changes, though the cluster stays as it is. */
#include "tests/unit/world.h"

#define EPOCH_S 1000
#define NODES 4
#define ZONE "topology.kubernetes.io/zone"
#define CLIQUE "nvidia.com/gpu.clique"

static int open_world(void **state)
{
    struct world *world = new_world(NODES, NODES, NODES / 2);

    core_set_epoch(world->core, EPOCH_S);
    sync_world(world);
    *state = world;
    return 0;
}

static void see_group(struct world *world, int32_t min, const char *required, const char *preferred)
{
    struct obj_group *group = calloc(1, sizeof(*group));

    *group = (struct obj_group){.kind = GROUP_SIGS, .ns = strdup("ns"), .name = strdup("g"),
                                .uid = strdup("u"), .api_version = strdup(""), .min = min,
                                .required = strdup(required), .preferred = strdup(preferred),
                                .unsupported = strdup("")};
    world_step(world, (struct event){.kind = EV_GROUP, .object.group = group});
}

/* Pods of the PodGroup, of a node each. */
static void add_members(struct world *world, int n)
{
    for (int i = 0; i < n; i++) {
        char name[16];
        struct obj_pod *pod;

        snprintf(name, sizeof(name), "g-%d", i);
        pod = make_pod(name, 8, "", 0);
        pod->created_s = EPOCH_S + 1;
        pod->priority = 100;
        set_text(&pod->group_sigs, "g");
        put_pod(world, pod);
    }
}

static void expect_waiting(struct world *world, enum reason_code code)
{
    pass_time(world, 2 * SECOND); /* its reason was told: nothing else is due */
    assert_int_equal(the_gang(world, "g")->state, GANG_WAITING);
    assert_int_equal(the_gang(world, "g")->reason.code, code);
}

/* Elastic: more pods than must start together. As many start as there is room for, the rest when there is. */
static void a_gang_starts_with_what_fits_and_grows(void **state)
{
    struct world *world = *state;
    const struct gang *gang;
    char name[8];

    use_node(world, "n3", "other", 8);
    add_members(world, NODES);
    see_group(world, 2, "", "");
    gang = the_gang(world, "g");
    assert_int_equal(gang->state, GANG_PLANNED);
    assert_int_equal(gang->nslots, NODES - 1);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    for (int i = 0; i < NODES - 1; i++) {
        snprintf(name, sizeof(name), "g-%d", i);
        vote(world, name, planned(world, name));
    }
    while (count_actions(world, ACT_PLACEMENT) > 0)
        answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    answer_writes(world, ACT_BIND, WRITE_OK);
    assert_int_equal(gang->state, GANG_BOUND);
    assert_int_equal(gang->reason.code, REASON_NONE);
    assert_string_equal(planned(world, "g-3"), "");
    drop_pod(world, "other");
    pass_time(world, 3 * SECOND);
    assert_string_equal(planned(world, "g-3"), "n3");
}

static void below_its_min_a_gang_waits_whatever_more_pods_it_has(void **state)
{
    struct world *world = *state;

    use_node(world, "n2", "one", 8);
    use_node(world, "n3", "other", 8);
    see_group(world, 3, "", "");
    add_members(world, NODES);
    expect_waiting(world, REASON_INSUFFICIENT);
    assert_int_equal(the_gang(world, "g")->reason.pods, 3);
    assert_int_equal(the_gang(world, "g")->reason.fit, 2);
}

static void a_lower_min_of_its_pod_group_is_tried(void **state)
{
    struct world *world = *state;

    see_group(world, NODES + 1, "", "");
    add_members(world, NODES);
    expect_waiting(world, REASON_INSUFFICIENT);
    see_group(world, NODES, "", "");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

static void another_required_level_is_tried(void **state)
{
    struct world *world = *state;

    see_group(world, NODES, "rack", "");
    add_members(world, NODES);
    expect_waiting(world, REASON_NO_DOMAIN_FITS);
    see_group(world, NODES, "block", "");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

/* What it prefers decides nothing about room; that it is tried shows in what was remembered. */
static void another_preferred_level_is_tried(void **state)
{
    struct world *world = *state;

    see_group(world, NODES, "rack", "");
    add_members(world, NODES);
    expect_waiting(world, REASON_NO_DOMAIN_FITS);
    see_group(world, NODES, "rack", "block");
    assert_int_equal(the_gang(world, "g")->tried_wish.preferred_level, 0);
    expect_waiting(world, REASON_NO_DOMAIN_FITS);
}

static void see_job(struct world *world, int32_t parallelism)
{
    struct obj_job *job = calloc(1, sizeof(*job));

    *job = (struct obj_job){.ns = strdup("ns"), .name = strdup("g"), .uid = strdup("u"),
                            .parallelism = parallelism, .completions = -1};
    world_step(world, (struct event){.kind = EV_JOB, .object.job = job});
}

static void see_namespace(struct world *world, bool evict_allowed)
{
    struct obj_namespace *ns = calloc(1, sizeof(*ns));

    *ns = (struct obj_namespace){.name = strdup("ns"), .jobs_are_gangs = true,
                                 .evict_allowed = evict_allowed};
    world_step(world, (struct event){.kind = EV_NAMESPACE, .object.ns = ns});
}

static void a_lower_parallelism_of_its_job_is_tried(void **state)
{
    struct world *world = *state;
    struct obj_pod *pod = make_pod("g-0", 8, "", 0);

    see_namespace(world, false);
    see_job(world, NODES + 1);
    pod->owner.kind = OWNER_JOB;
    set_text(&pod->owner.name, "g");
    put_pod(world, pod);
    expect_waiting(world, REASON_INSUFFICIENT);
    see_job(world, NODES);
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

/* Only pods that are created anew end that. */
static void one_that_was_given_up_stays_given_up(void **state)
{
    struct world *world = *state;

    world->config.give_up_ns = 60 * SECOND;
    see_group(world, NODES, "rack", "");
    add_members(world, NODES);
    expect_waiting(world, REASON_NO_DOMAIN_FITS);
    pass_time(world, 60 * SECOND);
    expect_waiting(world, REASON_GAVE_UP);
    see_group(world, NODES, "block", "");
    expect_waiting(world, REASON_GAVE_UP);
}

/* ---- what others allow --------------------------------------------------------------------------- */

static void a_preemptor_hears_that_its_victims_may_go_now(void **state)
{
    struct world *world = *state;

    world->config.preemption = true;
    see_namespace(world, false);
    use_node(world, "n0", "x", 8);
    see_group(world, NODES, "", "");
    add_members(world, NODES);
    expect_waiting(world, REASON_INSUFFICIENT);
    pass_time(world, 60 * SECOND);
    see_namespace(world, true);
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_PREEMPTING);
    assert_non_null(find_action(world, ACT_EVICT, "x"));
}

/* ---- levels that the nodes carry ------------------------------------------------------------------ */

static void use_known_levels(struct world *world)
{
    free(world->config.levels[0]);
    free(world->config.levels[1]);
    world->config.levels[0] = NULL;
    world->config.nlevels = 0;
    core_free(world->core);
    world->core = core_new(&world->config);
    assert_non_null(world->core);
}

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

/* Two cliques of two nodes each, in a zone; "": the label is missing. */
static void see_nodes(struct world *world, const char *zone, bool cliques)
{
    for (int i = 0; i < NODES; i++) {
        char name[16];
        struct event event = {.kind = EV_NODE};
        struct obj_node *node;

        snprintf(name, sizeof(name), "n%d", i);
        event.object.node = node = make_node(name, "b0", "r0");
        if (zone[0])
            set_label(&node->labels, ZONE, zone);
        if (cliques)
            set_label(&node->labels, CLIQUE, i < NODES / 2 ? "c0" : "c1");
        qsort(node->labels.items, node->labels.n, sizeof(struct label), compare_labels);
        core_step(world->core, &event, world->now_ns, &world->actions);
    }
    pass_time(world, 0); /* all of it is news of one moment */
}

static void an_unknown_level_that_comes_is_noticed(void **state)
{
    struct world *world = *state;

    use_known_levels(world);
    see_nodes(world, "z", false);
    sync_world(world);
    see_group(world, 2, "nvlink-domain", "");
    add_members(world, 2);
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_UNKNOWN_LEVEL);
    see_nodes(world, "z", true);
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

/* The index of the level that it requires is another one's now. */
static void a_level_that_comes_is_not_taken_for_the_required_one(void **state)
{
    struct world *world = *state;

    use_known_levels(world);
    see_nodes(world, "", true);
    sync_world(world);
    see_group(world, 3, "nvlink-domain", "");
    add_members(world, 3);
    expect_waiting(world, REASON_NO_DOMAIN_FITS);
    see_nodes(world, "z", true);
    expect_waiting(world, REASON_NO_DOMAIN_FITS);
    assert_int_equal(the_gang(world, "g")->required_level, 1);
}

static void a_cluster_beyond_the_planners_limits_is_the_reason(void **state)
{
    struct world *world = *state;

    for (int i = 0; i <= PLAN_NODES_MAX - NODES; i++) { /* a settling and a check of each would take hours */
        char name[16];
        struct event event = {.kind = EV_NODE};

        snprintf(name, sizeof(name), "x%06d", i);
        event.object.node = make_node(name, "b0", "r0");
        core_step(world->core, &event, world->now_ns, &world->actions);
    }
    add_gang(world, "g", 1, 1);
    expect_waiting(world, REASON_UNSUPPORTED);
    assert_non_null(strstr(the_gang(world, "g")->reason.text, "a cluster of 200001 nodes"));
    drop_node(world, "x000000");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

static void without_any_node_there_is_no_room(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < NODES; i++) {
        char name[16];

        snprintf(name, sizeof(name), "n%d", i);
        drop_node(world, name);
    }
    add_gang(world, "g", 1, 1);
    expect_waiting(world, REASON_INSUFFICIENT);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(a_gang_starts_with_what_fits_and_grows),
        CASE(below_its_min_a_gang_waits_whatever_more_pods_it_has),
        CASE(a_lower_min_of_its_pod_group_is_tried),
        CASE(another_required_level_is_tried),
        CASE(another_preferred_level_is_tried),
        CASE(a_lower_parallelism_of_its_job_is_tried),
        CASE(one_that_was_given_up_stays_given_up),
        CASE(a_preemptor_hears_that_its_victims_may_go_now),
        CASE(an_unknown_level_that_comes_is_noticed),
        CASE(a_level_that_comes_is_not_taken_for_the_required_one),
        CASE(a_cluster_beyond_the_planners_limits_is_the_reason),
        CASE(without_any_node_there_is_no_room),
    };

    return cmocka_run_group_tests_name("core_wishes", tests, NULL, NULL);
}
