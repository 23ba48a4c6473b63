/* /healthz: the event loop goes round; /readyz: the caches are complete; /metrics. */
#include <stdio.h>

#include "base/clock.h"
#include "scheduler/daemon/daemon.h"

#define STALE_NS INT64_C(10000000000)

static enum http_outcome text(struct http_reply *reply, int status, const char *line)
{
    reply->status = status;
    reply->type = "text/plain";
    strbuf_addf(&reply->body, "%s\n", line);
    return HTTP_DONE;
}

static enum http_outcome healthz(void *context, const struct http_request *request,
                                 struct http_reply *reply)
{
    struct daemon *daemon = context;
    bool alive = clock_boot_ns() - atomic_load(&daemon->beat_ns) < STALE_NS;

    (void)request;
    return alive ? text(reply, 200, "ok") : text(reply, 500, "the event loop hangs");
}

static enum http_outcome readyz(void *context, const struct http_request *request,
                                struct http_reply *reply)
{
    struct daemon *daemon = context;
    char line[80];
    int synced = atomic_load(&daemon->synced);

    (void)request;
    if (synced >= WATCHES)
        return text(reply, 200, "ok");
    snprintf(line, sizeof(line), "%d of %d caches are complete", synced, WATCHES);
    return text(reply, 503, line);
}

#define GAUGE(id, metric_name, metric_help)                                                        \
    static struct metric id = {.name = metric_name, .help = metric_help, .kind = METRIC_GAUGE}
#define COUNTER(id, metric_name, metric_help)                                                      \
    static struct metric id = {.name = metric_name, .help = metric_help, .kind = METRIC_COUNTER}
GAUGE(nodes, "lockstep_nodes", "Nodes known.");
GAUGE(machines, "lockstep_nodes_of_known_machine", "Nodes of which it is known what machine they are.");
GAUGE(pods, "lockstep_pods", "Pods known.");
GAUGE(gangs, "lockstep_gangs", "Gangs known.");
GAUGE(waiting, "lockstep_gangs_waiting", "Gangs that wait for members or room.");
GAUGE(holds, "lockstep_holds", "Places held for pods that are not bound yet.");
GAUGE(votes, "lockstep_held_votes", "Bind calls that wait for the rest of their gang.");
GAUGE(leader, "lockstep_leader", "1 while this replica leads: it plans and writes.");
COUNTER(plans, "lockstep_plans_total", "Plans made.");
COUNTER(replans, "lockstep_replans_total", "Plans made for a gang that had one before.");
COUNTER(binds, "lockstep_bindings_total", "Bindings posted.");
COUNTER(refused, "lockstep_machines_refused_total",
        "NodeTopologies of a kind more than are kept: their nodes are placed by count.");
COUNTER(violations, "lockstep_invariant_violations_total", "Broken invariants seen.");

static enum http_outcome metrics(void *context, const struct http_request *request,
                                 struct http_reply *reply)
{
    static struct metric *const own[] = {&nodes, &machines, &pods,    &gangs, &waiting, &holds,      &votes,
                                         &plans, &replans,  &binds,   &refused, &violations, &leader};
    struct daemon *daemon = context;
    struct core_counts counts;

    (void)request;
    pthread_rwlock_rdlock(&daemon->core_lock);
    core_counts(daemon->core, &counts);
    pthread_rwlock_unlock(&daemon->core_lock);
    metric_set(&nodes, (int64_t)counts.nodes);
    metric_set(&machines, (int64_t)counts.machines);
    metric_set(&refused, (int64_t)counts.machines_refused);
    metric_set(&pods, (int64_t)counts.pods);
    metric_set(&gangs, (int64_t)counts.gangs);
    metric_set(&waiting, (int64_t)counts.gangs_waiting);
    metric_set(&holds, (int64_t)counts.holds);
    metric_set(&votes, (int64_t)http_server_held(daemon->verbs_server));
    metric_set(&plans, (int64_t)counts.plans);
    metric_set(&replans, (int64_t)counts.replans);
    metric_set(&binds, (int64_t)counts.binds);
    metric_set(&leader, atomic_load(&daemon->leads));
    metric_set(&violations, atomic_load(&daemon->violations));
    reply->type = "text/plain; version=0.0.4";
    metrics_write(&reply->body, own, sizeof(own) / sizeof(own[0]));
    metrics_write(&reply->body, verb_metrics, verb_metrics_n);
    fit_metrics(daemon, &reply->body);
    daemon_probes_metrics(daemon, &reply->body);
    return HTTP_DONE;
}

const struct http_route health_routes[] = {{"GET", "/healthz", healthz},
                                           {"GET", "/readyz", readyz},
                                           {"GET", "/metrics", metrics},
                                           {0}};
