/* rpc_server_internal.h - shared by rpc_server.c (listener, stop) and rpc_server_calls.c. */
#pragma once

#include <pthread.h>

#include "base/rpc_internal.h"

/* What an event of the queue is about. */
enum rpc__what {
    RPC__ACCEPT, /* a call came */
    RPC__CLOSE, /* it is over, for good or not */
    RPC__RECEIVE, /* its request is here */
    RPC__SEND, /* a message was taken by the peer */
    RPC__FINISH, /* the status was */
    RPC__SHUT, /* a listener is, and its last connection */
    RPC__WHATS = RPC__SHUT, /* of a call */
};

struct rpc__tag {
    enum rpc__what what;
    struct rpc_call *call;
    struct rpc__listener *listener; /* RPC__SHUT */
};

struct rpc__listener {
    struct rpc__tag tag;
    struct rpc__listener *next;
    grpc_server *grpc;
};

struct rpc__queued {
    struct rpc__queued *next;
    grpc_byte_buffer *buffer;
    size_t len;
};

struct rpc__text {
    char *key, *value;
};

struct rpc_call {
    atomic_uint refs;
    struct rpc_server *server; /* not to be touched once gone */
    struct rpc_call *next, **link; /* in server->calls, under its lock */
    struct rpc__tag tags[RPC__WHATS];
    _Atomic int64_t due_ns; /* patience ends then; 0: nothing is waited for */

    /* Written before any other thread knows the call. */
    const struct rpc_method *method; /* NULL: refused, or the health check */
    bool health, streaming;
    char *peer, *client;
    struct rpc__text *metadata;
    size_t n_metadata;
    void *data;

    /* Filled by gRPC. */
    grpc_call *grpc; /* NULL once gone; under the lock */
    grpc_call_details details;
    grpc_metadata_array headers;
    grpc_byte_buffer *request;
    int cancelled;

    pthread_mutex_t lock; /* the rest */
    unsigned pending; /* operations gRPC has not answered yet */
    bool handling, handled; /* the handler runs; was called */
    bool closed, gone;
    bool greeted; /* initial metadata went out */
    bool sending, finishing; /* an operation is under way; the end was asked for */
    struct rpc__queued *queue, **queue_end;
    unsigned n_queued;
    size_t queued_bytes;
    grpc_status_code status;
    grpc_slice status_text;
    grpc_byte_buffer *answer;
};

struct rpc_server {
    struct rpc_server_options options; /* defaults filled in */
    char **clients;
    char *cert_file, *key_file, *cert_pem, *key_pem, *ca_file;
    grpc_completion_queue *queue;
    struct sockaddr_in address;
    pthread_t *threads;
    unsigned n_threads;
    atomic_bool serving, stopping;
    _Atomic int64_t looked_ns;
    unsigned failures_seen; /* rpc__accept_failures(), of who is `looking` */

    pthread_mutex_t tls_lock; /* these */
    int64_t tls_checked_ns, cert_changed_ns, key_changed_ns, ca_changed_ns;

    pthread_mutex_t lock; /* the rest */
    pthread_cond_t idle;
    struct rpc_call *calls;
    unsigned n_calls; /* accepted and not yet gone */
    unsigned n_accepts; /* posted and not yet answered */
    struct rpc__listener *listener; /* that takes connections; NULL: none can for now */
    struct rpc__listener *listeners; /* with those that see their calls to an end */
    bool looking; /* a thread does what is done once a second */
};

bool rpc__has_tls(const struct rpc_server *server);
int rpc__listener_open(struct rpc_server *server, struct err *err);
void rpc__listener_retire(struct rpc_server *server); /* no new connections, no new calls */
void rpc__listener_shut(struct rpc_server *server, struct rpc__listener *listener);
void rpc__listener_check(struct rpc_server *server); /* is it alive? */

/* Posts what receives the next calls. */
void rpc__accept(struct rpc_server *server);
void rpc__event(struct rpc_server *server, struct rpc__tag *tag, bool ok);
/* Cancels calls whose peers have kept us waiting for too long. */
void rpc__sweep(struct rpc_server *server, int64_t now_ns);
