/* The bodies that kube-scheduler posts: any bytes give an error or names that can be walked. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "scheduler/extender/extender_args.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct filter_args filter;
    struct bind_args bind;
    struct err err = ERR_INIT;

    if (filter_args_read((const char *)data, size, &filter, &err) == 0) {
        struct name_walk walk;
        struct json_span name;
        int r;

        name_walk_begin(&walk, filter.names);
        while ((r = name_walk_next(&walk, &name)) > 0)
            if (!utf8_valid(name.text, name.len))
                abort();
        if (r < 0 || !filter.pod.uid[0])
            abort(); /* it was checked whole before */
    } else if (!err.text[0]) {
        abort(); /* every refusal says why */
    }
    err.text[0] = '\0';
    if (bind_args_read((const char *)data, size, &bind, &err) == 0
            ? !bind.node[0] || !bind.pod.uid[0]
            : !err.text[0])
        abort();
    return 0;
}
