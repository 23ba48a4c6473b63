/*
 * Any bytes as records, from a child and to one: refused, or values within their bounds that are
 * the same when put again.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "collective/child_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RANKS 4

static void need(bool holds)
{
    if (!holds)
        abort();
}

static void check_event(const struct child_event *event)
{
    need(event->kind < CHILD_EVENT_KINDS && event->phase < CHILD_PHASES);
    need(event->address.len <= BACKEND_ADDRESS_MAX && event->n_seconds <= MEASURE_ROUNDS_MAX);
    need(event->result.n_rows <= MEASURE_SIZES_MAX && event->result.test < MEASURE_TEST_COUNT);
    need(utf8_valid(event->text, strlen(event->text)));
    need(utf8_valid(event->info.version, strlen(event->info.version)));
    for (unsigned i = 0; i < event->n_seconds; i++)
        need(isfinite(event->seconds[i]) && event->seconds[i] >= 0);
}

/* A record that is taken and put again is taken again, and then the same. */
static void put_again(const struct child_event *event)
{
    static struct strbuf texts[2] = {STRBUF_INIT(WIRE_RECORD_MAX), STRBUF_INIT(WIRE_RECORD_MAX)};
    static struct child_event again;
    struct wire_record record;
    size_t used;

    strbuf_clear(&texts[0]);
    strbuf_clear(&texts[1]);
    need(wire_put_event(&texts[0], event) == 0);
    need(wire_next(texts[0].data, texts[0].len, false, &record, &used, NULL) == 1);
    need(wire_get_event(&record, &again, NULL) == 0);
    need(wire_put_event(&texts[1], &again) == 0);
    need(texts[0].len == texts[1].len && memcmp(texts[0].data, texts[1].data, texts[0].len) == 0);
}

static void take_order(const struct wire_record *record)
{
    static struct wire_open open;
    static struct backend_address addresses[RANKS];
    struct measure_pairs pairs = {0};
    struct measure_plan plan;
    struct err err = ERR_INIT;
    uint64_t deadline_ns;
    int r = 0;

    if (record->type == WIRE_OPEN) {
        r = wire_get_open(record, &open, &err);
        need(r < 0 ||
             (open.options.rank < open.options.ranks && utf8_valid(open.host, strlen(open.host))));
    } else if (record->type == WIRE_CONNECT) {
        r = wire_get_connect(record, RANKS, addresses, &deadline_ns, &err);
    } else if (record->type == WIRE_RUN) {
        r = wire_get_run(record, RANKS, &plan, &deadline_ns, &err);
        need(r < 0 || measure_plan_check(&plan, RANKS, NULL) == 0);
    } else if (record->type == WIRE_PAIRS) {
        r = wire_get_pairs(record, RANKS, &pairs, &deadline_ns, &err);
        for (unsigned i = 0; r == 0 && i < pairs.n_rounds; i++)
            need(pairs.peers[i] < RANKS || pairs.peers[i] == MEASURE_NO_PEER);
        if (r == 0)
            free(pairs.peers);
    }
    need(r == 0 || err.text[0]);
}

static void read_all(const uint8_t *data, size_t size, bool to_child)
{
    static struct child_event event;
    struct err err = ERR_INIT;
    struct wire_record record;
    size_t used;
    int r;

    while ((r = wire_next(data, size, to_child, &record, &used, &err)) == 1) {
        need(used >= WIRE_HEAD && used <= size);
        if (to_child) {
            take_order(&record);
        } else if (wire_get_event(&record, &event, &err) == 0) {
            check_event(&event);
            put_again(&event);
        } else {
            need(err.text[0] != '\0');
        }
        data += used;
        size -= used;
    }
    need(r == 0 || err.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[CHILD_TEXT_MAX];

    read_all(data, size, true);
    read_all(data, size, false);
    wire_clean_text((const char *)data, size, text, sizeof(text));
    need(utf8_valid(text, strlen(text)));
    return 0;
}
