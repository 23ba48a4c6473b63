/*
 * podwatch - records what happens to gangs, seen from the API server: the judge of the fault tests.
 *
 *   podwatch --kubeconfig FILE --out FILE     records until SIGTERM, appending
 *   podwatch --mark TEXT --out FILE           appends one line with the time now
 *
 * A line has 11 fields between tabs, "-" for none:
 *
 *   CLOCK_MONOTONIC-ns  resourceVersion  KIND  ns/name  uid  gang  min  node  phase  gpus  rank
 *
 * KIND: pod, pod-gone, gp (a GangPlacement: its state stands under phase), gp-gone, mark (its text
 * stands under ns/name). The two watches arrive in any order; resourceVersions are revisions of one
 * store, so sorting by them tells what was written first. An object that is gone carries the newest
 * version seen so far. min is the annotation test.lockstep.dev/min of the pod, which the tests set:
 * the judge believes nothing that lockstep derived.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/http_client.h"
#include "scheduler/kube/kube_config.h"
#include "scheduler/kube/kube_watch.h"

struct recorder {
    FILE *out; /* written by the client's thread only, a line at a time */
    long long newest; /* resourceVersion seen so far */
};

struct line {
    const char *kind, *ns, *name, *uid, *gang, *min, *node, *phase, *gpus, *rank;
};

static const char *or_dash(const char *text)
{
    return text && *text ? text : "-";
}

static void write_line(struct recorder *recorder, const struct line *line)
{
    fprintf(recorder->out, "%lld\t%lld\t%s\t%s/%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
            (long long)clock_read(CLOCK_MONOTONIC), recorder->newest, line->kind,
            or_dash(line->ns), or_dash(line->name), or_dash(line->uid), or_dash(line->gang),
            or_dash(line->min), or_dash(line->node), or_dash(line->phase), or_dash(line->gpus),
            or_dash(line->rank));
}

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Only lines in order of writing make sense of "newest", so each object's own version is used. */
static void see_version(struct recorder *recorder, const json_t *meta)
{
    const char *text = text_at(meta, "resourceVersion");
    long long version = text ? strtoll(text, NULL, 10) : 0;

    if (version > recorder->newest)
        recorder->newest = version;
}

static void write_object(struct recorder *recorder, const json_t *meta, const struct line *line)
{
    const char *text = text_at(meta, "resourceVersion");
    long long newest = recorder->newest;

    recorder->newest = text ? strtoll(text, NULL, 10) : 0;
    write_line(recorder, line);
    recorder->newest = newest;
    see_version(recorder, meta);
}

static const char *gpus_of(const json_t *spec)
{
    const json_t *container = json_array_get(json_object_get(spec, "containers"), 0);
    const json_t *limits = json_object_get(json_object_get(container, "resources"), "limits");

    return text_at(limits, "nvidia.com/gpu");
}

/* A PodGroup's pods carry no label of ours: the test names their gang in an annotation. */
static const char *gang_of(const json_t *meta, const json_t *notes)
{
    const char *gang = text_at(json_object_get(meta, "labels"), "lockstep.dev/gang");

    return gang ? gang : text_at(notes, "test.lockstep.dev/gang");
}

static void on_pod(void *context, const json_t *object)
{
    const json_t *meta = json_object_get(object, "metadata");
    const json_t *spec = json_object_get(object, "spec");
    const json_t *notes = json_object_get(meta, "annotations");
    struct line line = {
        .kind = "pod",
        .ns = text_at(meta, "namespace"),
        .name = text_at(meta, "name"),
        .uid = text_at(meta, "uid"),
        .gang = gang_of(meta, notes),
        .min = text_at(notes, "test.lockstep.dev/min"),
        .node = text_at(spec, "nodeName"),
        .phase = text_at(json_object_get(object, "status"), "phase"),
        .gpus = gpus_of(spec),
        .rank = text_at(notes, "lockstep.dev/rank"),
    };

    /* Going, its containers may still run; one that ended stays ended. */
    if (json_object_get(meta, "deletionTimestamp") && line.phase &&
        strcmp(line.phase, "Failed") != 0 && strcmp(line.phase, "Succeeded") != 0)
        line.phase = "Terminating";
    write_object(context, meta, &line);
}

static void on_placement(void *context, const json_t *object)
{
    const json_t *meta = json_object_get(object, "metadata");
    struct line line = {
        .kind = "gp",
        .ns = text_at(meta, "namespace"),
        .name = text_at(meta, "name"),
        .uid = text_at(meta, "uid"),
        .gang = text_at(meta, "name"),
        .phase = text_at(json_object_get(object, "status"), "state"),
    };

    write_object(context, meta, &line);
}

static void pod_gone(void *context, const char *ns, const char *name, const char *uid)
{
    write_line(context, &(struct line){.kind = "pod-gone", .ns = ns, .name = name, .uid = uid});
}

static void placement_gone(void *context, const char *ns, const char *name, const char *uid)
{
    write_line(context, &(struct line){.kind = "gp-gone", .ns = ns, .name = name, .uid = uid,
                                       .gang = name});
}

static void listed(void *context, uint64_t ticket)
{
    (void)ticket;
    write_line(context, &(struct line){.kind = "mark", .name = "listed"});
}

static void trouble(void *context, const char *what)
{
    (void)context;
    fprintf(stderr, "podwatch: %s\n", what);
}

/* ---- main ------------------------------------------------------------------------------------- */

static int record(const char *kubeconfig, FILE *out, const sigset_t *signals, struct err *err)
{
    struct recorder recorder = {.out = out};
    struct kube_watch_handler pods = {&recorder, on_pod, pod_gone, listed, trouble};
    struct kube_watch_handler placements = {&recorder, on_placement, placement_gone, listed,
                                            trouble};
    struct kube_watch *watches[2] = {NULL, NULL};
    struct kube_config config = {0};
    struct http_client *client = NULL;
    int number, r = kube_config_load(kubeconfig, &config, err);

    if (r == 0) {
        struct http_endpoint endpoint = kube_endpoint(&config);

        r = http_client_start(&endpoint, 3, &client, err);
    }
    if (r == 0)
        r = kube_watch_start(client, "/api/v1/pods", "", 1, &pods, &watches[0]);
    if (r == 0)
        r = kube_watch_start(client, "/apis/lockstep.dev/v1alpha1/gangplacements", "", 2,
                             &placements, &watches[1]);
    if (r == 0)
        sigwait(signals, &number);
    http_client_stop(client);
    write_line(&recorder, &(struct line){.kind = "mark", .name = "end"});
    kube_watch_free(watches[0]);
    kube_watch_free(watches[1]);
    kube_config_release(&config);
    return r;
}

static int usage(void)
{
    fprintf(stderr, "usage: podwatch --kubeconfig FILE --out FILE | --mark TEXT --out FILE\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    sigset_t signals;
    FILE *out;
    int r = 0;

    if (argc != 5 || strcmp(argv[3], "--out") != 0)
        return usage();
    out = fopen(argv[4], "a");
    if (!out) {
        fprintf(stderr, "podwatch: %s: %s\n", argv[4], strerror(errno));
        return 1;
    }
    setvbuf(out, NULL, _IOLBF, 0);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(argv[1], "--mark") == 0) {
        struct recorder recorder = {.out = out};

        write_line(&recorder, &(struct line){.kind = "mark", .name = argv[2]});
    } else if (strcmp(argv[1], "--kubeconfig") == 0) {
        gnutls_global_init();
        r = record(argv[2], out, &signals, &err);
    } else {
        return usage();
    }
    if (fclose(out) != 0 || r < 0) {
        fprintf(stderr, "podwatch: %s\n", r < 0 ? err.text : strerror(errno));
        return 1;
    }
    return 0;
}
