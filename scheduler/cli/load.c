/* Files of Kubernetes objects into the core, by the readers that the extender uses. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/intern.h"
#include "scheduler/cli/load_internal.h"
#include "scheduler/kube/read.h"

int load_text(const char *path, struct strbuf *ret_text, const char **ret_name, struct err *err)
{
    int r = strbuf_read_file(ret_text, path);

    *ret_name = strcmp(path, "-") == 0 ? "standard input" : path;
    return r < 0 ? err_set(err, r, "cannot read '%s': %s", *ret_name, strerror(-r)) : 0;
}

/* Items of a typed list, such as a PodList of kubectl get --raw, leave it to the list what they are. */
static void name_item(const json_t *list, json_t *item)
{
    const char *kind = json_string_value(json_object_get(list, "kind"));
    size_t len = strlen(kind), end = strlen("List");

    if (json_object_get(item, "kind") || len <= end || strcmp(kind + len - end, "List") != 0)
        return;
    json_object_set_new(item, "kind", json_stringn(kind, len - end));
    if (!json_object_get(item, "apiVersion"))
        json_object_set(item, "apiVersion", json_object_get(list, "apiVersion"));
}

static int each_item(const json_t *list, object_fn *fn, void *context, struct err *err)
{
    const json_t *items = json_object_get(list, "items");

    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *item = json_array_get(items, i);
        const char *kind;
        int r;

        name_item(list, item);
        kind = json_string_value(json_object_get(item, "kind"));
        r = kind ? fn(context, kind, item, err)
                 : err_set(err, -EINVAL, "items[%zu].kind: missing", i);
        if (r < 0)
            return r;
    }
    return 0;
}

int each_object(const char *name, const struct yaml_docs *docs, object_fn *fn, void *context,
                struct err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < docs->n; i++) {
        const json_t *items = json_object_get(docs->items[i], "items");
        const char *kind = json_string_value(json_object_get(docs->items[i], "kind"));

        if (!kind)
            return err_set(err, -EINVAL, "%s: document %zu: kind: missing, expected a Kubernetes "
                                         "object", name, i + 1);
        r = json_is_array(items) ? each_item(docs->items[i], fn, context, err)
                                 : fn(context, kind, docs->items[i], err);
    }
    return r < 0 ? err_prefix(err, r, "%s", name) : 0;
}

int give_object(struct loader *loader, struct event event, int r)
{
    if (r == 0)
        core_step(loader->core, &event, loader->now_ns, &loader->actions);
    return r;
}

int set_text(char **field, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        return -ENOMEM;
    intern_free(*field);
    *field = copy;
    return 0;
}

int give_uid(struct obj_pod *pod)
{
    char uid[UID_TEXT];

    snprintf(uid, sizeof(uid), "plan:%s/%s", pod->ns, pod->name);
    return pod->uid[0] ? 0 : set_text(&pod->uid, uid);
}

int load_object(void *context, const char *kind, json_t *object, struct err *err)
{
    struct loader *loader = context;
    struct event event = {0};
    int r;

    if (strcmp(kind, "Node") == 0) {
        event.kind = EV_NODE;
        r = read_node(object, &event.object.node, err);
        loader->nodes++;
    } else if (strcmp(kind, "NodeTopology") == 0) {
        event.kind = EV_MACHINE;
        r = read_machine(object, &event.object.machine, err);
    } else if (strcmp(kind, "Pod") == 0) {
        event.kind = EV_POD;
        r = read_pod(object, &event.object.pod, err);
        if (r == 0) {
            r = give_uid(event.object.pod);
            if (r < 0)
                obj_pod_free(event.object.pod);
        }
        loader->pods++;
    } else if (strcmp(kind, "Job") == 0) {
        event.kind = EV_JOB;
        r = read_job(object, &event.object.job, err);
    } else if (strcmp(kind, "PodGroup") == 0) {
        event.kind = EV_GROUP;
        r = read_group(object, &event.object.group, err);
    } else if (strcmp(kind, "Namespace") == 0) {
        event.kind = EV_NAMESPACE;
        r = read_namespace(object, &event.object.ns, err);
    } else if (strcmp(kind, "GangPlacement") == 0) {
        event.kind = EV_PLACEMENT;
        r = read_placement(object, &event.object.placement, err);
    } else {
        loader->other++;
        return 0;
    }
    return give_object(loader, event, r);
}

int load_cluster_text(struct loader *loader, const char *name, const char *text, size_t len,
                      struct err *err)
{
    CLEANUP(yaml_docs_release) struct yaml_docs docs = {0};
    int r = yaml_load(name, text, len, DOCS_MAX, &docs, err);

    return r < 0 ? r : each_object(name, &docs, load_object, loader, err);
}

int load_cluster(struct loader *loader, const char *path, struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(FILE_MAX);
    const char *name;
    int r = load_text(path, &text, &name, err);

    return r < 0 ? r : load_cluster_text(loader, name, text.data, text.len, err);
}
