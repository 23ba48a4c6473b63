#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/machines.h"
#include "topology/bandwidth_internal.h"

static struct machine made;

/* ---- machines by name ------------------------------------------------------------------------------------ */

static struct machine *hgx(unsigned sm, unsigned gpus, unsigned links, bool nvls, unsigned nics, float gbit)
{
    machine_wire(&made, &(struct wiring){"GPU", gpus, sm, 0, 2, nics && nics < gpus ? nics : gpus,
                                         sm >= 90 ? GEN5_X16 : GEN4_X16, nics, gbit, CPU_INTEL, 0x8F});
    machine_add_switch(&made, links, nvls);
    return &made;
}

static struct machine *mesh(unsigned sm, unsigned gfx, const char *const *links, unsigned gpus)
{
    machine_wire(&made, &(struct wiring){"GPU", gpus, sm, gfx, gpus / 4, gpus, GEN4_X16, 4, 100,
                                         CPU_AMD, 0});
    machine_add_mesh(&made, gfx ? LINK_XGMI : LINK_NVLINK, links);
    return &made;
}

static struct machine *pcie(const char *product, enum cpu_vendor vendor, unsigned model, float rate,
                            unsigned islands)
{
    machine_wire(&made,
                 &(struct wiring){product, 8, 80, 0, 2, islands, rate, 0, 0, vendor, model});
    machine_derive_paths(&made);
    return &made;
}

static const struct machine *of(const char *name)
{
    if (strcmp(name, "dgx-1v") == 0)
        return mesh(70, 0, mesh_dgx1v, 8);
    if (strcmp(name, "dgx-2") == 0)
        return hgx(70, 16, 6, false, 8, 100);
    if (strcmp(name, "a100") == 0)
        return hgx(80, 8, 12, false, 4, 200);
    if (strcmp(name, "h100") == 0)
        return hgx(90, 8, 18, true, 8, 400);
    if (strcmp(name, "b200") == 0)
        return hgx(100, 8, 18, true, 8, 400);
    if (strcmp(name, "mi300x") == 0)
        return mesh(0, 942, mesh_all_8, 8);
    if (strcmp(name, "4 h100") == 0)
        return mesh(90, 0, mesh_all_4x6, 4);
    if (strcmp(name, "4 a100") == 0)
        return mesh(80, 0, mesh_all_4x4, 4);
    if (strcmp(name, "pairs") == 0)
        return mesh(80, 0, mesh_pairs_4, 4);
    if (strcmp(name, "switched") == 0)
        return pcie("L40S", CPU_AMD, 0, GEN4_X16, 2);
    if (strcmp(name, "roots") == 0)
        return pcie("L40S", CPU_INTEL, 0xCF, GEN4_X16, 8);
    if (strcmp(name, "geforce") == 0)
        return pcie("NVIDIA GeForce RTX 4090", CPU_AMD, 0, GEN4_X16, 2);
    if (strcmp(name, "skylake") == 0)
        return pcie("T4", CPU_INTEL, 0x55, GEN3_X16, 8);
    fail_msg("no machine '%s'", name);
    return NULL;
}

/* ---- one machine ------------------------------------------------------------------------------------------- */

struct set_case {
    const char *machine;
    uint32_t mask;
    double busbw_gb_s;
    enum bandwidth_limit limit;
};

#define PCIE4 (24 * 0.78) /* what is used of x16 of Gen4 */

static const struct set_case sets[] = {
    /* DGX-1V: each GPU has six links; two cycles for each that all have left */
    {"dgx-1v", 0xff, 6 * 22, LIMIT_NVLINK},
    {"dgx-1v", 0x09, 2 * 22, LIMIT_NVLINK}, /* 0-3: two links */
    {"dgx-1v", 0x03, 1 * 22, LIMIT_NVLINK}, /* 0-1: one */
    {"dgx-1v", 0x0f, 4 * 22, LIMIT_NVLINK},
    {"dgx-1v", 0x33, 2 * 22, LIMIT_NVLINK}, /* 0,1,4,5: a square with two single links, both ways around */
    {"dgx-1v", 0x21, 16, LIMIT_SOCKET}, /* 0-5: no link */
    {"dgx-2", 0x0003, 120, LIMIT_NVLINK},
    {"dgx-2", 0xffff, 120, LIMIT_NVLINK},
    {"a100", 0xff, 240 * 0.972, LIMIT_NVLINK},
    {"h100", 0x03, 370.8 * 0.99, LIMIT_NVLINK},
    {"h100", 0xff, 370.8 * 0.828 * 14 / 9, LIMIT_NVLS},
    {"h100", 0xaa, 370.8 * 0.828 * 6 / 5, LIMIT_NVLS},
    {"b200", 0x0f, 721.8 * 0.939, LIMIT_NVLINK},
    {"b200", 0xff, 721.8 * 0.75 * 14 / 9, LIMIT_NVLS},
    {"mi300x", 0xff, 7 * 48, LIMIT_XGMI},
    {"mi300x", 0x03, 48, LIMIT_XGMI},
    {"mi300x", 0x0f, 2 * 48, LIMIT_XGMI}, /* of four no three cycles are apart */
    {"4 h100", 0x0f, 18 * 20.6, LIMIT_NVLINK},
    {"4 a100", 0x0f, 12 * 20, LIMIT_NVLINK},
    {"4 a100", 0x07, 8 * 20, LIMIT_NVLINK},
    {"pairs", 0x03, 240 * 0.867, LIMIT_NVLINK},
    {"pairs", 0x07, PCIE4, LIMIT_HOST_MEMORY}, /* the third has both ways on its one link */
    {"pairs", 0x0f, 2 * PCIE4, LIMIT_HOST_MEMORY}, /* here each has one way of either sense */
    {"pairs", 0x06, PCIE4, LIMIT_HOST_MEMORY}, /* not a pair */
    {"switched", 0x03, PCIE4, LIMIT_PCIE},
    {"switched", 0x0f, PCIE4, LIMIT_PCIE},
    {"switched", 0xff, 16, LIMIT_SOCKET},
    {"geforce", 0x0f, PCIE4 / 4, LIMIT_HOST_MEMORY}, /* four up and down the one uplink */
    {"roots", 0x0f, PCIE4, LIMIT_HOST_MEMORY},
    {"roots", 0xff, PCIE4, LIMIT_HOST_MEMORY}, /* sockets would do 40 */
    {"skylake", 0xff, 12 * 0.78, LIMIT_HOST_MEMORY},
    {"skylake", 0x11, 12 * 0.78, LIMIT_HOST_MEMORY},
    {"h100", 0x10, 0, LIMIT_SINGLE},
    {"h100", 0xff00, 0, LIMIT_UNKNOWN}, /* it has no such GPU */
};

static void sets_of_one_machine(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        struct bandwidth found = bandwidth_of_gpus(of(sets[i].machine), sets[i].mask);

        print_message("%s %#x: %.2f %s\n", sets[i].machine, sets[i].mask, found.busbw_gb_s,
                      bandwidth_limit_word(found.limit));
        assert_string_equal(bandwidth_limit_word(found.limit), bandwidth_limit_word(sets[i].limit));
        assert_true(fabs(found.busbw_gb_s - sets[i].busbw_gb_s) <= 0.002 * sets[i].busbw_gb_s);
        assert_true((found.why != NULL) == (found.limit == LIMIT_UNKNOWN));
    }
}

/* What is taken away, and what the answer then is to say. */
static void forget(struct machine *machine, int what)
{
    switch (what) {
    case 0:
        machine->fabric = FABRIC_UNKNOWN;
        break;
    case 1:
        machine->gpus[2].sm = 0;
        break;
    case 2:
        machine->link[1][2].links = machine->link[2][1].links = 0;
        break;
    case 3:
        machine->gpus[2].pcie_gb_s = 0;
        break;
    case 4:
        machine->cpu_vendor = CPU_UNKNOWN;
        break;
    default:
        for (unsigned i = 0; i < machine->ngpus; i++)
            machine->link[2][i].class = machine->link[i][2].class = LINK_UNKNOWN;
    }
}

static void what_is_not_known_is_not_guessed(void **state)
{
    static const struct {
        const char *machine;
        int what;
        const char *why;
    } cases[] = {
        {"h100", 0, "what joins"},       {"h100", 1, "generation"}, {"h100", 2, "links of a pair"},
        {"4 a100", 1, "generation"},     {"roots", 3, "speed of a PCIe"}, {"roots", 4, "between sockets"},
        {"roots", 5, "path between"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct machine machine = *of(cases[i].machine);
        struct bandwidth found;

        assert_true(bandwidth_of_gpus(&machine, 0xff).busbw_gb_s > 0);
        forget(&machine, cases[i].what);
        found = bandwidth_of_gpus(&machine, 0xff);
        print_message("%s %d: %s\n", cases[i].machine, cases[i].what, found.why ? found.why : "-");
        assert_int_equal(found.limit, LIMIT_UNKNOWN);
        assert_true(found.busbw_gb_s == 0);
        assert_non_null(strstr(found.why, cases[i].why));
    }
}

/* ---- cycles against trying all ----------------------------------------------------------------------------- */

struct trying {
    unsigned n;
    int left[8][8];
    uint8_t cycles[128][8];
    unsigned ncycles;
};

static void list_cycles(struct trying *trying, uint8_t *path, unsigned depth, unsigned seen)
{
    if (depth == trying->n) {
        memcpy(trying->cycles[trying->ncycles++], path, 8);
        return;
    }
    for (unsigned b = 1; b < trying->n; b++)
        if (!(seen & 1u << b)) {
            path[depth] = (uint8_t)b;
            list_cycles(trying, path, depth + 1, seen | 1u << b);
        }
}

/* The most of the cycles from `from` on, each as often as it goes; no bound, no order. */
static unsigned try_all(struct trying *trying, unsigned from)
{
    unsigned best = 0;

    for (unsigned c = from; c < trying->ncycles; c++) {
        const uint8_t *path = trying->cycles[c];
        bool fits = true;
        unsigned here;

        for (unsigned i = 0; i < trying->n; i++)
            fits &= trying->left[path[i]][path[(i + 1) % trying->n]] > 0;
        if (!fits)
            continue;
        for (unsigned i = 0; i < trying->n; i++)
            trying->left[path[i]][path[(i + 1) % trying->n]]--;
        here = 1 + try_all(trying, c);
        for (unsigned i = 0; i < trying->n; i++)
            trying->left[path[i]][path[(i + 1) % trying->n]]++;
        best = here > best ? here : best;
    }
    return best;
}

static unsigned cycles_by_trying(const struct machine *machine, uint32_t mask)
{
    struct trying trying = {0};
    uint8_t path[8] = {0};
    unsigned gpu[8];

    for (; mask; mask &= mask - 1)
        gpu[trying.n++] = (unsigned)__builtin_ctz(mask);
    for (unsigned a = 0; a < trying.n; a++)
        for (unsigned b = 0; b < trying.n; b++)
            if (machine->link[gpu[a]][gpu[b]].class == LINK_NVLINK ||
                machine->link[gpu[a]][gpu[b]].class == LINK_XGMI)
                trying.left[a][b] = a == b ? 0 : machine->link[gpu[a]][gpu[b]].links;
    list_cycles(&trying, path, 1, 1);
    return try_all(&trying, 0);
}

static void cycles_are_as_many_as_by_trying_all(void **state)
{
    static const char *const machines[] = {"dgx-1v", "mi300x", "4 a100", "pairs"};
    unsigned compared = 0;

    (void)state;
    for (size_t m = 0; m < sizeof(machines) / sizeof(machines[0]); m++) {
        const struct machine *machine = of(machines[m]);

        for (uint32_t mask = 3; mask < 1u << machine->ngpus; mask++) {
            int n = __builtin_popcount(mask);

            if (n < 2 || n > 5)
                continue;
            if (bandwidth__cycles(machine, mask) != cycles_by_trying(machine, mask))
                fail_msg("%s %#x: %u, by trying %u", machines[m], mask, bandwidth__cycles(machine, mask),
                         cycles_by_trying(machine, mask));
            compared++;
        }
    }
    assert_true(compared > 350);
}

static void random_meshes_have_as_many_cycles_as_by_trying_all(void **state)
{
    uint32_t random = 7;

    (void)state;
    for (unsigned run = 0; run < 400; run++) {
        struct machine machine = {.ngpus = 5, .fabric = FABRIC_MESH};

        for (unsigned a = 0; a < 5; a++)
            for (unsigned b = 0; b < a; b++) {
                random = random * 1664525u + 1013904223u;
                if (random >> 30)
                    machine_join(&machine, a, b,
                                 (struct machine_link){LINK_NVLINK, (uint8_t)(random >> 30 & 3), 0});
            }
        if (bandwidth__cycles(&machine, 0x1f) != cycles_by_trying(&machine, 0x1f))
            fail_msg("run %u: %u, by trying %u", run, bandwidth__cycles(&machine, 0x1f),
                     cycles_by_trying(&machine, 0x1f));
    }
}

/* ---- several pods -------------------------------------------------------------------------------------------- */

struct shape_case {
    const char *machine;
    const char *pods; /* GPUs of each; '+': on the host of the one before; '/': a new domain of the outer level */
    double nic_gbit_s, oversubscription;
    uint32_t nvl_domain; /* machines in one NVLink domain; 0: none */
    double busbw_gb_s;
    enum bandwidth_limit limit;
};

#define NVLS8 (370.8 * 0.828 * 14 / 9)

static const struct shape_case shapes[] = {
    {"h100", "8", 0, 0, 0, NVLS8, LIMIT_NVLS}, /* one pod is one machine */
    {"h100", "1", 0, 0, 0, 0, LIMIT_SINGLE},
    {"h100", "88", 0, 0, 0, NVLS8, LIMIT_NVLS},
    {"h100", "54", 0, 0, 0, 16.0 / 9 * 4 * 48, LIMIT_NIC}, /* 342 measured */
    {"h100", "81", 0, 0, 0, 2 * 41.4 * 8 / 9, LIMIT_NIC}, /* 79 measured: one NIC, two channels of a tree */
    {"h100", "884", 0, 0, 0, 4 * 48, LIMIT_NIC},
    {"h100", "888", 0, 0, 0, 370.8 * 0.99, LIMIT_NVLINK},
    {"h100", "888", 200, 0, 0, 8 * 24, LIMIT_NIC},
    {"h100", "4+48", 0, 0, 0, 4 * 48, LIMIT_NIC}, /* three hosts to NCCL */
    {"h100", "4+4", 0, 0, 0, 14.0 / 8 * 4 * 48, LIMIT_NIC}, /* two, on one machine; as one pod 478 */
    {"a100", "88", 0, 0, 0, 96, LIMIT_NIC},
    {"a100", "88", 100, 0, 0, 2 * 15.0 / 16 * 48 * 0.92, LIMIT_NIC}, /* a tree on slow NICs */
    {"a100", "1+18", 0, 0, 0, 12, LIMIT_NIC}, /* two pods use one NIC */
    {"a100", "1111", 0, 0, 0, 24, LIMIT_NIC},
    {"h100", "88/88", 0, 4, 0, 2 * 384 / 4.0, LIMIT_LEVEL},
    {"h100", "88/88", 0, 1, 0, 370.8 * 0.99, LIMIT_NVLINK},
    {"h100", "888/8", 0, 2, 0, 384 / 2.0, LIMIT_LEVEL}, /* the single one has the least share */
    {"h100", "888", 0, 4, 0, 370.8 * 0.99, LIMIT_NVLINK}, /* all in one domain */
    {"b200", "88", 0, 0, 2, 721.8 * 0.75 * 8 / 9 * 15 / 8 * 0.907, LIMIT_NVL_DOMAIN},
    {"b200", "8888", 0, 0, 2, 2 * 31.0 / 32 * 8 * 48, LIMIT_NIC}, /* two domains, 8 of the 16 NICs of each */
    {"roots", "44", 0, 0, 0, 0, LIMIT_UNKNOWN}, /* no NIC is known */
    {"roots", "44", 100, 0, 0, 24 * 0.78, LIMIT_HOST_MEMORY}, /* one for each GPU then */
};

static struct bandwidth of_shape(const struct shape_case *c)
{
    struct machine machine = *of(c->machine);
    struct bandwidth_pod pods[16];
    struct bandwidth_shape shape = {.pods = pods,
                                    .nic_gbit_s = c->nic_gbit_s,
                                    .nlevels = 1,
                                    .oversubscription = {c->oversubscription}};
    uint32_t host = 0, used = 0, domain = 0;
    bool same = false;

    machine.nvl_domain_gpus = c->nvl_domain * machine.ngpus;
    for (const char *at = c->pods; *at; at++) {
        uint32_t count;

        same |= *at == '+';
        domain += *at == '/';
        if (*at == '+' || *at == '/')
            continue;
        host += !same;
        used = same ? used : 0;
        count = (uint32_t)(*at - '0');
        pods[shape.npods++] = (struct bandwidth_pod){
            .machine = &machine,
            .mask = ((1u << count) - 1) << used,
            .host = host,
            .nvl_domain = c->nvl_domain ? 1 + (host - 1) / c->nvl_domain : 0,
            .domain = {domain}};
        used += count;
        same = false;
    }
    return bandwidth_of_shape(&shape);
}

static void shapes_of_pods(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct bandwidth found = of_shape(&shapes[i]), again = of_shape(&shapes[i]);

        print_message("%s %s: %.2f %s\n", shapes[i].machine, shapes[i].pods, found.busbw_gb_s,
                      bandwidth_limit_word(found.limit));
        assert_string_equal(bandwidth_limit_word(found.limit), bandwidth_limit_word(shapes[i].limit));
        assert_true(fabs(found.busbw_gb_s - shapes[i].busbw_gb_s) <= 0.002 * shapes[i].busbw_gb_s);
        assert_memory_equal(&found.busbw_gb_s, &again.busbw_gb_s, sizeof(double));
    }
}

static void pods_of_which_only_the_count_is_known(void **state)
{
    struct machine switched = *of("h100"), meshed = *of("dgx-1v");
    struct bandwidth_pod pods[2] = {{.machine = &switched, .count = 4, .host = 0},
                                    {.machine = &switched, .count = 4, .host = 1}};
    struct bandwidth_shape shape = {.pods = pods, .npods = 2};
    double by_count = bandwidth_of_shape(&shape).busbw_gb_s;

    (void)state;
    pods[0].mask = pods[1].mask = 0x0f;
    assert_true(by_count > 0);
    assert_true(by_count == bandwidth_of_shape(&shape).busbw_gb_s);
    pods[0] = (struct bandwidth_pod){.machine = &meshed, .count = 4};
    shape.npods = 1;
    assert_int_equal(bandwidth_of_shape(&shape).limit, LIMIT_UNKNOWN); /* which four matters */
    pods[0].count = 8;
    assert_true(bandwidth_of_shape(&shape).busbw_gb_s > 100); /* all eight are known */
}

static void shapes_beyond_the_limits_have_no_figure(void **state)
{
    struct machine machine = *of("h100");
    struct bandwidth_pod pod = {.machine = &machine, .mask = 0xff};
    struct bandwidth_shape none = {.pods = &pod}, levels = {.pods = &pod, .npods = 1, .nlevels = 9};
    struct bandwidth_shape pods = {.pods = &pod, .npods = BANDWIDTH_PODS_MAX + 1};

    (void)state;
    assert_int_equal(bandwidth_of_shape(&none).limit, LIMIT_UNKNOWN);
    assert_int_equal(bandwidth_of_shape(&levels).limit, LIMIT_UNKNOWN);
    assert_int_equal(bandwidth_of_shape(&pods).limit, LIMIT_UNKNOWN);
}

/* But for some percent where the larger part reduces in its switch: 8 + 6 beside 7 + 7. */
static void even_fill_is_not_slower_than_a_lopsided_one(void **state)
{
    struct machine machine = *of("h100");

    (void)state;
    for (unsigned total = 2; total <= 16; total++) {
        double before = 0;

        for (unsigned less = 1; less <= total / 2 && less <= 8; less++) {
            struct bandwidth_pod pods[2] = {
                {.machine = &machine, .count = total - less, .host = 0},
                {.machine = &machine, .count = less, .host = 1}};
            struct bandwidth_shape shape = {.pods = pods, .npods = 2};
            double here = bandwidth_of_shape(&shape).busbw_gb_s;

            if (total - less > 8)
                continue;
            assert_true(here >= before * 0.96);
            before = here;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_of_one_machine),
        cmocka_unit_test(what_is_not_known_is_not_guessed),
        cmocka_unit_test(cycles_are_as_many_as_by_trying_all),
        cmocka_unit_test(random_meshes_have_as_many_cycles_as_by_trying_all),
        cmocka_unit_test(shapes_of_pods),
        cmocka_unit_test(pods_of_which_only_the_count_is_known),
        cmocka_unit_test(shapes_beyond_the_limits_have_no_figure),
        cmocka_unit_test(even_fill_is_not_slower_than_a_lopsided_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
