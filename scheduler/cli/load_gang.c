/* A gang's manifest into the core: its pods as the controllers would make them, beside those that are there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hashmap.h"
#include "scheduler/cli/load_internal.h"
#include "scheduler/kube/read.h"
#include "scheduler/model/cluster.h"
#include "scheduler/model/gang.h"

#define KEY_TEXT 640 /* a letter, and three names */

/* The pods that CLUSTER has: some of the gang's may be among them, and each counts once. */
struct known_pods {
    struct hashmap by_key; /* pod_key(), index_key() and owner_key() -> struct pod of the core */
    struct hashmap of_job; /* owner_key() -> how many live ones */
};

struct gang_loading {
    struct loader *loader;
    const char *scheduler_name;
    struct wanted_gang *wanted;
    struct known_pods known;
    size_t pods; /* of the manifest so far */
};

static void pod_key(char ret[KEY_TEXT], const char *ns, const char *name)
{
    snprintf(ret, KEY_TEXT, "p:%.63s/%.253s", ns, name);
}

static void owner_key(char ret[KEY_TEXT], const char *ns, const char *owner)
{
    snprintf(ret, KEY_TEXT, "o:%.63s/%.253s", ns, owner);
}

static void index_key(char ret[KEY_TEXT], const struct obj_pod *pod)
{
    snprintf(ret, KEY_TEXT, "i:%.63s/%.253s/%d", pod->ns, pod->owner.name, pod->index);
}

static size_t count_of(const struct known_pods *known, const char *key)
{
    return (uintptr_t)hashmap_get(&known->of_job, key);
}

static int know(struct known_pods *known, struct pod *pod)
{
    const struct obj_pod *object = pod->object;
    char key[KEY_TEXT];
    int r;

    pod_key(key, object->ns, object->name);
    r = hashmap_set(&known->by_key, key, pod);
    if (r < 0 || object->owner.kind == OWNER_NONE)
        return r;
    owner_key(key, object->ns, object->owner.name);
    r = hashmap_set(&known->by_key, key, pod);
    if (r < 0 || object->owner.kind != OWNER_JOB)
        return r;
    r = hashmap_set(&known->of_job, key, (void *)(uintptr_t)(count_of(known, key) + 1));
    if (r < 0 || object->index < 0)
        return r;
    index_key(key, object);
    return hashmap_set(&known->by_key, key, pod);
}

/* One that is going, or has failed, is made again by its controller. */
static int know_cluster(struct gang_loading *loading)
{
    const struct cluster *cluster = core_cluster(loading->loader->core);
    struct hashmap_iter iter = {0};
    const char *uid;
    void *value;

    while (hashmap_next(&cluster->pods_by_uid, &iter, &uid, &value)) {
        const struct obj_pod *object = ((struct pod *)value)->object;

        if (!object->terminating && object->phase != POD_FAILED && know(&loading->known, value) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* The same name, or the same index of the same Job. */
static bool is_there(const struct gang_loading *loading, const struct obj_pod *pod)
{
    char key[KEY_TEXT];

    pod_key(key, pod->ns, pod->name);
    if (hashmap_get(&loading->known.by_key, key))
        return true;
    index_key(key, pod);
    return pod->owner.kind == OWNER_JOB && pod->index >= 0 &&
           hashmap_get(&loading->known.by_key, key);
}

static void note_uid(struct gang_loading *loading, const char *uid)
{
    snprintf(loading->wanted->uid, sizeof(loading->wanted->uid), "%s", uid);
}

static int check_limits(struct gang_loading *loading, const struct obj_pod *pod, struct err *err)
{
    size_t max = loading->loader->gang_pods_max ? loading->loader->gang_pods_max : OBJ_GANG_PODS_MAX;

    if (++loading->pods > max)
        return err_set(err, -EINVAL, "found more than %zu pods, expected those of one gang", max);
    if (strlen(pod->uid) >= UID_TEXT)
        return err_set(err, -EINVAL, "Pod %s: metadata.uid: found %zu bytes, expected less than %d",
                       pod->name, strlen(pod->uid), UID_TEXT);
    return 0;
}

/* Takes the pod over. */
static int add_pod(struct gang_loading *loading, struct obj_pod *pod, struct err *err)
{
    struct event event = {.kind = EV_POD, .object.pod = pod};
    struct pod *taken;
    int r;

    if (is_there(loading, pod)) {
        obj_pod_free(pod);
        return 0;
    }
    pod->created_s = INT64_MAX; /* newest: the gangs that wait in CLUSTER come first */
    r = check_limits(loading, pod, err);
    if (r == 0 && (give_uid(pod) < 0 || set_text(&pod->scheduler, loading->scheduler_name) < 0))
        r = -ENOMEM;
    if (r < 0) {
        obj_pod_free(pod);
        return r;
    }
    note_uid(loading, pod->uid);
    give_object(loading->loader, event, 0);
    taken = cluster_pod(core_cluster(loading->loader->core), loading->wanted->uid);
    return taken ? know(&loading->known, taken) : -ENOMEM;
}

/* Named as the Job controller names them, but for the random end; gang: "" or the label that makes it one. */
static int make_pod(const struct obj_job *job, const json_t *object, int32_t i, const char *gang,
                    struct obj_pod **ret, struct err *err)
{
    struct obj_job *one;
    char name[NAME_TEXT];
    int r = read_job(object, &one, err); /* a fresh template for each pod */

    if (r < 0)
        return r;
    *ret = one->template;
    one->template = NULL;
    obj_job_free(one);
    snprintf(name, sizeof(name), "%.200s-%d", job->name, i);
    (*ret)->index = job->indexed ? i : -1;
    r = set_text(&(*ret)->name, name);
    if (r == 0 && !(*ret)->wish.name[0])
        r = set_text(&(*ret)->wish.name, gang);
    if (r < 0)
        obj_pod_free(*ret);
    return r;
}

/* Pods without an index are alike: those that are there stand for as many. */
static int32_t first_missing(const struct gang_loading *loading, const struct obj_job *job)
{
    char key[KEY_TEXT];
    size_t n;

    owner_key(key, job->ns, job->name);
    n = count_of(&loading->known, key);
    return job->indexed ? 0 : n < OBJ_GANG_PODS_MAX ? (int32_t)n : OBJ_GANG_PODS_MAX;
}

/* Asked about as a gang, so it is one; by its namespace, when those of its pods that are there are one so. */
static const char *gang_label(const struct gang_loading *loading, const struct obj_job *job)
{
    const struct pod *pod;
    char key[KEY_TEXT];

    owner_key(key, job->ns, job->name);
    pod = hashmap_get(&loading->known.by_key, key);
    return pod && pod->gang && pod->gang->kind == GANG_JOB ? "" : job->name;
}

static int expand_job(struct gang_loading *loading, const json_t *object, struct err *err)
{
    struct obj_job *job;
    const char *label;
    int32_t pods;
    int r = read_job(object, &job, err);

    if (r < 0)
        return r;
    label = gang_label(loading, job);
    pods = job->completions >= 0 && job->completions < job->parallelism ? job->completions
                                                                        : job->parallelism;
    if (pods < 1 || pods > OBJ_GANG_PODS_MAX)
        r = err_set(err, -EINVAL, "Job %s: spec.parallelism: found %d, expected 1 to %d", job->name,
                    pods, OBJ_GANG_PODS_MAX);
    for (int32_t i = r == 0 ? first_missing(loading, job) : pods; r == 0 && i < pods; i++) {
        struct obj_pod *pod;

        r = make_pod(job, object, i, label, &pod, err);
        if (r == 0)
            r = add_pod(loading, pod, err);
    }
    if (r < 0)
        obj_job_free(job);
    else
        give_object(loading->loader, (struct event){.kind = EV_JOB, .object.job = job}, 0);
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
        return r < 0 ? r : add_pod(loading, pod, err);
    }
    snprintf(loading->wanted->unsupported, sizeof(loading->wanted->unsupported), "%s", kind);
    return 0;
}

/* All its pods stand in CLUSTER: one of them tells which gang it is. */
static int find_in_cluster(void *context, const char *kind, json_t *object, struct err *err)
{
    struct gang_loading *loading = context;
    const json_t *meta = json_object_get(object, "metadata");
    const char *name = json_string_value(json_object_get(meta, "name"));
    const char *ns = json_string_value(json_object_get(meta, "namespace"));
    const struct pod *pod;
    char key[KEY_TEXT];

    (void)err;
    if (!name)
        return 0;
    (strcmp(kind, "Pod") == 0 ? pod_key : owner_key)(key, ns && *ns ? ns : "default", name);
    pod = hashmap_get(&loading->known.by_key, key);
    if (pod)
        note_uid(loading, pod->object->uid);
    return 0;
}

int load_gang_text(struct loader *loader, const char *name, const char *text, size_t len,
                   const char *scheduler_name, struct wanted_gang *ret, struct err *err)
{
    struct gang_loading loading = {.loader = loader, .scheduler_name = scheduler_name, .wanted = ret};
    CLEANUP(yaml_docs_release) struct yaml_docs docs = {0};
    int r = yaml_load(name, text, len, DOCS_MAX, &docs, err);

    *ret = (struct wanted_gang){0};
    if (r == 0)
        r = know_cluster(&loading);
    if (r == 0)
        r = each_object(name, &docs, gang_object, &loading, err);
    if (r == 0 && !ret->uid[0] && !ret->unsupported[0])
        r = each_object(name, &docs, find_in_cluster, &loading, err);
    if (r == 0 && !ret->uid[0] && !ret->unsupported[0])
        r = err_set(err, -EINVAL, "%s: no pods in it: expected a Job, Pods, or a PodGroup with Pods",
                    name);
    hashmap_release(&loading.known.by_key);
    hashmap_release(&loading.known.of_job);
    return r;
}

int load_gang(struct loader *loader, const char *path, const char *scheduler_name,
              struct wanted_gang *ret, struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(FILE_MAX);
    const char *name;
    int r = load_text(path, &text, &name, err);

    return r < 0 ? r
                 : load_gang_text(loader, name, text.data, text.len, scheduler_name, ret, err);
}
