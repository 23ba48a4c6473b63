/* Files that somebody broke, or made to break us: each is refused with a message, soon, or read as a machine. */
#include "tests/unit/machine_files.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "topology/xml_scan.h"

#define SECONDS_MAX 5.0 /* of processor time for one file; under sanitizers too */

static struct machine machine;

static int read_bytes(const char *bytes, size_t len, struct err *err)
{
    clock_t from = clock();
    int r = machine_read("t", bytes, len, &machine, err);
    double seconds = (double)(clock() - from) / CLOCKS_PER_SEC;

    if (seconds > SECONDS_MAX)
        fail_msg("took %.1f s", seconds);
    if (r == -EIO)
        fail_msg("%s", err->text);
    if (r < 0 && !err->text[0])
        fail_msg("refused without a word");
    if (r == 0 && machine_check(&machine, err) < 0)
        fail_msg("taken, but %s", err->text);
    return r;
}

#define HWLOC(body) "<topology version=\"2.0\">" body "</topology>"

static const struct {
    const char *text, *message;
} bad[] = {
    {"", "t:1: found none of the formats"},
    {"hello", "t:1: found none of the formats"},
    {"<html></html>", "t:1: found none of the formats"},
    {"<!DOCTYPE topology [<!ENTITY a \"b\">]><topology>&a;</topology>",
     "t:1: found '[<!ENTITY a \"b\">]><topology>&a;</topolog', expected a DOCTYPE without declarations"},
    {"<system>\n<cpu>&lol;</cpu></system>", "t:2: found '&lol;</cpu></system>', expected no entity but"},
    {"<system>\n<cpu></pci></system>", "t:2: found '</pci></system>', expected the end of the element that"},
    {"<system>", "t:1: found the end of the text, expected the end of an element"},
    {"<system/><system/>", "t:1: found '<system/>', expected one root element"},
    {"<system/>x", "t:1: found 'x', expected nothing after the root element"},
    {"<system a=1/>", "t:1: found '1/>', expected a value in quotes"},
    {"<system a=\"1/>", "t:1: found the end of the text, expected the end of a value"},
    {"<system><![CDATA[x]]></system>", "t:1: found '<![CDATA[x]]></system>', expected no declaration and no"},
    {"<system a=\"\x01\"/>\xff", "t: found bytes that are no text"},
    {"<topology version=\"3.0\"/>",
     "t:1: version: found '3.0', expected 1 or 2; hwloc 3 writes that with lstopo --export-xml-flags v2"},
    {HWLOC("<distances2 nbobjs=\"65537\"/>"), "t:1: nbobjs: found '65537', expected 0 to 1024"},
    {HWLOC(""), "t: hwloc cannot import it"},
    {HWLOC("<object type=\"Nothing\"/>"), "t: hwloc cannot import it"},
    {"<system>\n<cpu numaid=\"x\"/></system>", "t:2: numaid: found 'x', expected a whole number from -1"},
    {"<system>\n<cpu numaid=\"0\"/>\n<cpu numaid=\"0\"/></system>", "t:3: numaid: found '0', expected each once"},
    {"<system><pci class=\"0x030200\" busid=\"zz\"/></system>", "t:1: busid: found 'zz', expected a PCI address"},
    {"<system><pci class=\"0x030200\"/></system>", "t:1: busid: found 'nothing', expected a PCI address"},
    {"<system><pci class=\"green\"/></system>", "t:1: class: found 'green', expected a hexadecimal number"},
    {"<system><cpu numaid=\"0\"><nvlink target=\"0\"/></cpu></system>", "t:1: target: found 'a link outside"},
    {"<system a=\"1\" a=\"2\"/>", "t:1: found duplicate attribute, expected well-formed XML"},
    {"\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \tNV4\t0-3\n", "t:2: found no row of GPU1, expected one of each"},
    {"\tGPU0\tGPU2\n", "t:1: found 'GPU2', expected GPU0, GPU1 and so on"},
    {"\tGPU0\tGPU1\nGPU0\tX\tNV99\nGPU1\tNV99\tX\n", "t:2: found 'NV99', expected X, NV1 to NV18"},
    {"\tGPU0\tGPU1\nGPU0\tX\tNV4\nGPU1\tNV2\tX\n", "t:3: found 'NV2', expected the same as in the other"},
    {"\tGPU0\tGPU1\nGPU0\tX\nGPU1\tNV2\tX\n", "t:2: found 1 columns, expected 2"},
    {"\tGPU0\tGPU1\nGPU0\tX\tX\n", "t:2: found 'X', expected X between a device and itself alone"},
    {"\tGPU0\nGPU0\tX\nGPU0\tX\n", "t:3: found 'GPU0', expected each device once"},
    {"\tGPU0\nGPU7\tX\n", "t:2: found 'GPU7', expected a device that the head names"},
    {"\tGPU0\tNIC0\nGPU0\tX\tNV4\n", "t:2: found 'NV4', expected no NVLink to a NIC"},
};

static void what_is_wrong_is_named_with_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = ERR_INIT;

        if (read_bytes(bad[i].text, strlen(bad[i].text), &err) == 0)
            fail_msg("taken: %s", bad[i].text);
        if (strncmp(err.text, bad[i].message, strlen(bad[i].message)) != 0)
            fail_msg("%s\nfound    %s\nexpected %s", bad[i].text, err.text, bad[i].message);
    }
}

/* ---- sizes ---------------------------------------------------------------------------------------------- */

static char *repeat(const char *head, const char *piece, size_t n, const char *tail, size_t *ret_len)
{
    size_t len = strlen(piece), at = strlen(head);
    char *text = malloc(at + len * n + strlen(tail) + 1);

    assert_non_null(text);
    memcpy(text, head, at);
    for (size_t i = 0; i < n; i++, at += len)
        memcpy(text + at, piece, len);
    memcpy(text + at, tail, strlen(tail) + 1);
    *ret_len = at + strlen(tail);
    return text;
}

static const struct {
    const char *head, *piece;
    size_t n;
    const char *tail, *message;
} large[] = {
    {"<topology version=\"2.0\">", "<object>", 1000000, "", "expected elements nested at most 64 deep"},
    {"<system>", "<cpu>", 1000000, "", "expected elements nested at most 64 deep"},
    {"<system>", "<a/>", 1000000, "</system>", "expected at most 200000 elements"},
    {"<system", " a=\"\"", 1000, "/>", "expected at most 64 attributes"},
    {"<system a=\"", "x", 100000, "\"/>", "expected the end of a value of at most 64 KiB"},
    {"<system><", "x", 1000, "/></system>", "expected a name of at most 64 bytes"},
    {"<system>", "x", 17 << 20, "</system>", "expected at most 16777216"},
    {"<system>", "<cpu numaid=\"-1\"/>", 1000, "</system>", "found more than 32 NUMA nodes"},
    {"<system><cpu>", "<pci class=\"0x060400\"/>", 1000, "</cpu></system>", "more than 128 PCIe bridges"},
    {"<system><cpu>", "<pci class=\"0x030200\" busid=\"0:1.0\"/>", 1000, "</cpu></system>",
     "more than 32 accelerators"},
    {"<system><cpu>", "<pci class=\"0x020000\" busid=\"0:1.0\"/>", 1000, "</cpu></system>",
     "more than 64 NICs"},
    {"<system><cpu><pci class=\"0x030200\" busid=\"0:1.0\"><gpu>", "<nvlink target=\"0:2.0\"/>", 100,
     "</gpu></pci></cpu></system>", "more than 64 links of one accelerator"},
    {"\tGPU0", "\tmlx5_0", 1000, "\n", "expected at most 32 GPUs and 64 NICs"},
    {"GPU0\n", "GPU0 X\n", 1000000, "", "expected each device once"},
};

static void too_much_is_refused_soon(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
        struct err err = ERR_INIT;
        size_t len;
        char *text = repeat(large[i].head, large[i].piece, large[i].n, large[i].tail, &len);

        if (read_bytes(text, len, &err) == 0)
            fail_msg("taken: %s%s...", large[i].head, large[i].piece);
        if (!strstr(err.text, large[i].message))
            fail_msg("%s%s...\nfound    %s\nexpected %s", large[i].head, large[i].piece, err.text,
                     large[i].message);
        free(text);
    }
}

/* A file that is allowed to be as large as it is, and says nothing. */
static void sixteen_mib_of_nothing_are_read_soon(void **state)
{
    struct err err = ERR_INIT;
    size_t len;
    char *text = repeat("<system>", " ", (16 << 20) - 100, "</system>", &len);

    (void)state;
    assert_int_equal(read_bytes(text, len, &err), 0);
    assert_int_equal(machine.ngpus, 0);
    free(text);
}

/* hwloc compares each processor with all others. */
static void what_keeps_hwloc_busy_is_given_up(void **state)
{
    static const char head[] = "<topology version=\"2.0\"><object type=\"Machine\" os_index=\"0\" cpuset=\"0x1\" "
                               "complete_cpuset=\"0x1\" allowed_cpuset=\"0x1\" nodeset=\"0x1\" "
                               "complete_nodeset=\"0x1\" allowed_nodeset=\"0x1\" gp_index=\"1\">";
    struct strbuf text = STRBUF_INIT(MACHINE_BYTES_MAX);
    struct err err = ERR_INIT;

    (void)state;
    strbuf_adds(&text, head);
    for (unsigned i = 0; i < 60000; i++)
        strbuf_addf(&text, "<object type=\"PU\" os_index=\"%u\" cpuset=\"0x1\" complete_cpuset=\"0x1\" "
                           "nodeset=\"0x1\" complete_nodeset=\"0x1\" gp_index=\"%u\"/>", i, i + 3);
    strbuf_adds(&text, "</object></topology>");
    assert_false(text.failed);
    assert_true(read_bytes(text.data, text.len, &err) < 0);
    assert_string_equal(err.text, "t: found more than hwloc reads in 3 s, expected one machine");
    strbuf_release(&text);
}

/* ---- broken fixtures ------------------------------------------------------------------------------------ */

static void a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < NFIXTURES; i++) {
        struct strbuf text = fixture_text(fixtures[i], "");
        bool xml = strstr(fixtures[i], ".xml") != NULL;

        for (size_t cut = 0; cut < 50; cut++) {
            struct err err = ERR_INIT;
            int r = read_bytes(text.data, text.len * cut / 50, &err);

            if (r == 0 && xml)
                fail_msg("%s cut at %zu/50 was taken", fixtures[i], cut);
        }
        strbuf_release(&text);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static void bytes_changed_at_random_break_nothing(void **state)
{
    uint64_t seed = 20261126;

    (void)state;
    for (size_t i = 0; i < NFIXTURES; i++) {
        struct strbuf text = fixture_text(fixtures[i], "");

        for (size_t round = 0; round < 200; round++) {
            char *copy = malloc(text.len);
            struct err err = ERR_INIT;

            assert_non_null(copy);
            memcpy(copy, text.data, text.len);
            for (size_t n = 1 + next_random(&seed) % 4; n > 0; n--)
                copy[next_random(&seed) % text.len] = (char)(' ' + next_random(&seed) % 95);
            (void)read_bytes(copy, text.len, &err);
            free(copy);
        }
        strbuf_release(&text);
    }
}

static void random_bytes_are_refused(void **state)
{
    uint64_t seed = 7;

    (void)state;
    for (size_t round = 0; round < 300; round++) {
        static const char *const heads[] = {"", "<topology version=\"2.0\"><object ", "<system><cpu ", "\tGPU0\n"};
        char bytes[600];
        size_t len = strlen(heads[round % 4]);
        struct err err = ERR_INIT;

        memcpy(bytes, heads[round % 4], len);
        for (; len < sizeof(bytes); len++)
            bytes[len] = (char)next_random(&seed);
        assert_true(read_bytes(bytes, len, &err) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_named_with_its_line),
        cmocka_unit_test(too_much_is_refused_soon),
        cmocka_unit_test(what_keeps_hwloc_busy_is_given_up),
        cmocka_unit_test(sixteen_mib_of_nothing_are_read_soon),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(bytes_changed_at_random_break_nothing),
        cmocka_unit_test(random_bytes_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
