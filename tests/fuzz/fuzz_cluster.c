/*
 * Any bytes as CLUSTER of lockstep plan: refused with a word, or a core whose invariants hold when all that
 * can be planned is planned, and still when its deadlines have passed.
 */
#include <stdint.h>
#include <stdlib.h>

#include "scheduler/model/config.h"
#include "tests/fuzz/settle.h"

#define TICKS 3
#define HOLDS_MAX 2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Something is due, and soon done. */
static bool is_small(const struct core *core)
{
    struct core_counts counts;

    core_counts(core, &counts);
    return core_deadline(core) < INT64_MAX && counts.holds <= HOLDS_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct loader loader = {0};
    struct err err = ERR_INIT;

    if (size > INPUT_MAX)
        return 0;
    if (config_init(&config) < 0)
        abort();
    config.lease[0] = '\0';
    loader.core = core_new(&config);
    if (load_cluster_text(&loader, "fuzz", (const char *)data, size, &err) < 0) {
        if (!err.text[0])
            abort();
    } else if (may_settle(loader.core)) {
        settle_at(&loader, EV_SYNCED, 1);
        for (int i = 0; i < TICKS && is_small(loader.core); i++)
            settle_at(&loader, EV_TICK, core_deadline(loader.core));
    }
    core_free(loader.core);
    actions_release(&loader.actions);
    config_release(&config);
    return 0;
}
