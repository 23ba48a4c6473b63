/*
 * http2.h - the HTTP/2 side of http_server.h: nghttp2 over GnuTLS; included by http_server.c only.
 *
 * Why HTTP/2: kube-scheduler opens a connection, with a TLS handshake of its own, for each HTTP/1.1 call that
 * is held; a gang of 500 cost it and us 1.4 s of CPU time and 60 KiB each. Here all calls share one
 * connection, and a call that the client gives up is seen to end.
 *
 * Threads: one owns all connections; `threads` workers run the handlers. A client that offers no HTTP/2 is
 * told so (505) and closed.
 *
 * Limits: connections (those without a finished handshake go first), calls at once, header and body sizes, bytes of
 * all bodies together, and time: to finish a handshake, to go on with a begun request, to take an answer.
 */
#pragma once

#include <netinet/in.h>

#include "base/http_server.h"
#include "base/tls_files.h"
#include "base/tls_peers.h"

struct http2;

struct http2_tls { /* borrowed; must outlive the server */
    struct tls_files *files;
    struct tls_peers *peers;
    const char *trust; /* PEM text of the CA; NULL: no client certificates */
};

/* options: all defaults filled in. */
int http2_start(const struct http_server_options *options, const struct sockaddr_in *address,
                const struct http2_tls *tls, struct http2 **ret_http2, struct err *err);
void http2_stop(struct http2 *http2);
unsigned http2_port(const struct http2 *http2);
void http2_reply(struct http2 *http2, uint64_t token, int status, const char *body, size_t len);
unsigned http2_held(struct http2 *http2);
