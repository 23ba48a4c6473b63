/* Pods whose accelerators kubelet wants to be of one NUMA node: how many fit, which sets they get. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/machine_kinds.h"
#include "tests/unit/machines.h"

#define SINGLE NUMA_POLICY_SINGLE
#define RESTRICTED NUMA_POLICY_RESTRICTED

/* Eight behind switches, half of them on each of two sockets of 48 CPUs. */
static void two_sockets(struct machine *machine, enum numa_policy policy)
{
    static const struct wiring wiring = {.product = "H100", .gpus = 8, .sm = 90, .sockets = 2, .islands = 4,
                                         .pcie_gb_s = GEN5_X16};

    machine_wire(machine, &wiring);
    machine_add_switch(machine, 18, true);
    machine->numa[0].cpus = machine->numa[1].cpus = 48;
    machine->numa_policy = policy;
    machine->own_cpus = true;
}

static void counts_the_pods_that_kubelet_would_let_in(void **state)
{
    static const struct {
        enum numa_policy policy;
        uint32_t free, gpus, cpus, pods;
    } cases[] = {
        {SINGLE, 0xff, 3, 0, 2},      {NUMA_POLICY_NONE, 0x7f, 3, 0, 2}, {SINGLE, 0x3c, 3, 0, 0},
        {SINGLE, 0xff, 4, 0, 2},      {SINGLE, 0xff, 5, 0, 0},           {RESTRICTED, 0xff, 5, 0, 1},
        {RESTRICTED, 0x3c, 3, 0, 0},  {NUMA_POLICY_BEST_EFFORT, 0x3c, 4, 0, 1},
        {NUMA_POLICY_UNKNOWN, 0x3c, 4, 0, 1}, {SINGLE, 0xff, 1, 24, 4},  {SINGLE, 0xff, 1, 49, 0},
        {RESTRICTED, 0xff, 1, 49, 8}, {SINGLE, 0x1f, 2, 0, 2},           {SINGLE, 0, 1, 0, 0},
        {SINGLE, 0xff, 1, 12, 8},     {SINGLE, 0xff, 1, 13, 6},
    };
    struct machine machine;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t pods;

        two_sockets(&machine, cases[i].policy);
        pods = numa_pods(&machine, cases[i].free, (struct numa_need){cases[i].gpus, cases[i].cpus});
        if (pods != cases[i].pods)
            fail_msg("case %zu: %u pods, expected %u", i, pods, cases[i].pods);
    }
}

static void cpus_count_where_some_are_a_containers_own(void **state)
{
    struct machine machine;

    (void)state;
    two_sockets(&machine, SINGLE);
    machine.own_cpus = false;
    assert_int_equal(numa_pods(&machine, 0xff, (struct numa_need){1, 24}), 8);
}

static void without_their_numa_nodes_nothing_is_aligned(void **state)
{
    struct machine machine;

    (void)state;
    two_sockets(&machine, SINGLE);
    machine.gpus[3].numa = -1;
    assert_false(numa_aligns(&machine, (struct numa_need){2, 0}));
    assert_int_equal(numa_pods(&machine, 0xff, (struct numa_need){5, 0}), 1);
}

static void policies_go_by_kubelets_names(void **state)
{
    enum numa_policy policy = NUMA_POLICY_UNKNOWN;

    (void)state;
    for (unsigned i = NUMA_POLICY_NONE; i < NUMA_POLICIES; i++) {
        assert_true(numa_policy_from_name(numa_policy_name((enum numa_policy)i), &policy));
        assert_int_equal(policy, i);
    }
    assert_false(numa_policy_from_name("single", &policy));
    assert_int_equal(policy, NUMA_POLICY_SINGLE);
}

/* ---- which sets ------------------------------------------------------------------------------------------- */

static uint32_t random_of(uint32_t *seed, uint32_t n)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % n;
}

/* A mesh of 8, each one on a NUMA node of three, now and then with CPUs for few. */
static void random_machine(struct machine *machine, uint32_t *seed)
{
    static const struct wiring wiring = {.product = "V100", .gpus = 8, .sm = 70, .pcie_gb_s = GEN3_X16};

    machine_wire(machine, &wiring);
    machine->fabric = FABRIC_MESH;
    machine->nnuma = 3;
    for (uint32_t a = 0; a < 8; a++) {
        machine->gpus[a].numa = (int16_t)random_of(seed, 3);
        for (uint32_t b = 0; b < a; b++) {
            uint8_t links = (uint8_t)random_of(seed, 4);

            if (links > 0)
                machine_join(machine, a, b, (struct machine_link){LINK_NVLINK, links, (float)links * 25});
        }
    }
    machine_derive_paths(machine);
    for (uint32_t i = 0; i < 3; i++)
        machine->numa[i] = (struct machine_numa){.os_index = i, .cpus = random_of(seed, 40)};
    machine->own_cpus = random_of(seed, 2) == 0;
    machine->numa_policy = random_of(seed, 2) ? SINGLE : RESTRICTED;
}

static int numa_of(const struct machine *machine, uint32_t set)
{
    int numa = machine->gpus[__builtin_ctz(set)].numa;

    for (; set; set &= set - 1)
        if (machine->gpus[__builtin_ctz(set)].numa != numa)
            return -1;
    return numa;
}

/* All ways, pod by pod: the best of the slowest; -1: they do not fit. `room`: pods that a NUMA node still takes. */
static float best_by_all(struct machine_kind *kind, uint32_t free, uint32_t gpus, uint32_t left, int *room)
{
    float best = -1;

    if (left == 0)
        return 1e9f;
    for (uint32_t set = free; set; set = (set - 1) & free) {
        int numa = (uint32_t)__builtin_popcount(set) == gpus ? numa_of(&kind->machine, set) : -1;
        float own, others;

        if (numa < 0 || room[numa] == 0)
            continue;
        room[numa]--;
        others = best_by_all(kind, free & ~set, gpus, left - 1, room);
        room[numa]++;
        own = machine_kind_set_gb_s(kind, set);
        if (others >= 0 && (own < others ? own : others) > best)
            best = own < others ? own : others;
    }
    return best;
}

static void check_sets(struct machine_kind *kind, uint32_t free, struct numa_need need, uint32_t pods, float best)
{
    uint32_t sets[MACHINE_GPUS_MAX], taken = 0, here[3] = {0};
    float speed = machine_kind_split(kind, free, need, pods, sets), least = 1e9f;

    for (uint32_t i = 0; i < pods; i++) {
        assert_int_equal(sets[i] & (taken | ~free), 0);
        assert_int_equal(__builtin_popcount(sets[i]), need.gpus);
        assert_true(numa_of(&kind->machine, sets[i]) >= 0);
        here[numa_of(&kind->machine, sets[i])]++;
        taken |= sets[i];
        least = machine_kind_set_gb_s(kind, sets[i]) < least ? machine_kind_set_gb_s(kind, sets[i]) : least;
    }
    for (uint32_t i = 0; i < 3 && kind->machine.own_cpus && need.cpus; i++)
        assert_true(kind->machine.numa[i].cpus == 0 || here[i] * need.cpus <= kind->machine.numa[i].cpus);
    assert_true(speed >= least - 1e-3f && speed <= least + 1e-3f);
    if (speed < best - 1e-3f)
        fail_msg("%u pods of %u: %g GB/s, all ways find %g", pods, need.gpus, (double)speed, (double)best);
}

static void sets_of_one_numa_node_are_the_fastest_of_all_ways(void **state)
{
    uint32_t seed = 5, checked = 0;

    (void)state;
    for (int round = 0; round < 120; round++) {
        struct machine_kinds kinds = {0};
        struct machine machine;
        struct machine_kind *kind;
        struct numa_need need = {1 + random_of(&seed, 3), random_of(&seed, 20)};
        uint32_t free = random_of(&seed, 256), pods;
        int room[3];
        uint32_t unused;

        random_machine(&machine, &seed);
        kind = machine_kinds_take(&kinds, &machine);
        assert_non_null(kind);
        pods = numa_pods(&machine, free, need);
        if (numa_aligns(&machine, need)) {
            for (uint32_t i = 0; i < 3; i++)
                room[i] = (int)numa_pods_of(&machine, i, free, need, &unused);
            for (uint32_t n = 1; n <= pods; n++)
                check_sets(kind, free, need, n, best_by_all(kind, free, need.gpus, n, room));
            assert_true(best_by_all(kind, free, need.gpus, pods + 1, room) < 0);
            checked += pods;
        }
        machine_kind_drop(&kinds, kind);
        machine_kinds_release(&kinds);
    }
    assert_true(checked > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_the_pods_that_kubelet_would_let_in),
        cmocka_unit_test(cpus_count_where_some_are_a_containers_own),
        cmocka_unit_test(without_their_numa_nodes_nothing_is_aligned),
        cmocka_unit_test(policies_go_by_kubelets_names),
        cmocka_unit_test(sets_of_one_numa_node_are_the_fastest_of_all_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
