/* Machines from files: our own fixtures to the letter, public files by what is known of those machines, this one. */
#include "tests/unit/machine_files.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "scheduler/cli/machine_show.h"
#include "topology/xml_scan.h"

static struct machine machine;

/* ---- golden pairs --------------------------------------------------------------------------------------- */

/* To write one anew: lockstep machine FILE > FILE.text */
static void fixtures_are_shown_to_the_letter(void **state)
{
    (void)state;
    for (size_t i = 0; i < NFIXTURES; i++) {
        struct strbuf expected = fixture_text(fixtures[i], ".text"), found = STRBUF_INIT(1 << 20);

        read_fixture(fixtures[i], &machine);
        machine_text(&machine, false, &found);
        if (found.len != expected.len || memcmp(found.data, expected.data, found.len) != 0)
            fail_msg("%s: found\n%s", fixtures[i], found.data);
        strbuf_release(&expected);
        strbuf_release(&found);
    }
}

static void the_json_of_a_fixture_is_as_it_was(void **state)
{
    struct strbuf expected = fixture_text("nccl-4h100-vm.xml", ".json");
    json_t *wanted = json_loadb(expected.data, expected.len, 0, NULL), *found;

    (void)state;
    read_fixture("nccl-4h100-vm.xml", &machine);
    found = machine_json(&machine);
    assert_non_null(wanted);
    if (!json_equal(found, wanted)) {
        CLEANUP_FREE char *text = json_dumps(found, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

        fail_msg("found %s", text);
    }
    json_decref(found);
    json_decref(wanted);
    strbuf_release(&expected);
}

static void a_drawing_is_well_formed_whatever_a_machine_is_called(void **state)
{
    (void)state;
    for (size_t i = 0; i < NFIXTURES; i++) {
        struct strbuf drawing = STRBUF_INIT(4 << 20);
        struct err err = ERR_INIT;
        struct xml_piece root;

        read_fixture(fixtures[i], &machine);
        snprintf(machine.model, sizeof(machine.model), "</svg> & <script>\"'");
        machine_svg(&machine, &drawing);
        if (xml_scan("svg", drawing.data, drawing.len, NULL, &root, &err) < 0)
            fail_msg("%s: %s", fixtures[i], err.text);
        assert_true(xml_piece_is(root, "svg"));
        assert_non_null(strstr(drawing.data, "GPU1"));
        assert_null(strstr(drawing.data, "<script>"));
        strbuf_release(&drawing);
    }
}

static void text_is_coloured_on_demand_only(void **state)
{
    struct strbuf plain = STRBUF_INIT(1 << 20), colour = STRBUF_INIT(1 << 20);

    (void)state;
    read_fixture(fixtures[0], &machine);
    machine_text(&machine, false, &plain);
    machine_text(&machine, true, &colour);
    assert_null(strchr(plain.data, '\033'));
    assert_non_null(strchr(colour.data, '\033'));
    strbuf_release(&plain);
    strbuf_release(&colour);
}

/* ---- public files --------------------------------------------------------------------------------------- */

static const struct {
    const char *file;
    uint32_t sockets, numa, gpus, nics;
    enum machine_fabric fabric;
    uint8_t class, links; /* of each pair */
    float gb_s;
    bool nvls;
} public[] = {
    {"hwloc/xe8640-4xh100.xml", 2, 8, 4, 4, FABRIC_MESH, LINK_NVLINK, 6, 150, false},
    {"hwloc/dgx2-16xv100.xml", 2, 2, 16, 0, FABRIC_SWITCH, LINK_NVLINK, 6, 150, false},
    {"hwloc/ex235a-8xmi250x-gcd.xml", 1, 4, 8, 4, FABRIC_MESH, LINK_XGMI, 2, 100, false},
    {"hwloc/g4dn-metal-8xt4.xml", 2, 2, 8, 1, FABRIC_NONE, LINK_UNKNOWN, 0, 0, false},
    {"nccl/azure-ndv4-8xa100.xml", 0, 4, 8, 8, FABRIC_UNKNOWN, LINK_UNKNOWN, 0, 0, false},
    {"nccl/oci-bm-gpu-h100-8.xml", 0, 2, 8, 8, FABRIC_SWITCH, LINK_NVLINK, 18, 450, true},
};

static void check_public(size_t i, const char *path)
{
    struct err err = ERR_INIT;

    if (machine_read_file(path, &machine, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(machine.sockets, public[i].sockets);
    assert_int_equal(machine.nnuma, public[i].numa);
    assert_int_equal(machine.ngpus, public[i].gpus);
    assert_int_equal(machine.nnics, public[i].nics);
    assert_int_equal(machine.fabric, public[i].fabric);
    assert_int_equal(machine.nvls, public[i].nvls);
    for (uint32_t a = 0; a < machine.ngpus; a++)
        for (uint32_t b = 0; b < machine.ngpus; b++) {
            const struct machine_link *link = &machine.link[a][b];

            assert_int_equal(link->links, a == b ? 0 : public[i].links);
            if (public[i].links && a != b) {
                assert_int_equal(link->class, public[i].class);
                assert_true(link->gb_s > public[i].gb_s - 0.01 && link->gb_s < public[i].gb_s + 0.01);
            } else if (a != b) {
                assert_in_range(link->class, LINK_PIX, LINK_SYS);
            }
        }
}

/* Machines that others measured; their files are not part of this repository. */
static void public_files_tell_what_is_known_of_their_machines(void **state)
{
    const char *shared = getenv("LOCKSTEP_SHARED");
    size_t read = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(public) / sizeof(public[0]); i++) {
        char path[1024];

        snprintf(path, sizeof(path), "%s/data/%s", shared ? shared : SOURCE_DIR "/../shared", public[i].file);
        if (access(path, R_OK) < 0)
            continue;
        check_public(i, path);
        read++;
    }
    if (read)
        return;
    printf("skip: no public files: LOCKSTEP_SHARED names a folder with data/hwloc and data/nccl\n");
    skip();
}

/* ---- this machine ---------------------------------------------------------------------------------------- */

static void this_machine_is_read(void **state)
{
    struct err err = ERR_INIT;
    uint32_t cpus = 0;

    (void)state;
    if (machine_read_live(&machine, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(machine.sockets >= 1);
    assert_true(machine.nnuma >= 1);
    for (uint32_t i = 0; i < machine.nnuma; i++)
        cpus += machine.numa[i].cpus;
    assert_true(cpus >= 1 && cpus <= (uint32_t)sysconf(_SC_NPROCESSORS_CONF));
}

/* What hwloc would do for its variables must not happen to a file. */
static void variables_do_not_change_what_a_file_says(void **state)
{
    struct strbuf before = STRBUF_INIT(1 << 20), after = STRBUF_INIT(1 << 20);

    (void)state;
    read_fixture("hwloc-2gpu-pcie.xml", &machine);
    machine_text(&machine, false, &before);
    setenv("HWLOC_XMLFILE", "/nonexistent.xml", 1);
    setenv("HWLOC_SYNTHETIC", "pack:4 pu:2", 1);
    setenv("HWLOC_COMPONENTS", "synthetic,stop", 1);
    read_fixture("hwloc-2gpu-pcie.xml", &machine);
    machine_text(&machine, false, &after);
    unsetenv("HWLOC_XMLFILE");
    unsetenv("HWLOC_SYNTHETIC");
    unsetenv("HWLOC_COMPONENTS");
    assert_string_equal(before.data, after.data);
    assert_non_null(getenv("PATH"));
    strbuf_release(&before);
    strbuf_release(&after);
}

static void a_name_is_a_file_or_an_entry_of_the_catalogue(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(machine_read_named("dgx-h100", &machine, &err), 0);
    assert_string_equal(machine.model, "DGX H100");
    assert_int_equal(machine_read_named(FIXTURES "topo-4gpu-pcie.txt", &machine, &err), 0);
    assert_int_equal(machine.ngpus, 4);
    assert_true(machine_read_named("dgx-h10", &machine, &err) < 0);
    assert_non_null(strstr(err.text, "'dgx-h10': no such file"));
    assert_non_null(strstr(err.text, "did you mean 'dgx-h100'?"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_are_shown_to_the_letter),
        cmocka_unit_test(the_json_of_a_fixture_is_as_it_was),
        cmocka_unit_test(a_drawing_is_well_formed_whatever_a_machine_is_called),
        cmocka_unit_test(text_is_coloured_on_demand_only),
        cmocka_unit_test(public_files_tell_what_is_known_of_their_machines),
        cmocka_unit_test(this_machine_is_read),
        cmocka_unit_test(variables_do_not_change_what_a_file_says),
        cmocka_unit_test(a_name_is_a_file_or_an_entry_of_the_catalogue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
