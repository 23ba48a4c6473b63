#include "collective/pod_join.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "collective/own_addresses.h"
#include "collective/pod_probe.h"
#include "collective/probe_invite.h"

#define ADDRESSES_MAX 64
#define CONNECT_MS 2000
#define TRIES 5
#define PATIENCE_NS UINT64_C(15000000000)
#define S_NS UINT64_C(1000000000)
#define PEM_MAX 4096

/* ---- which host is this ---------------------------------------------------------------------- */

static int find_me(const struct pod_join_options *options, const struct probe_invite *invite,
                   const uint32_t *addresses, unsigned n, const struct probe_host **ret,
                   struct err *err)
{
    char hostname[HOST_NAME_MAX + 1] = "", list[200];

    if (gethostname(hostname, sizeof(hostname) - 1) < 0)
        hostname[0] = '\0';
    *ret = options->name ? probe_invite_me(invite, options->name, NULL, 0)
                         : probe_invite_me(invite, hostname, addresses, n);
    if (*ret)
        return 0;
    probe_hosts_list(&invite->hosts, list, sizeof(list));
    if (options->name)
        return err_set(err, -EINVAL, "--name '%.64s': expected one of %s", options->name, list);
    return err_set(err, -EINVAL,
                   "this host calls itself '%.64s', and expected are %s: say which by --name",
                   hostname, list);
}

/* ---- where is the coordinator ---------------------------------------------------------------- */

/* 0 and the connection's own address, or why not. */
static int try_place(uint32_t place, uint16_t port, uint32_t *ret_own)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(place)};
    struct sockaddr_in own = {0};
    socklen_t len = sizeof(own), error_len = sizeof(int);
    CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int error = 0;

    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
        return -errno;
    if (poll(&wait, 1, CONNECT_MS) != 1)
        return -ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len) < 0 || error)
        return error ? -error : -errno;
    if (getsockname(fd, (struct sockaddr *)&own, &len) < 0)
        return -errno;
    *ret_own = ntohl(own.sin_addr.s_addr);
    return 0;
}

static void address_text(uint32_t address, char ret[INET_ADDRSTRLEN])
{
    struct in_addr bytes = {htonl(address)};

    inet_ntop(AF_INET, &bytes, ret, INET_ADDRSTRLEN);
}

static int reach(const struct probe_invite *invite, uint32_t *ret_place, uint32_t *ret_own,
                 struct err *err)
{
    char first[INET_ADDRSTRLEN];
    int why = 0;

    for (unsigned try = 0; try < TRIES; try++) {
        for (unsigned i = 0; i < invite->n_places; i++) {
            int r = try_place(invite->places[i], invite->port, ret_own);

            if (r == 0) {
                *ret_place = invite->places[i];
                return 0;
            }
            why = i == 0 ? r : why;
        }
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    address_text(invite->places[0], first);
    return err_set(err, -EHOSTUNREACH,
                   "the coordinator is not reached at %s:%u%s: %s; does it run still, and may this "
                   "host connect to it?",
                   first, invite->port, invite->n_places > 1 ? " nor at its other addresses" : "",
                   strerror(-why));
}

/* ---- taking part ----------------------------------------------------------------------------- */

/* A name that is one of this host's addresses says over which network. */
static bool is_own_address(const char *name, const uint32_t *addresses, unsigned n)
{
    struct in_addr address;
    bool found = false;

    for (unsigned i = 0; inet_pton(AF_INET, name, &address) == 1 && i < n; i++)
        found = found || addresses[i] == ntohl(address.s_addr);
    return found;
}

static int run(const struct pod_join_options *options, const struct probe_invite *invite,
               const struct probe_host *me, const char *target, const char *host,
               enum verdict *ret_verdict, struct err *err)
{
    const char *argv[] = {invite->nccl ? options->nccl_program : options->program, "--child", NULL};
    CLEANUP(strbuf_release) struct strbuf pem = STRBUF_INIT(PEM_MAX);
    char token[PROBE_SECRET_TEXT], uid[PROBE_UID_MAX + 1];
    struct pod_options pod = {.pod = me->name,
                              .uid = uid,
                              .node = me->name,
                              .host = host,
                              .backend = invite->nccl ? "nccl" : "tcp",
                              .library = options->library,
                              .argv = argv,
                              .devices = me->slots,
                              .streams = invite->streams,
                              .bytes_max = invite->bytes_max,
                              .limit_ns = invite->limit_s * S_NS,
                              .patience_ns = PATIENCE_NS};
    int r = probe_invite_ca_pem(invite, &pem);

    if (r < 0)
        return err_set(err, r, "the certificate is too large");
    probe_host_uid(me, uid);
    probe_invite_token(invite, token);
    pod.coordinator.target = target;
    pod.coordinator.ca_pem = pem.data;
    pod.coordinator.server_name = PROBE_INVITE_NAME;
    pod.coordinator.token = token;
    fprintf(stderr, "lockstep-probe: host %s at %s, coordinator at %s\n", me->name, host, target);
    r = pod_probe_run(&pod, ret_verdict, err);
    explicit_bzero(token, sizeof(token));
    return r;
}

static int join(const struct pod_join_options *options, const struct probe_invite *invite,
                enum verdict *ret_verdict, struct err *err)
{
    uint32_t addresses[ADDRESSES_MAX], place = 0, own = 0;
    char target[INET_ADDRSTRLEN + 8], own_text[INET_ADDRSTRLEN];
    unsigned found = own_addresses(true, addresses, ADDRESSES_MAX);
    unsigned n = found < ADDRESSES_MAX ? found : ADDRESSES_MAX;
    const struct probe_host *me = NULL;
    const char *host = options->address;
    int r = find_me(options, invite, addresses, n, &me, err);

    if (r == 0)
        r = reach(invite, &place, &own, err);
    if (r < 0 || !me) {
        pod_not_measured(err);
        return r;
    }
    address_text(place, target);
    snprintf(target + strlen(target), sizeof(target) - strlen(target), ":%u", invite->port);
    address_text(own, own_text);
    if (!host)
        host = is_own_address(me->name, addresses, n) ? me->name : own_text;
    return run(options, invite, me, target, host, ret_verdict, err);
}

int pod_join_run(const struct pod_join_options *options, enum verdict *ret_verdict, struct err *err)
{
    struct probe_invite *invite = calloc(1, sizeof(*invite));
    int r = invite ? probe_invite_decode(options->word, options->len, invite, err) : -ENOMEM;

    if (r == 0) {
        r = join(options, invite, ret_verdict, err);
    } else {
        r = invite ? err_prefix(err, r, "the invitation") : err_set(err, r, "out of memory");
        pod_not_measured(err);
    }
    if (!invite)
        return r;
    probe_invite_wipe(invite);
    free(invite);
    return r;
}
