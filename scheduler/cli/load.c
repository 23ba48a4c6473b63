/* Files of Kubernetes objects into the core, by the readers that the extender uses. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/intern.h"
#include "base/strbuf.h"
#include "base/yaml.h"
#include "scheduler/cli/cli.h"
#include "scheduler/kube/read.h"
#include "scheduler/model/cluster.h"

#define FILE_MAX ((size_t)1 << 30)
#define DOCS_MAX 1000000

typedef int object_fn(void *context, const char *kind, json_t *object, struct err *err);

/* Calls fn for each object; a List's items take its place. */
static int each_object(const char *path, object_fn *fn, void *context, struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(FILE_MAX);
    CLEANUP(yaml_docs_release) struct yaml_docs docs = {0};
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    int r = strbuf_read_file(&text, path);

    if (r < 0)
        return err_set(err, r, "cannot read '%s': %s", name, strerror(-r));
    r = yaml_load(name, text.data, text.len, DOCS_MAX, &docs, err);
    for (size_t i = 0; r == 0 && i < docs.n; i++) {
        json_t *items = json_object_get(docs.items[i], "items"), *item;
        const char *kind = json_string_value(json_object_get(docs.items[i], "kind"));
        size_t index;

        if (!kind)
            return err_set(err, -EINVAL, "%s: document %zu: kind: missing, expected a Kubernetes "
                                         "object", name, i + 1);
        if (!json_is_array(items)) {
            r = fn(context, kind, docs.items[i], err);
            continue;
        }
        json_array_foreach(items, index, item) {
            kind = json_string_value(json_object_get(item, "kind"));
            r = kind ? fn(context, kind, item, err)
                     : err_set(err, -EINVAL, "items[%zu].kind: missing", index);
            if (r < 0)
                break;
        }
    }
    return r < 0 ? err_prefix(err, r, "%s", name) : 0;
}

static int give(struct loader *loader, struct event event, int r)
{
    if (r == 0)
        core_step(loader->core, &event, loader->now_ns, &loader->actions);
    return r;
}

static int set_text(char **field, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        return -ENOMEM;
    intern_free(*field);
    *field = copy;
    return 0;
}

/* A pod of a manifest has no UID yet: its name stands in. */
static int give_uid(struct obj_pod *pod)
{
    char uid[NAME_TEXT];

    snprintf(uid, sizeof(uid), "plan:%.100s/%.150s", pod->ns, pod->name);
    return pod->uid[0] ? 0 : set_text(&pod->uid, uid);
}

static int load_object(void *context, const char *kind, json_t *object, struct err *err)
{
    struct loader *loader = context;
    struct event event = {0};
    int r;

    if (strcmp(kind, "Node") == 0) {
        event.kind = EV_NODE;
        r = read_node(object, &event.object.node, err);
        loader->nodes++;
    } else if (strcmp(kind, "Pod") == 0) {
        event.kind = EV_POD;
        r = read_pod(object, &event.object.pod, err);
        if (r == 0)
            r = give_uid(event.object.pod);
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
    return give(loader, event, r);
}

int load_cluster(struct loader *loader, const char *path, struct err *err)
{
    return each_object(path, load_object, loader, err);
}

/* ---- the gang ----------------------------------------------------------------------------------------- */

struct gang_loading {
    struct loader *loader;
    const char *scheduler_name;
    struct wanted_gang *wanted;
};

/* A pod that CLUSTER has already counts once: the same name, or the same index of the same Job. */
static bool is_there(const struct loader *loader, const struct obj_pod *pod)
{
    const struct cluster *cluster = core_cluster(loader->core);
    struct hashmap_iter iter = {0};
    const char *uid;
    void *value;

    while (hashmap_next(&cluster->pods_by_uid, &iter, &uid, &value)) {
        const struct obj_pod *known = ((struct pod *)value)->object;

        if (strcmp(known->ns, pod->ns) != 0 || known->terminating)
            continue;
        if (strcmp(known->name, pod->name) == 0 ||
            (pod->owner.kind == OWNER_JOB && known->owner.kind == OWNER_JOB && pod->index >= 0 &&
             known->index == pod->index && strcmp(known->owner.name, pod->owner.name) == 0))
            return true;
    }
    return false;
}

static void note_uid(struct gang_loading *loading, const char *uid)
{
    snprintf(loading->wanted->uid, sizeof(loading->wanted->uid), "%s", uid);
}

static int add_pod(struct gang_loading *loading, struct obj_pod *pod)
{
    struct event event = {.kind = EV_POD, .object.pod = pod};

    if (is_there(loading->loader, pod)) {
        obj_pod_free(pod);
        return 0;
    }
    pod->created_s = INT64_MAX; /* newest: the gangs that wait in CLUSTER come first */
    if (give_uid(pod) < 0 ||
        set_text(&pod->scheduler, loading->scheduler_name) < 0) {
        obj_pod_free(pod);
        return -ENOMEM;
    }
    note_uid(loading, pod->uid);
    return give(loading->loader, event, 0);
}

/* Named as the Job controller names them, but for the random end. */
static int expand_job(struct gang_loading *loading, const json_t *object, struct err *err)
{
    struct obj_job *job;
    int32_t pods;
    int r = read_job(object, &job, err);

    if (r < 0)
        return r;
    pods = job->completions >= 0 && job->completions < job->parallelism ? job->completions
                                                                        : job->parallelism;
    if (pods < 1 || pods > OBJ_GANG_PODS_MAX) {
        r = err_set(err, -EINVAL, "Job %s: spec.parallelism: found %d, expected 1 to %d", job->name,
                    pods, OBJ_GANG_PODS_MAX);
        obj_job_free(job);
        return r;
    }
    for (int32_t i = 0; r == 0 && i < pods; i++) {
        struct obj_job *one;
        struct obj_pod *pod;
        char name[NAME_TEXT];

        r = read_job(object, &one, err); /* a fresh template for each pod */
        if (r < 0)
            break;
        pod = one->template;
        one->template = NULL;
        obj_job_free(one);
        snprintf(name, sizeof(name), "%.200s-%d", job->name, i);
        pod->index = job->indexed ? i : -1;
        r = set_text(&pod->name, name);
        if (r == 0 && !pod->wish.name[0])
            r = set_text(&pod->wish.name, job->name); /* asked about as a gang, so it is one */
        if (r == 0)
            r = add_pod(loading, pod);
        else
            obj_pod_free(pod);
    }
    if (r < 0)
        obj_job_free(job);
    else
        give(loading->loader, (struct event){.kind = EV_JOB, .object.job = job}, 0);
    return r;
}

static int gang_object(void *context, const char *kind, json_t *object, struct err *err)
{
    struct gang_loading *loading = context;
    struct obj_pod *pod;
    int r;

    if (strcmp(kind, "Job") == 0)
        return expand_job(loading, object, err);
    if (strcmp(kind, "PodGroup") == 0 || strcmp(kind, "Namespace") == 0)
        return load_object(loading->loader, kind, object, err);
    if (strcmp(kind, "Pod") == 0) {
        r = read_pod(object, &pod, err);
        return r < 0 ? r : add_pod(loading, pod);
    }
    snprintf(loading->wanted->unsupported, sizeof(loading->wanted->unsupported), "%s", kind);
    return 0;
}

/* All its pods stand in CLUSTER: one of them tells which gang it is. */
static int find_in_cluster(void *context, const char *kind, json_t *object, struct err *err)
{
    struct gang_loading *loading = context;
    const struct cluster *cluster = core_cluster(loading->loader->core);
    const char *name = json_string_value(
        json_object_get(json_object_get(object, "metadata"), "name"));
    struct hashmap_iter iter = {0};
    const char *uid;
    void *value;

    (void)kind;
    (void)err;
    while (name && hashmap_next(&cluster->pods_by_uid, &iter, &uid, &value)) {
        const struct obj_pod *pod = ((struct pod *)value)->object;

        if (strcmp(pod->name, name) == 0 || strcmp(pod->owner.name, name) == 0)
            note_uid(loading, uid);
    }
    return 0;
}

int load_gang(struct loader *loader, const char *path, const char *scheduler_name,
              struct wanted_gang *ret, struct err *err)
{
    struct gang_loading loading = {loader, scheduler_name, ret};
    int r;

    *ret = (struct wanted_gang){0};
    r = each_object(path, gang_object, &loading, err);
    if (r == 0 && !ret->uid[0] && !ret->unsupported[0] && strcmp(path, "-") != 0)
        r = each_object(path, find_in_cluster, &loading, err);
    if (r == 0 && !ret->uid[0] && !ret->unsupported[0])
        r = err_set(err, -EINVAL, "%s: no pods in it: expected a Job, Pods, or a PodGroup with Pods",
                    path);
    return r;
}
