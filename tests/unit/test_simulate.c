/* lockstep simulate: waits that can be computed by hand, by each policy. */
#include <math.h>

#include "base/strbuf.h"
#include "scheduler/simulate/simulate.h"
#include "scheduler/simulate/trace_make.h"
#include "tests/unit/world.h"

#define HEAD "name,submit_s,duration_s,pods,gpus,priority,required\n"
#define GANGS_MAX 8
#define NEVER (-1)

struct simulated {
    struct world *world;
    struct sim_cluster cluster;
    struct trace_file trace;
    struct simulation simulation;
    struct sim_result result;
};

/* Four nodes of 8: n0 and n1 in rack r0, n2 and n3 in rack r1. */
static void open_simulated(struct simulated *simulated, const char *text, bool keep_nodes)
{
    struct trace_levels levels;
    struct err err = ERR_INIT;

    *simulated = (struct simulated){.world = new_world(4, 4, 2)};
    sim_config(&simulated->world->config);
    if (sim_cluster_init(&simulated->cluster, simulated->world->core, &simulated->world->config,
                         &err) < 0)
        fail_msg("%s", err.text);
    levels = (struct trace_levels){simulated->cluster.levels, simulated->cluster.nlevels};
    if (trace_file_parse("t", text, strlen(text), &levels, &simulated->trace, &err) < 0)
        fail_msg("%s", err.text);
    simulated->simulation = (struct simulation){.cluster = &simulated->cluster,
                                                .trace = &simulated->trace,
                                                .config = &simulated->world->config,
                                                .core = simulated->world->core,
                                                .keep_nodes = keep_nodes};
    if (sim_bounds(&simulated->simulation, &err) < 0)
        fail_msg("%s", err.text);
}

static void run(struct simulated *simulated, const char *policy)
{
    struct err err = ERR_INIT;

    if (sim_run(&simulated->simulation, policy, &simulated->result, &err) < 0)
        fail_msg("%s: %s", policy, err.text);
    world_check(simulated->world);
}

static void close_simulated(struct simulated *simulated)
{
    sim_result_release(&simulated->result);
    free(simulated->simulation.bounds);
    trace_file_release(&simulated->trace);
    sim_cluster_release(&simulated->cluster);
    world_close(simulated->world);
    free(simulated->world);
}

/* What each gang waits, in order of submission, in seconds; all policies agree. */
static const struct {
    const char *what, *trace;
    int64_t waits[GANGS_MAX];
} cases[] = {
    {"all fit at once", HEAD "a,0,100,2,8,,\nb,0,100,2,8,,\n", {0, 0}},
    {"what ends at a moment makes room for what is submitted then",
     HEAD "a,0,100,4,8,,\nb,100,100,4,8,,\n", {0, 0}},
    {"a smaller one passes one that does not fit", /* b waits for a; c takes the fourth node */
     HEAD "a,0,500,3,8,,\nb,10,100,2,8,,\nc,20,100,1,8,,\n", {0, 490, 0}},
    {"but not after headOfLineAfter", /* at 700 b has waited for 690 s: d comes after it */
     HEAD "a,0,1000,3,8,,\nb,10,100,4,8,,\nc,20,100,1,8,,\nd,500,100,1,8,,\ne,700,1000,1,8,,\n",
     {0, 990, 0, 0, 400}},
    {"one that can never fit heads no line",
     HEAD "a,0,1000,3,8,,\nb,10,100,5,8,,\nc,700,100,1,8,,\n", {0, NEVER, 0}},
    {"a higher priority goes first though it came last",
     HEAD "a,0,1000,4,8,,\nb,10,100,4,8,,\nc,20,100,4,8,7,\n", {0, 1090, 980}},
    {"of equal ones the name decides, as all are of one second",
     HEAD "z,0,100,4,8,,\ny,0,100,4,8,,\nx,0,100,4,8,,\n", {0, 100, 200}},
    {"two pods share a node", HEAD "a,0,100,8,4,,\nb,50,100,1,4,,\n", {0, 50}},
    {"a required rack is waited for, though nodes are free in two",
     HEAD "a,0,300,1,8,,rack\nb,0,900,2,8,,rack\nc,10,100,2,8,,rack\n", {0, 0, 290}},
    {"a required level that no domain is large enough for",
     HEAD "a,0,100,3,8,,rack\nb,0,100,1,8,,\n", {NEVER, 0}},
    {"a pod larger than any node", HEAD "a,0,100,1,9,,\nb,0,100,1,8,,\n", {NEVER, 0}},
    {"two pods on one node", HEAD "a,0,100,2,4,,node\nb,0,100,3,4,,node\n", {0, NEVER}},
};

static void check_waits(const struct simulated *simulated, const char *policy, const char *what,
                        const int64_t *waits)
{
    for (size_t i = 0; i < simulated->trace.n; i++) {
        const struct sim_gang *gang = &simulated->result.gangs[i];
        const struct trace_gang *wish = &simulated->trace.gangs[i];
        int64_t wait = gang->start_ns < 0 ? NEVER : gang->start_ns / SECOND - wish->submit_s;

        if (wait != waits[i])
            fail_msg("%s: %s: gang %s waits %lld s, not %lld", what, policy, wish->name,
                     (long long)wait, (long long)waits[i]);
        if (wait == NEVER && (!gang->why || !gang->why[0]))
            fail_msg("%s: %s: gang %s was never placed and nothing says why", what, policy,
                     wish->name);
    }
}

static void waits_are_as_computed_by_hand_for_each_policy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t p = 0; sim_policies[p]; p++) {
            struct simulated simulated;

            open_simulated(&simulated, cases[i].trace, false);
            run(&simulated, sim_policies[p]);
            check_waits(&simulated, sim_policies[p], cases[i].what, cases[i].waits);
            close_simulated(&simulated);
        }
}

/* a has three nodes and b waits for two of them: the fourth is free, and d may have it or not. */
static const char kept_trace[] = HEAD "a,0,1000,3,8,,\nb,10,100,2,8,,\nd,700,1000,1,8,,\n";

static void a_baseline_keeps_the_cluster_for_the_head_or_only_its_nodes(void **state)
{
    static const int64_t all[] = {0, 990, 300}, nodes[] = {0, 990, 0};
    struct simulated simulated;

    (void)state;
    open_simulated(&simulated, kept_trace, false);
    run(&simulated, "first-fit");
    check_waits(&simulated, "first-fit", "all is kept", all);
    close_simulated(&simulated);
    open_simulated(&simulated, kept_trace, true);
    run(&simulated, "first-fit");
    check_waits(&simulated, "first-fit", "nodes are kept", nodes);
    close_simulated(&simulated);
}

static void expect_near(double found, double expected)
{
    if (fabs(found - expected) > 1e-9)
        fail_msg("found %.12f, expected %.12f", found, expected);
}

static void figures_are_as_computed_by_hand(void **state)
{
    struct simulated simulated;
    struct sim_stats stats;

    (void)state;
    for (size_t p = 0; sim_policies[p]; p++) {
        open_simulated(&simulated, cases[3].trace, false);
        run(&simulated, sim_policies[p]);
        assert_int_equal(sim_stats(&simulated.simulation, &simulated.result, &stats), 0);
        assert_int_equal(stats.placed, 5);
        assert_int_equal(stats.never, 0);
        assert_int_equal(stats.passed_head, 1);
        expect_near(stats.makespan_s, 2100);
        expect_near(stats.use, 8.0 * (3000 + 400 + 100 + 100 + 1000) / (2100 * 32));
        /* To 700 s: a has run on three nodes, c and d for 100 s on one. */
        expect_near(stats.use_submitting, 8.0 * (3 * 700 + 100 + 100) / (700 * 32));
        expect_near(stats.wait_p50_s, 0);
        expect_near(stats.wait_p99_s, 990);
        expect_near(stats.wait_max_s, 990);
        expect_near(stats.wait_mean_s, 278);
        expect_near(stats.starvation, 1.65);
        for (uint32_t level = 0; level <= 2; level++) { /* there is no choice but the one rack or both */
            expect_near(stats.levels[level].ratio, 1);
            expect_near(stats.levels[level].least, 1);
            expect_near(stats.levels[level].least_now, 1);
        }
        close_simulated(&simulated);
    }
}

/* At 50 s a and c have a node of each rack: e finds the two others free, in two racks. */
static void domains_and_fragments_are_counted(void **state)
{
    static const char text[] = HEAD "a,0,100,1,8,,\nb,0,10,1,8,,\nc,0,100,1,8,,\nd,0,10,1,8,,\n"
                                    "e,50,10,2,8,,\nf,70,10,1,4,,\n";
    struct simulated simulated;
    struct sim_stats stats;

    (void)state;
    open_simulated(&simulated, text, false);
    run(&simulated, "first-fit");
    assert_int_equal(sim_stats(&simulated.simulation, &simulated.result, &stats), 0);
    assert_int_equal(simulated.result.gangs[4].used[1], 2);
    assert_int_equal(simulated.result.gangs[4].least_now[1], 2);
    expect_near(stats.levels[1].ratio, 7.0 / 6);
    expect_near(stats.levels[1].least, 5.0 / 6);
    expect_near(stats.levels[1].ratio_now, 1);
    expect_near(stats.levels[1].least_now, 1);
    /* a, b and c leave whole racks or a whole node; d and e nothing; f 12 of which a node of 8 is whole. */
    expect_near(stats.fragmentation, (0 + 0 + 0 + 1 - 8.0 / 12) / 4);
    close_simulated(&simulated);
}

static void what_runs_in_the_cluster_stays_and_what_waits_there_is_left_out(void **state)
{
    static const int64_t waits[] = {0, NEVER, 0};
    struct world *world = new_world(4, 4, 2);
    struct simulated simulated;
    struct sim_cluster cluster;
    struct err err = ERR_INIT;

    (void)state;
    use_node(world, "n0", "stranger", 1);
    add_gang(world, "waiting", 2, 3);
    sim_config(&world->config);
    assert_int_equal(sim_cluster_init(&cluster, world->core, &world->config, &err), 0);
    assert_int_equal(cluster.left_out, 2);
    assert_int_equal(cluster.room, 31);
    assert_int_equal(cluster.largest_domain, 16);
    open_simulated(&simulated, HEAD "a,0,1,3,8,,\nb,5,1,4,8,,\nc,9999,1,3,8,,\n", false);
    simulated.simulation.cluster = &cluster;
    simulated.simulation.core = world->core;
    free(simulated.simulation.bounds);
    assert_int_equal(sim_bounds(&simulated.simulation, &err), 0);
    run(&simulated, "lockstep");
    check_waits(&simulated, "lockstep", "a stranger's pod", waits); /* b keeps nothing from c for ever */
    assert_string_equal(simulated.result.gangs[1].why,
                        "it would fit only were the pods gone that run in CLUSTER");
    close_simulated(&simulated);
    sim_cluster_release(&cluster);
    world_close(world);
    free(world);
}

static void an_unknown_policy_and_a_cluster_without_accelerators_are_refused(void **state)
{
    struct simulated simulated;
    struct sim_cluster cluster;
    struct err err = ERR_INIT;

    (void)state;
    open_simulated(&simulated, HEAD "a,0,1,1,8,,\n", false);
    assert_true(sim_run(&simulated.simulation, "worst-fit", &simulated.result, &err) < 0);
    assert_string_equal(err.text, "unknown policy 'worst-fit'");
    set_text(&simulated.world->config.accelerators[0], "amd.com/gpu");
    assert_true(sim_cluster_init(&cluster, simulated.world->core, &simulated.world->config, &err) < 0);
    assert_string_equal(err.text, "no node of CLUSTER has amd.com/gpu");
    close_simulated(&simulated);
}

static void a_seed_gives_one_trace_of_the_load_asked_for(void **state)
{
    struct simulated simulated;
    struct trace_levels levels = {NULL, 0};
    struct strbuf first = STRBUF_INIT(1 << 20), again = STRBUF_INIT(1 << 20);
    struct trace_file trace;
    double work = 0, load;
    struct err err = ERR_INIT;

    (void)state;
    open_simulated(&simulated, HEAD "a,0,1,1,8,,\n", false);
    assert_int_equal(trace_make(7, 500, 0.5, &simulated.cluster, &first), 0);
    assert_int_equal(trace_make(7, 500, 0.5, &simulated.cluster, &again), 0);
    assert_string_equal(first.data, again.data);
    if (trace_file_parse("made", first.data, first.len, &levels, &trace, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(trace.n, 500);
    for (size_t i = 0; i < trace.n; i++) {
        assert_true(trace.gangs[i].pods * trace.gangs[i].gpus <= 16); /* half of it at most */
        work += (double)(trace.gangs[i].pods * trace.gangs[i].gpus * trace.gangs[i].duration_s);
    }
    load = work / 32 / (double)trace.gangs[499].submit_s;
    if (load < 0.499 || load > 0.501)
        fail_msg("load %.4f", load);
    trace_file_release(&trace);
    strbuf_release(&first);
    strbuf_release(&again);
    close_simulated(&simulated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_are_as_computed_by_hand_for_each_policy),
        cmocka_unit_test(a_baseline_keeps_the_cluster_for_the_head_or_only_its_nodes),
        cmocka_unit_test(figures_are_as_computed_by_hand),
        cmocka_unit_test(domains_and_fragments_are_counted),
        cmocka_unit_test(what_runs_in_the_cluster_stays_and_what_waits_there_is_left_out),
        cmocka_unit_test(an_unknown_policy_and_a_cluster_without_accelerators_are_refused),
        cmocka_unit_test(a_seed_gives_one_trace_of_the_load_asked_for),
    };

    return cmocka_run_group_tests_name("simulate", tests, NULL, NULL);
}
