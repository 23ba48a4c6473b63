/* The verbs byte for byte, against a real core on a small cluster. */
#include "tests/unit/world.h"

#include "base/clock.h"
#include "scheduler/extender/verbs.h"

struct fixture {
    struct world world;
    pthread_rwlock_t lock;
    struct verbs verbs;
    struct event posted; /* the last event that a verb posted */
    int nposted, nmissed;
};

static void keep(void *context, const struct event *event)
{
    struct fixture *fixture = context;

    fixture->posted = *event;
    fixture->nposted++;
}

static void count_missed(void *context, const char *pod, const char *node, size_t offered)
{
    (void)pod;
    (void)node;
    (void)offered;
    ((struct fixture *)context)->nmissed++;
}

static int open_fixture(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    world_open(&fixture->world);
    add_node(&fixture->world, "n0", "b", "r");
    add_node(&fixture->world, "n1", "b", "r");
    sync_world(&fixture->world);
    pthread_rwlock_init(&fixture->lock, NULL);
    fixture->verbs = (struct verbs){.core = fixture->world.core,
                                    .lock = &fixture->lock,
                                    .post = keep,
                                    .missed = count_missed,
                                    .context = fixture,
                                    .unseen = UNSEEN_INIT};
    *state = fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;

    world_close(&fixture->world);
    pthread_rwlock_destroy(&fixture->lock);
    free(fixture);
    return 0;
}

static void expect(struct fixture *fixture, http_handler_fn *verb, const char *body, int status,
                   const char *answer)
{
    struct http_request request = {"POST", "/", body, strlen(body), 42};
    struct http_reply reply = {.status = 200, .body = STRBUF_INIT(65536)};

    verb(&fixture->verbs, &request, &reply);
    assert_int_equal(reply.status, status);
    assert_string_equal(reply.body.data ? reply.body.data : "", answer);
    strbuf_release(&reply.body);
}

#define ASK(uid, names)                                                                            \
    "{\"Pod\":{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"" uid                   \
    "\"}},\"Nodes\":null,\"NodeNames\":[" names "]}"

static void a_planned_member_gets_its_one_node(void **state)
{
    struct fixture *fixture = *state;

    put_pod(&fixture->world, make_pod("g-0", 8, "g", 2));
    expect(fixture, verb_filter, ASK("g-0", "\"n1\",\"n0\""), 200,
           "{\"Nodes\":null,\"NodeNames\":[\"n0\"],\"FailedNodes\":null,"
           "\"FailedAndUnresolvableNodes\":null,\"Error\":\"\"}");
    assert_int_equal(fixture->nposted, 0);
}

static void a_waiting_member_gets_one_unresolvable_refusal(void **state)
{
    struct fixture *fixture = *state;

    put_pod(&fixture->world, make_pod("g-0", 8, "g", 3));
    expect(fixture, verb_filter, ASK("g-0", "\"n1\",\"n0\""), 200,
           "{\"Nodes\":null,\"NodeNames\":[],\"FailedNodes\":null,\"FailedAndUnresolvableNodes\":"
           "{\"n1\":\"the gang waits until all of it fits: see kubectl get gangplacements\"},"
           "\"Error\":\"\"}");
    assert_int_equal(fixture->posted.kind, EV_REFUSED);
    assert_string_equal(fixture->posted.uid, "g-0");
}

static void a_planned_node_that_is_not_offered_is_observed(void **state)
{
    struct fixture *fixture = *state;

    put_pod(&fixture->world, make_pod("g-0", 8, "g", 2));
    expect(fixture, verb_filter, ASK("g-0", "\"n1\""), 200,
           "{\"Nodes\":null,\"NodeNames\":[],\"FailedNodes\":null,\"FailedAndUnresolvableNodes\":"
           "{\"n1\":\"the planned node was not among those looked at: the pod is steered to it\"},"
           "\"Error\":\"\"}");
    assert_int_equal(fixture->posted.kind, EV_MISSED);
    assert_int_equal(fixture->nmissed, 1);
}

static void an_ordinary_pod_is_kept_off_what_is_held(void **state)
{
    struct fixture *fixture = *state;

    put_pod(&fixture->world, make_pod("g-0", 8, "g", 1));
    put_pod(&fixture->world, make_pod("plain", 1, "", 0));
    expect(fixture, verb_filter, ASK("plain", "\"n0\",\"n1\",\"elsewhere\""), 200,
           "{\"Nodes\":null,\"NodeNames\":[\"n1\",\"elsewhere\"],\"FailedNodes\":null,"
           "\"FailedAndUnresolvableNodes\":null,\"Error\":\"\"}");
}

static void an_unseen_pod_is_an_error_that_is_retried(void **state)
{
    expect(*state, verb_filter, ASK("nobody", "\"n0\""), 200,
           "{\"Nodes\":null,\"NodeNames\":[],\"FailedNodes\":null,"
           "\"FailedAndUnresolvableNodes\":null,\"Error\":\"lockstep has not seen this pod yet\"}");
}

/* kube-scheduler schedules nothing else meanwhile. */
static void an_unseen_pod_is_waited_for_once(void **state)
{
    struct fixture *fixture = *state;
    int64_t from;

    an_unseen_pod_is_an_error_that_is_retried(state);
    assert_true(unseen_has(&fixture->verbs.unseen, "nobody"));
    from = clock_boot_ns();
    an_unseen_pod_is_an_error_that_is_retried(state);
    assert_true(clock_boot_ns() - from < SECOND / 20);
    put_pod(&fixture->world, make_pod("nobody", 1, "", 0)); /* it came after all */
    expect(fixture, verb_filter, ASK("nobody", "\"n0\""), 200,
           "{\"Nodes\":null,\"NodeNames\":[\"n0\"],\"FailedNodes\":null,"
           "\"FailedAndUnresolvableNodes\":null,\"Error\":\"\"}");
}

static void bad_bodies_name_the_field(void **state)
{
    expect(*state, verb_filter, "{\"Pod\":", 400, "{\"Error\":\"not valid JSON near byte 7\"}");
    expect(*state, verb_filter, "{\"Pod\":{\"metadata\":{}},\"NodeNames\":[]}", 400,
           "{\"Error\":\"Pod.metadata.uid: missing, expected text\"}");
    expect(*state, verb_filter, "{\"Pod\":{\"metadata\":{\"uid\":\"u\"}},\"NodeNames\":[1]}", 400,
           "{\"Error\":\"NodeNames: expected a list of node names\"}");
    expect(*state, verb_bind, "{\"PodUID\":\"u\"}", 400,
           "{\"Error\":\"Node: missing, expected text\"}");
}

#define ALLOWED(node)                                                                              \
    "{\"Nodes\":null,\"NodeNames\":[\"" node "\"],\"FailedNodes\":null,"                   \
    "\"FailedAndUnresolvableNodes\":null,\"Error\":\"\"}"

static const struct metric *pauses(void)
{
    for (size_t i = 0; i < verb_metrics_n; i++)
        if (strcmp(verb_metrics[i]->name, "lockstep_steer_pause_seconds") == 0)
            return verb_metrics[i];
    fail_msg("%s", "no such metric");
    return NULL;
}

/* On a large cluster the first member is kept until the others' nominations are written; it may give up
 * waiting, and then the next one is not kept at once. One that comes by its nomination never is. */
static void the_first_of_many_waits_until_the_others_are_steered(void **state)
{
    struct fixture *fixture = *state;
    int64_t before = pauses()->value;
    char name[32];

    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof(name), "more-%04d", i);
        add_node(&fixture->world, name, "b", "r");
    }
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "g-%d", i);
        put_pod(&fixture->world, make_pod(name, 8, "g", 8));
    }
    expect(fixture, verb_filter, ASK("g-7", "\"more-0007\""), 200, ALLOWED("more-0007"));
    assert_int_equal(pauses()->value, before);
    expect(fixture, verb_filter, ASK("g-0", "\"more-0000\",\"n1\""), 200, ALLOWED("more-0000"));
    assert_int_equal(pauses()->value, before + 1);
    expect(fixture, verb_filter, ASK("g-0", "\"more-0000\",\"n1\""), 200, ALLOWED("more-0000"));
    assert_int_equal(pauses()->value, before + 1);
    answer_writes(&fixture->world, ACT_NOMINATE, WRITE_OK);
    atomic_store(&fixture->verbs.next_pause_ns, 0);
    expect(fixture, verb_filter, ASK("g-0", "\"more-0000\",\"n1\""), 200, ALLOWED("more-0000"));
    assert_int_equal(pauses()->value, before + 1);
}

static void bind_is_a_vote_that_is_held(void **state)
{
    struct fixture *fixture = *state;

    expect(fixture, verb_bind,
           "{\"PodName\":\"p\",\"PodNamespace\":\"ns\",\"PodUID\":\"g-0\",\"Node\":\"n1\"}", 200, "");
    assert_int_equal(fixture->posted.kind, EV_VOTE);
    assert_int_equal(fixture->posted.ticket, 42);
    assert_string_equal(fixture->posted.name, "n1");
}

static void no_victim_comes_out_of_a_gang(void **state)
{
    struct fixture *fixture = *state;

    put_pod(&fixture->world, make_pod("g-0", 8, "g", 1));
    put_pod(&fixture->world, make_pod("plain", 1, "", 0));
    put_pod(&fixture->world, make_pod("x", 1, "", 0));
    expect(fixture, verb_preempt,
           "{\"Pod\":{\"metadata\":{\"uid\":\"plain\"}},\"NodeNameToMetaVictims\":{"
           "\"n0\":{\"Pods\":[{\"UID\":\"g-0\"}]},\"n1\":{\"Pods\":[{\"UID\":\"x\"}]},"
           "\"n2\":{\"Pods\":[{\"UID\":\"unseen\"}]}}}",
           200,
           "{\"NodeNameToMetaVictims\":{\"n1\":{\"NumPDBViolations\":0,\"Pods\":[{\"UID\":\"x\"}]}}}");
    expect(fixture, verb_preempt,
           "{\"Pod\":{\"metadata\":{\"uid\":\"g-0\"}},\"NodeNameToMetaVictims\":{"
           "\"n1\":{\"Pods\":[{\"UID\":\"x\"}]}}}",
           200, "{\"NodeNameToMetaVictims\":{}}");
}

/* Under load kube-scheduler may ask before our watch has brought the pod: it may be a gang's. */
static void nobody_is_evicted_for_an_unseen_pod(void **state)
{
    struct fixture *fixture = *state;

    put_pod(&fixture->world, make_pod("x", 1, "", 0));
    expect(fixture, verb_preempt,
           "{\"Pod\":{\"metadata\":{\"uid\":\"unseen\"}},\"NodeNameToMetaVictims\":{"
           "\"n1\":{\"Pods\":[{\"UID\":\"x\"}]}}}",
           200, "{\"NodeNameToMetaVictims\":{}}");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        CASE(a_planned_member_gets_its_one_node),
        CASE(a_waiting_member_gets_one_unresolvable_refusal),
        CASE(a_planned_node_that_is_not_offered_is_observed),
        CASE(an_ordinary_pod_is_kept_off_what_is_held),
        CASE(an_unseen_pod_is_an_error_that_is_retried),
        CASE(an_unseen_pod_is_waited_for_once),
        CASE(bad_bodies_name_the_field),
        CASE(the_first_of_many_waits_until_the_others_are_steered),
        CASE(bind_is_a_vote_that_is_held),
        CASE(no_victim_comes_out_of_a_gang),
        CASE(nobody_is_evicted_for_an_unseen_pod),
    };

    return cmocka_run_group_tests_name("verbs", tests, NULL, NULL);
}
