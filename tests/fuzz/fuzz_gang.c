/*
 * Any bytes as GANG of lockstep plan, beside a small cluster with use on it: refused with a word, or a gang
 * about which there is an answer: placed, or the reason why not.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/config.h"
#include "tests/fuzz/settle.h"

#define PODS_MAX 100 /* each is read anew: one run takes milliseconds */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NODE(name, block, rack)                                                                     \
    "---\n{kind: Node, metadata: {name: " name ", labels: {b: " block ", r: " rack "}}, status: {"   \
    "allocatable: {cpu: 96, memory: 1Ti, pods: 110, nvidia.com/gpu: 8}}}\n"
#define POD(name, index, node)                                                                      \
    "---\n{kind: Pod, metadata: {name: " name ", uid: " name ", labels: {lockstep.dev/gang: train}, " \
    "annotations: {batch.kubernetes.io/job-completion-index: '" index "'}, ownerReferences: [{"     \
    "controller: true, kind: Job, name: train}]}, spec: {schedulerName: lockstep, nodeName: " node  \
    ", containers: [{resources: {limits: {nvidia.com/gpu: 4}}}]}}\n"
static const char cluster[] = NODE("n0", "b0", "r0") NODE("n1", "b0", "r0") NODE("n2", "b0", "r1")
    NODE("n3", "b1", "r2") POD("train-0-x", "0", "n0") POD("train-1-y", "1", "n1")
        "---\n{kind: Namespace, metadata: {name: gangs, labels: {lockstep.dev/jobs: gang}}}\n";

static void plan(struct loader *loader, const struct wanted_gang *wanted)
{
    const struct gang *gang;
    const char *code;
    json_t *answer;

    if (!may_settle(loader->core))
        return;
    settle_at(loader, EV_SYNCED, 1);
    gang = core_gang_of(loader->core, wanted->uid);
    if (!gang)
        return;
    answer = show_json(loader->core, gang);
    if (!answer || json_is_true(json_object_get(answer, "feasible")) != gang_is_placed(gang))
        abort();
    code = json_string_value(json_object_get(json_object_get(answer, "reason"), "code"));
    if (!gang_is_placed(gang) && (!code || !*code))
        abort(); /* "no" without a reason */
    json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *levels[] = {"b", "r", NULL};
    struct loader loader = {.gang_pods_max = PODS_MAX};
    struct wanted_gang wanted;
    struct config config;
    struct err err = ERR_INIT;

    if (size > INPUT_MAX)
        return 0;
    if (config_init(&config) < 0 || config.levels)
        abort();
    config_what_if(&config);
    config.levels = levels;
    config.nlevels = 2;
    loader.core = core_new(&config);
    if (load_cluster_text(&loader, "cluster", cluster, strlen(cluster), &err) < 0)
        abort();
    if (load_gang_text(&loader, "fuzz", (const char *)data, size, "lockstep", &wanted, &err) == 0)
        plan(&loader, &wanted);
    else if (!err.text[0])
        abort();
    core_free(loader.core);
    actions_release(&loader.actions);
    config.levels = NULL;
    config_release(&config);
    return 0;
}
