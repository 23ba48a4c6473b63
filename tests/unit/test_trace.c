/* Traces: what is written comes back, nothing secret is written, and what is broken is named. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "scheduler/kube/read.h"
#include "scheduler/trace/trace.h"
#include "tests/unit/object_text.h"

/* Quotes are written as ' here. What must not get into a trace says SECRET. */
#define META(name)                                                                                 \
    "'namespace':'ns','name':'" name "','uid':'u-" name "','generation':3,"                        \
    "'creationTimestamp':'2026-01-02T03:04:05Z','managedFields':[{'manager':'SECRET'}]"
#define WISH                                                                                       \
    "'labels':{'lockstep.dev/gang':'train','lockstep.dev/subgroup':'a','app':'SECRET',"            \
    "'scheduling.x-k8s.io/pod-group':'pg','apps.kubernetes.io/pod-index':'7'},"                    \
    "'annotations':{'lockstep.dev/gang-size':'4','lockstep.dev/role':'worker',"                    \
    "'lockstep.dev/topology':'required=rack,preferred=block',"                                     \
    "'lockstep.dev/subgroup-topology':'required=node,spread=rack',"                                \
    "'batch.kubernetes.io/job-completion-index':'3',"                                              \
    "'kubectl.kubernetes.io/last-applied-configuration':'SECRET'}"
#define CONTAINER(gpus)                                                                            \
    "{'name':'c','restartPolicy':'Always','image':'SECRET','command':['SECRET'],"                  \
    "'args':['SECRET'],"                                                                           \
    "'env':[{'name':'TOKEN','value':'SECRET'}],'resources':{'limits':{'nvidia.com/gpu':" gpus "},"  \
    "'requests':{'cpu':0.3,'memory':'1Gi'},'claims':[{'name':'SECRET'}]}}"
#define SPEC                                                                                       \
    "'spec':{'schedulerName':'lockstep','nodeName':'n1','priority':5,"                             \
    "'nodeSelector':{'pool':'a'},'overhead':{'cpu':'10m'},"                                        \
    "'schedulingGates':[{'name':'SECRET'}],'resourceClaims':[{'name':'SECRET'}],"                  \
    "'schedulingGroup':{'podGroupName':'pg2'},'workloadRef':{'name':'w','podGroup':'SECRET'},"     \
    "'volumes':[{'secret':{'secretName':'SECRET'}}],'serviceAccountName':'SECRET',"                \
    "'tolerations':[{'key':'k','operator':'Exists','effect':'NoSchedule'}],"                       \
    "'affinity':{'podAffinity':'SECRET','nodeAffinity':{"                                          \
    "'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':["                      \
    "{'matchExpressions':[{'key':'x','operator':'In','values':['1','2']}],"                        \
    "'matchFields':[{'key':'metadata.name','operator':'NotIn','values':['n9']}]}]}}},"             \
    "'resources':{'requests':{'cpu':'2'}},"                                                        \
    "'containers':[" CONTAINER("'8'") "],'initContainers':[" CONTAINER("1") "]}"
#define STATUS                                                                                     \
    "'status':{'phase':'Failed','reason':'OutOfcpu','message':'SECRET','podIP':'SECRET',"          \
    "'nominatedNodeName':'n2','conditions':[{'type':'Ready','message':'SECRET'},"                  \
    "{'type':'PodScheduled','status':'False','message':'0/3 nodes are available'}],"               \
    "'containerStatuses':[{'name':'c','allocatedResources':{'cpu':'3'},"                           \
    "'state':{'terminated':{'message':'SECRET'}},'resources':{'requests':{'cpu':'4'}}}]}"

static const char *const samples[EVENT_KINDS] = {
    [EV_NODE] = "{'metadata':{" META("n1") ",'labels':{'rack':'r1'},'annotations':{'a':'SECRET'}},"
                "'spec':{'unschedulable':true,'podCIDR':'SECRET','taints':[{'key':'t','value':'v',"
                "'effect':'NoExecute'}]},'status':{'allocatable':{'nvidia.com/gpu':'8','cpu':'1'},"
                "'addresses':[{'address':'SECRET'}]}}",
    [EV_MACHINE] = "{'metadata':{" META("n1") ",'annotations':{'a':'SECRET'}},'spec':{'model':'box',"
                   "'fabric':'mesh','gpus':[{'index':0,'sm':70},{'index':1,'sm':70}],"
                   "'links':['NV2@50'],'nicLinks':[]}}",
    [EV_POD] = "{'metadata':{" META("p") ",'deletionTimestamp':'2026-01-02T03:04:05Z'," WISH
               ",'ownerReferences':[{'controller':true,'kind':'Job','apiVersion':'batch/v1',"
               "'name':'j','uid':'u-j'}]}," SPEC "," STATUS "}",
    [EV_JOB] = "{'metadata':{" META("j") "," WISH "},'spec':{'completionMode':'Indexed',"
               "'parallelism':4,'completions':4,'suspend':true,'template':{'metadata':{" WISH "},"
               SPEC "}},'status':{'conditions':[{'type':'Complete','status':'True',"
               "'message':'SECRET'}]}}",
    [EV_GROUP] = "{'apiVersion':'scheduling.k8s.io/v1beta1','metadata':{" META("pg") "," WISH "},"
                 "'spec':{'schedulingPolicy':{'gang':{'minCount':4}},'schedulingConstraints':"
                 "{'topology':[{'key':'rack'},{'key':'block'}]}}}",
    [EV_NAMESPACE] = "{'metadata':{'name':'ns','annotations':{'a':'SECRET'},'labels':{"
                     "'lockstep.dev/jobs':'gang','lockstep.dev/evict':'allowed','b':'SECRET'}}}",
    [EV_PLACEMENT] = "{'metadata':{" META("train") ",'resourceVersion':'7','ownerReferences':[{'name':'SECRET'}]},"
                     "'spec':{'gang':{'kind':'Job','name':'j'}},"
                     "'status':{'state':'Planned','reason':{'code':'Planned','message':'SECRET'},"
                     "'conditions':[{'type':'Placed','lastTransitionTime':'2026-01-02T03:04:05Z',"
                     "'message':'SECRET'}],'generation':2,'pods':4,'nodes':[{'name':'n1','first':0,'count':3,'gpus':'0 1 2'},"
                     "{'name':'n2','first':3,'count':1}]}}",
    [EV_LEASE] = "{'metadata':{" META("lease") "},'spec':{'holderIdentity':'host_1',"
                 "'leaseDurationSeconds':15,'leaseTransitions':2,"
                 "'acquireTime':'2026-01-02T03:04:05.250000Z',"
                 "'renewTime':'2026-01-02T03:04:15.750000Z'}}",
};

/* Pending, with containers of each state. */
static const char *const waiting_pods[] = {
    "{'metadata':{" META("p") "},'spec':{'nodeName':'n1','containers':[{}],'initContainers':[{'name':'s','restartPolicy':'Always'}]},"
    "'status':{'phase':'Pending','initContainerStatuses':[{'name':'s','started':true,'image':'SECRET',"
    "'state':{'running':{'startedAt':'SECRET'}}},{'name':'i','state':{'waiting':{'reason':'PodInitializing'}}}]}}",
    "{'metadata':{" META("p") "},'spec':{'nodeName':'n1','containers':[{}]},'status':{'phase':'Pending','initContainerStatuses':["
    "{'name':'i','state':{'terminated':{'exitCode':0,'message':'SECRET'}}}],'containerStatuses':[{'name':'c',"
    "'image':'SECRET','state':{'waiting':{'reason':'ErrImagePull','message':'SECRET'}}}]}}",
    "{'metadata':{" META("p") "},'spec':{'nodeName':'n1','containers':[{}]},'status':{'phase':'Pending','initContainerStatuses':["
    "{'name':'i','state':{'running':{'startedAt':'SECRET'}}}]}}",
    "{'metadata':{" META("p") "},'spec':{'nodeName':'n1','containers':[{}]},'status':{'phase':'Pending'}}",
};

static json_t *parse_sample(const char *quoted, enum event_kind kind)
{
    char *text = strdup(quoted);
    json_error_t error;
    json_t *object;

    for (char *at = text; *at; at++)
        if (*at == '\'')
            *at = '"';
    object = json_loads(text, 0, &error);
    if (!object)
        fail_msg("%s: %s", event_kind_name(kind), error.text);
    free(text);
    return object;
}

static json_t *sample(enum event_kind kind)
{
    return parse_sample(samples[kind], kind);
}

static void read_sample(json_t *object, struct event *event)
{
    struct err err = ERR_INIT;
    if (read_event(object, event, &err) < 0)
        fail_msg("%s: %s", event_kind_name(event->kind), err.text);
}

/* An event with every field that a trace keeps for its kind. */
static struct event make_event(enum event_kind kind)
{
    struct event event = {.kind = kind, .group_kind = GROUP_SIGS, .ticket = 1234567890123,
                          .wall_ns = 1700000000123456789};

    snprintf(event.ns_name, sizeof(event.ns_name), "ns-\"%d\"", kind);
    snprintf(event.name, sizeof(event.name), "name\\%d", kind);
    snprintf(event.uid, sizeof(event.uid), "uid\t%d", kind);
    if (kind == EV_WRITE_DONE) {
        event.action = ACT_EVICT;
        event.result = WRITE_UNKNOWN;
        snprintf(event.text, sizeof(event.text), "Grüße");
    }
    return event;
}

static void must_read(const struct strbuf *text, struct trace_line *line)
{
    struct err err = ERR_INIT;

    assert_false(text->failed);
    assert_int_equal(text->data[text->len - 1], '\n');
    assert_ptr_equal(strchr(text->data, '\n'), text->data + text->len - 1);
    if (trace_line_read(text->data, text->len - 1, line, &err) < 0)
        fail_msg("%s: %s", text->data, err.text);
}

static void same_fields(const struct event *a, const struct event *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_string_equal(a->ns_name, b->ns_name);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->uid, b->uid);
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->ticket, b->ticket);
    assert_int_equal(a->wall_ns, b->wall_ns);
    assert_int_equal(a->group_kind, b->group_kind);
    assert_int_equal(a->action, b->action);
    assert_int_equal(a->result, b->result);
}

static void same_object(const struct event *a, const struct event *b)
{
    struct strbuf texts[2] = {STRBUF_INIT(1 << 20), STRBUF_INIT(1 << 20)};

    text_of_object(&texts[0], a);
    text_of_object(&texts[1], b);
    assert_string_equal(texts[0].data ? texts[0].data : "", texts[1].data ? texts[1].data : "");
    strbuf_release(&texts[0]);
    strbuf_release(&texts[1]);
}

/* Written and read again it is the same, with nothing that is to be left out. */
static void comes_back(const struct event *event, const char *kept)
{
    struct strbuf text = STRBUF_INIT(1 << 20);
    struct trace_line line;

    trace_add_step(&text, event, kept, -5);
    if (strstr(text.data, "SECRET"))
        fail_msg("%s", text.data);
    must_read(&text, &line);
    assert_int_equal(line.kind, TRACE_STEP);
    assert_int_equal(line.now_ns, -5);
    same_fields(&line.event, event);
    same_object(&line.event, event);
    trace_line_release(&line);
    strbuf_release(&text);
}

static void every_event_comes_back_without_secrets(void **state)
{
    struct trace_mask *mask = trace_mask_new();

    (void)state;
    for (enum event_kind kind = 0; kind < EVENT_KINDS; kind++) {
        struct event event = make_event(kind);
        json_t *object = NULL;
        char *kept = NULL;

        assert_int_equal(event_has_object(kind), samples[kind] != NULL);
        if (samples[kind]) {
            object = sample(kind);
            read_sample(object, &event);
            kept = trace_mask_text(mask, kind, object);
        }
        comes_back(&event, kept);
        event_release(&event);
        json_decref(object);
        free(kept);
    }
    trace_mask_free(mask);
}

static void what_a_pod_waits_at_comes_back_without_its_image(void **state)
{
    struct trace_mask *mask = trace_mask_new();

    (void)state;
    for (size_t i = 0; i < sizeof(waiting_pods) / sizeof(waiting_pods[0]); i++) {
        struct event event = {.kind = EV_POD};
        json_t *object = parse_sample(waiting_pods[i], EV_POD);
        char *kept = trace_mask_text(mask, EV_POD, object);

        read_sample(object, &event);
        assert_non_null(event.object.pod->waiting);
        comes_back(&event, kept);
        event_release(&event);
        json_decref(object);
        free(kept);
    }
    trace_mask_free(mask);
}

static const char *field(const json_t *action, const char *key)
{
    const char *text = json_string_value(json_object_get(action, key));

    return text ? text : "";
}

static void every_action_comes_back(void **state)
{
    char text_field[] = "\"5 of 8\" pods", body[] = "{\"a\":1}";

    (void)state;
    for (enum action_kind kind = 0; kind < ACTION_KINDS; kind++) {
        struct action action = {.kind = kind, .ticket = 77 + kind, .ns = "ns", .name = "name",
                                .uid = "uid", .node = "node", .reason = "Waiting", .warning = true,
                                .text = text_field, .body = body};
        struct strbuf text = STRBUF_INIT(1 << 20);
        struct trace_line line;

        trace_add_action(&text, &action);
        must_read(&text, &line);
        assert_int_equal(line.kind, TRACE_ACTION);
        assert_string_equal(field(line.action, "act"), action_kind_name(kind));
        assert_int_equal(json_integer_value(json_object_get(line.action, "ticket")), 77 + kind);
        assert_string_equal(field(line.action, "ns"), "ns");
        assert_string_equal(field(line.action, "name"), "name");
        assert_string_equal(field(line.action, "uid"), "uid");
        assert_string_equal(field(line.action, "node"), "node");
        assert_string_equal(field(line.action, "reason"), "Waiting");
        assert_string_equal(field(line.action, "text"), text_field);
        assert_string_equal(field(line.action, "body"), body);
        assert_true(json_is_true(json_object_get(line.action, "warning")));
        assert_int_equal(json_object_size(line.action), 10);
        trace_line_release(&line);
        strbuf_release(&text);
    }
}

static void a_long_body_is_its_hash(void **state)
{
    struct strbuf text = STRBUF_INIT(1 << 20);
    char body[TRACE_BODY_MAX + 2], digest[SHA256_HEX];
    struct action action = {.kind = ACT_PLACEMENT, .body = body};
    struct trace_line line;

    (void)state;
    memset(body, 'x', sizeof(body));
    body[sizeof(body) - 1] = '\0';
    sha256_hex(body, sizeof(body) - 1, digest);
    trace_add_action(&text, &action);
    must_read(&text, &line);
    assert_string_equal(field(line.action, "body"), "");
    assert_string_equal(field(line.action, "body_sha256"), digest);
    assert_int_equal(json_integer_value(json_object_get(line.action, "body_bytes")),
                     sizeof(body) - 1);
    trace_line_release(&line);
    strbuf_release(&text);
}

/* A message that was cut inside a character: the line must still be one that can be read. */
static void text_that_is_not_utf8_is_written_readably(void **state)
{
    struct event event = {.kind = EV_WRITE_DONE, .text = "\"no\xc3"};
    struct strbuf text = STRBUF_INIT(1000);
    struct trace_line line;

    (void)state;
    trace_add_step(&text, &event, NULL, 1);
    must_read(&text, &line);
    assert_string_equal(line.event.text, "?no?");
    trace_line_release(&line);
    strbuf_release(&text);
}

static const char *const configs[] = {
    "",
    "levels: [a/block, a/rack]\nacceleratorResources: [x.com/gpu, y.com/npu]\n"
    "nodeSelector: {pool: a, zone: \"1\"}\nholdDeadline: 7s\nearlyPlanDeadline: 0s\n"
    "headOfLineAfter: 1h\ngiveUpAfter: 2h\npreemption: on\nlease: off\nschedulerName: other\n"
    "tls: {ca: /secret/ca, verbs: {cert: /secret/crt, key: /secret/key}}\n",
};

static void same_config(const struct config *a, const struct config *b)
{
    assert_string_equal(a->scheduler_name, b->scheduler_name);
    assert_string_equal(a->lease, b->lease);
    assert_int_equal(a->nlevels, b->nlevels);
    for (size_t i = 0; i < a->nlevels; i++)
        assert_string_equal(a->levels[i], b->levels[i]);
    assert_int_equal(a->naccelerators, b->naccelerators);
    for (size_t i = 0; i < a->naccelerators; i++)
        assert_string_equal(a->accelerators[i], b->accelerators[i]);
    assert_int_equal(a->node_selector.n, b->node_selector.n);
    for (size_t i = 0; i < a->node_selector.n; i++)
        assert_string_equal(labels_get(&b->node_selector, a->node_selector.items[i].key),
                            a->node_selector.items[i].value);
    assert_int_equal(a->hold_deadline_ns, b->hold_deadline_ns);
    assert_int_equal(a->early_plan_deadline_ns, b->early_plan_deadline_ns);
    assert_int_equal(a->head_of_line_ns, b->head_of_line_ns);
    assert_int_equal(a->give_up_ns, b->give_up_ns);
    assert_int_equal(a->preemption, b->preemption);
}

static void the_header_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        struct trace_header header = {.program = "lockstep-extender 1", .host = "h",
                                      .epoch_s = -3, .began_ns = 4};
        struct strbuf text = STRBUF_INIT(1 << 20);
        struct err err = ERR_INIT;
        struct trace_line line;

        if (config_parse("test", configs[i], strlen(configs[i]), &header.config, &err) < 0)
            fail_msg("%s", err.text);
        trace_add_header(&text, &header);
        assert_null(strstr(text.data, "/secret"));
        must_read(&text, &line);
        assert_int_equal(line.kind, TRACE_HEADER);
        assert_string_equal(line.header.program, header.program);
        assert_string_equal(line.header.host, "h");
        assert_int_equal(line.header.epoch_s, -3);
        assert_int_equal(line.header.began_ns, 4);
        same_config(&line.header.config, &header.config);
        trace_line_release(&line);
        strbuf_release(&text);
        config_release(&header.config);
    }
}

static const struct {
    const char *text, *message;
} broken[] = {
    {"", "expected a JSON object"},
    {"{\"step\":\"tick\"", "expected a JSON object"},
    {"[]", "none of the keys"},
    {"{\"x\":1}", "none of the keys"},
    {"{\"step\":\"tick\"}", "now"},
    {"{\"step\":\"tick\",\"now\":\"1\"}", "integer"},
    {"{\"step\":\"tock\",\"now\":1}", "found 'tock'"},
    {"{\"step\":\"tick\",\"now\":1,\"nom\":2}", "nom"},
    {"{\"step\":\"tick\",\"now\":1,\"object\":{}}", "has none"},
    {"{\"step\":\"pod\",\"now\":1}", "has one"},
    {"{\"step\":\"pod\",\"now\":1,\"object\":{}}", "Pod: metadata: missing"},
    {"{\"step\":\"write done\",\"now\":1,\"action\":\"bend\",\"result\":\"ok\"}", "found 'bend'"},
    {"{\"step\":\"write done\",\"now\":1,\"action\":\"bind\",\"result\":\"ko\"}", "found 'ko'"},
    {"{\"settle\":true}", "integer"},
    {"{\"settle\":1,\"settle\":2}", "duplicate"},
    {"{\"act\":\"bend\"}", "found 'bend'"},
    {"{\"act\":1}", "act"},
    {"{\"end\":1}", "string"},
    {"{\"trace\":2}", "found version 2"},
    {"{\"trace\":1,\"program\":\"p\",\"epoch_s\":1,\"began\":1,\"config\":[]}", "expected a mapping"},
    {"{\"trace\":1,\"program\":\"p\",\"epoch_s\":1,\"began\":1,\"config\":{\"level\":[]}}", "unknown key"},
    {"{\"trace\":1,\"epoch_s\":1,\"began\":1,\"config\":{}}", "program"},
};

static void what_is_broken_is_named(void **state)
{
    char longer[NAME_TEXT + 200];

    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct err err = ERR_INIT;
        struct trace_line line;

        assert_true(trace_line_read(broken[i].text, strlen(broken[i].text), &line, &err) < 0);
        if (!strstr(err.text, broken[i].message))
            fail_msg("%s: '%s' lacks '%s'", broken[i].text, err.text, broken[i].message);
    }
    snprintf(longer, sizeof(longer), "{\"step\":\"vote\",\"now\":1,\"uid\":\"%0*d\"}", NAME_TEXT, 0);
    {
        struct err err = ERR_INIT;
        struct trace_line line;

        assert_true(trace_line_read(longer, strlen(longer), &line, &err) < 0);
        assert_non_null(strstr(err.text, "uid: found a text of 256 bytes"));
    }
}

/* ---- the reader ---------------------------------------------------------------------------------- */

#define HEADER "{\"trace\":1,\"program\":\"p\",\"epoch_s\":1,\"began\":1,\"config\":{}}\n"

static const struct {
    const char *text;
    int lines, torn; /* lines -1: an error at torn */
    const char *message;
} files[] = {
    {"", 0, 0, NULL},
    {HEADER "{\"settle\":1}\n{\"end\":\"e\"}\n", 3, 0, NULL},
    {HEADER "{\"settle\":1}", 2, 0, NULL},
    {HEADER "{\"settle\":", 1, 1, NULL},
    {HEADER "{\"settle\":1}\n{\"ste\n" HEADER "{\"set", 3, 2, NULL},
    {HEADER "{\"ste\n{\"settle\":1}\n", -1, 0, "test:2: "},
    {HEADER "{\"ste\n{\"ste\n", -1, 0, "test:2: "},
    {HEADER "\n" HEADER, 2, 1, NULL},
    {HEADER "{\"settle\":1}\n{\"step\":\"tock\",\"now\":1}\n" HEADER, -1, 0, "test:3: step: found"},
};

static void torn_lines_are_passed_where_a_process_was_killed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *text = strdup(files[i].text);
        FILE *file = *text ? fmemopen(text, strlen(text), "r") : fopen("/dev/null", "r");
        struct trace_reader *reader = trace_reader_new(file, "test");
        struct trace_line line = {0};
        struct err err = ERR_INIT;
        int r, lines = 0;

        while ((r = trace_reader_next(reader, &line, &err)) > 0) {
            trace_line_release(&line);
            lines++;
        }
        if (files[i].lines < 0) {
            assert_true(r < 0);
            if (strncmp(err.text, files[i].message, strlen(files[i].message)) != 0)
                fail_msg("'%s' does not begin with '%s'", err.text, files[i].message);
        } else {
            assert_int_equal(r, 0);
            assert_int_equal(lines, files[i].lines);
            assert_int_equal(trace_reader_torn(reader), files[i].torn);
        }
        trace_reader_free(reader);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_comes_back_without_secrets),
        cmocka_unit_test(what_a_pod_waits_at_comes_back_without_its_image),
        cmocka_unit_test(every_action_comes_back),
        cmocka_unit_test(a_long_body_is_its_hash),
        cmocka_unit_test(text_that_is_not_utf8_is_written_readably),
        cmocka_unit_test(the_header_comes_back),
        cmocka_unit_test(what_is_broken_is_named),
        cmocka_unit_test(torn_lines_are_passed_where_a_process_was_killed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
