/* One entry of the catalogue: YAML, strict. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/nearest.h"
#include "base/yaml.h"
#include "topology/catalogue.h"
#include "topology/gpu_model.h"

#define FOUND_SHOWN 80

struct reading {
    const char *file;
    const struct yaml_docs *docs;
    const json_t *root;
    struct machine *machine;
    const char *bridges[MACHINE_BRIDGES_MAX]; /* names, in the machine's order */
    struct err *err;
};

/* ---- values --------------------------------------------------------------------------------------------- */

static int bad(const struct reading *reading, const json_t *object, const char *key, const json_t *found,
               const char *expected)
{
    CLEANUP_FREE char *text = json_dumps(found, JSON_COMPACT | JSON_ENCODE_ANY);

    return err_set(reading->err, -EINVAL, "%s:%u: %s: found %.*s, expected %s", reading->file,
                   yaml_line(reading->docs, object, key), key, FOUND_SHOWN, text ? text : "nothing",
                   expected);
}

static int check_keys(const struct reading *reading, const json_t *object, const char *within,
                      const char *const *keys, size_t n)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        const char *near = nearest_name(key, keys, n);
        size_t i = 0;

        while (i < n && strcmp(keys[i], key) != 0)
            i++;
        if (i == n)
            return err_set(reading->err, -EINVAL, "%s:%u: unknown key '%.*s' in %s%s%s%s", reading->file,
                           yaml_line(reading->docs, object, key), FOUND_SHOWN, key, within,
                           near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return 0;
}

/* Absent: "" unless needed. */
static int get_text(const struct reading *reading, const json_t *object, const char *key, bool needed,
                    char *ret, size_t size)
{
    const json_t *value = json_object_get(object, key);
    char expected[64];

    memset(ret, 0, size);
    if (!value && !needed)
        return 0;
    if (json_is_string(value) && json_string_length(value) > 0 && json_string_length(value) < size) {
        memcpy(ret, json_string_value(value), json_string_length(value));
        return 0;
    }
    snprintf(expected, sizeof(expected), "a text of 1 to %zu bytes", size - 1);
    return bad(reading, object, key, value, expected);
}

/* Absent: 0. */
static int get_number(const struct reading *reading, const json_t *object, const char *key, double max,
                      double *ret)
{
    const json_t *value = json_object_get(object, key);
    char expected[64];

    *ret = 0;
    if (!value)
        return 0;
    if (json_is_number(value) && json_number_value(value) >= 0 && json_number_value(value) <= max) {
        *ret = json_number_value(value);
        return 0;
    }
    snprintf(expected, sizeof(expected), "a number from 0 to %.0f", max);
    return bad(reading, object, key, value, expected);
}

/* "gen5x16". Absent: 0. */
static int get_pcie(const struct reading *reading, const json_t *object, float *ret)
{
    const json_t *value = json_object_get(object, "pcie");
    const char *text = json_string_value(value);
    unsigned gen = 0, lanes = 0;
    char rest;

    *ret = 0;
    if (!value)
        return 0;
    /* NOLINTNEXTLINE(cert-err34-c): two small numbers of a text of ours; what does not fit is refused */
    if (text && strlen(text) <= 8 && sscanf(text, "gen%1ux%2u%c", &gen, &lanes, &rest) == 2 &&
        lanes <= 16)
        *ret = pcie_gen_gb_s(gen, lanes);
    return *ret > 0 ? 0 : bad(reading, object, "pcie", value, "a link such as gen5x16");
}

static int get_list(const struct reading *reading, const char *key, size_t max, const json_t **ret)
{
    char expected[64];

    *ret = json_object_get(reading->root, key);
    if (!*ret || (json_is_array(*ret) && json_array_size(*ret) <= max))
        return 0;
    snprintf(expected, sizeof(expected), "a list of at most %zu", max);
    return bad(reading, reading->root, key, *ret, expected);
}

/* ---- sockets, NUMA nodes, bridges ----------------------------------------------------------------------- */

static int read_cpu(struct reading *reading)
{
    static const char *const keys[] = {"vendor", "family", "model"};
    static const char *const vendors[] = {"unknown", "intel", "amd", "ibm", "arm", "zhaoxin"};
    const json_t *cpu = json_object_get(reading->root, "cpu");
    const char *vendor = json_string_value(json_object_get(cpu, "vendor"));
    double family, model;

    if (!cpu)
        return 0;
    if (!json_is_object(cpu))
        return bad(reading, reading->root, "cpu", cpu, "a mapping of vendor, family, model");
    if (check_keys(reading, cpu, "cpu", keys, 3) < 0 ||
        get_number(reading, cpu, "family", 65535, &family) < 0 ||
        get_number(reading, cpu, "model", 65535, &model) < 0)
        return -EINVAL;
    reading->machine->cpu_family = (uint32_t)family;
    reading->machine->cpu_model = (uint32_t)model;
    for (size_t i = 0; vendor && i < sizeof(vendors) / sizeof(vendors[0]); i++)
        if (strcmp(vendors[i], vendor) == 0) {
            reading->machine->cpu_vendor = (enum cpu_vendor)i;
            return 0;
        }
    return bad(reading, cpu, "vendor", json_object_get(cpu, "vendor"), "intel, amd, ibm, arm or zhaoxin");
}

/* A list of sockets, one of each NUMA node. */
static int read_numa(struct reading *reading)
{
    struct machine *machine = reading->machine;
    const json_t *list;

    if (get_list(reading, "numa", MACHINE_NUMA_MAX, &list) < 0)
        return -EINVAL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *socket = json_array_get(list, i);

        if (!json_is_integer(socket) || json_integer_value(socket) < 0 ||
            json_integer_value(socket) > machine->sockets ||
            json_integer_value(socket) >= MACHINE_NUMA_MAX)
            return bad(reading, reading->root, "numa", socket,
                       "the socket of each NUMA node: 0, or at most one more than those before");
        if (json_integer_value(socket) == machine->sockets)
            machine->sockets++;
        machine->numa[machine->nnuma++] = (struct machine_numa){
            .os_index = (uint32_t)i, .socket = (uint32_t)json_integer_value(socket)};
    }
    return 0;
}

static int bridge_named(const struct reading *reading, const char *name)
{
    for (uint32_t i = 0; name && i < reading->machine->nbridges; i++)
        if (reading->bridges[i] && strcmp(reading->bridges[i], name) == 0)
            return (int)i;
    return -1;
}

static int read_bridge(struct reading *reading, const char *name, const json_t *value)
{
    static const char *const keys[] = {"parent", "numa", "pcie"};
    struct machine *machine = reading->machine;
    struct machine_bridge *bridge = &machine->bridges[machine->nbridges];
    const json_t *parent = json_object_get(value, "parent"), *numa = json_object_get(value, "numa");

    if (check_keys(reading, value, name, keys, 3) < 0 || get_pcie(reading, value, &bridge->up_gb_s) < 0)
        return -EINVAL;
    bridge->parent = (int16_t)bridge_named(reading, json_string_value(parent));
    if (parent && bridge->parent < 0)
        return bad(reading, value, "parent", parent, "a bridge that stands before");
    bridge->numa = bridge->parent < 0 ? -1 : machine->bridges[bridge->parent].numa;
    if (numa && (!json_is_integer(numa) || json_integer_value(numa) < 0 ||
                 json_integer_value(numa) >= machine->nnuma))
        return bad(reading, value, "numa", numa, "the number of a NUMA node");
    if (numa)
        bridge->numa = (int16_t)json_integer_value(numa);
    reading->bridges[machine->nbridges++] = name;
    return 0;
}

static int read_bridges(struct reading *reading)
{
    const json_t *map = json_object_get(reading->root, "bridges");
    const char *name;
    json_t *value;

    if (map && (!json_is_object(map) || json_object_size(map) > MACHINE_BRIDGES_MAX))
        return bad(reading, reading->root, "bridges", NULL, "a mapping of at most 128 names to bridges");
    json_object_foreach((json_t *)(uintptr_t)map, name, value) {
        if (!json_is_object(value))
            return bad(reading, map, name, value, "a mapping of parent, numa, pcie");
        if (read_bridge(reading, name, value) < 0)
            return -EINVAL;
    }
    return 0;
}

/* ---- devices -------------------------------------------------------------------------------------------- */

/* Where a device hangs: a bridge's name; or, without PCIe above it, the number of a NUMA node. */
static int read_place(const struct reading *reading, const char *list, const json_t *place,
                      int16_t *ret_bridge, int16_t *ret_numa)
{
    int bridge = bridge_named(reading, json_string_value(place));

    if (bridge >= 0) {
        *ret_bridge = (int16_t)bridge;
        *ret_numa = reading->machine->bridges[bridge].numa;
        return 0;
    }
    if (!json_is_integer(place) || json_integer_value(place) < 0 ||
        json_integer_value(place) >= reading->machine->nnuma)
        return bad(reading, reading->root, list, place, "names of bridges, or numbers of NUMA nodes");
    *ret_bridge = -1;
    *ret_numa = (int16_t)json_integer_value(place);
    return 0;
}

static int read_gpus(struct reading *reading)
{
    static const char *const keys[] = {"product", "memory_gib", "pcie"};
    const json_t *gpu = json_object_get(reading->root, "gpu"), *list;
    struct machine *machine = reading->machine;
    struct machine_gpu one = {0};
    const struct gpu_model *model;
    double memory_gib;

    if (get_list(reading, "gpus", MACHINE_GPUS_MAX, &list) < 0)
        return -EINVAL;
    if (!json_is_object(gpu))
        return bad(reading, reading->root, "gpu", gpu, "a mapping of product, memory_gib, pcie");
    if (check_keys(reading, gpu, "gpu", keys, 3) < 0 ||
        get_text(reading, gpu, "product", true, one.product, sizeof(one.product)) < 0 ||
        get_number(reading, gpu, "memory_gib", 65536, &memory_gib) < 0 ||
        get_pcie(reading, gpu, &one.pcie_gb_s) < 0)
        return -EINVAL;
    model = gpu_model_find(one.product);
    if (!model)
        return bad(reading, gpu, "product", json_object_get(gpu, "product"),
                   "a product of topology/gpu_model.c");
    one.sm = model->sm;
    one.gfx = model->gfx;
    one.memory_bytes = (uint64_t)memory_gib << 30;
    for (size_t i = 0; i < json_array_size(list); i++) {
        machine->gpus[i] = one;
        if (read_place(reading, "gpus", json_array_get(list, i), &machine->gpus[i].bridge,
                       &machine->gpus[i].numa) < 0)
            return -EINVAL;
        machine->ngpus++;
    }
    return 0;
}

static int read_nics(struct reading *reading)
{
    static const char *const keys[] = {"name", "gbit_s", "pcie"};
    const json_t *nic = json_object_get(reading->root, "nic"), *list;
    struct machine *machine = reading->machine;
    struct machine_nic one = {0};
    char prefix[16];
    double gbit_s;

    if (get_list(reading, "nics", MACHINE_NICS_MAX, &list) < 0)
        return -EINVAL;
    if (!nic && json_array_size(list) == 0)
        return 0;
    if (!json_is_object(nic))
        return bad(reading, reading->root, "nic", nic, "a mapping of name, gbit_s, pcie");
    if (check_keys(reading, nic, "nic", keys, 3) < 0 ||
        get_text(reading, nic, "name", true, prefix, sizeof(prefix)) < 0 ||
        get_number(reading, nic, "gbit_s", 10000, &gbit_s) < 0 ||
        get_pcie(reading, nic, &one.pcie_gb_s) < 0)
        return -EINVAL;
    one.gbit_s = (float)gbit_s;
    for (size_t i = 0; i < json_array_size(list); i++) {
        machine->nics[i] = one;
        snprintf(machine->nics[i].name, sizeof(machine->nics[i].name), "%s%zu", prefix, i);
        if (read_place(reading, "nics", json_array_get(list, i), &machine->nics[i].bridge,
                       &machine->nics[i].numa) < 0)
            return -EINVAL;
        machine->nnics++;
    }
    return 0;
}

/* ---- the fabric ----------------------------------------------------------------------------------------- */

static void join(struct machine *machine, uint32_t a, uint32_t b, uint32_t links)
{
    machine_join(machine, a, b,
                 (struct machine_link){machine->gpus[a].gfx ? LINK_XGMI : LINK_NVLINK, (uint8_t)links,
                                       machine_links_gb_s(machine, a, b, links)});
}

/* [a, b, links] */
static int read_pair(const struct reading *reading, const json_t *fabric, const json_t *pair)
{
    int64_t numbers[3] = {0};

    for (size_t i = 0; i < 3; i++) {
        const json_t *number = json_array_get(pair, i);

        numbers[i] = json_integer_value(number);
        if (json_array_size(pair) != 3 || !json_is_integer(number) || numbers[i] < (i == 2) ||
            numbers[i] >= (i == 2 ? 256 : (int64_t)reading->machine->ngpus) ||
            (i == 1 && numbers[0] == numbers[1]))
            return bad(reading, fabric, "pairs", pair, "[gpu, other gpu, number of links]");
    }
    join(reading->machine, (uint32_t)numbers[0], (uint32_t)numbers[1], (uint32_t)numbers[2]);
    return 0;
}

static int read_mesh(const struct reading *reading, const json_t *fabric, uint32_t links)
{
    const json_t *pairs = json_object_get(fabric, "pairs");
    struct machine *machine = reading->machine;

    if ((links > 0) == (pairs != NULL) || (pairs && !json_is_array(pairs)))
        return bad(reading, fabric, "pairs", pairs, "a list of pairs, or links between all");
    for (uint32_t a = 0; links && a < machine->ngpus; a++)
        for (uint32_t b = a + 1; b < machine->ngpus; b++)
            join(machine, a, b, links);
    for (size_t i = 0; i < json_array_size(pairs); i++)
        if (read_pair(reading, fabric, json_array_get(pairs, i)) < 0)
            return -EINVAL;
    machine->fabric = FABRIC_MESH;
    return 0;
}

static int read_fabric(const struct reading *reading)
{
    static const char *const keys[] = {"kind", "links", "pairs", "nvl_domain_gpus"};
    const json_t *fabric = json_object_get(reading->root, "fabric");
    const char *kind = json_string_value(json_object_get(fabric, "kind"));
    struct machine *machine = reading->machine;
    uint32_t each[MACHINE_GPUS_MAX];
    double links, domain;

    if (!json_is_object(fabric))
        return bad(reading, reading->root, "fabric", fabric, "a mapping with kind");
    if (check_keys(reading, fabric, "fabric", keys, 4) < 0 ||
        get_number(reading, fabric, "links", 255, &links) < 0 ||
        get_number(reading, fabric, "nvl_domain_gpus", 4096, &domain) < 0)
        return -EINVAL;
    machine->nvl_domain_gpus = (uint32_t)domain;
    snprintf(machine->fabric_from, sizeof(machine->fabric_from), "machine catalogue");
    if (kind && strcmp(kind, "mesh") == 0)
        return read_mesh(reading, fabric, (uint32_t)links);
    if (kind && strcmp(kind, "switch") == 0 && links >= 1) {
        for (uint32_t i = 0; i < MACHINE_GPUS_MAX; i++)
            each[i] = (uint32_t)links;
        machine_join_by_switch(machine, each);
        return 0;
    }
    machine->fabric = FABRIC_NONE;
    if (kind && strcmp(kind, "none") == 0)
        return 0;
    return bad(reading, fabric, "kind", json_object_get(fabric, "kind"),
               "none, mesh, or switch with a number of links");
}

/* ---- the entry ------------------------------------------------------------------------------------------ */

static int read_entry(struct reading *reading, struct catalogue_entry *entry)
{
    static const char *const keys[] = {"name", "product", "source",  "model", "cpu",  "numa",
                                       "gpu",  "gpus",    "bridges", "nic",   "nics", "fabric"};
    int r;

    if (!json_is_object(reading->root))
        return err_set(reading->err, -EINVAL, "%s:1: found no mapping, expected the keys of a machine",
                       reading->file);
    if (check_keys(reading, reading->root, "the document", keys, sizeof(keys) / sizeof(keys[0])) < 0 ||
        get_text(reading, reading->root, "name", true, entry->name, sizeof(entry->name)) < 0 ||
        get_text(reading, reading->root, "source", true, entry->source, sizeof(entry->source)) < 0 ||
        get_text(reading, reading->root, "product", false, entry->product, sizeof(entry->product)) < 0 ||
        get_text(reading, reading->root, "model", true, entry->machine.model,
                 sizeof(entry->machine.model)) < 0 ||
        read_cpu(reading) < 0 || read_numa(reading) < 0 || read_bridges(reading) < 0 ||
        read_gpus(reading) < 0 || read_nics(reading) < 0 || read_fabric(reading) < 0)
        return -EINVAL;
    machine_derive_paths(&entry->machine);
    r = machine_check(&entry->machine, reading->err);
    return r < 0 ? err_prefix(reading->err, r, "%s", reading->file) : 0;
}

int catalogue_parse(const char *name, const char *text, size_t len, struct catalogue_entry *ret,
                    struct err *err)
{
    CLEANUP(yaml_docs_release) struct yaml_docs docs = {0};
    CLEANUP_FREE struct catalogue_entry *entry = cleanup_alloc(sizeof(*entry));
    struct reading reading = {.file = name, .docs = &docs, .err = err};
    int r;

    if (!entry)
        return err_set(err, -ENOMEM, "%s: out of memory", name);
    r = yaml_load(name, text, len, 1, &docs, err);
    if (r < 0)
        return r;
    reading.root = docs.n ? docs.items[0] : NULL;
    reading.machine = &entry->machine;
    r = read_entry(&reading, entry);
    if (r == 0)
        *ret = *entry;
    return r;
}
