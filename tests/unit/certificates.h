/* certificates.h - a directory of fresh certificates (deploy/certs.sh) for tests of TLS. */
#pragma once

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];

static inline const char *file(const char *name)
{
    static char paths[32][128];
    static int next;
    char *path = paths[next++ % 32];

    snprintf(path, 128, "%s/%s", directory, name);
    return path;
}

/* Runs a program without a shell; its exit status. */
static inline int run(const char *program, const char *first, const char *second, const char *third)
{
    char *argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)first, (char *)(uintptr_t)second,
                    (char *)(uintptr_t)third, NULL};
    pid_t child;
    int status = -1;

    if (posix_spawnp(&child, program, NULL, NULL, argv, environ) != 0 ||
        waitpid(child, &status, 0) < 0)
        return -1;
    return status;
}

static inline void make_certificates(const char *where)
{
    assert_int_equal(run("bash", SOURCE_DIR "/deploy/certs.sh", where, NULL), 0);
}

/* Fixtures of a group. */
static inline int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/lockstep-test-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    make_certificates(directory);
    return 0;
}

static inline int remove_directory(void **state)
{
    (void)state;
    return run("rm", "-r", directory, NULL);
}
