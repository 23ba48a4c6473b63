#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/parse.h"
#include "base/strbuf.h"
#include "scheduler/kube/read_internal.h"

/* ---- what the pod says about its gang ----------------------------------------------------------- */

/* A word of an annotation, and where the level's name goes that it gives. */
struct topology_word {
    const char *word;
    char **level;
};

/* "required=<level>" and the like, comma-joined. */
static int read_topology(const char *text, const struct topology_word words[2])
{
    while (*text) {
        size_t len = strcspn(text, ",");
        const char *equals = memchr(text, '=', len);
        char **level = NULL;

        for (size_t i = 0; equals && i < 2; i++)
            if (strlen(words[i].word) == (size_t)(equals - text) &&
                memcmp(text, words[i].word, (size_t)(equals - text)) == 0)
                level = words[i].level;
        if (!level || equals + 1 == text + len)
            return -EINVAL;
        intern_free(*level);
        *level = strndup(equals + 1, len - (size_t)(equals + 1 - text));
        if (!*level)
            return -ENOMEM;
        text += len + (text[len] == ',');
    }
    return 0;
}

static int note_unsupported(struct gang_wish *wish, const char *key, const char *value)
{
    struct strbuf text = STRBUF_INIT(1024);

    if (wish->unsupported[0])
        return 0;
    strbuf_addf(&text, "%s: '%.200s'", key, value);
    intern_free(wish->unsupported);
    wish->unsupported = strbuf_take(&text, NULL);
    return wish->unsupported ? 0 : -ENOMEM;
}

void read__wish_free(struct gang_wish *wish)
{
    intern_free(wish->name);
    intern_free(wish->required);
    intern_free(wish->preferred);
    intern_free(wish->role);
    intern_free(wish->subgroup);
    intern_free(wish->within);
    intern_free(wish->spread);
    intern_free(wish->unsupported);
    *wish = (struct gang_wish){0};
}

/* The whole gang's levels, then those of the pod's subgroup. */
static int read_levels(const json_t *annotations, struct gang_wish *wish)
{
    const char *gang = read__entry(annotations, "lockstep.dev/topology");
    const char *own = read__entry(annotations, "lockstep.dev/subgroup-topology");
    const struct topology_word of_gang[2] = {{"required", &wish->required}, {"preferred", &wish->preferred}};
    const struct topology_word of_subgroup[2] = {{"required", &wish->within}, {"spread", &wish->spread}};
    int r = 0;

    if (gang && read_topology(gang, of_gang) < 0)
        r = note_unsupported(wish, "lockstep.dev/topology must be required=<level>,"
                                   "preferred=<level>", gang);
    if (r == 0 && own && read_topology(own, of_subgroup) < 0)
        r = note_unsupported(wish, "lockstep.dev/subgroup-topology must be required=<level>,spread=<level>", own);
    if (r == 0 && own && !wish->subgroup[0])
        r = note_unsupported(wish, "lockstep.dev/subgroup-topology needs label lockstep.dev/subgroup", own);
    return r;
}

int read__wish(const struct reading *reading, const json_t *meta, struct gang_wish *ret)
{
    const json_t *labels = json_object_get(meta, "labels");
    const json_t *annotations = json_object_get(meta, "annotations");
    const char *size = read__entry(annotations, "lockstep.dev/gang-size");
    const char *probe = read__entry(labels, "lockstep.dev/probe");
    int64_t n = 0;
    int r;

    *ret = (struct gang_wish){.name = read__copy(read__entry(labels, "lockstep.dev/gang")),
                              .required = read__copy(NULL),
                              .preferred = read__copy(NULL),
                              .role = read__copy(read__entry(annotations, "lockstep.dev/role")),
                              .subgroup = read__copy(read__entry(labels, "lockstep.dev/subgroup")),
                              .within = read__copy(NULL),
                              .spread = read__copy(NULL),
                              .unsupported = read__copy(NULL)};
    if (!ret->name || !ret->required || !ret->preferred || !ret->role || !ret->subgroup || !ret->within ||
        !ret->spread || !ret->unsupported)
        return -ENOMEM;
    r = read__check_texts(reading, meta, "labels");
    if (r == 0)
        r = read__check_texts(reading, meta, "annotations");
    if (r == 0 && ret->name[0] && !is_dns_subdomain(ret->name, strlen(ret->name)))
        r = note_unsupported(ret, "lockstep.dev/gang must be a DNS name", ret->name);
    if (r == 0 && size && parse_i64(size, strlen(size), 1, OBJ_GANG_PODS_MAX, &n) < 0)
        r = note_unsupported(ret, "lockstep.dev/gang-size must be 1 to 20000", size);
    ret->size = (int32_t)n;
    if (r == 0 && probe && !probe_policy_from_name(probe, &ret->probe))
        r = note_unsupported(ret, "lockstep.dev/probe must be off, warn or gate", probe);
    return r < 0 ? r : read_levels(annotations, ret);
}

/* ---- the pod -------------------------------------------------------------------------------------- */

static int read_owner(const json_t *owners, struct owner *ret)
{
    size_t index;
    json_t *owner, *controller = NULL;
    const char *kind;

    json_array_foreach((json_t *)(uintptr_t)owners, index, owner)
        if (read__flag(owner, "controller"))
            controller = owner;
    kind = read__entry(controller, "kind");
    ret->kind = !controller                              ? OWNER_NONE
                : kind && strcmp(kind, "Job") == 0 ? OWNER_JOB
                                                         : OWNER_OTHER;
    ret->api_version = read__copy(read__entry(controller, "apiVersion"));
    ret->kind_name = read__copy(kind);
    ret->name = read__copy(read__entry(controller, "name"));
    ret->uid = read__copy(read__entry(controller, "uid"));
    return ret->api_version && ret->kind_name && ret->name && ret->uid ? 0 : -ENOMEM;
}

static int32_t read_index(const json_t *labels, const json_t *annotations)
{
    static const char *const keys[] = {"batch.kubernetes.io/job-completion-index",
                                       "apps.kubernetes.io/pod-index"};
    int64_t index;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *text = read__entry(annotations, keys[i]);

        if (!text)
            text = read__entry(labels, keys[i]);
        if (text && parse_i64(text, strlen(text), 0, INT32_MAX, &index) == 0)
            return (int32_t)index;
    }
    return -1;
}

static enum pod_phase read_phase(const char *text)
{
    static const char *const names[] = {[POD_PENDING] = "Pending", [POD_RUNNING] = "Running",
                                        [POD_SUCCEEDED] = "Succeeded", [POD_FAILED] = "Failed"};

    for (size_t i = 0; text && i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0)
            return (enum pod_phase)i;
    return text && *text ? POD_UNKNOWN : POD_PENDING;
}

/* Reasons of kubelet's admission (pkg/kubelet/lifecycle/predicate.go, cm/admission): the pod never ran. */
static bool is_rejection(const char *reason)
{
    static const char *const names[] = {"UnexpectedAdmissionError", "TopologyAffinityError",
                                        "NodeAffinity", "AdmissionFailed"};

    if (!reason)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(reason, names[i]) == 0)
            return true;
    return strncmp(reason, "OutOf", strlen("OutOf")) == 0; /* OutOfcpu, OutOfnvidia.com/gpu */
}

static int read_status(const struct reading *reading, const json_t *status, struct obj_pod *pod)
{
    size_t index;
    json_t *condition;
    int r = read__text(reading, status, "status.nominatedNodeName", &pod->nominated);

    pod->phase = read_phase(read__entry(status, "phase"));
    pod->rejected = pod->phase == POD_FAILED && is_rejection(read__entry(status, "reason"));
    json_array_foreach(json_object_get(status, "conditions"), index, condition) {
        const char *type = read__entry(condition, "type");
        const char *value = read__entry(condition, "status");

        if (r == 0 && type && value && strcmp(type, "PodScheduled") == 0 &&
            strcmp(value, "False") == 0)
            r = read__text(reading, condition, "status.conditions[].message", &pod->refusal);
    }
    return r;
}

int read__pod_body(const struct reading *reading, const json_t *object, struct obj_pod *pod)
{
    const json_t *meta = json_object_get(object, "metadata");
    const json_t *spec = json_object_get(object, "spec");
    const json_t *labels = json_object_get(meta, "labels");
    const char *group = read__entry(json_object_get(spec, "schedulingGroup"), "podGroupName");
    /* Of 1.35 only: not honoured, but a pod that has it must never pass for one that starts alone. */
    const char *workload = read__entry(labels, "lockstep.dev/gang")
                               ? NULL
                               : read__entry(json_object_get(spec, "workloadRef"), "name");
    int64_t priority;
    int r;

    if (!json_is_object(spec))
        return read__bad(reading, "spec", spec, "a mapping");
    pod->index = read_index(labels, json_object_get(meta, "annotations"));
    pod->gated = json_array_size(json_object_get(spec, "schedulingGates")) > 0;
    pod->group_sigs = read__copy(read__entry(labels, "scheduling.x-k8s.io/pod-group"));
    pod->group_native = read__copy(group ? group : workload);
    pod->unsupported = read__copy(json_array_size(json_object_get(spec, "resourceClaims"))
                                      ? "resource claims (DRA)"
                                  : workload ? "spec.workloadRef, the Workload of Kubernetes 1.35 "
                                               "(label lockstep.dev/gang works there)"
                                             : NULL);
    pod->refusal = read__copy(NULL);
    if (!pod->group_sigs || !pod->group_native || !pod->unsupported || !pod->refusal)
        return -ENOMEM;
    r = read__int(reading, spec, "spec.priority", 0, INT32_MIN, INT32_MAX, &priority);
    pod->priority = r == 0 ? (int32_t)priority : 0;
    if (r == 0)
        r = read__text(reading, spec, "spec.schedulerName", &pod->scheduler);
    if (r == 0)
        r = read__text(reading, spec, "spec.nodeName", &pod->node);
    if (r == 0)
        r = read_status(reading, json_object_get(object, "status"), pod);
    if (r == 0 && pod->node[0] && pod->phase == POD_PENDING)
        r = read__waiting(spec, json_object_get(object, "status"), &pod->waiting, &pod->stuck);
    if (r == 0)
        r = read_owner(json_object_get(meta, "ownerReferences"), &pod->owner);
    if (r == 0)
        r = read__wish(reading, meta, &pod->wish);
    return r < 0 ? r : read__shape(reading, object, &pod->shape);
}

int read_pod(const json_t *object, struct obj_pod **ret, struct err *err)
{
    const json_t *meta = json_object_get(object, "metadata");
    struct obj_pod *pod;
    struct reading reading;
    int r = read__begin(&reading, object, "Pod", err);

    if (r < 0)
        return r;
    pod = calloc(1, sizeof(*pod));
    if (!pod)
        return -ENOMEM;
    pod->ns = strdup(*reading.ns ? reading.ns : "default");
    pod->terminating = json_is_string(json_object_get(meta, "deletionTimestamp"));
    r = pod->ns ? read__unique(&reading, meta, "metadata.name", &pod->name) : -ENOMEM;
    if (r == 0)
        r = read__unique(&reading, meta, "metadata.uid", &pod->uid);
    if (r == 0)
        r = read__time(&reading, meta, "metadata.creationTimestamp", &pod->created_s);
    if (r == 0)
        r = read__pod_body(&reading, object, pod);
    if (r < 0)
        obj_pod_free(pod);
    else
        *ret = pod;
    return r;
}
