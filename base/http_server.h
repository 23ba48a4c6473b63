/*
 * http_server.h - a small HTTP server: bounded bodies, mutual TLS, held calls. HTTP/1.1 on libmicrohttpd, or
 * HTTP/2 on nghttp2, where a thousand held calls share one connection.
 *
 * Handlers run on the server's threads and may run at the same time. A handler fills the reply at
 * once, or returns HTTP_HELD: then the call stays open without a thread until http_server_reply()
 * names its token, from any thread. Replies carry Content-Length and nothing behind the body.
 *
 * TLS: with certificate files the listener speaks TLS only (1.2 or newer) and re-reads the files when
 * they change. With a CA each client must present a certificate of that CA, and, with `clients`, one
 * whose common name or DNS name is in that list; others get 403. Without certificates the listener
 * refuses to start on anything but a loopback address.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"

struct http_server;

struct http_request {
    const char *method, *path;
    const char *body; /* NUL-terminated */
    size_t len;
    uint64_t token; /* names this call should the handler hold it */
};

struct http_reply {
    int status; /* 200 unless set */
    const char *type; /* "application/json" unless set; static text */
    struct strbuf body;
};

enum http_outcome { HTTP_DONE, HTTP_HELD };
typedef enum http_outcome http_handler_fn(void *context, const struct http_request *request,
                                          struct http_reply *reply);

struct http_route {
    const char *method, *path; /* exact */
    http_handler_fn *handler;
};

struct http_server_options {
    const char *listen; /* "ip:port"; ":port" is all addresses; port 0: any free one */
    const char *cert_file, *key_file; /* NULL or "": plaintext, loopback only */
    const char *ca_file; /* NULL or "": no client certificates */
    const char *const *clients; /* NULL-terminated names; NULL: any of the CA */
    const struct http_route *routes; /* ends with an all-zero entry; must outlive the server */
    void *context;
    bool http2; /* HTTP/2 and nothing else; TLS only */
    size_t body_max; /* bytes, 0: 8 MiB */
    unsigned connections_max; /* with HTTP/2: calls at once; 0: 4096 */
    unsigned threads; /* 0: 2 */
    unsigned idle_s; /* a silent connection is closed after it; 0: 300 */
    unsigned patience_s; /* with HTTP/2: for a request to come whole, and for its answer to be taken; 0: 30 */
};

int http_server_start(const struct http_server_options *options, struct http_server **ret_server,
                      struct err *err);
void http_server_stop(struct http_server *server); /* held calls get 503 first; takes NULL */
unsigned http_server_port(const struct http_server *server);

/* Answers a held call; a token that is not held any more is ignored. The bytes are copied. */
void http_server_reply(struct http_server *server, uint64_t token, int status, const char *body,
                       size_t len);
unsigned http_server_held(struct http_server *server);
