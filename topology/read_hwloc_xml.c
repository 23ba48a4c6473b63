/* hwloc's XML as a format: what is checked before hwloc sees it. */
#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "topology/read_hwloc.h"
#include "topology/read_internal.h"
#include "topology/xml_scan.h"

#define OBJECTS_MAX 1024 /* of one matrix: hwloc multiplies the number with itself */

static bool knows(const char *text, size_t len)
{
    return machine__root_is(text, len, "topology");
}

static int check_version(const char *name, unsigned line, struct xml_piece version, struct err *err)
{
    uint64_t major = 0;
    size_t digits = 0;

    while (digits < version.len && version.at[digits] != '.')
        digits++;
    if (parse_u64(version.at, digits, UINT32_MAX, &major) == 0 && major >= 1 && major <= 2)
        return 0;
    return err_set(err, -EINVAL, "%s:%u: version: found '%.*s', expected 1 or 2; hwloc 3 writes that with "
                                 "lstopo --export-xml-flags v2", name, line,
                   version.len < 20 ? (int)version.len : 20, version.at);
}

/* hwloc computes with these before it looks at them. */
static int check_attribute(void *context, unsigned line, struct xml_piece element,
                           struct xml_piece attribute, struct xml_piece value, struct err *err)
{
    uint64_t number;

    if (xml_piece_is(element, "topology") && xml_piece_is(attribute, "version"))
        return check_version(context, line, value, err);
    if (!xml_piece_is(attribute, "nbobjs"))
        return 0;
    if (parse_u64(value.at, value.len, OBJECTS_MAX, &number) == 0)
        return 0;
    return err_set(err, -EINVAL, "%s:%u: nbobjs: found '%.*s', expected 0 to %d", (const char *)context,
                   line, value.len < 20 ? (int)value.len : 20, value.at, OBJECTS_MAX);
}

static int read_xml(const char *name, const char *text, size_t len, struct machine *machine,
                    struct err *err)
{
    const struct xml_visitor visitor = {check_attribute, (void *)(uintptr_t)name};
    int r = xml_scan(name, text, len, &visitor, NULL, err);

    if (r < 0)
        return r;
    r = machine__hwloc_apart(text, len, machine, err);
    return r < 0 ? err_prefix(err, r, "%s", name) : 0;
}

const struct machine_reader machine__hwloc_reader = {"hwloc XML", knows, read_xml};
