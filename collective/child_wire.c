#include "collective/child_wire.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

/* ---- writing ----------------------------------------------------------------------- */

/* Returns where the record starts: its length is put there when it is known. */
static size_t begin(struct strbuf *out, enum wire_type type)
{
    uint32_t head[2] = {(uint32_t)type, 0};
    size_t start = out->len;

    strbuf_add(out, head, sizeof(head));
    return start;
}

static int finish(struct strbuf *out, size_t start)
{
    uint32_t len = (uint32_t)(out->len - start - WIRE_HEAD);

    if (out->failed)
        return -E2BIG;
    memcpy(out->data + start + 4, &len, sizeof(len));
    return 0;
}

static void put_u32(struct strbuf *out, uint32_t value)
{
    strbuf_add(out, &value, sizeof(value));
}

static void put_u64(struct strbuf *out, uint64_t value)
{
    strbuf_add(out, &value, sizeof(value));
}

static void put_double(struct strbuf *out, double value)
{
    strbuf_add(out, &value, sizeof(value));
}

static void put_bytes(struct strbuf *out, const void *bytes, size_t len)
{
    uint16_t len16 = (uint16_t)len;

    if (len > UINT16_MAX)
        out->failed = true;
    strbuf_add(out, &len16, sizeof(len16));
    strbuf_add(out, bytes, len16);
}

static void put_text(struct strbuf *out, const char *text)
{
    put_bytes(out, text ? text : "", text ? strlen(text) : 0);
}

/* ---- reading ----------------------------------------------------------------------- */

/* After the first thing that is not as expected, `bad` says so and all that is read is 0. */
struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static struct reader reader_of(const struct wire_record *record)
{
    return (struct reader){.at = record->bytes, .end = record->bytes + record->len};
}

static void get(struct reader *in, void *ret, size_t len)
{
    if (in->bad || (size_t)(in->end - in->at) < len) {
        in->bad = true;
        memset(ret, 0, len);
        return;
    }
    memcpy(ret, in->at, len);
    in->at += len;
}

static uint32_t get_u32(struct reader *in, uint32_t max)
{
    uint32_t value;

    get(in, &value, sizeof(value));
    in->bad = in->bad || value > max;
    return in->bad ? 0 : value;
}

static uint64_t get_u64(struct reader *in)
{
    uint64_t value;

    get(in, &value, sizeof(value));
    return value;
}

/* A size, a time, a rate: finite and not below 0. */
static double get_double(struct reader *in)
{
    double value;

    get(in, &value, sizeof(value));
    in->bad = in->bad || !isfinite(value) || value < 0;
    return in->bad ? 0 : value;
}

static size_t get_bytes(struct reader *in, void *ret, size_t max)
{
    uint16_t len;

    get(in, &len, sizeof(len));
    in->bad = in->bad || len > max;
    if (in->bad)
        return 0;
    get(in, ret, len);
    return in->bad ? 0 : len;
}

/* A name or path: UTF-8 without NUL and control characters. */
static void get_text(struct reader *in, char *ret, size_t size)
{
    size_t len = get_bytes(in, ret, size - 1);

    for (size_t i = 0; i < len; i++)
        in->bad = in->bad || (unsigned char)ret[i] < ' ' || ret[i] == 0x7f;
    in->bad = in->bad || !utf8_valid(ret, len);
    ret[in->bad ? 0 : len] = '\0';
}

static int done(const struct reader *in, const char *name, struct err *err)
{
    if (in->bad)
        return err_set(err, -EPROTO, "record '%s': it is cut off, or a field is out of range",
                       name);
    if (in->at != in->end)
        return err_set(err, -EPROTO, "record '%s': %zu bytes too long", name,
                       (size_t)(in->end - in->at));
    return 0;
}

/* ---- records ----------------------------------------------------------------------- */

static const struct {
    enum wire_type type;
    size_t max;
} types[] = {
    {WIRE_OPEN, 64 + 2 * WIRE_NAME_MAX + WIRE_LIBRARY_MAX},
    {WIRE_CONNECT, WIRE_RECORD_MAX - WIRE_HEAD},
    {WIRE_RUN, 128 + 8 * MEASURE_SIZES_MAX},
    {WIRE_PAIRS, 64 + 4 * MEASURE_ROUNDS_MAX},
    {WIRE_CLOSE, 0},
    {WIRE_OPENED, 256 + BACKEND_ADDRESS_MAX},
    {WIRE_CONNECTED, 0},
    {WIRE_RESULT, 128 + 64 * MEASURE_SIZES_MAX},
    {WIRE_TIMES, 16 + 8 * MEASURE_ROUNDS_MAX},
    {WIRE_PROGRESS, 16},
    {WIRE_FAILED, 16 + CHILD_TEXT_MAX},
};

int wire_next(const void *bytes, size_t len, bool to_child, struct wire_record *ret,
              size_t *ret_used, struct err *err)
{
    uint32_t head[2];
    size_t i = 0;

    if (len < WIRE_HEAD)
        return 0;
    memcpy(head, bytes, sizeof(head));
    while (i < sizeof(types) / sizeof(types[0]) && types[i].type != head[0])
        i++;
    if (i == sizeof(types) / sizeof(types[0]) || (types[i].type < WIRE_OPENED) != to_child)
        return err_set(err, -EPROTO, "found a record of type %u, which is none", head[0]);
    if (head[1] > types[i].max)
        return err_set(err, -EPROTO, "record of type %u: %u bytes, expected at most %zu", head[0],
                       head[1], types[i].max);
    if (len - WIRE_HEAD < head[1])
        return 0;
    *ret = (struct wire_record){types[i].type, (const uint8_t *)bytes + WIRE_HEAD, head[1]};
    *ret_used = WIRE_HEAD + head[1];
    return 1;
}

int wire_put_open(struct strbuf *out, const char *backend, const struct backend_options *options)
{
    size_t start = begin(out, WIRE_OPEN);

    put_u32(out, WIRE_VERSION);
    put_u32(out, options->rank);
    put_u32(out, options->ranks);
    put_u32(out, (uint32_t)options->device);
    put_u32(out, options->streams);
    put_u64(out, options->bytes_max);
    put_text(out, backend);
    put_text(out, options->host);
    put_text(out, options->library);
    return finish(out, start);
}

int wire_get_open(const struct wire_record *record, struct wire_open *ret, struct err *err)
{
    struct reader in = reader_of(record);
    uint32_t version = get_u32(&in, UINT32_MAX);

    if (!in.bad && version != WIRE_VERSION)
        return err_set(err, -EPROTO, "the parent speaks version %u, expected %u", version,
                       WIRE_VERSION);
    ret->options = (struct backend_options){.host = ret->host};
    ret->options.rank = get_u32(&in, BACKEND_RANKS_MAX - 1);
    ret->options.ranks = get_u32(&in, BACKEND_RANKS_MAX);
    ret->options.device = (int)get_u32(&in, 4095);
    ret->options.streams = get_u32(&in, BACKEND_STREAMS_MAX);
    ret->options.bytes_max = get_u64(&in);
    get_text(&in, ret->backend, sizeof(ret->backend));
    get_text(&in, ret->host, sizeof(ret->host));
    get_text(&in, ret->library, sizeof(ret->library));
    ret->options.library = ret->library[0] ? ret->library : NULL;
    in.bad = in.bad || ret->options.rank >= ret->options.ranks;
    return done(&in, "open", err);
}

int wire_put_connect(struct strbuf *out, const struct backend_address *addresses, unsigned ranks,
                     uint64_t deadline_ns)
{
    size_t start = begin(out, WIRE_CONNECT);

    put_u64(out, deadline_ns);
    put_u32(out, ranks);
    for (unsigned i = 0; i < ranks; i++) {
        if (addresses[i].len > BACKEND_ADDRESS_MAX)
            return -E2BIG;
        put_bytes(out, addresses[i].bytes, addresses[i].len);
    }
    return finish(out, start);
}

int wire_get_connect(const struct wire_record *record, unsigned ranks,
                     struct backend_address *addresses, uint64_t *ret_deadline_ns, struct err *err)
{
    struct reader in = reader_of(record);
    uint64_t deadline_ns = get_u64(&in);

    if (get_u32(&in, BACKEND_RANKS_MAX) != ranks)
        in.bad = true;
    for (unsigned i = 0; i < ranks && !in.bad; i++)
        addresses[i].len = get_bytes(&in, addresses[i].bytes, BACKEND_ADDRESS_MAX);
    *ret_deadline_ns = deadline_ns;
    return done(&in, "connect", err);
}

int wire_put_run(struct strbuf *out, const struct measure_plan *plan, uint64_t deadline_ns)
{
    size_t start = begin(out, WIRE_RUN);

    put_u64(out, deadline_ns);
    put_u32(out, plan->op);
    put_u32(out, plan->sweep);
    put_u32(out, plan->check);
    put_u64(out, plan->bytes_min);
    put_u64(out, plan->bytes_max);
    put_double(out, plan->expected_gb_s);
    put_u32(out, plan->iterations_max);
    put_u64(out, plan->budget_ns);
    put_u32(out, plan->n_sizes);
    for (unsigned i = 0; i < plan->n_sizes && i < MEASURE_SIZES_MAX; i++)
        put_u64(out, plan->sizes[i]);
    return finish(out, start);
}

int wire_get_run(const struct wire_record *record, unsigned ranks, struct measure_plan *ret,
                 uint64_t *ret_deadline_ns, struct err *err)
{
    struct reader in = reader_of(record);
    struct measure_plan plan = {0};
    int r;

    *ret_deadline_ns = get_u64(&in);
    plan.op = (enum collective_op)get_u32(&in, OP_COUNT - 1);
    plan.sweep = get_u32(&in, 1);
    plan.check = get_u32(&in, 1);
    plan.bytes_min = get_u64(&in);
    plan.bytes_max = get_u64(&in);
    plan.expected_gb_s = get_double(&in);
    plan.iterations_max = get_u32(&in, MEASURE_ITERATIONS_MAX);
    plan.budget_ns = get_u64(&in);
    plan.n_sizes = get_u32(&in, MEASURE_SIZES_MAX);
    for (unsigned i = 0; i < plan.n_sizes; i++)
        plan.sizes[i] = get_u64(&in);
    r = done(&in, "run", err);
    if (r == 0 && measure_plan_check(&plan, ranks, err) < 0)
        r = -EPROTO;
    if (r == 0)
        *ret = plan;
    return r;
}

int wire_put_pairs(struct strbuf *out, const struct measure_pairs *pairs, uint64_t deadline_ns)
{
    size_t start = begin(out, WIRE_PAIRS);

    if (pairs->n_rounds > MEASURE_ROUNDS_MAX)
        return -E2BIG;
    put_u64(out, deadline_ns);
    put_u64(out, pairs->bytes);
    put_u32(out, pairs->iterations);
    put_u32(out, pairs->n_rounds);
    for (unsigned i = 0; i < pairs->n_rounds; i++)
        put_u32(out, pairs->peers[i]);
    return finish(out, start);
}

int wire_get_pairs(const struct wire_record *record, unsigned ranks, struct measure_pairs *ret,
                   uint64_t *ret_deadline_ns, struct err *err)
{
    struct reader in = reader_of(record);
    struct measure_pairs pairs = {0};
    int r;

    *ret_deadline_ns = get_u64(&in);
    pairs.bytes = get_u64(&in);
    pairs.iterations = get_u32(&in, MEASURE_ITERATIONS_MAX);
    pairs.n_rounds = get_u32(&in, MEASURE_ROUNDS_MAX);
    in.bad = in.bad || pairs.iterations == 0;
    pairs.peers = calloc(pairs.n_rounds + 1, sizeof(*pairs.peers));
    if (!pairs.peers)
        return err_set(err, -ENOMEM, "out of memory");
    for (unsigned i = 0; i < pairs.n_rounds; i++) {
        pairs.peers[i] = get_u32(&in, UINT32_MAX);
        in.bad = in.bad || (pairs.peers[i] >= ranks && pairs.peers[i] != MEASURE_NO_PEER);
    }
    r = done(&in, "pairs", err);
    if (r == 0)
        *ret = pairs;
    else
        free(pairs.peers);
    return r;
}

int wire_put_close(struct strbuf *out)
{
    return finish(out, begin(out, WIRE_CLOSE));
}

/* ---- events ------------------------------------------------------------------------ */

static void put_result(struct strbuf *out, const struct measure_result *result)
{
    put_u32(out, result->n_rows);
    for (unsigned i = 0; i < result->n_rows && i < MEASURE_SIZES_MAX; i++) {
        const struct measure_row *row = &result->rows[i];

        put_u64(out, row->bytes);
        put_double(out, row->seconds);
        put_double(out, row->algbw_gb_s);
        put_double(out, row->busbw_gb_s);
        put_u64(out, row->wrong);
        put_u32(out, row->iterations);
    }
    put_double(out, result->busbw_gb_s);
    put_double(out, result->latency_s);
    put_double(out, result->own_seconds_median);
    put_u64(out, result->own_wrong);
    put_u32(out, result->slopes_agree);
    put_u32(out, result->test);
    put_u64(out, result->bytes_moved);
    put_double(out, result->total_s);
}

static void get_result(struct reader *in, struct measure_result *ret)
{
    ret->n_rows = get_u32(in, MEASURE_SIZES_MAX);
    for (unsigned i = 0; i < ret->n_rows; i++) {
        struct measure_row *row = &ret->rows[i];

        row->bytes = get_u64(in);
        row->seconds = get_double(in);
        row->algbw_gb_s = get_double(in);
        row->busbw_gb_s = get_double(in);
        row->wrong = get_u64(in);
        row->iterations = get_u32(in, MEASURE_ITERATIONS_MAX);
    }
    ret->busbw_gb_s = get_double(in);
    ret->latency_s = get_double(in);
    ret->own_seconds_median = get_double(in);
    ret->own_wrong = get_u64(in);
    ret->slopes_agree = get_u32(in, 1);
    ret->test = (enum measure_test)get_u32(in, MEASURE_TEST_COUNT - 1);
    ret->bytes_moved = get_u64(in);
    ret->total_s = get_double(in);
}

static const enum wire_type type_of[CHILD_EVENT_KINDS] = {
    [CHILD_OPENED] = WIRE_OPENED, [CHILD_CONNECTED] = WIRE_CONNECTED, [CHILD_RESULT] = WIRE_RESULT,
    [CHILD_PAIRS] = WIRE_TIMES,   [CHILD_PROGRESS] = WIRE_PROGRESS,   [CHILD_FAILED] = WIRE_FAILED};

int wire_put_event(struct strbuf *out, const struct child_event *event)
{
    size_t start = begin(out, type_of[event->kind]);

    switch (event->kind) {
    case CHILD_OPENED:
        put_text(out, event->info.name);
        put_text(out, event->info.version);
        put_text(out, event->info.device);
        put_text(out, event->info.transport);
        put_bytes(out, event->address.bytes, event->address.len);
        break;
    case CHILD_RESULT:
        put_result(out, &event->result);
        break;
    case CHILD_PAIRS:
        put_u32(out, event->n_seconds);
        for (unsigned i = 0; i < event->n_seconds; i++)
            put_double(out, event->seconds[i]);
        break;
    case CHILD_PROGRESS:
        put_u32(out, event->phase);
        put_u64(out, event->bytes);
        put_u32(out, event->iterations);
        break;
    case CHILD_FAILED:
        put_u32(out, event->phase);
        put_u32(out, (uint32_t)-event->error);
        put_text(out, event->text);
        break;
    default:
        break;
    }
    return finish(out, start);
}

static void get_info(struct reader *in, struct child_event *ret)
{
    get_text(in, ret->info.name, sizeof(ret->info.name));
    get_text(in, ret->info.version, sizeof(ret->info.version));
    get_text(in, ret->info.device, sizeof(ret->info.device));
    get_text(in, ret->info.transport, sizeof(ret->info.transport));
    ret->address.len = get_bytes(in, ret->address.bytes, BACKEND_ADDRESS_MAX);
}

/* The text is for people: it is cleaned, not refused. */
static void get_failure(struct reader *in, struct child_event *ret)
{
    char text[CHILD_TEXT_MAX];
    size_t len;

    ret->phase = (enum child_phase)get_u32(in, CHILD_PHASES - 1);
    ret->error = -(int)get_u32(in, 4095);
    in->bad = in->bad || ret->error == 0;
    len = get_bytes(in, text, sizeof(text) - 1);
    wire_clean_text(text, len, ret->text, sizeof(ret->text));
}

int wire_get_event(const struct wire_record *record, struct child_event *ret, struct err *err)
{
    struct reader in = reader_of(record);

    memset(ret, 0, sizeof(*ret));
    switch (record->type) {
    case WIRE_OPENED:
        ret->kind = CHILD_OPENED;
        get_info(&in, ret);
        return done(&in, "opened", err);
    case WIRE_CONNECTED:
        ret->kind = CHILD_CONNECTED;
        return done(&in, "connected", err);
    case WIRE_RESULT:
        ret->kind = CHILD_RESULT;
        get_result(&in, &ret->result);
        return done(&in, "result", err);
    case WIRE_TIMES:
        ret->kind = CHILD_PAIRS;
        ret->n_seconds = get_u32(&in, MEASURE_ROUNDS_MAX);
        for (unsigned i = 0; i < ret->n_seconds && !in.bad; i++)
            ret->seconds[i] = get_double(&in);
        return done(&in, "times", err);
    case WIRE_PROGRESS:
        ret->kind = CHILD_PROGRESS;
        ret->phase = (enum child_phase)get_u32(&in, CHILD_PHASES - 1);
        ret->bytes = get_u64(&in);
        ret->iterations = get_u32(&in, UINT32_MAX);
        return done(&in, "progress", err);
    case WIRE_FAILED:
        ret->kind = CHILD_FAILED;
        get_failure(&in, ret);
        return done(&in, "failed", err);
    default:
        return err_set(err, -EPROTO, "record of type %u: not one of a child",
                       (unsigned)record->type);
    }
}

void wire_clean_text(const char *text, size_t len, char *ret, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < len && n + 1 < size;) {
        unsigned char c = (unsigned char)text[i];
        size_t more = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

        if (more > 1 && (more > len - i || n + more >= size || !utf8_valid(text + i, more)))
            more = 0;
        if (more == 0 || (more == 1 && (c < ' ' || c == 0x7f))) {
            ret[n++] = c == '\n' || c == '\t' ? ' ' : '?';
            i++;
            continue;
        }
        memcpy(ret + n, text + i, more);
        n += more;
        i += more;
    }
    ret[n] = '\0';
}
