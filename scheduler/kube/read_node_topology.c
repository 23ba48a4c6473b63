/* NodeTopology, spec: a machine that somebody else described. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "scheduler/kube/node_topology.h"
#include "scheduler/kube/read_internal.h"
#include "topology/numa_fit.h"

#define FIELD_TEXT 64

struct topology {
    const struct reading *reading;
    const json_t *spec;
    struct machine *machine;
};

/* An item of a list: messages name it "spec.gpus[3].pci". */
struct item {
    const struct topology *topology;
    const json_t *object;
    char within[FIELD_TEXT];
};

static void path_of(const struct item *item, const char *key, char ret[2 * FIELD_TEXT])
{
    snprintf(ret, 2 * FIELD_TEXT, "%s.%s", item->within, key);
}

static int bad(const struct item *item, const char *key, const char *expected)
{
    char path[2 * FIELD_TEXT];

    path_of(item, key, path);
    return read__bad(item->topology->reading, path, json_object_get(item->object, key), expected);
}

static int get_int(const struct item *item, const char *key, int64_t missing, int64_t min, int64_t max,
                   int64_t *ret)
{
    char path[2 * FIELD_TEXT];

    path_of(item, key, path);
    return read__int(item->topology->reading, item->object, path, missing, min, max, ret);
}

static int get_text(const struct item *item, const char *key, char ret[MACHINE_TEXT_MAX])
{
    const json_t *value = json_object_get(item->object, key);
    size_t len = json_string_length(value);

    memset(ret, 0, MACHINE_TEXT_MAX);
    if (!value)
        return 0;
    if (!json_is_string(value) || len >= MACHINE_TEXT_MAX || strlen(json_string_value(value)) != len)
        return bad(item, key, "a text of at most 63 bytes");
    memcpy(ret, json_string_value(value), len);
    return 0;
}

static int get_speed(const struct item *item, const char *key, float *ret)
{
    const json_t *value = json_object_get(item->object, key);

    *ret = 0;
    if (!value)
        return 0;
    if (!json_is_number(value) || !(json_number_value(value) >= 0) ||
        json_number_value(value) > MACHINE_SPEED_MAX)
        return bad(item, key, "a number from 0 to 1000000");
    *ret = (float)json_number_value(value);
    return 0;
}

/* The place in the list of the NUMA node with this number; absent: -1. */
static int get_numa(const struct item *item, int16_t *ret)
{
    const struct machine *machine = item->topology->machine;
    int64_t number;

    *ret = -1;
    if (get_int(item, "numa", -1, 0, UINT32_MAX, &number) < 0)
        return -EINVAL;
    for (uint32_t i = 0; number >= 0 && i < machine->nnuma; i++)
        if (machine->numa[i].os_index == (uint64_t)number)
            *ret = (int16_t)i;
    return number >= 0 && *ret < 0 ? bad(item, "numa", "the index of a NUMA node in spec.numa") : 0;
}

/* ---- lists ---------------------------------------------------------------------------------------------- */

static int read_list(const struct topology *topology, const char *key, uint32_t max,
                     int (*read)(const struct item *item, uint32_t i))
{
    const json_t *list = json_object_get(topology->spec, key);
    struct item item = {.topology = topology};
    char field[FIELD_TEXT], expected[FIELD_TEXT];

    snprintf(field, sizeof(field), "spec.%s", key);
    snprintf(expected, sizeof(expected), "a list of at most %u", max);
    if (list && (!json_is_array(list) || json_array_size(list) > max))
        return read__bad(topology->reading, field, json_is_array(list) ? NULL : list, expected);
    for (size_t i = 0; i < json_array_size(list); i++) {
        int r;

        item.object = json_array_get(list, i);
        snprintf(item.within, sizeof(item.within), "spec.%s[%zu]", key, i);
        if (!json_is_object(item.object))
            return read__bad(topology->reading, item.within, item.object, "a mapping");
        r = read(&item, (uint32_t)i);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_numa(const struct item *item, uint32_t i)
{
    struct machine *machine = item->topology->machine;
    int64_t index, socket, cpus, memory;

    if (get_int(item, "index", 0, 0, UINT32_MAX, &index) < 0 ||
        get_int(item, "socket", 0, 0, MACHINE_NUMA_MAX, &socket) < 0 ||
        get_int(item, "cpus", 0, 0, UINT32_MAX, &cpus) < 0 ||
        get_int(item, "memoryBytes", 0, 0, INT64_MAX, &memory) < 0)
        return -EINVAL;
    machine->numa[i] = (struct machine_numa){(uint32_t)index, (uint32_t)socket, (uint32_t)cpus,
                                             (uint64_t)memory};
    machine->nnuma = i + 1;
    return 0;
}

static int read_bridge(const struct item *item, uint32_t i)
{
    struct machine_bridge *bridge = &item->topology->machine->bridges[i];
    int64_t parent;

    if (get_int(item, "parent", -1, 0, MACHINE_BRIDGES_MAX, &parent) < 0 ||
        get_numa(item, &bridge->numa) < 0 || get_speed(item, "upGBPerS", &bridge->up_gb_s) < 0)
        return -EINVAL;
    bridge->parent = (int16_t)parent;
    item->topology->machine->nbridges = i + 1;
    return 0;
}

static int read_gpu(const struct item *item, uint32_t i)
{
    struct machine_gpu *gpu = &item->topology->machine->gpus[i];
    int64_t index, bridge, sm, gfx, memory;

    if (get_int(item, "index", -1, 0, MACHINE_GPUS_MAX, &index) < 0)
        return -EINVAL;
    if (index != i)
        return bad(item, "index", "its place in the list");
    if (get_text(item, "uuid", gpu->uuid) < 0 || get_text(item, "pci", gpu->pci) < 0 ||
        get_text(item, "product", gpu->product) < 0 || get_numa(item, &gpu->numa) < 0 ||
        get_int(item, "bridge", -1, 0, MACHINE_BRIDGES_MAX, &bridge) < 0 ||
        get_int(item, "sm", 0, 0, UINT16_MAX, &sm) < 0 || get_int(item, "gfx", 0, 0, UINT16_MAX, &gfx) < 0 ||
        get_int(item, "memoryBytes", 0, 0, INT64_MAX, &memory) < 0 ||
        get_speed(item, "pcieGBPerS", &gpu->pcie_gb_s) < 0)
        return -EINVAL;
    gpu->bridge = (int16_t)bridge;
    gpu->sm = (uint16_t)sm;
    gpu->gfx = (uint16_t)gfx;
    gpu->memory_bytes = (uint64_t)memory;
    item->topology->machine->ngpus = i + 1;
    return 0;
}

static int read_nic(const struct item *item, uint32_t i)
{
    struct machine_nic *nic = &item->topology->machine->nics[i];
    int64_t bridge;

    if (get_text(item, "name", nic->name) < 0 || get_text(item, "pci", nic->pci) < 0 ||
        get_numa(item, &nic->numa) < 0 ||
        get_int(item, "bridge", -1, 0, MACHINE_BRIDGES_MAX, &bridge) < 0 ||
        get_speed(item, "pcieGBPerS", &nic->pcie_gb_s) < 0 ||
        get_speed(item, "gbitPerS", &nic->gbit_s) < 0)
        return -EINVAL;
    nic->bridge = (int16_t)bridge;
    item->topology->machine->nnics = i + 1;
    return 0;
}

/* ---- rows of links -------------------------------------------------------------------------------------- */

/* "NV18@450": class, number, speed. */
static int parse_link(const char *word, size_t len, struct machine_link *ret)
{
    char text[48], *rest;
    size_t name = 0;
    uint64_t links = 0;
    double gb_s;

    if (len == 0 || len >= sizeof(text))
        return -EINVAL;
    memcpy(text, word, len);
    text[len] = '\0';
    *ret = (struct machine_link){0};
    for (unsigned class = LINK_UNKNOWN; class < LINK_CLASSES; class++) {
        size_t n = strlen(link_class_name(class));

        if (n > name && class != LINK_SELF && strncmp(text, link_class_name(class), n) == 0) {
            ret->class = (uint8_t)class;
            name = n;
        }
    }
    rest = text + name;
    if (name == 0 || (strcspn(rest, "@") > 0 && parse_u64(rest, strcspn(rest, "@"), 255, &links) < 0))
        return -EINVAL;
    rest += strcspn(rest, "@");
    ret->links = (uint8_t)links;
    if (!*rest)
        return 0;
    gb_s = strtod(rest + 1, &rest);
    if (*rest || !(gb_s > 0) || gb_s > MACHINE_SPEED_MAX)
        return -EINVAL;
    ret->gb_s = (float)gb_s;
    return 0;
}

static void set_cell(struct machine *machine, bool nics, uint32_t row, uint32_t column,
                     const struct machine_link *link)
{
    if (nics)
        machine->nic_class[row][column] = link->class;
    else
        machine_join(machine, row, column, *link);
}

static int read_row(const struct topology *topology, bool nics, uint32_t row, const json_t *value)
{
    uint32_t column = nics ? 0 : row + 1, end = nics ? topology->machine->nnics : topology->machine->ngpus;
    const char *at = json_string_value(value);
    char field[FIELD_TEXT], expected[FIELD_TEXT];

    snprintf(field, sizeof(field), "spec.%s[%u]", nics ? "nicLinks" : "links", row);
    snprintf(expected, sizeof(expected), "%u words such as %s", end - column, nics ? "PIX" : "NV18@450");
    while (at && *at && column < end) {
        size_t len = strcspn(at, " ");
        struct machine_link link;

        if (parse_link(at, len, &link) < 0 || (nics && (link.links || link.gb_s > 0)))
            return read__bad(topology->reading, field, value, expected);
        set_cell(topology->machine, nics, row, column++, &link);
        at += len + (at[len] == ' ');
    }
    if (!at || *at || column < end || json_string_length(value) > NODE_TOPOLOGY_ROW_MAX)
        return read__bad(topology->reading, field, value, expected);
    return 0;
}

/* Absent: nothing is known of any pair. */
static int read_rows(const struct topology *topology, bool nics)
{
    const struct machine *machine = topology->machine;
    const char *key = nics ? "nicLinks" : "links";
    const json_t *list = json_object_get(topology->spec, key);
    uint32_t n = nics ? (machine->nnics ? machine->ngpus : 0) : machine->ngpus ? machine->ngpus - 1 : 0;
    char field[FIELD_TEXT], expected[FIELD_TEXT];

    snprintf(field, sizeof(field), "spec.%s", key);
    snprintf(expected, sizeof(expected), "a list of %u rows", n);
    if (list && (!json_is_array(list) || json_array_size(list) != n))
        return read__bad(topology->reading, field, list, expected);
    for (uint32_t i = 0; list && i < n; i++)
        if (read_row(topology, nics, i, json_array_get(list, i)) < 0)
            return -EINVAL;
    return 0;
}

/* ---- the rest ------------------------------------------------------------------------------------------- */

static int find_word(const struct item *item, const char *key, const char *const *words, int n, int *ret)
{
    const char *text = json_string_value(json_object_get(item->object, key));
    char expected[128];
    size_t at = 0;

    *ret = 0;
    if (!json_object_get(item->object, key))
        return 0;
    for (int i = 0; i < n; i++) {
        if (text && strcmp(words[i], text) == 0) {
            *ret = i;
            return 0;
        }
        at += (size_t)snprintf(expected + at, sizeof(expected) - at, "%s%s", i ? ", " : "", words[i]);
    }
    return bad(item, key, expected);
}

static int read_head(const struct topology *topology)
{
    struct machine *machine = topology->machine;
    const struct item spec = {topology, topology->spec, "spec"};
    const struct item cpu = {topology, json_object_get(topology->spec, "cpu"), "spec.cpu"};
    const struct item fabric = {topology, json_object_get(topology->spec, "fabric"), "spec.fabric"};
    int64_t sockets, family, model, domain;
    int vendor, kind;

    if (get_text(&spec, "model", machine->model) < 0 ||
        get_int(&spec, "sockets", 0, 0, MACHINE_NUMA_MAX, &sockets) < 0 ||
        find_word(&cpu, "vendor", node_topology__vendors, 6, &vendor) < 0 ||
        get_int(&cpu, "family", 0, 0, UINT32_MAX, &family) < 0 ||
        get_int(&cpu, "model", 0, 0, UINT32_MAX, &model) < 0 ||
        find_word(&fabric, "kind", node_topology__fabrics, 4, &kind) < 0 ||
        get_text(&fabric, "from", machine->fabric_from) < 0 ||
        get_int(&fabric, "nvlDomainGpus", 0, 0, UINT32_MAX, &domain) < 0)
        return -EINVAL;
    machine->sockets = (uint32_t)sockets;
    machine->cpu_vendor = (enum cpu_vendor)vendor;
    machine->cpu_family = (uint32_t)family;
    machine->cpu_model = (uint32_t)model;
    machine->fabric = (enum machine_fabric)kind;
    machine->nvls = json_is_true(json_object_get(fabric.object, "nvls"));
    machine->nvl_domain_gpus = (uint32_t)domain;
    return 0;
}

/* How kubelet gives out what pods ask for. */
static int read_kubelet(const struct topology *topology)
{
    static const char *const policies[] = {"none", "static"};
    const json_t *kubelet = json_object_get(topology->spec, "kubelet");
    const struct item item = {topology, kubelet, "spec.kubelet"};
    const json_t *policy = json_object_get(kubelet, "topologyManagerPolicy");
    const char *name = json_string_value(policy);
    int cpus;

    if (kubelet && !json_is_object(kubelet))
        return read__bad(topology->reading, "spec.kubelet", kubelet, "a mapping");
    if (policy && (!name || !numa_policy_from_name(name, &topology->machine->numa_policy)))
        return bad(&item, "topologyManagerPolicy", "none, best-effort, restricted or single-numa-node");
    if (find_word(&item, "cpuManagerPolicy", policies, 2, &cpus) < 0)
        return -EINVAL;
    topology->machine->own_cpus = cpus == 1;
    return 0;
}

int read_node_topology(const json_t *object, struct machine *ret, struct err *err)
{
    CLEANUP_FREE struct machine *machine = cleanup_alloc(sizeof(*machine));
    struct reading reading;
    struct topology topology = {&reading, json_object_get(object, "spec"), machine};
    int r = read__begin(&reading, object, "NodeTopology", err);

    if (r < 0)
        return r;
    if (!machine)
        return err_set(err, -ENOMEM, "NodeTopology %s: out of memory", reading.name);
    if (!json_is_object(topology.spec))
        return read__bad(&reading, "spec", topology.spec, "a mapping");
    if (read_head(&topology) < 0 || read_kubelet(&topology) < 0 || read_list(&topology, "numa", MACHINE_NUMA_MAX, read_numa) < 0 ||
        read_list(&topology, "bridges", MACHINE_BRIDGES_MAX, read_bridge) < 0 ||
        read_list(&topology, "gpus", MACHINE_GPUS_MAX, read_gpu) < 0 ||
        read_list(&topology, "nics", MACHINE_NICS_MAX, read_nic) < 0 ||
        read_rows(&topology, false) < 0 || read_rows(&topology, true) < 0)
        return -EINVAL;
    for (uint32_t i = 0; i < machine->ngpus; i++)
        machine->link[i][i].class = LINK_SELF;
    r = machine_check(machine, err);
    if (r < 0)
        return err_prefix(err, r, "NodeTopology %s", reading.name);
    *ret = *machine;
    return 0;
}
