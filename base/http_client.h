/*
 * http_client.h - many HTTPS calls to one server from one thread, on libcurl multi.
 *
 * http_client_send() may be called from any thread; all callbacks run on the client's own thread,
 * exactly once per call (a stop ends open ones with -ECANCELED). Calls beyond `parallel` wait in two
 * bounded queues, urgent ones first; streams (watches) do not count. Proxies are never used.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct http_client;

struct http_endpoint { /* files may be ""; the token file is re-read once a minute */
    const char *url; /* https://host:port, no path */
    const char *ca_file, *cert_file, *key_file, *token_file, *token;
    bool http2; /* calls share connections; else HTTP/1.1 */
};

struct http_call {
    const char *method, *path; /* path with query */
    const char *type; /* content type of the body, NULL: application/json */
    const char *body; /* NULL: none */
    bool urgent, stream;
    uint64_t epoch; /* for the fence: under which right the call was made */
    int timeout_s; /* of the whole call; streams: of silence */
    size_t answer_max; /* bytes; more ends the call with -E2BIG */
    void *context;
    /* Streams only, as bytes arrive (status 200): a negative return ends the call with it. */
    int (*on_bytes)(void *context, const char *bytes, size_t len);
    /*
     * status: HTTP status, or a negative errno (-ETIMEDOUT: no whole answer came, the server may
     * have acted; -ECONNREFUSED: not connected, -EPERM: fenced off: it has not). retry_after_s: from the header, 0: none.
     * body is valid during the callback.
     */
    void (*on_done)(void *context, int status, const char *body, size_t len, int retry_after_s);
};

int http_client_start(const struct http_endpoint *endpoint, unsigned parallel,
                      struct http_client **ret_client, struct err *err);
void http_client_stop(struct http_client *client); /* joins; takes NULL */

/*
 * A fence: asked on the client's thread right before each request's first byte goes out; false ends
 * the call with -EPERM, unsent. It gets the call's epoch, so that what was queued under a right that has
 * ended does not leave under a later one. Set it before the first call; streams are not asked.
 */
typedef bool http_fence_fn(void *context, uint64_t epoch);
void http_client_fence(struct http_client *client, http_fence_fn *may_send, void *context);

/* Ends all streams that are open now with -ESTALE, so that their owners begin anew. Any thread. */
void http_client_end_streams(struct http_client *client);

/* Copies all texts. -ENOBUFS: the queue is full; -ESHUTDOWN: stopping. */
int http_client_send(struct http_client *client, const struct http_call *call);

/* Calls fn on the client's thread after delay; also dropped silently at stop. */
int http_client_after(struct http_client *client, int delay_ms, void (*fn)(void *context),
                      void *context);
