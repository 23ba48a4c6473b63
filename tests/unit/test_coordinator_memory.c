/* The coordinator without memory: one allocation after the other fails, and each gang still ends. */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/coordinator_world.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

static unsigned allocations, fails_from, fails_to; /* numbers of those that fail; 0: none */

static bool fails(void)
{
    allocations++;
    return allocations >= fails_from && allocations < fails_to;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

/* As step(), but that the gang may not have been taken. */
static void try_step(struct world *world, struct coordinator_event event)
{
    struct err err = ERR_INIT;
    int r;

    coordinator_actions_clear(&world->actions);
    r = coordinator_step(world->coordinator, &event, world->now_ns, &world->actions, &err);
    if (r < 0)
        assert_int_equal(r, -ENOMEM);
    if (coordinator_check(world->coordinator, &err) < 0)
        fail_msg("%s", err.text);
}

static void try_join(struct world *world, unsigned pod, uint64_t start_id)
{
    static struct probe_join message;

    message = join_of(world, pod);
    message.start_id = start_id;
    message.round = start_id ? 1 : 0;
    world->streams[pod] = world->next++;
    try_step(world, (struct coordinator_event){.kind = COORD_JOIN,
                                               .stream = world->streams[pod],
                                               .pod_uid = world->pods[pod].uid,
                                               .join = &message});
}

static void try_report(struct world *world, unsigned pod, uint64_t start_id,
                       enum probe_outcome outcome)
{
    static struct probe_report message;

    message = report_of(world, pod, start_id, outcome);
    try_step(world, (struct coordinator_event){.kind = COORD_REPORT,
                                               .stream = world->next++,
                                               .pod_uid = world->pods[pod].uid,
                                               .report = &message});
}

/* A life with a round that is lost and a round that is measured, as far as it gets. */
static void live(struct world *world)
{
    const uint64_t first = (uint64_t)world->epoch << 32 | 1;

    try_step(world, (struct coordinator_event){.kind = COORD_EXPECT, .gang = &world->gang});
    try_step(world, (struct coordinator_event){
                        .kind = COORD_POD_STATE, .pod_uid = "uid-1", .text = "pulling image"});
    for (unsigned i = 0; i < 3; i++)
        try_join(world, i, 0);
    try_join(world, 1, first); /* its stream was lost */
    try_report(world, 1, first, PROBE_OUTCOME_LOST);
    for (unsigned i = 0; i < 3; i++)
        try_join(world, i, 0);
    for (unsigned i = 0; i < 3; i++)
        try_report(world, i, first + 1, PROBE_OUTCOME_OK);
}

static void whatever_allocation_fails_the_gang_ends(void **state)
{
    unsigned most = 0, measured = 0;

    (void)state;
    for (unsigned many = 0; many < 2; many++)
        for (unsigned n = 1; n == 1 || n <= most; n++) {
            struct world world;
            char text[400];
            unsigned left_out;
            struct coordinator_counts counts;

            world_new(&world, 0 + 1, 1);
            step(&world,
                 (struct coordinator_event){.kind = COORD_GONE, .id = &world.gang.id});
            world_plan(&world, 3, 2);
            allocations = 0;
            fails_from = n;
            fails_to = many ? n + 8 : n + 1;
            live(&world);
            most = allocations > most ? allocations : most;
            fails_from = fails_to = 0;
            coordinator_counts(world.coordinator, &counts);
            left_out = (unsigned)counts.left_out;
            pass(&world, 301 * SECOND);
            if (coordinator_tell(world.coordinator, "team", "train", text, sizeof(text))) {
                if (strncmp(text, "Done: ", 6) != 0)
                    fail_msg("without allocation %u (%u left out): %s", n, left_out, text);
                measured += strncmp(text, "Done: ok", 8) == 0;
            }
            world_free(&world);
        }
    print_message("%u allocations; the gang was measured in %u of %u lives\n", most, measured,
                  2 * most);
    assert_true(most > 20);
    assert_true(measured > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_allocation_fails_the_gang_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
