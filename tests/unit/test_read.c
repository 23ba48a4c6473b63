/* What the readers make of objects: requests added up as Kubernetes does, gangs recognised. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/kube/read.h"

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *object = json_loads(text, 0, &error);

    if (!object)
        fail_msg("%s", error.text);
    return object;
}

static int64_t amount(const struct obj_pod *pod, const char *resource)
{
    for (size_t i = 0; i < pod->shape.requests.n; i++)
        if (strcmp(pod->shape.requests.items[i].resource, resource) == 0)
            return pod->shape.requests.items[i].value;
    return -1;
}

static void requests_are_added_up_as_kubernetes_does(void **state)
{
    static const struct {
        const char *what, *spec;
        int64_t cpu, gpus;
    } cases[] = {
        {"containers are added",
         "\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}},"
         "{\"resources\":{\"requests\":{\"cpu\":\"500m\",\"nvidia.com/gpu\":2}}}]", 1500, 2},
        {"limits stand in", "\"containers\":[{\"resources\":{\"limits\":{\"cpu\":2,"
                            "\"nvidia.com/gpu\":\"8\"},\"requests\":{\"cpu\":\"1\"}}}]", 1000, 8},
        {"the largest init container counts",
         "\"initContainers\":[{\"resources\":{\"requests\":{\"cpu\":\"3\"}}}],"
         "\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]", 3000, -1},
        {"sidecars stay",
         "\"initContainers\":[{\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"cpu\":"
         "\"1\"}}},{\"resources\":{\"requests\":{\"cpu\":\"3\"}}}],"
         "\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]", 4000, -1},
        {"overhead is added", "\"overhead\":{\"cpu\":\"250m\"},\"containers\":[{}]", 250, -1},
        {"pod-level requests win",
         "\"resources\":{\"requests\":{\"cpu\":\"9\"}},"
         "\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]", 9000, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct obj_pod *pod = NULL;
        struct err err = ERR_INIT;
        char text[1024];
        json_t *object;

        snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"p\"},\"spec\":{%s}}", cases[i].spec);
        object = parse(text);
        print_message("%s\n", cases[i].what);
        assert_int_equal(read_pod(object, &pod, &err), 0);
        assert_int_equal(amount(pod, "cpu"), cases[i].cpu);
        assert_int_equal(amount(pod, "nvidia.com/gpu"), cases[i].gpus);
        assert_int_equal(amount(pod, "pods"), 1);
        obj_pod_free(pod);
        json_decref(object);
    }
}

static void a_pod_says_which_gang_it_is_in(void **state)
{
    json_t *object = parse(
        "{\"metadata\":{\"name\":\"p\",\"labels\":{\"lockstep.dev/gang\":\"g\"},\"annotations\":{"
        "\"lockstep.dev/gang-size\":\"32\",\"lockstep.dev/topology\":\"required=a/b,preferred=node\","
        "\"batch.kubernetes.io/job-completion-index\":\"7\"},\"ownerReferences\":[{\"controller\":true,"
        "\"kind\":\"Job\",\"name\":\"j\",\"uid\":\"u\",\"apiVersion\":\"batch/v1\"}]},"
        "\"spec\":{\"containers\":[{}],\"schedulerName\":\"lockstep\"}}");
    struct obj_pod *pod = NULL;

    (void)state;
    assert_int_equal(read_pod(object, &pod, NULL), 0);
    assert_string_equal(pod->wish.name, "g");
    assert_int_equal(pod->wish.size, 32);
    assert_string_equal(pod->wish.required, "a/b");
    assert_string_equal(pod->wish.preferred, "node");
    assert_string_equal(pod->wish.unsupported, "");
    assert_int_equal(pod->index, 7);
    assert_int_equal(pod->owner.kind, OWNER_JOB);
    obj_pod_free(pod);
    json_decref(object);
}

static void what_is_not_understood_is_kept_in_words(void **state)
{
    json_t *object = parse("{\"metadata\":{\"name\":\"p\",\"annotations\":{"
                           "\"lockstep.dev/topology\":\"rack\"}},\"spec\":{\"containers\":[{}]}}");
    struct obj_pod *pod = NULL;

    (void)state;
    assert_int_equal(read_pod(object, &pod, NULL), 0);
    assert_non_null(strstr(pod->wish.unsupported, "'rack'"));
    obj_pod_free(pod);
    json_decref(object);
}

static void errors_name_object_field_found_and_expected(void **state)
{
    json_t *object = parse("{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\"},\"spec\":{\"containers\":"
                           "[{\"resources\":{\"requests\":{\"cpu\":\"lots\"}}}]}}");
    struct obj_pod *pod = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_true(read_pod(object, &pod, &err) < 0);
    assert_string_equal(err.text, "Pod n/p: resources.requests: found \"lots\", expected a quantity "
                                  "such as 8, 500m or 16Gi");
    assert_null(pod);
    json_decref(object);
}

static void both_pod_groups_are_read(void **state)
{
    json_t *native = parse("{\"apiVersion\":\"scheduling.k8s.io/v1beta1\",\"metadata\":{\"name\":\"g\"},"
                           "\"spec\":{\"schedulingPolicy\":{\"gang\":{\"minCount\":4}},"
                           "\"schedulingConstraints\":{\"topology\":[{\"key\":\"a/rack\"}]}}}");
    json_t *sigs = parse("{\"apiVersion\":\"scheduling.x-k8s.io/v1alpha1\",\"metadata\":{\"name\":"
                         "\"g\"},\"spec\":{\"minMember\":3}}");
    struct obj_group *group = NULL;

    (void)state;
    assert_int_equal(read_group(native, &group, NULL), 0);
    assert_int_equal(group->kind, GROUP_NATIVE);
    assert_int_equal(group->min, 4);
    assert_string_equal(group->required, "a/rack");
    obj_group_free(group);
    assert_int_equal(read_group(sigs, &group, NULL), 0);
    assert_int_equal(group->kind, GROUP_SIGS);
    assert_int_equal(group->min, 3);
    obj_group_free(group);
    json_decref(native);
    json_decref(sigs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_added_up_as_kubernetes_does),
        cmocka_unit_test(a_pod_says_which_gang_it_is_in),
        cmocka_unit_test(what_is_not_understood_is_kept_in_words),
        cmocka_unit_test(errors_name_object_field_found_and_expected),
        cmocka_unit_test(both_pod_groups_are_read),
    };

    return cmocka_run_group_tests_name("read", tests, NULL, NULL);
}
