/* Any bytes as an order: an error that says why, or a value that is written, and read again, as it
 * is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "collective/probe_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_order(struct probe_order *order, uint32_t first_rank, struct strbuf *out)
{
    struct err err = ERR_INIT;

    if (order->kind == PROBE_START)
        order->start.addresses->all = true; /* whatever there is, goes along */
    if (probe_order_encode(order, first_rank, 1, out, &err) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strbuf out[2] = {STRBUF_INIT(PROBE_ORDER_MAX), STRBUF_INIT(PROBE_ORDER_MAX)};
    struct probe_order order, again;
    struct err err = ERR_INIT;
    uint32_t first_rank, rank_again;

    if (probe_order_decode(data, size, &order, &first_rank, &err) < 0) {
        if (!err.text[0])
            abort();
        return 0;
    }
    write_order(&order, first_rank, &out[0]);
    if (probe_order_decode((const uint8_t *)out[0].data, out[0].len, &again, &rank_again, &err) <
            0 ||
        rank_again != first_rank || again.kind != order.kind)
        abort();
    write_order(&again, first_rank, &out[1]);
    if (out[0].len != out[1].len || memcmp(out[0].data, out[1].data, out[0].len) != 0)
        abort();
    strbuf_release(&out[0]);
    strbuf_release(&out[1]);
    probe_order_release(&order);
    probe_order_release(&again);
    return 0;
}
