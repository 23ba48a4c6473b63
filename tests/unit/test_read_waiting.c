/* At what a pod waits that is on its node, of its containers' statuses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/kube/read.h"

#define WAITS(name, reason)                                                                        \
    "{'name':'" name "','state':{'waiting':{'reason':'" reason "','message':'of an image'}}}"
#define RUNS(name, started)                                                                        \
    "{'name':'" name "','started':" started ",'state':{'running':{'startedAt':'x'}}}"
#define ENDED(name) "{'name':'" name "','state':{'terminated':{'exitCode':0}}}"
#define PENDING(init, others)                                                                      \
    "'phase':'Pending','initContainerStatuses':[" init "],'containerStatuses':[" others "]"
#define LONG_NAME "a123456789b123456789c123456789d123456789e123456789f123456789g1234"

static const struct {
    const char *status, *waiting; /* waiting "": at nothing */
    bool stuck;
} cases[] = {
    {"'phase':'Pending'", "its kubelet has not begun with it", false},
    {"'phase':'Running','containerStatuses':[" WAITS("c", "CrashLoopBackOff") "]", "", false},
    {PENDING("", RUNS("c", "true")), "", false},
    {PENDING(WAITS("i", "PodInitializing"), WAITS("c", "PodInitializing")),
     "container i: PodInitializing", false},
    {PENDING(ENDED("i") "," RUNS("probe", "false"), WAITS("c", "PodInitializing")),
     "container probe runs", false},
    {PENDING(RUNS("sidecar", "true") "," RUNS("probe", "true"), WAITS("c", "PodInitializing")),
     "container probe runs", false},
    {PENDING(RUNS("sidecar", "false") "," WAITS("probe", "PodInitializing"), ""),
     "container sidecar runs", false},
    {PENDING(RUNS("sidecar", "true") "," WAITS("probe", "PodInitializing"), ""),
     "container probe: PodInitializing", false},
    {PENDING(ENDED("i") "," WAITS("data", "ImagePullBackOff") "," WAITS("probe", "PodInitializing"),
             ""),
     "container data: ImagePullBackOff", true},
    {PENDING("", WAITS("a", "ContainerCreating") "," WAITS("b", "CreateContainerConfigError")),
     "container b: CreateContainerConfigError", true},
    /* kubelet says nothing of the like: it is not repeated */
    {PENDING("", "{'name':'c','state':{'waiting':{}}}"), "container c: waiting", false},
    {PENDING("", WAITS("c", "so\\u202eand so")), "container c: waiting", false},
    {PENDING("", WAITS("c", LONG_NAME)), "container c: waiting", false},
    {PENDING("", WAITS("C c", "ErrImagePull")), "container ?: ErrImagePull", true},
    {PENDING("", WAITS(LONG_NAME, "ErrImagePull")), "container ?: ErrImagePull", true},
    {"'phase':'Pending','initContainerStatuses':7,'containerStatuses':[null,[],{'state':3}]", "",
     false},
};

static struct obj_pod *read_quoted(const char *node, const char *status)
{
    struct obj_pod *pod = NULL;
    struct err err = ERR_INIT;
    char text[2048];
    json_t *object;

    snprintf(text, sizeof(text),
             "{'metadata':{'name':'p'},'spec':{'nodeName':'%s','containers':[{}],'initContainers':"
             "[{'name':'i'},{'name':'sidecar','restartPolicy':'Always'},{'name':'probe'}]},'status':{%s}}",
             node, status);
    for (char *at = text; *at; at++)
        if (*at == '\'')
            *at = '"';
    object = json_loads(text, 0, NULL);
    assert_non_null(object);
    if (read_pod(object, &pod, &err) < 0)
        fail_msg("%s", err.text);
    json_decref(object);
    return pod;
}

static void a_pod_on_its_node_says_at_what_it_waits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct obj_pod *pod = read_quoted("n", cases[i].status);

        print_message("%s\n", cases[i].status);
        assert_string_equal(pod->waiting ? pod->waiting : "", cases[i].waiting);
        assert_int_equal(pod->stuck, cases[i].stuck);
        obj_pod_free(pod);
    }
}

static void a_pod_without_a_node_waits_at_no_container(void **state)
{
    struct obj_pod *pod = read_quoted("", "'phase':'Pending'");

    (void)state;
    assert_null(pod->waiting);
    obj_pod_free(pod);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_on_its_node_says_at_what_it_waits),
        cmocka_unit_test(a_pod_without_a_node_waits_at_no_container),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
