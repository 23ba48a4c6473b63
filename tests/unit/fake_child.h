/*
 * fake_child.h - a child that does what no rank should: this test program itself, started again as
 * `--fake HOW`. And what is counted afterwards: children and descriptors that are left.
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collective/child_wire.h"
#include "collective/rank.h"

static inline void fake_send(const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len) {
        ssize_t n = send(RANK_FD, at, len, MSG_NOSIGNAL);

        if (n <= 0)
            _exit(0);
        at += n;
        len -= (size_t)n;
    }
}

static inline void fake_event(enum child_event_kind kind)
{
    static struct child_event event;
    struct strbuf out = STRBUF_INIT(WIRE_RECORD_MAX);

    event.kind = kind;
    event.n_seconds = 1;
    if (wire_put_event(&out, &event) == 0)
        fake_send(out.data, out.len);
    strbuf_release(&out);
}

/* How; each ends by itself or hangs until it is killed. */
static inline int fake_child(const char *how, const char *parent)
{
    char noise[65536];

    if (strcmp(how, "rank") == 0)
        return rank_main_of(parent);
    if (strcmp(how, "hang") == 0)
        pause();
    if (strcmp(how, "stubborn") == 0) { /* SIGTERM does not end it */
        signal(SIGTERM, SIG_IGN);
        fake_event(CHILD_CONNECTED);
        for (;;)
            pause();
    }
    if (strcmp(how, "crash") == 0) {
        fprintf(stderr, "libfake: assertion \x1b[31mfailed\x1b[0m\n");
        signal(SIGABRT, SIG_DFL);
        kill(getpid(), SIGABRT);
    }
    if (strcmp(how, "exit") == 0)
        return 7;
    if (strcmp(how, "garbage") == 0) {
        memset(noise, 0xa5, sizeof(noise));
        fake_send(noise, sizeof(noise));
        pause();
    }
    if (strcmp(how, "half") == 0) { /* of a record */
        fake_send((uint32_t[]){WIRE_OPENED, 100}, 8);
        fake_send("x", 1);
        pause();
    }
    if (strcmp(how, "flood") == 0)
        for (;;)
            fake_event(CHILD_PROGRESS);
    if (strcmp(how, "chatty") == 0) { /* on stderr, without end */
        memset(noise, 'y', sizeof(noise));
        while (write(2, noise, sizeof(noise)) > 0)
            ;
    }
    if (strcmp(how, "mute") == 0) { /* lives on with its socket closed */
        close(RANK_FD);
        pause();
    }
    if (strcmp(how, "early") == 0) { /* answers what it was not asked */
        fake_event(CHILD_RESULT);
        pause();
    }
    if (strcmp(how, "orphan") == 0) { /* its own child keeps socket and stderr open for a while */
        if (fork() == 0)
            sleep(2);
        _exit(0);
    }
    return 99;
}

/* This program's file: /proc/self/exe itself is valgrind's when that runs it. */
static inline const char *own_program(void)
{
    static char path[512];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

    path[len > 0 ? len : 0] = '\0';
    return path;
}

/* 0 when no child is left, dead or alive. */
static inline int children_left(void)
{
    return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD ? 0 : 1;
}

static inline unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}
