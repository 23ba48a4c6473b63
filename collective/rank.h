/*
 * rank.h - the child's main: one rank in a process of its own, led by records on a socket
 * (child_wire.h).
 *
 * It exists to be killed: a backend that hangs in a driver, in spite of all deadlines, goes with
 * its process. So it keeps nothing that outlives it, and ends when its parent does: by SIGKILL from
 * the kernel (PR_SET_PDEATHSIG), or at the end of the socket.
 */
#pragma once

#include <sys/types.h>

#define RANK_FD 3

/*
 * Serves records from `fd` until CLOSE, the socket's end, or the first failure, which it has then
 * reported. parent: the process that has to be this one's parent; another: it is gone already,
 * return at once; 0: not checked (tests that run it in a thread), and the process is not tied to
 * it. The exit code: 0 closed, 1 failed.
 */
int rank_main(int fd, pid_t parent);

/*
 * For mains: `text` is the argument that child_start() adds behind all others. Ends as rank_main
 * does.
 */
int rank_main_of(const char *text);
