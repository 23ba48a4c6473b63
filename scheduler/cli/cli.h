/*
 * cli.h - the parts of the lockstep command. Exit codes: 0 done, 1 internal error, 2 bad usage or bad
 * input, 3 the answer is "no".
 */
#pragma once

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "scheduler/model/config.h"
#include "scheduler/model/core.h"

enum exit_code { EXIT_OK, EXIT_INTERNAL, EXIT_BAD_INPUT, EXIT_NO };

int cmd_plan(int argc, char **argv);
int cmd_simulate(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_fit(int argc, char **argv);
int cmd_machine(int argc, char **argv);
int cmd_predict(int argc, char **argv);
int cmd_subset(int argc, char **argv);
int cmd_probe(int argc, char **argv);

/* ---- source.c: which cluster is asked, and how the answer is printed ------------------------------- */

#define SOURCE_FILES_MAX 64
#define SOURCE_LEVELS_MAX 512

struct source {
    const char *files[SOURCE_FILES_MAX]; /* none: the cluster of the kubeconfig, as it is now */
    size_t nfiles;
    const char *kubeconfig, *config, *levels;
    bool json;
};
extern const struct argp source_argp; /* a child parser: its input is a struct source */

/* Exit code of a command that failed: says why on stderr. */
int source_failed(const char *command, const struct err *err);

/* ---- options.c ---------------------------------------------------------------------------------------- */

/* -o FORMAT of commands that know text and json; others are refused. */
bool cli_wants_json(const char *text, struct argp_state *state);

/* --levels in the place of what lockstep.yaml says. */
int cli_set_levels(struct config *config, const char *text, struct err *err);

/*
 * A what-if needs no leader, evicts nobody, and gives no room to a gang of which pods are missing: in the cluster
 * the time for which early plans wait for them is over, or soon will be.
 */
void config_what_if(struct config *config);

/* ---- load.c, load_gang.c: objects from files into a core ------------------------------------------- */

struct loader {
    struct core *core;
    struct actions actions;
    int64_t now_ns;
    size_t nodes, pods, other; /* objects read; other kinds are counted and left out */
    size_t gang_pods_max; /* pods that a gang's manifest may come to; 0: OBJ_GANG_PODS_MAX */
};

/* YAML or JSON, one or many documents, Lists flattened; "-" is standard input. -EINVAL with err. */
int load_cluster(struct loader *loader, const char *path, struct err *err);
int load_cluster_text(struct loader *loader, const char *name, const char *text, size_t len,
                      struct err *err); /* the same of bytes; name: what messages call them */

/*
 * The gang of the manifest: its pods are made as the controllers would make them, newest of all. Pods that
 * the cluster has already count once, so it is loaded before.
 */
#define UID_TEXT 400 /* of a pod without a UID: made of its namespace and name */
struct wanted_gang {
    char uid[UID_TEXT]; /* of one of its pods */
    char unsupported[NAME_TEXT]; /* a kind that is not supported yet, "" */
};
int load_gang(struct loader *loader, const char *path, const char *scheduler_name,
              struct wanted_gang *ret, struct err *err);
int load_gang_text(struct loader *loader, const char *name, const char *text, size_t len,
                   const char *scheduler_name, struct wanted_gang *ret, struct err *err);

/* ---- live.c, source.c: a core that knows the cluster ------------------------------------------------ */

/* Reads all that the scheduler reads, once, through the kubeconfig (NULL: $KUBECONFIG, ~/.kube/config). */
int load_live(struct loader *loader, const char *kubeconfig, struct err *err);
/* All that is known is settled: what waits is planned, what is being bound is taken as bound. */
void loader_settle(struct loader *loader);
void loader_release(struct loader *loader);

/*
 * A whole command: the cluster that the source names, what `load` adds (NULL: nothing), settled, then the answer: an exit
 * code, or a negative errno with err, which is said on stderr in the name of the command.
 */
struct source_question {
    const char *command;
    const struct source *source;
    void *context;
    int (*load)(void *context, struct loader *loader, const struct config *config, struct err *err);
    int (*answer)(void *context, struct core *core, struct err *err);
};
int source_ask(const struct source_question *question);

/* ---- show.c: the answer ------------------------------------------------------------------------------ */

json_t *show_json(struct core *core, const struct gang *gang);
json_t *show_unsupported(const char *what);
void show_text(struct core *core, const struct gang *gang);
void show_placed(const struct core *core, const struct gang *gang,
                 const struct plan_level_use *certificate, const char *how);
void show_would_fit(const struct why *why);
json_t *would_fit_json(const struct core *core, const struct why *why);
json_t *placed_json(const struct core *core, const struct gang *gang,
                    const struct plan_level_use *certificate);
json_t *reason_json(const struct gang *gang);
void print_json(json_t *root); /* takes it */
const char *paint(const char *code); /* for a terminal; else "" */

/* show_devices.c: accelerators by number, and how fast they are together. */
struct slot;
void set_devices(json_t *entry, const struct slot *slot); /* "gpus", "numa", "nics" */
json_t *predicted_json(const struct core *core, const struct gang *gang);
void show_predicted(const struct core *core, const struct gang *gang);
bool knows_gpus(const struct gang *gang); /* of any pod */
void show_gpus(const struct gang *gang, uint32_t first, uint32_t end, int width); /* of these ranks */
void show_map(const struct core *core, const struct gang *gang); /* show_map.c */
bool gang_is_placed(const struct gang *gang);

/* ---- simulate_show.c: how policies fared ---------------------------------------------------------------- */

struct simulation;
struct sim_result;
struct sim_stats;
struct policy_run {
    const char *policy;
    const struct sim_result *result;
    const struct sim_stats *stats;
};
json_t *show_simulation_json(const struct simulation *simulation, const struct policy_run *runs,
                             size_t n);
void show_simulation_text(const struct simulation *simulation, const struct policy_run *runs, size_t n);
