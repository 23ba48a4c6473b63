/* hwloc in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "topology/read_hwloc.h"

#define SECONDS_MAX 3 /* of processor time: the largest file of a real machine takes milliseconds */

struct answer { /* shared with the child */
    enum hwloc_stage stage;
    int result;
    struct err err;
    struct machine machine;
};

/* What hwloc says there is not for the user: err is. */
static void silence_stderr(void)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (nowhere >= 0) {
        (void)dup2(nowhere, STDERR_FILENO);
        close(nowhere);
    }
}

static void __attribute__((noreturn)) child(const char *text, size_t len, struct answer *answer)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGXCPU};
    const struct rlimit seconds = {SECONDS_MAX, SECONDS_MAX + 1}, none = {0, 0};

    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        (void)signal(fatal[i], SIG_DFL); /* a handler of the parent's must not go on here */
    (void)setrlimit(RLIMIT_CPU, &seconds);
    (void)setrlimit(RLIMIT_CORE, &none);
    silence_stderr();
    answer->result = machine__hwloc(text, len, &answer->machine, &answer->stage, &answer->err);
    _exit(0);
}

static int take(const struct answer *answer, int status, struct machine *machine, struct err *err)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        return err_set(err, -EINVAL, "found more than hwloc reads in %d s, expected one machine",
                       SECONDS_MAX);
    if (answer->stage == HWLOC_IS_WALKED)
        return err_set(err, -EIO, "internal error: reading what hwloc imported ended early");
    if (answer->stage != HWLOC_DONE)
        return err_set(err, -EINVAL, "%s", HWLOC_REFUSES);
    if (answer->result < 0)
        return err_set(err, answer->result, "%s",
                       answer->err.text[0] ? answer->err.text : strerror(-answer->result));
    *machine = answer->machine;
    return 0;
}

int machine__hwloc_apart(const char *text, size_t len, struct machine *machine, struct err *err)
{
    struct answer *answer = mmap(NULL, sizeof(*answer), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0, r;
    pid_t pid;

    if (answer == MAP_FAILED)
        return err_set(err, -ENOMEM, "out of memory");
    pid = fork();
    if (pid == 0)
        child(text, len, answer);
    if (pid < 0) {
        r = err_set(err, -ENOMEM, "cannot start a process for hwloc: %s", strerror(errno));
    } else {
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        r = take(answer, status, machine, err);
    }
    munmap(answer, sizeof(*answer));
    return r;
}
