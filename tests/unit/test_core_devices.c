/* Accelerators by their numbers: which ones a gang's pods get, who has which, what is stamped and taken over. */
#include "tests/unit/world.h"

/* Eight V100 of which 0 and 4, 1 and 5, ... have two links more than the others. */
static struct obj_machine *make_machine(const char *name, uint8_t links)
{
    struct obj_machine *object = calloc(1, sizeof(*object));
    struct machine *machine = &object->machine;

    object->name = strdup(name);
    machine->ngpus = 8;
    machine->fabric = FABRIC_MESH;
    for (uint32_t a = 0; a < 8; a++) {
        machine->gpus[a] = (struct machine_gpu){.sm = 70, .numa = -1, .bridge = -1};
        for (uint32_t b = 0; b < 8; b++) {
            uint8_t joined = (uint8_t)(links + (a % 4 == b % 4) * 2);

            machine->link[a][b] = (struct machine_link){LINK_NVLINK, joined, (float)joined * 25};
        }
    }
    return object;
}

/* The same on two NUMA nodes, 0 to 3 and 4 to 7, between which kubelet divides no pod. */
static void add_aligned_machine(struct world *world, const char *name)
{
    struct obj_machine *object = make_machine(name, 1);

    object->machine.nnuma = 2;
    object->machine.numa[0] = (struct machine_numa){.os_index = 0, .cpus = 16};
    object->machine.numa[1] = (struct machine_numa){.os_index = 1, .cpus = 16};
    object->machine.numa_policy = NUMA_POLICY_SINGLE;
    object->machine.own_cpus = true;
    for (uint32_t i = 0; i < 8; i++)
        object->machine.gpus[i].numa = i >= 4;
    world_step(world, (struct event){.kind = EV_MACHINE, .object.machine = object});
}

static void add_machine(struct world *world, const char *node, uint8_t links)
{
    world_step(world, (struct event){.kind = EV_MACHINE, .object.machine = make_machine(node, links)});
}

static struct world *world_of_machines(int nodes)
{
    struct world *world = new_world(nodes, 4, 2);

    for (int i = 0; i < nodes; i++) {
        char name[16];

        snprintf(name, sizeof(name), "n%d", i);
        add_machine(world, name, 1);
    }
    sync_world(world);
    return world;
}

static int open_world(void **state)
{
    *state = world_of_machines(4);
    return 0;
}

static void add_small_gang(struct world *world, const char *gang, int64_t gpus, int size)
{
    for (int i = 0; i < size; i++) {
        char name[64];

        snprintf(name, sizeof(name), "%s-%d", gang, i);
        put_pod(world, make_pod(name, gpus, gang, size));
    }
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
}

/* The whole gang votes and is bound; the list of actions keeps its bindings. */
static void bind_gang(struct world *world, const char *gang, int size)
{
    for (int i = 0; i < size; i++) {
        char name[64];

        snprintf(name, sizeof(name), "%s-%d", gang, i);
        vote(world, name, planned(world, name));
    }
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
}

static void show_bound(struct world *world, const char *gang, int64_t gpus, int size, int i,
                       const char *node)
{
    char name[64];
    struct obj_pod *pod;

    snprintf(name, sizeof(name), "%s-%d", gang, i);
    pod = make_pod(name, gpus, gang, size);
    set_text(&pod->node, node);
    pod->phase = POD_RUNNING;
    put_pod(world, pod);
}

static void assert_stamp(struct world *world, const char *uid, const char *expected)
{
    const struct action *bind = find_action(world, ACT_BIND, uid);

    assert_non_null(bind);
    if (!strstr(bind->body, expected))
        fail_msg("%s is stamped %s, not %s", uid, bind->body, expected);
}

static void each_pod_gets_the_best_set_that_is_free(void **state)
{
    struct world *world = *state;

    add_small_gang(world, "g", 2, 3);
    bind_gang(world, "g", 3);
    assert_stamp(world, "g-0", "\"lockstep.dev/gpus\":\"0,4\"");
    assert_stamp(world, "g-1", "\"lockstep.dev/gpus\":\"1,5\"");
    assert_stamp(world, "g-2", "\"lockstep.dev/gpus\":\"2,6\"");
    assert_stamp(world, "g-2", "\"lockstep.dev/gpus-are\":\"predicted\"");
}

static void whole_nodes_are_exact(void **state)
{
    struct world *world = *state;

    add_small_gang(world, "g", 8, 1);
    bind_gang(world, "g", 1);
    assert_stamp(world, "g-0", "\"lockstep.dev/gpus\":\"0-7\"");
    assert_stamp(world, "g-0", "\"lockstep.dev/gpus-are\":\"exact\"");
}

static void what_a_gang_has_another_does_not_get(void **state)
{
    struct world *world = *state;

    add_small_gang(world, "a", 2, 1);
    bind_gang(world, "a", 1);
    answer_writes(world, ACT_BIND, WRITE_OK);
    show_bound(world, "a", 2, 1, 0, "n0");
    add_small_gang(world, "b", 2, 1);
    assert_string_equal(planned(world, "b-0"), "n0");
    bind_gang(world, "b", 1);
    assert_stamp(world, "b-0", "\"lockstep.dev/gpus\":\"1,5\"");
    answer_writes(world, ACT_BIND, WRITE_OK);
    show_bound(world, "b", 2, 1, 0, "n0");
    drop_pod(world, "a-0");
    add_small_gang(world, "c", 4, 1);
    bind_gang(world, "c", 1);
    assert_stamp(world, "c-0", "\"lockstep.dev/gpus\":\"0,2,4,6\"");
}

static void beside_strangers_they_are_not_known(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 4; i++) {
        char node[16], name[32];

        snprintf(node, sizeof(node), "n%d", i);
        snprintf(name, sizeof(name), "stranger-%d", i);
        use_node(world, node, name, 1);
    }
    add_small_gang(world, "g", 2, 1);
    bind_gang(world, "g", 1);
    assert_non_null(find_action(world, ACT_BIND, "g-0"));
    assert_null(strstr(find_action(world, ACT_BIND, "g-0")->body, "gpus"));
}

static void of_nodes_in_as_few_domains_the_faster_ones_are_taken(void **state)
{
    struct world *world = *state;

    add_machine(world, "n3", 3);
    add_small_gang(world, "g", 2, 1);
    assert_string_equal(planned(world, "g-0"), "n3");
    add_small_gang(world, "h", 8, 2); /* one rack has two nodes with 8: the slower ones */
    assert_string_equal(planned(world, "h-0"), "n0");
    assert_string_equal(planned(world, "h-1"), "n1");
}

static void where_kubelet_aligns_sets_are_of_one_numa_node(void **state)
{
    struct world *world = new_world(2, 4, 2);

    (void)state;
    add_aligned_machine(world, "n0");
    add_aligned_machine(world, "n1");
    sync_world(world);
    add_small_gang(world, "g", 3, 3); /* by count two fit on each node, and so they do by NUMA node */
    bind_gang(world, "g", 3);
    assert_stamp(world, "g-0", "\"lockstep.dev/gpus\":\"0-2\"");
    assert_stamp(world, "g-1", "\"lockstep.dev/gpus\":\"4-6\"");
    add_small_gang(world, "h", 2, 2); /* 3 and 7 are left on n0: not of one */
    assert_string_equal(planned(world, "h-0"), "n1");
    assert_string_equal(planned(world, "h-1"), "n1");
    world_close(world);
    free(world);
}

static void who_fits_on_no_numa_node_waits(void **state)
{
    struct world *world = new_world(2, 4, 2);

    (void)state;
    add_aligned_machine(world, "n0");
    add_aligned_machine(world, "n1");
    sync_world(world);
    add_small_gang(world, "g", 5, 1);
    assert_string_equal(planned(world, "g-0"), "");
    assert_int_equal(the_gang(world, "g")->state, GANG_WAITING);
    assert_string_equal(the_gang(world, "g")->reason.text,
                        "0 of 1 pods of 5 nvidia.com/gpu fit: 0 of 2 nodes have room, 2 are full, 0 do not match; "
                        "on 2 of those no NUMA node has enough for one, as kubelet wants");
    world_close(world);
    free(world);
}

/* The status that was written last, given to a second core as what the API server has. */
static struct obj_placement *stored(const char *gpus, int pods)
{
    struct obj_placement *placement = calloc(1, sizeof(*placement));

    *placement = (struct obj_placement){.ns = strdup("ns"), .name = strdup("g"), .uid = strdup("u"),
                                        .gang_kind = strdup("Gang"), .gang_name = strdup("g"),
                                        .state = strdup("Bound"), .reason_code = strdup(""),
                                        .generation = 1, .pods = pods, .nshares = 1, .since_s = 100};
    placement->shares = calloc(1, sizeof(struct placement_share));
    placement->shares[0] = (struct placement_share){strdup("n0"), 0, pods, strdup(gpus)};
    return placement;
}

static void the_plan_is_stored_with_them(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++)
        put_pod(world, make_pod(i ? "g-1" : "g-0", 2, "g", 2));
    assert_non_null(find_action(world, ACT_PLACEMENT, NULL));
    assert_non_null(strstr(find_action(world, ACT_PLACEMENT, NULL)->body, "\"gpus\":\"0,4 1,5\""));
}

static void a_restart_takes_them_over(void **state)
{
    struct world *world = new_world(1, 4, 2);

    (void)state;
    add_machine(world, "n0", 1);
    show_bound(world, "g", 2, 2, 0, "n0");
    show_bound(world, "g", 2, 2, 1, "n0");
    world_step(world, (struct event){.kind = EV_PLACEMENT, .object.placement = stored("1,5 0,4", 2)});
    sync_world(world);
    add_small_gang(world, "h", 2, 1);
    bind_gang(world, "h", 1);
    assert_stamp(world, "h-0", "\"lockstep.dev/gpus\":\"2,6\"");
    world_close(world);
    free(world);
}

/* The body of the last GangPlacement that is written. */
static const char *last_record(const struct world *world)
{
    for (size_t i = world->actions.n; i-- > 0;)
        if (world->actions.items[i].kind == ACT_PLACEMENT)
            return world->actions.items[i].body;
    return "";
}

static void a_restart_foretells_the_same(void **state)
{
    struct world *world = new_world(1, 4, 2);

    (void)state;
    add_machine(world, "n0", 1);
    show_bound(world, "g", 2, 1, 0, "n0");
    world_step(world, (struct event){.kind = EV_PLACEMENT, .object.placement = stored("0,4", 1)});
    sync_world(world);
    assert_non_null(strstr(last_record(world), "\"predictedBusBandwidth\":\""));
    world_close(world);
    free(world);
}

/* And the worker's set is stored beside one that is not known. */
static void who_has_none_is_no_part_of_the_forecast(void **state)
{
    struct world *world = *state;

    put_pod(world, make_pod("g-0", 0, "g", 2));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK); /* of the plan for two of that kind */
    put_pod(world, make_pod("g-1", 2, "g", 2));
    assert_non_null(strstr(last_record(world), "\"predictedBusBandwidth\":\""));
    assert_true(strstr(last_record(world), "\"gpus\":\"- 0,4\"") || strstr(last_record(world), "\"gpus\":\"0,4 -\""));
}

static void a_launcher_does_not_hide_the_worker_from_a_restart(void **state)
{
    struct world *world = new_world(1, 4, 2);

    (void)state;
    add_machine(world, "n0", 1);
    show_bound(world, "g", 0, 2, 0, "n0");
    show_bound(world, "g", 2, 2, 1, "n0");
    world_step(world, (struct event){.kind = EV_PLACEMENT, .object.placement = stored("- 0,4", 2)});
    sync_world(world);
    add_small_gang(world, "h", 2, 1);
    bind_gang(world, "h", 1);
    assert_stamp(world, "h-0", "\"lockstep.dev/gpus\":\"1,5\"");
    world_close(world);
    free(world);
}

static void what_is_stored_wrongly_is_not_known(void **state)
{
    static const char *const wrong[] = {"0,4 0,4", "0-2 3-4", "x", "0,4", "40 41", "0,4 "};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct world *world = new_world(1, 4, 2);

        add_machine(world, "n0", 1);
        show_bound(world, "g", 2, 2, 0, "n0");
        show_bound(world, "g", 2, 2, 1, "n0");
        world_step(world, (struct event){.kind = EV_PLACEMENT, .object.placement = stored(wrong[i], 2)});
        sync_world(world);
        add_small_gang(world, "h", 2, 1);
        bind_gang(world, "h", 1);
        assert_null(strstr(find_action(world, ACT_BIND, "h-0")->body, "gpus"));
        world_close(world);
        free(world);
    }
}

static void a_replacement_gets_what_its_predecessor_had(void **state)
{
    struct world *world = *state;

    add_small_gang(world, "g", 2, 2);
    bind_gang(world, "g", 2);
    answer_writes(world, ACT_BIND, WRITE_OK);
    show_bound(world, "g", 2, 2, 0, "n0");
    show_bound(world, "g", 2, 2, 1, "n0");
    drop_pod(world, "g-0");
    put_pod(world, make_pod("g-2", 2, "g", 2));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    vote(world, "g-2", "n0");
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    assert_stamp(world, "g-2", "\"lockstep.dev/gpus\":\"0,4\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_pod_gets_the_best_set_that_is_free, open_world, close_world),
        cmocka_unit_test_setup_teardown(whole_nodes_are_exact, open_world, close_world),
        cmocka_unit_test_setup_teardown(what_a_gang_has_another_does_not_get, open_world, close_world),
        cmocka_unit_test_setup_teardown(beside_strangers_they_are_not_known, open_world, close_world),
        cmocka_unit_test(where_kubelet_aligns_sets_are_of_one_numa_node),
        cmocka_unit_test(who_fits_on_no_numa_node_waits),
        cmocka_unit_test_setup_teardown(of_nodes_in_as_few_domains_the_faster_ones_are_taken, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(the_plan_is_stored_with_them, open_world, close_world),
        cmocka_unit_test(a_restart_takes_them_over),
        cmocka_unit_test(what_is_stored_wrongly_is_not_known),
        cmocka_unit_test(a_restart_foretells_the_same),
        cmocka_unit_test(a_launcher_does_not_hide_the_worker_from_a_restart),
        cmocka_unit_test_setup_teardown(who_has_none_is_no_part_of_the_forecast, open_world, close_world),
        cmocka_unit_test_setup_teardown(a_replacement_gets_what_its_predecessor_had, open_world, close_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
