/* A machine as a drawing: sockets as frames, NUMA nodes in them, accelerators and NICs as boxes, links by colour. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "scheduler/cli/machine_show.h"

enum { MARGIN = 20, BOX_W = 108, BOX_H = 44, GAP = 14, HEAD = 26, ARC_MAX = 220 };

struct drawing {
    const struct machine *machine;
    struct strbuf *out, *numa; /* numa: frames that lie over those of sockets */
    int gpu_x[MACHINE_GPUS_MAX], nic_x[MACHINE_NICS_MAX]; /* left edges */
    int top, width; /* of the frames */
};

static const struct {
    const char *colour, *text;
} links[LINK_CLASSES] = {
    [LINK_NVLINK] = {"#1a7f37", "NVLink"}, [LINK_XGMI] = {"#1a7f37", "xGMI"},
    [LINK_PIX] = {"#0969da", "PIX: one PCIe switch"}, [LINK_PXB] = {"#54aeff", "PXB: PCIe switches"},
    [LINK_PHB] = {"#bf8700", "PHB: host bridge"}, [LINK_NODE] = {"#d4a72c", "NODE: one NUMA node"},
    [LINK_SYS] = {"#cf222e", "SYS: between NUMA nodes"}};

/* Text from outside into XML. */
static void add_text(struct strbuf *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            strbuf_adds(out, "&lt;");
            break;
        case '>':
            strbuf_adds(out, "&gt;");
            break;
        case '&':
            strbuf_adds(out, "&amp;");
            break;
        default:
            strbuf_addc(out, *text);
        }
    }
}

static void add_label(struct strbuf *out, int x, int y, const char *class, const char *text)
{
    strbuf_addf(out, "<text x=\"%d\" y=\"%d\" class=\"%s\">", x, y, class);
    add_text(out, text);
    strbuf_adds(out, "</text>\n");
}

static void add_frame(struct strbuf *out, int x, int y, int width, int height, const char *class)
{
    strbuf_addf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\" class=\"%s\"/>\n", x, y,
                width, height, class);
}

/* ---- where things stand --------------------------------------------------------------------------------- */

/* One column a device, NUMA node by NUMA node; -1: those of which it is not known. Right edge. */
static int place_numa(struct drawing *drawing, int numa, int x)
{
    for (uint32_t i = 0; i < drawing->machine->ngpus; i++)
        if (drawing->machine->gpus[i].numa == numa) {
            drawing->gpu_x[i] = x;
            x += BOX_W + GAP;
        }
    for (uint32_t i = 0; i < drawing->machine->nnics; i++)
        if (drawing->machine->nics[i].numa == numa) {
            drawing->nic_x[i] = x;
            x += BOX_W + GAP;
        }
    return x;
}

static void draw_numa(struct drawing *drawing, int numa, int from, int to)
{
    char text[64];

    add_frame(drawing->numa, from - GAP / 2, drawing->top + HEAD, to - from, 2 * HEAD + BOX_H, "numa");
    if (numa >= 0)
        snprintf(text, sizeof(text), "NUMA %u", drawing->machine->numa[numa].os_index);
    else
        snprintf(text, sizeof(text), "NUMA node not known");
    add_label(drawing->numa, from, drawing->top + HEAD + 17, "small", text);
}

/* A NUMA node without a device has an empty box. */
static int draw_and_place(struct drawing *drawing, int numa, int x)
{
    int to = place_numa(drawing, numa, x);

    if (to == x)
        to += BOX_W + GAP;
    draw_numa(drawing, numa, x, to);
    return to + GAP;
}

static void draw_frames(struct drawing *drawing)
{
    const struct machine *machine = drawing->machine;
    uint32_t sockets = machine->sockets ? machine->sockets : 1;
    bool lost = false;
    int x = MARGIN + GAP;

    for (uint32_t socket = 0; socket < sockets; socket++) {
        int from = x;
        char text[32];

        for (uint32_t i = 0; i < machine->nnuma; i++)
            if (machine->numa[i].socket == socket)
                x = draw_and_place(drawing, (int)i, x);
        if (x == from || !machine->sockets)
            continue;
        snprintf(text, sizeof(text), "socket %u", socket);
        add_frame(drawing->out, from - GAP, drawing->top, x - from + GAP / 2, 4 * HEAD + BOX_H, "socket");
        add_label(drawing->out, from - GAP / 2, drawing->top + 18, "head", text);
        x += 2 * GAP;
    }
    for (uint32_t i = 0; i < machine->ngpus; i++)
        lost |= machine->gpus[i].numa < 0;
    for (uint32_t i = 0; i < machine->nnics; i++)
        lost |= machine->nics[i].numa < 0;
    if (lost)
        x = draw_and_place(drawing, -1, x);
    drawing->width = x + MARGIN;
}

/* ---- devices and links ---------------------------------------------------------------------------------- */

static void draw_device(struct drawing *drawing, int x, const char *class, const char *name,
                        const char *below)
{
    int y = drawing->top + 2 * HEAD;

    add_frame(drawing->out, x, y, BOX_W, BOX_H, class);
    add_label(drawing->out, x + 8, y + 18, "head", name);
    add_label(drawing->out, x + 8, y + 35, "small", below);
}

static void draw_devices(struct drawing *drawing)
{
    for (uint32_t i = 0; i < drawing->machine->ngpus; i++) {
        char name[16];

        snprintf(name, sizeof(name), "GPU%u", i);
        draw_device(drawing, drawing->gpu_x[i], "gpu", name, drawing->machine->gpus[i].pci);
    }
    for (uint32_t i = 0; i < drawing->machine->nnics; i++) {
        char name[16], speed[32] = "";

        snprintf(name, sizeof(name), "%.14s", drawing->machine->nics[i].name);
        if (drawing->machine->nics[i].gbit_s > 0)
            snprintf(speed, sizeof(speed), "%.4g Gbit/s", (double)drawing->machine->nics[i].gbit_s);
        draw_device(drawing, drawing->nic_x[i], "nic", name, speed);
    }
}

/* An arc above the boxes for a link, below them for a path over PCIe. */
static void draw_link(struct drawing *drawing, uint32_t a, uint32_t b)
{
    const struct machine_link *link = &drawing->machine->link[a][b];
    bool above = link->class == LINK_NVLINK || link->class == LINK_XGMI;
    int from = drawing->gpu_x[a] + BOX_W / 2, to = drawing->gpu_x[b] + BOX_W / 2;
    int y = drawing->top + 2 * HEAD + (above ? 0 : BOX_H), rise = abs(to - from) / 3 + 20;
    double width = link->gb_s > 0 ? 0.8 + log2(1 + (double)link->gb_s / 10) / 1.5 : 1;

    if (!links[link->class].colour)
        return;
    rise = rise < ARC_MAX ? rise : ARC_MAX;
    strbuf_addf(drawing->out,
                "<path d=\"M%d %d C%d %d %d %d %d %d\" stroke=\"%s\" stroke-width=\"%.1f\"><title>GPU%u - "
                "GPU%u: %s", from, y, from, y + (above ? -rise : rise), to, y + (above ? -rise : rise), to,
                y, links[link->class].colour, width, a, b, links[link->class].text);
    if (link->links)
        strbuf_addf(drawing->out, ", %u links", link->links);
    if (link->gb_s > 0)
        strbuf_addf(drawing->out, ", %.4g GB/s", (double)link->gb_s);
    strbuf_adds(drawing->out, "</title></path>\n");
}

static void draw_legend(struct drawing *drawing, int y)
{
    bool used[LINK_CLASSES] = {false};
    int x = MARGIN;

    for (uint32_t a = 0; a < drawing->machine->ngpus; a++)
        for (uint32_t b = a + 1; b < drawing->machine->ngpus; b++)
            used[drawing->machine->link[a][b].class] = true;
    for (unsigned i = 0; i < LINK_CLASSES; i++) {
        if (!used[i] || !links[i].colour)
            continue;
        strbuf_addf(drawing->out, "<path d=\"M%d %d h24\" stroke=\"%s\" stroke-width=\"3\"/>\n", x, y - 4,
                    links[i].colour);
        add_label(drawing->out, x + 30, y, "small", links[i].text);
        x += 190;
    }
    drawing->width = drawing->width > x ? drawing->width : x;
}

void machine_svg(const struct machine *machine, struct strbuf *out)
{
    struct strbuf body = STRBUF_INIT(out->max);
    struct strbuf numa = STRBUF_INIT(out->max);
    struct drawing drawing = {.machine = machine, .out = &body, .numa = &numa, .top = MARGIN + HEAD + ARC_MAX * 3 / 4};
    int bottom = drawing.top + 4 * HEAD + BOX_H, height = bottom + ARC_MAX * 3 / 4 + 2 * HEAD;

    draw_frames(&drawing);
    if (numa.failed || strbuf_add(&body, numa.data ? numa.data : "", numa.len) < 0)
        body.failed = true;
    strbuf_adds(&body, "<g fill=\"none\">\n");
    for (uint32_t a = 0; a < machine->ngpus; a++)
        for (uint32_t b = a + 1; b < machine->ngpus; b++)
            draw_link(&drawing, a, b);
    strbuf_adds(&body, "</g>\n");
    draw_devices(&drawing);
    add_label(&body, MARGIN, MARGIN + 6, "title", machine->model[0] ? machine->model : "machine");
    draw_legend(&drawing, height - HEAD);
    strbuf_addf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n"
                "<style>text{font-family:sans-serif}.title{font-size:18px;font-weight:bold}"
                ".head{font-size:13px;font-weight:bold}.small{font-size:11px;fill:#57606a}"
                ".socket{fill:#f6f8fa;stroke:#8c959f}.numa{fill:#ffffff;stroke:#d0d7de}"
                ".gpu{fill:#dafbe1;stroke:#1a7f37}.nic{fill:#ddf4ff;stroke:#0969da}</style>\n"
                "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
                drawing.width, height, drawing.width, height);
    if (body.failed || strbuf_add(out, body.data, body.len) < 0)
        out->failed = true;
    strbuf_adds(out, "</svg>\n");
    strbuf_release(&body);
    strbuf_release(&numa);
}
