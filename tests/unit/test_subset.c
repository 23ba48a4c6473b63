/* Subset tables against trying all sets by the predictor, on every machine of the catalogue. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/machines.h"
#include "topology/bandwidth.h"
#include "topology/catalogue.h"
#include "topology/subset.h"

#define TRIED_GPUS 8

struct trying {
    unsigned n;
    double busbw[1 << TRIED_GPUS];
    double left[1 << TRIED_GPUS][TRIED_GPUS + 1]; /* the best of so many out of a mask */
};

static double in_steps(double busbw)
{
    return round(busbw / SUBSET_STEP_GB_S);
}

static void try_machine(struct trying *trying, const struct machine *machine)
{
    memset(trying, 0, sizeof(*trying));
    trying->n = machine->ngpus;
    for (uint32_t mask = 1; mask < 1u << trying->n; mask++)
        trying->busbw[mask] = in_steps(bandwidth_of_gpus(machine, mask).busbw_gb_s);
    for (uint32_t mask = 1; mask < 1u << trying->n; mask++)
        for (uint32_t set = 1; set <= mask; set++)
            if ((set & ~mask) == 0 && trying->busbw[set] > trying->left[mask][__builtin_popcount(set)])
                trying->left[mask][__builtin_popcount(set)] = trying->busbw[set];
}

/* The first in the order of subset.h, from the lowest mask up. */
static uint32_t best_by_trying(const struct trying *trying, uint32_t free, unsigned count)
{
    uint32_t best = 0;

    for (uint32_t set = 1; set <= free; set++) {
        double gained;

        if ((set & ~free) || (unsigned)__builtin_popcount(set) != count)
            continue;
        gained = best ? trying->busbw[set] - trying->busbw[best] : 1;
        for (unsigned k = (unsigned)__builtin_popcount(free) - count; gained == 0 && k > 1; k--)
            gained = trying->left[free & ~set][k] - trying->left[free & ~best][k];
        if (gained > 0)
            best = set;
    }
    return best;
}

static unsigned compare(const char *name, const struct machine *machine)
{
    static struct trying trying;
    struct subset_table *table = NULL;
    unsigned questions = 0;

    try_machine(&trying, machine);
    assert_int_equal(subset_table_new(machine, &table), 0);
    for (uint32_t free = 0; free < 1u << machine->ngpus; free++)
        for (unsigned count = 1; count <= machine->ngpus; count++, questions++) {
            uint32_t found = subset_best(table, free, count), wanted = best_by_trying(&trying, free, count);

            if (found != wanted)
                fail_msg("%s: %u of %#x: %#x, by trying %#x", name, count, free, found, wanted);
        }
    subset_table_free(table);
    return questions;
}

static void tables_are_right_on_every_machine_of_the_catalogue(void **state)
{
    static struct machine machine;
    unsigned compared = 0;

    (void)state;
    for (size_t i = 0; i < catalogue_nfiles; i++) {
        static struct catalogue_entry entry;
        struct err err = ERR_INIT;
        unsigned questions;

        if (catalogue_parse(catalogue_files[i].name, catalogue_files[i].text, catalogue_files[i].len, &entry,
                            &err) < 0)
            fail_msg("%s", err.text);
        machine = entry.machine;
        if (machine.ngpus > TRIED_GPUS)
            continue; /* DGX-2: the next test */
        questions = compare(entry.name, &machine);
        print_message("%s: %u questions\n", entry.name, questions);
        compared++;
    }
    assert_true(compared + 1 >= catalogue_nfiles); /* one may be larger than what is tried */
    assert_true(compared >= 10);
}

/* Any links and any PCIe: seeded. */
static void tables_are_right_on_random_machines(void **state)
{
    uint32_t random = 11;

    (void)state;
    for (unsigned run = 0; run < 40; run++) {
        struct machine machine;
        char rows[8][9], name[16];
        const char *links[8];

        machine_wire(&machine, &(struct wiring){"GPU", 6, 70, 0, 2, run % 3 ? 6 : 2, GEN3_X16, 0, 0,
                                                CPU_INTEL, run % 2 ? 0x55 : 0xCF});
        memset(rows, '0', sizeof(rows));
        for (unsigned a = 0; a < 6; a++)
            for (unsigned b = 0; b < a; b++) {
                random = random * 1664525u + 1013904223u;
                rows[a][b] = rows[b][a] = (char)('0' + (random >> 30 == 3 ? 0 : random >> 30));
            }
        for (unsigned a = 0; a < 8; a++)
            links[a] = rows[a];
        machine_add_mesh(&machine, LINK_NVLINK, links);
        snprintf(name, sizeof(name), "random %u", run);
        compare(name, &machine);
    }
}

static void sets_behind_switches_are_the_lowest(void **state)
{
    static struct machine machine;
    struct subset_table *table = NULL;

    (void)state;
    machine_wire(&machine,
                 &(struct wiring){"V100", 16, 70, 0, 2, 8, GEN3_X16, 8, 100, CPU_INTEL, 0x55});
    machine_add_switch(&machine, 6, false);
    assert_int_equal(subset_table_new(&machine, &table), 0);
    assert_int_equal(subset_best(table, 0xf0f0, 5), 0x10f0);
    assert_int_equal(subset_best(table, 0xffff, 16), 0xffff);
    assert_int_equal(subset_best(table, 0xffffffff, 17), 0); /* bits beyond its GPUs are none */
    assert_true(subset_table_bytes(table) < 100);
    subset_table_free(table);

    machine.link[3][5].links = machine.link[5][3].links = 2; /* a switch that lost links: not alike any more */
    machine.ngpus = 8;
    compare("half a switch", &machine);
}

/* Sixteen on PCIe, more than a table keeps: what can be tried is right, what grows holds together. */
static void large_machines_are_searched(void **state)
{
    static struct machine machine;
    struct subset_table *table = NULL;
    uint32_t found;

    (void)state;
    machine_wire(&machine, &(struct wiring){"L40S", 16, 89, 0, 2, 4, GEN4_X16, 0, 0, CPU_AMD, 0});
    machine_derive_paths(&machine);
    assert_int_equal(subset_table_new(&machine, &table), 0);
    assert_int_equal(subset_best(table, 0xffff, 2), 0x0003); /* one switch; 120 sets: all tried */
    assert_int_equal(subset_best(table, 0xf00e, 3), 0x000e);
    found = subset_best(table, 0xfffe, 4); /* 1365 sets: grown; as fast as one switch, and the lowest */
    assert_int_equal(found, 0x001e);
    assert_int_equal(subset_best(table, 0xffff, 16), 0xffff);
    assert_int_equal(subset_best(table, 0xffff, 17), 0);
    subset_table_free(table);
}

static void what_cannot_be_has_no_set(void **state)
{
    static struct machine machine;
    struct subset_table *table = NULL;

    (void)state;
    assert_int_equal(subset_table_new(&machine, &table), 0); /* a machine without GPUs */
    assert_int_equal(subset_best(table, 0xff, 1), 0);
    subset_table_free(table);
    subset_table_free(NULL);
    machine.ngpus = MACHINE_GPUS_MAX + 1;
    assert_int_equal(subset_table_new(&machine, &table), -22);

    /* Fabric not known: no figure, so the lowest. */
    machine_wire(&machine, &(struct wiring){"GPU", 8, 80, 0, 2, 8, GEN4_X16, 0, 0, CPU_AMD, 0});
    machine.fabric = FABRIC_UNKNOWN;
    assert_int_equal(subset_table_new(&machine, &table), 0);
    assert_int_equal(subset_best(table, 0xaa, 2), 0x0a);
    assert_int_equal(subset_best(table, 0xaa, 0), 0);
    assert_int_equal(subset_best(table, 0xaa, 5), 0);
    subset_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_right_on_every_machine_of_the_catalogue),
        cmocka_unit_test(tables_are_right_on_random_machines),
        cmocka_unit_test(sets_behind_switches_are_the_lowest),
        cmocka_unit_test(large_machines_are_searched),
        cmocka_unit_test(what_cannot_be_has_no_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
