/* What all messages need: checks of fields, and protobuf-c with a bound on its memory. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "collective/probe_wire_internal.h"

/* ---- checks ---------------------------------------------------------------------------------- */

void wire_refuse(struct wire_check *check, const char *field, const char *format, ...)
{
    char text[200];
    va_list args;

    if (check->code < 0)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    check->code = err_set(check->err, -EINVAL, "field `%s%s`: found %s", check->where, field, text);
}

void wire_copy(struct wire_check *check, const char *field, const char *text, char *ret,
               size_t size)
{
    size_t len = strlen(text);

    if (len >= size) {
        wire_refuse(check, field, "%zu bytes, expected at most %zu", len, size - 1);
        ret[0] = '\0';
        return;
    }
    memcpy(ret, text, len + 1);
}

void wire_text(struct wire_check *check, const char *field, const char *text)
{
    size_t len = strlen(text);

    if (!utf8_valid(text, len)) {
        wire_refuse(check, field, "bytes that are not UTF-8, expected text");
        return;
    }
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            wire_refuse(check, field, "the control character 0x%02x, expected text",
                        (unsigned)text[i]);
}

/* Found text as a message may show it. */
static void refuse_text(struct wire_check *check, const char *field, const char *found,
                        const char *expected)
{
    char shown[64];

    probe_text_set(shown, sizeof(shown), found);
    wire_refuse(check, field, "'%s', expected %s", shown, expected);
}

void wire_name(struct wire_check *check, const char *field, const char *text)
{
    if (!is_dns_subdomain(text, strlen(text)))
        refuse_text(check, field, text, "a Kubernetes name (RFC 1123)");
}

static bool only_has(const char *text, bool capitals, const char *more)
{
    for (; *text; text++)
        if (!((*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9') ||
              strchr(more, *text) || (capitals && *text >= 'A' && *text <= 'Z')))
            return false;
    return true;
}

void wire_uid(struct wire_check *check, const char *field, const char *text)
{
    if (!text[0] || !only_has(text, true, "-._"))
        refuse_text(check, field, text, "a UID of letters, digits, '-', '.', '_'");
}

void wire_word(struct wire_check *check, const char *field, const char *text)
{
    if (!text[0] || !only_has(text, false, "-_"))
        refuse_text(check, field, text, "a word of a-z, 0-9, '-', '_'");
}

void wire_number(struct wire_check *check, const char *field, uint64_t found, uint64_t least,
                 uint64_t most)
{
    if (found < least || found > most)
        wire_refuse(check, field, "%" PRIu64 ", expected %" PRIu64 " to %" PRIu64, found, least,
                    most);
}

void wire_real(struct wire_check *check, const char *field, double found, double most)
{
    if (!isfinite(found) || found < 0 || found > most)
        wire_refuse(check, field, "%g, expected 0 to %g", found, most);
}

void wire_gang(struct wire_check *check, const struct probe_gang_id *gang)
{
    if (gang->ns[0] || gang->name[0]) {
        wire_name(check, "gang.namespace", gang->ns);
        if (strchr(gang->ns, '.'))
            refuse_text(check, "gang.namespace", gang->ns, "a namespace's name");
        wire_name(check, "gang.name", gang->name);
    }
    if (gang->uid[0])
        wire_uid(check, "gang.uid", gang->uid);
    wire_number(check, "gang.generation", gang->generation, 0, INT64_MAX);
}

int probe_gang_id_check(const struct probe_gang_id *gang, struct err *err)
{
    struct wire_check check = {.err = err};

    wire_gang(&check, gang);
    return check.code;
}

int probe_names_check(const char *pod, const char *uid, const char *node, struct err *err)
{
    struct wire_check check = {.err = err};

    wire_name(&check, "pod", pod);
    wire_uid(&check, "pod_uid", uid);
    if (strlen(uid) > PROBE_UID_MAX)
        wire_refuse(&check, "pod_uid", "%zu bytes, expected at most %d", strlen(uid), PROBE_UID_MAX);
    wire_name(&check, "node", node);
    return check.code;
}

void wire_copy_gang(struct wire_check *check, const PbGang *from, struct probe_gang_id *ret)
{
    if (!from)
        return;
    wire_copy(check, "gang.namespace", from->namespace_, ret->ns, sizeof(ret->ns));
    wire_copy(check, "gang.name", from->name, ret->name, sizeof(ret->name));
    wire_copy(check, "gang.uid", from->uid, ret->uid, sizeof(ret->uid));
    ret->generation = from->generation;
}

void wire_point_gang(const struct probe_gang_id *from, PbGang *ret)
{
    lockstep__probe__v1__gang__init(ret);
    ret->namespace_ = (char *)(uintptr_t)from->ns;
    ret->name = (char *)(uintptr_t)from->name;
    ret->uid = (char *)(uintptr_t)from->uid;
    ret->generation = from->generation;
}

/* ---- protobuf-c ------------------------------------------------------------------------------ */

/* A message of two-byte fields becomes 20 times as large in memory; none of ours comes near this.
 */
#define MEMORY_PER_BYTE 8
#define MEMORY_MIN (64u << 10)

struct budget {
    size_t left;
    bool exceeded;
};

static void *budget_alloc(void *data, size_t size)
{
    struct budget *budget = data;

    if (size > budget->left) {
        budget->exceeded = true;
        return NULL;
    }
    budget->left -= size;
    return malloc(size);
}

static void budget_free(void *data, void *pointer)
{
    (void)data;
    free(pointer);
}

int wire_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
                size_t max, ProtobufCMessage **ret, struct err *err)
{
    struct budget budget = {.left = MEMORY_MIN + len * MEMORY_PER_BYTE};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    ProtobufCMessage *message;

    if (len > max)
        return err_set(err, -E2BIG, "%s of %zu bytes, expected at most %zu", descriptor->short_name,
                       len, max);
    message = protobuf_c_message_unpack(descriptor, &allocator, len, bytes);
    if (!message && budget.exceeded)
        return err_set(err, -E2BIG, "%s of %zu bytes: more fields than there can be",
                       descriptor->short_name, len);
    if (!message)
        return err_set(err, -EINVAL, "%zu bytes, expected a well-formed %s", len,
                       descriptor->short_name);
    *ret = message;
    return 0;
}

void wire_free(ProtobufCMessage **message)
{
    ProtobufCAllocator allocator = {budget_alloc, budget_free, NULL};

    if (*message)
        protobuf_c_message_free_unpacked(*message, &allocator);
}

int wire_pack(const ProtobufCMessage *message, struct strbuf *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    int r = strbuf_reserve(out, len);

    if (r < 0)
        return r;
    if (len)
        protobuf_c_message_pack(message, (uint8_t *)out->data + out->len);
    else if (!out->data)
        return strbuf_add(out, "", 0);
    out->len += len;
    out->data[out->len] = '\0';
    return 0;
}
