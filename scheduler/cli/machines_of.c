#include "scheduler/cli/machines_of.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "scheduler/cli/load_internal.h"
#include "scheduler/kube/node_topology.h"
#include "topology/catalogue.h"

struct asked {
    struct node_machine *nodes;
    size_t n;
};

static struct node_machine *find(const struct asked *asked, const json_t *object)
{
    const char *name = json_string_value(json_object_get(json_object_get(object, "metadata"), "name"));

    for (size_t i = 0; name && i < asked->n; i++)
        if (strcmp(asked->nodes[i].name, name) == 0)
            return &asked->nodes[i];
    return NULL;
}

static const char *label(const json_t *object, const char *key)
{
    const json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");
    const char *value = json_string_value(json_object_get(labels, key));

    return value ? value : "";
}

/* A NodeTopology that was there before knows better. */
static void take_node(struct node_machine *node, const json_t *object)
{
    const char *count = label(object, "nvidia.com/gpu.count");
    struct err err = ERR_INIT; /* not in the catalogue: not known, and no error */
    uint64_t gpus;

    node->found = true;
    snprintf(node->clique, sizeof(node->clique), "%s", label(object, "nvidia.com/gpu.clique"));
    if (!node->known && parse_u64(count, strlen(count), MACHINE_GPUS_MAX, &gpus) == 0)
        node->known = catalogue_find_product(label(object, "nvidia.com/gpu.product"), (uint32_t)gpus,
                                             &node->machine, &err) == 0;
}

static int take(void *context, const char *kind, json_t *object, struct err *err)
{
    struct node_machine *node = find(context, object);

    if (!node)
        return 0;
    if (strcmp(kind, "Node") == 0)
        take_node(node, object);
    else if (strcmp(kind, "NodeTopology") == 0) {
        int r = read_node_topology(object, &node->machine, err);

        if (r < 0)
            return r;
        node->found = node->known = true;
    }
    return 0;
}

int machines_of(const char *path, struct node_machine *nodes, size_t n, struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(FILE_MAX);
    CLEANUP(yaml_docs_release) struct yaml_docs docs = {0};
    struct asked asked = {nodes, n};
    const char *name;
    int r = load_text(path, &text, &name, err);

    if (r == 0)
        r = yaml_load(name, text.data, text.len, DOCS_MAX, &docs, err);
    return r < 0 ? r : each_object(name, &docs, take, &asked, err);
}
