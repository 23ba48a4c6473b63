/*
 * What of an object stands in a trace: the fields that scheduler/kube/read_*.c reads, and no others, so
 * that no secret gets in. A new field that a reader reads is added here; tests/fuzz/fuzz_trace_mask.c
 * and tests/unit/test_trace.c compare what is read of the whole object and of the recorded one.
 */
#include <stdlib.h>
#include <string.h>

#include "scheduler/trace/trace.h"

/* JSON with ' for ": 1 is the whole value, {...} these members, [x] each item by x. */
#define NAMES "'namespace':1,'name':1,'uid':1"
#define TIMES "'creationTimestamp':1,'deletionTimestamp':1"
#define INDEX "'batch.kubernetes.io/job-completion-index':1,'apps.kubernetes.io/pod-index':1"
#define WISH                                                                                       \
    "'labels':{'lockstep.dev/gang':1,'lockstep.dev/subgroup':1,'lockstep.dev/probe':1,"                                   \
    "'scheduling.x-k8s.io/pod-group':1," INDEX "},"                                                \
    "'annotations':{'lockstep.dev/gang-size':1,'lockstep.dev/topology':1,'lockstep.dev/role':1,"   \
    "'lockstep.dev/subgroup-topology':1," INDEX "}"
#define OWNERS                                                                                     \
    "'ownerReferences':[{'controller':1,'apiVersion':1,'kind':1,'name':1,'uid':1}]"
#define AMOUNTS "{'limits':1,'requests':1}"
#define REQUIREMENTS "[{'key':1,'operator':1,'values':1}]"
#define AFFINITY                                                                                   \
    "{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':"      \
    "[{'matchExpressions':" REQUIREMENTS ",'matchFields':" REQUIREMENTS "}]}}}"
#define CONTAINERS "[{'name':1,'restartPolicy':1,'resources':" AMOUNTS "}]"
#define POD_SPEC                                                                                   \
    "'spec':{'schedulerName':1,'nodeName':1,'priority':1,'nodeSelector':1,'overhead':1,"           \
    "'schedulingGates':[{}],'resourceClaims':[{}],'schedulingGroup':{'podGroupName':1},"           \
    "'workloadRef':{'name':1},'tolerations':[{'key':1,'operator':1,'value':1,'effect':1}],"        \
    "'affinity':" AFFINITY ",'resources':" AMOUNTS                                                 \
    ",'containers':" CONTAINERS ",'initContainers':" CONTAINERS "}"
#define STATUSES                                                                                   \
    "[{'name':1,'allocatedResources':1,'resources':{'requests':1},'started':1,"                    \
    "'state':{'waiting':{'reason':1},'running':{}}}]"
#define POD_STATUS                                                                                 \
    "'status':{'phase':1,'reason':1,'nominatedNodeName':1,"                                        \
    "'conditions':[{'type':1,'status':1,'reason':1,'message':1}],'allocatedResources':1,"          \
    "'resources':{'requests':1},'containerStatuses':" STATUSES                                     \
    ",'initContainerStatuses':" STATUSES "}"

static const char *const masks[EVENT_KINDS] = {
    [EV_NODE] = "{'metadata':{" NAMES ",'labels':1},"
                "'spec':{'unschedulable':1,'taints':[{'key':1,'value':1,'effect':1}]},"
                "'status':{'allocatable':1}}",
    [EV_MACHINE] = "{'metadata':{" NAMES "},'spec':1}",
    [EV_POD] = "{'metadata':{" NAMES "," TIMES "," WISH "," OWNERS "}," POD_SPEC "," POD_STATUS "}",
    [EV_JOB] = "{'metadata':{" NAMES "," TIMES "," WISH "},"
               "'spec':{'completionMode':1,'suspend':1,'parallelism':1,'completions':1,"
               "'template':{'metadata':{" WISH "," OWNERS "}," POD_SPEC "," POD_STATUS "}},"
               "'status':{'conditions':[{'type':1,'status':1}]}}",
    [EV_GROUP] = "{'apiVersion':1,'metadata':{" NAMES "," TIMES "," WISH "},"
                 "'spec':{'minMember':1,'schedulingPolicy':{'gang':{'minCount':1}},"
                 "'schedulingConstraints':{'topology':[{'key':1}]},"
                 "'parentCompositePodGroupName':1,'resourceClaims':[{}]}}",
    [EV_NAMESPACE] = "{'metadata':{'name':1,"
                     "'labels':{'lockstep.dev/jobs':1,'lockstep.dev/evict':1}}}",
    [EV_PLACEMENT] = "{'metadata':{" NAMES ",'resourceVersion':1,'ownerReferences':[{}]},"
                     "'spec':{'gang':{'kind':1,'name':1}},"
                     "'status':{'state':1,'reason':{'code':1},'generation':1,'pods':1,"
                     "'conditions':[{'type':1,'lastTransitionTime':1}],"
                     "'nodes':[{'name':1,'first':1,'count':1,'gpus':1}],'measuredBusBandwidth':1,"
                     "'probe':{'generation':1,'verdict':1,'message':1,'startedAt':1,'endedAt':1}}}",
    [EV_LEASE] = "{'metadata':{'namespace':1,'name':1},"
                 "'spec':{'holderIdentity':1,'leaseDurationSeconds':1,'leaseTransitions':1,"
                 "'acquireTime':1,'renewTime':1}}",
};

struct trace_mask {
    json_t *kinds[EVENT_KINDS];
};

static json_t *parse_quoted(const char *text)
{
    char *copy = strdup(text);
    json_t *mask;

    if (!copy)
        return NULL;
    for (char *at = copy; *at; at++)
        if (*at == '\'')
            *at = '"';
    mask = json_loads(copy, 0, NULL);
    free(copy);
    return mask;
}

void trace_mask_free(struct trace_mask *mask)
{
    for (size_t i = 0; mask && i < EVENT_KINDS; i++)
        json_decref(mask->kinds[i]);
    free(mask);
}

struct trace_mask *trace_mask_new(void)
{
    struct trace_mask *mask = calloc(1, sizeof(*mask));
    bool whole = mask != NULL;

    for (size_t i = 0; whole && i < EVENT_KINDS; i++) {
        if (!masks[i])
            continue;
        mask->kinds[i] = parse_quoted(masks[i]);
        whole = mask->kinds[i] != NULL;
    }
    if (whole)
        return mask;
    trace_mask_free(mask);
    return NULL;
}

/* A value of another type than the mask's reads like null: items of lists keep their number so. */
static json_t *reduce(const json_t *mask, json_t *value)
{
    json_t *reduced, *inner, *item;
    const char *key;
    size_t index;

    if (json_is_integer(mask))
        return json_incref(value);
    if (json_typeof(mask) != json_typeof(value))
        return json_null();
    reduced = json_is_object(mask) ? json_object() : json_array();
    if (json_is_object(mask))
        json_object_foreach((json_t *)(uintptr_t)mask, key, inner) {
            item = json_object_get(value, key);
            if (item)
                json_object_set_new(reduced, key, reduce(inner, item));
        }
    else
        json_array_foreach(value, index, item)
            json_array_append_new(reduced, reduce(json_array_get(mask, 0), item));
    return reduced;
}

/* The scheduler's message says why a pod waits; those of other conditions may say anything. */
static void drop_messages(json_t *pod)
{
    json_t *conditions = json_object_get(json_object_get(pod, "status"), "conditions"), *condition;
    size_t index;

    json_array_foreach(conditions, index, condition) {
        const char *type = json_string_value(json_object_get(condition, "type"));

        if (!type || strcmp(type, "PodScheduled") != 0)
            json_object_del(condition, "message");
    }
}

char *trace_mask_text(const struct trace_mask *mask, enum event_kind kind, const json_t *object)
{
    json_t *reduced = reduce(mask->kinds[kind], (json_t *)(uintptr_t)object);
    char *text;

    if (kind == EV_POD)
        drop_messages(reduced);
    text = json_dumps(reduced, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    json_decref(reduced);
    return text;
}
