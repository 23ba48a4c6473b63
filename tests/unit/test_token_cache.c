/* Whose token it was a moment ago. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/kube/token_cache.h"

#define SIZE 3

static int open_cache(void **state)
{
    *state = token_cache_new(SIZE);
    return *state ? 0 : -1;
}

static int close_cache(void **state)
{
    token_cache_free(*state);
    return 0;
}

static void put(struct token_cache *cache, const char *token, const char *pod, int64_t asked_ns)
{
    struct kube_identity who = {.ns = "team"};
    char digest[SHA256_HEX];

    snprintf(who.pod, sizeof(who.pod), "%s", pod);
    sha256_hex(token, strlen(token), digest);
    token_cache_put(cache, digest, asked_ns, &who);
}

/* "": it is asked about. */
static const char *find(struct token_cache *cache, const char *token, int64_t now_ns)
{
    static struct kube_identity who;
    char digest[SHA256_HEX];

    sha256_hex(token, strlen(token), digest);
    return token_cache_get(cache, digest, now_ns, &who) ? who.pod : "";
}

static void an_answer_is_good_for_a_short_time(void **state)
{
    struct token_cache *cache = *state;

    assert_string_equal(find(cache, "a", 5), "");
    put(cache, "a", "pod-a", 5);
    assert_string_equal(find(cache, "a", 5), "pod-a");
    assert_string_equal(find(cache, "a", 4 + TOKEN_CACHE_NS), "pod-a");
    assert_string_equal(find(cache, "a", 5 + TOKEN_CACHE_NS), "");
    put(cache, "a", "pod-a", 6 + TOKEN_CACHE_NS);
    assert_string_equal(find(cache, "a", 7 + TOKEN_CACHE_NS), "pod-a");
}

static void another_token_is_not_taken_for_it(void **state)
{
    struct token_cache *cache = *state;

    put(cache, "a", "pod-a", 0);
    put(cache, "b", "pod-b", 0);
    assert_string_equal(find(cache, "a ", 1), "");
    assert_string_equal(find(cache, "", 1), "");
    assert_string_equal(find(cache, "b", 1), "pod-b");
    put(cache, "b", "pod-c", 1); /* what was answered last counts */
    assert_string_equal(find(cache, "b", 1), "pod-c");
}

static void the_oldest_goes_when_it_is_full(void **state)
{
    struct token_cache *cache = *state;
    char token[16];

    for (int i = 0; i < 1000; i++) {
        snprintf(token, sizeof(token), "t%d", i);
        put(cache, token, token, i);
        for (int k = i > SIZE ? i - SIZE : 0; k <= i; k++) {
            snprintf(token, sizeof(token), "t%d", k);
            assert_string_equal(find(cache, token, i), k > i - SIZE ? token : "");
        }
    }
}

static void without_one_all_are_asked_about(void **state)
{
    (void)state;
    put(NULL, "a", "pod-a", 0);
    assert_string_equal(find(NULL, "a", 0), "");
    token_cache_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_is_good_for_a_short_time, open_cache,
                                        close_cache),
        cmocka_unit_test_setup_teardown(another_token_is_not_taken_for_it, open_cache, close_cache),
        cmocka_unit_test_setup_teardown(the_oldest_goes_when_it_is_full, open_cache, close_cache),
        cmocka_unit_test(without_one_all_are_asked_about),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
