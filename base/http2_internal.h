/* http2_internal.h - what http2.c (connections) and http2_calls.c (calls, workers) share. */
#pragma once

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>

#include <gnutls/gnutls.h>
#include <nghttp2/nghttp2.h>

#include "base/http2.h"

#define HTTP2_CONNECTIONS_MAX 256
#define HTTP2_BUCKETS 1024
#define HTTP2_THREADS_MAX 16

enum call_state {
    CALL_READING, /* its request is coming in: the loop's alone */
    CALL_QUEUED, /* waits for a worker */
    CALL_RUNNING, /* a worker's */
    CALL_HELD, /* waits for http2_reply() */
    CALL_DONE, /* its answer waits for the loop */
    CALL_SENDING, /* the loop's alone */
};

/* One request and its answer. While READING and SENDING the loop owns it, else http2.lock guards it. */
struct http2_call {
    struct http2_connection *connection; /* the loop's; NULL once the stream is gone */
    const struct http_route *route;
    uint64_t token;
    int32_t stream;
    enum call_state state;
    int refused; /* the status with which it was refused, or is to be; 0: none */
    bool whole; /* its request came to the end */
    bool gone, answered;
    int64_t since_ns; /* reading or sending; 0: neither */
    char method[16], path[64]; /* too long a one matches no route */
    struct strbuf body;
    struct http_reply reply;
    size_t sent;
    struct http2_call *next; /* in jobs or done */
    struct http2_call *bucket_next;
    struct http2_call *sibling, **sibling_at; /* of the same connection; the loop's */
};

struct call_list {
    struct http2_call *first, **end;
};

struct http2_connection {
    struct http2 *http2;
    int fd;
    gnutls_session_t tls;
    nghttp2_session *session; /* NULL until the handshake is finished */
    bool allowed; /* its certificate may call */
    bool dead; /* closed at the next round */
    bool stalled; /* bytes wait for the socket */
    struct strbuf out; /* what GnuTLS has not taken whole */
    size_t out_at;
    struct http2_call *calls;
    int64_t began_ns, heard_ns; /* accepted; last byte in, or out */
};

struct http2 {
    struct http_server_options options;
    struct http2_tls tls;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priorities;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *session_options;
    int64_t check_ns, accept_ns; /* when to look at deadlines, when to accept again; the loop's */
    int listener, wake; /* an eventfd */
    pthread_t loop, workers[HTTP2_THREADS_MAX];
    bool looping;
    unsigned nworkers;
    struct http2_connection *connections[HTTP2_CONNECTIONS_MAX]; /* the loop's */
    unsigned nconnections;
    size_t body_bytes; /* of all requests; the loop's */

    pthread_mutex_t lock; /* all below, and calls as said above */
    pthread_cond_t work;
    struct call_list jobs, done;
    struct http2_call *calls[HTTP2_BUCKETS]; /* by token: QUEUED to HELD */
    uint64_t next_token;
    unsigned ncalls, nheld;
    bool stopping, ending; /* no more holding; threads end */
};

/* http2.c */
void http2_wake(struct http2 *http2); /* the loop looks at `done`; any thread */

/* http2_frames.c; on the loop's thread */
int http2_make_callbacks(nghttp2_session_callbacks **ret);
int http2_submit_reply(struct http2_connection *connection, struct http2_call *call);

/* http2_calls.c; all on the loop's thread unless said otherwise. */
struct http2_call *http2_call_new(struct http2_connection *connection, int32_t stream); /* NULL: no room */
void http2_call_header(struct http2_call *call, const char *name, size_t name_len, const char *value,
                       size_t len);
/* A refusal waits for the end of the request, as some clients take an earlier answer for an error: till then its
 * body is thrown away. It has its time, as every request. */
void http2_call_begun(struct http2_call *call); /* all headers are there */
void http2_call_body(struct http2_call *call, const uint8_t *bytes, size_t len);
bool http2_call_ready(struct http2_call *call); /* the request is whole. true: to be answered now, else a worker has it */
void http2_call_gone(struct http2_call *call); /* its stream is closed: frees it, now or when a worker is done */
void http2_calls_release(struct http2 *http2); /* threads and connections are gone */
struct http2_call *http2_take_done(struct http2 *http2); /* a list by next, each SENDING; gone ones are freed */
int http2_workers_start(struct http2 *http2);
void http2_workers_join(struct http2 *http2); /* any thread */
void http2_release_held(struct http2 *http2); /* any thread: 503 to all, and no more holding */
