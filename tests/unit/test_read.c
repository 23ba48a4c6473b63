/* What the readers make of objects: requests added up as Kubernetes does, gangs recognised. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/kube/read.h"

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *object = json_loads(text, 0, &error);

    if (!object)
        fail_msg("%s", error.text);
    return object;
}

static int64_t amount(const struct obj_pod *pod, const char *resource)
{
    for (size_t i = 0; i < pod->shape.requests.n; i++)
        if (strcmp(pod->shape.requests.items[i].resource, resource) == 0)
            return pod->shape.requests.items[i].value;
    return -1;
}

/* A pod with this spec and status; quotes are written as ' in the tables below. */
static json_t *parse_quoted(const char *text)
{
    char copy[4096];

    snprintf(copy, sizeof(copy), "%s", text);
    for (char *at = copy; *at; at++)
        if (*at == '\'')
            *at = '"';
    return parse(copy);
}

static const struct {
    const char *what, *spec, *status;
    int64_t cpu, gpus;
} request_cases[] = {
    {"containers are added",
     "'containers':[{'resources':{'requests':{'cpu':'1'}}},"
     "{'resources':{'requests':{'cpu':'500m','nvidia.com/gpu':2}}}]", "", 1500, 2},
    {"limits stand in, resource by resource",
     "'containers':[{'resources':{'limits':{'cpu':2,'nvidia.com/gpu':'8'},'requests':{'cpu':'1'}}}]",
     "", 1000, 8},
    {"a number with a fraction is what it says",
     "'containers':[{'resources':{'requests':{'cpu':0.1}}}]", "", 100, -1},
    {"thousandths are rounded up", "'containers':[{'resources':{'requests':{'cpu':'100u'}}}]", "", 1,
     -1},
    {"the largest init container counts",
     "'initContainers':[{'resources':{'requests':{'cpu':'3'}}},{'resources':{'requests':{'cpu':'2'}}}],"
     "'containers':[{'resources':{'requests':{'cpu':'1'}}}]", "", 3000, -1},
    {"sidecars stay",
     "'initContainers':[{'restartPolicy':'Always','resources':{'requests':{'cpu':'1'}}},"
     "{'resources':{'requests':{'cpu':'3'}}}],'containers':[{'resources':{'requests':{'cpu':'1'}}}]",
     "", 4000, -1},
    {"a sidecar that starts later does not add to an init container before it",
     "'initContainers':[{'resources':{'requests':{'cpu':'3'}}},"
     "{'restartPolicy':'Always','resources':{'requests':{'cpu':'1'}}}],"
     "'containers':[{'resources':{'requests':{'cpu':'1'}}}]", "", 3000, -1},
    {"overhead is added", "'overhead':{'cpu':'250m'},'containers':[{}]", "", 250, -1},
    {"pod-level requests win",
     "'resources':{'requests':{'cpu':'9'}},"
     "'containers':[{'resources':{'requests':{'cpu':'1','nvidia.com/gpu':1}}}]", "", 9000, 1},
    {"a pod-level limit does not win over what the containers request",
     "'resources':{'limits':{'cpu':'9'}},'containers':[{'resources':{'requests':{'cpu':'1'}}}]", "",
     1000, -1},
    {"a pod-level limit stands in where nobody requests",
     "'resources':{'limits':{'cpu':'9'}},'containers':[{}]", "", 9000, -1},
    {"devices are not asked for at pod level",
     "'resources':{'requests':{'nvidia.com/gpu':4}},'containers':[{}]", "", -1, -1},
    {"while a pod grows its spec counts",
     "'containers':[{'name':'a','resources':{'requests':{'cpu':'4'}}}]",
     "'containerStatuses':[{'name':'a','allocatedResources':{'cpu':'1'},"
     "'resources':{'requests':{'cpu':'1'}}}]", 4000, -1},
    {"while a pod shrinks what it runs with counts",
     "'containers':[{'name':'a','resources':{'requests':{'cpu':'1'}}}]",
     "'containerStatuses':[{'name':'a','allocatedResources':{'cpu':'1'},"
     "'resources':{'requests':{'cpu':'3'}}}]", 3000, -1},
    {"a resize that is infeasible does not count",
     "'containers':[{'name':'a','resources':{'requests':{'cpu':'64'}}}]",
     "'conditions':[{'type':'PodResizePending','status':'True','reason':'Infeasible'}],"
     "'containerStatuses':[{'name':'a','allocatedResources':{'cpu':'2'},"
     "'resources':{'requests':{'cpu':'2'}}}]", 2000, -1},
    {"a pod that says its own sums is taken at its word",
     "'containers':[{'name':'a','resources':{'requests':{'cpu':'1'}}}]",
     "'allocatedResources':{'cpu':'2'},'resources':{'requests':{'cpu':'5'}}", 5000, -1},
};

static void requests_are_added_up_as_kubernetes_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(request_cases) / sizeof(request_cases[0]); i++) {
        struct obj_pod *pod = NULL;
        struct err err = ERR_INIT;
        char text[1024];
        json_t *object;

        snprintf(text, sizeof(text), "{'metadata':{'name':'p'},'spec':{%s},'status':{%s}}",
                 request_cases[i].spec, request_cases[i].status);
        object = parse_quoted(text);
        print_message("%s\n", request_cases[i].what);
        if (read_pod(object, &pod, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(amount(pod, "cpu"), request_cases[i].cpu);
        assert_int_equal(amount(pod, "nvidia.com/gpu"), request_cases[i].gpus);
        assert_int_equal(amount(pod, "pods"), 1);
        obj_pod_free(pod);
        json_decref(object);
    }
}

/* The CPUs that a container with devices may get for itself; the pod is Guaranteed or not. */
static const struct {
    const char *what, *spec;
    int32_t cpus;
} own_cpu_cases[] = {
    {"limits alone", "'containers':[{'resources':{'limits':{'cpu':8,'memory':'1Gi','nvidia.com/gpu':1}}}]", 8},
    {"requests as limits", "'containers':[{'resources':{'limits':{'cpu':'8','memory':'1Gi','nvidia.com/gpu':1},"
     "'requests':{'cpu':'8000m','memory':'1024Mi'}}}]", 8},
    {"a request below its limit", "'containers':[{'resources':{'limits':{'cpu':8,'memory':'1Gi',"
     "'nvidia.com/gpu':1},'requests':{'cpu':7}}}]", 0},
    {"part of a CPU", "'containers':[{'resources':{'limits':{'cpu':'7500m','memory':'1Gi','nvidia.com/gpu':1}}}]", 0},
    {"no limit of memory", "'containers':[{'resources':{'limits':{'cpu':8,'nvidia.com/gpu':1}}}]", 0},
    {"a container that shares", "'containers':[{'resources':{'limits':{'cpu':8,'memory':'1Gi',"
     "'nvidia.com/gpu':1}}},{'resources':{'requests':{'cpu':1}}}]", 0},
    {"an init container that shares", "'initContainers':[{}],'containers':[{'resources':{'limits':{'cpu':8,"
     "'memory':'1Gi','nvidia.com/gpu':1}}}]", 0},
    {"without devices", "'containers':[{'resources':{'limits':{'cpu':8,'memory':'1Gi'}}},"
     "{'resources':{'limits':{'cpu':2,'memory':'1Gi','a/b':1}}}]", 2},
};

static void cpus_of_its_own_are_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(own_cpu_cases) / sizeof(own_cpu_cases[0]); i++) {
        struct obj_pod *pod = NULL;
        struct err err = ERR_INIT;
        char text[1024];
        json_t *object;

        snprintf(text, sizeof(text), "{'metadata':{'name':'p'},'spec':{%s}}", own_cpu_cases[i].spec);
        object = parse_quoted(text);
        print_message("%s\n", own_cpu_cases[i].what);
        if (read_pod(object, &pod, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(pod->shape.own_cpus, own_cpu_cases[i].cpus);
        obj_pod_free(pod);
        json_decref(object);
    }
}

static void a_pod_says_which_gang_it_is_in(void **state)
{
    json_t *object = parse(
        "{\"metadata\":{\"name\":\"p\",\"labels\":{\"lockstep.dev/gang\":\"g\","
        "\"lockstep.dev/subgroup\":\"prefill-0\"},\"annotations\":{"
        "\"lockstep.dev/subgroup-topology\":\"required=node,spread=a/b\","
        "\"lockstep.dev/gang-size\":\"32\",\"lockstep.dev/topology\":\"required=a/b,preferred=node\","
        "\"batch.kubernetes.io/job-completion-index\":\"7\"},\"ownerReferences\":[{\"controller\":true,"
        "\"kind\":\"Job\",\"name\":\"j\",\"uid\":\"u\",\"apiVersion\":\"batch/v1\"}]},"
        "\"spec\":{\"containers\":[{}],\"schedulerName\":\"lockstep\"}}");
    struct obj_pod *pod = NULL;

    (void)state;
    assert_int_equal(read_pod(object, &pod, NULL), 0);
    assert_string_equal(pod->wish.name, "g");
    assert_int_equal(pod->wish.size, 32);
    assert_string_equal(pod->wish.required, "a/b");
    assert_string_equal(pod->wish.preferred, "node");
    assert_string_equal(pod->wish.subgroup, "prefill-0");
    assert_string_equal(pod->wish.within, "node");
    assert_string_equal(pod->wish.spread, "a/b");
    assert_string_equal(pod->wish.unsupported, "");
    assert_int_equal(pod->index, 7);
    assert_int_equal(pod->owner.kind, OWNER_JOB);
    obj_pod_free(pod);
    json_decref(object);
}

/* Wishes as annotations of a pod; unsupported: what its text must contain, NULL: "". */
static void what_is_not_understood_is_kept_in_words(void **state)
{
    static const struct {
        const char *labels, *annotations, *required, *preferred, *unsupported;
    } cases[] = {
        {"", "'lockstep.dev/topology':'required=rack'", "rack", "", NULL},
        {"", "'lockstep.dev/topology':'preferred=a/b,required=c'", "c", "a/b", NULL},
        {"", "'lockstep.dev/topology':'rack'", "", "", "'rack'"},
        {"", "'lockstep.dev/topology':'required='", "", "", "'required='"},
        {"", "'lockstep.dev/topology':'spread=rack'", "", "", "'spread=rack'"},
        {"", "'lockstep.dev/gang-size':'0'", "", "", "gang-size must be 1 to 20000: '0'"},
        {"", "'lockstep.dev/gang-size':'many'", "", "", "'many'"},
        {"", "'lockstep.dev/gang-size':'20001'", "", "", "'20001'"},
        {"", "'lockstep.dev/probe':'gate'", "", "", NULL},
        {"'lockstep.dev/subgroup':'a'", "", "", "", NULL},
        {"'lockstep.dev/subgroup':'a'", "'lockstep.dev/subgroup-topology':'spread=rack,required=node'", "", "", NULL},
        {"'lockstep.dev/subgroup':'a'", "'lockstep.dev/subgroup-topology':'preferred=rack'", "", "",
         "subgroup-topology must be required=<level>,spread=<level>: 'preferred=rack'"},
        {"'lockstep.dev/subgroup':'a'", "'lockstep.dev/subgroup-topology':'required='", "", "", "'required='"},
        {"", "'lockstep.dev/subgroup-topology':'spread=rack'", "", "", "needs label lockstep.dev/subgroup"},
        {"'lockstep.dev/gang':'A B'", "", "", "", "'A B'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct obj_pod *pod = NULL;
        char text[512];
        json_t *object;

        snprintf(text, sizeof(text), "{'metadata':{'name':'p','labels':{%s},'annotations':{%s}},"
                                     "'spec':{'containers':[{}]}}",
                 cases[i].labels, cases[i].annotations);
        object = parse_quoted(text);
        print_message("%s %s\n", cases[i].labels, cases[i].annotations);
        assert_int_equal(read_pod(object, &pod, NULL), 0);
        if (cases[i].unsupported)
            assert_non_null(strstr(pod->wish.unsupported, cases[i].unsupported));
        else
            assert_string_equal(pod->wish.unsupported, "");
        if (!cases[i].unsupported) {
            assert_string_equal(pod->wish.required, cases[i].required);
            assert_string_equal(pod->wish.preferred, cases[i].preferred);
        }
        obj_pod_free(pod);
        json_decref(object);
    }
}

enum any_kind { A_POD, A_NODE, A_JOB, A_GROUP, A_NAMESPACE, A_PLACEMENT };

/* 0 or the error; what was read is freed. */
static int read_any(enum any_kind kind, const json_t *object, struct err *err)
{
    struct obj_pod *pod = NULL;
    struct obj_node *node = NULL;
    struct obj_job *job = NULL;
    struct obj_group *group = NULL;
    struct obj_namespace *ns = NULL;
    struct obj_placement *placement = NULL;
    int r = kind == A_POD         ? read_pod(object, &pod, err)
            : kind == A_NODE      ? read_node(object, &node, err)
            : kind == A_JOB       ? read_job(object, &job, err)
            : kind == A_GROUP     ? read_group(object, &group, err)
            : kind == A_NAMESPACE ? read_namespace(object, &ns, err)
                                  : read_placement(object, &placement, err);

    if (r < 0) {
        assert_null(pod);
        assert_null(node);
        assert_null(job);
        assert_null(group);
        assert_null(ns);
        assert_null(placement);
    }
    obj_pod_free(pod);
    obj_node_free(node);
    obj_job_free(job);
    obj_group_free(group);
    obj_namespace_free(ns);
    obj_placement_free(placement);
    return r;
}

static void errors_name_object_field_found_and_expected(void **state)
{
    static const struct {
        enum any_kind kind;
        const char *object, *text;
    } cases[] = {
        {A_POD, "{'spec':{}}", "Pod: metadata: missing, expected a mapping"},
        {A_POD, "{'metadata':{'name':'P_1'}}", "Pod: metadata.name: found 'P_1', expected a DNS name"},
        {A_POD, "{'metadata':{'name':'p','namespace':'a b'}}",
         "Pod p: metadata.namespace: found 'a b', expected a DNS label"},
        {A_POD, "{'metadata':{'name':'p','namespace':'n'},'spec':{'containers':"
                "[{'resources':{'requests':{'cpu':'lots'}}}]}}",
         "Pod n/p: spec.containers[0].resources.requests.cpu: found \"lots\", expected a quantity such "
         "as 8, 500m or 16Gi"},
        {A_POD, "{'metadata':{'name':'p'},'spec':{}}",
         "Pod p: spec.containers: found nothing, expected a list of 1 to 256 containers"},
        {A_POD, "{'metadata':{'name':'p','annotations':{'lockstep.dev/gang-size':4}},"
                "'spec':{'containers':[{}]}}",
         "Pod p: metadata.annotations.lockstep.dev/gang-size: found 4, expected text (in YAML: in "
         "quotes)"},
        {A_POD, "{'metadata':{'name':'p'},'spec':{'priority':'high','containers':[{}]}}",
         "Pod p: spec.priority: found \"high\", expected a whole number from -2147483648 to "
         "2147483647"},
        {A_POD, "{'metadata':{'name':'p','creationTimestamp':'today'},'spec':{'containers':[{}]}}",
         "Pod p: metadata.creationTimestamp: found \"today\", expected a time such as "
         "2026-01-02T03:04:05Z"},
        {A_NODE, "{'metadata':{'name':'n'},'status':{'allocatable':{'nvidia.com/gpu':'-1'}}}",
         "Node n: status.allocatable.nvidia.com/gpu: found \"-1\", expected a quantity such as 8, 500m "
         "or 16Gi"},
        {A_NODE, "{'metadata':{'name':'n','labels':{'a':true}}}",
         "Node n: metadata.labels.a: found true, expected text"},
        {A_JOB, "{'metadata':{'name':'j'},'spec':{'parallelism':-1}}",
         "Job j: spec.parallelism: found -1, expected a whole number from 0 to 2147483647"},
        {A_JOB, "{'metadata':{'name':'j'},'spec':{'template':{'spec':{'containers':[]}}}}",
         "Job j: spec.template.spec.containers: found [], expected a list of 1 to 256 containers"},
        {A_GROUP, "{'apiVersion':'scheduling.volcano.sh/v1beta1','metadata':{'name':'g'}}",
         "PodGroup g: apiVersion: found \"scheduling.volcano.sh/v1beta1\", expected "
         "scheduling.k8s.io/... or scheduling.x-k8s.io/..."},
        {A_PLACEMENT, "{'metadata':{'name':'g'},'status':{'nodes':[{'name':'n','count':0}]}}",
         "GangPlacement g: status.nodes[0].count: found 0, expected a whole number from 1 to 20000"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *object = parse_quoted(cases[i].object);
        struct err err = ERR_INIT;

        assert_true(read_any(cases[i].kind, object, &err) < 0);
        assert_string_equal(err.text, cases[i].text);
        json_decref(object);
    }
}

/* Differences of such times are taken in nanoseconds: they must not overflow. */
static void a_lease_renewed_in_another_age_is_refused(void **state)
{
    static const char *const years[] = {"1537", "1969", "2256", "9999"};

    (void)state;
    for (size_t i = 0; i < sizeof(years) / sizeof(years[0]); i++) {
        json_t *object = json_pack("{s:{s:s}, s:{s:o}}", "metadata", "name", "l", "spec", "renewTime",
                                   json_sprintf("%s-01-02T03:04:05.5Z", years[i]));
        struct err err = ERR_INIT;
        struct obj_lease *lease;

        assert_int_equal(read_lease(object, &lease, &err), -EINVAL);
        assert_non_null(strstr(err.text, "expected a time from 1970 to 2255"));
        json_decref(object);
    }
}

static void a_pod_says_where_it_is_in_its_life(void **state)
{
    json_t *object = parse_quoted(
        "{'metadata':{'name':'p','uid':'u','creationTimestamp':'2026-01-02T03:04:05Z',"
        "'deletionTimestamp':'2026-01-02T04:04:05Z','labels':{'apps.kubernetes.io/pod-index':'3'}},"
        "'spec':{'nodeName':'n1','schedulingGates':[{'name':'g'}],'priority':7,"
        "'schedulingGroup':{'podGroupName':'pg'},'resourceClaims':[{'name':'c'}],'containers':[{}]},"
        "'status':{'phase':'Running','nominatedNodeName':'n2','conditions':[{'type':'PodScheduled',"
        "'status':'False','message':'0/3 nodes are available'}]}}");
    struct obj_pod *pod = NULL;

    (void)state;
    assert_int_equal(read_pod(object, &pod, NULL), 0);
    assert_string_equal(pod->ns, "default");
    assert_string_equal(pod->node, "n1");
    assert_string_equal(pod->nominated, "n2");
    assert_string_equal(pod->refusal, "0/3 nodes are available");
    assert_string_equal(pod->unsupported, "resource claims (DRA)");
    assert_string_equal(pod->group_native, "pg");
    assert_int_equal(pod->phase, POD_RUNNING);
    assert_int_equal(pod->index, 3);
    assert_int_equal(pod->priority, 7);
    assert_int_equal(pod->created_s, 1767323045);
    assert_true(pod->terminating);
    assert_true(pod->gated);
    obj_pod_free(pod);
    json_decref(object);
}

static void pods_that_may_run_elsewhere_have_another_shape(void **state)
{
    static const char *const specs[] = {
        "'containers':[{}]",
        "'containers':[{'resources':{'requests':{'cpu':1}}}]",
        "'containers':[{}],'nodeSelector':{'a':'b'}",
        "'containers':[{}],'nodeSelector':{'a':'c'}",
        "'containers':[{}],'tolerations':[{'key':'k','operator':'Exists'}]",
        "'containers':[{}],'tolerations':[{'key':'k','operator':'Exists','effect':'NoSchedule'}]",
        "'containers':[{}],'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution'"
        ":{'nodeSelectorTerms':[{'matchExpressions':[{'key':'a','operator':'In','values':['b']}]}]}}}",
        "'containers':[{}],'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution'"
        ":{'nodeSelectorTerms':[{'matchFields':[{'key':'a','operator':'In','values':['b']}]}]}}}",
        "'containers':[{}],'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution'"
        ":{'nodeSelectorTerms':[{'matchExpressions':[{'key':'a','operator':'NotIn','values':['b']}]}]}}}",
    };
    enum { N = sizeof(specs) / sizeof(specs[0]) };
    struct obj_pod *pods[N];

    (void)state;
    for (size_t i = 0; i < N; i++) {
        char text[512];
        json_t *object;

        snprintf(text, sizeof(text), "{'metadata':{'name':'p%zu'},'spec':{%s}}", i, specs[i]);
        object = parse_quoted(text);
        assert_int_equal(read_pod(object, &pods[i], NULL), 0);
        json_decref(object);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(pods[i]->shape.key, pods[k]->shape.key);
    }
    for (size_t i = 0; i < N; i++)
        obj_pod_free(pods[i]);
}

static void a_jobs_own_wish_stands_in_where_its_template_is_silent(void **state)
{
    json_t *object = parse_quoted(
        "{'metadata':{'name':'j','namespace':'n','uid':'u','labels':{'lockstep.dev/gang':'outer'},"
        "'annotations':{'lockstep.dev/topology':'required=rack,preferred=node',"
        "'lockstep.dev/role':'trainer','lockstep.dev/gang-size':'3'}},'spec':{'parallelism':4,"
        "'completions':4,'completionMode':'Indexed','suspend':true,'template':{'metadata':{'labels':{"
        "'lockstep.dev/gang':'inner'},'annotations':{'lockstep.dev/topology':'required=block'}},"
        "'spec':{'schedulerName':'lockstep','containers':[{}]}}},"
        "'status':{'conditions':[{'type':'Complete','status':'True'}]}}");
    struct obj_job *job = NULL;

    (void)state;
    assert_int_equal(read_job(object, &job, NULL), 0);
    assert_int_equal(job->parallelism, 4);
    assert_int_equal(job->completions, 4);
    assert_true(job->indexed);
    assert_true(job->suspended);
    assert_true(job->finished);
    assert_string_equal(job->template->ns, "n");
    assert_string_equal(job->template->wish.name, "inner");
    assert_string_equal(job->template->wish.required, "block");
    assert_string_equal(job->template->wish.preferred, "node");
    assert_string_equal(job->template->wish.role, "trainer");
    assert_int_equal(job->template->wish.size, 3);
    assert_int_equal(job->template->owner.kind, OWNER_JOB);
    assert_string_equal(job->template->owner.name, "j");
    assert_string_equal(job->template->owner.uid, "u");
    obj_job_free(job);
    json_decref(object);
}

static void nodes_namespaces_and_placements_are_read(void **state)
{
    json_t *object = parse_quoted("{'metadata':{'name':'n','labels':{'b':'2','a':'1'}},'spec':{"
                                  "'unschedulable':true,'taints':[{'key':'k','effect':'NoSchedule'}]},"
                                  "'status':{'allocatable':{'cpu':'95500m','memory':'1Ki'}}}");
    struct obj_node *node = NULL;
    struct obj_namespace *ns = NULL;
    struct obj_placement *placement = NULL;

    (void)state;
    assert_int_equal(read_node(object, &node, NULL), 0);
    assert_true(node->unschedulable);
    assert_string_equal(labels_get(&node->labels, "b"), "2");
    assert_null(labels_get(&node->labels, "c"));
    assert_int_equal(node->taints[0].effect, EFFECT_NO_SCHEDULE);
    assert_int_equal(node->allocatable.items[0].value, 95500);
    assert_int_equal(node->allocatable.items[1].value, 1024);
    obj_node_free(node);
    json_decref(object);

    object = parse_quoted("{'metadata':{'name':'n','labels':{'lockstep.dev/jobs':'gang',"
                          "'lockstep.dev/evict':'no'}}}");
    assert_int_equal(read_namespace(object, &ns, NULL), 0);
    assert_true(ns->jobs_are_gangs);
    assert_false(ns->evict_allowed);
    obj_namespace_free(ns);
    json_decref(object);

    object = parse_quoted("{'metadata':{'name':'g','namespace':'n'},'spec':{'gang':{'kind':'Gang',"
                          "'name':'g'}},'status':{'state':'Binding','generation':2,'pods':3,'reason':{"
                          "'code':'BindFailed'},'nodes':[{'name':'a','first':0,'count':2},{'name':'b',"
                          "'first':2,'count':1}]}}");
    assert_int_equal(read_placement(object, &placement, NULL), 0);
    assert_string_equal(placement->gang_kind, "Gang");
    assert_string_equal(placement->state, "Binding");
    assert_string_equal(placement->reason_code, "BindFailed");
    assert_int_equal(placement->pods, 3);
    assert_int_equal(placement->nshares, 2);
    assert_int_equal(placement->shares[1].first, 2);
    obj_placement_free(placement);
    json_decref(object);
}

static void what_a_pod_group_asks_beyond_is_kept_in_words(void **state)
{
    static const struct {
        const char *spec, *unsupported;
    } cases[] = {
        {"'schedulingPolicy':{'basic':{}}", ""},
        {"'parentCompositePodGroupName':'c'", "CompositePodGroup"},
        {"'resourceClaims':[{'name':'c'}]", "resource claims (DRA)"},
        {"'schedulingConstraints':{'topology':[{'key':'a'},{'key':'b'}]}",
         "more than one topology constraint"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct obj_group *group = NULL;
        char text[512];
        json_t *object;

        snprintf(text, sizeof(text), "{'apiVersion':'scheduling.k8s.io/v1alpha3','metadata':{'name':"
                                     "'g'},'spec':{%s}}", cases[i].spec);
        object = parse_quoted(text);
        assert_int_equal(read_group(object, &group, NULL), 0);
        assert_string_equal(group->unsupported, cases[i].unsupported);
        assert_int_equal(group->min, 0);
        obj_group_free(group);
        json_decref(object);
    }
}

static void both_pod_groups_are_read(void **state)
{
    json_t *native = parse("{\"apiVersion\":\"scheduling.k8s.io/v1beta1\",\"metadata\":{\"name\":\"g\"},"
                           "\"spec\":{\"schedulingPolicy\":{\"gang\":{\"minCount\":4}},"
                           "\"schedulingConstraints\":{\"topology\":[{\"key\":\"a/rack\"}]}}}");
    json_t *sigs = parse("{\"apiVersion\":\"scheduling.x-k8s.io/v1alpha1\",\"metadata\":{\"name\":"
                         "\"g\"},\"spec\":{\"minMember\":3}}");
    struct obj_group *group = NULL;

    (void)state;
    assert_int_equal(read_group(native, &group, NULL), 0);
    assert_int_equal(group->kind, GROUP_NATIVE);
    assert_int_equal(group->min, 4);
    assert_string_equal(group->required, "a/rack");
    obj_group_free(group);
    assert_int_equal(read_group(sigs, &group, NULL), 0);
    assert_int_equal(group->kind, GROUP_SIGS);
    assert_int_equal(group->min, 3);
    obj_group_free(group);
    json_decref(native);
    json_decref(sigs);
}

/* Kubernetes 1.35 alone has it: a pod that names one is in a gang, of which it says that it is not supported. */
static void a_workload_of_1_35_is_never_overlooked(void **state)
{
    static const struct {
        const char *labels, *group, *unsupported;
    } cases[] = {
        {"", "w", "spec.workloadRef, the Workload of Kubernetes 1.35 (label lockstep.dev/gang works there)"},
        {"'lockstep.dev/gang':'g'", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct obj_pod *pod = NULL;
        char text[512];
        json_t *object;

        snprintf(text, sizeof(text), "{'metadata':{'name':'p','uid':'u','labels':{%s}},'spec':{"
                                     "'workloadRef':{'name':'w','podGroup':'workers'},"
                                     "'containers':[{}]}}", cases[i].labels);
        object = parse_quoted(text);
        assert_int_equal(read_pod(object, &pod, NULL), 0);
        assert_string_equal(pod->group_native, cases[i].group);
        assert_string_equal(pod->unsupported, cases[i].unsupported);
        obj_pod_free(pod);
        json_decref(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_added_up_as_kubernetes_does),
        cmocka_unit_test(cpus_of_its_own_are_known),
        cmocka_unit_test(a_pod_says_which_gang_it_is_in),
        cmocka_unit_test(what_is_not_understood_is_kept_in_words),
        cmocka_unit_test(a_lease_renewed_in_another_age_is_refused),
        cmocka_unit_test(errors_name_object_field_found_and_expected),
        cmocka_unit_test(a_pod_says_where_it_is_in_its_life),
        cmocka_unit_test(pods_that_may_run_elsewhere_have_another_shape),
        cmocka_unit_test(a_jobs_own_wish_stands_in_where_its_template_is_silent),
        cmocka_unit_test(nodes_namespaces_and_placements_are_read),
        cmocka_unit_test(both_pod_groups_are_read),
        cmocka_unit_test(a_workload_of_1_35_is_never_overlooked),
        cmocka_unit_test(what_a_pod_group_asks_beyond_is_kept_in_words),
    };

    return cmocka_run_group_tests_name("read", tests, NULL, NULL);
}
