#include "scheduler/kube/node_topology.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/strbuf.h"
#include "topology/numa_fit.h"

const char *const node_topology__fabrics[4] = {"Unknown", "None", "Mesh", "Switch"};
const char *const node_topology__vendors[6] = {"Unknown", "Intel", "AMD", "IBM", "ARM", "Zhaoxin"};

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text[0])
        json_object_set_new(object, key, json_string(text));
}

static void set_count(json_t *object, const char *key, uint64_t count)
{
    if (count)
        json_object_set_new(object, key, json_integer((json_int_t)count));
}

static void set_index(json_t *object, const char *key, int index)
{
    if (index >= 0)
        json_object_set_new(object, key, json_integer(index));
}

/* In as few digits as give the same single precision again: 31.5076923, not 31.507692337036133. */
static double shortest(float speed)
{
    double value = (double)speed;

    for (int digits = 1; digits <= 9; digits++) {
        char text[32];

        snprintf(text, sizeof(text), "%.*g", digits, (double)speed);
        value = strtod(text, NULL);
        if ((float)value >= speed && (float)value <= speed)
            break;
    }
    return value;
}

static void set_speed(json_t *object, const char *key, float speed)
{
    if (speed > 0)
        json_object_set_new(object, key, json_real(shortest(speed)));
}

/* NUMA nodes go by the number that the machine's own tools have for them. */
static void set_numa(json_t *object, const struct machine *machine, int numa)
{
    if (numa >= 0)
        json_object_set_new(object, "numa", json_integer(machine->numa[numa].os_index));
}

static json_t *numa_list(const struct machine *machine)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < machine->nnuma; i++) {
        json_t *item = json_object();

        json_object_set_new(item, "index", json_integer(machine->numa[i].os_index));
        json_object_set_new(item, "socket", json_integer(machine->numa[i].socket));
        set_count(item, "cpus", machine->numa[i].cpus);
        set_count(item, "memoryBytes", machine->numa[i].memory_bytes);
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *bridge_list(const struct machine *machine)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < machine->nbridges; i++) {
        json_t *item = json_object();

        set_index(item, "parent", machine->bridges[i].parent);
        set_numa(item, machine, machine->bridges[i].numa);
        set_speed(item, "upGBPerS", machine->bridges[i].up_gb_s);
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *gpu_list(const struct machine *machine)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < machine->ngpus; i++) {
        const struct machine_gpu *gpu = &machine->gpus[i];
        json_t *item = json_object();

        json_object_set_new(item, "index", json_integer(i));
        set_text(item, "uuid", gpu->uuid);
        set_text(item, "pci", gpu->pci);
        set_text(item, "product", gpu->product);
        set_numa(item, machine, gpu->numa);
        set_index(item, "bridge", gpu->bridge);
        set_speed(item, "pcieGBPerS", gpu->pcie_gb_s);
        set_count(item, "sm", gpu->sm);
        set_count(item, "gfx", gpu->gfx);
        set_count(item, "memoryBytes", gpu->memory_bytes);
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *nic_list(const struct machine *machine)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < machine->nnics; i++) {
        const struct machine_nic *nic = &machine->nics[i];
        json_t *item = json_object();

        set_text(item, "name", nic->name);
        set_text(item, "pci", nic->pci);
        set_numa(item, machine, nic->numa);
        set_index(item, "bridge", nic->bridge);
        set_speed(item, "pcieGBPerS", nic->pcie_gb_s);
        set_speed(item, "gbitPerS", nic->gbit_s);
        json_array_append_new(list, item);
    }
    return list;
}

static void add_link(struct strbuf *row, const struct machine_link *link)
{
    strbuf_addf(row, "%s%s", row->len ? " " : "", link_class_name(link->class));
    if (link->links)
        strbuf_addf(row, "%u", link->links);
    if (link->gb_s > 0)
        strbuf_addf(row, "@%.9g", shortest(link->gb_s));
}

/* Of one accelerator to those after it, or to all NICs. NULL: too long or no memory. */
static json_t *row_of(const struct machine *machine, uint32_t i, bool nics)
{
    struct strbuf row = STRBUF_INIT(NODE_TOPOLOGY_ROW_MAX);
    json_t *text = NULL;

    for (uint32_t k = i + 1; !nics && k < machine->ngpus; k++)
        add_link(&row, &machine->link[i][k]);
    for (uint32_t k = 0; nics && k < machine->nnics; k++)
        add_link(&row, &(struct machine_link){.class = machine->nic_class[i][k]});
    if (!row.failed && row.data)
        text = json_stringn(row.data, row.len);
    strbuf_release(&row);
    return text;
}

static json_t *rows(const struct machine *machine, bool nics)
{
    json_t *list = json_array();
    uint32_t n = nics ? (machine->nnics ? machine->ngpus : 0) : machine->ngpus ? machine->ngpus - 1 : 0;

    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, row_of(machine, i, nics));
    return list;
}

static json_t *cpu_of(const struct machine *machine)
{
    json_t *cpu = json_object();

    json_object_set_new(cpu, "vendor", json_string(node_topology__vendors[machine->cpu_vendor]));
    set_count(cpu, "family", machine->cpu_family);
    set_count(cpu, "model", machine->cpu_model);
    return cpu;
}

static json_t *fabric_of(const struct machine *machine)
{
    json_t *fabric = json_object();

    json_object_set_new(fabric, "kind", json_string(node_topology__fabrics[machine->fabric]));
    set_text(fabric, "from", machine->fabric_from);
    if (machine->nvls)
        json_object_set_new(fabric, "nvls", json_true());
    set_count(fabric, "nvlDomainGpus", machine->nvl_domain_gpus);
    return fabric;
}

static json_t *kubelet_of(const struct machine *machine)
{
    json_t *kubelet = json_object();

    if (machine->numa_policy != NUMA_POLICY_UNKNOWN)
        json_object_set_new(kubelet, "topologyManagerPolicy",
                            json_string(numa_policy_name(machine->numa_policy)));
    if (machine->own_cpus)
        json_object_set_new(kubelet, "cpuManagerPolicy", json_string("static"));
    return kubelet;
}

json_t *node_topology_json(const struct machine *machine, const char *node)
{
    json_t *spec = json_object();

    set_text(spec, "model", machine->model);
    set_count(spec, "sockets", machine->sockets);
    json_object_set_new(spec, "cpu", cpu_of(machine));
    json_object_set_new(spec, "numa", numa_list(machine));
    json_object_set_new(spec, "bridges", bridge_list(machine));
    json_object_set_new(spec, "gpus", gpu_list(machine));
    json_object_set_new(spec, "nics", nic_list(machine));
    json_object_set_new(spec, "fabric", fabric_of(machine));
    if (machine->numa_policy != NUMA_POLICY_UNKNOWN || machine->own_cpus)
        json_object_set_new(spec, "kubelet", kubelet_of(machine));
    json_object_set_new(spec, "links", rows(machine, false));
    json_object_set_new(spec, "nicLinks", rows(machine, true));
    return json_pack("{s:s, s:s, s:{s:s}, s:o}", "apiVersion", "lockstep.dev/v1alpha1", "kind",
                     "NodeTopology", "metadata", "name", node, "spec", spec);
}
