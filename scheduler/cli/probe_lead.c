#include "scheduler/cli/probe_lead.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/tls_ephemeral.h"
#include "collective/probe_invite.h"
#include "collective/probe_service.h"
#include "scheduler/cli/probe_lead_internal.h"

#define NS "by-hand"
#define NAME "probe"
#define NS_PER_S INT64_C(1000000000)
#define LOOK_NS 100000000
#define SWEEP_NS UINT64_C(30000000000) /* as on one machine within its default timeout */
#define SLOPE_NS UINT64_C(3000000000)
#define NAMES_MAX 512 /* bytes of a list of hosts */
#define MORE_S 15 /* a host's process ends by the timeout and this, counted from its own start */
#define LATE_S 5  /* after the deadline: the coordinator has to have a verdict */
#define TOLD_LOOKS 30 /* streams have so long to bring the verdict to the hosts */

struct lead {
    const struct lead_options *options;
    struct probe_invite *invite;
    struct probe_service *service;
    struct strbuf cert, key;
    char token[PROBE_SECRET_TEXT];
    int64_t deadline_ns;
    pid_t here;
    char told[512];

    pthread_mutex_t lock; /* these */
    bool decided;
    struct coordinator_result result; /* pair_gb_s is this one's own */
};

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
}

static uint64_t timeout_ns(const struct lead_options *options)
{
    return options->local->timeout_ns ? options->local->timeout_ns
                                      : LEAD_TIMEOUT_S * (uint64_t)NS_PER_S;
}

/* ---- signals --------------------------------------------------------------------------------- */

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    stopped = number;
}

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

/* The first one ends it in order, a second one at once. One that is ignored, as under nohup, stays
 * so. */
static void watch_signals(struct sigaction former[SIGNALS])
{
    const struct sigaction watch = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    stopped = 0;
    for (size_t i = 0; i < SIGNALS; i++)
        if (sigaction(signals[i], NULL, &former[i]) == 0 && former[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &watch, NULL);
}

static void leave_signals(const struct sigaction former[SIGNALS])
{
    for (size_t i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &former[i], NULL);
}

/* ---- the coordinator ------------------------------------------------------------------------- */

static void on_verdict(void *context, const struct coordinator_result *result)
{
    struct lead *lead = context;
    size_t pairs = result->pair_gb_s ? (size_t)result->ranks * result->ranks : 0;

    pthread_mutex_lock(&lead->lock);
    lead->result = *result;
    lead->result.pair_gb_s = pairs ? malloc(pairs * sizeof(float)) : NULL;
    if (lead->result.pair_gb_s)
        memcpy(lead->result.pair_gb_s, result->pair_gb_s, pairs * sizeof(float));
    lead->decided = true;
    pthread_mutex_unlock(&lead->lock);
}

static int make_trust(struct lead *lead, struct err *err)
{
    struct probe_invite *invite = lead->invite;
    CLEANUP(strbuf_release) struct strbuf der = STRBUF_INIT(PROBE_INVITE_CERTIFICATE_MAX);
    int r = tls_ephemeral(PROBE_INVITE_NAME, &lead->cert, &lead->key, &der, err);

    if (r < 0)
        return r;
    memcpy(invite->certificate, der.data, der.len);
    invite->certificate_len = der.len;
    if (getrandom(invite->secret, sizeof(invite->secret), 0) != sizeof(invite->secret))
        return err_set(err, -EIO, "no random bytes: %s", strerror(errno));
    probe_invite_token(invite, lead->token);
    return 0;
}

static int start_service(struct lead *lead, struct err *err)
{
    const char *listen = lead->options->listen;
    struct probe_service_options options = {.listen = listen ? listen : ":0",
                                            .cert_pem = lead->cert.data,
                                            .key_pem = lead->key.data,
                                            .secret = lead->token,
                                            .verdict = on_verdict,
                                            .context = lead};

    if (getrandom(&options.limits.epoch, sizeof(options.limits.epoch), 0) < 0)
        return err_set(err, -EIO, "no random bytes: %s", strerror(errno));
    return probe_service_start(&options, &lead->service, err);
}

/* What is measured ends by itself long before the timeout, which is for people. */
static void fill_plan(const struct lead_options *options, struct probe_plan *ret)
{
    const struct measure_plan *plan = &options->local->plan;
    uint64_t budget = plan->sweep ? SWEEP_NS : SLOPE_NS, part = timeout_ns(options) / 4;

    snprintf(ret->op, sizeof(ret->op), "%s", op_name(plan->op));
    ret->n_sizes = plan->n_sizes;
    for (unsigned i = 0; i < plan->n_sizes && i < PROBE_SIZES_MAX; i++)
        ret->sizes[i] = plan->sizes[i];
    ret->bytes_min = plan->bytes_min;
    ret->bytes_max = plan->bytes_max;
    ret->sweep = plan->sweep;
    ret->check = plan->check;
    ret->pairs = options->local->pairs;
    ret->iterations_max = plan->iterations_max;
    ret->budget_ns = budget < part ? budget : part;
}

static int expect_hosts(struct lead *lead, struct err *err)
{
    const struct probe_hosts *hosts = lead->options->hosts;
    CLEANUP_FREE struct coordinator_pod *pods = cleanup_alloc(hosts->n * sizeof(*pods));
    CLEANUP_FREE char(*uids)[PROBE_UID_MAX + 1] = cleanup_alloc(hosts->n * sizeof(*uids));
    struct coordinator_gang gang = {.id = {.ns = NS, .name = NAME, .generation = 1},
                                    .pods = pods,
                                    .npods = hosts->n,
                                    .backend = lead->options->local->backend,
                                    .deadline_ns = lead->deadline_ns,
                                    .run_ns = (int64_t)timeout_ns(lead->options)};

    if (!pods || !uids)
        return err_set(err, -ENOMEM, "out of memory");
    for (unsigned i = 0; i < hosts->n; i++) {
        const struct probe_host *host = &hosts->items[i];

        probe_host_uid(host, uids[i]);
        pods[i] = (struct coordinator_pod){host->name, uids[i], host->name, host->first_rank,
                                           host->slots};
    }
    fill_plan(lead->options, &gang.plan);
    return probe_service_expect(lead->service, &gang, err);
}

/* ---- the line -------------------------------------------------------------------------------- */

/* NULL: --here says none of them. */
static const struct probe_host *here_of(const struct lead_options *options)
{
    for (unsigned i = 0; i < options->hosts->n; i++)
        if (strcasecmp(options->here, options->hosts->items[i].name) == 0)
            return &options->hosts->items[i];
    return NULL;
}

static void fill_invite(struct lead *lead)
{
    const struct local_options *local = lead->options->local;
    struct probe_invite *invite = lead->invite;
    unsigned left_out = 0;

    invite->port = (uint16_t)probe_service_port(lead->service);
    invite->n_places = lead__places(lead->options->listen, invite->places, &left_out);
    invite->nccl = strcmp(local->backend, "nccl") == 0;
    invite->streams = local->streams;
    invite->bytes_max = measure_plan_bytes_max(&local->plan);
    invite->limit_s = (uint32_t)(timeout_ns(lead->options) / (uint64_t)NS_PER_S) + MORE_S;
    invite->hosts = *lead->options->hosts;
    if (left_out)
        fprintf(stderr,
                "lockstep probe: hosts try %u addresses of this machine; %u more are left out: say "
                "by --listen IP:PORT which one they reach\n",
                invite->n_places, left_out);
}

/* The blank before it keeps it out of the history of shells that are told so
 * (HISTCONTROL=ignorespace). */
static void print_line(const struct lead *lead, const char *word)
{
    char names[NAMES_MAX];

    probe_hosts_list(lead->options->hosts, names, sizeof(names));
    fprintf(stderr,
            "lockstep probe: run this line on %s%s. It holds a secret, which is good for this "
            "measurement only.\n\n  %s=%s lockstep-probe\n\n",
            lead->options->hosts->n > 1 ? "each of " : "", names, PROBE_INVITE_VARIABLE, word);
}

static int invite_hosts(struct lead *lead, struct err *err)
{
    struct strbuf word = STRBUF_INIT(PROBE_INVITE_MAX);
    int r;

    fill_invite(lead);
    r = probe_invite_encode(lead->invite, &word, err);
    if (r == 0)
        print_line(lead, word.data);
    if (r == 0 && lead->options->here)
        r = lead__start_here(here_of(lead->options)->name, word.data, &lead->here, err);
    strbuf_wipe(&word);
    return r;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void tell(struct lead *lead)
{
    char text[sizeof(lead->told)];

    if (!probe_service_tell(lead->service, NS, NAME, text, sizeof(text)) ||
        strcmp(text, lead->told) == 0)
        return;
    memcpy(lead->told, text, sizeof(text));
    fprintf(stderr, "lockstep probe: %s\n", text);
}

static bool is_decided(struct lead *lead)
{
    bool decided;

    pthread_mutex_lock(&lead->lock);
    decided = lead->decided;
    pthread_mutex_unlock(&lead->lock);
    return decided;
}

/* Nobody would start it again. A verdict ends it too, which is known here before it is there. */
static bool here_is_lost(struct lead *lead, struct err *err)
{
    char how[64], why[NAMES_MAX];

    if (!lead__here_ended(lead->here, how, sizeof(how)) || is_decided(lead))
        return false;
    snprintf(why, sizeof(why), "host %s has no process any more: %s", here_of(lead->options)->name,
             how);
    probe_service_end(lead->service, NS, NAME, why);
    err_set(err, -EIO, "--here: %s", why);
    return true;
}

static int wait_for_verdict(struct lead *lead, struct err *err)
{
    while (!is_decided(lead)) {
        if (stopped) {
            probe_service_end(lead->service, NS, NAME,
                              "stopped by hand, where lockstep probe was started");
            return err_set(err, -EINTR, "stopped by a signal (%s)", strsignal(stopped));
        }
        if (now_ns() > lead->deadline_ns + LATE_S * NS_PER_S)
            return err_set(err, -ETIMEDOUT, "there is no verdict in time");
        if (here_is_lost(lead, err))
            return -EIO;
        tell(lead);
        nap();
    }
    return 0;
}

/* The verdict is on its way to the hosts, whose processes end by it. */
static void let_it_be_told(struct lead *lead)
{
    for (unsigned i = 0; i < TOLD_LOOKS && probe_service_calls(lead->service) > 0; i++)
        nap();
}

/* ---- the result ------------------------------------------------------------------------------ */

static void take_rows(const struct coordinator_result *from, struct measure_result *ret)
{
    for (unsigned i = 0; i < from->n_rows && i < MEASURE_SIZES_MAX; i++)
        ret->rows[i] = (struct measure_row){from->rows[i].bytes,      from->rows[i].seconds,
                                            from->rows[i].algbw_gb_s, from->rows[i].busbw_gb_s,
                                            from->rows[i].wrong,      from->rows[i].iterations};
    ret->n_rows = from->n_rows < MEASURE_SIZES_MAX ? from->n_rows : MEASURE_SIZES_MAX;
    ret->busbw_gb_s = from->measured_gb_s;
    ret->latency_s = from->latency_s;
    ret->slopes_agree = from->slopes_agree;
    ret->bytes_moved = from->bytes_moved;
}

static bool is_whole(const float *pair_gb_s, unsigned ranks)
{
    for (unsigned i = 0; i < ranks; i++)
        for (unsigned k = 0; k < ranks; k++)
            if (i != k && !(pair_gb_s[i * ranks + k] > 0))
                return false;
    return true;
}

static int take_result(const struct coordinator_result *from, struct local_result *ret,
                       struct err *err)
{
    size_t cells = (size_t)from->ranks * from->ranks;
    struct backend_info *info = &ret->info;

    *ret = (struct local_result){0};
    take_rows(from, &ret->measured);
    snprintf(info->name, sizeof(info->name), "%.15s", from->backend);
    snprintf(info->version, sizeof(info->version), "%s", from->version);
    snprintf(info->device, sizeof(info->device), "%s", from->device);
    snprintf(info->transport, sizeof(info->transport), "%s", from->transport);
    if (!from->pair_gb_s)
        return 0;
    if (!is_whole(from->pair_gb_s, from->ranks)) {
        snprintf(ret->pairs_why, sizeof(ret->pairs_why), "%s",
                 from->pairs_why[0] ? from->pairs_why : "not all of them were measured");
        return 0;
    }
    ret->pair_gb_s = calloc(cells, sizeof(*ret->pair_gb_s));
    if (!ret->pair_gb_s)
        return err_set(err, -EIO, "out of memory");
    for (size_t i = 0; i < cells; i++)
        ret->pair_gb_s[i] = (double)from->pair_gb_s[i];
    return 0;
}

static int judge(const struct coordinator_result *result, struct local_result *ret, struct err *err)
{
    switch (result->verdict) {
    case VERDICT_OK:
    case VERDICT_UNKNOWN:
    case VERDICT_WRONG_DATA:
        if (result->n_rows > 0)
            return take_result(result, ret, err);
        return err_set(err, -EIO, "%s", result->message);
    case VERDICT_SKIPPED:
        return err_set(err, -ENODEV, "%s", result->message);
    default:
        return err_set(err, -EIO, "%s: %s", verdict_name(result->verdict), result->message);
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int check(const struct lead_options *options, struct err *err)
{
    const struct local_options *local = options->local;

    if (options->here && !here_of(options))
        return err_set(err, -EINVAL, "--here '%.64s': expected one of the hosts", options->here);
    if (timeout_ns(options) < LEAD_TIMEOUT_LEAST_S * (uint64_t)NS_PER_S)
        return err_set(err, -EINVAL, "--timeout: expected %d s or more with hosts",
                       LEAD_TIMEOUT_LEAST_S);
    if (local->pairs && options->hosts->ranks > LOCAL_PAIRS_RANKS_MAX)
        return err_set(err, -EINVAL, "--pairs: found %u ranks, expected at most %d",
                       options->hosts->ranks, LOCAL_PAIRS_RANKS_MAX);
    return measure_plan_check(&local->plan, options->hosts->ranks, err);
}

static int lead_it(struct lead *lead, struct local_result *ret, struct err *err)
{
    int r = make_trust(lead, err);

    if (r == 0)
        r = start_service(lead, err);
    if (r == 0)
        r = expect_hosts(lead, err);
    if (r == 0)
        r = invite_hosts(lead, err);
    if (r < 0)
        return r;
    r = wait_for_verdict(lead, err);
    let_it_be_told(lead);
    return r < 0 ? r : judge(&lead->result, ret, err);
}

static void lead_free(struct lead *lead)
{
    lead__end_here(lead->here);
    probe_service_stop(lead->service);
    strbuf_wipe(&lead->key);
    strbuf_release(&lead->cert);
    if (lead->invite)
        probe_invite_wipe(lead->invite);
    free(lead->invite);
    free(lead->result.pair_gb_s);
    explicit_bzero(lead->token, sizeof(lead->token));
    pthread_mutex_destroy(&lead->lock);
    free(lead);
}

int lead_run(const struct lead_options *options, struct local_result *ret, struct err *err)
{
    struct sigaction former[SIGNALS];
    struct lead *lead;
    int r = check(options, err);

    if (r < 0)
        return r;
    lead = calloc(1, sizeof(*lead));
    if (!lead)
        return err_set(err, -ENOMEM, "out of memory");
    pthread_mutex_init(&lead->lock, NULL);
    lead->options = options;
    lead->cert = lead->key = (struct strbuf)STRBUF_INIT(TLS_EPHEMERAL_MAX);
    lead->deadline_ns = now_ns() + (int64_t)timeout_ns(options);
    lead->invite = calloc(1, sizeof(*lead->invite));
    watch_signals(former);
    r = lead->invite ? lead_it(lead, ret, err) : err_set(err, -EIO, "out of memory");
    lead_free(lead);
    leave_signals(former);
    return r == -ENOMEM || r == -EBUSY ? -EIO : r; /* of this program, not of a host */
}
