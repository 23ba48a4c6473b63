/* The pods' processes, and their ranks, which are processes of theirs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/probe_faults/probe_faults.h"

#define PROGRAM_MAX 512

static void program_of(char ret[PROGRAM_MAX])
{
    ssize_t len = readlink("/proc/self/exe", ret, PROGRAM_MAX - 16);
    char *slash;

    ret[len > 0 ? len : 0] = '\0';
    slash = strrchr(ret, '/');
    if (!slash)
        abort();
    snprintf(slash + 1, 15, "lockstep-probe");
}

static void spawn(struct pods *pods, struct proc *proc, char *const *argv, char *const *env)
{
    posix_spawn_file_actions_t files;
    char log[192];
    int r;

    snprintf(log, sizeof(log), "%s/pod-%u-%u.log", pods->places->folder, proc->pod, pods->n_procs);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_TRUNC,
                                     0600);
    posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    r = posix_spawn(&proc->pid, argv[0], &files, NULL, argv, env);
    posix_spawn_file_actions_destroy(&files);
    if (r != 0) {
        fprintf(stderr, "%s cannot be started: %s\n", argv[0], strerror(r));
        exit(EXIT_FAILURE);
    }
}

void pods_start(struct pods *pods, unsigned pod, int64_t now)
{
    const struct places *places = pods->places;
    struct proc *proc = &pods->procs[pods->n_procs];
    char program[PROGRAM_MAX], address[32], ca[160], limit[24], devices[8];
    char name[32], uid[32], node[32], world[192], options[2][256];
    const char *backend = pods->plan->gpus ? "nccl" : "tcp";
    char *argv[] = {program,
                    (char *)"--coordinator",
                    address,
                    (char *)"--ca",
                    ca,
                    (char *)"--token",
                    (char *)(uintptr_t)places->token,
                    (char *)"--limit",
                    limit,
                    (char *)"--devices",
                    devices,
                    (char *)"--backend",
                    (char *)(uintptr_t)backend,
                    NULL};
    char *env[] = {name,
                   uid,
                   node,
                   world,
                   options[0],
                   options[1],
                   (char *)"POD_NAMESPACE=team",
                   (char *)"POD_IP=127.0.0.1",
                   (char *)"PATH=/bin:/usr/bin",
                   (char *)"LOCKSTEP_NCCL_SHARE_GPU=1",
                   (char *)"LOCKSTEP_NCCL_LIBRARY=" FAKE_DIR "/libnccl.so.2",
                   (char *)"LOCKSTEP_CUDA_LIBRARY=" FAKE_DIR "/libcuda.so.1",
                   (char *)"LOCKSTEP_NVML_LIBRARY=" FAKE_DIR "/libnvidia-ml.so.1",
                   NULL};

    if (pods->n_procs == PROCS_MAX)
        abort();
    program_of(program);
    snprintf(address, sizeof(address), "127.0.0.1:%u", pods->ports[pod]);
    snprintf(ca, sizeof(ca), "%s/ca.crt", places->certificates);
    snprintf(limit, sizeof(limit), "%dms", (int)(LIMIT_NS(pods->plan) / MS));
    snprintf(devices, sizeof(devices), "%u", pods->plan->devices[pod]);
    snprintf(name, sizeof(name), "POD_NAME=train-%u", pod);
    snprintf(uid, sizeof(uid), "POD_UID=uid-%u", pod);
    snprintf(node, sizeof(node), "NODE_NAME=node-%u", pod);
    snprintf(world, sizeof(world), "LOCKSTEP_FAKE_GPU=%s", places->world);
    for (unsigned i = 0; i < 2; i++) {
        const char *variable = i ? "TSAN_OPTIONS" : "ASAN_OPTIONS", *value = getenv(variable);

        snprintf(options[i], sizeof(options[i]), "%s=%s", variable, value ? value : "");
    }
    *proc = (struct proc){.pod = pod, .started_ns = now};
    spawn(pods, proc, argv, env);
    pods->n_procs++;
}

struct proc *pods_last(struct pods *pods, unsigned pod)
{
    for (unsigned i = pods->n_procs; i-- > 0;)
        if (pods->procs[i].pod == pod && !pods->procs[i].ended_ns)
            return &pods->procs[i];
    return NULL;
}

/* ---- ranks ------------------------------------------------------------------------------ */

static pid_t parent_of(pid_t pid)
{
    char path[64], text[512], *after;
    FILE *file;
    int parent = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    if (fgets(text, sizeof(text), file) && (after = strrchr(text, ')')) &&
        sscanf(after, ") %*c %d", &parent) != 1)
        parent = 0;
    (void)fclose(file);
    return parent;
}

static pid_t rank_of(const struct proc *proc, unsigned n)
{
    char path[64];
    FILE *file;
    int pid = -1;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)proc->pid, (int)proc->pid);
    file = fopen(path, "re");
    for (unsigned i = 0; file && i <= n; i++)
        if (fscanf(file, "%d", &pid) != 1) {
            pid = -1;
            break;
        }
    if (file)
        (void)fclose(file);
    return pid;
}

int pods_rank(const struct proc *proc, unsigned n)
{
    pid_t pid = rank_of(proc, n);
    int fd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);

    /* Of a number that was given away meanwhile we know nothing. */
    if (fd >= 0 && parent_of(pid) != proc->pid) {
        close(fd);
        return -1;
    }
    return fd;
}

bool pods_signal_rank(const struct proc *proc, unsigned n, int signal)
{
    int fd = pods_rank(proc, n);
    bool met = fd >= 0 && syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) == 0;

    if (fd >= 0)
        close(fd);
    return met;
}

static bool cut(int rank, int number)
{
    int fd = (int)syscall(SYS_pidfd_getfd, rank, number, 0);
    struct sockaddr_storage peer;
    socklen_t size = sizeof(peer);
    bool is_cut = fd >= 0 && getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
                  peer.ss_family != AF_UNIX && shutdown(fd, SHUT_RDWR) == 0;

    if (fd >= 0)
        close(fd);
    return is_cut;
}

unsigned pods_cut_rank(const struct proc *proc, unsigned n)
{
    int rank = pods_rank(proc, n);
    char path[64];
    unsigned done = 0;
    DIR *folder;

    if (rank < 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)rank_of(proc, n));
    folder = opendir(path);
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder))
        if (entry->d_name[0] != '.')
            done += cut(rank, (int)strtol(entry->d_name, NULL, 10));
    if (folder)
        closedir(folder);
    close(rank);
    return done;
}

/* ---- their end -------------------------------------------------------------------------- */

unsigned pods_reap(struct pods *pods, int64_t now)
{
    unsigned strangers = 0, i;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (i = 0; i < pods->n_procs; i++)
            if (pods->procs[i].pid == pid && !pods->procs[i].ended_ns)
                break;
        strangers += i == pods->n_procs;
        if (i < pods->n_procs) {
            pods->procs[i].ended_ns = now;
            pods->procs[i].status = status;
        }
    }
    return strangers;
}

unsigned pods_alive(const struct pods *pods, bool stopped_too)
{
    unsigned n = 0;

    for (unsigned i = 0; i < pods->n_procs; i++)
        n += !pods->procs[i].ended_ns && (stopped_too || !pods->procs[i].stopped);
    return n;
}
