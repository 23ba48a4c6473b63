/* kube_list() against a fake API server: pages, versions that are not served, what it may not read. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/http_server.h"
#include "scheduler/kube/kube_list.h"

#define ITEM(name) "{\"metadata\":{\"name\":\"" name "\"}}"

struct fake_answer {
    int status;
    const char *body;
};

struct fixture {
    const struct fake_answer *answers;
    _Atomic size_t asked;
    char seen[256];
    struct http_server *server;
    struct http_client *client;
};

static enum http_outcome fake_api(void *context, const struct http_request *request,
                                  struct http_reply *reply)
{
    struct fixture *fixture = context;
    const struct fake_answer *answer = &fixture->answers[atomic_fetch_add(&fixture->asked, 1)];

    (void)request;
    reply->status = answer->status;
    strbuf_adds(&reply->body, answer->body);
    return HTTP_DONE;
}

static const struct http_route routes[] = {{"GET", "/new", fake_api}, {"GET", "/old", fake_api}, {0}};
static const char *const paths[] = {"/new", "/old", NULL};

static int note(void *context, const json_t *object, struct err *err)
{
    struct fixture *fixture = context;
    const char *name = json_string_value(json_object_get(json_object_get(object, "metadata"), "name"));
    const char *api = json_string_value(json_object_get(object, "apiVersion"));
    size_t len = strlen(fixture->seen);

    if (strcmp(name, "bad") == 0)
        return err_set(err, -EINVAL, "it is bad");
    snprintf(fixture->seen + len, sizeof(fixture->seen) - len, "%s%s ", name, api ? api : "");
    return 0;
}

static int list(const struct fake_answer *answers, struct fixture *fixture, struct err *err)
{
    struct http_server_options options = {.listen = "127.0.0.1:0", .routes = routes,
                                          .context = fixture};
    char url[64];
    struct http_endpoint endpoint = {.url = url};
    int r;

    *fixture = (struct fixture){.answers = answers};
    assert_int_equal(http_server_start(&options, &fixture->server, err), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", http_server_port(fixture->server));
    assert_int_equal(http_client_start(&endpoint, 4, &fixture->client, err), 0);
    r = kube_list(fixture->client, paths, note, fixture, err);
    http_client_stop(fixture->client);
    http_server_stop(fixture->server);
    return r;
}

static const struct {
    struct fake_answer answers[4];
    int result;
    const char *seen, *text;
} cases[] = {
    {{{200, "{\"metadata\":{\"continue\":\"t\"},\"items\":[" ITEM("a") "]}"},
      {200, "{\"apiVersion\":\"v1\",\"items\":[" ITEM("b") "," ITEM("c") "]}"}},
     0, "a bv1 cv1 ", ""},
    {{{404, "no"}, {200, "{\"items\":[" ITEM("a") "]}"}}, 0, "a ", ""},
    {{{404, "no"}, {404, "no"}}, -ENOENT, "", "/old is not served"},
    {{{403, "{\"message\":\"pods is forbidden\"}"}}, -EACCES, "",
     "may not list /new: pods is forbidden"},
    {{{500, "no"}}, -EPROTO, "", "cannot list /new: status 500"},
    {{{200, "{\"items\":[" ITEM("a") "," ITEM("bad") "," ITEM("c") "]}"}}, -EINVAL, "a ",
     "it is bad"},
};

static void lists_once_or_says_why_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        struct err err = ERR_INIT;

        assert_int_equal(list(cases[i].answers, &fixture, &err), cases[i].result);
        assert_string_equal(fixture.seen, cases[i].seen);
        assert_string_equal(err.text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_once_or_says_why_not),
    };

    return cmocka_run_group_tests_name("kube_list", tests, NULL, NULL);
}
