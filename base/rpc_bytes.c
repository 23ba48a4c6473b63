#include "base/rpc_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"

#define PEM_MAX ((size_t)1 << 20)
#define LOG_LINES 10
#define LOG_EVERY_NS INT64_C(10000000000)

#ifdef __SANITIZE_THREAD__
/* gRPC is not built with ThreadSanitizer, which then takes its every hand-over for a race. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1";
}
#endif

static const char *const status_names[] = {
    "OK",          "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",   "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL",     "UNAVAILABLE",       "DATA_LOSS",
    "UNAUTHENTICATED"};

const char *rpc_status_name(enum rpc_status status)
{
    if ((unsigned)status >= sizeof(status_names) / sizeof(*status_names))
        return "UNKNOWN";
    return status_names[status];
}

/* ---- the library ----------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    int64_t since_ns;
    unsigned lines, left_out;
} talk = {.lock = PTHREAD_MUTEX_INITIALIZER};

static atomic_uint accept_failures;

unsigned rpc__accept_failures(void)
{
    return atomic_load(&accept_failures);
}

/* A stranger who fails handshakes all day may not fill the disk. */
static bool may_talk(unsigned *ret_left_out)
{
    int64_t now = clock_boot_ns();
    bool may;

    pthread_mutex_lock(&talk.lock);
    *ret_left_out = 0;
    if (now - talk.since_ns >= LOG_EVERY_NS) {
        *ret_left_out = talk.left_out;
        talk.since_ns = now;
        talk.lines = talk.left_out = 0;
    }
    may = talk.lines < LOG_LINES;
    if (may)
        talk.lines++;
    else
        talk.left_out++;
    pthread_mutex_unlock(&talk.lock);
    return may;
}

/* The one place where gRPC's own log is dealt with: later versions have another one. */
static void on_log(gpr_log_func_args *args)
{
    enum log_level level = args->severity == GPR_LOG_SEVERITY_DEBUG  ? LOG_DEBUG
                           : args->severity == GPR_LOG_SEVERITY_INFO ? LOG_INFO
                                                                     : LOG_WARN;
    const char *name = strrchr(args->file, '/');
    unsigned left_out;

    if (strncmp(args->message, "Failed accept", 13) == 0)
        atomic_fetch_add(&accept_failures, 1); /* nothing else tells */
    if (!may_talk(&left_out))
        return;
    if (left_out)
        log_line(LOG_WARN, "grpc", "%u lines left out", left_out);
    log_line(level, "grpc", "%.800s (%s:%d)", args->message, name ? name + 1 : args->file,
             args->line);
}

static void set_log(void)
{
    gpr_set_log_function(on_log);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
}

void rpc__library_ref(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, set_log);
    grpc_init();
}

void rpc__library_unref(void)
{
    grpc_shutdown();
}

static atomic_uint hand_over;

void rpc__give(void)
{
    atomic_fetch_add_explicit(&hand_over, 1, memory_order_release);
}

void rpc__take(void)
{
    atomic_load_explicit(&hand_over, memory_order_acquire);
}

/* ---- addresses, files ------------------------------------------------------------------------ */

int rpc__address(const char *text, struct sockaddr_in *ret, struct err *err)
{
    const char *colon = strrchr(text, ':');
    char host[64] = "0.0.0.0";
    uint64_t port;

    *ret = (struct sockaddr_in){.sin_family = AF_INET};
    if (colon && colon > text)
        snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    if (!colon || parse_u64(colon + 1, strlen(colon + 1), 65535, &port) < 0 ||
        inet_pton(AF_INET, host, &ret->sin_addr) != 1)
        return err_set(err, -EINVAL, "address '%.100s': expected ipv4:port", text);
    ret->sin_port = htons((uint16_t)port);
    return 0;
}

bool rpc__loopback(const struct sockaddr_in *address)
{
    return ntohl(address->sin_addr.s_addr) >> 24 == 127;
}

int rpc__get_pem(const char *pem, const char *path, struct strbuf *text, struct err *err)
{
    int r;

    text->max = PEM_MAX;
    if (pem) {
        r = strbuf_adds(text, pem);
        return r < 0 ? err_set(err, r, "a certificate is not taken: %s", strerror(-r)) : 0;
    }
    r = strbuf_read_file(text, path);
    if (r < 0)
        return err_set(err, r, "cannot read '%s': %s", path, strerror(-r));
    if (text->len == 0 || memchr(text->data, '\0', text->len))
        return err_set(err, -EINVAL, "'%s' is not a PEM file", path);
    return 0;
}

int64_t rpc__changed_ns(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec : 0;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void rpc_bytes_release(struct rpc_bytes *bytes)
{
    if (!bytes)
        return;
    free(bytes->data);
    *bytes = (struct rpc_bytes){0};
}

grpc_byte_buffer *rpc__buffer(const void *bytes, size_t len)
{
    grpc_slice slice = len ? grpc_slice_from_copied_buffer(bytes, len) : grpc_empty_slice();
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);

    grpc_slice_unref(slice);
    return buffer;
}

int rpc__buffer_read(grpc_byte_buffer *buffer, size_t max, struct rpc_bytes *ret)
{
    size_t len = grpc_byte_buffer_length(buffer), at = 0;
    grpc_byte_buffer_reader reader;
    grpc_slice slice;
    uint8_t *data = NULL;

    /* Four MiB may unpack to four GiB: nobody here takes them. */
    if (buffer->type != GRPC_BB_RAW || buffer->data.raw.compression != GRPC_COMPRESS_NONE)
        return -EPROTO;
    if (len > max)
        return -EMSGSIZE;
    if (len && !(data = malloc(len)))
        return -ENOMEM;
    grpc_byte_buffer_reader_init(&reader, buffer);
    while (grpc_byte_buffer_reader_next(&reader, &slice)) {
        size_t n = GRPC_SLICE_LENGTH(slice);

        if (data && n <= len - at)
            memcpy(data + at, GRPC_SLICE_START_PTR(slice), n);
        at += n;
        grpc_slice_unref(slice);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    *ret = (struct rpc_bytes){data, len};
    return 0;
}

bool rpc__slice_is(grpc_slice slice, const char *text)
{
    return grpc_slice_str_cmp(slice, text) == 0;
}

char *rpc__slice_text(grpc_slice slice)
{
    size_t len = GRPC_SLICE_LENGTH(slice);
    char *text = malloc(len + 1);

    if (text) {
        memcpy(text, GRPC_SLICE_START_PTR(slice), len); /* a slice has no NUL behind it */
        text[len] = '\0';
    }
    return text;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static grpc_arg *args_add(struct rpc__args *args, const char *key, grpc_arg_type type)
{
    grpc_arg *arg = &args->args[args->n];

    if (args->n == sizeof(args->args) / sizeof(*args->args))
        abort(); /* the callers' lists are fixed */
    args->n++;
    arg->type = type;
    arg->key = (char *)(uintptr_t)key;
    return arg;
}

void rpc__args_int(struct rpc__args *args, const char *key, int64_t value)
{
    args_add(args, key, GRPC_ARG_INTEGER)->value.integer = value > INT_MAX ? INT_MAX : (int)value;
}

void rpc__args_text(struct rpc__args *args, const char *key, const char *value)
{
    args_add(args, key, GRPC_ARG_STRING)->value.string = (char *)(uintptr_t)value;
}

/* gRPC looks at a message's size when it has all of it, and gathers two GiB for who announces
 * them. The * quota is what stops it: beyond it calls are reset, anybody's, until there is room. */
static void limit_memory(struct rpc__args *args, size_t bytes)
{
    grpc_arg *arg = args_add(args, GRPC_ARG_RESOURCE_QUOTA, GRPC_ARG_POINTER);

    args->quota = grpc_resource_quota_create("rpc");
    grpc_resource_quota_resize(args->quota, bytes);
    arg->value.pointer.p = args->quota;
    arg->value.pointer.vtable = grpc_resource_quota_arg_vtable();
}

void rpc__args_release(struct rpc__args *args)
{
    grpc_resource_quota_unref(args->quota);
}

void rpc__args_common(struct rpc__args *args, size_t message_max, size_t memory_max,
                      unsigned keepalive_s)
{
    size_t memory_least = message_max * 4;

    limit_memory(args, memory_max > memory_least ? memory_max : memory_least);
    rpc__args_int(args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int64_t)message_max);
    rpc__args_int(args, GRPC_ARG_KEEPALIVE_TIME_MS, (int64_t)keepalive_s * 1000);
    rpc__args_int(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, (int64_t)keepalive_s * 1000);
    rpc__args_int(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    /* Both sides' pings are ours, so that neither counts them as a flood. */
    rpc__args_int(args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 500);
    rpc__args_int(args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    rpc__args_int(args, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    rpc__args_int(args, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1);
}
