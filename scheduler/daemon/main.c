/* lockstep-extender: starts the parts, runs the loop, ends in order. */
#include <argp.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "scheduler/daemon/daemon.h"
#include "scheduler/daemon/failpoint.h"
#include "topology/catalogue.h"

#define PARALLEL_WRITES 24 /* at 10 ms a write 2,400 a second; each connection costs a TLS handshake */
#define CONNECTIONS_MAX 20064 /* largest gang + 64 */

const char *argp_program_version = "lockstep-extender 0.1.0";

struct arguments {
    const char *config, *kubeconfig, *record;
    bool check;
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    enum log_level level;

    switch (key) {
    case 'c':
        arguments->config = argument;
        return 0;
    case 'k':
        arguments->kubeconfig = argument;
        return 0;
    case 'n':
        arguments->check = true;
        return 0;
    case 'r':
        arguments->record = argument;
        return 0;
    case 'l':
        if (log_parse_level(argument, &level) < 0)
            argp_error(state, "--log-level '%s': expected debug, info, warn or error", argument);
        log_set_level(level);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "lockstep.yaml; defaults without it", 0},
    {"kubeconfig", 'k', "FILE", 0, "how to reach the API server; in a pod it is not needed", 0},
    {"log-level", 'l', "LEVEL", 0, "debug, info, warn or error (default info)", 0},
    {"record", 'r', "FILE", 0,
     "append everything the scheduler sees and decides to FILE, for tests/replay: names of objects, "
     "labels, capacities and requests, messages; no environment, command, image or secret of a pod "
     "(default: off; stops at 2 GiB)", 0},
    {"check", 'n', NULL, 0, "read the configuration, say whether it is right, and end", 0},
    {0}};

static const struct argp parser = {
    options, parse_option, NULL,
    "Places gangs of pods for a kube-scheduler, all of a gang or nothing of it.\v"
    "Examples:\n  lockstep-extender -c lockstep.yaml --kubeconfig extender.kubeconfig\n"
    "  lockstep-extender -c lockstep.yaml --record /var/tmp/lockstep.trace\n",
    NULL, NULL, NULL};

/* ---- glue ----------------------------------------------------------------------------------------- */

static void post(void *context, const struct event *event)
{
    struct daemon *daemon = context;

    queue_post(&daemon->queue, event, NULL);
}

static void missed(void *context, const char *pod, const char *node, size_t offered)
{
    (void)context;
    log_line(LOG_INFO, "filter", "planned node not offered pod=%s node=%s offered=%zu", pod, node,
             offered);
}

static const struct http_route verb_routes[] = {VERBS_ROUTES, {0}};

static int start_servers(struct daemon *daemon, struct err *err)
{
    const struct config *config = &daemon->config;
    struct http_server_options verbs = {.listen = config->listen_verbs,
                                        .cert_file = config->verbs.cert,
                                        .key_file = config->verbs.key,
                                        .ca_file = config->verbs.ca,
                                        .clients = (const char *const *)config->verbs.clients,
                                        .routes = verb_routes,
                                        .context = &daemon->verbs,
                                        .http2 = config->verbs.cert[0] != '\0',
                                        .connections_max = CONNECTIONS_MAX,
                                        .threads = 2};
    struct http_server_options health = {.listen = config->listen_health,
                                         .cert_file = config->health.cert,
                                         .key_file = config->health.key,
                                         .routes = health_routes,
                                         .context = daemon,
                                         .body_max = 4096,
                                         .connections_max = 256,
                                         .idle_s = 15, /* silent ones must not keep kubelet out */
                                         .threads = 2};
    int r = http_server_start(&verbs, &daemon->verbs_server, err);

    return r < 0 ? r : http_server_start(&health, &daemon->health_server, err);
}

static int start_client(const struct kube_config *kube, unsigned parallel,
                        struct http_client **ret, struct err *err)
{
    struct http_endpoint endpoint = kube_endpoint(kube);

    return http_client_start(&endpoint, parallel, ret, err);
}

/*
 * Asked right before each write leaves: a process that was stopped meanwhile sends nothing, and what it had
 * queued when it lost the Lease is not sent when it has won it again. The loop stores the term first and
 * the time after it, here they are read the other way round: a new term's time is never taken for an old one's.
 */
static bool may_write(void *context, uint64_t term)
{
    struct daemon *daemon = context;
    int64_t until_ns = atomic_load(&daemon->write_until_ns);

    return clock_boot_ns() < until_ns && atomic_load(&daemon->term) == term;
}

static int start(struct daemon *daemon, struct err *err)
{
    int r;

    daemon->verbs.core = daemon->core;
    daemon->verbs.lock = &daemon->core_lock;
    daemon->verbs.post = post;
    daemon->verbs.missed = missed;
    daemon->verbs.context = daemon;
    daemon->verbs.unseen = (struct unseen)UNSEEN_INIT;
    atomic_store(&daemon->beat_ns, clock_boot_ns());
    r = start_servers(daemon, err);
    if (r == 0)
        r = start_client(&daemon->kube, failpoint_writes(PARALLEL_WRITES), &daemon->client,
                         err);
    if (r == 0)
        http_client_fence(daemon->client, may_write, daemon);
    if (r == 0)
        r = start_client(&daemon->kube, WATCHES + 2, &daemon->watch_client, err);
    return r < 0 ? r : daemon_watch(daemon, err);
}

/* Events stop first, then the servers answer what is held, then the memory goes. */
static void stop(struct daemon *daemon)
{
    daemon_probes_lead(daemon, false); /* while the API server can still be asked */
    http_client_stop(daemon->watch_client);
    http_client_stop(daemon->client);
    for (size_t i = 0; i < WATCHES + 1; i++)
        kube_watch_free(daemon->watches[i]);
    free(daemon->lease_path);
    http_server_stop(daemon->verbs_server);
    http_server_stop(daemon->health_server);
    recording_close(daemon->recording, "the extender was stopped");
    queue_release(&daemon->queue);
    pthread_rwlock_destroy(&daemon->core_lock);
    pthread_mutex_destroy(&daemon->probes_lock);
    core_free(daemon->core);
    kube_config_release(&daemon->kube);
    config_release(&daemon->config);
}

static void *wait_for_signal(void *context)
{
    struct daemon *daemon = context;
    sigset_t signals;
    int number;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigwait(&signals, &number);
    log_line(LOG_INFO, "main", "stopping on signal %d", number);
    queue_stop(&daemon->queue);
    return NULL;
}

/* Without TLS each held bind call is a connection: a soft limit of 1,024 files would end gangs at that size. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_line(LOG_WARN, "main", "cannot raise the limit of open files: large gangs may not bind");
}

static void block_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int load(struct daemon *daemon, const struct arguments *arguments, struct err *err)
{
    int r = arguments->config ? config_load(arguments->config, &daemon->config, err)
                              : config_init(&daemon->config);

    if (r < 0 || arguments->check)
        return r;
    daemon->config.find_machine = catalogue_machine;
    return kube_config_load(arguments->kubeconfig, &daemon->kube, err);
}

/*
 * The core, and with --record the file that will tell how to make the same one. kube-scheduler's identity
 * in its Lease begins with the same host name: the pod's.
 */
static int start_core(struct daemon *daemon, const char *record_to, struct err *err)
{
    struct trace_header header = {.began_ns = clock_boot_ns(), .config = daemon->config};

    daemon->core = core_new(&daemon->config);
    if (!daemon->core)
        return err_set(err, -ENOMEM, "out of memory");
    header.epoch_s = core_epoch_s(clock_read(CLOCK_REALTIME), clock_boot_ns());
    snprintf(header.program, sizeof(header.program), "%s", argp_program_version);
    gethostname(header.host, sizeof(header.host) - 1);
    core_set_host(daemon->core, header.host);
    core_set_epoch(daemon->core, header.epoch_s);
    core_set_predecessor(daemon->core, header.began_ns);
    if (daemon->config.lease[0])
        log_line(LOG_INFO, "lead", "following Lease %s as host %s", daemon->config.lease,
                 header.host);
    if (!record_to)
        return 0;
    log_line(LOG_INFO, "trace", "recording to %s", record_to);
    return recording_open(record_to, &header, RECORDING_MAX_BYTES, &daemon->recording, err);
}

static int run(struct daemon *daemon, const char *record_to, struct err *err)
{
    pthread_t waiter;
    int r;

    block_signals();
    raise_file_limit();
    queue_init(&daemon->queue);
    pthread_rwlock_init(&daemon->core_lock, NULL);
    pthread_mutex_init(&daemon->probes_lock, NULL);
    r = start_core(daemon, record_to, err);
    if (r == 0)
        r = pthread_create(&waiter, NULL, wait_for_signal, daemon) == 0 ? start(daemon, err) : -1;
    if (r == 0) {
        log_line(LOG_INFO, "main", "verbs on %s, health and metrics on %s",
                 daemon->config.listen_verbs, daemon->config.listen_health);
        daemon_loop(daemon);
        pthread_join(waiter, NULL);
    }
    return r;
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    struct arguments arguments = {0};
    struct err err = ERR_INIT;
    int r;

    /* Objects are made on one thread and freed on another: with an arena for each, room stays unused in all
     * of them (65 MiB instead of 60 with 15,000 nodes and pods; tests/bench/run.sh bind). */
    mallopt(M_ARENA_MAX, 1);
    argp_err_exit_status = 2;
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    gnutls_global_init();
    r = load(&daemon, &arguments, &err);
    if (r < 0) {
        fprintf(stderr, "lockstep-extender: %s\n", err.text);
        return 2;
    }
    if (arguments.check) {
        config_release(&daemon.config);
        printf("configuration is right\n");
        return 0;
    }
    r = run(&daemon, arguments.record, &err);
    if (r < 0)
        fprintf(stderr, "lockstep-extender: %s\n", err.text);
    stop(&daemon);
    return r < 0 ? 1 : 0;
}
