/* rpc_client_internal.h - what rpc_client.c (channel, unary calls) and rpc_stream.c share. */
#pragma once

#include <pthread.h>

#include "base/rpc_internal.h"

struct rpc_channel {
    char *target, *ca_file, *ca_pem, *cert_file, *key_file, *server_name; /* NULL: none */
    char *token_file, *token;
    size_t message_max;
    unsigned backoff_max_ms, keepalive_s;

    pthread_mutex_t lock; /* the rest */
    struct rpc__link *link; /* a new one when certificates change */
    int64_t checked_ns, changed_ns[3];
};

/* A call with its credentials, not yet begun. */
struct rpc__outgoing {
    grpc_call *call;
    grpc_metadata token; /* its value, an empty slice when there is none */
    size_t n_metadata;
};
/* -errno: the token or the certificates cannot be read. */
int rpc__outgoing(struct rpc_channel *channel, const char *method, grpc_completion_queue *queue,
                  uint64_t deadline_ns, struct rpc__outgoing *ret, struct err *err);
void rpc__outgoing_release(struct rpc__outgoing *outgoing);
/* Writes "NOT_FOUND: details" unless RPC_OK. CANCELLED that is not ours is what a stopping gRPC
 * server says * to calls it has not begun: UNAVAILABLE, for all that matters to a caller. */
enum rpc_status rpc__outcome(grpc_status_code code, grpc_slice details, bool cancelled,
                             struct err *err);

/* The thread that reads streams and keeps connections alive: one for all channels of the
 * process. */
int rpc__loop_ref(struct err *err);
void rpc__loop_unref(void);
grpc_completion_queue *rpc__loop_queue(void);

enum rpc__loop_what { RPC__BEGIN, RPC__READ, RPC__STATUS, RPC__LINK, RPC__WHATS };
struct rpc__loop_tag {
    enum rpc__loop_what what;
    void *owner; /* a stream, or a link */
};
void rpc__stream_event(struct rpc__loop_tag *tag);

/* A gRPC channel that the thread looks after. Owns `grpc`. NULL: no memory, and grpc is
 * destroyed. */
struct rpc__link *rpc__link_new(grpc_channel *grpc);
grpc_channel *rpc__link_grpc(const struct rpc__link *link);
void rpc__link_close(struct rpc__link *link); /* takes NULL; calls under way go on */
