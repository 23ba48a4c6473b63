/*
 * probe_invite.h - what a host needs to take part in a measurement by hand, as one word that people paste: where the
 * coordinator is, the certificate by which it is known, the secret by which the host is, who takes part, and what is to be
 * opened.
 *
 *   lockstep1-AbC...   letters, digits, - and _ only (base64url, RFC 4648): no shell looks into it
 *
 * It is a secret for as long as the measurement runs: it belongs into an environment variable or a pipe, as other users
 * see command lines. A CRC tells one that was cut or mistyped from a good one; what is within is checked all the same.
 *
 * Pure. A value type, large: keep it off small stacks; after its use probe_invite_wipe().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "collective/probe_hosts.h"

#define PROBE_INVITE_VARIABLE "LOCKSTEP_PROBE_JOIN"
#define PROBE_INVITE_MAX (64u << 10)      /* bytes of the word */
#define PROBE_INVITE_NAME "lockstep-probe" /* in the coordinator's certificate */
#define PROBE_INVITE_PLACES_MAX 8
#define PROBE_INVITE_CERTIFICATE_MAX 1024
#define PROBE_SECRET_BYTES 32
#define PROBE_SECRET_TEXT 44 /* as a token, with its end */

struct probe_invite {
    uint32_t places[PROBE_INVITE_PLACES_MAX]; /* IPv4 addresses of the coordinator, the likeliest first; 10.0.0.1 is
                                                 0x0a000001 */
    unsigned n_places;
    uint16_t port;
    bool nccl;            /* else tcp */
    uint32_t streams;     /* tcp: connections per neighbour; 0: as the backend has it */
    uint64_t bytes_max;   /* of an operation, at most MEASURE_BYTES_MAX */
    uint32_t limit_s;     /* a host's process ends so long after its own start */
    uint8_t secret[PROBE_SECRET_BYTES];
    uint8_t certificate[PROBE_INVITE_CERTIFICATE_MAX]; /* DER */
    size_t certificate_len;
    struct probe_hosts hosts;
};

/* Appends. -EINVAL: what decode would refuse; -E2BIG, -ENOMEM. */
int probe_invite_encode(const struct probe_invite *invite, struct strbuf *out, struct err *err);
/* White space around it is passed over. -EINVAL with a message, which does not hold the secret; -ENOMEM. */
int probe_invite_decode(const char *text, size_t len, struct probe_invite *ret, struct err *err);

/* The bytes within, without their CRC: for fuzzing, which would have to guess it. */
int probe_invite__payload(const uint8_t *bytes, size_t len, struct probe_invite *ret, struct err *err);

void probe_invite_token(const struct probe_invite *invite, char ret[PROBE_SECRET_TEXT]);
int probe_invite_ca_pem(const struct probe_invite *invite, struct strbuf *out); /* appends */
void probe_invite_wipe(struct probe_invite *invite);

/*
 * Which of the hosts a machine is that is called `hostname` and has these addresses (IPv4, as in `places`): the one of that
 * very name; else the only one with the same first label, as "node-1" is "node-1.example"; else one that is one of the
 * addresses. NULL: none, or it is not clear.
 */
const struct probe_host *probe_invite_me(const struct probe_invite *invite, const char *hostname,
                                         const uint32_t *addresses, unsigned n_addresses);
