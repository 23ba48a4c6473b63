/*
 * rpc.h - gRPC in C: a server and a client for unary calls and server streams. The only door to
 * gRPC core; bodies are bytes, and callers pack them with protobuf-c.
 *
 * Server. Handlers run on the server's few threads and must not wait: long work goes to the
 * caller's own queue, and the answer comes later from any thread. A handler owns no reference; who
 * keeps the call takes one with rpc_call_ref(). Each call that reached a handler gets its method's
 * `gone` exactly once, after the handler has returned: answered, cancelled, past its deadline, peer
 * gone or server stopping. With a reference, everything is harmless after it, and after the
 * server's end. A server that ran out of descriptors listens again within seconds.
 *
 * TLS (1.2 or newer): with certificate files the listener speaks TLS only and re-reads them when
 * they change. With a CA each client must present a certificate of that CA or the handshake fails,
 * and, with `clients`, one whose common name or DNS name is in that list; others get
 * PERMISSION_DENIED. Without a CA the peers prove themselves by what they send, say
 * rpc_call_metadata(call, "authorization"). Without certificates the listener refuses to start on
 * anything but a loopback address.
 *
 * Client. Targets are "ip:port", or "name:port" with TLS; proxies are never asked, and plaintext goes to loopback only.
 * Certificate files and the token file are read again when they change, for the calls after it.
 *
 * A process that uses this starts children by posix_spawn: fork without exec leaves both sides
 * hanging. What gRPC itself has to say goes to base/log, rate-limited, as component "grpc".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* gRPC's status codes, by number. */
enum rpc_status {
    RPC_OK = 0,
    RPC_CANCELLED,
    RPC_UNKNOWN,
    RPC_INVALID_ARGUMENT,
    RPC_DEADLINE_EXCEEDED,
    RPC_NOT_FOUND,
    RPC_ALREADY_EXISTS,
    RPC_PERMISSION_DENIED,
    RPC_RESOURCE_EXHAUSTED,
    RPC_FAILED_PRECONDITION,
    RPC_ABORTED,
    RPC_OUT_OF_RANGE,
    RPC_UNIMPLEMENTED,
    RPC_INTERNAL,
    RPC_UNAVAILABLE,
    RPC_DATA_LOSS,
    RPC_UNAUTHENTICATED,
};
const char *rpc_status_name(enum rpc_status status); /* "NOT_FOUND"; "UNKNOWN" for no status */

/* A message: its bytes are the holder's, freed by rpc_bytes_release(). */
struct rpc_bytes {
    uint8_t *data; /* NULL when empty */
    size_t len;
};
void rpc_bytes_release(struct rpc_bytes *bytes);

/* --- Server --- */
struct rpc_server;
struct rpc_call;

typedef void rpc_handler_fn(void *context, struct rpc_call *call, const uint8_t *bytes, size_t len);
typedef void rpc_gone_fn(void *context, struct rpc_call *call);

struct rpc_method {
    const char *path; /* "/package.Service/Method" */
    rpc_handler_fn *handler;
    rpc_gone_fn *gone; /* NULL: of no interest */
    bool streaming; /* many answers, by rpc_call_send() */
};

struct rpc_server_options {
    const char *listen; /* "ip:port"; ":port" is all addresses; port 0: any free one */
    const char *cert_file, *key_file; /* NULL or "": plaintext, loopback only */
    const char *cert_pem, *key_pem; /* instead of the files: what would stand in them; copied */
    const char *ca_file; /* NULL or "": no client certificates */
    const char *const *clients; /* NULL-terminated names; NULL: any of the CA */
    const struct rpc_method *methods; /* ends with an all-zero entry; must outlive the server */
    void *context;
    unsigned threads; /* 0: 2 */
    unsigned calls_max; /* at once, beyond it RESOURCE_EXHAUSTED; 0: 4096 */
    size_t message_max; /* bytes of a request, beyond it RESOURCE_EXHAUSTED; 0: 4 MiB */
    size_t memory_max; /* bytes of what is on its way, beyond it calls are reset; 0: 256 MiB */
    unsigned queue_max; /* messages a stream's peer may be behind; 0: 64 */
    size_t queue_bytes_max; /* and their bytes; 0: 4 MiB */
    unsigned keepalive_s; /* a peer silent for so long is asked whether it lives; 0: 30 */
    unsigned patience_s; /* for a handshake, a request to come, an answer to be taken; 0: 30 */
};

/* -EADDRINUSE: the address is taken; -EINVAL: a certificate without its key, or the other way round, say. */
int rpc_server_start(const struct rpc_server_options *options, struct rpc_server **ret_server,
                     struct err *err);
/* Cancels what is in flight, waits for handlers and `gone`s, then frees. Never from a handler.
 * Takes NULL. */
void rpc_server_stop(struct rpc_server *server);
unsigned rpc_server_port(const struct rpc_server *server);
unsigned rpc_server_calls(struct rpc_server *server); /* in flight */
/* What grpc.health.v1.Health/Check says; serving at first. */
void rpc_server_set_health(struct rpc_server *server, bool serving);

/* A call; any thread. */
struct rpc_call *rpc_call_ref(struct rpc_call *call);
void rpc_call_unref(struct rpc_call *call); /* takes NULL */
/* One more answer of a stream. The bytes are copied. -EPIPE: the call is over; -EINVAL: not a
 * stream; -ENOBUFS: the * peer is too far behind and the call ends with RESOURCE_EXHAUSTED;
 * -ENOMEM. */
int rpc_call_send(struct rpc_call *call, const void *bytes, size_t len);
/* Ends the call, behind what was sent. `bytes` are a unary call's answer, NULL for a stream and
 * when status is not RPC_OK. * The message is for RPC_OK ignored; NULL: none. -EPIPE: the call
 * is over already; -ENOMEM. */
int rpc_call_finish(struct rpc_call *call, enum rpc_status status, const char *message,
                    const void *bytes, size_t len);
/* NULL: absent. Lives as long as the call. Keys are lower case; of several values the first. */
const char *rpc_call_metadata(const struct rpc_call *call, const char *key);
const char *rpc_call_peer(const struct rpc_call *call); /* "ip:port" */
/* The common name of the peer's certificate, "" without one. */
const char *rpc_call_client(const struct rpc_call *call);
/* The handler's own data, for `gone`. Set by the handler only. */
void rpc_call_set_data(struct rpc_call *call, void *data);
void *rpc_call_data(const struct rpc_call *call);

/* --- Client --- */
struct rpc_channel;
struct rpc_stream;

struct rpc_channel_options {
    const char *target; /* "ip:port", "name:port" */
    const char *ca_file; /* NULL or "": plaintext, loopback only */
    const char *ca_pem; /* instead of the file: what would stand in it */
    const char *cert_file, *key_file; /* NULL or "": no client certificate */
    const char *server_name; /* whose certificate it must be; NULL or "": the address's */
    const char *token_file; /* sent as "authorization: Bearer TOKEN"; NULL or "": none */
    const char *token; /* instead of the file; printable ASCII */
    size_t message_max; /* bytes of an answer, beyond it RESOURCE_EXHAUSTED; 0: 4 MiB */
    unsigned backoff_max_ms; /* between attempts to connect; 0: 2000 */
    unsigned keepalive_s; /* 0: 30 */
};

/* Connects with the first call. The options are copied. */
int rpc_channel_new(const struct rpc_channel_options *options, struct rpc_channel **ret_channel,
                    struct err *err);
void rpc_channel_free(struct rpc_channel *channel); /* its streams first; takes NULL */

/*
 * One call, blocking; any number of threads. deadline_ns: CLOCK_MONOTONIC. Not RPC_OK: err says
 * why, the answer is not written. A server that is not there yet or is stopping is UNAVAILABLE at
 * once: callers try again.
 */
enum rpc_status rpc_unary(struct rpc_channel *channel, const char *method, const void *bytes,
                          size_t len, uint64_t deadline_ns, struct rpc_bytes *ret_answer,
                          struct err *err);

enum rpc_next {
    RPC_NEXT_NOTHING, /* poll the descriptor */
    RPC_NEXT_MESSAGE,
    RPC_NEXT_ENDED,
};

/* One caller thread a stream, but rpc_stream_cancel() from any. deadline_ns 0: none. */
int rpc_stream_open(struct rpc_channel *channel, const char *method, const void *bytes, size_t len,
                    uint64_t deadline_ns, struct rpc_stream **ret_stream, struct err *err);
/* Readable while rpc_stream_next() would not say RPC_NEXT_NOTHING, and until it does. */
int rpc_stream_fd(const struct rpc_stream *stream);
/* Never blocks. RPC_NEXT_MESSAGE: ret_message is the caller's. RPC_NEXT_ENDED, again and again:
 * ret_status, and err unless * RPC_OK. */
enum rpc_next rpc_stream_next(struct rpc_stream *stream, struct rpc_bytes *ret_message,
                              enum rpc_status *ret_status, struct err *err);
void rpc_stream_cancel(struct rpc_stream *stream); /* it ends with RPC_CANCELLED */
void rpc_stream_free(struct rpc_stream *stream); /* cancels first; takes NULL */
