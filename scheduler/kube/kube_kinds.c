#include "scheduler/kube/kube_kinds.h"

const struct kube_kind kube_kinds[KUBE_KINDS] = {
    {{"/apis/lockstep.dev/v1alpha1/nodetopologies"}, EV_MACHINE, EV_MACHINE_GONE, GROUP_NATIVE},
    {{"/api/v1/nodes"}, EV_NODE, EV_NODE_GONE, GROUP_NATIVE},
    {{"/api/v1/namespaces"}, EV_NAMESPACE, EV_NAMESPACE_GONE, GROUP_NATIVE},
    {{"/api/v1/pods"}, EV_POD, EV_POD_GONE, GROUP_NATIVE},
    {{"/apis/batch/v1/jobs"}, EV_JOB, EV_JOB_GONE, GROUP_NATIVE},
    {{"/apis/scheduling.k8s.io/v1beta1/podgroups", /* Kubernetes 1.37 */
      "/apis/scheduling.k8s.io/v1alpha3/podgroups", /* 1.37 */
      "/apis/scheduling.k8s.io/v1alpha2/podgroups"}, /* 1.36; older ones have none */
     EV_GROUP, EV_GROUP_GONE, GROUP_NATIVE},
    {{"/apis/scheduling.x-k8s.io/v1alpha1/podgroups"}, EV_GROUP, EV_GROUP_GONE, GROUP_SIGS},
    {{"/apis/lockstep.dev/v1alpha1/gangplacements"}, EV_PLACEMENT, EV_PLACEMENT_GONE, GROUP_NATIVE},
};
