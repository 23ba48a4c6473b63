/* Fake NCCL, the network: one connection between each two ranks, all of them polled so that an abort is always seen. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fake/fake_nccl.h"

#define LOOK_MS 20 /* between two looks at whether it is aborted */
#define ID_MAGIC 0x66616b65u

struct id { /* within the 128 bytes */
    uint32_t magic;
    uint16_t port;
};

struct hello {
    uint32_t magic, ranks, rank, port;
    int32_t version;
};

struct answer { /* the root's */
    int32_t result;
    uint32_t ports[FAKE_RANKS_MAX];
};

/* ---- bytes ---------------------------------------------------------------------------------------------- */

static int listen_here(uint16_t *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, 64) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) < 0) {
        if (fd >= 0)
            close(fd);
        return -EIO;
    }
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -ECONNREFUSED;
}

/* Answers are short and waited for. */
static void hurry(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* comm NULL: nobody aborts. */
static int wait_for(const struct nccl_comm *comm, int fd, short events)
{
    struct pollfd one = {.fd = fd, .events = events};

    for (;;) {
        if (comm && atomic_load(&comm->aborted))
            return -ECANCELED;
        if (poll(&one, 1, LOOK_MS) > 0)
            return 0;
    }
}

static int move_all(const struct nccl_comm *comm, int fd, void *bytes, size_t len, bool sending)
{
    char *at = bytes;

    while (len) {
        int r = wait_for(comm, fd, sending ? POLLOUT : POLLIN);
        ssize_t n;

        if (r < 0)
            return r;
        n = sending ? send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT) : recv(fd, at, len, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0)
            return -ECONNRESET;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* ---- how ranks find each other -------------------------------------------------------------------------- */

struct root {
    int fd;
    int fds[FAKE_RANKS_MAX];
    struct answer answer;
    unsigned ranks, come;
    int version;
};

/* Whoever does not fit makes all ranks fail, as the real one does. */
static void let_in(struct root *root, int fd)
{
    struct hello hello;

    if (move_all(NULL, fd, &hello, sizeof(hello), false) < 0 || hello.magic != ID_MAGIC ||
        hello.ranks > FAKE_RANKS_MAX || hello.rank >= hello.ranks) {
        close(fd);
        return;
    }
    if (root->come == 0) {
        root->ranks = hello.ranks;
        root->version = hello.version;
    }
    if (hello.ranks != root->ranks)
        root->answer.result = -EINVAL;
    else if (hello.version != root->version)
        root->answer.result = -EPROTO;
    root->answer.ports[hello.rank] = hello.port;
    root->fds[root->come++] = fd;
}

static void *run_root(void *argument)
{
    struct root *root = argument;

    while (root->ranks == 0 || root->come < root->ranks) {
        int fd = accept4(root->fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0)
            let_in(root, fd);
    }
    for (unsigned i = 0; i < root->come; i++) {
        (void)move_all(NULL, root->fds[i], &root->answer, sizeof(root->answer), true);
        close(root->fds[i]);
    }
    close(root->fd);
    free(root);
    return NULL;
}

int fake_net_root(struct nccl_api_id *ret_id)
{
    struct root *root = calloc(1, sizeof(*root));
    struct id id = {.magic = ID_MAGIC};
    pthread_t thread;

    if (!root)
        return -ENOMEM;
    root->fd = listen_here(&id.port);
    if (root->fd < 0 || pthread_create(&thread, NULL, run_root, root) != 0) {
        free(root);
        return -EIO;
    }
    pthread_detach(thread);
    memset(ret_id, 0, sizeof(*ret_id));
    memcpy(ret_id->bytes, &id, sizeof(id));
    return 0;
}

static int ask_root(struct nccl_comm *comm, uint16_t port, struct answer *ret)
{
    struct hello hello = {.magic = ID_MAGIC, .ranks = comm->ranks, .rank = comm->rank, .port = port,
                          .version = comm->version};
    struct id id;
    int fd, r;

    memcpy(&id, comm->id.bytes, sizeof(id));
    if (id.magic != ID_MAGIC)
        return -EINVAL;
    fd = connect_to(id.port);
    if (fd < 0)
        return fd;
    r = move_all(comm, fd, &hello, sizeof(hello), true);
    if (r == 0)
        r = move_all(comm, fd, ret, sizeof(*ret), false);
    close(fd);
    return r < 0 ? r : ret->result;
}

static int accept_one(struct nccl_comm *comm, int listener)
{
    uint32_t rank;
    int fd, r = wait_for(comm, listener, POLLIN);

    if (r < 0)
        return r;
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return -ECONNRESET;
    r = move_all(comm, fd, &rank, sizeof(rank), false);
    if (r < 0 || rank <= comm->rank || rank >= comm->ranks || comm->peers[rank] >= 0) {
        close(fd);
        return r < 0 ? r : -EIO;
    }
    hurry(fd);
    comm->peers[rank] = fd;
    return 0;
}

int fake_net_connect(struct nccl_comm *comm)
{
    struct answer answer = {0};
    uint32_t rank = comm->rank;
    uint16_t port = 0;
    int listener = listen_here(&port), r;

    if (listener < 0)
        return listener;
    r = ask_root(comm, port, &answer);
    for (unsigned i = 0; r == 0 && i < comm->rank; i++) {
        comm->peers[i] = connect_to((uint16_t)answer.ports[i]);
        if (comm->peers[i] >= 0)
            hurry(comm->peers[i]);
        r = comm->peers[i] < 0 ? comm->peers[i] : move_all(comm, comm->peers[i], &rank, sizeof(rank), true);
    }
    for (unsigned i = comm->rank + 1; r == 0 && i < comm->ranks; i++)
        r = accept_one(comm, listener);
    close(listener);
    return r;
}

void fake_net_close(struct nccl_comm *comm)
{
    for (unsigned i = 0; i < FAKE_RANKS_MAX; i++)
        if (comm->peers[i] >= 0)
            close(comm->peers[i]);
}

/* ---- exchange ------------------------------------------------------------------------------------------- */

/* As much as goes now. */
static int move_some(int fd, struct fake_part *part, short ready)
{
    ssize_t n;

    if (part->from_bytes && ready & (POLLOUT | POLLERR | POLLHUP)) {
        n = send(fd, part->from, part->from_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0 && errno != EAGAIN && errno != EINTR)
            return -ECONNRESET;
        if (n > 0) {
            part->from = (const char *)part->from + n;
            part->from_bytes -= (size_t)n;
        }
    }
    if (part->to_bytes && ready & (POLLIN | POLLERR | POLLHUP)) {
        n = recv(fd, part->to, part->to_bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return -ECONNRESET;
        if (n > 0) {
            part->to = (char *)part->to + n;
            part->to_bytes -= (size_t)n;
        }
    }
    return 0;
}

static int move_parts(struct nccl_comm *comm, struct fake_part *parts, unsigned n)
{
    struct pollfd fds[FAKE_RANKS_MAX];

    for (;;) {
        bool open = false;

        for (unsigned i = 0; i < n; i++) {
            fds[i] = (struct pollfd){.fd = comm->peers[parts[i].peer]};
            fds[i].events = (short)((parts[i].from_bytes ? POLLOUT : 0) | (parts[i].to_bytes ? POLLIN : 0));
            if (!fds[i].events)
                fds[i].fd = -1;
            open |= fds[i].events != 0;
        }
        if (!open)
            return 0;
        if (atomic_load(&comm->aborted))
            return -ECANCELED;
        if (poll(fds, n, LOOK_MS) <= 0)
            continue;
        for (unsigned i = 0; i < n; i++) {
            int r = fds[i].revents ? move_some(fds[i].fd, &parts[i], fds[i].revents) : 0;

            if (r < 0)
                return r;
        }
    }
}

int fake_net_exchange(struct nccl_comm *comm, uint32_t kind, struct fake_part *parts, unsigned n)
{
    uint64_t said[FAKE_RANKS_MAX][2], heard[FAKE_RANKS_MAX][2];
    struct fake_part heads[FAKE_RANKS_MAX];
    int r;

    for (unsigned i = 0; i < n; i++) {
        said[i][0] = kind;
        said[i][1] = parts[i].from_bytes;
        heads[i] = (struct fake_part){.peer = parts[i].peer, .from = said[i], .from_bytes = sizeof(said[i]),
                                      .to = heard[i], .to_bytes = sizeof(heard[i])};
    }
    r = move_parts(comm, heads, n);
    for (unsigned i = 0; r == 0 && i < n; i++)
        if (heard[i][0] != kind || heard[i][1] != parts[i].to_bytes)
            r = -EPROTO;
    return r < 0 ? r : move_parts(comm, parts, n);
}
