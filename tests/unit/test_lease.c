/* Leadership is read off the Lease: when may writes begin, and until when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/model/lease.h"

#define S INT64_C(1000000000)
#define WALL (1800000000 * S)
#define BOOT (5000 * S)

/* One look at the Lease: times in seconds after the case began. */
struct look {
    const char *holder; /* NULL: the Lease is gone */
    int transitions, acquired, renewed;
    int now;
    bool may_write; /* right then */
    int from, until; /* checked when ours: seconds; -1: not checked */
};

struct lease_case {
    const char *name;
    struct look looks[4];
};

static const struct lease_case cases[] = {
    {"the first holder ever begins at once", {{"a_1", 0, 10, 10, 10, true, 10, 32}}},
    {"a renewal moves the end", {{"a_1", 0, 10, 10, 10, true, 10, 32}, {"a_1", 0, 10, 20, 20, true, 10, 42}}},
    {"another host's Lease is not ours", {{"b_1", 0, 10, 10, 10, false, -1, -1}}},
    {"a host whose name begins like ours is another one", {{"a2_1", 0, 10, 10, 10, false, -1, -1}}},
    {"a host name may hold an underscore", {{"a_a_1", 0, 10, 10, 10, false, -1, -1}}},
    {"after another holder the longest write is waited for",
     {{"b_1", 0, 0, 0, 0, false, -1, -1}, {"a_1", 1, 40, 40, 40, false, 48, 62}, {"a_1", 1, 40, 48, 48, true, 48, 70}}},
    {"a new process waits out what its predecessor's rival may have sent",
     {{"a_1", 1, 10, 14, 14, false, 40, 36}, {"a_1", 1, 10, 40, 40, true, 40, 62}}},
    {"a new process on a host that has led for long begins at once", {{"a_1", 3, 0, 99, 100, true, 30, 121}}},
    {"kube-scheduler beside us was restarted: nobody came between",
     {{"a_1", 0, 0, 0, 0, true, 0, 22}, {"a_2", 1, 35, 35, 35, true, 35, 57}}},
    {"two transitions at once: another leader came between unseen",
     {{"a_1", 0, 0, 0, 0, true, 0, 22}, {"a_2", 2, 90, 90, 90, false, 120, 112}}},
    {"a leader that stepped down and came back",
     {{"a_1", 0, 0, 0, 0, true, 0, 22}, {"", 0, 0, 5, 5, false, -1, -1}, {"a_2", 1, 9, 9, 9, true, 9, 31}}},
    {"a Lease that was deleted under another leader and made anew",
     {{"b_1", 0, 0, 0, 0, false, -1, -1}, {NULL, 0, 0, 0, 5, false, -1, -1}, {"a_1", 0, 6, 6, 6, false, 30, 28}}},
    {"another holder gave it away: its extender may not know yet",
     {{"b_1", 0, 0, 0, 0, false, -1, -1}, {"", 0, 0, 1, 1, false, -1, -1}, {"a_1", 1, 2, 2, 2, false, 30, 24}, {"a_1", 1, 2, 30, 30, true, 30, 52}}},
    {"a renewal seen late counts from when it was made", {{"a_1", 0, 0, 10, 25, true, 25, 32}}},
    {"a renewal seen too late is none", {{"a_1", 0, 0, 10, 33, false, 33, 32}}},
    {"a wall clock that was set back does not make the Lease longer", {{"a_1", 0, 50, 50, 10, true, 10, 32}}},
};

static void leads_only_in_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct lease_view view = {0};

        for (size_t k = 0; k < 4; k++) {
            const struct look *look = &cases[i].looks[k];
            char holder[32] = "";
            struct obj_lease lease = {.holder = holder, .duration_ns = 30 * S,
                                      .acquired_ns = WALL + look->acquired * S,
                                      .renewed_ns = WALL + look->renewed * S,
                                      .transitions = look->transitions};

            if (k > 0 && !look->holder && !look->now)
                break;
            memcpy(holder, look->holder ? look->holder : "", strlen(look->holder ? look->holder : ""));
            if (look->holder)
                lease_see(&view, "a", &lease, WALL + look->now * S, BOOT + look->now * S);
            else
                lease_gone(&view);
            if (lease_may_write(&view, BOOT + look->now * S) != look->may_write)
                fail_msg("%s: look %zu: may write is %d", cases[i].name, k, !look->may_write);
            if (look->from >= 0 && (view.from_ns != BOOT + look->from * S || view.until_ns != BOOT + look->until * S))
                fail_msg("%s: look %zu: from %lld until %lld", cases[i].name, k,
                         (long long)((view.from_ns - BOOT) / S), (long long)((view.until_ns - BOOT) / S));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(leads_only_in_time)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
