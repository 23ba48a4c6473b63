/*
 * What hwloc knows of a machine, imported from its XML or found on this one. The structure is taken from hwloc, speeds
 * of accelerators from gpu_model.h where hwloc is known to be wrong.
 */
#include <errno.h>
#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "topology/read_hwloc.h"
#include "topology/read_internal.h"
#include "topology/xml_scan.h"

#define NVIDIA 0x10de
#define AMD 0x1002
#define CRAY 0x17db /* Slingshot */

enum { CLASS_NETWORK = 0x02, CLASS_DISPLAY = 0x03, CLASS_ACCELERATOR = 0x12 };

struct found {
    hwloc_topology_t topology;
    struct machine *machine;
    hwloc_obj_t numa[MACHINE_NUMA_MAX], bridges[MACHINE_BRIDGES_MAX], gpus[MACHINE_GPUS_MAX];
    struct err *err;
};

static uint64_t pci_of(hwloc_obj_t device)
{
    const struct hwloc_pcidev_attr_s *pci = &device->attr->pcidev;

    return (uint64_t)pci->domain << 24 | (uint64_t)pci->bus << 16 | (uint64_t)pci->dev << 8 | pci->func;
}

static const char *info_of(hwloc_obj_t object, const char *name)
{
    const char *value = object ? hwloc_obj_get_info_by_name(object, name) : NULL;

    return value ? value : "";
}

static uint64_t number_of(hwloc_obj_t object, const char *name)
{
    const char *text = info_of(object, name);
    uint64_t value = 0;

    (void)parse_u64(text, strlen(text), UINT32_MAX, &value); /* else 0: not known */
    return value;
}

/* ---- sockets and NUMA nodes ----------------------------------------------------------------------------- */

static enum cpu_vendor cpu_vendor_of(hwloc_obj_t package, hwloc_obj_t root)
{
    static const struct {
        const char *text;
        enum cpu_vendor vendor;
    } vendors[] = {{"GenuineIntel", CPU_INTEL}, {"AuthenticAMD", CPU_AMD}, {"HygonGenuine", CPU_AMD},
                   {"IBM", CPU_IBM},            {"ARM", CPU_ARM},          {"CentaurHauls", CPU_ZHAOXIN},
                   {"Shanghai", CPU_ZHAOXIN}};
    const char *vendor = info_of(package, "CPUVendor");

    for (size_t i = 0; i < sizeof(vendors) / sizeof(vendors[0]); i++)
        if (strncmp(vendor, vendors[i].text, strlen(vendors[i].text)) == 0)
            return vendors[i].vendor;
    if (strncmp(info_of(package, "CPUModel"), "POWER", 5) == 0)
        return CPU_IBM;
    return strcmp(info_of(root, "Architecture"), "aarch64") == 0 ? CPU_ARM : CPU_UNKNOWN;
}

static void read_cpus(struct found *found)
{
    struct machine *machine = found->machine;
    hwloc_obj_t root = hwloc_get_root_obj(found->topology);
    hwloc_obj_t package = hwloc_get_next_obj_by_type(found->topology, HWLOC_OBJ_PACKAGE, NULL);
    const char *model = info_of(root, "DMIProductName");

    for (hwloc_obj_t at = package; at;
         at = hwloc_get_next_obj_by_type(found->topology, HWLOC_OBJ_PACKAGE, at))
        machine->sockets++;
    machine__text(machine->model, model, strlen(model));
    machine->cpu_vendor = cpu_vendor_of(package, root);
    machine->cpu_family = (uint32_t)number_of(package, "CPUFamilyNumber");
    machine->cpu_model = (uint32_t)number_of(package, "CPUModelNumber");
}

/* Memory of an accelerator may be a NUMA node too: no place for processes. */
static bool is_memory_of_gpu(hwloc_obj_t node)
{
    return node->subtype && strcmp(node->subtype, "GPUMemory") == 0;
}

static int read_numa(struct found *found)
{
    struct machine *machine = found->machine;

    for (hwloc_obj_t node = NULL;
         (node = hwloc_get_next_obj_by_type(found->topology, HWLOC_OBJ_NUMANODE, node));) {
        hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(found->topology, HWLOC_OBJ_PACKAGE, node);
        int cpus = node->cpuset ? hwloc_bitmap_weight(node->cpuset) : 0;

        if (is_memory_of_gpu(node))
            continue;
        if (machine->nnuma == MACHINE_NUMA_MAX)
            return err_set(found->err, -EINVAL, "found more than %d NUMA nodes, expected fewer",
                           MACHINE_NUMA_MAX);
        found->numa[machine->nnuma] = node;
        machine->numa[machine->nnuma++] = (struct machine_numa){
            .os_index = node->os_index, .socket = package ? package->logical_index : 0,
            .cpus = cpus > 0 ? (uint32_t)cpus : 0, .memory_bytes = node->attr->numanode.local_memory};
    }
    if (machine->nnuma && !machine->sockets)
        machine->sockets = 1; /* a virtual machine without packages */
    return 0;
}

/* The one NUMA node to which a device is near; -1: none, or several. */
static int16_t numa_of(const struct found *found, hwloc_obj_t device)
{
    hwloc_obj_t host = hwloc_get_non_io_ancestor_obj(found->topology, device);
    int near = -1;

    for (uint32_t i = 0; host && host->nodeset && i < found->machine->nnuma; i++) {
        hwloc_obj_t node = found->numa[i];

        if (!hwloc_bitmap_isset(host->nodeset, node->os_index))
            continue;
        if (near < 0)
            near = (int)i;
        else if (!node->cpuset || !found->numa[near]->cpuset ||
                 !hwloc_bitmap_isequal(node->cpuset, found->numa[near]->cpuset))
            return -1; /* two kinds of memory of the same CPUs are one place */
    }
    return (int16_t)near;
}

/* ---- bridges -------------------------------------------------------------------------------------------- */

static bool is_host_bridge(hwloc_obj_t bridge)
{
    return bridge->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_HOST;
}

/* A port of PCIe leads to one device: where there are several, it is a bus. */
static bool has_several_devices(hwloc_obj_t bridge)
{
    hwloc_obj_t first = bridge->io_first_child;

    for (hwloc_obj_t child = first; child; child = child->next_sibling) {
        bool is_pci = child->type == HWLOC_OBJ_PCI_DEVICE || child->type == HWLOC_OBJ_BRIDGE;

        /* A bridge's attributes begin with those of its PCI device. */
        if (is_pci && child->attr->pcidev.dev != first->attr->pcidev.dev)
            return true;
    }
    return false;
}

/*
 * hwloc shows each port of a switch as a bridge: root port, upstream port, downstream port, upstream port of the next
 * switch. Upstream ports stand for the switch; the others are links.
 */
static bool is_switch(hwloc_obj_t bridge)
{
    hwloc_obj_t above = bridge->parent;

    if (is_host_bridge(bridge))
        return false;
    if (has_several_devices(bridge))
        return true;
    return above && above->type == HWLOC_OBJ_BRIDGE && !is_host_bridge(above) && !is_switch(above);
}

/* Index of the innermost switch or host bridge above, added with all those above it. */
static int bridge_above(struct found *found, hwloc_obj_t device, int16_t *ret)
{
    struct machine *machine = found->machine;
    hwloc_obj_t bridge = device->parent;
    int16_t parent = -1;
    int r;

    while (bridge && bridge->type == HWLOC_OBJ_BRIDGE && !is_host_bridge(bridge) && !is_switch(bridge))
        bridge = bridge->parent;
    if (!bridge || bridge->type != HWLOC_OBJ_BRIDGE) {
        *ret = -1;
        return 0;
    }
    for (uint32_t i = 0; i < machine->nbridges; i++)
        if (found->bridges[i] == bridge) {
            *ret = (int16_t)i;
            return 0;
        }
    r = is_host_bridge(bridge) ? 0 : bridge_above(found, bridge, &parent);
    if (r < 0)
        return r;
    if (machine->nbridges == MACHINE_BRIDGES_MAX)
        return err_set(found->err, -EINVAL, "found more than %d PCIe bridges above devices, expected "
                                            "fewer", MACHINE_BRIDGES_MAX);
    found->bridges[machine->nbridges] = bridge;
    machine->bridges[machine->nbridges] = (struct machine_bridge){
        .parent = parent, .numa = numa_of(found, bridge),
        .up_gb_s = is_host_bridge(bridge) ? 0 : bridge->attr->pcidev.linkspeed};
    *ret = (int16_t)machine->nbridges++;
    return 0;
}

/* ---- devices -------------------------------------------------------------------------------------------- */

static bool begins(const char *text, const char *with)
{
    return text && strncmp(text, with, strlen(with)) == 0;
}

static hwloc_obj_t os_device(hwloc_obj_t device, const char *name)
{
    for (hwloc_obj_t child = device->io_first_child; child; child = child->next_sibling)
        if (child->type == HWLOC_OBJ_OS_DEVICE && begins(child->name, name))
            return child;
    return NULL;
}

static bool is_gpu(hwloc_obj_t device)
{
    const struct hwloc_pcidev_attr_s *pci = &device->attr->pcidev;
    unsigned class = pci->class_id >> 8;

    if (os_device(device, "nvml") || os_device(device, "rsmi") || os_device(device, "cuda"))
        return true;
    if (pci->vendor_id == NVIDIA)
        return class == CLASS_DISPLAY;
    /* AMD's display class holds graphics of CPUs too. */
    return pci->vendor_id == AMD && (class == CLASS_DISPLAY || class == CLASS_ACCELERATOR) &&
           gpu_model_of_pci(pci->vendor_id, pci->device_id);
}

static int read_gpu(struct found *found, hwloc_obj_t device)
{
    struct machine *machine = found->machine;
    struct machine_gpu *gpu = &machine->gpus[machine->ngpus];
    hwloc_obj_t nvml = os_device(device, "nvml"), rsmi = os_device(device, "rsmi");
    hwloc_obj_t cuda = os_device(device, "cuda"), driver = nvml ? nvml : rsmi ? rsmi : cuda;
    const char *uuid = info_of(nvml, "NVIDIAUUID"), *product = info_of(driver, "GPUModel");
    const struct gpu_model *model;

    if (machine->ngpus == MACHINE_GPUS_MAX)
        return err_set(found->err, -EINVAL, "found more than %d accelerators, expected fewer",
                       MACHINE_GPUS_MAX);
    if (rsmi)
        uuid = info_of(rsmi, "AMDUUID");
    machine__text(gpu->uuid, uuid, strlen(uuid));
    machine__text(gpu->product, product, strlen(product));
    machine__pci_text(pci_of(device), gpu->pci);
    gpu->numa = numa_of(found, device);
    gpu->pcie_gb_s = device->attr->pcidev.linkspeed;
    gpu->memory_bytes = number_of(cuda, "CUDAGlobalMemorySize") << 10;
    if (rsmi)
        gpu->memory_bytes = number_of(rsmi, "RSMIVRAMSize") << 10;
    model = gpu_model_of_pci(device->attr->pcidev.vendor_id, device->attr->pcidev.device_id);
    machine__fill_gpu(gpu, model ? model : gpu_model_find(gpu->product));
    found->gpus[machine->ngpus++] = device;
    return bridge_above(found, device, &gpu->bridge);
}

/* The name by which the fabric's libraries know it: the RDMA device, if there is one. */
static hwloc_obj_t network_device(hwloc_obj_t device, bool *ret_fabric)
{
    hwloc_obj_t network = NULL;

    *ret_fabric = device->attr->pcidev.vendor_id == CRAY;
    for (hwloc_obj_t child = device->io_first_child; child; child = child->next_sibling) {
        if (child->type != HWLOC_OBJ_OS_DEVICE)
            continue;
        if (child->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS) {
            *ret_fabric = true;
            return child;
        }
        if (child->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK && !network)
            network = child;
    }
    return network;
}

static int read_nic(struct found *found, hwloc_obj_t device, hwloc_obj_t named)
{
    struct machine *machine = found->machine;
    struct machine_nic *nic = &machine->nics[machine->nnics];

    if (machine->nnics == MACHINE_NICS_MAX)
        return err_set(found->err, -EINVAL, "found more than %d NICs, expected fewer", MACHINE_NICS_MAX);
    machine__text(nic->name, named->name ? named->name : "", named->name ? strlen(named->name) : 0);
    machine__pci_text(pci_of(device), nic->pci);
    nic->numa = numa_of(found, device);
    nic->pcie_gb_s = device->attr->pcidev.linkspeed;
    machine->nnics++;
    return bridge_above(found, device, &nic->bridge);
}

static int compare_pci(const void *a, const void *b)
{
    uint64_t x = pci_of(*(const hwloc_obj_t *)a), y = pci_of(*(const hwloc_obj_t *)b);

    return (x > y) - (x < y);
}

/* Fabric NICs; those that are none count only where there is no other. */
static int read_nics(struct found *found, const hwloc_obj_t *devices, size_t n)
{
    bool any_fabric = false, fabric;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        any_fabric |= network_device(devices[i], &fabric) && fabric;
    for (size_t i = 0; i < n && r == 0; i++) {
        hwloc_obj_t named = network_device(devices[i], &fabric);

        if (named && fabric == any_fabric)
            r = read_nic(found, devices[i], named);
    }
    return r;
}

static int read_devices(struct found *found)
{
    size_t n = 0, size = 0;
    CLEANUP_FREE hwloc_obj_t *devices = NULL;
    int r = 0;

    for (hwloc_obj_t at = NULL; (at = hwloc_get_next_pcidev(found->topology, at));)
        size++;
    devices = cleanup_alloc((size + 1) * sizeof(hwloc_obj_t));
    if (!devices)
        return -ENOMEM;
    for (hwloc_obj_t at = NULL; (at = hwloc_get_next_pcidev(found->topology, at)) && n < size;)
        devices[n++] = at;
    qsort(devices, n, sizeof(hwloc_obj_t), compare_pci);
    for (size_t i = 0; i < n && r == 0; i++)
        if (is_gpu(devices[i]))
            r = read_gpu(found, devices[i]);
    return r < 0 ? r : read_nics(found, devices, n);
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

extern char **environ;

/* hwloc looks for variables that load plugins, replace what was asked for, or make it talk on stderr. */
static int load(hwloc_topology_t topology, bool import)
{
    static char quiet[] = "HWLOC_HIDE_ERRORS=2", no_plugins[] = "HWLOC_PLUGINS_PATH=/nonexistent";
    char *const for_import[] = {quiet, no_plugins, NULL};
    CLEANUP_FREE char **changed = NULL;
    char **before = environ;
    size_t n = 0;
    int r;

    while (before && before[n])
        n++;
    changed = cleanup_alloc((n + 3) * sizeof(char *));
    if (!changed)
        return -1;
    memcpy(changed, for_import, sizeof(for_import));
    if (!import && n)
        memcpy(changed + 1, before, n * sizeof(char *));
    environ = changed;
    r = hwloc_topology_load(topology);
    environ = before;
    return r;
}

static int read_loaded(hwloc_topology_t topology, struct machine *machine, struct err *err)
{
    CLEANUP_FREE struct found *found = cleanup_alloc(sizeof(*found));
    int r;

    if (!found)
        return -ENOMEM;
    found->topology = topology;
    found->machine = machine;
    found->err = err;
    read_cpus(found);
    r = read_numa(found);
    if (r == 0)
        r = read_devices(found);
    if (r == 0)
        machine__hwloc_links(topology, found->gpus, machine);
    return r;
}

static int set_filters(hwloc_topology_t topology)
{
    if (hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) < 0 ||
        hwloc_topology_set_type_filter(topology, HWLOC_OBJ_PACKAGE, HWLOC_TYPE_FILTER_KEEP_ALL) < 0 ||
        hwloc_topology_set_type_filter(topology, HWLOC_OBJ_GROUP, HWLOC_TYPE_FILTER_KEEP_STRUCTURE) < 0)
        return -1;
    return hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL);
}

int machine__hwloc(const char *text, size_t len, struct machine *machine, enum hwloc_stage *stage,
                   struct err *err)
{
    hwloc_topology_t topology;
    int r = -EINVAL;

    *stage = HWLOC_LOADS;
    if (hwloc_topology_init(&topology) < 0)
        return -ENOMEM;
    if (set_filters(topology) < 0 ||
        (text && hwloc_topology_set_xmlbuffer(topology, text, (int)len + 1) < 0) ||
        load(topology, text != NULL) < 0) {
        (void)err_set(err, r, text ? HWLOC_REFUSES : "hwloc cannot read this machine");
    } else {
        *stage = HWLOC_IS_WALKED;
        r = read_loaded(topology, machine, err);
    }
    *stage = HWLOC_ENDS;
    hwloc_topology_destroy(topology);
    *stage = HWLOC_DONE;
    return r;
}
