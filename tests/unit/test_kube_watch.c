/* A reflector against a fake API server that pages, cuts, errs and forgets. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/http_server.h"
#include "scheduler/kube/kube_watch.h"
#include "scheduler/kube/kube_write.h"

#define ITEM(uid, version)                                                                         \
    "{\"metadata\":{\"uid\":\"" uid "\",\"name\":\"" uid "\",\"resourceVersion\":\"" version "\"}}"

struct fake_answer {
    int status;
    const char *body; /* NULL: the call is held */
};

struct fixture {
    const struct fake_answer *answers;
    size_t nanswers, asked;
    pthread_mutex_t lock;
    struct strbuf seen; /* what the callbacks said */
    struct http_server *server;
    struct http_client *client;
    struct kube_writer by;
};

static enum http_outcome fake_api(void *context, const struct http_request *request,
                                  struct http_reply *reply)
{
    struct fixture *fixture = context;
    const struct fake_answer *answer;
    size_t n;

    (void)request;
    pthread_mutex_lock(&fixture->lock);
    n = fixture->asked++;
    pthread_mutex_unlock(&fixture->lock);
    answer = &fixture->answers[n < fixture->nanswers ? n : fixture->nanswers - 1];
    if (!answer->body)
        return HTTP_HELD;
    reply->status = answer->status;
    strbuf_adds(&reply->body, answer->body);
    return HTTP_DONE;
}

static void note(struct fixture *fixture, const char *what, const char *uid)
{
    pthread_mutex_lock(&fixture->lock);
    strbuf_addf(&fixture->seen, "%s%s ", what, uid);
    pthread_mutex_unlock(&fixture->lock);
}

static void on_upsert(void *context, const json_t *object)
{
    note(context, "+", json_string_value(json_object_get(json_object_get(object, "metadata"), "uid")));
}

static void on_gone(void *context, const char *ns, const char *name, const char *uid)
{
    (void)ns;
    (void)name;
    note(context, "-", uid);
}

static void on_synced(void *context, uint64_t term)
{
    char number[24];

    snprintf(number, sizeof(number), "%llu", (unsigned long long)term);
    note(context, "synced", term ? number : "");
}

static void on_trouble(void *context, const char *what)
{
    (void)what;
    note(context, "trouble", "");
}

static const struct http_route routes[] = {{"GET", "/pods", fake_api},
                                           {"GET", "/old/pods", fake_api},
                                           {"PATCH", "/apis/lockstep.dev/v1alpha1/namespaces/ns/"
                                                     "gangplacements/g/status", fake_api},
                                           {"POST", "/apis/lockstep.dev/v1alpha1/namespaces/ns/"
                                                    "gangplacements", fake_api},
                                           {"POST", "/api/v1/namespaces/ns/pods/p/binding", fake_api},
                                           {0}};

static void start(struct fixture *fixture, const struct fake_answer *answers, size_t n)
{
    struct http_server_options options = {.listen = "127.0.0.1:0", .routes = routes,
                                          .context = fixture};
    struct err err = ERR_INIT;
    char url[64];
    struct http_endpoint endpoint = {.url = url};

    *fixture = (struct fixture){.answers = answers, .nanswers = n, .seen = STRBUF_INIT(4096)};
    pthread_mutex_init(&fixture->lock, NULL);
    assert_int_equal(http_server_start(&options, &fixture->server, &err), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", http_server_port(fixture->server));
    assert_int_equal(http_client_start(&endpoint, 4, &fixture->client, &err), 0);
    fixture->by.client = fixture->client;
}

/* Until the callbacks have said this, at most 20 s. */
static void expect_seen(struct fixture *fixture, const char *expected)
{
    for (int i = 0; i < 2000; i++) {
        size_t len;

        pthread_mutex_lock(&fixture->lock);
        len = fixture->seen.len;
        pthread_mutex_unlock(&fixture->lock);
        if (len >= strlen(expected))
            break;
        usleep(10000);
    }
    pthread_mutex_lock(&fixture->lock);
    assert_string_equal(fixture->seen.data ? fixture->seen.data : "", expected);
    pthread_mutex_unlock(&fixture->lock);
}

static void finish(struct fixture *fixture)
{
    http_client_stop(fixture->client);
    http_server_stop(fixture->server);
    strbuf_release(&fixture->seen);
    pthread_mutex_destroy(&fixture->lock);
}

static void keeps_up_through_pages_errors_and_forgotten_versions(void **state)
{
    static const struct fake_answer answers[] = {
        {200, "{\"metadata\":{\"continue\":\"t\"},\"items\":[" ITEM("a", "1") "]}"},
        {200, "{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[" ITEM("b", "2") "]}"},
        {200, "{\"type\":\"MODIFIED\",\"object\":" ITEM("a", "11") "}\n"
              "{\"type\":\"DELETED\",\"object\":" ITEM("b", "12") "}\n"
              "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"20\"}}}\n"},
        {200, "{\"type\":\"ERROR\",\"object\":{\"code\":410}}\n"},
        {200, "{\"metadata\":{\"resourceVersion\":\"30\"},\"items\":[" ITEM("a", "11") "," ITEM(
                  "c", "29") "]}"},
        {500, "no"},
        {200, "{\"metadata\":{\"resourceVersion\":\"40\"},\"items\":[" ITEM("c", "29") "]}"},
        {200, NULL},
    };
    struct fixture fixture;
    struct kube_watch_handler handler = {&fixture, on_upsert, on_gone, on_synced, on_trouble};
    struct kube_watch *watch;

    (void)state;
    start(&fixture, answers, sizeof(answers) / sizeof(answers[0]));
    assert_int_equal(kube_watch_start(fixture.client, "/pods", "", 1, &handler, &watch), 0);
    /* +c alone after the relist: a is unchanged; -a after the next one: it vanished unseen. */
    expect_seen(&fixture, "+a +b synced +a -b +c trouble -a ");
    finish(&fixture);
    kube_watch_free(watch);
}

static void a_kind_that_is_not_served_is_an_empty_list(void **state)
{
    static const struct fake_answer answers[] = {{404, "{}"}};
    struct fixture fixture;
    struct kube_watch_handler handler = {&fixture, on_upsert, on_gone, on_synced, on_trouble};
    struct kube_watch *watch;

    (void)state;
    start(&fixture, answers, 1);
    assert_int_equal(kube_watch_start(fixture.client, "/pods", "", 1, &handler, &watch), 0);
    expect_seen(&fixture, "synced ");
    finish(&fixture);
    kube_watch_free(watch);
}

/* The stream ends, a list that began after the call is read, and only then is the term told. */
static void a_new_term_lists_once_more(void **state)
{
    static const struct fake_answer answers[] = {
        {200, "{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[" ITEM("a", "1") "]}"},
        {200, NULL},
        {200, "{\"metadata\":{\"resourceVersion\":\"20\"},\"items\":[" ITEM("b", "12") "]}"},
        {200, NULL},
    };
    struct fixture fixture;
    struct kube_watch_handler handler = {&fixture, on_upsert, on_gone, on_synced, on_trouble};
    struct kube_watch *watch;

    (void)state;
    start(&fixture, answers, sizeof(answers) / sizeof(answers[0]));
    assert_int_equal(kube_watch_start(fixture.client, "/pods", "", 1, &handler, &watch), 0);
    expect_seen(&fixture, "+a synced ");
    usleep(200000); /* the stream is open */
    kube_watch_relist(watch, 7);
    expect_seen(&fixture, "+a synced +b -a synced7 ");
    finish(&fixture);
    kube_watch_free(watch);
}

/* ---- versions ------------------------------------------------------------------------------------------ */

static const char *const versions[] = {"/pods", "/old/pods", NULL};

static void expect_with_versions(const struct fake_answer *answers, size_t n, const char *expected,
                                 const char *path)
{
    struct fixture fixture;
    struct kube_watch_handler handler = {&fixture, on_upsert, on_gone, on_synced, on_trouble};
    struct kube_watch *watch;

    start(&fixture, answers, n);
    assert_int_equal(kube_watch_start_any(fixture.client, versions, "", 1, &handler, &watch), 0);
    expect_seen(&fixture, expected);
    finish(&fixture); /* its thread has ended */
    if (path)
        assert_string_equal(kube_watch_path(watch), path);
    else
        assert_null(kube_watch_path(watch));
    kube_watch_free(watch);
}

static void an_older_version_is_used_where_the_newest_is_not_served(void **state)
{
    static const struct fake_answer answers[] = {
        {404, "{}"},
        {200, "{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[" ITEM("a", "1") "]}"},
        {200, NULL},
    };

    (void)state;
    expect_with_versions(answers, 3, "+a synced ", "/old/pods");
}

/* The API server is upgraded: the old version answers 404 from now on, the new one has the same objects. */
static void a_version_that_is_no_longer_served_is_followed_by_another(void **state)
{
    static const struct fake_answer answers[] = {
        {404, "{}"},
        {200, "{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[" ITEM("a", "1") "," ITEM(
                  "b", "2") "]}"},
        {404, "{}"}, /* the watch */
        {404, "{}"}, /* the list of the old version */
        {200, "{\"metadata\":{\"resourceVersion\":\"20\"},\"items\":[" ITEM("a", "1") "," ITEM(
                  "c", "15") "]}"},
        {200, NULL},
    };

    (void)state;
    expect_with_versions(answers, 6, "+a +b synced trouble +c -b ", "/pods");
}

static void a_kind_none_of_whose_versions_is_served_is_an_empty_list(void **state)
{
    static const struct fake_answer answers[] = {{404, "{}"}, {404, "{}"}, {500, "asked too often"}};

    (void)state;
    expect_with_versions(answers, 3, "synced ", NULL);
}

/* ---- writes -------------------------------------------------------------------------------------------- */

static void on_done(void *context, enum write_result result, const char *message)
{
    note(context, write_result_name(result), message);
}

static void a_placement_is_created_when_its_status_has_none(void **state)
{
    static const struct fake_answer answers[] = {{404, "{}"}, {201, "{}"}, {200, "{}"}};
    struct fixture fixture;

    (void)state;
    start(&fixture, answers, 3);
    assert_int_equal(kube_put_placement(&fixture.by, "ns", "g", "{\"status\":{\"state\":\"Bound\"}}", false,
                                        on_done, &fixture),
                     0);
    expect_seen(&fixture, "ok ");
    assert_int_equal(fixture.asked, 3);
    finish(&fixture);
}

static void a_binding_is_sent_once_more_after_429_and_says_what_was_answered(void **state)
{
    static const struct fake_answer answers[] = {{429, "{}"},
                                                 {409, "{\"message\":\"pod p is already assigned\"}"}};
    struct fixture fixture;
    struct kube_target pod = {"ns", "p", "u"};

    (void)state;
    start(&fixture, answers, 2);
    assert_int_equal(kube_bind(&fixture.by, &pod, "n1", NULL, on_done, &fixture), 0);
    expect_seen(&fixture, "conflictpod p is already assigned ");
    finish(&fixture);
}

static void answers_are_classified(void **state)
{
    static const struct {
        int status;
        enum write_result result;
    } cases[] = {{200, WRITE_OK},        {201, WRITE_OK},          {409, WRITE_CONFLICT},
                 {404, WRITE_GONE},      {403, WRITE_FORBIDDEN},   {401, WRITE_FORBIDDEN},
                 {422, WRITE_INVALID},   {400, WRITE_INVALID},     {429, WRITE_BUSY},
                 {500, WRITE_SERVER},    {503, WRITE_SERVER},      {504, WRITE_UNKNOWN},
                 {-ETIMEDOUT, WRITE_UNKNOWN}, {-ECANCELED, WRITE_UNKNOWN},
                 {-ECONNREFUSED, WRITE_SERVER}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(kube_classify(cases[i].status), cases[i].result);
}

static void stopping_ends_every_call_once(void **state)
{
    static const struct fake_answer answers[] = {{200, NULL}};
    struct fixture fixture;
    struct kube_target pod = {"ns", "p", "u"};

    (void)state;
    start(&fixture, answers, 1);
    assert_int_equal(kube_bind(&fixture.by, &pod, "n1", NULL, on_done, &fixture), 0);
    http_client_stop(fixture.client);
    fixture.client = NULL;
    expect_seen(&fixture, "no answer ");
    finish(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_up_through_pages_errors_and_forgotten_versions),
        cmocka_unit_test(a_kind_that_is_not_served_is_an_empty_list),
        cmocka_unit_test(a_new_term_lists_once_more),
        cmocka_unit_test(an_older_version_is_used_where_the_newest_is_not_served),
        cmocka_unit_test(a_version_that_is_no_longer_served_is_followed_by_another),
        cmocka_unit_test(a_kind_none_of_whose_versions_is_served_is_an_empty_list),
        cmocka_unit_test(a_placement_is_created_when_its_status_has_none),
        cmocka_unit_test(a_binding_is_sent_once_more_after_429_and_says_what_was_answered),
        cmocka_unit_test(answers_are_classified),
        cmocka_unit_test(stopping_ends_every_call_once),
    };

    return cmocka_run_group_tests_name("kube_watch", tests, NULL, NULL);
}
