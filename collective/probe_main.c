/*
 * lockstep-probe: one pod's part in the measurement of its gang (pod_probe.h), a host's in one by hand (pod_join.h), and, as
 * its own child, one rank of either.
 */
#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/parse.h"
#include "base/strbuf.h"
#include "collective/pod_join.h"
#include "collective/pod_probe.h"
#include "collective/probe_invite.h"
#include "collective/rank.h"

#define SECRETS "/var/run/secrets/lockstep/"
#define NCCL_PROGRAM "lockstep-probe-nccl"
#define LIMIT_NS UINT64_C(1200000000000)

const char *argp_program_version = "lockstep-probe 0.1.0";

struct arguments {
    struct pod_options pod;
    const char *install;
    const char *join; /* a file with the invitation; NULL: in the environment, if anywhere */
    const char *name, *address;
    char self[PATH_MAX], nccl[PATH_MAX];
    const char *child[3]; /* the program of a rank */
};

enum { OPTION_CA = 1000, OPTION_TOKEN, OPTION_NAME, OPTION_DEVICES, OPTION_BACKEND, OPTION_LIBRARY, OPTION_LIMIT,
       OPTION_INSTALL, OPTION_JOIN, OPTION_HOST, OPTION_ADDRESS };

static const struct argp_option options[] = {
    {"coordinator", 'c', "HOST:PORT", 0, "who brings the ranks together (default $LOCKSTEP_COORDINATOR)", 0},
    {"ca", OPTION_CA, "FILE", 0, "by whom its certificate is signed (default " SECRETS "ca.crt)", 0},
    {"token", OPTION_TOKEN, "FILE", 0, "this pod's token (default " SECRETS "token)", 0},
    {"server-name", OPTION_NAME, "NAME", 0, "the name in its certificate (default: HOST)", 0},
    {"devices", OPTION_DEVICES, "N", 0, "ranks of this pod (default: its /dev/nvidia*, else 1)", 0},
    {"backend", OPTION_BACKEND, "NAME", 0, "tcp or nccl (default: nccl where there are devices)", 0},
    {"library", OPTION_LIBRARY, "FILE", 0, "which libnccl.so.2 (default: the one that is found)", 0},
    {"limit", OPTION_LIMIT, "TIME", 0, "end by then, whatever happens (default 20m)", 0},
    {0, 0, 0, 0, "By hand, as `lockstep probe --hosts` prints it:", 1},
    {"join", OPTION_JOIN, "FILE", 0, "where the invitation stands; -: standard input (default $" PROBE_INVITE_VARIABLE ")",
     1},
    {"name", OPTION_HOST, "NAME", 0, "which of the hosts this is (default: what it calls itself, or its address)", 1},
    {"address", OPTION_ADDRESS, "IP", 0, "at which the others reach it (default: the one that reaches the coordinator)", 1},
    {0, 0, 0, 0, "Of the programs:", 2},
    {"install", OPTION_INSTALL, "FOLDER", 0, "copy these programs to FOLDER, and end", 2},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct pod_options *pod = &arguments->pod;
    uint64_t number;
    int64_t time;

    switch (key) {
    case 'c':
        pod->coordinator.target = argument;
        return 0;
    case OPTION_CA:
        pod->coordinator.ca_file = argument;
        return 0;
    case OPTION_TOKEN:
        pod->coordinator.token_file = argument;
        return 0;
    case OPTION_NAME:
        pod->coordinator.server_name = argument;
        return 0;
    case OPTION_DEVICES:
        if (parse_u64(argument, strlen(argument), PROBE_DEVICES_MAX, &number) < 0 || number == 0)
            argp_error(state, "--devices '%s': expected 1 to %d", argument, PROBE_DEVICES_MAX);
        pod->devices = (unsigned)number;
        return 0;
    case OPTION_BACKEND:
        if (strcmp(argument, "tcp") != 0 && strcmp(argument, "nccl") != 0)
            argp_error(state, "--backend '%s': expected tcp or nccl", argument);
        pod->backend = argument;
        return 0;
    case OPTION_LIBRARY:
        pod->library = argument;
        return 0;
    case OPTION_LIMIT:
        if (parse_duration(argument, strlen(argument), &time) < 0 || time < 1000000000)
            argp_error(state, "--limit '%s': expected a time such as 20m, from 1s on", argument);
        pod->limit_ns = (uint64_t)time;
        return 0;
    case OPTION_JOIN:
        arguments->join = argument;
        return 0;
    case OPTION_HOST:
        arguments->name = argument;
        return 0;
    case OPTION_ADDRESS:
        arguments->address = argument;
        return 0;
    case OPTION_INSTALL:
        arguments->install = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    options, parse_option, NULL,
    "Measures this pod's gang together with the probes of its other pods, before training starts; or this host with "
    "others, by hand.\v"
    "It runs as an init container; configs/examples/job-probe.yaml shows the lines to paste. Who it is stands in "
    "POD_NAMESPACE, POD_NAME, POD_UID, POD_IP and NODE_NAME.\n\n"
    "By hand it needs no more than the line that `lockstep probe --hosts a,b,c` prints:\n"
    "  " PROBE_INVITE_VARIABLE "=lockstep1-... lockstep-probe\n"
    "  ssh b lockstep-probe --join - <invitation\n\n"
    "Exit: 0 whatever was found, as the pod is to start all the same; 2 wrong use. By hand: 0 measured, 1 not measured, "
    "2 wrong use, 3 wrong data, or it cannot be measured here.\n",
    NULL, NULL, NULL};

/* ---- who and what ---------------------------------------------------------------------------------------- */

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value && *value ? value : otherwise;
}

/* The container's own GPUs: the others' device files are not there. */
static unsigned count_gpus(void)
{
    DIR *folder = opendir("/dev");
    unsigned n = 0;

    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
        const char *number = entry->d_name + strlen("nvidia");
        uint64_t value;

        n += strncmp(entry->d_name, "nvidia", strlen("nvidia")) == 0 &&
             parse_u64(number, strlen(number), 1024, &value) == 0;
    }
    if (folder)
        closedir(folder);
    return n;
}

static void find_programs(struct arguments *arguments)
{
    char folder[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", arguments->self, sizeof(arguments->self) - 1);

    arguments->self[len > 0 ? len : 0] = '\0';
    snprintf(folder, sizeof(folder), "%s", arguments->self);
    snprintf(arguments->nccl, sizeof(arguments->nccl), "%.*s/" NCCL_PROGRAM,
             (int)(sizeof(arguments->nccl) - sizeof(NCCL_PROGRAM) - 2), dirname(folder));
}

static int check_pod(const struct pod_options *pod)
{
    const struct {
        const char *name, *value;
    } needed[] = {{"$POD_NAMESPACE", pod->ns}, {"$POD_NAME", pod->pod}, {"$POD_UID", pod->uid},
                  {"$POD_IP", pod->host}, {"--coordinator or $LOCKSTEP_COORDINATOR", pod->coordinator.target}};

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (!needed[i].value) {
            fprintf(stderr, "lockstep-probe: %s is not set; see configs/examples/job-probe.yaml\n", needed[i].name);
            return 2;
        }
    return 0;
}

/* ---- copying itself -------------------------------------------------------------------------------------- */

static int copy_program(const char *from, const char *folder, const char *name)
{
    char to[PATH_MAX];
    struct stat size;
    int in = open(from, O_RDONLY | O_CLOEXEC), out = -1, r = -1;

    snprintf(to, sizeof(to), "%s/%s", folder, name);
    if (in >= 0 && fstat(in, &size) == 0)
        out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    for (off_t done = 0; out >= 0 && r != 0;) {
        ssize_t n = sendfile(out, in, NULL, (size_t)(size.st_size - done));

        if (n <= 0)
            break;
        done += n;
        r = done == size.st_size ? 0 : -1;
    }
    if (out >= 0 && close(out) < 0)
        r = -1;
    if (in >= 0)
        close(in);
    if (r < 0)
        fprintf(stderr, "lockstep-probe: cannot copy %s to %s: %s\n", from, to, strerror(errno));
    return r;
}

static int install(const struct arguments *arguments)
{
    int r = copy_program(arguments->self, arguments->install, "lockstep-probe");

    if (r == 0 && access(arguments->nccl, X_OK) == 0)
        r = copy_program(arguments->nccl, arguments->install, NCCL_PROGRAM);
    return r < 0 ? 1 : 0;
}

/* ---- by hand --------------------------------------------------------------------------------------------- */

/* It stays neither in the environment, which ranks inherit, nor where /proc shows it. */
static int take_from_environment(struct strbuf *ret)
{
    char *value = getenv(PROBE_INVITE_VARIABLE);
    int r = value ? strbuf_adds(ret, value) : -ENOENT;

    if (value)
        explicit_bzero(value, strlen(value));
    unsetenv(PROBE_INVITE_VARIABLE);
    return r;
}

static int exit_code_of(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_WRONG_DATA:
    case VERDICT_SKIPPED:
        return 3;
    case VERDICT_ERROR:
    case VERDICT_INFRASTRUCTURE:
        return 1;
    default:
        return 0;
    }
}

static int join(const struct arguments *arguments, const struct strbuf *invitation)
{
    const struct pod_join_options how = {.word = invitation->data ? invitation->data : "",
                                         .len = invitation->len,
                                         .name = arguments->name,
                                         .address = arguments->address,
                                         .library = arguments->pod.library,
                                         .program = arguments->self,
                                         .nccl_program = arguments->nccl};
    enum verdict verdict = VERDICT_UNKNOWN;
    struct err err = ERR_INIT;
    int r = pod_join_run(&how, &verdict, &err); /* it tells all of it */

    if (r == 0)
        return exit_code_of(verdict);
    return r == -EINVAL ? 2 : 1;
}

/* NULL: nothing of what is given. */
static const char *said_by_the_invitation(const struct pod_options *pod)
{
    const struct rpc_channel_options *coordinator = &pod->coordinator;
    const struct {
        const char *name;
        bool said;
    } options_of_pods[] = {{"--devices", pod->devices},
                           {"--backend", pod->backend},
                           {"--limit", pod->limit_ns},
                           {"--coordinator", coordinator->target},
                           {"--ca", coordinator->ca_file},
                           {"--token", coordinator->token_file},
                           {"--server-name", coordinator->server_name}};

    for (size_t i = 0; i < sizeof(options_of_pods) / sizeof(options_of_pods[0]); i++)
        if (options_of_pods[i].said)
            return options_of_pods[i].name;
    return NULL;
}

/* False: nobody asked for it. */
static bool join_by_hand(const struct arguments *arguments, int *ret_code)
{
    struct strbuf invitation = STRBUF_INIT(PROBE_INVITE_MAX);
    int r = take_from_environment(&invitation);
    bool asked = arguments->join || r != -ENOENT;
    const char *refused = said_by_the_invitation(&arguments->pod);

    if (arguments->join) {
        strbuf_wipe(&invitation); /* the file counts */
        r = strbuf_read_file(&invitation, arguments->join);
    }
    if (asked && refused) {
        fprintf(stderr, "lockstep-probe: %s: by hand the invitation says it; leave it out, and give it to `lockstep probe`\n",
                refused);
        *ret_code = 2;
    } else if (asked && r < 0) {
        fprintf(stderr, "lockstep-probe: the invitation cannot be read: %s\n",
                r == -E2BIG ? "it is too long for one" : strerror(-r));
        *ret_code = 2;
    } else if (asked) {
        *ret_code = join(arguments, &invitation);
    }
    strbuf_wipe(&invitation);
    return asked;
}

/* ---- measuring ------------------------------------------------------------------------------------------- */

static int measure(struct arguments *arguments)
{
    struct pod_options *pod = &arguments->pod;
    struct rpc_channel_options *coordinator = &pod->coordinator;
    unsigned gpus = count_gpus();
    enum verdict verdict;
    struct err err = ERR_INIT;
    int r;

    if (!coordinator->target)
        coordinator->target = from_environment("LOCKSTEP_COORDINATOR", NULL);
    if (!coordinator->ca_file)
        coordinator->ca_file = SECRETS "ca.crt";
    if (!coordinator->token_file)
        coordinator->token_file = SECRETS "token";
    r = check_pod(pod);
    if (r != 0)
        return r;
    if (pod->devices == 0)
        pod->devices = gpus > 0 ? gpus : 1;
    if (pod->limit_ns == 0)
        pod->limit_ns = LIMIT_NS;
    if (!pod->backend)
        pod->backend = gpus > 0 ? "nccl" : "tcp";
    arguments->child[0] = strcmp(pod->backend, "nccl") == 0 ? arguments->nccl : arguments->self;
    arguments->child[1] = "--child";
    pod->argv = arguments->child;
    (void)pod_probe_run(pod, &verdict, &err); /* it tells all of it */
    return 0; /* the pod starts: a probe that fails would be started again, here, for nothing */
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    int code = 0;

    if (argc == 3 && strcmp(argv[1], "--child") == 0)
        return rank_main_of(argv[2]);
    arguments.pod = (struct pod_options){
        .ns = from_environment("POD_NAMESPACE", NULL),
        .pod = from_environment("POD_NAME", NULL),
        .uid = from_environment("POD_UID", NULL),
        .node = from_environment("NODE_NAME", ""),
        .host = from_environment("POD_IP", NULL),
    };
    argp_err_exit_status = 2;
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    find_programs(&arguments);
    if (arguments.install)
        return install(&arguments);
    return join_by_hand(&arguments, &code) ? code : measure(&arguments);
}
