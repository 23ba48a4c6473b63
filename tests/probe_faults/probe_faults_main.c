/* probe_faults: runs with seeds, each a process, several at a time; and what came of them. Options:
 * the help text. */
#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/parse.h"
#include "tests/probe_faults/probe_faults.h"

#define AT_ONCE_MAX 32
#define OUTCOME_FD 3

struct arguments {
    uint64_t seed, runs, at_once;
    bool keep;
};

static const struct argp_option options[] = {
    {"seed", 's', "N", 0, "first seed (1)", 0},
    {"runs", 'r', "N", 0, "how many seeds (20)", 0},
    {"at-once", 'j', "N", 0, "how many at the same time: they mostly wait (6)", 0},
    {"keep", 'k', NULL, 0, "keep the logs of all runs, not only of those that failed", 0},
    {0}};

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    uint64_t *number = key == 's'   ? &arguments->seed
                       : key == 'r' ? &arguments->runs
                       : key == 'j' ? &arguments->at_once
                                    : NULL;
    uint64_t most = key == 'j' ? AT_ONCE_MAX : UINT32_MAX;

    if (key == 'k')
        arguments->keep = true;
    else if (!number)
        return ARGP_ERR_UNKNOWN;
    else if (parse_u64(text, strlen(text), most, number) < 0 || (key != 's' && *number == 0))
        argp_error(state, "'%s': expected a number, at most %" PRIu64, text, most);
    return 0;
}

/* ---- a run's process -------------------------------------------------------------------- */

static int run_one(char *const *argv)
{
    static struct outcome outcome;
    uint64_t seed;

    (void)fcntl(OUTCOME_FD, F_SETFD, FD_CLOEXEC); /* pods that outlive this process shall not keep it open */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Ranks whose probe was killed become ours, so that none is overlooked. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ||
        parse_u64(argv[2], strlen(argv[2]), UINT32_MAX * 2ull, &seed) < 0)
        return EXIT_FAILURE;
    faults_run(seed, argv[3], argv[4], &outcome);
    return write(OUTCOME_FD, &outcome, sizeof(outcome)) == sizeof(outcome) && !outcome.stuck
               ? EXIT_SUCCESS
               : EXIT_FAILURE;
}

struct worker {
    pid_t pid; /* 0: free */
    uint64_t seed;
    int64_t until_ns;
    int fd;
    char folder[128];
};

struct driver {
    const struct arguments *arguments;
    char folder[64], certificates[96];
    struct worker workers[AT_ONCE_MAX];
    uint64_t next, ended, failed, stuck, faultless;
    uint64_t faults[FAULT_KINDS], met[FAULT_KINDS], verdicts[VERDICTS], procs, orphans;
    int64_t beyond_ns, ended_ns;
};

static void start_worker(struct driver *driver, struct worker *worker)
{
    char number[24], log[160];
    char *argv[] = {(char *)"probe_faults", (char *)"--one",      number,
                    worker->folder,         driver->certificates, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    int fds[2];

    worker->seed = driver->arguments->seed + driver->next++;
    worker->until_ns = now_ns() + STUCK_NS + 30 * SECOND;
    snprintf(number, sizeof(number), "%" PRIu64, worker->seed);
    snprintf(worker->folder, sizeof(worker->folder), "%s/seed-%s", driver->folder, number);
    snprintf(log, sizeof(log), "%s/run.log", worker->folder);
    if (mkdir(worker->folder, 0700) < 0 || pipe2(fds, O_CLOEXEC) < 0) {
        perror(worker->folder);
        exit(EXIT_FAILURE);
    }
    worker->fd = fds[0];
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, fds[1], OUTCOME_FD);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_TRUNC,
                                     0600);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID); /* so that all of it can be ended */
    errno = posix_spawn(&worker->pid, "/proc/self/exe", &files, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    close(fds[1]);
    if (errno != 0) {
        perror("/proc/self/exe");
        exit(EXIT_FAILURE);
    }
}

static void remove_folder(const char *path)
{
    DIR *folder = opendir(path);

    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder))
        (void)unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
    (void)rmdir(path);
}

static void add_up(struct driver *driver, const struct outcome *outcome)
{
    for (unsigned i = 0; i < FAULT_KINDS; i++) {
        driver->faults[i] += outcome->faults[i];
        driver->met[i] += outcome->met[i];
    }
    driver->verdicts[outcome->verdict % VERDICTS]++;
    driver->faultless += outcome->faultless;
    driver->procs += outcome->procs;
    driver->orphans += outcome->orphans;
    if (outcome->beyond_ns > driver->beyond_ns)
        driver->beyond_ns = outcome->beyond_ns;
    if (outcome->ended_ns > driver->ended_ns)
        driver->ended_ns = outcome->ended_ns;
}

static void end_worker(struct driver *driver, struct worker *worker, bool late)
{
    static struct outcome outcome;
    int status = 0;
    bool told;

    if (late)
        kill(-worker->pid, SIGKILL); /* its session is its own, and its pods' */
    waitpid(worker->pid, &status, 0);
    told = read(worker->fd, &outcome, sizeof(outcome)) == sizeof(outcome);
    close(worker->fd);
    if (!told || outcome.stuck) /* it has not ended its pods */
        kill(-worker->pid, SIGKILL);
    if (!told) {
        outcome = (struct outcome){.stuck = late};
        outcome_fail(&outcome, late ? "it has not ended" : "it ended with status 0x%x",
                     (unsigned)status);
    } else if (status != 0) {
        outcome_fail(&outcome, "it ended with status 0x%x",
                     (unsigned)status); /* a sanitizer's, say */
    }
    if (told)
        add_up(driver, &outcome);
    driver->stuck += outcome.stuck;
    driver->failed += outcome.failed;
    driver->ended++;
    worker->pid = 0;
    if (outcome.failed)
        printf("seed %" PRIu64 " (%s): %s\n    logs: %s\n    replay: probe_faults --seed %" PRIu64
               " --runs 1\n",
               worker->seed, outcome.story, outcome.why, worker->folder, worker->seed);
    else if (!driver->arguments->keep)
        remove_folder(worker->folder);
    (void)fflush(stdout);
}

/* ---- all of them ------------------------------------------------------------------------ */

static void make_certificates(struct driver *driver)
{
    char *argv[] = {(char *)"bash", (char *)SOURCE_DIR "/deploy/certs.sh", driver->certificates,
                    NULL};
    posix_spawn_file_actions_t files;
    int status = -1;
    pid_t pid;

    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&pid, "bash", &files, NULL, argv, environ) == 0)
        waitpid(pid, &status, 0);
    posix_spawn_file_actions_destroy(&files);
    if (status != 0) {
        fprintf(stderr, "no certificates: try `bash deploy/certs.sh %s`\n", driver->certificates);
        exit(EXIT_FAILURE);
    }
}

static void work(struct driver *driver)
{
    while (driver->ended < driver->arguments->runs)
        for (unsigned i = 0; i < driver->arguments->at_once; i++) {
            struct worker *worker = &driver->workers[i];
            siginfo_t info = {0};

            if (!worker->pid && driver->next < driver->arguments->runs)
                start_worker(driver, worker);
            if (!worker->pid)
                continue;
            if (waitid(P_PID, (id_t)worker->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                info.si_pid)
                end_worker(driver, worker, false);
            else if (now_ns() > worker->until_ns)
                end_worker(driver, worker, true);
            else
                usleep(5000);
        }
}

static void print_table(const struct driver *driver)
{
    printf("%-50s %8s %8s\n", "fault", "times", "met");
    for (unsigned i = 0; i < FAULT_KINDS; i++)
        printf("%-50s %8" PRIu64 " %8" PRIu64 "\n", fault_name(i), driver->faults[i],
               driver->met[i]);
    printf("%-50s %8" PRIu64 "\n\n%-50s %8s\n", "none", driver->faultless, "verdict", "times");
    for (unsigned i = 0; i < VERDICTS; i++)
        if (driver->verdicts[i] > 0)
            printf("%-50s %8" PRIu64 "\n", verdict_name(i), driver->verdicts[i]);
    printf("\n%" PRIu64 " runs, %" PRIu64 " probes, %" PRIu64
           " ranks whose probe was killed: longest beyond the deadline "
           "%.3f s, longest from the verdict to a probe's end %.3f s, failed %" PRIu64
           ", stuck %" PRIu64 "\n",
           driver->ended, driver->procs, driver->orphans, (double)driver->beyond_ns / 1e9,
           (double)driver->ended_ns / 1e9, driver->failed, driver->stuck);
}

int main(int argc, char **argv)
{
    static struct driver driver;
    struct arguments arguments = {.seed = 1, .runs = 20, .at_once = 6};
    const struct argp argp = {options, parse_option, NULL, "Whole probes under random faults.",
                              NULL,    NULL,         NULL};

    if (argc == 5 && strcmp(argv[1], "--one") == 0)
        return run_one(argv);
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    driver.arguments = &arguments;
    snprintf(driver.folder, sizeof(driver.folder), "/tmp/lockstep-probe-faults-XXXXXX");
    if (!mkdtemp(driver.folder)) {
        perror(driver.folder);
        return EXIT_FAILURE;
    }
    snprintf(driver.certificates, sizeof(driver.certificates), "%s/certificates", driver.folder);
    make_certificates(&driver);
    work(&driver);
    print_table(&driver);
    if (driver.failed > 0 || arguments.keep)
        return driver.failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS; /* the logs stay */
    remove_folder(driver.certificates);
    (void)rmdir(driver.folder);
    return EXIT_SUCCESS;
}
