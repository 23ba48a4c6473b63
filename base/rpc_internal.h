/* rpc_internal.h - what the files of base/rpc.h share. Here ends the reach of <grpc/...>. */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/compression.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include "base/rpc.h"
#include "base/strbuf.h"

#define RPC__MESSAGE_MAX ((size_t)4 << 20)
#define RPC__MEMORY_MAX ((size_t)256 << 20)
#define RPC__STATUS_TEXT_MAX 1024
#define RPC__KEEPALIVE_S 30

/* gRPC starts with the first user and ends with the last. */
void rpc__library_ref(void);
void rpc__library_unref(void);

/* How often accept() has failed in a listener of gRPC. */
unsigned rpc__accept_failures(void);

/* What one thread gives to the queue and another takes out of it: gRPC orders them, but
 * ThreadSanitizer * does not see how. */
void rpc__give(void);
void rpc__take(void);

static inline bool rpc__set(const char *text)
{
    return text && *text;
}

/* "ip:port"; ":port" is all addresses. */
int rpc__address(const char *text, struct sockaddr_in *ret, struct err *err);
bool rpc__loopback(const struct sockaddr_in *address);
/* `pem` itself, or what stands in the file when it is NULL. */
int rpc__get_pem(const char *pem, const char *path, struct strbuf *text, struct err *err);
/* When a file last changed; 0: it is not there. */
int64_t rpc__changed_ns(const char *path);

grpc_byte_buffer *rpc__buffer(const void *bytes, size_t len);
/* -EPROTO: compressed, which nobody was asked for; -EMSGSIZE; -ENOMEM. */
int rpc__buffer_read(grpc_byte_buffer *buffer, size_t max, struct rpc_bytes *ret);
bool rpc__slice_is(grpc_slice slice, const char *text);
char *rpc__slice_text(grpc_slice slice); /* NULL: no memory */

/* Channel arguments, of servers and channels alike. Strings and pointers are the caller's. */
struct rpc__args {
    grpc_arg args[24];
    size_t n;
    grpc_resource_quota *quota;
};
void rpc__args_int(struct rpc__args *args, const char *key, int64_t value);
void rpc__args_text(struct rpc__args *args, const char *key, const char *value);
/* What both sides want: limits, keepalive, no compression, no proxy. */
void rpc__args_common(struct rpc__args *args, size_t message_max, size_t memory_max,
                      unsigned keepalive_s);
void rpc__args_release(struct rpc__args *args); /* once they were used */
