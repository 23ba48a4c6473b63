/* The catalogue: each entry is a machine with a source; what is wrong in one is named with its line. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topology/catalogue.h"

static struct catalogue_entry entry;
static struct machine machine;

static void each_entry_is_a_machine_with_a_source(void **state)
{
    (void)state;
    assert_in_range(catalogue_nfiles, 16, 1000);
    for (size_t i = 0; i < catalogue_nfiles; i++) {
        struct err err = ERR_INIT;
        char file[MACHINE_TEXT_MAX + 8];

        if (catalogue_parse(catalogue_files[i].name, catalogue_files[i].text, catalogue_files[i].len, &entry,
                            &err) < 0)
            fail_msg("%s", err.text);
        snprintf(file, sizeof(file), "%s.yaml", entry.name);
        assert_string_equal(file, catalogue_files[i].name);
        assert_true(strlen(entry.source) > 20);
        assert_true(entry.product[0] != '\0');
        assert_in_range(entry.machine.ngpus, 4, 16);
        assert_true(entry.machine.fabric != FABRIC_UNKNOWN);
        for (uint32_t a = 0; a < entry.machine.ngpus; a++) {
            for (uint32_t b = 0; b < entry.machine.ngpus; b++)
                if (entry.machine.link[a][b].class == LINK_UNKNOWN ||
                    (a != b && !(entry.machine.link[a][b].gb_s > 0)))
                    fail_msg("%s: GPU%u - GPU%u is not known", entry.name, a, b);
            for (uint32_t b = 0; b < entry.machine.nnics; b++)
                assert_true(entry.machine.nic_class[a][b] != LINK_UNKNOWN);
        }
    }
}

static void a_machine_is_found_by_the_labels_of_its_node(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(catalogue_find_product("NVIDIA-H100-80GB-HBM3", 8, &machine, &err), 0);
    assert_string_equal(machine.model, "DGX H100");
    assert_true(catalogue_find_product("NVIDIA-H100-80GB-HBM3", 4, &machine, &err) < 0);
    assert_string_equal(err.text, "found 0 machines with 4 x 'NVIDIA-H100-80GB-HBM3' in the catalogue, "
                                  "expected one");
}

/* DGX-1: the hybrid cube mesh, as its own tool shows it. */
static void dgx_1_has_six_links_each(void **state)
{
    (void)state;
    assert_int_equal(catalogue_find("dgx-1v", &machine, NULL), 0);
    for (uint32_t a = 0; a < 8; a++) {
        uint32_t links = 0, peers = 0;

        for (uint32_t b = 0; b < 8; b++) {
            links += machine.link[a][b].links;
            peers += machine.link[a][b].class == LINK_NVLINK;
        }
        assert_int_equal(links, 6);
        assert_int_equal(peers, 4);
    }
    assert_int_equal(machine.link[0][7].class, LINK_SYS);
}

#define HEAD "name: a\nsource: a data sheet\nmodel: m\nnuma: [0]\nbridges:\n  h: {numa: 0}\n"
#define GPU "gpu: {product: NVIDIA L4}\ngpus: [h]\n"

static const struct {
    const char *text, *message;
} bad[] = {
    {"", "t:1: found no mapping"},
    {HEAD GPU "fabrik: {kind: none}\n", "t:9: unknown key 'fabrik' in the document, did you mean 'fabric'?"},
    {HEAD GPU "fabric: {kind: ring}\n", "t:9: kind: found \"ring\", expected none, mesh, or switch"},
    {HEAD GPU "fabric: {kind: switch}\n", "t:9: kind: found \"switch\", expected none, mesh, or switch with"},
    {HEAD GPU "fabric: {kind: mesh, pairs: [[0, 1, 1]]}\n", "t:9: pairs: found [0,1,1], expected [gpu,"},
    {HEAD "gpu: {product: Abacus}\ngpus: [h]\n", "t:7: product: found \"Abacus\", expected a product of"},
    {HEAD "gpu: {product: NVIDIA L4}\ngpus: [sw]\n", "t:8: gpus: found \"sw\", expected names of bridges"},
    {HEAD "gpu: {product: NVIDIA L4, pcie: gen9x16}\ngpus: []\n", "t:7: pcie: found \"gen9x16\", expected a link"},
    {"source: x\n", "t:0: name: found nothing, expected a text of 1 to 63 bytes"},
    {"name: a\n", "t:0: source: found nothing"},
    {"name: a\nsource: s\nmodel: m\nnuma: [1]\n", "t:4: numa: found 1, expected the socket of each"},
    {"name: a\nsource: s\nmodel: m\nnuma: [0]\nbridges: {a: {parent: b}}\n", "t:5: parent: found \"b\", expected"},
    {"name: a\nname: b\n", "t:2:1: this key stands twice"},
};

static void what_is_wrong_is_named_with_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = ERR_INIT;

        assert_true(catalogue_parse("t", bad[i].text, strlen(bad[i].text), &entry, &err) < 0);
        if (strncmp(err.text, bad[i].message, strlen(bad[i].message)) != 0)
            fail_msg("found    %s\nexpected %s", err.text, bad[i].message);
    }
}

static void a_directory_stands_before_what_is_compiled_in(void **state)
{
    char folder[] = "/tmp/lockstep-catalogue-XXXXXX", path[128];
    struct err err = ERR_INIT;
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/mine.yaml", folder);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("name: dgx-h100\nsource: our own\nmodel: ours\nnuma: [0]\ngpu: {product: NVIDIA L4}\ngpus: [0]\n"
          "fabric: {kind: none}\n", file);
    fclose(file);
    catalogue_use_directory(folder);
    assert_int_equal(catalogue_find("dgx-h100", &machine, &err), 0);
    assert_string_equal(machine.model, "ours");
    assert_int_equal(catalogue_find("dgx-a100", &machine, &err), 0);
    catalogue_use_directory("/nonexistent");
    assert_true(catalogue_find("dgx-h100", &machine, &err) < 0);
    assert_non_null(strstr(err.text, "cannot read the machine catalogue '/nonexistent'"));
    catalogue_use_directory(NULL);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_entry_is_a_machine_with_a_source),
        cmocka_unit_test(a_machine_is_found_by_the_labels_of_its_node),
        cmocka_unit_test(dgx_1_has_six_links_each),
        cmocka_unit_test(what_is_wrong_is_named_with_its_line),
        cmocka_unit_test(a_directory_stands_before_what_is_compiled_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
