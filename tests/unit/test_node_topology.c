/* NodeTopology: what is written comes back the same; what is wrong is named with its field. */
#include "tests/unit/machine_files.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "scheduler/kube/node_topology.h"
#include "topology/catalogue.h"

static struct machine machine, back;

/* The same values with nothing in the gaps between fields, so that bytes can be compared. */
static void without_gaps(const struct machine *from, struct machine *ret)
{
    memset(ret, 0, sizeof(*ret));
    *ret = *from;
    for (uint32_t i = 0; i < MACHINE_NUMA_MAX; i++) {
        memset(&ret->numa[i], 0, sizeof(ret->numa[i]));
        ret->numa[i].os_index = from->numa[i].os_index;
        ret->numa[i].socket = from->numa[i].socket;
        ret->numa[i].cpus = from->numa[i].cpus;
        ret->numa[i].memory_bytes = from->numa[i].memory_bytes;
    }
    for (uint32_t i = 0; i < MACHINE_GPUS_MAX; i++) {
        size_t last = offsetof(struct machine_gpu, pcie_gb_s) + sizeof(float);

        memset((char *)&ret->gpus[i] + last, 0, sizeof(ret->gpus[i]) - last);
        ret->gpus[i].memory_bytes = from->gpus[i].memory_bytes;
        memset(ret->link[i], 0, sizeof(ret->link[i]));
        for (uint32_t k = 0; k < MACHINE_GPUS_MAX; k++) {
            ret->link[i][k].class = from->link[i][k].class;
            ret->link[i][k].links = from->link[i][k].links;
            ret->link[i][k].gb_s = from->link[i][k].gb_s;
        }
    }
}

static bool is_same(const struct machine *a, const struct machine *b)
{
    static struct machine one, other;

    without_gaps(a, &one);
    without_gaps(b, &other);
    return memcmp(&one, &other, sizeof(one)) == 0;
}

/* Through the text that the API server would store. */
static void must_come_back(const char *name)
{
    json_t *object = node_topology_json(&machine, "node-1"), *stored;
    CLEANUP_FREE char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15));
    struct err err = ERR_INIT;

    assert_non_null(text);
    assert_true(strlen(text) < 64 << 10);
    stored = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    memset(&back, 0x55, sizeof(back));
    if (read_node_topology(stored, &back, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    if (!is_same(&back, &machine)) {
        json_t *again = node_topology_json(&back, "node-1");

        fail_msg("%s: comes back as another machine; %s", name,
                 json_equal(object, again) ? "what is written of it is the same" : text);
    }
    json_decref(object);
    json_decref(stored);
}

static void every_machine_comes_back_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < catalogue_nfiles; i++) {
        static struct catalogue_entry entry;

        assert_int_equal(catalogue_parse("t", catalogue_files[i].text, catalogue_files[i].len, &entry, NULL),
                         0);
        machine = entry.machine;
        must_come_back(entry.name);
    }
    for (size_t i = 0; i < NFIXTURES; i++) {
        read_fixture(fixtures[i], &machine);
        must_come_back(fixtures[i]);
    }
    memset(&machine, 0, sizeof(machine));
    must_come_back("nothing");
    for (unsigned policy = 0; policy < NUMA_POLICIES; policy++) {
        machine.numa_policy = (enum numa_policy)policy;
        machine.own_cpus = policy % 2;
        must_come_back("a policy of kubelet");
    }
}

static void the_largest_machine_comes_back(void **state)
{
    (void)state;
    memset(&machine, 0, sizeof(machine));
    machine.ngpus = MACHINE_GPUS_MAX;
    machine.nnics = MACHINE_NICS_MAX;
    for (uint32_t i = 0; i < machine.ngpus; i++) {
        machine.gpus[i].numa = machine.gpus[i].bridge = -1;
        for (uint32_t k = 0; k < machine.nnics; k++)
            machine.nic_class[i][k] = LINK_NODE;
        for (uint32_t k = 0; k < i; k++)
            machine_join(&machine, i, k, (struct machine_link){LINK_XGMI, 255, 123.456787F});
    }
    for (uint32_t k = 0; k < machine.nnics; k++)
        machine.nics[k].numa = machine.nics[k].bridge = -1;
    machine_derive_paths(&machine);
    must_come_back("the largest");
}

#define OBJECT(spec) "{\"kind\":\"NodeTopology\",\"metadata\":{\"name\":\"n\"},\"spec\":" spec "}"
#define TWO "\"gpus\":[{\"index\":0},{\"index\":1}]"

static const struct {
    const char *text, *message;
} bad[] = {
    {"{}", "NodeTopology: metadata: missing"},
    {"{\"metadata\":{\"name\":\"n\"}}", "NodeTopology n: spec: found nothing, expected a mapping"},
    {OBJECT("{\"model\":7}"), "NodeTopology n: spec.model: found 7, expected a text"},
    {OBJECT("{\"sockets\":-1}"), "NodeTopology n: spec.sockets: found -1, expected a whole number"},
    {OBJECT("{\"cpu\":{\"vendor\":\"Zuse\"}}"), "NodeTopology n: spec.cpu.vendor: found \"Zuse\", expected Unknown,"},
    {OBJECT("{\"fabric\":{\"kind\":\"Ring\"}}"), "NodeTopology n: spec.fabric.kind: found \"Ring\", expected Unknown,"},
    {OBJECT("{\"kubelet\":7}"), "NodeTopology n: spec.kubelet: found 7, expected a mapping"},
    {OBJECT("{\"kubelet\":{\"topologyManagerPolicy\":\"single\"}}"),
     "NodeTopology n: spec.kubelet.topologyManagerPolicy: found \"single\", expected none, best-effort,"},
    {OBJECT("{\"kubelet\":{\"cpuManagerPolicy\":true}}"),
     "NodeTopology n: spec.kubelet.cpuManagerPolicy: found true, expected none, static"},
    {OBJECT("{\"gpus\":{}}"), "NodeTopology n: spec.gpus: found {}, expected a list of at most 32"},
    {OBJECT("{\"gpus\":[7]}"), "NodeTopology n: spec.gpus[0]: found 7, expected a mapping"},
    {OBJECT("{\"gpus\":[{\"index\":1}]}"), "NodeTopology n: spec.gpus[0].index: found 1, expected its place"},
    {OBJECT("{\"gpus\":[{\"index\":0,\"numa\":3}]}"), "NodeTopology n: spec.gpus[0].numa: found 3, expected the"},
    {OBJECT("{\"gpus\":[{\"index\":0,\"bridge\":3}]}"), "NodeTopology n: gpus[0]: bridge: found 3, expected -1"},
    {OBJECT("{\"gpus\":[{\"index\":0,\"pcieGBPerS\":-3}]}"),
     "NodeTopology n: spec.gpus[0].pcieGBPerS: found -3, expected a number"},
    {OBJECT("{\"bridges\":[{\"parent\":0}]}"), "NodeTopology n: bridges[0]: parent: found 0, expected -1 to -1"},
    {OBJECT("{" TWO ",\"links\":[]}"), "NodeTopology n: spec.links: found [], expected a list of 1 rows"},
    {OBJECT("{" TWO ",\"links\":[\"\"]}"), "NodeTopology n: spec.links[0]: found \"\", expected 1 words"},
    {OBJECT("{" TWO ",\"links\":[\"PIX PIX\"]}"), "NodeTopology n: spec.links[0]: found \"PIX PIX\", expected 1"},
    {OBJECT("{" TWO ",\"links\":[\"NV18@fast\"]}"), "NodeTopology n: spec.links[0]: found \"NV18@fast\", expected"},
    {OBJECT("{" TWO ",\"links\":[\"NV\"]}"), "NodeTopology n: link[0][1]: found 0 links of class NV, expected"},
    {OBJECT("{" TWO ",\"links\":[\"X\"]}"), "NodeTopology n: spec.links[0]: found \"X\", expected 1 words"},
    {OBJECT("{" TWO ",\"links\":[7]}"), "NodeTopology n: spec.links[0]: found 7, expected 1 words"},
    {OBJECT("{" TWO ",\"nics\":[{}],\"nicLinks\":[\"NV2\",\"PIX\"]}"),
     "NodeTopology n: spec.nicLinks[0]: found \"NV2\", expected 1 words"},
    {OBJECT("{\"numa\":[{\"index\":0},{\"index\":0}]}"), "NodeTopology n: numa[1]: os_index: found 0 again"},
};

static void what_is_wrong_is_named_with_its_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *object = json_loads(bad[i].text, 0, NULL);
        struct err err = ERR_INIT;

        assert_non_null(object);
        if (read_node_topology(object, &back, &err) == 0)
            fail_msg("taken: %s", bad[i].text);
        if (strncmp(err.text, bad[i].message, strlen(bad[i].message)) != 0)
            fail_msg("found    %s\nexpected %s", err.text, bad[i].message);
        json_decref(object);
    }
}

static void what_is_absent_is_unknown(void **state)
{
    json_t *object = json_loads(OBJECT("{" TWO "}"), 0, NULL);

    (void)state;
    assert_int_equal(read_node_topology(object, &back, NULL), 0);
    assert_int_equal(back.ngpus, 2);
    assert_int_equal(back.gpus[1].numa, -1);
    assert_int_equal(back.gpus[1].bridge, -1);
    assert_int_equal(back.link[0][1].class, LINK_UNKNOWN);
    assert_int_equal(back.fabric, FABRIC_UNKNOWN);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_machine_comes_back_as_it_was),
        cmocka_unit_test(the_largest_machine_comes_back),
        cmocka_unit_test(what_is_wrong_is_named_with_its_field),
        cmocka_unit_test(what_is_absent_is_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
