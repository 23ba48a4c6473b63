/* Whose token the API server says it is. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/kube/kube_token.h"

#define EXTRA(name, uid)                                                                                     \
    "'extra':{'authentication.kubernetes.io/pod-name':['" name "'],'authentication.kubernetes.io/pod-uid':['" uid "']}"
#define USER(account, rest) "'user':{'username':'" account "'," rest "}"
#define GOOD "{'status':{'authenticated':true,'audiences':['a','lockstep-probe']," \
             USER("system:serviceaccount:team-a:default", EXTRA("train-0", "u-1")) "}}"

static int read_quoted(const char *text, struct kube_identity *ret, struct err *err)
{
    char copy[2048];

    snprintf(copy, sizeof(copy), "%s", text);
    for (char *at = copy; *at; at++)
        if (*at == '\'')
            *at = '"';
    return kube_read_review(copy, strlen(copy), "lockstep-probe", ret, err);
}

static void a_pods_token_names_the_pod(void **state)
{
    struct kube_identity who;
    struct err err = ERR_INIT;

    (void)state;
    if (read_quoted(GOOD, &who, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(who.ns, "team-a");
    assert_string_equal(who.pod, "train-0");
    assert_string_equal(who.uid, "u-1");
}

static void others_name_nobody(void **state)
{
    static const struct {
        const char *body, *message;
    } cases[] = {
        {"", "the API server's answer is no JSON"},
        {"{}", "the API server does not know the token"},
        {"{'status':{'authenticated':false,'error':'expired'}}", "the API server does not know the token: expired"},
        {"{'status':{'authenticated':'true'}}", "the API server does not know the token"},
        {"{'status':{'authenticated':true,'audiences':['other']}}", "the token is not for audience lockstep-probe"},
        {"{'status':{'authenticated':true,'audiences':'lockstep-probe'}}", "the token is not for audience"},
        {"{'status':{'authenticated':true,'audiences':['lockstep-probe']," USER("admin", EXTRA("p", "u")) "}}",
         "the token is of user 'admin', expected a ServiceAccount's"},
        {"{'status':{'authenticated':true,'audiences':['lockstep-probe'],"
         USER("system:serviceaccount:ns:x", "'extra':{}") "}}", "the token is bound to no pod"},
        {"{'status':{'authenticated':true,'audiences':['lockstep-probe'],"
         USER("system:serviceaccount:ns:x", EXTRA("../p", "u")) "}}", "the token is bound to no pod"},
        {"{'status':{'authenticated':true,'audiences':['lockstep-probe'],"
         USER("system:serviceaccount::x", EXTRA("p", "u")) "}}", "the token's account ':x' has no namespace"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kube_identity who = {.pod = "untouched"};
        struct err err = ERR_INIT;

        assert_int_equal(read_quoted(cases[i].body, &who, &err), -EACCES);
        if (strncmp(err.text, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("case %zu says '%s', not '%s'", i, err.text, cases[i].message);
        assert_string_equal(who.pod, "untouched");
    }
}

static void what_is_no_token_is_not_asked_about(void **state)
{
    const struct kube_writer by = {0};

    (void)state;
    assert_int_equal(kube_review_token(&by, "", 0, "a", NULL, NULL), -EINVAL);
    assert_int_equal(kube_review_token(&by, "a b", 3, "a", NULL, NULL), -EINVAL);
    assert_int_equal(kube_review_token(&by, "a\"b", 3, "a", NULL, NULL), -EINVAL);
    assert_int_equal(kube_review_token(&by, "a\0b", 3, "a", NULL, NULL), -EINVAL);
    assert_int_equal(kube_review_token(&by, "aaaa", KUBE_TOKEN_MAX + 1, "a", NULL, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pods_token_names_the_pod),
        cmocka_unit_test(others_name_nobody),
        cmocka_unit_test(what_is_no_token_is_not_asked_about),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
