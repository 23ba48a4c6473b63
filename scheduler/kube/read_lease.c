/* The Lease of kube-scheduler's leader election: coordination.k8s.io/v1. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/kube/read.h"
#include "scheduler/kube/read_internal.h"

#define NS_PER_S INT64_C(1000000000)
#define DURATION_MAX_S 86400
#define SECONDS_MAX INT64_C(9000000000) /* the year 2255: more does not fit as nanoseconds */

/* The fraction counts: the age of a renewal decides until when we may write. */
static int64_t fraction_ns(const char *text)
{
    const char *dot = text ? strchr(text, '.') : NULL;
    int64_t digit = NS_PER_S / 10, sum = 0;

    for (const char *c = dot ? dot + 1 : ""; *c >= '0' && *c <= '9' && digit > 0; c++) {
        sum += (*c - '0') * digit;
        digit /= 10;
    }
    return sum;
}

static int read_micro_time(const struct reading *reading, const json_t *spec, const char *field,
                           const char *key, int64_t *ret_ns)
{
    int64_t seconds;
    int r = read__time(reading, spec, field, &seconds);

    if (r == 0 && (seconds < 0 || seconds > SECONDS_MAX))
        return read__bad(reading, field, json_object_get(spec, key), "a time from 1970 to 2255");
    if (r == 0)
        *ret_ns = seconds * NS_PER_S + fraction_ns(json_string_value(json_object_get(spec, key)));
    return r;
}

int read_lease(const json_t *object, struct obj_lease **ret, struct err *err)
{
    const json_t *meta = json_object_get(object, "metadata"), *spec = json_object_get(object, "spec");
    struct reading reading;
    struct obj_lease *lease;
    int64_t duration_s = 0, transitions = 0;
    int r = read__begin(&reading, object, "Lease", err);

    if (r < 0)
        return r;
    lease = calloc(1, sizeof(*lease));
    if (!lease)
        return -ENOMEM;
    r = read__text(&reading, meta, "metadata.namespace", &lease->ns);
    if (r == 0)
        r = read__text(&reading, meta, "metadata.name", &lease->name);
    if (r == 0)
        r = read__text(&reading, spec, "spec.holderIdentity", &lease->holder);
    if (r == 0)
        r = read__int(&reading, spec, "spec.leaseDurationSeconds", 0, 0, DURATION_MAX_S, &duration_s);
    if (r == 0)
        r = read__int(&reading, spec, "spec.leaseTransitions", 0, 0, INT32_MAX, &transitions);
    if (r == 0)
        r = read_micro_time(&reading, spec, "spec.acquireTime", "acquireTime", &lease->acquired_ns);
    if (r == 0)
        r = read_micro_time(&reading, spec, "spec.renewTime", "renewTime", &lease->renewed_ns);
    if (r < 0) {
        obj_lease_free(lease);
        return r;
    }
    lease->duration_ns = duration_s * NS_PER_S;
    lease->transitions = (int32_t)transitions;
    *ret = lease;
    return 0;
}
