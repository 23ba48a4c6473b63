/* JoinRequest and ReportReply. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "collective/probe_wire_internal.h"

static int check_join(const struct probe_join *join, struct err *err)
{
    struct wire_check check = {.err = err};

    wire_gang(&check, &join->gang);
    wire_name(&check, "pod", join->pod);
    wire_uid(&check, "pod_uid", join->pod_uid);
    wire_name(&check, "node", join->node);
    if (join->first_rank < -1 || join->first_rank >= PROBE_RANKS_MAX)
        wire_refuse(&check, "first_rank", "%d, expected -1 to %d", join->first_rank,
                    PROBE_RANKS_MAX - 1);
    wire_number(&check, "devices", join->devices, 1, PROBE_DEVICES_MAX);
    wire_number(&check, "process", join->process, 1, INT64_MAX);
    wire_number(&check, "attempt", join->attempt, 1, INT64_MAX);
    wire_number(&check, "round", join->round, join->start_id ? 1 : 0,
                join->start_id ? PROBE_ROUND_MAX : 0);
    if (join->opening && join->start_id)
        wire_refuse(&check, "opening", "1 and a round, expected no round");
    wire_word(&check, "backend", join->backend);
    wire_text(&check, "version", join->version);
    wire_text(&check, "device", join->device);
    for (uint32_t i = 0; check.code == 0 && i < join->devices; i++)
        wire_number(&check, "addresses", join->addresses[i].len, 0, PROBE_ADDRESS_MAX);
    return check.code;
}

static void copy_addresses(struct wire_check *check, const PbJoin *from, struct probe_join *ret)
{
    if (from->n_addresses != 0 && from->n_addresses != from->devices) {
        wire_refuse(check, "addresses", "%zu of them, expected none or one for each of %u devices",
                    from->n_addresses, from->devices);
        return;
    }
    for (size_t i = 0; i < from->n_addresses && i < PROBE_DEVICES_MAX; i++) {
        if (from->addresses[i].len > PROBE_ADDRESS_MAX) {
            wire_refuse(check, "addresses", "one of %zu bytes, expected at most %d",
                        from->addresses[i].len, PROBE_ADDRESS_MAX);
            return;
        }
        ret->addresses[i].len = (uint16_t)from->addresses[i].len;
        if (from->addresses[i].len)
            memcpy(ret->addresses[i].bytes, from->addresses[i].data, from->addresses[i].len);
    }
}

int probe_join_decode(const uint8_t *bytes, size_t len, struct probe_join *ret, struct err *err)
{
    CLEANUP(wire_free) ProtobufCMessage *message = NULL;
    struct wire_check check = {.err = err};
    const PbJoin *from;
    int r = wire_unpack(&lockstep__probe__v1__join_request__descriptor, bytes, len,
                        PROBE_REQUEST_MAX, &message, err);

    if (r < 0)
        return r;
    from = (const PbJoin *)message;
    memset(ret, 0, sizeof(*ret));
    wire_copy_gang(&check, from->gang, &ret->gang);
    wire_copy(&check, "pod", from->pod, ret->pod, sizeof(ret->pod));
    wire_copy(&check, "pod_uid", from->pod_uid, ret->pod_uid, sizeof(ret->pod_uid));
    wire_copy(&check, "node", from->node, ret->node, sizeof(ret->node));
    ret->first_rank = from->first_rank;
    ret->devices = from->devices;
    ret->process = from->process;
    ret->attempt = from->attempt;
    ret->start_id = from->start_id;
    ret->round = from->round;
    ret->opening = from->opening;
    wire_copy(&check, "backend", from->backend, ret->backend, sizeof(ret->backend));
    wire_copy(&check, "version", from->version, ret->version, sizeof(ret->version));
    wire_copy(&check, "device", from->device, ret->device, sizeof(ret->device));
    copy_addresses(&check, from, ret);
    return check.code < 0 ? check.code : check_join(ret, err);
}

int probe_join_encode(const struct probe_join *join, struct strbuf *out, struct err *err)
{
    ProtobufCBinaryData addresses[PROBE_DEVICES_MAX];
    PbJoin message = LOCKSTEP__PROBE__V1__JOIN_REQUEST__INIT;
    PbGang gang;
    int r = check_join(join, err);

    if (r < 0)
        return r;
    wire_point_gang(&join->gang, &gang);
    message.gang = &gang;
    message.pod = (char *)(uintptr_t)join->pod;
    message.pod_uid = (char *)(uintptr_t)join->pod_uid;
    message.node = (char *)(uintptr_t)join->node;
    message.first_rank = join->first_rank;
    message.devices = join->devices;
    message.process = join->process;
    message.attempt = join->attempt;
    message.start_id = join->start_id;
    message.round = join->round;
    message.opening = join->opening;
    message.backend = (char *)(uintptr_t)join->backend;
    message.version = (char *)(uintptr_t)join->version;
    message.device = (char *)(uintptr_t)join->device;
    for (uint32_t i = 0; i < join->devices; i++) {
        addresses[i].len = join->addresses[i].len;
        addresses[i].data = (uint8_t *)(uintptr_t)join->addresses[i].bytes;
        if (addresses[i].len)
            message.n_addresses = join->devices;
    }
    message.addresses = addresses;
    r = wire_pack(&message.base, out);
    return r < 0 ? err_set(err, r, "a join does not fit: %s", strerror(-r)) : 0;
}

int probe_reply_decode(const uint8_t *bytes, size_t len, bool *ret_counted, struct err *err)
{
    CLEANUP(wire_free) ProtobufCMessage *message = NULL;
    int r = wire_unpack(&lockstep__probe__v1__report_reply__descriptor, bytes, len,
                        PROBE_REQUEST_MAX, &message, err);

    if (r < 0)
        return r;
    *ret_counted = ((const PbReply *)message)->counted;
    return 0;
}

int probe_reply_encode(bool counted, struct strbuf *out)
{
    PbReply message = LOCKSTEP__PROBE__V1__REPORT_REPLY__INIT;

    message.counted = counted;
    return wire_pack(&message.base, out);
}
