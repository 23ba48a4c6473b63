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
    ", labels: {lockstep.dev/gang: train" index "}, ownerReferences: [{controller: true, kind: Job" \
    ", name: train}]" more "}, spec: {schedulerName: lockstep, containers: [{}]" spec "}}\n"
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
    {"a Job of the same name elsewhere is another one", OF_JOB("train-0-x", INDEX("0"), "b", "", ""),
     JOB("train", "a", "Indexed", "2"), 2, ""},
    {"all pods stand in the cluster", OF_JOB("t-0", "", "a", "", "") OF_JOB("t-1", "", "a", "", ""),
     "---\n{kind: Pod, metadata: {name: t-1, namespace: a}, spec: {containers: [{}]}}", 2, ""},
    {"too many pods for one Job", "", JOB("train", "a", "Indexed", "20001"), 0, "expected 1 to 20000"},
    {"too many pods in all", "",
     JOB("train", "a", "Indexed", "15000") JOB("more", "a", "Indexed", "15000"), 0,
     "more than 20000 pods"},
    {"an item without a kind", "", "---\n{kind: List, items: [{}]}", 0, "gang: items[0].kind: missing"},
    {"no pods", "", "---\n{kind: Namespace, metadata: {name: a}}", 0, "no pods in it"},
};

/* Loads both texts; the gang's members, or 0 with err. */
static size_t load(const char *cluster, const char *manifest, struct err *err)
{
    struct loader loader = {0};
    struct wanted_gang wanted;
    struct config config;
    size_t members = 0;

    assert_int_equal(config_init(&config), 0);
    loader.core = core_new(&config);
    assert_non_null(loader.core);
    assert_int_equal(load_cluster_text(&loader, "cluster", cluster, strlen(cluster), err), 0);
    if (load_gang_text(&loader, "gang", manifest, strlen(manifest), "lockstep", &wanted, err) == 0) {
        assert_non_null(core_gang_of(loader.core, wanted.uid));
        members = core_gang_of(loader.core, wanted.uid)->nmembers;
    }
    core_free(loader.core);
    actions_release(&loader.actions);
    config_release(&config);
    return members;
}

static void counts_each_pod_of_the_gang_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = ERR_INIT;
        size_t members = load(cases[i].cluster, cases[i].gang, &err);

        if (members != cases[i].members || !strstr(err.text, cases[i].message))
            fail_msg("%s: found %zu members '%s', expected %zu '%s'", cases[i].what, members,
                     err.text, cases[i].members, cases[i].message);
    }
}

/* The UID that a pod of a manifest gets is made of its name, however long that is. */
static void tells_pods_with_long_names_apart(void **state)
{
    struct strbuf text = STRBUF_INIT(4096);
    struct err err = ERR_INIT;
    char name[191];

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(strbuf_addf(&text, "---\n{kind: Job, metadata: {name: %s}, spec: {parallelism: 3, "
                                        "template: {spec: {containers: [{}]}}}}", name), 0);
    assert_int_equal(load("", text.data, &err), 3);
    strbuf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_each_pod_of_the_gang_once),
        cmocka_unit_test(tells_pods_with_long_names_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
