/* Order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "collective/probe_wire_internal.h"

#define MS_MAX ((uint64_t)PROBE_SECONDS_MAX * 1000)
#define NS_MAX ((uint64_t)PROBE_SECONDS_MAX * 1000000000)

/* ---- checks ---------------------------------------------------------------------------------- */

static void check_plan(struct wire_check *check, const struct probe_plan *plan)
{
    wire_word(check, "plan.op", plan->op);
    wire_number(check, "plan.sizes", plan->n_sizes, 0, PROBE_SIZES_MAX);
    for (unsigned i = 0; check->code == 0 && i < plan->n_sizes; i++)
        wire_number(check, "plan.sizes", plan->sizes[i], i ? plan->sizes[i - 1] + 1 : 1,
                    PROBE_BYTES_MAX);
    wire_number(check, "plan.bytes_min", plan->bytes_min, 0, PROBE_BYTES_MAX);
    wire_number(check, "plan.bytes_max", plan->bytes_max, 0, PROBE_BYTES_MAX);
    wire_real(check, "plan.expected_gb_s", plan->expected_gb_s, PROBE_GB_S_MAX);
    wire_number(check, "plan.iterations_max", plan->iterations_max, 0, 1000000);
    wire_number(check, "plan.budget_ns", plan->budget_ns, 0, NS_MAX);
}

int probe_plan_check(const struct probe_plan *plan, struct err *err)
{
    struct wire_check check = {.err = err};

    check_plan(&check, plan);
    return check.code;
}

static void check_verdict(struct wire_check *check, const struct probe_order *order)
{
    wire_number(check, "verdict.word", (uint64_t)order->verdict.word, 0, VERDICTS - 1);
    wire_real(check, "verdict.measured_gb_s", order->verdict.measured_gb_s, PROBE_GB_S_MAX);
    wire_real(check, "verdict.expected_gb_s", order->verdict.expected_gb_s, PROBE_GB_S_MAX);
    wire_text(check, "verdict.message", order->verdict.message);
    wire_number(check, "verdict.hold_ms", order->verdict.hold_ms, 0,
                order->verdict.hold ? MS_MAX : 0);
}

static int check_order(const struct probe_order *order, uint32_t first_rank, struct err *err)
{
    struct wire_check check = {.err = err};

    wire_gang(&check, &order->gang);
    wire_number(&check, "first_rank", first_rank, 0, PROBE_RANKS_MAX - 1);
    switch (order->kind) {
    case PROBE_WAITING:
        wire_number(&check, "waiting.ranks", order->waiting.ranks, 1, PROBE_RANKS_MAX);
        wire_number(&check, "waiting.joined", order->waiting.joined, 0, order->waiting.ranks);
        wire_text(&check, "waiting.missing", order->waiting.missing);
        break;
    case PROBE_START:
        wire_number(&check, "start.start_id", order->start.start_id, 1, UINT64_MAX);
        wire_number(&check, "start.round", order->start.round, 1, PROBE_ROUND_MAX);
        wire_number(&check, "start.ranks", order->start.ranks, first_rank + 1, PROBE_RANKS_MAX);
        wire_number(&check, "start.deadline_ms", order->start.deadline_ms, 1, MS_MAX);
        check_plan(&check, &order->start.plan);
        break;
    case PROBE_VERDICT:
        check_verdict(&check, order);
        break;
    case PROBE_ABORT:
        wire_text(&check, "abort.reason", order->abort.reason);
        break;
    }
    return check.code;
}

/* ---- from the wire --------------------------------------------------------------------------- */

static void copy_plan(struct wire_check *check, const PbPlan *from, struct probe_plan *ret)
{
    if (!from) {
        wire_refuse(check, "plan", "none, expected one");
        return;
    }
    wire_copy(check, "plan.op", from->op, ret->op, sizeof(ret->op));
    wire_number(check, "plan.sizes", from->n_sizes, 0, PROBE_SIZES_MAX);
    if (check->code < 0)
        return;
    for (size_t i = 0; i < from->n_sizes; i++)
        ret->sizes[i] = from->sizes[i];
    ret->n_sizes = (unsigned)from->n_sizes;
    ret->bytes_min = from->bytes_min;
    ret->bytes_max = from->bytes_max;
    ret->sweep = from->sweep;
    ret->check = from->check;
    ret->pairs = from->pairs;
    ret->expected_gb_s = from->expected_gb_s;
    ret->iterations_max = from->iterations_max;
    ret->budget_ns = from->budget_ns;
}

/* Ranks ascend, so no address comes twice; what they weigh together is bounded by the message. */
static void check_addresses(struct wire_check *check, const PbStart *from, size_t *ret_bytes)
{
    *ret_bytes = 0;
    if (from->n_addresses != from->n_address_ranks) {
        wire_refuse(check, "start.addresses", "%zu of them for %zu ranks, expected one for each",
                    from->n_addresses, from->n_address_ranks);
        return;
    }
    for (size_t i = 0; check->code == 0 && i < from->n_addresses; i++) {
        wire_number(check, "start.address_ranks", from->address_ranks[i],
                    i ? (uint64_t)from->address_ranks[i - 1] + 1 : 0, from->ranks - 1);
        wire_number(check, "start.addresses", from->addresses[i].len, 0, PROBE_ADDRESS_MAX);
        *ret_bytes += from->addresses[i].len;
    }
}

static void copy_start(struct wire_check *check, const PbStart *from, struct probe_order *ret)
{
    size_t bytes = 0, next = 0;

    wire_number(check, "start.ranks", from->ranks, 1, PROBE_RANKS_MAX);
    if (check->code == 0)
        check_addresses(check, from, &bytes);
    copy_plan(check, from->plan, &ret->start.plan);
    if (check->code < 0)
        return;
    ret->start.start_id = from->start_id;
    ret->start.round = from->round;
    ret->start.ranks = from->ranks;
    ret->start.deadline_ms = from->deadline_ms;
    ret->start.addresses = probe_addresses_new(from->ranks, bytes);
    if (!ret->start.addresses) {
        check->code = err_set(check->err, -ENOMEM, "out of memory");
        return;
    }
    for (uint32_t rank = 0; rank < from->ranks; rank++) {
        bool given = next < from->n_addresses && from->address_ranks[next] == rank;

        probe_addresses_add(ret->start.addresses, rank, given ? from->addresses[next].data : NULL,
                            given ? from->addresses[next].len : 0);
        next += given;
    }
}

static void copy_verdict(struct wire_check *check, const PbVerdict *from, struct probe_order *ret)
{
    wire_number(check, "verdict.word", (uint64_t)from->word, 1, VERDICTS);
    if (check->code < 0)
        return;
    ret->verdict.word = (enum verdict)(from->word - 1);
    ret->verdict.measured_gb_s = from->measured_gb_s;
    ret->verdict.expected_gb_s = from->expected_gb_s;
    wire_copy(check, "verdict.message", from->message, ret->verdict.message,
              sizeof(ret->verdict.message));
    ret->verdict.hold = from->hold;
    ret->verdict.hold_ms = from->hold_ms;
}

static void copy_order(struct wire_check *check, const PbOrder *from, struct probe_order *ret)
{
    switch (from->what_case) {
    case LOCKSTEP__PROBE__V1__ORDER__WHAT_WAITING:
        ret->kind = PROBE_WAITING;
        ret->waiting.joined = from->waiting->joined;
        ret->waiting.ranks = from->waiting->ranks;
        wire_copy(check, "waiting.missing", from->waiting->missing, ret->waiting.missing,
                  sizeof(ret->waiting.missing));
        break;
    case LOCKSTEP__PROBE__V1__ORDER__WHAT_START:
        ret->kind = PROBE_START;
        copy_start(check, from->start, ret);
        break;
    case LOCKSTEP__PROBE__V1__ORDER__WHAT_VERDICT:
        ret->kind = PROBE_VERDICT;
        copy_verdict(check, from->verdict, ret);
        break;
    case LOCKSTEP__PROBE__V1__ORDER__WHAT_ABORT:
        ret->kind = PROBE_ABORT;
        wire_copy(check, "abort.reason", from->abort->reason, ret->abort.reason,
                  sizeof(ret->abort.reason));
        ret->abort.again = from->abort->again;
        break;
    case LOCKSTEP__PROBE__V1__ORDER__WHAT__NOT_SET:
    default:
        wire_refuse(check, "what", "none, expected waiting, start, verdict or abort");
        break;
    }
}

int probe_order_decode(const uint8_t *bytes, size_t len, struct probe_order *ret_order,
                       uint32_t *ret_first_rank, struct err *err)
{
    CLEANUP(wire_free) ProtobufCMessage *message = NULL;
    struct wire_check check = {.err = err};
    const PbOrder *from;
    int r = wire_unpack(&lockstep__probe__v1__order__descriptor, bytes, len, PROBE_ORDER_MAX,
                        &message, err);

    if (r < 0)
        return r;
    from = (const PbOrder *)message;
    memset(ret_order, 0, sizeof(*ret_order));
    wire_copy_gang(&check, from->gang, &ret_order->gang);
    copy_order(&check, from, ret_order);
    r = check.code < 0 ? check.code : check_order(ret_order, from->first_rank, err);
    if (r < 0)
        probe_order_release(ret_order);
    else
        *ret_first_rank = from->first_rank;
    return r;
}

/* ---- to the wire ----------------------------------------------------------------------------- */

struct chosen { /* addresses that go along */
    uint32_t *ranks;
    ProtobufCBinaryData *addresses;
    size_t n;
};

static void choose(struct chosen *chosen, const struct probe_addresses *addresses, uint32_t rank)
{
    size_t len;
    const uint8_t *bytes = probe_addresses_of(addresses, rank, &len);

    if (len == 0)
        return;
    chosen->ranks[chosen->n] = rank;
    chosen->addresses[chosen->n++] = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)bytes};
}

static int by_number(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

static void choose_neighbours(struct chosen *chosen, const struct probe_addresses *addresses,
                              uint32_t first, uint32_t devices)
{
    uint32_t wanted[PROBE_DEVICES_MAX * (PROBE_NEIGHBOURS_MAX + 1)];
    unsigned n = 0;

    for (uint32_t rank = first; rank < first + devices; rank++) {
        wanted[n++] = rank;
        n += probe_neighbours(rank, addresses->ranks, wanted + n);
    }
    qsort(wanted, n, sizeof(*wanted), by_number);
    for (unsigned i = 0; i < n; i++)
        if (i == 0 || wanted[i] != wanted[i - 1])
            choose(chosen, addresses, wanted[i]);
}

/* 5: tags and lengths around an address. */
static bool all_to_all(const struct probe_addresses *addresses)
{
    uint64_t streams = addresses->streams ? addresses->streams : 1;

    return addresses->all ||
           (addresses->bytes + 5 * (uint64_t)addresses->ranks) * streams <= PROBE_START_BYTES_MAX;
}

static int choose_addresses(struct chosen *chosen, const struct probe_addresses *addresses,
                            uint32_t first, uint32_t devices, struct err *err)
{
    chosen->ranks = cleanup_alloc(addresses->ranks * sizeof(*chosen->ranks));
    chosen->addresses = cleanup_alloc(addresses->ranks * sizeof(*chosen->addresses));
    if (!chosen->ranks || !chosen->addresses)
        return err_set(err, -ENOMEM, "out of memory");
    if (devices < 1 || devices > PROBE_DEVICES_MAX || first + devices > addresses->ranks)
        return err_set(err, -EINVAL,
                       "field `devices`: found %u from rank %u on, expected 1 to %d of %u ranks",
                       devices, first, PROBE_DEVICES_MAX, addresses->ranks);
    if (!all_to_all(addresses)) {
        choose_neighbours(chosen, addresses, first, devices);
        return 0;
    }
    for (uint32_t rank = 0; rank < addresses->ranks; rank++)
        choose(chosen, addresses, rank);
    return 0;
}

static void chosen_release(struct chosen *chosen)
{
    free(chosen->ranks);
    free(chosen->addresses);
}

static void fill_plan(const struct probe_plan *from, PbPlan *ret)
{
    lockstep__probe__v1__plan__init(ret);
    ret->op = (char *)(uintptr_t)from->op;
    ret->n_sizes = from->n_sizes;
    ret->sizes = (uint64_t *)(uintptr_t)from->sizes;
    ret->bytes_min = from->bytes_min;
    ret->bytes_max = from->bytes_max;
    ret->sweep = from->sweep;
    ret->check = from->check;
    ret->pairs = from->pairs;
    ret->expected_gb_s = from->expected_gb_s;
    ret->iterations_max = from->iterations_max;
    ret->budget_ns = from->budget_ns;
}

static void fill_start(const struct probe_order *from, const struct chosen *chosen, PbStart *ret,
                       PbPlan *plan)
{
    lockstep__probe__v1__start__init(ret);
    fill_plan(&from->start.plan, plan);
    ret->plan = plan;
    ret->start_id = from->start.start_id;
    ret->round = from->start.round;
    ret->ranks = from->start.ranks;
    ret->deadline_ms = from->start.deadline_ms;
    ret->n_address_ranks = ret->n_addresses = chosen->n;
    ret->address_ranks = chosen->ranks;
    ret->addresses = chosen->addresses;
}

static void fill_waiting(const struct probe_order *from, PbWaiting *ret)
{
    lockstep__probe__v1__waiting__init(ret);
    ret->joined = from->waiting.joined;
    ret->ranks = from->waiting.ranks;
    ret->missing = (char *)(uintptr_t)from->waiting.missing;
}

static void fill_verdict(const struct probe_order *from, PbVerdict *ret)
{
    lockstep__probe__v1__verdict__init(ret);
    ret->word = (Lockstep__Probe__V1__Word)(from->verdict.word + 1);
    ret->measured_gb_s = from->verdict.measured_gb_s;
    ret->expected_gb_s = from->verdict.expected_gb_s;
    ret->message = (char *)(uintptr_t)from->verdict.message;
    ret->hold = from->verdict.hold;
    ret->hold_ms = from->verdict.hold_ms;
}

static void fill_abort(const struct probe_order *from, PbAbort *ret)
{
    lockstep__probe__v1__abort__init(ret);
    ret->reason = (char *)(uintptr_t)from->abort.reason;
    ret->again = from->abort.again;
}

int probe_order_encode(const struct probe_order *order, uint32_t first_rank, uint32_t devices,
                       struct strbuf *out, struct err *err)
{
    CLEANUP(chosen_release) struct chosen chosen = {0};
    PbOrder message = LOCKSTEP__PROBE__V1__ORDER__INIT;
    union {
        PbWaiting waiting;
        PbStart start;
        PbVerdict verdict;
        PbAbort abort;
    } what;
    PbPlan plan;
    PbGang gang;
    int r = check_order(order, first_rank, err);

    if (r == 0 && order->kind == PROBE_START && order->start.addresses->ranks != order->start.ranks)
        r = err_set(err, -EINVAL,
                    "field `start.ranks`: found %u, expected %u as there are addresses",
                    order->start.ranks, order->start.addresses->ranks);
    if (r == 0 && order->kind == PROBE_START)
        r = choose_addresses(&chosen, order->start.addresses, first_rank, devices, err);
    if (r < 0)
        return r;
    wire_point_gang(&order->gang, &gang);
    message.gang = &gang;
    message.first_rank = first_rank;
    switch (order->kind) {
    case PROBE_WAITING:
        fill_waiting(order, &what.waiting);
        message.what_case = LOCKSTEP__PROBE__V1__ORDER__WHAT_WAITING;
        message.waiting = &what.waiting;
        break;
    case PROBE_START:
        fill_start(order, &chosen, &what.start, &plan);
        message.what_case = LOCKSTEP__PROBE__V1__ORDER__WHAT_START;
        message.start = &what.start;
        break;
    case PROBE_VERDICT:
        fill_verdict(order, &what.verdict);
        message.what_case = LOCKSTEP__PROBE__V1__ORDER__WHAT_VERDICT;
        message.verdict = &what.verdict;
        break;
    case PROBE_ABORT:
        fill_abort(order, &what.abort);
        message.what_case = LOCKSTEP__PROBE__V1__ORDER__WHAT_ABORT;
        message.abort = &what.abort;
        break;
    }
    r = wire_pack(&message.base, out);
    return r < 0 ? err_set(err, r, "an order does not fit: %s", strerror(-r)) : 0;
}
