/* lockstep probe: ranks on this machine, or on several, reduce together, and it is measured how
 * fast. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/nearest.h"
#include "base/parse.h"
#include "base/strbuf.h"
#include "collective/rank.h"
#include "scheduler/cli/cli.h"
#include "scheduler/cli/probe_lead.h"
#include "scheduler/cli/probe_show.h"

#define EARLIER_MAX (1u << 20)
#define PATH_MAX_BYTES 4096
#define TOLERANCE 0.1
#define TELL_AFTER_NS 1000000000
#define TELL_EVERY_NS 200000000
#define TELL_LINE_EVERY_NS 2000000000

enum {
    OPTION_RANKS = 1000,
    OPTION_BACKEND,
    OPTION_OP,
    OPTION_SIZES,
    OPTION_PAIRS,
    OPTION_STREAMS,
    OPTION_AGAINST,
    OPTION_TOLERANCE,
    OPTION_TIMEOUT,
    OPTION_LIBRARY,
    OPTION_HOSTS,
    OPTION_HOSTFILE,
    OPTION_RANKS_PER_HOST,
    OPTION_LISTEN,
    OPTION_HERE,
    OPTION_CHILD
};

struct arguments {
    struct local_options local;
    const char *against, *sizes;
    const char *host_list, *host_file, *listen, *here; /* NULL: not said */
    unsigned ranks_per_host;                           /* 0: not said */
    struct probe_hosts *hosts;                         /* NULL: this machine */
    double tolerance;
    bool json;
};

static const struct argp_option options[] = {
    {"ranks", OPTION_RANKS, "N", 0, "how many ranks, each a process on this machine", 0},
    {"backend", OPTION_BACKEND, "NAME", 0, "tcp (default): over sockets; nccl: a GPU for each rank",
     0},
    {"op", OPTION_OP, "OP", 0, "all_reduce (default), all_gather, reduce_scatter, all_to_all", 0},
    {"sizes", OPTION_SIZES, "SIZES", 0,
     "a table of 1M:256M (doubled), 1M:1G:4 (times four) or 64K,1M; default: three sizes that fit, "
     "and their slope",
     0},
    {"pairs", OPTION_PAIRS, 0, 0, "afterwards each two ranks by themselves: a map", 0},
    {"streams", OPTION_STREAMS, "N", 0, "tcp: connections per neighbour and direction (default 1)",
     0},
    {"against", OPTION_AGAINST, "FILE", 0, "compare with an earlier result (-o json)", 0},
    {"tolerance", OPTION_TOLERANCE, "PERCENT", 0,
     "with --against: so much slower is let pass (default 10)", 0},
    {"timeout", OPTION_TIMEOUT, "TIME", 0, "all ends by then (default 60s; with hosts 10m)", 0},
    {"library", OPTION_LIBRARY, "FILE", 0, "nccl: which libnccl.so.2", 0},
    {"output", 'o', "FORMAT", 0, "text (default) or json", 0},
    {0, 0, 0, 0, "Several machines, which need no MPI, ssh or Python, only lockstep-probe:", 1},
    {"hosts", OPTION_HOSTS, "LIST", 0,
     "a,b,c: prints the line to run on each of them, and waits; a:4 has 4 ranks", 1},
    {"hostfile", OPTION_HOSTFILE, "FILE", 0,
     "the same from a file: a host a line, slots=N, # comments", 1},
    {"ranks-per-host", OPTION_RANKS_PER_HOST, "N", 0, "where the list says nothing (default 1)", 1},
    {"listen", OPTION_LISTEN, "IP:PORT", 0,
     "where hosts connect to (default: any free port of all addresses)", 1},
    {"here", OPTION_HERE, "NAME", 0, "this machine is that host: its process is started too", 1},
    {"child", OPTION_CHILD, "PARENT", OPTION_HIDDEN, "be a rank", 0},
    {0}};

/* ---- options ----------------------------------------------------------------------- */

static void take_number(const char *name, const char *text, uint64_t max, unsigned *ret,
                        struct argp_state *state)
{
    uint64_t value;

    if (parse_u64(text, strlen(text), max, &value) < 0 || value == 0)
        argp_error(state, "%s '%s': expected a number from 1 to %llu", name, text,
                   (unsigned long long)max);
    *ret = (unsigned)value;
}

static void take_op(const char *text, struct arguments *arguments, struct argp_state *state)
{
    const char *names[OP_COUNT], *near;

    if (op_from_name(text, &arguments->local.plan.op))
        return;
    for (enum collective_op op = 0; op < OP_COUNT; op++)
        names[op] = op_name(op);
    near = nearest_name(text, names, OP_COUNT);
    argp_error(state,
               "--op '%s': expected all_reduce, all_gather, reduce_scatter or all_to_all%s%s%s",
               text, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static void take_tolerance(const char *text, struct arguments *arguments, struct argp_state *state)
{
    char *end;
    double percent = strtod(text, &end);

    if (*text == '\0' || (*end && strcmp(end, "%") != 0) || !(percent >= 0 && percent < 100))
        argp_error(state, "--tolerance '%s': expected a part in percent, from 0 to below 100",
                   text);
    arguments->tolerance = percent / 100;
}

static void take_timeout(const char *text, struct arguments *arguments, struct argp_state *state)
{
    int64_t ns;

    if (parse_duration(text, strlen(text), &ns) < 0 || ns < 1000000000 || ns > 86400000000000)
        argp_error(state, "--timeout '%s': expected a time from 1s to 24h", text);
    arguments->local.timeout_ns = (uint64_t)ns;
}

static void take_sizes(const char *text, struct arguments *arguments, struct argp_state *state)
{
    struct err err = ERR_INIT;

    if (probe_sizes_parse(text, strlen(text), &arguments->local.plan, &err) < 0)
        argp_error(state, "%s", err.text);
    arguments->sizes = text;
}

static void check_whole(const struct arguments *arguments, struct argp_state *state)
{
    bool hosts = arguments->host_list || arguments->host_file;

    if ((arguments->local.ranks != 0) + (arguments->host_list != NULL) +
            (arguments->host_file != NULL) !=
        1)
        argp_error(state, "expected --ranks N, --hosts LIST or --hostfile FILE, one of them");
    if (!hosts && (arguments->ranks_per_host || arguments->listen || arguments->here))
        argp_error(state,
                   "--ranks-per-host, --listen, --here: expected with --hosts or --hostfile");
    if (hosts && arguments->local.library)
        argp_error(state, "--library: say it on the host: lockstep-probe --library FILE");
    if (arguments->local.pairs && arguments->local.ranks > LOCAL_PAIRS_RANKS_MAX)
        argp_error(state, "--pairs: expected at most %d ranks", LOCAL_PAIRS_RANKS_MAX);
    if (arguments->tolerance >= 0 && !arguments->against)
        argp_error(state, "--tolerance: expected with --against");
}

/* Where the text of an option goes that is looked at later; NULL: it is looked at now. */
static const char **text_of(struct arguments *arguments, int key)
{
    switch (key) {
    case OPTION_AGAINST:
        return &arguments->against;
    case OPTION_LIBRARY:
        return &arguments->local.library;
    case OPTION_HOSTS:
        return &arguments->host_list;
    case OPTION_HOSTFILE:
        return &arguments->host_file;
    case OPTION_LISTEN:
        return &arguments->listen;
    case OPTION_HERE:
        return &arguments->here;
    default:
        return NULL;
    }
}

static void take_backend(const char *text, struct arguments *arguments, struct argp_state *state)
{
    if (strcmp(text, "tcp") != 0 && strcmp(text, "nccl") != 0)
        argp_error(state, "--backend '%s': expected tcp or nccl", text);
    arguments->local.backend = text;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    const char **text = text_of(arguments, key);

    if (text)
        *text = argument;
    else if (key == OPTION_RANKS)
        take_number("--ranks", argument, LOCAL_RANKS_MAX, &arguments->local.ranks, state);
    else if (key == OPTION_RANKS_PER_HOST)
        take_number("--ranks-per-host", argument, PROBE_DEVICES_MAX, &arguments->ranks_per_host, state);
    else if (key == OPTION_STREAMS)
        take_number("--streams", argument, BACKEND_STREAMS_MAX, &arguments->local.streams, state);
    else if (key == OPTION_BACKEND)
        take_backend(argument, arguments, state);
    else if (key == OPTION_OP)
        take_op(argument, arguments, state);
    else if (key == OPTION_SIZES)
        take_sizes(argument, arguments, state);
    else if (key == OPTION_PAIRS)
        arguments->local.pairs = true;
    else if (key == OPTION_TOLERANCE)
        take_tolerance(argument, arguments, state);
    else if (key == OPTION_TIMEOUT)
        take_timeout(argument, arguments, state);
    else if (key == OPTION_CHILD)
        exit(rank_main_of(argument));
    else if (key == 'o')
        arguments->json = cli_wants_json(argument, state);
    else if (key == ARGP_KEY_END)
        check_whole(arguments, state);
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static const struct argp parser = {
    options,
    parse_option,
    NULL,
    "Measures how fast ranks move data together, each in a process on this machine or on several, "
    "and checks every word that they get. The table is that of nccl-tests; time is the median over "
    "operations of the slowest rank.\v"
    "Examples:\n"
    "  lockstep probe --ranks 4\n"
    "  lockstep probe --ranks 8 --backend nccl --op all_gather --sizes 1M:1G --pairs\n"
    "  lockstep probe --ranks 4 -o json >before.json\n"
    "  lockstep probe --ranks 4 --against before.json --tolerance 5\n"
    "  lockstep probe --hosts node-1,node-2,node-3 --ranks-per-host 8 --backend nccl --pairs\n\n"
    "Exit: 0 done, 1 a rank failed or a host did not come, 2 bad input, 3 slower than before, "
    "wrong data, or no such "
    "device here.\n",
    NULL,
    NULL,
    NULL};

/* ---- progress ---------------------------------------------------------------------- */

struct progress {
    int64_t start_ns, told_ns;
    bool terminal, shown;
};

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Nothing in the first second; then one line that changes, or, in a log, a line now and then. */
static void tell_progress(void *context, const char *phase, uint64_t bytes, unsigned iterations)
{
    struct progress *progress = context;
    int64_t now = now_ns(), every = progress->terminal ? TELL_EVERY_NS : TELL_LINE_EVERY_NS;

    if (now - progress->start_ns < TELL_AFTER_NS || now - progress->told_ns < every)
        return;
    progress->told_ns = now;
    progress->shown = true;
    fprintf(stderr, "%s%.1f s: %s", progress->terminal ? "\r\033[K" : "",
            (double)(now - progress->start_ns) * 1e-9, phase);
    if (bytes)
        fprintf(stderr, ", %llu bytes, %u done", (unsigned long long)bytes, iterations);
    fprintf(stderr, "%s", progress->terminal ? "" : "\n");
}

/* ---- doing it ---------------------------------------------------------------------- */

static int read_earlier(const struct arguments *arguments, struct probe_earlier *ret,
                        struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(EARLIER_MAX);
    int r;

    if (!arguments->against)
        return 0;
    r = strbuf_read_file(&text, arguments->against);
    if (r < 0)
        return err_set(err, -EINVAL, "cannot read %s: %s", arguments->against,
                       r == -E2BIG ? "it is too large for a result" : strerror(-r));
    return probe_earlier_parse(arguments->against, text.data ? text.data : "", text.len,
                               &arguments->local, ret, err);
}

/* This program for sockets; beside it, the one that may load libraries. */
static int find_program(const char *backend, char path[PATH_MAX_BYTES], const char *argv[4],
                        struct err *err)
{
    static const char other[] = "lockstep-probe-nccl";
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX_BYTES - sizeof(other));
    char *name;

    if (n <= 0)
        return err_set(err, -EIO, "cannot find this program's own file");
    path[n] = '\0';
    argv[0] = path;
    if (strcmp(backend, "tcp") == 0) {
        argv[1] = "probe";
        argv[2] = "--child";
        return 0;
    }
    argv[1] = "--child";
    name = strrchr(path, '/');
    memcpy(name ? name + 1 : path, other, sizeof(other));
    if (access(path, X_OK) < 0)
        return err_set(err, -ENODEV, "%s is not here: %s", path, strerror(errno));
    return 0;
}

static bool is_skip(int r)
{
    return r == -ENODEV || r == -ENOMEM || r == -EBUSY;
}

static int print_skipped(const struct arguments *arguments, const struct err *err)
{
    if (arguments->json)
        print_json(json_pack("{s:s, s:s, s:i, s:[], s:n, s:s, s:{s:s, s:s}}", "op",
                             op_name(arguments->local.plan.op), "backend", arguments->local.backend,
                             "ranks", (int)arguments->local.ranks, "rows", "busbw_gb_s", "verdict",
                             "skipped", "reason", "code", "NotUsable", "message", err->text));
    else
        printf("not measured: %s\n", err->text);
    return EXIT_NO;
}

static int print_answer(const struct arguments *arguments, const struct local_result *result,
                        const struct probe_earlier *earlier)
{
    struct probe_answer answer = {&arguments->local, arguments->hosts, result, earlier,
                                  arguments->tolerance >= 0 ? arguments->tolerance : TOLERANCE};
    const char *verdict = probe_verdict(&answer);

    if (arguments->json)
        print_json(probe_json(&answer));
    else
        probe_text(&answer);
    return strcmp(verdict, "slow") == 0 || strcmp(verdict, "wrong-data") == 0 ? EXIT_NO : EXIT_OK;
}

static int run_here(const struct arguments *arguments, struct local_result *result, struct err *err)
{
    struct progress progress = {.start_ns = now_ns(), .terminal = isatty(STDERR_FILENO)};
    struct local_options local = arguments->local;
    char path[PATH_MAX_BYTES];
    const char *argv[4] = {NULL};
    int r = find_program(arguments->local.backend, path, argv, err);

    local.argv = argv;
    local.progress = tell_progress;
    local.context = &progress;
    if (r == 0)
        r = local_run(&local, result, err);
    if (progress.shown && progress.terminal)
        fprintf(stderr, "\r\033[K");
    return r;
}

static int run_on_hosts(const struct arguments *arguments, struct local_result *result,
                        struct err *err)
{
    const struct lead_options how = {.local = &arguments->local,
                                     .hosts = arguments->hosts,
                                     .listen = arguments->listen,
                                     .here = arguments->here};

    return lead_run(&how, result, err);
}

static int read_hosts(struct arguments *arguments, struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(PROBE_HOSTFILE_MAX);
    unsigned slots = arguments->ranks_per_host ? arguments->ranks_per_host : 1;
    const char *list = arguments->host_list, *file = arguments->host_file;
    int r = 0;

    arguments->hosts = calloc(1, sizeof(*arguments->hosts));
    if (!arguments->hosts)
        return err_set(err, -ENOMEM, "out of memory");
    if (list) {
        r = probe_hosts_parse_list(list, strlen(list), slots, arguments->hosts, err);
        if (r < 0)
            err_prefix(err, r, "--hosts");
    } else {
        r = strbuf_read_file(&text, file);
        if (r < 0)
            err_set(err, r, "cannot read %s: %s", file,
                    r == -E2BIG ? "it is too large for a list of hosts" : strerror(-r));
        else
            r = probe_hosts_parse_file(file, text.data ? text.data : "", text.len, slots,
                                       arguments->hosts, err);
    }
    arguments->local.ranks = arguments->hosts->ranks;
    return r;
}

static int answer(struct arguments *arguments, struct local_result *result, struct err *err)
{
    struct probe_earlier earlier = {0};
    bool hosts = arguments->host_list || arguments->host_file;
    int r = hosts ? read_hosts(arguments, err) : 0;

    if (r == 0)
        r = read_earlier(arguments, &earlier, err);
    if (r < 0)
        return source_failed("probe", err);
    r = hosts ? run_on_hosts(arguments, result, err) : run_here(arguments, result, err);
    if (is_skip(r))
        return print_skipped(arguments, err);
    if (r < 0) {
        fprintf(stderr, "lockstep probe: %s\n", err->text);
        return r == -EINVAL ? EXIT_BAD_INPUT : EXIT_INTERNAL;
    }
    return print_answer(arguments, result, &earlier);
}

int cmd_probe(int argc, char **argv)
{
    CLEANUP_FREE struct local_result *result = cleanup_alloc(sizeof(*result));
    struct arguments arguments = {.local = {.backend = "tcp", .plan = {.check = true}},
                                  .tolerance = -1};
    struct err err = ERR_INIT;
    int r;

    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    if (!result)
        return source_failed("probe", &err);
    r = answer(&arguments, result, &err);
    local_result_release(result);
    free(arguments.hosts);
    return r;
}
