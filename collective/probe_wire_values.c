/* What the messages are made of, without protobuf-c: names, texts, shared addresses, neighbours. */
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "collective/probe_wire.h"

const char *probe_outcome_name(enum probe_outcome outcome)
{
    static const char *const names[PROBE_OUTCOMES] = {
        [PROBE_OUTCOME_OK] = "ok",           [PROBE_OUTCOME_WRONG_DATA] = "wrong-data",
        [PROBE_OUTCOME_ERROR] = "error",     [PROBE_OUTCOME_LOST] = "lost",
        [PROBE_OUTCOME_TIMEOUT] = "timeout", [PROBE_OUTCOME_SKIPPED] = "skipped",
    };

    return names[outcome];
}

/* Bytes of the character at text, 0: none that is allowed. */
static size_t character(const char *text)
{
    unsigned char first = (unsigned char)text[0];
    size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if (first < 0x20 || first == 0x7f || strnlen(text, len) < len || !utf8_valid(text, len))
        return 0;
    return len;
}

void probe_text_set(char *ret, size_t size, const char *text)
{
    size_t at = 0;

    while (*text) {
        size_t len = character(text), step = len ? len : 1;

        if (at + step >= size)
            break;
        if (len)
            memcpy(ret + at, text, len);
        else
            ret[at] = '?';
        at += step;
        text += step;
    }
    ret[at] = '\0';
}

/* ---- addresses ------------------------------------------------------------------------------- */

struct probe_addresses *probe_addresses_new(uint32_t ranks, size_t bytes_max)
{
    struct probe_addresses *addresses = calloc(1, sizeof(*addresses));

    if (!addresses)
        return NULL;
    atomic_init(&addresses->refs, 1);
    addresses->ranks = ranks;
    addresses->ends = calloc(ranks ? ranks : 1, sizeof(*addresses->ends));
    addresses->data = malloc(bytes_max ? bytes_max : 1);
    if (!addresses->ends || !addresses->data) {
        probe_addresses_unref(addresses);
        return NULL;
    }
    return addresses;
}

struct probe_addresses *probe_addresses_ref(struct probe_addresses *addresses)
{
    atomic_fetch_add_explicit(&addresses->refs, 1, memory_order_relaxed);
    return addresses;
}

void probe_addresses_unref(struct probe_addresses *addresses)
{
    if (!addresses || atomic_fetch_sub_explicit(&addresses->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(addresses->ends);
    free(addresses->data);
    free(addresses);
}

void probe_addresses_add(struct probe_addresses *addresses, uint32_t rank, const uint8_t *bytes,
                         size_t len)
{
    if (len)
        memcpy(addresses->data + addresses->bytes, bytes, len);
    addresses->bytes += len;
    addresses->ends[rank] = (uint32_t)addresses->bytes;
}

const uint8_t *probe_addresses_of(const struct probe_addresses *addresses, uint32_t rank,
                                  size_t *ret_len)
{
    uint32_t start = rank ? addresses->ends[rank - 1] : 0;

    *ret_len = addresses->ends[rank] - start;
    return addresses->data + start;
}

void probe_order_release(struct probe_order *order)
{
    if (!order || order->kind != PROBE_START)
        return;
    probe_addresses_unref(order->start.addresses);
    order->start.addresses = NULL;
}

/* ---- neighbours ------------------------------------------------------------------------------ */

static void insert(uint32_t *list, unsigned *n, uint32_t rank)
{
    unsigned at = 0;

    while (at < *n && list[at] < rank)
        at++;
    if (at < *n && list[at] == rank)
        return;
    memmove(list + at + 1, list + at, (*n - at) * sizeof(*list));
    list[at] = rank;
    (*n)++;
}

/*
 * Doubling has a power of two of seats; of the `extra` ranks beyond it each even rank below 2 *
 * extra leans on the next one, which has a seat for both.
 */
static void insert_partners(uint32_t *list, unsigned *n, uint32_t rank, uint32_t ranks)
{
    uint32_t seats = 1u << (31 - (unsigned)__builtin_clz(ranks)), extra = ranks - seats, seat;

    if (rank < 2 * extra && rank % 2 == 0)
        return; /* its neighbour in the ring is all that it knows */
    seat = rank < 2 * extra ? rank / 2 : rank - extra;
    for (uint32_t bit = 1; bit < seats; bit <<= 1) {
        uint32_t other = seat ^ bit;

        insert(list, n, other < extra ? 2 * other + 1 : other + extra);
    }
}

unsigned probe_neighbours(uint32_t rank, uint32_t ranks, uint32_t ret[PROBE_NEIGHBOURS_MAX])
{
    unsigned n = 0;

    for (uint32_t away = 1; away < ranks; away <<= 1) {
        insert(ret, &n, (rank + away) % ranks);
        insert(ret, &n, (rank + ranks - away) % ranks);
    }
    insert_partners(ret, &n, rank, ranks);
    return n;
}
