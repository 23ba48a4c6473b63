#include "base/cleanup.h"

void *cleanup_alloc(size_t size)
{
    return calloc(1, size);
}
