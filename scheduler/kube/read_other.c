/* Nodes, Jobs, PodGroups, Namespaces and our own GangPlacements. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "scheduler/kube/read_internal.h"

#define TAINTS_MAX 256

/* ---- Node ------------------------------------------------------------------------------------------ */

static int read_taints(const struct reading *reading, const json_t *list, struct obj_node *node)
{
    size_t n = json_array_size(list);

    if (n > TAINTS_MAX)
        return read__bad(reading, "spec.taints", list, "at most 256 taints");
    node->taints = calloc(n + 1, sizeof(*node->taints));
    if (!node->taints)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *object = json_array_get(list, i);
        const char *effect = read__entry(object, "effect");
        struct taint *taint = &node->taints[node->ntaints++];

        taint->key = read__copy(read__entry(object, "key"));
        taint->value = read__copy(read__entry(object, "value"));
        taint->effect = !effect                                 ? EFFECT_NO_EXECUTE
                        : strcmp(effect, "NoSchedule") == 0     ? EFFECT_NO_SCHEDULE
                        : strcmp(effect, "PreferNoSchedule") == 0 ? EFFECT_PREFER_NO_SCHEDULE
                                                                : EFFECT_NO_EXECUTE;
        if (!taint->key || !taint->value)
            return -ENOMEM;
    }
    return 0;
}

int read_node(const json_t *object, struct obj_node **ret, struct err *err)
{
    const json_t *meta = json_object_get(object, "metadata");
    const json_t *spec = json_object_get(object, "spec");
    struct obj_node *node;
    struct reading reading;
    int r = read__begin(&reading, object, "Node", err);

    if (r < 0)
        return r;
    node = calloc(1, sizeof(*node));
    if (!node)
        return -ENOMEM;
    node->unschedulable = read__flag(spec, "unschedulable");
    r = read__text(&reading, meta, "metadata.name", &node->name);
    if (r == 0)
        r = read__unique(&reading, meta, "metadata.uid", &node->uid);
    if (r == 0)
        r = read__labels(&reading, json_object_get(meta, "labels"), "metadata.labels",
                         &node->labels);
    if (r == 0)
        r = read_taints(&reading, json_object_get(spec, "taints"), node);
    if (r == 0)
        r = read__amounts(&reading,
                          json_object_get(json_object_get(object, "status"), "allocatable"),
                          "status.allocatable", &node->allocatable);
    if (r < 0)
        obj_node_free(node);
    else
        *ret = node;
    return r;
}

/* ---- Job ------------------------------------------------------------------------------------------- */

static int replace(char **field, const char *text)
{
    char *copy = read__copy(text);

    if (!copy)
        return -ENOMEM;
    intern_free(*field);
    *field = copy;
    return 0;
}

static void take_if_missing(char **field, char **other)
{
    char *swap = *field;

    if (swap[0])
        return;
    *field = *other;
    *other = swap;
}

/*
 * What the Job says of itself stands in where its template says nothing; but not the gang's name:
 * a pod is in a gang, and in a subgroup, by its own label, which the Job does not give it.
 */
static int merge_wish(const struct reading *reading, const json_t *meta, struct gang_wish *wish)
{
    struct gang_wish own;
    int r = read__wish(reading, meta, &own);

    if (r == 0) {
        take_if_missing(&wish->required, &own.required);
        take_if_missing(&wish->preferred, &own.preferred);
        take_if_missing(&wish->role, &own.role);
        take_if_missing(&wish->unsupported, &own.unsupported);
        if (wish->size == 0)
            wish->size = own.size;
    }
    read__wish_free(&own);
    return r;
}

static int read_template(const struct reading *reading, const json_t *object, const char *uid,
                         struct obj_pod **ret)
{
    const json_t *meta = json_object_get(object, "metadata");
    const json_t *template = json_object_get(json_object_get(object, "spec"), "template");
    struct obj_pod *pod = calloc(1, sizeof(*pod));
    struct reading inner = *reading;
    int r;

    if (!pod)
        return -ENOMEM;
    inner.within = "spec.template.";
    *ret = pod;
    pod->ns = read__copy(*reading->ns ? reading->ns : "default");
    pod->name = read__copy(NULL);
    pod->uid = read__copy(NULL);
    if (!pod->ns || !pod->name || !pod->uid)
        return -ENOMEM;
    r = read__pod_body(&inner, template, pod);
    if (r < 0)
        return r;
    pod->owner.kind = OWNER_JOB;
    if (replace(&pod->owner.api_version, "batch/v1") < 0 ||
        replace(&pod->owner.kind_name, "Job") < 0 ||
        replace(&pod->owner.name, reading->name) < 0 || replace(&pod->owner.uid, uid) < 0)
        return -ENOMEM;
    return merge_wish(reading, meta, &pod->wish);
}

static bool job_finished(const json_t *conditions)
{
    size_t index;
    json_t *condition;

    json_array_foreach((json_t *)(uintptr_t)conditions, index, condition) {
        const char *type = read__entry(condition, "type");
        const char *status = read__entry(condition, "status");

        if (type && status && strcmp(status, "True") == 0 &&
            (strcmp(type, "Complete") == 0 || strcmp(type, "Failed") == 0))
            return true;
    }
    return false;
}

int read_job(const json_t *object, struct obj_job **ret, struct err *err)
{
    const json_t *meta = json_object_get(object, "metadata");
    const json_t *spec = json_object_get(object, "spec");
    const char *mode = read__entry(spec, "completionMode");
    int64_t parallelism = 1, completions = -1;
    struct obj_job *job;
    struct reading reading;
    int r = read__begin(&reading, object, "Job", err);

    if (r < 0)
        return r;
    job = calloc(1, sizeof(*job));
    if (!job)
        return -ENOMEM;
    job->indexed = mode && strcmp(mode, "Indexed") == 0;
    job->suspended = read__flag(spec, "suspend");
    job->finished = json_is_string(json_object_get(meta, "deletionTimestamp")) ||
                    job_finished(json_object_get(json_object_get(object, "status"), "conditions"));
    job->ns = read__copy(*reading.ns ? reading.ns : "default");
    r = job->ns ? read__text(&reading, meta, "metadata.name", &job->name) : -ENOMEM;
    if (r == 0)
        r = read__text(&reading, meta, "metadata.uid", &job->uid);
    if (r == 0)
        r = read__time(&reading, meta, "metadata.creationTimestamp", &job->created_s);
    if (r == 0)
        r = read__int(&reading, spec, "spec.parallelism", 1, 0, INT32_MAX, &parallelism);
    if (r == 0)
        r = read__int(&reading, spec, "spec.completions", -1, 0, INT32_MAX, &completions);
    job->parallelism = (int32_t)parallelism;
    job->completions = (int32_t)completions;
    if (r == 0)
        r = read_template(&reading, object, job->uid, &job->template);
    if (r < 0)
        obj_job_free(job);
    else
        *ret = job;
    return r;
}

/* ---- PodGroup --------------------------------------------------------------------------------------- */

/* What of a native PodGroup cannot be honoured yet, in words; NULL: nothing. */
static const char *group_unsupported(const json_t *spec, const json_t *topology)
{
    return read__entry(spec, "parentCompositePodGroupName")                 ? "CompositePodGroup"
           : json_array_size(json_object_get(spec, "resourceClaims")) > 0 ? "resource claims (DRA)"
           : json_array_size(topology) > 1 ? "more than one topology constraint"
                                           : NULL;
}

static int read_group_levels(const struct reading *reading, const json_t *object,
                             struct obj_group *group)
{
    const json_t *spec = json_object_get(object, "spec");
    const json_t *topology = json_object_get(json_object_get(spec, "schedulingConstraints"),
                                             "topology");
    const char *unsupported = group_unsupported(spec, topology);
    const char *key = read__entry(json_array_get(topology, 0), "key");
    struct gang_wish wish;
    int r = read__wish(reading, json_object_get(object, "metadata"), &wish);

    group->required = wish.required;
    group->preferred = wish.preferred;
    group->unsupported = wish.unsupported;
    wish.required = wish.preferred = wish.unsupported = NULL;
    read__wish_free(&wish);
    if (r == 0 && !group->required[0] && key)
        r = replace(&group->required, key);
    if (r == 0 && !group->unsupported[0] && unsupported)
        r = replace(&group->unsupported, unsupported);
    return r;
}

int read_group(const json_t *object, struct obj_group **ret, struct err *err)
{
    const json_t *meta = json_object_get(object, "metadata");
    const json_t *spec = json_object_get(object, "spec");
    const char *api = read__entry(object, "apiVersion");
    const json_t *policy = json_object_get(json_object_get(spec, "schedulingPolicy"), "gang");
    bool sigs = api && strncmp(api, "scheduling.x-k8s.io/", 20) == 0;
    int64_t min = 0;
    struct obj_group *group;
    struct reading reading;
    int r = read__begin(&reading, object, "PodGroup", err);

    if (r < 0)
        return r;
    if (api && !sigs && strncmp(api, "scheduling.k8s.io/", 18) != 0)
        return read__bad(&reading, "apiVersion", json_object_get(object, "apiVersion"),
                         "scheduling.k8s.io/... or scheduling.x-k8s.io/...");
    group = calloc(1, sizeof(*group));
    if (!group)
        return -ENOMEM;
    group->kind = sigs ? GROUP_SIGS : GROUP_NATIVE;
    group->ns = read__copy(*reading.ns ? reading.ns : "default");
    group->api_version = read__copy(api);
    r = group->ns && group->api_version ? read__text(&reading, meta, "metadata.name", &group->name)
                                        : -ENOMEM;
    if (r == 0)
        r = read__text(&reading, meta, "metadata.uid", &group->uid);
    if (r == 0)
        r = read__time(&reading, meta, "metadata.creationTimestamp", &group->created_s);
    if (r == 0)
        r = read__int(&reading, sigs ? spec : policy,
                      sigs ? "spec.minMember" : "spec.schedulingPolicy.gang.minCount", 0, 0,
                      OBJ_GANG_PODS_MAX, &min);
    group->min = (int32_t)min;
    if (r == 0)
        r = read_group_levels(&reading, object, group);
    if (r < 0)
        obj_group_free(group);
    else
        *ret = group;
    return r;
}

/* ---- Namespace, GangPlacement
 * -------------------------------------------------------------------------- */

int read_namespace(const json_t *object, struct obj_namespace **ret, struct err *err)
{
    const json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");
    const char *jobs = read__entry(labels, "lockstep.dev/jobs");
    const char *evict = read__entry(labels, "lockstep.dev/evict");
    struct obj_namespace *ns;
    struct reading reading;
    int r = read__begin(&reading, object, "Namespace", err);

    if (r < 0)
        return r;
    ns = calloc(1, sizeof(*ns));
    if (!ns)
        return -ENOMEM;
    ns->name = strdup(reading.name);
    if (!ns->name) {
        obj_namespace_free(ns);
        return -ENOMEM;
    }
    ns->jobs_are_gangs = jobs && strcmp(jobs, "gang") == 0;
    ns->evict_allowed = evict && strcmp(evict, "allowed") == 0;
    *ret = ns;
    return 0;
}

static int read_shares(const struct reading *reading, const json_t *list,
                       struct obj_placement *placement)
{
    size_t n = json_array_size(list);

    if (n > OBJ_GANG_PODS_MAX)
        return read__bad(reading, "status.nodes", list, "at most 20000 entries");
    placement->shares = calloc(n + 1, sizeof(*placement->shares));
    if (!placement->shares)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *entry = json_array_get(list, i);
        struct placement_share *share = &placement->shares[placement->nshares++];
        int64_t first = 0, count = 0;
        char path[4][64];
        int r;

        snprintf(path[0], sizeof(path[0]), "status.nodes[%zu].name", i);
        snprintf(path[1], sizeof(path[1]), "status.nodes[%zu].first", i);
        snprintf(path[2], sizeof(path[2]), "status.nodes[%zu].count", i);
        snprintf(path[3], sizeof(path[3]), "status.nodes[%zu].gpus", i);
        r = read__text(reading, entry, path[0], &share->node);
        if (r == 0)
            r = read__text(reading, entry, path[3], &share->gpus);
        if (r == 0)
            r = read__int(reading, entry, path[1], 0, 0, OBJ_GANG_PODS_MAX, &first);
        if (r == 0)
            r = read__int(reading, entry, path[2], 1, 1, OBJ_GANG_PODS_MAX, &count);
        if (r < 0)
            return r;
        share->first = (int32_t)first;
        share->count = (int32_t)count;
    }
    return 0;
}

static int read_since(const struct reading *reading, const json_t *status, int64_t *ret)
{
    const json_t *conditions = json_object_get(status, "conditions"), *condition;
    size_t i;

    json_array_foreach(conditions, i, condition)
        if (strcmp(read__entry(condition, "type") ? read__entry(condition, "type") : "", "Placed") == 0)
            return read__time(reading, condition, "status.conditions.lastTransitionTime", ret);
    return 0;
}

static int read_probe(const struct reading *reading, const json_t *status, struct obj_placement *placement)
{
    const json_t *probe = json_object_get(status, "probe");
    int r = read__text(reading, probe, "status.probe.verdict", &placement->probe_verdict);

    if (r == 0)
        r = read__text(reading, probe, "status.probe.message", &placement->probe_message);
    if (r == 0)
        r = read__text(reading, status, "status.measuredBusBandwidth", &placement->measured);
    if (r == 0)
        r = read__int(reading, probe, "status.probe.generation", 0, 0, INT64_MAX, &placement->probe_generation);
    if (r == 0 && read__entry(probe, "startedAt"))
        r = read__time(reading, probe, "status.probe.startedAt", &placement->probe_began_s);
    if (r == 0 && read__entry(probe, "endedAt"))
        r = read__time(reading, probe, "status.probe.endedAt", &placement->probe_ended_s);
    return r;
}

int read_placement(const json_t *object, struct obj_placement **ret, struct err *err)
{
    const json_t *meta = json_object_get(object, "metadata");
    const json_t *gang = json_object_get(json_object_get(object, "spec"), "gang");
    const json_t *status = json_object_get(object, "status");
    struct obj_placement *placement;
    struct reading reading;
    int64_t pods = 0;
    int r = read__begin(&reading, object, "GangPlacement", err);

    if (r < 0)
        return r;
    placement = calloc(1, sizeof(*placement));
    if (!placement)
        return -ENOMEM;
    r = read__text(&reading, meta, "metadata.namespace", &placement->ns);
    if (r == 0)
        r = read__text(&reading, meta, "metadata.name", &placement->name);
    if (r == 0)
        r = read__text(&reading, meta, "metadata.uid", &placement->uid);
    if (r == 0)
        r = read__text(&reading, meta, "metadata.resourceVersion", &placement->version);
    if (r == 0)
        r = read__text(&reading, gang, "spec.gang.kind", &placement->gang_kind);
    if (r == 0)
        r = read__text(&reading, gang, "spec.gang.name", &placement->gang_name);
    if (r == 0)
        r = read__text(&reading, status, "status.state", &placement->state);
    if (r == 0)
        r = read__text(&reading, json_object_get(status, "reason"), "status.reason.code",
                       &placement->reason_code);
    if (r == 0)
        r = read__int(&reading, status, "status.generation", 0, 0, INT64_MAX,
                      &placement->generation);
    if (r == 0)
        r = read__int(&reading, status, "status.pods", 0, 0, OBJ_GANG_PODS_MAX, &pods);
    placement->pods = (int32_t)pods;
    placement->owned = json_array_size(json_object_get(meta, "ownerReferences")) > 0;
    if (r == 0)
        r = read_since(&reading, status, &placement->since_s);
    if (r == 0)
        r = read_shares(&reading, json_object_get(status, "nodes"), placement);
    if (r == 0)
        r = read_probe(&reading, status, placement);
    if (r < 0)
        obj_placement_free(placement);
    else
        *ret = placement;
    return r;
}
