/* Writes against a fake API server: what leaves, what does not, and what it says. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/http_server.h"
#include "scheduler/kube/kube_write.h"

struct fixture {
    const int *statuses; /* of the answers, in order */
    _Atomic size_t asked;
    _Atomic uint64_t term; /* that the fence lets through */
    uint64_t next_term; /* begins with the first request, 0: none */
    char body[256]; /* of the last request */
    _Atomic int result; /* of the write, -1: none yet */
    struct http_server *server;
    struct http_client *client;
};

static enum http_outcome fake_api(void *context, const struct http_request *request,
                                  struct http_reply *reply)
{
    struct fixture *fixture = context;

    snprintf(fixture->body, sizeof(fixture->body), "%s", request->body);
    reply->status = fixture->statuses[atomic_fetch_add(&fixture->asked, 1)];
    strbuf_adds(&reply->body, "{}");
    if (fixture->next_term)
        atomic_store(&fixture->term, fixture->next_term);
    return HTTP_DONE;
}

#define PLACEMENTS "/apis/lockstep.dev/v1alpha1/namespaces/ns/gangplacements"
static const struct http_route routes[] = {{"PATCH", PLACEMENTS "/g/status", fake_api},
                                           {"DELETE", PLACEMENTS "/g", fake_api},
                                           {"POST", PLACEMENTS, fake_api},
                                           {"POST", "/api/v1/namespaces/ns/pods/p/binding", fake_api},
                                           {0}};

static bool of_this_term(void *context, uint64_t term)
{
    struct fixture *fixture = context;

    return atomic_load(&fixture->term) == term;
}

static void on_done(void *context, enum write_result result, const char *message)
{
    struct fixture *fixture = context;

    (void)message;
    atomic_store(&fixture->result, (int)result);
}

static void start(struct fixture *fixture, const int *statuses, uint64_t term, uint64_t next_term)
{
    struct http_server_options options = {.listen = "127.0.0.1:0", .routes = routes,
                                          .context = fixture};
    struct err err = ERR_INIT;
    char url[64];
    struct http_endpoint endpoint = {.url = url};

    *fixture = (struct fixture){.statuses = statuses, .term = term, .next_term = next_term,
                                .result = -1};
    assert_int_equal(http_server_start(&options, &fixture->server, &err), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", http_server_port(fixture->server));
    assert_int_equal(http_client_start(&endpoint, 4, &fixture->client, &err), 0);
    http_client_fence(fixture->client, of_this_term, fixture);
}

/* Waits for the outcome, at most 20 s. */
static void expect(struct fixture *fixture, enum write_result result, size_t asked)
{
    for (int i = 0; i < 2000 && atomic_load(&fixture->result) < 0; i++)
        usleep(10000);
    assert_int_equal(atomic_load(&fixture->result), result);
    assert_int_equal(atomic_load(&fixture->asked), asked);
    http_client_stop(fixture->client);
    http_server_stop(fixture->server);
}

static void bind_in(struct fixture *fixture, uint64_t term)
{
    struct kube_writer by = {fixture->client, term};
    struct kube_target pod = {"ns", "p", "u"};

    assert_int_equal(kube_bind(&by, &pod, "n1", NULL, on_done, fixture), 0);
}

static void what_was_queued_in_one_term_is_not_sent_in_another(void **state)
{
    static const int statuses[] = {201};
    struct fixture fixture;

    (void)state;
    start(&fixture, statuses, 3, 0);
    bind_in(&fixture, 2);
    expect(&fixture, WRITE_SERVER, 0);
    start(&fixture, statuses, 3, 0);
    bind_in(&fixture, 3);
    expect(&fixture, WRITE_OK, 1);
}

static void a_throttled_write_is_not_repeated_in_the_next_term(void **state)
{
    static const int statuses[] = {429, 201};
    struct fixture fixture;

    (void)state;
    start(&fixture, statuses, 1, 2);
    bind_in(&fixture, 1);
    expect(&fixture, WRITE_SERVER, 1);
}

static void a_placement_is_not_created_in_the_next_term(void **state)
{
    static const int statuses[] = {404, 201, 200};
    struct fixture fixture;
    struct kube_writer by;

    (void)state;
    start(&fixture, statuses, 1, 2);
    by = (struct kube_writer){fixture.client, 1};
    assert_int_equal(kube_put_placement(&by, "ns", "g", "{\"status\":{\"state\":\"Bound\"}}", false, on_done,
                                        &fixture),
                     0);
    expect(&fixture, WRITE_SERVER, 1);
}

static void a_deletion_says_what_it_is_about(void **state)
{
    static const int statuses[] = {409};
    struct fixture fixture;
    struct kube_writer by;

    (void)state;
    start(&fixture, statuses, 1, 0);
    by = (struct kube_writer){fixture.client, 1};
    assert_int_equal(kube_delete_placement(&by, "ns", "g", "{\"resourceVersion\":\"7\",\"uid\":\"u\"}",
                                           on_done, &fixture),
                     0);
    expect(&fixture, WRITE_CONFLICT, 1);
    assert_string_equal(fixture.body, "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\","
                                      "\"preconditions\":{\"resourceVersion\":\"7\",\"uid\":\"u\"}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_queued_in_one_term_is_not_sent_in_another),
        cmocka_unit_test(a_throttled_write_is_not_repeated_in_the_next_term),
        cmocka_unit_test(a_placement_is_not_created_in_the_next_term),
        cmocka_unit_test(a_deletion_says_what_it_is_about),
    };

    return cmocka_run_group_tests_name("kube_write", tests, NULL, NULL);
}
