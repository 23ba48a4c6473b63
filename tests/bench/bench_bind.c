/*
 * bench_bind - the load of tests/bench/bind.sh, and when what was seen of it.
 *
 *   bench_bind load --kubeconfig FILE --for stock|gang|null|lockstep --pods N
 *                   [--topology TEXT] [--until bound|refused] [--limit SECONDS]
 *       Creates N pods of 8 GPUs over 32 connections, as fast as the API server takes them, and watches
 *       them from a connection of its own until all are bound, or until the gang's GangPlacement says
 *       InsufficientRoom. The pods are the same for all: only schedulerName differs, and `gang` names the
 *       PodGroup "bench", which must exist. `null` posts each pod's binding itself, as soon as the pod
 *       is created, to one node after the other: no scheduler is asked.
 *
 *   bench_bind nodes --kubeconfig FILE --nodes N
 *       Creates N nodes as kubelets report them and waits until the controllers have taken their taints away.
 *
 *   bench_bind fill --kubeconfig FILE --nodes N --pods N
 *       Creates N nodes and N pods that are bound already, in gangs of 500.
 *
 * `load` prints "key value" lines on stdout: start_unix_us, and times in ms since the first create:
 *   created   the last pod's 201               seen   the watch brought the last pod
 *   bound     it brought the last pod's node   binding, placed, reason   it brought GangPlacement.status
 *                                              with that state or with reason InsufficientRoom
 * Exit: 0 as asked, 1 anything else (a refused write, a missing pod, the limit), with a message.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/gnutls.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/http_client.h"
#include "scheduler/kube/kube_config.h"
#include "scheduler/kube/kube_watch.h"
#include "tests/bench/bind/objects.h"
#include "tests/bench/bind/options.h"

#define CONNECTIONS 32
#define GANG_OF_FILL 500
#define PODS "/api/v1/namespaces/default/pods"
#define PLACEMENTS "/apis/lockstep.dev/v1alpha1/namespaces/default/gangplacements"
#define ANSWER_MAX ((size_t)64 << 20)
#define TIMEOUT_S 60

static const char *const schedulers[] = {"default-scheduler", "default-scheduler", "nobody", "lockstep"};

struct bench;
struct task { /* one pod or node of the load */
    struct bench *bench;
    uint32_t index;
    bool seen, bound;
};

struct bench {
    struct options options;
    struct http_client *load, *watch;
    struct kube_watch *watches[2];
    struct task *tasks;
    char **nodes; /* names, for the null binder */
    uint32_t nnodes;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    uint32_t listed, answered, nseen, nbound, posted;
    int64_t created_ns, seen_ns, bound_ns, binding_ns, placed_ns, reason_ns;
    char reason[400], failure[500];
};

static int64_t now_ns(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

/* The first failure counts; it ends the run. With the lock held. */
static void fail(struct bench *bench, const char *what, int status, const char *body)
{
    if (!bench->failure[0])
        snprintf(bench->failure, sizeof(bench->failure), "%s: status %d %.300s", what, status, body);
    pthread_cond_broadcast(&bench->changed);
}

/* ---- writes -------------------------------------------------------------------------------------- */

static int post(struct bench *bench, const char *path, const char *body, bool urgent,
                void (*done)(void *, int, const char *, size_t, int), struct task *task)
{
    struct http_call call = {.method = "POST", .path = path, .body = body, .urgent = urgent,
                             .timeout_s = TIMEOUT_S, .answer_max = ANSWER_MAX, .context = task,
                             .on_done = done};

    return body ? http_client_send(bench->load, &call) : -ENOMEM;
}

static void on_posted(void *context, int status, const char *body, size_t len, int retry_after_s)
{
    struct bench *bench = ((struct task *)context)->bench;

    (void)len;
    (void)retry_after_s;
    pthread_mutex_lock(&bench->lock);
    if (status == 201)
        bench->posted++;
    else
        fail(bench, "binding", status, body);
    pthread_mutex_unlock(&bench->lock);
}

static void bind_itself(struct bench *bench, struct task *task)
{
    CLEANUP_FREE char *path = NULL, *body = NULL;

    if (asprintf(&path, PODS "/bench-%05u/binding", task->index) < 0 ||
        asprintf(&body, "{\"apiVersion\":\"v1\",\"kind\":\"Binding\",\"metadata\":{\"name\":\"bench-%05u\"},"
                 "\"target\":{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"%s\"}}",
                 task->index, bench->nodes[task->index]) < 0 ||
        post(bench, path, body, true, on_posted, task) < 0)
        fail(bench, "binding: out of memory", -ENOMEM, "");
}

static void on_created(void *context, int status, const char *body, size_t len, int retry_after_s)
{
    struct task *task = context;
    struct bench *bench = task->bench;

    (void)len;
    (void)retry_after_s;
    pthread_mutex_lock(&bench->lock);
    bench->answered++;
    bench->created_ns = now_ns();
    if (status != 201)
        fail(bench, "create", status, body);
    else if (bench->options.contender == FOR_NULL)
        bind_itself(bench, task);
    pthread_cond_broadcast(&bench->changed);
    pthread_mutex_unlock(&bench->lock);
}

/* ---- what the watches bring ------------------------------------------------------------------------ */

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static void on_pod(void *context, const json_t *object)
{
    struct bench *bench = context;
    const char *name = text_at(json_object_get(object, "metadata"), "name");
    bool has_node = text_at(json_object_get(object, "spec"), "nodeName")[0] != '\0';
    unsigned index;
    struct task *task;

    if (sscanf(name, "bench-%u", &index) != 1 || index >= bench->options.pods)
        return;
    pthread_mutex_lock(&bench->lock);
    task = &bench->tasks[index];
    if (!task->seen) {
        task->seen = true;
        bench->nseen++;
        bench->seen_ns = now_ns();
    }
    if (has_node && !task->bound) {
        task->bound = true;
        bench->nbound++;
        bench->bound_ns = now_ns();
    }
    pthread_cond_broadcast(&bench->changed);
    pthread_mutex_unlock(&bench->lock);
}

static void on_placement(void *context, const json_t *object)
{
    struct bench *bench = context;
    const json_t *status = json_object_get(object, "status");
    const json_t *reason = json_object_get(status, "reason");
    const char *state = text_at(status, "state");

    pthread_mutex_lock(&bench->lock);
    if (strcmp(state, "Binding") == 0)
        bench->binding_ns = now_ns();
    if (!bench->placed_ns && (strcmp(state, "Bound") == 0 || strcmp(state, "Running") == 0))
        bench->placed_ns = now_ns();
    if (!bench->reason_ns && strcmp(text_at(reason, "code"), "InsufficientRoom") == 0)
        bench->reason_ns = now_ns();
    snprintf(bench->reason, sizeof(bench->reason), "%s: %s", text_at(reason, "code"),
             text_at(reason, "message"));
    pthread_cond_broadcast(&bench->changed);
    pthread_mutex_unlock(&bench->lock);
}

/* A pod that goes while they are being bound makes all figures void. */
static void gone(void *context, const char *ns, const char *name, const char *uid)
{
    struct bench *bench = context;

    (void)ns;
    (void)uid;
    pthread_mutex_lock(&bench->lock);
    fail(bench, "pod is gone", 0, name);
    pthread_mutex_unlock(&bench->lock);
}

static void placement_gone(void *context, const char *ns, const char *name, const char *uid)
{
    (void)context;
    (void)ns;
    (void)name;
    (void)uid;
}

static void synced(void *context, uint64_t term)
{
    struct bench *bench = context;

    (void)term;
    pthread_mutex_lock(&bench->lock);
    bench->listed++;
    pthread_cond_broadcast(&bench->changed);
    pthread_mutex_unlock(&bench->lock);
}

static void trouble(void *context, const char *what)
{
    (void)context;
    fprintf(stderr, "bench_bind: %s\n", what);
}

/* ---- waiting ----------------------------------------------------------------------------------------- */

static bool all_listed(const struct bench *bench)
{
    return bench->listed == (bench->options.contender == FOR_LOCKSTEP ? 2u : 1u);
}

static bool all_answered(const struct bench *bench)
{
    return bench->answered == bench->options.pods;
}

static bool all_bound(const struct bench *bench)
{
    return all_answered(bench) && bench->nbound == bench->options.pods &&
           (bench->options.contender != FOR_LOCKSTEP || bench->placed_ns);
}

static bool was_refused(const struct bench *bench)
{
    return all_answered(bench) && bench->nseen == bench->options.pods && bench->reason_ns;
}

static int wait_for(struct bench *bench, const char *what, bool (*is_so)(const struct bench *),
                    struct err *err)
{
    struct timespec limit;
    int r = 0;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += bench->options.limit_s;
    pthread_mutex_lock(&bench->lock);
    while (r == 0 && !bench->failure[0] && !is_so(bench))
        r = -pthread_cond_timedwait(&bench->changed, &bench->lock, &limit);
    if (bench->failure[0])
        r = err_set(err, -EIO, "%s", bench->failure);
    else if (r < 0)
        r = err_set(err, r, "%s: not within %u s: %u answered, %u seen, %u bound of %u; %s", what,
                    bench->options.limit_s, bench->answered, bench->nseen, bench->nbound,
                    bench->options.pods, bench->reason);
    pthread_mutex_unlock(&bench->lock);
    return r;
}

/* ---- load ----------------------------------------------------------------------------------------------- */

static void on_nodes(void *context, int status, const char *body, size_t len, int retry_after_s)
{
    struct bench *bench = ((struct task *)context)->bench;
    json_t *root = status == 200 ? json_loadb(body, len, 0, NULL) : NULL, *item;
    const json_t *items = json_object_get(root, "items");
    size_t index;

    (void)retry_after_s;
    pthread_mutex_lock(&bench->lock);
    bench->nodes = calloc(json_array_size(items) + 1, sizeof(char *));
    json_array_foreach(items, index, item)
        if (bench->nodes)
            bench->nodes[bench->nnodes++] = strdup(text_at(json_object_get(item, "metadata"), "name"));
    if (bench->nnodes < bench->options.pods)
        fail(bench, "list of nodes: fewer than pods", status, root ? "" : body);
    bench->listed++;
    pthread_cond_broadcast(&bench->changed);
    pthread_mutex_unlock(&bench->lock);
    json_decref(root);
}

static bool nodes_listed(const struct bench *bench)
{
    return bench->nnodes > 0;
}

static void on_warm(void *context, int status, const char *body, size_t len, int retry_after_s)
{
    struct bench *bench = ((struct task *)context)->bench;

    (void)len;
    (void)retry_after_s;
    pthread_mutex_lock(&bench->lock);
    bench->listed++;
    if (status != 200)
        fail(bench, "first call", status, body);
    pthread_cond_broadcast(&bench->changed);
    pthread_mutex_unlock(&bench->lock);
}

static bool warmed(const struct bench *bench)
{
    return bench->listed == CONNECTIONS;
}

/* The connections are open before the first create, as those of any scheduler are. */
static int warm_up(struct bench *bench, struct err *err)
{
    struct http_call call = {.method = "GET", .path = "/api/v1/namespaces/default",
                             .timeout_s = TIMEOUT_S, .answer_max = ANSWER_MAX,
                             .context = &bench->tasks[0], .on_done = on_warm};
    int r = 0;

    for (unsigned i = 0; r == 0 && i < CONNECTIONS; i++)
        r = http_client_send(bench->load, &call);
    if (r == 0)
        r = wait_for(bench, "first calls", warmed, err);
    bench->listed = 0;
    return r;
}

static int list_nodes(struct bench *bench, struct err *err)
{
    struct http_call call = {.method = "GET", .path = "/api/v1/nodes", .timeout_s = TIMEOUT_S,
                             .answer_max = (size_t)512 << 20, .context = &bench->tasks[0],
                             .on_done = on_nodes};
    int r = http_client_send(bench->load, &call);

    if (r == 0)
        r = wait_for(bench, "list of nodes", nodes_listed, err);
    bench->listed = 0;
    return r;
}

static int start_watches(struct bench *bench, struct err *err)
{
    struct kube_watch_handler pods = {bench, on_pod, gone, synced, trouble};
    struct kube_watch_handler placements = {bench, on_placement, placement_gone, synced, trouble};
    int r = kube_watch_start(bench->watch, PODS, "", 1, &pods, &bench->watches[0]);

    if (r == 0 && bench->options.contender == FOR_LOCKSTEP)
        r = kube_watch_start(bench->watch, PLACEMENTS, "", 2, &placements, &bench->watches[1]);
    return r < 0 ? r : wait_for(bench, "first list", all_listed, err);
}

static char *load_pod(const struct options *options, uint32_t index)
{
    return bench_pod_json(&(struct bench_pod){
        .index = index,
        .gang_size = options->pods,
        .scheduler = schedulers[options->contender],
        .topology = options->topology,
        .pod_group = options->contender == FOR_GANG ? "bench" : "",
        .node = "",
    });
}

static int create_pods(struct bench *bench)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < bench->options.pods; i++) {
        CLEANUP_FREE char *body = load_pod(&bench->options, i);

        r = post(bench, PODS, body, false, on_created, &bench->tasks[i]);
    }
    return r;
}

static void print_ms(const char *key, int64_t when_ns, int64_t start_ns)
{
    if (when_ns)
        printf("%s %.3f\n", key, (double)(when_ns - start_ns) / 1e6);
}

static int load(struct bench *bench, struct err *err)
{
    bool refused = bench->options.until_refused;
    int64_t start_ns = 0;
    int r = bench->options.contender == FOR_NULL ? list_nodes(bench, err) : 0;

    if (r == 0)
        r = warm_up(bench, err);
    if (r == 0)
        r = start_watches(bench, err);
    if (r < 0)
        return r;
    printf("start_unix_us %lld\n", (long long)clock_read(CLOCK_REALTIME) / 1000);
    start_ns = now_ns();
    r = create_pods(bench);
    if (r == 0)
        r = wait_for(bench, refused ? "verdict" : "all bound", refused ? was_refused : all_bound, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&bench->lock);
    print_ms("created", bench->created_ns, start_ns);
    print_ms("seen", bench->seen_ns, start_ns);
    print_ms("bound", refused ? 0 : bench->bound_ns, start_ns);
    print_ms("binding", bench->binding_ns, start_ns);
    print_ms("placed", bench->placed_ns, start_ns);
    print_ms("reason", refused ? bench->reason_ns : 0, start_ns);
    if (refused)
        fprintf(stderr, "bench_bind: the reason: %s\n", bench->reason);
    pthread_mutex_unlock(&bench->lock);
    return 0;
}

/* ---- fill ----------------------------------------------------------------------------------------------- */

static int create_nodes(struct bench *bench, struct err *err)
{
    uint32_t pods = bench->options.pods;
    int r = 0;

    bench->options.pods = bench->options.nodes;
    for (uint32_t i = 0; r == 0 && i < bench->options.nodes; i++) {
        CLEANUP_FREE char *body = bench_node_json(i);

        r = post(bench, "/api/v1/nodes", body, false, on_created, &bench->tasks[i]);
    }
    if (r == 0)
        r = wait_for(bench, "nodes", all_answered, err);
    bench->options.pods = pods;
    return r;
}

static void on_node(void *context, const json_t *object)
{
    struct bench *bench = context;
    const char *name = text_at(json_object_get(object, "metadata"), "name");
    bool tainted = json_array_size(json_object_get(json_object_get(object, "spec"), "taints")) > 0;
    unsigned index;

    if (tainted || sscanf(name, "node-%u", &index) != 1 || index >= bench->options.nodes)
        return;
    pthread_mutex_lock(&bench->lock);
    bench->nbound += !bench->tasks[index].bound;
    bench->tasks[index].bound = true;
    pthread_cond_broadcast(&bench->changed);
    pthread_mutex_unlock(&bench->lock);
}

static bool nodes_usable(const struct bench *bench)
{
    return bench->nbound == bench->options.nodes;
}

static int nodes(struct bench *bench, struct err *err)
{
    struct kube_watch_handler handler = {bench, on_node, gone, synced, trouble};
    int r = kube_watch_start(bench->watch, "/api/v1/nodes", "", 1, &handler, &bench->watches[0]);

    if (r == 0)
        r = create_nodes(bench, err);
    return r < 0 ? r : wait_for(bench, "nodes without taints", nodes_usable, err);
}

static char *bound_pod(uint32_t index, uint32_t node)
{
    char name[64];

    snprintf(name, sizeof(name), "node-%05u", node);
    return bench_pod_json(&(struct bench_pod){
        .index = index,
        .gang = index / GANG_OF_FILL,
        .gang_size = GANG_OF_FILL,
        .scheduler = schedulers[FOR_LOCKSTEP],
        .topology = "",
        .pod_group = "",
        .node = name,
    });
}

static int fill(struct bench *bench, struct err *err)
{
    uint32_t pods = bench->options.pods, nodes = bench->options.nodes;
    int r = create_nodes(bench, err);

    bench->answered = 0;
    for (uint32_t i = 0; r == 0 && i < pods; i++) {
        CLEANUP_FREE char *body = bound_pod(i, i % nodes);

        r = post(bench, PODS, body, false, on_created, &bench->tasks[i]);
    }
    return r < 0 ? r : wait_for(bench, "pods", all_answered, err);
}

/* ---- main ------------------------------------------------------------------------------------------------ */

static int connect_to(const struct kube_config *kube, unsigned parallel, struct http_client **ret,
                      struct err *err)
{
    struct http_endpoint endpoint = kube_endpoint(kube);

    return http_client_start(&endpoint, parallel, ret, err);
}

static int run(struct bench *bench, struct err *err)
{
    uint32_t n = bench->options.pods > bench->options.nodes ? bench->options.pods
                                                             : bench->options.nodes;
    struct kube_config kube = {0};
    int r = kube_config_load(bench->options.kubeconfig, &kube, err);

    bench->tasks = calloc((size_t)n + 1, sizeof(*bench->tasks));
    for (uint32_t i = 0; bench->tasks && i <= n; i++)
        bench->tasks[i] = (struct task){.bench = bench, .index = i};
    if (r == 0)
        r = bench->tasks ? connect_to(&kube, CONNECTIONS, &bench->load, err) : -ENOMEM;
    if (r == 0)
        r = connect_to(&kube, 3, &bench->watch, err);
    if (r == 0)
        r = strcmp(bench->options.verb, "load") == 0   ? load(bench, err)
            : strcmp(bench->options.verb, "nodes") == 0 ? nodes(bench, err)
                                                        : fill(bench, err);
    http_client_stop(bench->load);
    http_client_stop(bench->watch);
    kube_watch_free(bench->watches[0]);
    kube_watch_free(bench->watches[1]);
    kube_config_release(&kube);
    return r;
}

int main(int argc, char **argv)
{
    static struct bench bench = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                 .changed = PTHREAD_COND_INITIALIZER};
    struct err err = ERR_INIT;

    options_parse(argc, argv, &bench.options);
    signal(SIGPIPE, SIG_IGN);
    gnutls_global_init();
    if (run(&bench, &err) < 0) {
        fprintf(stderr, "bench_bind: %s\n", err.text[0] ? err.text : "out of memory");
        return 1;
    }
    return 0;
}
