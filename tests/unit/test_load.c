/* lockstep plan's files: what a gang's manifest comes to beside the pods that the cluster has already. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "scheduler/cli/cli.h"
#include "scheduler/model/config.h"
#include "scheduler/model/gang.h"

#define JOB(name, ns, mode, pods)                                                                   \
    "---\n{kind: Job, metadata: {name: " name ", namespace: " ns "}, spec: {completionMode: " mode       \
    ", parallelism: " pods ", completions: " pods ", template: {metadata: {labels: {"               \
    "lockstep.dev/gang: train}}, spec: {containers: [{}]}}}}\n"
#define OF_JOB(name, index, ns, more, spec)                                                         \
    "---\n{kind: Pod, metadata: {name: " name ", namespace: " ns ", uid: " ns name                  \
    ", labels: {lockstep.dev/gang: train}, annotations: {x: y" index "}, ownerReferences: [{"        \
    "controller: true, kind: Job, name: train}]" more "}, spec: {schedulerName: lockstep, containers: [{}]" spec "}}\n"
#define INDEX(i) ", batch.kubernetes.io/job-completion-index: '" i "'"

static const struct {
    const char *what, *cluster, *gang;
    size_t members; /* of the gang, 0: refused */
    const char *message; /* of the refusal, a part */
} cases[] = {
    {"a Job alone", "", JOB("train", "a", "Indexed", "3"), 3, ""},
    {"indices that are there count once",
     OF_JOB("train-0-x", INDEX("0"), "a", "", "") OF_JOB("train-2-y", INDEX("2"), "a", "", ""),
     JOB("train", "a", "Indexed", "3"), 3, ""},
    {"pods without an index count once, whatever their names",
     OF_JOB("train-x7", "", "a", "", "") OF_JOB("train-y8", "", "a", "", ""),
     JOB("train", "a", "NonIndexed", "4"), 4, ""},
    {"all are there", OF_JOB("train-x7", "", "a", "", ""), JOB("train", "a", "NonIndexed", "1"), 1, ""},
    {"one that has failed is made again",
     OF_JOB("train-0-x", INDEX("0"), "a", "", "}, status: {phase: Failed"),
     JOB("train", "a", "Indexed", "2"), 2, ""},
    {"one that is going is made again",
     OF_JOB("train-0-x", INDEX("0"), "a", ", deletionTimestamp: '2026-01-01T00:00:00Z'", ""),
     JOB("train", "a", "Indexed", "2"), 2, ""},
    {"a gang by its namespace stays one gang",
     "---\n{kind: Namespace, metadata: {name: a, labels: {lockstep.dev/jobs: gang}}}\n"
     "---\n{kind: Pod, metadata: {name: plain-0-x, namespace: a, uid: u, annotations: {x: y" INDEX("0") "}, "
     "ownerReferences: [{controller: true, kind: Job, name: plain}]}, "
     "spec: {schedulerName: lockstep, containers: [{}]}}\n",
     "---\n{kind: Job, metadata: {name: plain, namespace: a}, spec: {completionMode: Indexed, parallelism: 3, "
     "completions: 3, template: {spec: {containers: [{}]}}}}", 3, ""},
    {"a Job of the same name elsewhere is another one", OF_JOB("train-0-x", INDEX("0"), "b", "", ""),
     JOB("train", "a", "Indexed", "2"), 2, ""},
    {"all pods stand in the cluster", OF_JOB("t-0", "", "a", "", "") OF_JOB("t-1", "", "a", "", ""),
     "---\n{kind: Pod, metadata: {name: t-1, namespace: a}, spec: {containers: [{}]}}", 2, ""},
    {"too many pods for one Job", "", JOB("train", "a", "Indexed", "20001"), 0, "expected 1 to 20000"},
    {"too many pods in all", "",
     JOB("train", "a", "Indexed", "15000") JOB("more", "a", "Indexed", "15000"), 0,
     "more than 20000 pods"},
    {"items of a typed list are of its kind", "",
     "---\n{kind: PodList, items: [{metadata: {name: a, labels: {lockstep.dev/gang: a}}, spec: {containers: "
     "[{}]}}]}", 1, ""},
    {"an item without a kind", "", "---\n{kind: List, items: [{}]}", 0, "gang: items[0].kind: missing"},
    {"no pods", "", "---\n{kind: Namespace, metadata: {name: a}}", 0, "no pods in it"},
};

struct what_if {
    struct config config;
    struct loader loader;
    const struct gang *gang; /* NULL: the manifest was refused, err says why */
    struct err err;
};

static void open_what_if(struct what_if *it, const char *cluster, const char *manifest)
{
    struct wanted_gang wanted;

    *it = (struct what_if){.err = ERR_INIT};
    assert_int_equal(config_init(&it->config), 0);
    config_what_if(&it->config);
    it->loader.core = core_new(&it->config);
    assert_non_null(it->loader.core);
    assert_int_equal(load_cluster_text(&it->loader, "cluster", cluster, strlen(cluster), &it->err), 0);
    if (load_gang_text(&it->loader, "gang", manifest, strlen(manifest), "lockstep", &wanted, &it->err) == 0) {
        it->gang = core_gang_of(it->loader.core, wanted.uid);
        assert_non_null(it->gang);
    }
}

static void close_what_if(struct what_if *it)
{
    core_free(it->loader.core);
    actions_release(&it->loader.actions);
    config_release(&it->config);
}

static void counts_each_pod_of_the_gang_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct what_if it;
        size_t members;

        open_what_if(&it, cases[i].cluster, cases[i].gang);
        members = it.gang ? it.gang->nmembers : 0;
        if (members != cases[i].members || !strstr(it.err.text, cases[i].message))
            fail_msg("%s: found %zu members '%s', expected %zu '%s'", cases[i].what, members,
                     it.err.text, cases[i].members, cases[i].message);
        close_what_if(&it);
    }
}

/* The UID that a pod of a manifest gets is made of its name, however long that is. */
static void tells_pods_with_long_names_apart(void **state)
{
    struct strbuf text = STRBUF_INIT(4096);
    struct what_if it;
    char name[191];

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(strbuf_addf(&text, "---\n{kind: Job, metadata: {name: %s}, spec: {parallelism: 3, "
                                        "template: {spec: {containers: [{}]}}}}", name), 0);
    open_what_if(&it, "", text.data);
    assert_non_null(it.gang);
    assert_int_equal(it.gang->nmembers, 3);
    close_what_if(&it);
    strbuf_release(&text);
}

#define MEMBER_OF_2(name, gang)                                                                     \
    "---\n{kind: Pod, metadata: {name: " name ", labels: {lockstep.dev/gang: " gang                \
    "}, annotations: {lockstep.dev/gang-size: '2'}}, spec: {schedulerName: lockstep, containers: [" \
    "{resources: {limits: {nvidia.com/gpu: 4}}}]}}\n"
#define NODE_OF_8                                                                                   \
    "---\n{kind: Node, metadata: {name: n}, status: {allocatable: {pods: 10, nvidia.com/gpu: 8}}}\n"

static void settle(struct what_if *it)
{
    struct event synced = {.kind = EV_SYNCED};

    core_step(it->loader.core, &synced, 1, &it->loader.actions);
    core_settle(it->loader.core, 1, &it->loader.actions);
}

static void a_gang_that_lacks_pods_says_so(void **state)
{
    struct what_if it;

    (void)state;
    open_what_if(&it, NODE_OF_8, MEMBER_OF_2("some", "some"));
    settle(&it);
    assert_non_null(it.gang);
    assert_false(gang_is_placed(it.gang));
    assert_int_equal(it.gang->reason.code, REASON_MEMBERS_MISSING);
    close_what_if(&it);
}

static void a_gang_that_lacks_pods_takes_no_room(void **state)
{
    struct what_if it;

    (void)state;
    open_what_if(&it, NODE_OF_8 MEMBER_OF_2("some", "some"),
                 MEMBER_OF_2("a", "train") MEMBER_OF_2("b", "train"));
    settle(&it);
    assert_non_null(it.gang);
    assert_true(gang_is_placed(it.gang));
    close_what_if(&it);
}

/* The gang runs, so it has no reason of its own. */
static void one_more_pod_of_a_running_gang_that_finds_no_room_gets_a_reason(void **state)
{
    struct what_if it;
    json_t *answer;
    const char *code;

    (void)state;
    open_what_if(&it,
                 NODE_OF_8 "---\n{kind: Pod, metadata: {name: a, labels: {lockstep.dev/gang: train}, annotations: "
                           "{lockstep.dev/gang-size: '1'}}, spec: {schedulerName: lockstep, nodeName: n, "
                           "containers: [{resources: {limits: {nvidia.com/gpu: 6}}}]}}",
                 MEMBER_OF_2("b", "train"));
    settle(&it);
    assert_non_null(it.gang);
    answer = show_json(it.loader.core, it.gang);
    assert_true(json_is_false(json_object_get(answer, "feasible")));
    code = json_string_value(json_object_get(json_object_get(answer, "reason"), "code"));
    assert_string_equal(code, "InsufficientRoom");
    json_decref(answer);
    close_what_if(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_each_pod_of_the_gang_once),
        cmocka_unit_test(tells_pods_with_long_names_apart),
        cmocka_unit_test(a_gang_that_lacks_pods_says_so),
        cmocka_unit_test(a_gang_that_lacks_pods_takes_no_room),
        cmocka_unit_test(one_more_pod_of_a_running_gang_that_finds_no_room_gets_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
