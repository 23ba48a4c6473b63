/* What probe_lead.c has of this machine: its addresses, and a process on it. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "collective/own_addresses.h"
#include "scheduler/cli/probe_lead_internal.h"

#define LOOPBACK UINT32_C(0x7f000001)
#define SOMEWHERE UINT32_C(0xc0000201) /* 192.0.2.1, for documentation: nothing is sent there */
#define ADDRESSES_MAX 64
#define END_LOOKS 30
#define LOOK_NS 100000000

/* ---- addresses ------------------------------------------------------------------------------- */

/* False: it is left out. */
static bool add(uint32_t address, uint32_t ret[PROBE_INVITE_PLACES_MAX], unsigned *n)
{
    for (unsigned i = 0; i < *n; i++)
        if (ret[i] == address)
            return true;
    if (*n == PROBE_INVITE_PLACES_MAX)
        return false;
    ret[(*n)++] = address;
    return true;
}

/* Connecting a datagram socket only asks for the route. 0: there is none. */
static uint32_t address_of_default_route(void)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(SOMEWHERE)};
    struct sockaddr_in own = {0};
    socklen_t len = sizeof(own);
    CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        getsockname(fd, (struct sockaddr *)&own, &len) < 0)
        return 0;
    return ntohl(own.sin_addr.s_addr);
}

/* 0: it says none, or all. */
static uint32_t address_in(const char *listen)
{
    const char *colon = listen ? strrchr(listen, ':') : NULL;
    char text[INET_ADDRSTRLEN] = "";
    struct in_addr address;

    if (!colon || (size_t)(colon - listen) >= sizeof(text))
        return 0;
    memcpy(text, listen, (size_t)(colon - listen));
    return inet_pton(AF_INET, text, &address) == 1 ? ntohl(address.s_addr) : 0;
}

unsigned lead__places(const char *listen, uint32_t ret[PROBE_INVITE_PLACES_MAX],
                      unsigned *ret_left_out)
{
    uint32_t only = address_in(listen), first = address_of_default_route(), own[ADDRESSES_MAX];
    unsigned found = only ? 0 : own_addresses(false, own, ADDRESSES_MAX), n = 0;

    *ret_left_out = found > ADDRESSES_MAX ? found - ADDRESSES_MAX : 0;
    if (only || first)
        add(only ? only : first, ret, &n);
    for (unsigned i = 0; i < found && i < ADDRESSES_MAX; i++)
        *ret_left_out += !add(own[i], ret, &n);
    if (n == 0)
        ret[n++] = LOOPBACK;
    return n;
}

/* ---- a process ------------------------------------------------------------------------------- */

static int find_program(char path[PATH_MAX], struct err *err)
{
    static const char name[] = "lockstep-probe";
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(name));
    char *slash;

    if (n <= 0)
        return err_set(err, -EIO, "cannot find this program's own file");
    path[n] = '\0';
    slash = strrchr(path, '/');
    memcpy(slash ? slash + 1 : path, name, sizeof(name));
    return access(path, X_OK) == 0
               ? 0
               : err_set(err, -EIO, "--here: %s is not here: %s", path, strerror(errno));
}

/* This one's environment and the invitation. The array is the caller's to free, what is in it is
 * not. */
static char **environment_with(char *variable)
{
    size_t n = 0;
    char **all;

    while (environ[n])
        n++;
    all = calloc(n + 2, sizeof(*all));
    if (!all)
        return NULL;
    all[0] = variable;
    memcpy(all + 1, environ, n * sizeof(*all));
    return all;
}

int lead__start_here(const char *name, const char *word, pid_t *ret_pid, struct err *err)
{
    struct strbuf variable = STRBUF_INIT(PROBE_INVITE_MAX + 64);
    char path[PATH_MAX], **environment = NULL;
    char *argv[] = {path, (char *)(uintptr_t) "--name", (char *)(uintptr_t)name, NULL};
    int r = find_program(path, err);

    if (r < 0)
        return r;
    if (strbuf_addf(&variable, "%s=%s", PROBE_INVITE_VARIABLE, word) == 0)
        environment = environment_with(variable.data);
    r = environment ? posix_spawn(ret_pid, path, NULL, NULL, argv, environment) : ENOMEM;
    free(environment);
    strbuf_wipe(&variable);
    return r ? err_set(err, -EIO, "--here: %s cannot be started: %s", path, strerror(r)) : 0;
}

bool lead__here_ended(pid_t pid, char *ret, size_t size)
{
    siginfo_t how = {0};

    if (pid <= 0 || waitid(P_PID, (id_t)pid, &how, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        how.si_pid != pid)
        return false;
    if (how.si_code == CLD_EXITED)
        snprintf(ret, size, "it exited with %d", how.si_status);
    else
        snprintf(ret, size, "it was ended by a signal (%s)", strsignal(how.si_status));
    return true;
}

void lead__end_here(pid_t pid)
{
    const struct timespec look = {.tv_nsec = LOOK_NS};

    if (pid <= 0)
        return;
    for (unsigned i = 0; i < END_LOOKS; i++) {
        if (waitpid(pid, NULL, WNOHANG) != 0)
            return;
        nanosleep(&look, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
