/* Where libraries are looked for, and what is said when they are not there; each load in a process of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collective/cuda_api.h"
#include "collective/nccl_api.h"

extern char **environ;

static char answer[1024], folder[64];

/* `--load [PATH]`: "VERSION PATH", or "-ERRNO: message". */
static int load(const char *path)
{
    struct err err = ERR_INIT;
    struct nccl_api api;
    int r = nccl_api_load(path, &api, &err);

    if (r < 0)
        printf("%d: %s", r, err.text);
    else
        printf("%d %s", api.version, api.path);
    return 0;
}

/* The answer to a load with that variable set (NULL: none). */
static const char *ask(const char *variable, const char *value, const char *path)
{
    char *argv[] = {"/proc/self/exe", "--load", (char *)path, NULL};
    posix_spawn_file_actions_t actions;
    int fds[2], status;
    size_t len = 0;
    ssize_t n;
    pid_t pid;

    if (variable)
        setenv(variable, value, 1);
    assert_int_equal(pipe(fds), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    posix_spawn_file_actions_addclose(&actions, fds[0]);
    assert_int_equal(posix_spawn(&pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    while (len < sizeof(answer) - 1 && (n = read(fds[0], answer + len, sizeof(answer) - 1 - len)) > 0)
        len += (size_t)n;
    answer[len] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    if (variable)
        unsetenv(variable);
    return answer;
}

static void assert_says(const char *said, const char *what)
{
    if (!strstr(said, what))
        fail_msg("'%s' does not say '%s'", said, what);
}

/* A Python's folder with the fake library in it, below `base`. */
static void make_python(const char *base, bool of_venv)
{
    static const char *const parts[] = {"lib", "python3.12", "site-packages", "nvidia", "nccl", "lib"};
    char path[256];

    snprintf(path, sizeof(path), "%s", base);
    (void)mkdir(path, 0700);
    for (unsigned i = of_venv ? 0 : 3; i < sizeof(parts) / sizeof(parts[0]); i++) {
        size_t len = strlen(path);

        snprintf(path + len, sizeof(path) - len, "/%s", parts[i]);
        (void)mkdir(path, 0700);
    }
    snprintf(path + strlen(path), sizeof(path) - strlen(path), "/libnccl.so.2");
    assert_int_equal(symlink(FAKE_DIR "/libnccl.so.2", path), 0);
}

static void loads_what_is_named_and_nothing_else(void **state)
{
    (void)state;
    assert_string_equal(ask(NULL, NULL, FAKE_DIR "/libnccl.so.2"), "22803 " FAKE_DIR "/libnccl.so.2");
    assert_string_equal(ask("LOCKSTEP_NCCL_LIBRARY", FAKE_DIR "/libnccl.so.2", NULL),
                        "22803 " FAKE_DIR "/libnccl.so.2");
    assert_says(ask("LD_LIBRARY_PATH", FAKE_DIR, "/nowhere/libnccl.so.2"), "/nowhere/libnccl.so.2 does not load");
    assert_says(ask("LD_LIBRARY_PATH", FAKE_DIR, "libnccl.so.2"), "'libnccl.so.2' is not a path");
}

static void finds_it_where_the_system_does(void **state)
{
    (void)state;
    assert_string_equal(ask("LD_LIBRARY_PATH", FAKE_DIR, NULL), "22803 " FAKE_DIR "/libnccl.so.2");
}

static void finds_the_one_of_the_workloads_python(void **state)
{
    char venv[96], path[96], both[256];

    (void)state;
    snprintf(venv, sizeof(venv), "%s/venv", folder);
    snprintf(path, sizeof(path), "%s/path", folder);
    snprintf(both, sizeof(both), "/nowhere::%s", path);
    make_python(venv, true);
    make_python(path, false);
    assert_says(ask("VIRTUAL_ENV", venv, NULL), "22803 ");
    assert_says(answer, "/venv/lib/python3.12/site-packages/nvidia/nccl/lib/libnccl.so.2");
    assert_says(ask("PYTHONPATH", both, NULL), "22803 ");
    assert_says(answer, "/path/nvidia/nccl/lib/libnccl.so.2");
}

/* PyTorch's wheels do so; only what is loaded already goes before that. */
static void pythons_goes_before_the_systems(void **state)
{
    char venv[96];

    (void)state;
    snprintf(venv, sizeof(venv), "%s/both", folder);
    make_python(venv, true);
    setenv("LD_LIBRARY_PATH", FAKE_DIR, 1);
    assert_says(ask("VIRTUAL_ENV", venv, NULL), "/both/lib/python3.12/site-packages/nvidia/nccl/lib/libnccl.so.2");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they want to be loaded first themselves */
    setenv("VIRTUAL_ENV", venv, 1);
    assert_string_equal(ask("LD_PRELOAD", FAKE_DIR "/libnccl.so.2", NULL), "22803 " FAKE_DIR "/libnccl.so.2");
    unsetenv("VIRTUAL_ENV");
#endif
    unsetenv("LD_LIBRARY_PATH");
}

static void says_where_it_looked(void **state)
{
    char home[96];

    (void)state;
    snprintf(home, sizeof(home), "%s/home", folder);
    ask("PYTHONPATH", home, NULL);
    if (strncmp(answer, "-19: ", 5) != 0) { /* a machine that has NCCL */
        assert_says(answer, "libnccl.so.2");
        return;
    }
    assert_says(answer, "no NCCL library: not in libnccl.so.2, ");
    assert_says(answer, home);
    assert_says(answer, "LOCKSTEP_NCCL_LIBRARY may name one");
}

static void what_is_no_nccl_is_refused(void **state)
{
    char text[96];
    FILE *file;

    (void)state;
    assert_says(ask(NULL, NULL, FAKE_DIR "/libnvidia-ml.so.1"), "-19: NCCL library has no function ncclGetVersion");
    snprintf(text, sizeof(text), "%s/libnccl.so.2", folder);
    file = fopen(text, "w");
    assert_non_null(file);
    fputs("this is no library", file);
    fclose(file);
    assert_says(ask(NULL, NULL, text), "does not load");
    assert_says(ask("LOCKSTEP_FAKE_VERSION", "0", FAKE_DIR "/libnccl.so.2"), "does not tell its version");
}

static void versions_read_as_people_write_them(void **state)
{
    static const struct {
        int version;
        const char *text;
    } cases[] = {{2804, "2.8.4"}, {21403, "2.14.3"}, {21803, "2.18.3"}, {22707, "2.27.7"}, {23203, "2.32.3"}};
    char text[16];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        nccl_api_version_text(cases[i].version, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
}

static void uuids_read_as_nvml_writes_them(void **state)
{
    struct cuda_uuid uuid = {{0x01, 0x23, 0x45, 0x67, (char)0x89, (char)0xab, (char)0xcd, (char)0xef, 0, 1, 2, 3,
                              4, 5, 6, (char)0xff}};
    char text[CUDA_API_UUID_TEXT];

    (void)state;
    cuda_api_uuid_text(&uuid, text);
    assert_string_equal(text, "GPU-01234567-89ab-cdef-0001-0203040506ff");
}

static int begin(void **state)
{
    static const char *const variables[] = {"LOCKSTEP_NCCL_LIBRARY", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH",
                                            "LD_LIBRARY_PATH", "LOCKSTEP_FAKE_GPU"};

    (void)state;
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    snprintf(folder, sizeof(folder), "/tmp/lockstep-nccl-api-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int end(void **state)
{
    char *argv[] = {"rm", "-rf", folder, NULL};
    int status;
    pid_t pid;

    (void)state;
    return posix_spawnp(&pid, "rm", NULL, NULL, argv, environ) || waitpid(pid, &status, 0) < 0 ? -1 : status;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_what_is_named_and_nothing_else),
        cmocka_unit_test(finds_it_where_the_system_does),
        cmocka_unit_test(finds_the_one_of_the_workloads_python),
        cmocka_unit_test(pythons_goes_before_the_systems),
        cmocka_unit_test(says_where_it_looked),
        cmocka_unit_test(what_is_no_nccl_is_refused),
        cmocka_unit_test(versions_read_as_people_write_them),
        cmocka_unit_test(uuids_read_as_nvml_writes_them),
    };

    if (argc >= 2 && strcmp(argv[1], "--load") == 0)
        return load(argc > 2 ? argv[2] : NULL);
    return cmocka_run_group_tests(tests, begin, end);
}
