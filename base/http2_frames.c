/* What nghttp2 tells of a connection's frames, and the answers that it is given. */
#include "base/http2_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static ssize_t give_body(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *context)
{
    struct http2_call *call = source->ptr;
    size_t n = call->reply.body.len - call->sent;

    (void)session;
    (void)stream;
    (void)context;
    n = n < size ? n : size;
    if (n > 0)
        memcpy(buf, call->reply.body.data + call->sent, n);
    call->sent += n;
    if (call->sent == call->reply.body.len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

int http2_submit_reply(struct http2_connection *connection, struct http2_call *call)
{
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = give_body};
    char status[16], length[24];
    nghttp2_nv headers[3];

    if (call->reply.body.failed) {
        call->reply.status = 500;
        strbuf_clear(&call->reply.body);
    }
    snprintf(status, sizeof(status), "%d", call->reply.status);
    snprintf(length, sizeof(length), "%zu", call->reply.body.len);
    headers[0] = header(":status", status);
    headers[1] = header("content-type", call->reply.type ? call->reply.type : "application/json");
    headers[2] = header("content-length", length);
    return nghttp2_submit_response(connection->session, call->stream, headers, 3, &body) < 0
               ? NGHTTP2_ERR_CALLBACK_FAILURE
               : 0;
}

static struct http2_call *call_of(nghttp2_session *session, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(session, stream);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct http2_call *call;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    call = http2_call_new(context, frame->hd.stream_id);
    if (!call)
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                         NGHTTP2_REFUSED_STREAM);
    return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *context)
{
    struct http2_call *call = call_of(session, frame->hd.stream_id);

    (void)flags;
    (void)context;
    if (call && !call->whole && !call->refused)
        http2_call_header(call, (const char *)name, name_len, (const char *)value, len);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
                   size_t len, void *context)
{
    struct http2_call *call = call_of(session, stream);

    (void)flags;
    (void)context;
    if (call)
        http2_call_body(call, bytes, len);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct http2_call *call = call_of(session, frame->hd.stream_id);

    if (!call || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        http2_call_begun(call);
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && http2_call_ready(call))
        return http2_submit_reply(context, call);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *context)
{
    struct http2_call *call = call_of(session, stream);

    (void)code;
    (void)context;
    if (!call)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream, NULL);
    http2_call_gone(call);
    return 0;
}

int http2_make_callbacks(nghttp2_session_callbacks **ret)
{
    if (nghttp2_session_callbacks_new(ret) != 0)
        return -ENOMEM;
    nghttp2_session_callbacks_set_on_begin_headers_callback(*ret, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(*ret, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(*ret, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(*ret, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(*ret, on_stream_close);
    return 0;
}
