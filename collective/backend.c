#include "collective/backend.h"

#include <string.h>

extern const struct backend backend_nccl __attribute__((weak));

const struct backend *backend_find(const char *name)
{
    if (strcmp(name, "tcp") == 0)
        return &backend_tcp;
    if (strcmp(name, "nccl") == 0)
        return &backend_nccl;
    return NULL;
}
