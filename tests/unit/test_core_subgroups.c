/* Gangs whose pods are in subgroups: where those are planned, why they are not, who comes again. */
#include "tests/unit/world.h"

/* Two blocks of two racks of two nodes. */
static int open_world(void **state)
{
    struct world *world = new_world(8, 4, 2);

    sync_world(world);
    *state = world;
    return 0;
}

static struct obj_pod *make_part(const char *name, int64_t gpus, int size, const char *subgroup, const char *within,
                                 const char *spread)
{
    struct obj_pod *pod = make_pod(name, gpus, "g", size);

    set_text(&pod->wish.subgroup, subgroup);
    set_text(&pod->wish.within, within);
    set_text(&pod->wish.spread, spread);
    return pod;
}

static void put_part(struct world *world, const char *name, int64_t gpus, int size, const char *subgroup,
                     const char *within, const char *spread)
{
    put_pod(world, make_part(name, gpus, size, subgroup, within, spread));
}

static int node_of(const struct world *world, const char *name)
{
    assert_string_not_equal(planned(world, name), "");
    return (int)strtol(planned(world, name) + 1, NULL, 10);
}

static int rack_of(const struct world *world, const char *name)
{
    return node_of(world, name) / 2;
}

static int block_of(const struct world *world, const char *name)
{
    return node_of(world, name) / 4;
}

static void bind_all(struct world *world, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        vote(world, names[i], planned(world, names[i]));
    while (count_actions(world, ACT_PLACEMENT) > 0 && count_actions(world, ACT_BIND) == 0)
        answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    answer_writes(world, ACT_BIND, WRITE_OK);
    assert_int_equal(the_gang(world, "g")->state, GANG_BOUND);
}

static void each_subgroup_stays_in_its_domain(void **state)
{
    struct world *world = *state;

    put_part(world, "a-0", 8, 4, "a", "rack", "");
    put_part(world, "b-0", 8, 4, "b", "rack", "");
    put_part(world, "a-1", 8, 4, "a", "rack", "");
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_MEMBERS_MISSING);
    put_part(world, "b-1", 8, 4, "b", "rack", "");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    assert_int_equal(rack_of(world, "a-0"), rack_of(world, "a-1"));
    assert_int_equal(rack_of(world, "b-0"), rack_of(world, "b-1"));
    assert_int_equal(block_of(world, "a-0"), block_of(world, "b-0")); /* and all in as few blocks as may be */
    assert_true(the_gang(world, "g")->use[0].proven);
}

static void what_is_to_be_apart_is_apart(void **state)
{
    struct world *world = *state;

    put_part(world, "leader", 1, 5, "", "", "");
    put_part(world, "a-0", 2, 5, "a", "node", "block");
    put_part(world, "a-1", 2, 5, "a", "node", "block");
    put_part(world, "b-0", 2, 5, "b", "node", "block");
    put_part(world, "b-1", 2, 5, "b", "node", "block");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    assert_int_equal(node_of(world, "a-0"), node_of(world, "a-1"));
    assert_int_equal(node_of(world, "b-0"), node_of(world, "b-1"));
    assert_int_not_equal(block_of(world, "a-0"), block_of(world, "b-0"));
    assert_string_equal(the_gang(world, "g")->slots[0].pod->object->name, "leader"); /* those in none come first */
    assert_string_equal(the_gang(world, "g")->slots[1].pod->object->wish.subgroup,
                        the_gang(world, "g")->slots[2].pod->object->wish.subgroup);
}

static void a_reason_tells_how_many_fit(void **state)
{
    struct world *world = *state;

    put_part(world, "a-0", 2, 3, "a", "", "block");
    put_part(world, "b-0", 2, 3, "b", "", "block");
    put_part(world, "c-0", 2, 3, "c", "", "block");
    assert_int_equal(the_gang(world, "g")->state, GANG_WAITING);
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_NO_DOMAIN_FITS);
    assert_non_null(strstr(the_gang(world, "g")->reason.text, "2 of 3 subgroups like "));
    assert_non_null(strstr(the_gang(world, "g")->reason.text, "spread=block"));
    add_node(world, "n8", "third", "r8");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

static void expect_reason(struct world *world, enum reason_code code, const char *text)
{
    assert_int_equal(the_gang(world, "g")->reason.code, code);
    if (!strstr(the_gang(world, "g")->reason.text, text))
        fail_msg("'%s' does not say '%s'", the_gang(world, "g")->reason.text, text);
}

static void contradictions_are_told(void **state)
{
    struct world *world = *state;

    put_part(world, "a-0", 2, 2, "a", "rack", "");
    put_part(world, "a-1", 2, 2, "a", "block", "");
    expect_reason(world, REASON_UNSUPPORTED, "pods of subgroup a disagree");
    drop_pod(world, "a-0");
    drop_pod(world, "a-1");
    put_part(world, "a-0", 2, 1, "a", "row", "");
    expect_reason(world, REASON_UNKNOWN_LEVEL, "level 'row' is none");
    drop_pod(world, "a-0");
    put_part(world, "a-0", 2, 1, "a", "block", "rack");
    expect_reason(world, REASON_UNSUPPORTED, "is outside of spread=rack");
    put_part(world, "a-0", 2, 1, "a", "rack", "block"); /* it is edited */
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

static void a_label_alone_changes_nothing(void **state)
{
    struct world *world = *state;

    put_part(world, "a-0", 8, 2, "a", "", "");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED); /* before the other one is there */
    put_part(world, "a-1", 8, 2, "a", "", "");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    assert_string_not_equal(the_gang(world, "g")->shape_key, "");
}

/* In Planned the place of a pod of the other subgroup is not for it, though it asks for the same. */
static void who_comes_again_takes_a_place_of_its_subgroup(void **state)
{
    struct world *world = *state;
    int was;

    for (int i = 0; i < 4; i++) {
        char name[8];

        snprintf(name, sizeof(name), "%c-%d", "ab"[i / 2], i % 2);
        put_part(world, name, 8, 4, i < 2 ? "a" : "b", "", "block");
    }
    was = block_of(world, "b-1");
    drop_pod(world, "a-1");
    drop_pod(world, "b-1");
    put_part(world, "b-2", 8, 4, "b", "", "block");
    put_part(world, "a-2", 8, 4, "a", "", "block");
    assert_int_equal(block_of(world, "b-2"), was);
    assert_int_not_equal(block_of(world, "a-2"), was);
}

static void a_replacement_stays_with_its_subgroup(void **state)
{
    static const char *const names[] = {"a-0", "a-1", "b-0", "b-1"};
    struct world *world = *state;
    char node[NAME_TEXT];
    int rack;

    for (size_t i = 0; i < 4; i++)
        put_part(world, names[i], 8, 4, i < 2 ? "a" : "b", "rack", "block");
    rack = rack_of(world, "b-0");
    snprintf(node, sizeof(node), "%s", planned(world, "b-1"));
    bind_all(world, names, 4);
    drop_pod(world, "b-1");
    use_node(world, node, "stranger", 8); /* and its rack is full now */
    put_part(world, "b-2", 8, 4, "b", "rack", "block");
    assert_string_equal(planned(world, "b-2"), "");
    drop_pod(world, "stranger");
    pass_time(world, 60 * SECOND);
    assert_int_equal(rack_of(world, "b-2"), rack);
}

/* All of it are gone: it comes again anywhere but where the other one is. */
static void a_subgroup_that_comes_again_stays_apart(void **state)
{
    static const char *const names[] = {"a-0", "b-0"};
    struct world *world = *state;
    int block;

    put_part(world, "a-0", 8, 2, "a", "", "block");
    put_part(world, "b-0", 8, 2, "b", "", "block");
    block = block_of(world, "b-0");
    bind_all(world, names, 2);
    drop_pod(world, "b-0");
    for (int i = 0; i < 4; i++) {
        char node[8], name[16];

        snprintf(node, sizeof(node), "n%d", 4 * block + i);
        snprintf(name, sizeof(name), "use-%d", i);
        use_node(world, node, name, 8);
    }
    put_part(world, "b-1", 8, 2, "b", "", "block");
    assert_string_equal(planned(world, "b-1"), "");
    drop_pod(world, "use-3");
    pass_time(world, 60 * SECOND);
    assert_int_equal(node_of(world, "b-1"), 4 * block + 3);
}

/* What is stored says which nodes, not which subgroup's: three pods fit where three places are. */
static void a_restart_finishes_each_subgroup_where_it_was_planned(void **state)
{
    static const char *const names[] = {"a-0", "b-0", "b-1", "b-2"};
    static const char *const nodes[] = {"n4", "n0", "n1", "n2"};
    struct world *world = new_world(8, 4, 2);
    struct obj_placement *placement = calloc(1, sizeof(*placement));

    (void)state;
    for (size_t i = 0; i < 4; i++)
        put_part(world, names[i], 8, 4, i == 0 ? "a" : "b", "", "block");
    *placement = (struct obj_placement){.ns = strdup("ns"), .name = strdup("g"), .uid = strdup("u"),
                                        .gang_kind = strdup("Gang"), .gang_name = strdup("g"),
                                        .state = strdup("Binding"), .reason_code = strdup(""),
                                        .generation = 1, .pods = 4, .nshares = 4};
    placement->shares = calloc(4, sizeof(struct placement_share));
    for (int i = 0; i < 4; i++) /* the ranks of b come first */
        placement->shares[i] = (struct placement_share){strdup(nodes[(i + 1) % 4]), i, 1, NULL};
    world_step(world, (struct event){.kind = EV_PLACEMENT, .object.placement = placement});
    sync_world(world);
    assert_int_equal(count_actions(world, ACT_BIND), 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(find_action(world, ACT_BIND, names[i])->node, nodes[i]);
    world_close(world);
    free(world);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(each_subgroup_stays_in_its_domain),
        CASE(what_is_to_be_apart_is_apart),
        CASE(a_reason_tells_how_many_fit),
        CASE(contradictions_are_told),
        CASE(a_label_alone_changes_nothing),
        CASE(who_comes_again_takes_a_place_of_its_subgroup),
        CASE(a_replacement_stays_with_its_subgroup),
        CASE(a_subgroup_that_comes_again_stays_apart),
        CASE(a_restart_finishes_each_subgroup_where_it_was_planned),
    };

    return cmocka_run_group_tests_name("core_subgroups", tests, NULL, NULL);
}
