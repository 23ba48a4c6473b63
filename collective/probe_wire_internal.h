/* probe_wire_internal.h - what probe_wire*.c share; nobody else includes it. */
#pragma once

#include <stdarg.h>

#include "collective/probe_wire.h"
#include "probe.pb-c.h"

typedef Lockstep__Probe__V1__Gang PbGang;
typedef Lockstep__Probe__V1__JoinRequest PbJoin;
typedef Lockstep__Probe__V1__ReportRequest PbReport;
typedef Lockstep__Probe__V1__ReportReply PbReply;
typedef Lockstep__Probe__V1__Row PbRow;
typedef Lockstep__Probe__V1__Order PbOrder;
typedef Lockstep__Probe__V1__Waiting PbWaiting;
typedef Lockstep__Probe__V1__Start PbStart;
typedef Lockstep__Probe__V1__Plan PbPlan;
typedef Lockstep__Probe__V1__Verdict PbVerdict;
typedef Lockstep__Probe__V1__Abort PbAbort;

/*
 * A row of checks: the first that fails is told, the rest is passed over. 0 or a negative errno in
 * `code`; `where` stands before names of fields ("rows[2].").
 */
struct wire_check {
    int code;
    struct err *err;
    char where[24];
};

void wire_refuse(struct wire_check *check, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Copies a text of at most size - 1 bytes; what is in it is checked afterwards, by those below. */
void wire_copy(struct wire_check *check, const char *field, const char *text, char *ret,
               size_t size);

void wire_text(struct wire_check *check, const char *field,
               const char *text); /* UTF-8, no control characters */
void wire_name(struct wire_check *check, const char *field,
               const char *text); /* RFC 1123 subdomain */
void wire_uid(struct wire_check *check, const char *field,
              const char *text); /* letters, digits, - . _ */
void wire_word(struct wire_check *check, const char *field, const char *text); /* a-z 0-9 - _ */
void wire_number(struct wire_check *check, const char *field, uint64_t found, uint64_t least,
                 uint64_t most);
void wire_real(struct wire_check *check, const char *field, double found, double most);
void wire_gang(struct wire_check *check, const struct probe_gang_id *gang);

void wire_copy_gang(struct wire_check *check, const PbGang *from, struct probe_gang_id *ret);
void wire_point_gang(const struct probe_gang_id *from, PbGang *ret); /* borrows the texts */

/* Unpacks with a bound on what is allocated. -EINVAL: malformed; -E2BIG: too large. Free by
 * wire_free(). */
int wire_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
                size_t max, ProtobufCMessage **ret, struct err *err);
void wire_free(ProtobufCMessage **message); /* for CLEANUP(); takes NULL */
int wire_pack(const ProtobufCMessage *message, struct strbuf *out);
