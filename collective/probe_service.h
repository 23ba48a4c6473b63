/*
 * probe_service.h - the coordinator as a gRPC service: probe.proto's Join and Report for the processes that measure a
 * gang, over rpc.h. In the extender while it leads.
 *
 * Who speaks is asked of the owner (identify), by the token that came with the call; what the message says of itself
 * must agree with that.
 *
 * All functions may be called from any thread; verdicts are told from the service's own threads, one at a time. The
 * functions given must not call back into the service.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "collective/coordinator.h"

struct probe_service;

struct probe_identity {
    char ns[PROBE_NAMESPACE_MAX + 1], pod[PROBE_NAME_MAX + 1], uid[PROBE_UID_MAX + 1];
};

/* Call it once, from any thread, also before identify returns. who NULL: nobody that is known; `again`: ask later. */
typedef void probe_identified_fn(void *question, const struct probe_identity *who, bool again, const char *why);

struct probe_service_options {
    const char *listen; /* as of rpc_server_options; so are the files */
    const char *cert_file, *key_file, *cert_pem, *key_pem;
    const char *secret; /* that tokens must be, when there is no identify: who speaks is then who it says it is */
    void (*identify)(void *context, const char *token, size_t len, probe_identified_fn *done, void *question);
    void (*verdict)(void *context, const struct coordinator_result *result);
    void *context;
    struct coordinator_limits limits;
};

int probe_service_start(const struct probe_service_options *options, struct probe_service **ret,
                        struct err *err);
/* Streams end with UNAVAILABLE, gangs are forgotten; waits for questions that are being asked. Takes NULL. */
void probe_service_stop(struct probe_service *service);
unsigned probe_service_port(const struct probe_service *service);

/* As COORD_EXPECT and COORD_GONE; deadline_ns: CLOCK_MONOTONIC. */
int probe_service_expect(struct probe_service *service, const struct coordinator_gang *gang, struct err *err);
void probe_service_forget(struct probe_service *service, const char *ns, const char *name);
/* As COORD_STOP: the verdict is told before this returns, but to the streams, which still have to send it. */
void probe_service_end(struct probe_service *service, const char *ns, const char *name, const char *why);
/* coordinator_tell() of it. */
bool probe_service_tell(struct probe_service *service, const char *ns, const char *name, char *ret, size_t size);
unsigned probe_service_calls(struct probe_service *service); /* joins and reports in flight */
/* As COORD_POD_STATE: why that pod's probe is not there yet; "": not known. Its peers are told. */
void probe_service_pod_state(struct probe_service *service, const char *uid, const char *text);

/* Prometheus text: lockstep_probe_*. service NULL: all zero. */
void probe_service_metrics(struct probe_service *service, struct strbuf *out);
