/* configs/examples: every object in it can be read, and means to lockstep what its comment says. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "base/yaml.h"
#include "scheduler/kube/read.h"

struct tally {
    size_t nodes, pods, bound, jobs, groups;
    int64_t bound_gpus, gang_gpus;
    int32_t size; /* of the gang, as Job, group or pods say */
    char required[64], preferred[64];
};

static int64_t gpus(const struct amounts *amounts)
{
    for (size_t i = 0; i < amounts->n; i++)
        if (strcmp(amounts->items[i].resource, "nvidia.com/gpu") == 0)
            return amounts->items[i].value;
    return 0;
}

static void note_levels(struct tally *tally, const char *required, const char *preferred)
{
    snprintf(tally->required, sizeof(tally->required), "%s", required);
    snprintf(tally->preferred, sizeof(tally->preferred), "%s", preferred);
}

static void take_pod(const json_t *object, struct tally *tally, struct err *err)
{
    struct obj_pod *pod;

    if (read_pod(object, &pod, err) < 0)
        fail_msg("%s", err->text);
    assert_string_equal(pod->unsupported, "");
    assert_string_equal(pod->wish.unsupported, "");
    if (pod->node[0]) {
        tally->bound++;
        tally->bound_gpus += gpus(&pod->shape.requests);
    } else {
        assert_string_equal(pod->scheduler, "lockstep");
        assert_true(pod->wish.name[0] || pod->group_native[0] || pod->group_sigs[0]);
        tally->pods++;
        tally->gang_gpus += gpus(&pod->shape.requests);
        if (pod->wish.size > 0)
            tally->size = pod->wish.size;
    }
    obj_pod_free(pod);
}

static void take_job(const json_t *object, struct tally *tally, struct err *err)
{
    struct obj_job *job;

    if (read_job(object, &job, err) < 0)
        fail_msg("%s", err->text);
    assert_true(job->indexed);
    assert_string_equal(job->template->wish.unsupported, "");
    if (!job->template->wish.subgroup[0]) /* those of subgroups are several in one gang */
        assert_string_equal(job->template->wish.name, job->name);
    assert_string_not_equal(job->template->wish.name, "");
    assert_string_equal(job->template->scheduler, "lockstep");
    tally->jobs++;
    tally->size = job->template->wish.size > 0 ? job->template->wish.size : job->parallelism;
    tally->gang_gpus += job->parallelism * gpus(&job->template->shape.requests);
    note_levels(tally, job->template->wish.required, job->template->wish.preferred);
    obj_job_free(job);
}

static void take_group(const json_t *object, struct tally *tally, struct err *err)
{
    struct obj_group *group;

    if (read_group(object, &group, err) < 0)
        fail_msg("%s", err->text);
    assert_string_equal(group->unsupported, "");
    tally->groups++;
    tally->size = group->min;
    note_levels(tally, group->required, group->preferred);
    obj_group_free(group);
}

static void take(const json_t *object, struct tally *tally)
{
    const char *kind = json_string_value(json_object_get(object, "kind"));
    struct err err = ERR_INIT;
    size_t i;
    json_t *item;

    assert_non_null(kind);
    if (strcmp(kind, "List") == 0) {
        json_array_foreach(json_object_get(object, "items"), i, item)
            take(item, tally);
    } else if (strcmp(kind, "Node") == 0) {
        struct obj_node *node;

        if (read_node(object, &node, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(gpus(&node->allocatable), 8);
        assert_non_null(labels_get(&node->labels, "example.com/block"));
        assert_non_null(labels_get(&node->labels, "example.com/rack"));
        tally->nodes++;
        obj_node_free(node);
    } else if (strcmp(kind, "Pod") == 0) {
        take_pod(object, tally, &err);
    } else if (strcmp(kind, "Job") == 0) {
        take_job(object, tally, &err);
    } else if (strcmp(kind, "PodGroup") == 0) {
        take_group(object, tally, &err);
    } else {
        fail_msg("an example of kind %s", kind);
    }
}

static struct tally read_example(const char *name)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(1 << 20);
    CLEANUP(yaml_docs_release) struct yaml_docs docs = {0};
    struct tally tally = {0};
    struct err err = ERR_INIT;
    char path[512];

    snprintf(path, sizeof(path), "%s/configs/examples/%s", SOURCE_DIR, name);
    assert_int_equal(strbuf_read_file(&text, path), 0);
    if (yaml_load(name, text.data, text.len, 100, &docs, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < docs.n; i++)
        take(docs.items[i], &tally);
    return tally;
}

static void the_cluster_has_its_nodes_and_what_is_in_use(void **state)
{
    struct tally tally = read_example("cluster.yaml");

    (void)state;
    assert_int_equal(tally.nodes, 16);
    assert_int_equal(tally.bound, 3);
    assert_int_equal(tally.bound_gpus, 4 + 8 + 8);
}

static const struct {
    const char *file;
    size_t pods, jobs, groups;
    int32_t size;
    int64_t gpus;
    const char *required, *preferred;
} gangs[] = {
    {"job.yaml", 0, 1, 0, 4, 32, "", ""},
    {"job-one-block.yaml", 0, 1, 0, 8, 64, "example.com/block", ""},
    {"pods.yaml", 4, 0, 0, 4, 16, "", ""},
    {"podgroup.yaml", 4, 0, 1, 4, 32, "example.com/rack", ""},
    {"subgroups.yaml", 0, 2, 0, 4, 32, "", ""},
    {"podgroup-x-k8s.yaml", 4, 0, 1, 4, 32, "", "example.com/rack"},
};

static void every_gang_says_its_size_and_its_levels(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(gangs) / sizeof(gangs[0]); i++) {
        struct tally tally = read_example(gangs[i].file);

        assert_int_equal(tally.pods, gangs[i].pods);
        assert_int_equal(tally.jobs, gangs[i].jobs);
        assert_int_equal(tally.groups, gangs[i].groups);
        assert_int_equal(tally.size, gangs[i].size);
        assert_int_equal(tally.gang_gpus, gangs[i].gpus);
        assert_string_equal(tally.required, gangs[i].required);
        assert_string_equal(tally.preferred, gangs[i].preferred);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cluster_has_its_nodes_and_what_is_in_use),
        cmocka_unit_test(every_gang_says_its_size_and_its_levels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
