/*
 * NCCL's topology XML (NCCL_TOPO_DUMP_FILE, or what clouds ship for NCCL_TOPO_FILE), of RCCL too. A <cpu> is a NUMA node
 * with its host bridge, a <pci> of class 0604 a switch, one with <gpu> or of a display class an accelerator, one
 * with <net> or of a network class a NIC. A link whose other end is NVSwitch, or is not visible, goes to the switches
 * (NCCL src/graph/xml.cc takes it so); files without links tell of PCIe only.
 */
#include <errno.h>
#include <expat.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "topology/read_internal.h"
#include "topology/read_nccl.h"
#include "topology/xml_scan.h"

struct parse {
    XML_Parser expat;
    const char *name;
    struct nccl_machine *out;
    struct nccl_place stack[XML_DEPTH_MAX + 1]; /* of the elements that are open */
    unsigned depth;
    struct err *err;
    int result;
};

/* ---- values --------------------------------------------------------------------------------------------- */

static const char *value_of(const char **attributes, const char *name)
{
    for (; *attributes; attributes += 2)
        if (strcmp(attributes[0], name) == 0)
            return attributes[1];
    return NULL;
}

static void bad(struct parse *parse, const char *field, const char *found, const char *expected)
{
    if (parse->result == 0)
        parse->result = err_set(parse->err, -EINVAL, "%s:%lu: %s: found '%.40s', expected %s", parse->name,
                                XML_GetCurrentLineNumber(parse->expat), field, found ? found : "nothing",
                                expected);
    XML_StopParser(parse->expat, XML_FALSE);
}

static void too_many(struct parse *parse, const char *what, int max)
{
    if (parse->result == 0)
        parse->result = err_set(parse->err, -EINVAL, "%s:%lu: found more than %d %s, expected fewer",
                                parse->name, XML_GetCurrentLineNumber(parse->expat), max, what);
    XML_StopParser(parse->expat, XML_FALSE);
}

/* Absent: `missing`. */
static int64_t number_of(struct parse *parse, const char **attributes, const char *name, int64_t missing,
                         int64_t min, int64_t max)
{
    const char *text = value_of(attributes, name);
    char expected[64];
    int64_t value;

    if (!text || parse_i64(text, strlen(text), min, max, &value) == 0)
        return text ? value : missing;
    snprintf(expected, sizeof(expected), "a whole number from %lld to %lld", (long long)min,
             (long long)max);
    bad(parse, name, text, expected);
    return missing;
}

/* "0x060400": 0 where there is none. */
static uint32_t hex_of(struct parse *parse, const char **attributes, const char *name)
{
    const char *text = value_of(attributes, name);
    char *end;
    unsigned long value;

    if (!text || !text[0])
        return 0;
    value = strtoul(text, &end, 16);
    if (*end == '\0' && value <= UINT32_MAX)
        return (uint32_t)value;
    bad(parse, name, text, "a hexadecimal number such as 0x030200");
    return 0;
}

/* "16 GT/s", "32.0 GT/s PCIe"; "" and "Unknown" leave the speed open. */
static float speed_of(struct parse *parse, const char **attributes)
{
    const char *text = value_of(attributes, "link_speed");
    int64_t lanes = number_of(parse, attributes, "link_width", 0, 0, 255);
    double gt_s = text ? strtod(text, NULL) : 0;

    return lanes <= 32 ? pcie_gb_s(gt_s, (uint32_t)lanes) : 0;
}

static uint64_t busid_of(struct parse *parse, const char **attributes, const char *name)
{
    const char *text = value_of(attributes, name);
    uint64_t pci = 0;

    if (!text || machine__pci(text, strlen(text), &pci) < 0)
        bad(parse, name, text, "a PCI address such as 0000:1a:00.0");
    return pci;
}

/* ---- elements ------------------------------------------------------------------------------------------- */

static uint32_t count_cpus(const char *mask)
{
    uint32_t n = 0;

    for (; mask && *mask; mask++) {
        char digit[2] = {*mask, '\0'};

        if (*mask != ',')
            n += (uint32_t)__builtin_popcountl(strtoul(digit, NULL, 16));
    }
    return n;
}

static enum cpu_vendor vendor_of(const char **attributes)
{
    static const struct {
        const char *text;
        enum cpu_vendor vendor;
    } vendors[] = {{"GenuineIntel", CPU_INTEL}, {"AuthenticAMD", CPU_AMD}, {"CentaurHauls", CPU_ZHAOXIN},
                   {"Shanghai", CPU_ZHAOXIN}};
    const char *vendor = value_of(attributes, "vendor"), *arch = value_of(attributes, "arch");

    for (size_t i = 0; vendor && i < sizeof(vendors) / sizeof(vendors[0]); i++)
        if (strstr(vendor, vendors[i].text))
            return vendors[i].vendor;
    if (arch && strcmp(arch, "arm64") == 0)
        return CPU_ARM;
    return arch && strncmp(arch, "ppc64", 5) == 0 ? CPU_IBM : CPU_UNKNOWN;
}

/* A NUMA node (numaid -1: the machine has none) and the host bridge for what hangs on it. */
static void open_cpu(struct parse *parse, const char **attributes, struct nccl_place *place)
{
    struct machine *machine = &parse->out->machine;
    int64_t id = number_of(parse, attributes, "numaid", -1, -1, 65535);

    if (machine->nnuma == MACHINE_NUMA_MAX || machine->nbridges == MACHINE_BRIDGES_MAX) {
        too_many(parse, "NUMA nodes", MACHINE_NUMA_MAX);
        return;
    }
    for (uint32_t i = 0; i < machine->nnuma; i++)
        if (id >= 0 && machine->numa[i].os_index == (uint32_t)id)
            bad(parse, "numaid", value_of(attributes, "numaid"), "each once");
    place->numa = -1;
    if (id >= 0) {
        place->numa = (int16_t)machine->nnuma;
        machine->numa[machine->nnuma++] = (struct machine_numa){
            .os_index = (uint32_t)id, .cpus = count_cpus(value_of(attributes, "affinity"))};
    }
    machine->cpu_vendor = vendor_of(attributes);
    machine->cpu_family = (uint32_t)number_of(parse, attributes, "familyid", 0, 0, 65535);
    machine->cpu_model = (uint32_t)number_of(parse, attributes, "modelid", 0, 0, 65535);
    place->bridge = (int16_t)machine->nbridges;
    machine->bridges[machine->nbridges++] = (struct machine_bridge){-1, place->numa, 0};
}

static void open_bridge(struct parse *parse, const char **attributes, struct nccl_place *place)
{
    struct machine *machine = &parse->out->machine;

    if (machine->nbridges == MACHINE_BRIDGES_MAX) {
        too_many(parse, "PCIe bridges", MACHINE_BRIDGES_MAX);
        return;
    }
    machine->bridges[machine->nbridges] =
        (struct machine_bridge){place->bridge, place->numa, speed_of(parse, attributes)};
    place->bridge = (int16_t)machine->nbridges++;
}

static void open_gpu(struct parse *parse, const char **attributes, struct nccl_place *place)
{
    struct nccl_machine *out = parse->out;
    struct nccl_gpu *gpu = &out->gpus[out->ngpus];
    uint32_t vendor = hex_of(parse, attributes, "vendor");

    if (out->ngpus == MACHINE_GPUS_MAX) {
        too_many(parse, "accelerators", MACHINE_GPUS_MAX);
        return;
    }
    gpu->pci = busid_of(parse, attributes, "busid");
    gpu->model = gpu_model_of_pci(vendor, hex_of(parse, attributes, "device"));
    gpu->gpu.numa = place->numa;
    gpu->gpu.bridge = place->bridge;
    gpu->gpu.pcie_gb_s = speed_of(parse, attributes);
    place->gpu = (int)out->ngpus++;
}

static void open_nic(struct parse *parse, uint64_t pci, float gb_s, struct nccl_place *place)
{
    struct nccl_machine *out = parse->out;

    if (out->nnics == MACHINE_NICS_MAX) {
        too_many(parse, "NICs", MACHINE_NICS_MAX);
        return;
    }
    out->nics[out->nnics].pci = pci;
    out->nics[out->nnics].nic = (struct machine_nic){.numa = place->numa, .bridge = place->bridge,
                                                     .pcie_gb_s = gb_s};
    if (pci)
        machine__pci_text(pci, out->nics[out->nnics].nic.pci);
    place->nic = (int)out->nnics++;
}

static void open_pci(struct parse *parse, const char **attributes, struct nccl_place *place)
{
    uint32_t class = hex_of(parse, attributes, "class") >> 8;

    if (class == 0x0604)
        open_bridge(parse, attributes, place);
    else if (class >> 8 == 0x03 || class >> 8 == 0x12)
        open_gpu(parse, attributes, place);
    else if (class >> 8 == 0x02)
        open_nic(parse, busid_of(parse, attributes, "busid"), speed_of(parse, attributes), place);
}

/* "942", "gfx942", "gfx90a:sramecc+": 942, and 910 as RCCL counts gfx90a. */
static uint16_t gfx_of(const char *text)
{
    char *end;
    unsigned long value;

    if (!text)
        return 0;
    value = strtoul(strncmp(text, "gfx", 3) == 0 ? text + 3 : text, &end, 16);
    if (value > 0xFFFF)
        return 0;
    return (uint16_t)((value >> 8) * 100 + (value >> 4 & 15) * 10 + (value & 15));
}

static void open_gpu_details(struct parse *parse, const char **attributes, const struct nccl_place *place)
{
    struct nccl_gpu *gpu;

    if (place->gpu < 0) {
        bad(parse, "gpu", "one outside of a pci of class 0x0302", "it within one");
        return;
    }
    gpu = &parse->out->gpus[place->gpu];
    gpu->gpu.sm = (uint16_t)number_of(parse, attributes, "sm", 0, 0, 9999);
    gpu->gpu.gfx = gfx_of(value_of(attributes, "gcn"));
}

static void open_link(struct parse *parse, const char **attributes, const struct nccl_place *place)
{
    struct nccl_gpu *gpu;

    if (place->gpu < 0) {
        bad(parse, "target", "a link outside of an accelerator", "it within <gpu>");
        return;
    }
    gpu = &parse->out->gpus[place->gpu];
    if (gpu->nlinks == NCCL_LINKS_MAX) {
        too_many(parse, "links of one accelerator", NCCL_LINKS_MAX);
        return;
    }
    gpu->links[gpu->nlinks].target = busid_of(parse, attributes, "target");
    gpu->links[gpu->nlinks].class = hex_of(parse, attributes, "tclass");
    gpu->links[gpu->nlinks++].count = (uint32_t)number_of(parse, attributes, "count", 1, 1, 255);
}

/* A port. One that stands below no PCI device is a NIC by itself (virtual ones are). */
static void open_net(struct parse *parse, const char **attributes, struct nccl_place *place)
{
    const char *name = value_of(attributes, "name");
    struct machine_nic *nic;

    if (place->nic < 0)
        open_nic(parse, 0, 0, place);
    if (place->nic < 0)
        return;
    nic = &parse->out->nics[place->nic].nic;
    if (!nic->name[0] && name)
        machine__text(nic->name, name, strlen(name));
    nic->gbit_s += (float)number_of(parse, attributes, "speed", 0, -1, 100000000) / 1000;
    if (nic->gbit_s < 0)
        nic->gbit_s = 0;
}

static void XMLCALL start(void *context, const char *element, const char **attributes)
{
    struct parse *parse = context;
    struct nccl_place *place = &parse->stack[parse->depth + 1];

    *place = parse->stack[parse->depth];
    parse->depth++;
    if (strcmp(element, "cpu") == 0)
        open_cpu(parse, attributes, place);
    else if (strcmp(element, "pci") == 0)
        open_pci(parse, attributes, place);
    else if (strcmp(element, "gpu") == 0)
        open_gpu_details(parse, attributes, place);
    else if (strcmp(element, "nvlink") == 0 || strcmp(element, "xgmi") == 0)
        open_link(parse, attributes, place);
    else if (strcmp(element, "net") == 0)
        open_net(parse, attributes, place);
}

static void XMLCALL end(void *context, const char *element)
{
    struct parse *parse = context;

    (void)element;
    parse->depth--;
}

static int parse_text(struct parse *parse, const char *text, size_t len)
{
    if (XML_Parse(parse->expat, text, (int)len, XML_TRUE) == XML_STATUS_OK)
        return parse->result;
    if (parse->result < 0)
        return parse->result;
    return err_set(parse->err, -EINVAL, "%s:%lu: found %s, expected well-formed XML", parse->name,
                   XML_GetCurrentLineNumber(parse->expat),
                   XML_ErrorString(XML_GetErrorCode(parse->expat)));
}

/* ---- the reader ----------------------------------------------------------------------------------------- */

static bool knows(const char *text, size_t len)
{
    return machine__root_is(text, len, "system");
}

static int read_nccl(const char *name, const char *text, size_t len, struct machine *machine,
                     struct err *err)
{
    CLEANUP_FREE struct nccl_machine *out = cleanup_alloc(sizeof(*out));
    struct parse parse = {.name = name, .out = out, .stack = {{-1, -1, -1, -1}}, .err = err};
    int r = xml_scan(name, text, len, NULL, NULL, err);

    if (r < 0)
        return r;
    parse.expat = out ? XML_ParserCreate("UTF-8") : NULL;
    if (!parse.expat)
        return err_set(err, -ENOMEM, "%s: out of memory", name);
    XML_SetUserData(parse.expat, &parse);
    XML_SetElementHandler(parse.expat, start, end);
    r = parse_text(&parse, text, len);
    XML_ParserFree(parse.expat);
    if (r == 0)
        nccl__take(out, machine);
    return r;
}

const struct machine_reader machine__nccl_reader = {"NCCL topology XML", knows, read_nccl};
