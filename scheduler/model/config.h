/*
 * config.h - lockstep.yaml as values: strict, with defaults, read once.
 *
 * Unknown keys, wrong types and values out of range are errors that name file, line, field, what
 * was found and what was expected; configs/lockstep.yaml shows and explains every key. The struct
 * owns its strings; immutable after loading.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "scheduler/model/machine_kinds.h"
#include "scheduler/model/objects.h"

#define CONFIG_LEVELS_MAX 6
#define CONFIG_ACCELERATORS_MAX 8
#define CONFIG_CLIENTS_MAX 16
#define CONFIG_SELECTOR_MAX 16

/* The name in configs/kube-scheduler.yaml. */
#define CONFIG_LEASE "lockstep-system/lockstep-kube-scheduler"

struct config_tls { /* file names; "" for none; cert and key are both there or both not */
    char *ca, *cert, *key; /* ca: whose client certificates are taken, there when cert is */
    char **clients; /* certificate names that may call; NULL-terminated; NULL: any of the CA */
};

struct config_ratio { /* of a level: down : up of the uplinks of its domains */
    char *key;
    double ratio;
};

struct config {
    char *scheduler_name; /* "lockstep" */
    char **levels; /* node-label keys, outermost first; none: the known sets found on the nodes */
    size_t nlevels;
    char **accelerators; /* resource names, "nvidia.com/gpu" by default */
    size_t naccelerators;
    struct labels node_selector; /* the pool; empty: all nodes */
    int64_t hold_deadline_ns, early_plan_deadline_ns, head_of_line_ns;
    int64_t give_up_ns; /* 0: never */
    bool preemption;
    enum probe_policy probe; /* of gangs that do not say; off by default */
    int64_t probe_deadline_ns; /* from the last binding to the verdict */
    struct config_ratio *oversubscription; /* sorted by key; levels that are not named have none */
    size_t noversubscription;
    bool nvlink_between_nodes; /* pods may use NVLink between the machines of an NVLink domain */
    machine_finder *find_machine; /* for nodes without a NodeTopology; not from the file: the program's own, or NULL */
    char *lease; /* "namespace/name" of kube-scheduler's Lease, which we follow; "": always lead */
    char *listen_verbs; /* "ip:port", "[ip6]:port" or ":port" (every address) */
    char *listen_health; /* the same, for health and metrics: key `metrics` in the file */
    struct config_tls verbs;
    char *listen_probes; /* the same, for the pods' probes; "": off */
    struct config_tls probes; /* cert and key only: pods show a token */
    struct config_tls health; /* cert and key only: kubelet and Prometheus have no certificate */
};

int config_init(struct config *config); /* the defaults; -ENOMEM */
void config_release(struct config *config);

/* The defaults and what the file says over them; on failure *ret_config is untouched. */
int config_load(const char *path, struct config *ret_config, struct err *err);
int config_parse(const char *name, const char *text, size_t len, struct config *ret_config,
                 struct err *err);
