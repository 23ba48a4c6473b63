/* probe_service_internal.h - what the service's files share: calls (probe_service.c), the coordinator (probe_service_step.c). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/hashmap.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rpc.h"
#include "collective/probe_service.h"

/* A Join's stream, or a Report. All but refs is under the service's lock once it is entered. */
struct visit {
    atomic_uint refs;
    struct probe_service *service;
    struct rpc_call *call;
    struct probe_join *join; /* one of the two */
    struct probe_report *report;
    uint64_t stream; /* 0: the coordinator has not heard of it */
    bool gone;
};

struct probe_service {
    struct rpc_server *server;
    pthread_t ticker;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed; /* a deadline, `asking`, `stopping` */
    bool stopping;
    unsigned asking; /* questions who somebody is */
    uint64_t last_stream;
    struct coordinator *coordinator;
    struct coordinator_actions actions; /* of the step under way */
    struct hashmap visits; /* stream as text -> struct visit */
    struct strbuf bytes;
    char *secret;
    void (*identify)(void *context, const char *token, size_t len, probe_identified_fn *done, void *question);
    void (*verdict)(void *context, const struct coordinator_result *result);
    void *context;
};

extern struct metric service__malformed, service__unauthenticated, service__impostors, service__mismatched;

int64_t service__now_ns(void);
void *service__tick(void *service); /* the thread that knows when something is due */
/* The lock is held. What the coordinator wants is done when it returns. */
int service__step(struct probe_service *service, const struct coordinator_event *event, struct err *err);
int service__remember(struct probe_service *service, struct visit *visit);
bool service__forget_visit(struct probe_service *service, const struct visit *visit); /* was it remembered? */
