#include "tests/sim/sim_table.h"

#include <stdio.h>
#include <string.h>

#include "scheduler/model/core.h"

/* ---- counting ------------------------------------------------------------------------------------------ */

/* Columns of events: outcomes of writes are told apart by what was written. */
enum what { WHAT_BIND = EVENT_KINDS, WHAT_NOMINATE, WHAT_PLACEMENT, WHAT_EVICT, WHAT_READ, WHAT_CRASH, WHATS };

static uint64_t counts[WHATS][FAULTS][GANG_STATES];

/* Also of a pod that is seen for the first time. */
static const struct gang *gang_of_pod(const struct core *core, const struct obj_pod *pod)
{
    const struct gang *gang = core_gang_of(core, pod->uid);

    return gang ? gang : core_gang(core, pod->ns, pod->wish.name[0] ? pod->wish.name : pod->group_native);
}

static const struct gang *gang_of(const struct core *core, const struct event *event)
{
    switch (event->kind) {
    case EV_POD:
        return gang_of_pod(core, event->object.pod);
    case EV_JOB:
        return core_gang(core, event->object.job->ns, event->object.job->name);
    case EV_GROUP:
        return core_gang(core, event->object.group->ns, event->object.group->name);
    case EV_PLACEMENT:
        return core_gang(core, event->object.placement->ns, event->object.placement->name);
    case EV_JOB_GONE:
    case EV_GROUP_GONE:
    case EV_PLACEMENT_GONE:
    case EV_PROBED:
        return core_gang(core, event->ns_name, event->name);
    case EV_WRITE_DONE:
        return event->action == ACT_PLACEMENT ? core_gang(core, event->ns_name, event->name)
                                              : core_gang_of(core, event->uid);
    default:
        return core_gang_of(core, event->uid);
    }
}

static int what_of(const struct event *event)
{
    if (event->kind != EV_WRITE_DONE)
        return (int)event->kind;
    switch (event->action) {
    case ACT_BIND:
        return WHAT_BIND;
    case ACT_NOMINATE:
        return WHAT_NOMINATE;
    case ACT_EVICT:
        return WHAT_EVICT;
    case ACT_READ_POD:
        return WHAT_READ;
    default:
        return WHAT_PLACEMENT;
    }
}

static void count_all(const struct core *core, uint64_t *row)
{
    struct core_counts all;

    core_counts(core, &all);
    for (int state = 0; state < GANG_STATES; state++)
        row[state] += all.by_state[state];
}

void sim_table_crash(const struct core *core)
{
    count_all(core, counts[WHAT_CRASH][FAULT_NONE]);
}

static bool concerns_all(enum event_kind kind)
{
    return kind == EV_TICK || kind == EV_NODE || kind == EV_NODE_GONE || kind == EV_MACHINE ||
           kind == EV_MACHINE_GONE || kind == EV_LEASE || kind == EV_SYNCED;
}

void sim_table_count(const struct core *core, const struct event *event, enum sim_fault fault)
{
    uint64_t *row = counts[what_of(event)][fault];
    const struct gang *gang;

    if (concerns_all(event->kind)) {
        count_all(core, row);
        return;
    }
    gang = gang_of(core, event);
    if (gang)
        row[gang->state]++;
}

/* ---- why a cell is empty --------------------------------------------------------------------------------- */

#define ANY (-1)
#define S(state) (1U << GANG_##state)
#define ALL ((1U << GANG_STATES) - 1)

/* The first rule that matches a cell explains it. */
static const struct rule {
    int what, fault;
    unsigned states;
    const char *why;
} rules[] = {
    {EV_NAMESPACE, ANY, ALL, "namespaces are read before there are gangs; their change: test_core"},
    {EV_NAMESPACE_GONE, ANY, ALL, "as a namespace without labels: test_core"},
    {EV_LEASE_GONE, ANY, ALL, "as a Lease of somebody else, which EV_LEASE brings: test_lease"},
    {EV_SYNCED, ANY, ALL & ~S(FORMING), "a term begins with all gangs Forming: what they are is taken over then"},
    {EV_WRITE_DONE, ANY, ALL, "counted by what was written, below"},
};

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* Which faults an event can come with at all. */
static bool applies(int what, int fault)
{
    bool write = what >= WHAT_BIND && what <= WHAT_READ, object = what >= EV_NODE && what <= EV_PLACEMENT_GONE;
    bool gone = what == EV_NODE_GONE || what == EV_MACHINE_GONE || what == EV_POD_GONE || what == EV_JOB_GONE ||
                what == EV_GROUP_GONE || what == EV_PLACEMENT_GONE || what == EV_NAMESPACE_GONE;

    switch (fault) {
    case FAULT_REPEATED: /* what is gone is told of once: the watch forgets it then */
        return (object && !gone) || what == EV_VOTE;
    case FAULT_LATE:
        return object;
    case FAULT_LOST_APPLIED: /* reading applies nothing */
        return write && what != WHAT_READ;
    case FAULT_LOST_UNAPPLIED:
    case FAULT_REFUSED:
        return write;
    default:
        return what != EV_WRITE_DONE && what != EV_NAMESPACE && what != EV_NAMESPACE_GONE;
    }
}

static const struct rule *rule_of(int what, int fault, int state)
{
    for (size_t i = 0; i < N(rules); i++)
        if ((rules[i].what == ANY || rules[i].what == what) &&
            (rules[i].fault == ANY || rules[i].fault == fault) && rules[i].states & (1U << state))
            return &rules[i];
    return NULL;
}

/* ---- printing ---------------------------------------------------------------------------------------------- */

static const char *what_name(int what)
{
    static const char *const writes[] = {"bind", "nominate", "placement", "evict", "read pod",
                                         "crash among the actions"};

    return what < WHAT_BIND ? event_kind_name((enum event_kind)what) : writes[what - WHAT_BIND];
}

static const char *fault_name(int what, int fault)
{
    static const char *const names[FAULTS] = {"", "again", "late", "answer lost", "lost", "refused"};

    return what >= WHAT_BIND && what <= WHAT_READ && fault == FAULT_NONE ? "done" : names[fault];
}

static void print_count(uint64_t n)
{
    if (n < 100000)
        printf(" %9llu", (unsigned long long)n);
    else
        printf(" %8.1fM", (double)n / 1e6);
}

/* A count, a letter that leads to a reason, or "?" and "!" for what should not be. */
static bool print_cell(int what, int fault, int state)
{
    const struct rule *rule = rule_of(what, fault, state);
    uint64_t n = counts[what][fault][state];

    if (n > 0 && !rule) {
        print_count(n);
        return true;
    }
    if (n > 0)
        printf(" %7llu!%c", (unsigned long long)n, (char)('a' + (rule - rules)));
    else
        printf(" %9c", rule ? (char)('a' + (rule - rules)) : '?');
    return rule && n == 0;
}

static bool print_row(int what, int fault)
{
    char name[48];
    bool good = true;

    snprintf(name, sizeof(name), "%s%s%s", what_name(what), *fault_name(what, fault) ? ", " : "",
             fault_name(what, fault));
    printf("%-32s", name);
    for (int state = 0; state < GANG_STATES; state++)
        good &= print_cell(what, fault, state);
    putchar('\n');
    return good;
}

bool sim_table_print(void)
{
    uint64_t cells = 0, full = 0;
    bool good = true;

    printf("%-32s", "event, fault \\ state of the gang");
    for (int state = 0; state < GANG_STATES; state++)
        printf(" %9s", gang_state_name((enum gang_state)state));
    putchar('\n');
    for (int what = 0; what < WHATS; what++)
        for (int fault = 0; fault < FAULTS; fault++) {
            if (!applies(what, fault))
                continue;
            good &= print_row(what, fault);
            for (int state = 0; state < GANG_STATES; state++) {
                cells++;
                full += counts[what][fault][state] > 0;
            }
        }
    for (size_t i = 0; i < N(rules); i++)
        printf("  %c  %s\n", (char)('a' + i), rules[i].why);
    printf("%llu of %llu cells met, the others explained: %s\n", (unsigned long long)full,
           (unsigned long long)cells, good ? "yes" : "no (? is empty without a reason, ! met against one)");
    return good;
}
