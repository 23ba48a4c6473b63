/*
 * The text of `nvidia-smi topo -m`: a matrix of classes between GPUs (and NICs), with columns for the CPUs and the NUMA
 * node of each. It names no product, so speeds are known only where all models with so many links have the same.
 * Terminal colours in it are passed over; so is what stands before the matrix, such as the command typed.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "topology/read_internal.h"

#define COLUMNS_MAX (MACHINE_GPUS_MAX + MACHINE_NICS_MAX)
#define WORDS_MAX (COLUMNS_MAX + 16)
#define LINKS_OF_ONE_MAX 18 /* of any model so far (Hopper, Blackwell) */

struct word {
    const char *at;
    size_t len;
};

struct line {
    unsigned number;
    size_t n;
    struct word words[WORDS_MAX];
};

struct topo {
    const char *name;
    struct machine *machine;
    struct word columns[COLUMNS_MAX]; /* GPUs first, then NICs */
    uint32_t ncolumns;
    bool has_row[MACHINE_GPUS_MAX], has_numa;
    int64_t numa[MACHINE_GPUS_MAX]; /* number of the NUMA node, -1: not said */
    uint32_t cpus[MACHINE_GPUS_MAX];
    struct err *err;
};

static bool word_is(struct word word, const char *text)
{
    return word.len == strlen(text) && memcmp(word.at, text, word.len) == 0;
}

/* "GPU7": 7; -1: no such word. */
static int numbered(struct word word, const char *prefix)
{
    size_t len = strlen(prefix);
    uint64_t number;

    if (word.len <= len || memcmp(word.at, prefix, len) != 0 ||
        parse_u64(word.at + len, word.len - len, 9999, &number) < 0)
        return -1;
    return (int)number;
}

static int bad(const struct topo *topo, unsigned line, struct word found, const char *expected)
{
    return err_set(topo->err, -EINVAL, "%s:%u: found '%.*s', expected %s", topo->name, line,
                   found.len < 40 ? (int)found.len : 40, found.at, expected);
}

/* ---- words ---------------------------------------------------------------------------------------------- */

/* In place: drops ESC [ ... letter. */
static size_t strip_colours(char *text, size_t len)
{
    size_t to = 0;

    for (size_t at = 0; at < len; at++) {
        if (text[at] == '\033') {
            while (at + 1 < len && !isalpha((unsigned char)text[at + 1]) && text[at + 1] != '\n')
                at++;
            at += at + 1 < len && text[at + 1] != '\n';
            continue;
        }
        text[to++] = text[at];
    }
    return to;
}

/* The words of the next line; false: no more lines. Further words than fit are dropped: no row has as many. */
static bool next_line(const char **at, const char *end, struct line *line)
{
    const char *stop = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;

    if (*at >= end)
        return false;
    if (!stop)
        stop = end;
    line->number++;
    line->n = 0;
    for (const char *c = *at; c < stop && line->n < WORDS_MAX;) {
        const char *from;

        while (c < stop && isspace((unsigned char)*c))
            c++;
        from = c;
        while (c < stop && !isspace((unsigned char)*c))
            c++;
        if (c > from)
            line->words[line->n++] = (struct word){from, (size_t)(c - from)};
    }
    *at = stop + 1;
    return true;
}

/* ---- the head ------------------------------------------------------------------------------------------- */

static int read_head(struct topo *topo, const struct line *line)
{
    struct machine *machine = topo->machine;

    for (size_t i = 0; i < line->n && !word_is(line->words[i], "CPU"); i++) {
        bool is_gpu = numbered(line->words[i], "GPU") >= 0;

        if (is_gpu && (machine->nnics || numbered(line->words[i], "GPU") != (int)machine->ngpus))
            return bad(topo, line->number, line->words[i], "GPU0, GPU1 and so on, then NICs");
        if (is_gpu ? machine->ngpus == MACHINE_GPUS_MAX : machine->nnics == MACHINE_NICS_MAX)
            return bad(topo, line->number, line->words[i], "at most 32 GPUs and 64 NICs");
        topo->columns[topo->ncolumns++] = line->words[i];
        if (is_gpu) {
            machine->gpus[machine->ngpus].numa = machine->gpus[machine->ngpus].bridge = -1;
            machine->ngpus++;
            continue;
        }
        machine->nics[machine->nnics].numa = machine->nics[machine->nnics].bridge = -1;
        machine__text(machine->nics[machine->nnics++].name, line->words[i].at, line->words[i].len);
    }
    for (size_t i = 0; i + 1 < line->n; i++)
        topo->has_numa |= word_is(line->words[i], "NUMA") && word_is(line->words[i + 1], "Affinity");
    return 0;
}

/* ---- rows ----------------------------------------------------------------------------------------------- */

static int read_class(struct word word, struct machine_link *ret)
{
    static const struct {
        const char *text;
        enum link_class class;
    } classes[] = {{"X", LINK_SELF},     {"PIX", LINK_PIX}, {"PXB", LINK_PXB}, {"PHB", LINK_PHB},
                   {"NODE", LINK_NODE}, {"SYS", LINK_SYS}, {"SOC", LINK_SYS}, {"N/A", LINK_UNKNOWN}};
    int links = numbered(word, "NV");

    *ret = (struct machine_link){0};
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (word_is(word, classes[i].text)) {
            ret->class = (uint8_t)classes[i].class;
            return 0;
        }
    if (links < 1 || links > LINKS_OF_ONE_MAX)
        return -EINVAL;
    ret->class = LINK_NVLINK;
    ret->links = (uint8_t)links;
    return 0;
}

static int read_cell(struct topo *topo, const struct line *line, uint32_t row, uint32_t column)
{
    struct machine *machine = topo->machine;
    struct word word = line->words[column + 1];
    struct machine_link link, *to = column < machine->ngpus ? &machine->link[row][column] : NULL;

    if (read_class(word, &link) < 0)
        return bad(topo, line->number, word, "X, NV1 to NV18, PIX, PXB, PHB, NODE or SYS");
    if ((link.class == LINK_SELF) != (row == column))
        return bad(topo, line->number, word, "X between a device and itself alone");
    if (!to) {
        if (link.class == LINK_NVLINK)
            return bad(topo, line->number, word, "no NVLink to a NIC");
        machine->nic_class[row][column - machine->ngpus] = link.class;
        return 0;
    }
    if (column < row && (machine->link[column][row].class != link.class ||
                         machine->link[column][row].links != link.links))
        return bad(topo, line->number, word, "the same as in the other one's row");
    *to = link;
    return 0;
}

/* "0-47,96-143": how many. 0: no such list. */
static uint32_t count_of_list(struct word word)
{
    uint64_t count = 0, from, to;

    for (const char *at = word.at, *end = word.at + word.len; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *dash;

        if (!comma)
            comma = end;
        dash = memchr(at, '-', (size_t)(comma - at));
        if (parse_u64(at, (size_t)((dash ? dash : comma) - at), 65535, &from) < 0)
            return 0;
        to = from;
        if (dash && (parse_u64(dash + 1, (size_t)(comma - dash - 1), 65535, &to) < 0 || to < from))
            return 0;
        count += to - from + 1;
        at = comma + 1;
    }
    return count <= 65536 ? (uint32_t)count : 0;
}

/* After the matrix: CPU affinity, and where the head says so NUMA affinity. */
static void read_affinity(struct topo *topo, const struct line *line, uint32_t row)
{
    size_t at = topo->ncolumns + 1;
    uint64_t numa;

    if (at < line->n)
        topo->cpus[row] = count_of_list(line->words[at]);
    if (topo->has_numa && at + 1 < line->n &&
        parse_u64(line->words[at + 1].at, line->words[at + 1].len, 65535, &numa) == 0)
        topo->numa[row] = (int64_t)numa;
}

static int read_row(struct topo *topo, const struct line *line)
{
    uint32_t row = 0;

    while (row < topo->ncolumns && (topo->columns[row].len != line->words[0].len ||
                                    memcmp(topo->columns[row].at, line->words[0].at,
                                           line->words[0].len) != 0))
        row++;
    if (row == topo->ncolumns)
        return bad(topo, line->number, line->words[0], "a device that the head names");
    if (line->n <= topo->ncolumns)
        return err_set(topo->err, -EINVAL, "%s:%u: found %zu columns, expected %u", topo->name,
                       line->number, line->n - 1, topo->ncolumns);
    if (row >= topo->machine->ngpus)
        return 0; /* a NIC's: the same again */
    if (topo->has_row[row])
        return bad(topo, line->number, line->words[0], "each device once");
    topo->has_row[row] = true;
    for (uint32_t column = 0; column < topo->ncolumns; column++)
        if (read_cell(topo, line, row, column) < 0)
            return -EINVAL;
    read_affinity(topo, line, row);
    return 0;
}

/* "NIC0: mlx5_0" of the legend. */
static void read_legend(struct topo *topo, const struct line *line)
{
    struct word word = line->words[0];

    if (line->n != 2 || word.len < 2 || word.at[word.len - 1] != ':')
        return;
    word.len--;
    for (uint32_t i = 0; i < topo->machine->nnics; i++) {
        struct word column = topo->columns[topo->machine->ngpus + i];

        if (column.len == word.len && memcmp(column.at, word.at, word.len) == 0)
            machine__text(topo->machine->nics[i].name, line->words[1].at, line->words[1].len);
    }
}

/* ---- what follows from it ------------------------------------------------------------------------------- */

static void take_numa(struct topo *topo)
{
    struct machine *machine = topo->machine;

    for (uint32_t i = 0; i < machine->ngpus; i++) {
        uint32_t at = 0;

        if (topo->numa[i] < 0)
            continue;
        while (at < machine->nnuma && machine->numa[at].os_index < (uint64_t)topo->numa[i])
            at++;
        if (at < machine->nnuma && machine->numa[at].os_index == (uint64_t)topo->numa[i])
            continue;
        memmove(&machine->numa[at + 1], &machine->numa[at],
                (machine->nnuma++ - at) * sizeof(machine->numa[0]));
        machine->numa[at] =
            (struct machine_numa){.os_index = (uint32_t)topo->numa[i], .cpus = topo->cpus[i]};
    }
    for (uint32_t i = 0; i < machine->ngpus; i++)
        for (uint32_t k = 0; k < machine->nnuma; k++)
            if (topo->numa[i] >= 0 && machine->numa[k].os_index == (uint64_t)topo->numa[i])
                machine->gpus[i].numa = (int16_t)k;
}

/* Links of one accelerator; through switches the matrix shows all of them in each cell. */
static uint32_t links_of_one(const struct machine *machine, uint32_t gpu, bool *ret_switched)
{
    uint32_t sum = 0, most = 0;

    for (uint32_t i = 0; i < machine->ngpus; i++) {
        sum += machine->link[gpu][i].links;
        most = machine->link[gpu][i].links > most ? machine->link[gpu][i].links : most;
    }
    *ret_switched = sum > LINKS_OF_ONE_MAX;
    return *ret_switched ? most : sum;
}

static void take_fabric(struct machine *machine)
{
    bool switched = false, any = false, complete = true;
    struct gpu_family family;
    uint32_t links = 0;

    for (uint32_t i = 0; i < machine->ngpus; i++) {
        bool by_switch;

        links = links_of_one(machine, i, &by_switch);
        switched |= by_switch;
        any |= links > 0;
        for (uint32_t k = 0; k < machine->ngpus; k++)
            complete &= machine->link[i][k].class != LINK_UNKNOWN;
    }
    if (!any && (!complete || machine->ngpus < 2))
        return;
    snprintf(machine->fabric_from, sizeof(machine->fabric_from), "nvidia-smi topo -m");
    machine->fabric = switched ? FABRIC_SWITCH : any ? FABRIC_MESH : FABRIC_NONE;
    for (uint32_t i = 0; i < machine->ngpus; i++) {
        bool by_switch;

        links = links_of_one(machine, i, &by_switch);
        family = gpu_family_of_links(links, by_switch);
        machine->gpus[i].sm = family.sm;
        machine->nvls |= family.nvls;
        for (uint32_t k = 0; k < machine->ngpus; k++)
            machine->link[i][k].gb_s = family.link_gb_s * (float)machine->link[i][k].links;
    }
    for (uint32_t i = 0; i < machine->ngpus; i++)
        for (uint32_t k = 0; k < i; k++) /* unlike ends: the slower one's */
            machine_join(machine, i, k,
                         machine->link[i][k].gb_s < machine->link[k][i].gb_s ? machine->link[i][k]
                                                                             : machine->link[k][i]);
}

/* ---- the reader ----------------------------------------------------------------------------------------- */

static bool knows(const char *text, size_t len)
{
    return memmem(text, len < 65536 ? len : 65536, "GPU0", 4) != NULL;
}

static int read_lines(struct topo *topo, const char *text, size_t len)
{
    struct line line = {0};
    bool in_matrix = false, after = false;
    int r = 0;

    for (const char *at = text; r == 0 && next_line(&at, text + len, &line);) {
        if (!topo->ncolumns) {
            if (line.n && word_is(line.words[0], "GPU0"))
                r = read_head(topo, &line);
            in_matrix = topo->ncolumns > 0;
        } else if (in_matrix && line.n) {
            r = read_row(topo, &line);
        } else if (line.n && after) {
            read_legend(topo, &line);
        }
        if (in_matrix && line.n == 0) {
            in_matrix = false;
            after = true;
        }
    }
    for (uint32_t i = 0; r == 0 && i < topo->machine->ngpus; i++)
        if (!topo->has_row[i])
            return err_set(topo->err, -EINVAL, "%s:%u: found no row of GPU%u, expected one of each",
                           topo->name, line.number, i);
    if (r == 0 && !topo->ncolumns)
        return err_set(topo->err, -EINVAL, "%s:%u: found no line that begins with GPU0, expected the head "
                                           "of the matrix", topo->name, line.number);
    return r;
}

static int read_topo(const char *name, const char *text, size_t len, struct machine *machine,
                     struct err *err)
{
    CLEANUP_FREE struct topo *topo = cleanup_alloc(sizeof(*topo));
    CLEANUP_FREE char *copy = cleanup_alloc(len + 1);
    int r;

    if (!topo || !copy)
        return err_set(err, -ENOMEM, "%s: out of memory", name);
    if (memchr(text, '\0', len) || !utf8_valid(text, len))
        return err_set(err, -EINVAL, "%s: found bytes that are no text, expected UTF-8 without NUL",
                       name);
    memcpy(copy, text, len);
    topo->name = name;
    topo->machine = machine;
    topo->err = err;
    memset(topo->numa, -1, sizeof(topo->numa));
    r = read_lines(topo, copy, strip_colours(copy, len));
    if (r == 0) {
        take_numa(topo);
        take_fabric(machine);
    }
    return r;
}

const struct machine_reader machine__topo_reader = {"nvidia-smi topo -m", knows, read_topo};
