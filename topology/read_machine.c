/* The table of readers, and what they share. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/strbuf.h"
#include "topology/catalogue.h"
#include "topology/read_internal.h"

static const struct machine_reader *const readers[] = {&machine__hwloc_reader, &machine__nccl_reader,
                                                       &machine__topo_reader};

#define NREADERS (sizeof(readers) / sizeof(readers[0]))

/* ---- texts -------------------------------------------------------------------------------------------- */

bool machine__root_is(const char *text, size_t len, const char *root)
{
    size_t at = 0, n = strlen(root);

    while (at < len) {
        const char *close;

        if (isspace((unsigned char)text[at])) {
            at++;
            continue;
        }
        if (text[at] != '<' || at + 1 >= len)
            return false;
        if (len - at > 10 + n && memcmp(text + at, "<!DOCTYPE ", 10) == 0)
            return memcmp(text + at + 10, root, n) == 0;
        if (text[at + 1] != '?' && text[at + 1] != '!')
            return len - at > n + 1 && memcmp(text + at + 1, root, n) == 0 &&
                   !isalnum((unsigned char)text[at + 1 + n]);
        close = memchr(text + at, '>', len - at);
        if (!close)
            return false;
        at = (size_t)(close - text) + 1;
    }
    return false;
}

void machine__text(char ret[MACHINE_TEXT_MAX], const char *text, size_t len)
{
    size_t n = len < MACHINE_TEXT_MAX ? len : MACHINE_TEXT_MAX - 1;

    while (n > 0 && n < len && ((unsigned char)text[n] & 0xC0) == 0x80)
        n--;
    while (n > 0 && text[n - 1] == ' ')
        n--;
    memset(ret, 0, MACHINE_TEXT_MAX);
    for (size_t i = 0; i < n; i++)
        ret[i] = iscntrl((unsigned char)text[i]) ? '?' : text[i];
}

/* A hexadecimal number that ends at `stop`; moves past it. */
static int take_hex(const char **at, const char *end, char stop, unsigned long max, uint64_t *ret)
{
    uint64_t value = 0;
    const char *from = *at;

    while (*at < end && isxdigit((unsigned char)**at) && *at - from < 8) {
        char c = (char)tolower((unsigned char)**at);

        value = value * 16 + (uint64_t)(isdigit((unsigned char)c) ? c - '0' : c - 'a' + 10);
        (*at)++;
    }
    if (*at == from || value > max || (stop ? *at == end || **at != stop : *at != end))
        return -EINVAL;
    *at += stop != '\0';
    *ret = value;
    return 0;
}

int machine__pci(const char *text, size_t len, uint64_t *ret)
{
    const char *at = text, *end = text + len;
    uint64_t domain = 0, bus, device, function = 0;
    bool has_function = memchr(text, '.', len) != NULL;
    size_t colons = 0;

    for (size_t i = 0; i < len; i++)
        colons += text[i] == ':';
    if ((colons == 2 && take_hex(&at, end, ':', 0xFFFFFFFF, &domain) < 0) || colons > 2 ||
        take_hex(&at, end, ':', 0xFF, &bus) < 0 ||
        take_hex(&at, end, has_function ? '.' : '\0', 0xFF, &device) < 0 ||
        (has_function && take_hex(&at, end, '\0', 7, &function) < 0))
        return -EINVAL;
    *ret = domain << 24 | bus << 16 | device << 8 | function;
    return 0;
}

void machine__pci_text(uint64_t pci, char ret[MACHINE_TEXT_MAX])
{
    memset(ret, 0, MACHINE_TEXT_MAX);
    snprintf(ret, MACHINE_TEXT_MAX, "%04x:%02x:%02x.%x", (unsigned)(pci >> 24),
             (unsigned)(pci >> 16 & 0xFF), (unsigned)(pci >> 8 & 0xFF), (unsigned)(pci & 0xFF));
}

/* ---- a machine made whole ----------------------------------------------------------------------------- */

void machine__fill_gpu(struct machine_gpu *gpu, const struct gpu_model *model)
{
    if (!model)
        return;
    if (!gpu->product[0])
        machine__text(gpu->product, model->name, strlen(model->name));
    if (!gpu->sm)
        gpu->sm = model->sm;
    if (!gpu->gfx)
        gpu->gfx = model->gfx;
    gpu->pcie_gb_s = pcie_awake_gb_s(gpu->pcie_gb_s, model);
}

/* "8 x NVIDIA L4", where the source has no name for the machine. */
static void name_by_gpus(struct machine *machine)
{
    for (uint32_t i = 0; i < machine->ngpus; i++)
        if (!machine->gpus[i].product[0] ||
            strcmp(machine->gpus[i].product, machine->gpus[0].product) != 0)
            return;
    if (machine->ngpus)
        snprintf(machine->model, sizeof(machine->model), "%u x %.48s", machine->ngpus,
                 machine->gpus[0].product);
}

int machine__finish(const char *name, struct machine *machine, struct err *err)
{
    int r;

    if (machine->fabric == FABRIC_UNKNOWN)
        machine_fabric_of_product(machine);
    if (!machine->model[0])
        name_by_gpus(machine);
    machine_derive_paths(machine);
    r = machine_check(machine, err);
    return r < 0 ? err_prefix(err, r, "%s", name) : 0;
}

/* ---- the table ---------------------------------------------------------------------------------------- */

static int read_by(const struct machine_reader *reader, const char *name, const char *bytes, size_t len,
                   struct machine *ret, struct err *err)
{
    CLEANUP_FREE struct machine *machine = cleanup_alloc(sizeof(*machine));
    CLEANUP_FREE char *text = cleanup_alloc(len + 1); /* with the NUL that hwloc wants */
    int r;

    if (!machine || !text)
        return err_set(err, -ENOMEM, "%s: out of memory", name);
    memcpy(text, bytes, len);
    text[len] = '\0';
    r = reader->read(name, text, len, machine, err);
    if (r == 0)
        r = machine__finish(name, machine, err);
    if (r == 0)
        *ret = *machine;
    return r;
}

int machine_read(const char *name, const char *bytes, size_t len, struct machine *ret, struct err *err)
{
    if (len > MACHINE_BYTES_MAX)
        return err_set(err, -EINVAL, "%s: found %zu bytes, expected at most %d", name, len,
                       MACHINE_BYTES_MAX);
    for (size_t i = 0; i < NREADERS; i++)
        if (readers[i]->knows(bytes, len))
            return read_by(readers[i], name, bytes, len, ret, err);
    return err_set(err, -EINVAL, "%s:1: found none of the formats, expected hwloc XML (<topology>), NCCL "
                                 "topology XML (<system>) or the text of nvidia-smi topo -m", name);
}

int machine_read_file(const char *path, struct machine *ret, struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(MACHINE_BYTES_MAX);
    int r = strbuf_read_file(&text, path);

    if (r == -E2BIG)
        return err_set(err, -EINVAL, "%s: found more than %d bytes, expected fewer", path,
                       MACHINE_BYTES_MAX);
    if (r < 0)
        return err_set(err, r, "cannot read '%s': %s", path, strerror(-r));
    return machine_read(path, text.data ? text.data : "", text.len, ret, err);
}

int machine_read_named(const char *file_or_name, struct machine *ret, struct err *err)
{
    struct err second = ERR_INIT;
    int r;

    if (strcmp(file_or_name, "-") == 0 || access(file_or_name, F_OK) == 0)
        return machine_read_file(file_or_name, ret, err);
    r = catalogue_find(file_or_name, ret, &second);
    if (r < 0)
        return err_set(err, r, "'%.200s': no such file, and %s", file_or_name, second.text);
    return 0;
}
